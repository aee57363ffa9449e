"""Run a notebook from top to bottom with this interpreter, and keep only the part of its outputs that lasts.

Kernels are started from a kernel description of our own: a ``python3`` kernel in the user's home folder may point to
another interpreter. Timestamps, absolute paths, memory addresses and widget ids are removed, so that running a notebook
twice changes as little as possible.
"""

import re
import tempfile
from pathlib import Path

from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "Interactive: run this cell to use it."
CELL_FILE = re.compile(r"/\S*?/ipykernel_\d+/\d+\.py")  # a cell's temporary file, named in warnings and tracebacks
ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")


def execute(nb: NotebookNode, folder: Path, seconds: int = 120) -> NotebookNode:
    """Run ``nb`` in place, working in ``folder``; ``seconds`` is the limit of one cell.

    Raises ``nbclient.exceptions.CellExecutionError`` or ``CellTimeoutError`` at the first cell that fails (a cell tagged
    ``raises-exception`` may), and ``DeadKernelError`` at once when the kernel dies.
    """
    with tempfile.TemporaryDirectory() as kernels:
        write_kernel_spec(str(Path(kernels) / "python3"))
        manager = KernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[kernels], ensure_native_kernel=False),
            transport="ipc",  # sockets in our own folder instead of open ports
            ip=str(Path(kernels) / "socket"),
            connection_file=str(Path(kernels) / "connection.json"),
        )
        client = NotebookClient(
            nb,
            km=manager,
            timeout=seconds,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            client.execute()
        finally:
            manager.shutdown_kernel(now=True)
    count = 0
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            if cell.execution_count is not None:
                count += 1
                cell.execution_count = count
            for output in cell.outputs:
                _settle(output, cell.execution_count, folder)
    nb.metadata.pop("widgets", None)
    nb.metadata.language_info = {"name": "python"}
    return nb


def _settle(output: NotebookNode, count: int | None, folder: Path) -> None:
    """Remove from one output what differs from run to run."""
    if "execution_count" in output:
        output.execution_count = count
    if output.output_type == "stream":
        output.text = _plain(output.text, folder)
    elif output.output_type == "error":
        output.traceback = [_plain(line, folder) for line in output.traceback]
    elif "data" in output:
        if output.data.pop(WIDGET, None) and set(output.data) <= {"text/plain"}:
            output.data["text/plain"] = LIVE  # without its kernel a widget is an error message: say what to do
        for kind, text in output.data.items():
            if kind in ("text/plain", "text/html", "text/markdown") and isinstance(text, str):
                output.data[kind] = _plain(text, folder)


def _plain(text: str, folder: Path) -> str:
    """``text`` without this machine in it: temporary files, the project's folder, the home folder, addresses."""
    text = CELL_FILE.sub("<this notebook>", text)
    root = next((p for p in folder.resolve().parents if (p / "pyproject.toml").exists()), folder.resolve())
    for place, name in ((root, "."), (Path.home(), "~")):
        if len(str(place)) > 1:
            text = text.replace(str(place), name)
    return ADDRESS.sub("0x…", text)

"""What may come in: one file by its name, read as text, rebuilt on the released notebook.

Of a submission only the sources of its cells are kept. Labels, locked cells, points, order of the labelled cells and
everything else come from the notebook that was released, so a cell that was edited, copied, split, moved or deleted
changes nothing but the answer in it. Student code is not run here, and not even parsed.
"""

import json
import os
import stat
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LARGEST = 20 * 2**20  # bytes of a notebook
NEW = {"code": new_code_cell, "markdown": new_markdown_cell}


class Refused(ValueError):  # noqa: N818
    """A submission that cannot be read; the message says why, for the student and the instructor."""


def read_submission(path: Path, folder: Path) -> list[dict[str, str]]:
    """The cells of ``path`` as plain ``{"kind", "source", "label"}``. Raises Refused, with the reason.

    ``folder`` is the folder of all submissions: nothing outside it, and nothing behind a link, is read.
    """
    if not os.path.lexists(path):
        raise Refused(f"No {path.name} was handed in.")
    if path.resolve() != folder.resolve() / path.relative_to(folder):
        raise Refused(f"{path.name} is a link to another place. Hand in the notebook itself.")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
        os.close(handle)
        raise Refused(f"{path.name} is not a file of at most {LARGEST // 2**20} MB. Clear the outputs and save again.")
    with os.fdopen(handle, "rb") as file:
        raw = file.read(LARGEST)
    try:
        notebook = json.loads(raw)
        return [_cell(cell) for cell in notebook["cells"]]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise Refused(f"{path.name} is not a notebook that can be read ({reason}). Save it again in JupyterLab.") from error


def _cell(cell: dict) -> dict[str, str]:
    source = cell["source"]
    label = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
    text = source if isinstance(source, str) else "".join(source)
    kind = cell["cell_type"] if cell["cell_type"] in NEW else "markdown"
    return {"kind": kind, "source": text, "label": label if isinstance(label, str) else ""}


def repair(cells: list[dict[str, str]], released: NotebookNode) -> NotebookNode:
    """The released notebook with the submitted answers, and the learner's own cells where they stood.

    Locked cells are the released ones, once each. Several cells with the label of one answer (copied, or split in two)
    become one, in their order. What is missing is put back: a check as it was, an answer as its stub.
    """
    labelled = {c.metadata.nbgrader.grade_id: c for c in released.cells if "nbgrader" in c.metadata}
    copies = {name: [c["source"] for c in cells if c["label"] == name] for name in labelled}
    last = {c["label"]: i for i, c in enumerate(cells)}  # a repeated label counts where it stands last
    made: list[NotebookNode] = []
    for i, cell in enumerate(cells):
        name = cell["label"]
        if name not in labelled:
            made.append(NEW[cell["kind"]](cell["source"]))
        elif last[name] == i:
            made.append(_labelled(labelled[name], "\n\n".join(copies[name])))
    before = -1
    for name, cell in labelled.items():
        if name not in last:
            made.insert(before + 1, _labelled(cell, cell.source))
        before = next(i for i, c in enumerate(made) if c.metadata.get("nbgrader", {}).get("grade_id") == name)
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return new_notebook(cells=made, metadata=released.metadata)


def _labelled(released: NotebookNode, answer: str) -> NotebookNode:
    source = answer if released.metadata.nbgrader.solution else released.source
    return NEW[released.cell_type](source, metadata=released.metadata)


def blank(released: NotebookNode, reason: str) -> NotebookNode:
    """The notebook that stands for a refused submission: the released one, with the reason on top."""
    notebook = repair([], released)
    notebook.cells.insert(0, new_markdown_cell(f"**This submission could not be graded.** {reason}", id="refused"))
    return notebook

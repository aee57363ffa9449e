"""What a person does in JupyterLab, as functions of a Playwright page. Times are limits in seconds.

JupyterLab shows its application object as ``window.jupyterapp`` (the server of ``conftest.py`` asks for it), so a test
waits for what it needs to be true and never for a number of seconds.
"""

from pathlib import Path

from playwright.sync_api import Page

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"

# The notebook in front, or null while JupyterLab is still loading.
PANEL = "(window.jupyterapp?.shell?.currentWidget ?? null)"
CELLS = f"{PANEL}.content.widgets"


def open_notebook(page: Page, path: str, seconds: float = 60) -> None:
    """Open a notebook (``notebooks/index.ipynb``) in a fresh workspace, and wait until its cells are on the screen."""
    page.goto(f"/lab/tree/{path}?reset", timeout=1000 * seconds)
    name = path.rsplit("/", 1)[-1]
    page.wait_for_function(f"{PANEL}?.context?.isReady && {PANEL}.title.label === '{name}'", timeout=1000 * seconds)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=1000 * seconds)


def wait_kernel_idle(page: Page, seconds: float = 60) -> None:
    """Wait until the notebook's kernel has started and has nothing to do."""
    kernel = f"{PANEL}?.sessionContext?.session?.kernel"
    page.wait_for_function(
        f"{kernel}?.status === 'idle' && {kernel}.connectionStatus === 'connected'", timeout=1000 * seconds
    )


def run_all_cells(page: Page) -> None:
    """Start "Run All Cells". Follow with ``wait_finished``."""
    page.evaluate(
        """() => {
            window.course_run = "running";
            const done = () => { window.course_run = "finished"; };
            window.jupyterapp.commands.execute("notebook:run-all-cells").then(done, done);
        }"""
    )


def wait_finished(page: Page, seconds: float = 180) -> None:
    """Wait for ``run_all_cells`` to end. Raises AssertionError with the traceback if a cell failed."""
    page.wait_for_function("window.course_run === 'finished'", timeout=1000 * seconds)
    wait_kernel_idle(page, seconds)
    failures = page.evaluate(
        f"""() => {CELLS}.flatMap(cell => cell.model.outputs?.toJSON() ?? [])
            .filter(output => output.output_type === "error").map(output => output.traceback.join("\\n"))"""
    )
    assert not failures, "a cell failed:\n" + "\n".join(failures)


def show_cell(page: Page, text: str) -> None:
    """Make the first cell that contains ``text`` the active one and scroll to it (JupyterLab drops cells out of sight)."""
    index = page.evaluate(f"text => {CELLS}.findIndex(cell => cell.model.sharedModel.source.includes(text))", text)
    assert index >= 0, f"no cell contains {text!r}"
    page.evaluate(f"async i => {{ {PANEL}.content.activeCellIndex = i; await {PANEL}.content.scrollToItem(i); }}", index)


def screenshot(page: Page, name: str) -> Path:
    """Save what is on the screen as ``build/screenshots/<name>.png``."""
    path = SCREENSHOTS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    return path

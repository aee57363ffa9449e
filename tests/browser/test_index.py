"""The first page in a real browser, in the JupyterLab that a learner gets."""

from lab_page import open_notebook, run_all_cells, screenshot, wait_finished, wait_kernel_idle

INDEX = "notebooks/index.ipynb"


def test_the_first_page_opens_with_a_heading_and_without_errors(page):
    open_notebook(page, INDEX)
    heading = page.locator(".jp-RenderedMarkdown h1").first
    heading.wait_for()
    screenshot(page, "index")
    assert "Robotics Transformers" in heading.inner_text()
    assert page.trouble == []


def test_the_first_page_runs_and_nothing_pops_up(page):
    open_notebook(page, INDEX)
    wait_kernel_idle(page)
    run_all_cells(page)
    wait_finished(page)
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    assert page.trouble == []


def test_learners_do_not_see_the_panels_of_nbgrader(page):
    open_notebook(page, INDEX)
    commands = page.evaluate("window.jupyterapp.commands.listCommands()")
    assert "notebook:run-all-cells" in commands
    assert [name for name in commands if "nbgrader" in name] == []

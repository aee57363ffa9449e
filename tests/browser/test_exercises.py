"""A student's minute in a real browser: an empty answer, one with a known mistake, a right one, and what the check says."""

from lab_page import CELLS, PANEL, open_notebook, screenshot, show_cell, wait_kernel_idle

NOTEBOOK = "exercises/day92_rt1/exercises.ipynb"
ANSWER, CHECK = "class FiLM(nn.Module):", "check_film(FiLM)"
FILM = """class FiLM(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale = nn.Linear(instruction_dim, channels)
        self.to_shift = nn.Linear(instruction_dim, channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x, z):
        scale, shift = self.to_scale(z)[:, :, None, None], self.to_shift(z)[:, :, None, None]
        return {formula}
"""


def run(page, text):
    """Run the first cell that contains ``text`` with Shift+Enter, as a student does; what it shows then."""
    show_cell(page, text)
    page.evaluate("window.jupyterapp.commands.execute('notebook:enter-command-mode')")
    page.keyboard.press("Shift+Enter")
    page.wait_for_timeout(200)
    wait_kernel_idle(page)
    show_cell(page, text)
    return page.evaluate(f"{PANEL}.content.activeCell.node.querySelector('.jp-OutputArea')?.innerText ?? ''")


def answer(page, source):
    """Put a source into the answer's cell and run it, then its check; what the check says."""
    show_cell(page, ANSWER)
    cell = f"{CELLS}.find(cell => cell.model.sharedModel.source.includes(text))"
    page.evaluate(f"([text, source]) => {cell}.model.sharedModel.setSource(source)", [ANSWER, source])
    assert run(page, ANSWER) == ""
    return run(page, CHECK)


def test_a_student_is_told_what_is_missing_then_what_is_wrong_then_that_it_is_right(page):
    open_notebook(page, NOTEBOOK)
    wait_kernel_idle(page)
    run(page, "import torch")
    run(page, ANSWER)
    said = [run(page, CHECK)]
    for formula in ("scale * x + shift", "(1 + scale) * x + shift"):
        said.append(answer(page, FILM.format(formula=formula)))
        screenshot(page, f"exercise_film_{len(said) - 1}")
    assert "not attempted" in said[0].lower()
    assert "not yet" in said[1].lower() and "1 +" in said[1]
    assert "passed" in said[2].lower()
    assert page.trouble == []

"""Day 92, notebook 1, as a learner meets it: run all cells, turn the dial, move an action, read the next cell."""

from lab_page import open_notebook, run_all_cells, screenshot, show_cell, wait_finished, wait_kernel_idle
from widget_page import change_theme

NOTEBOOK = "notebooks/day92_rt1/1_theory.ipynb"


def test_the_learner_runs_the_lesson_and_plays_with_both_widgets(page):
    open_notebook(page, NOTEBOOK)
    wait_kernel_idle(page)
    run_all_cells(page)
    wait_finished(page, seconds=400)  # 20 seconds on a quiet machine
    errors = page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')
    assert errors.count() == 0, errors.all_inner_texts()

    show_cell(page, "FilmDial(policy")
    dial = page.locator(".film-dial[data-scale]")
    dial.wait_for()
    dial.get_by_role("button", name="Identity").click()
    assert dial.locator(".controls-words").inner_text().startswith("The identity")
    dial.get_by_label("scale γ").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert dial.locator(".controls-words").inner_text().startswith("Quieter")
    dial.scroll_into_view_if_needed()
    screenshot(page, "theory_dial")

    show_cell(page, "sliders = ActionTokenSliders()")
    sliders = page.locator(".action-sliders[data-tokens]")
    sliders.wait_for()
    sliders.get_by_role("button", name="RT-2's example").click()
    sliders.scroll_into_view_if_needed()
    screenshot(page, "theory_sliders")
    show_cell(page, 'print("tokens:", *sliders.tokens)')
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
    page.get_by_text("tokens: 1 12").wait_for()
    said = page.get_by_text("tokens: 1 12").inner_text().split()
    assert said[-3:] == ["127", "127", "127"] and "158" in " ".join(said)  # the base stays; the arm's numbers are RT-2's
    change_theme(page, "Dark")
    for name in ("architecture_figure", "mask_figure", "rates_figure"):
        show_cell(page, f"import {name}")
        screenshot(page, f"theory_{name}")
    change_theme(page, "Light")
    assert page.trouble == []

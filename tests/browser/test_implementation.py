"""Day 92, notebook 2, as a learner meets it: run all cells, drive the robot, move the slider, see the picture change."""

from lab_page import open_notebook, run_all_cells, screenshot, wait_finished, wait_kernel_idle

NOTEBOOK = "notebooks/day92_rt1/2_implementation.ipynb"


def picture(widget):
    return widget.locator(".player-picture").evaluate("canvas => canvas.toDataURL()")


def test_the_learner_runs_the_lesson_and_drives_the_robot(page):
    open_notebook(page, NOTEBOOK)
    wait_kernel_idle(page)
    run_all_cells(page)
    wait_finished(page)
    errors = page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')
    assert errors.count() == 0, errors.all_inner_texts()
    widget = page.locator(".attention[data-step]")
    widget.wait_for()
    widget.scroll_into_view_if_needed()
    before = picture(widget)
    slider = widget.get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('.player-picture').toDataURL() !== before", arg=before)
    slider.press("8")  # one token instead of all
    widget.screenshot(path=screenshot(page, "implementation").with_name("widget.png"))
    before = picture(widget)
    other = next(name for name in widget.locator("thead th").all_inner_texts() if name.strip() and "asked" not in name)
    box = widget.get_by_role("combobox")
    box.fill(f"pick up the {other}")
    box.press("Enter")
    changed = "before => document.querySelector('.player-picture').toDataURL() !== before"
    page.wait_for_function(changed, arg=before, timeout=60_000)  # another sentence, another drive
    assert other in widget.inner_text()
    box.fill("pick up the zebra" if "grapes" in widget.inner_text() else "pick up the grapes")
    box.press("Enter")  # not on this table: refused in words, and the drive stays
    page.wait_for_function("() => /no grapes on this table|zebra/.test(document.querySelector('.attention').innerText)")

"""AskRobot in a real browser: instructions in two languages, steps by keyboard, questions, refused words, both themes."""

import pytest
from widget_page import assert_readable, assert_still_stands_in, run_widget

SOURCE = """
import torch
from course_lib.classroom import AskRobot
from course_lib.datasets.web import vocabulary
from course_lib.rt2 import RT2

torch.manual_seed(0)
policy = RT2.tiny(vocabulary(), without=("base_x", "base_y", "base_yaw"), plan=True, plan_tokens=3).eval()
policy.pick = lambda logits: torch.isfinite(logits).int().argmax(-1)  # untrained, but it never stops
AskRobot(policy, instruction="recoge la fruta amarilla", scene=1, steps=6)
"""


@pytest.fixture
def widget(page, lab):
    return run_widget(page, lab, "ask_robot.ipynb", SOURCE, "ask-robot[data-step]")


def wait_for(page, condition):
    """``condition`` is JavaScript about ``root``, the widget's element."""
    page.wait_for_function(f"(() => {{ const root = document.querySelector('.ask-robot'); return {condition}; }})()")


def status(page, words):
    wait_for(page, f"root.querySelector('[role=status]').textContent.includes({words!r})")


def picture(widget):
    return widget.get_by_role("img").evaluate("canvas => canvas.toDataURL()")


def test_steps_by_keyboard_show_picture_plan_tokens_and_words(page, widget):
    seen = {picture(widget)}
    for place in (widget.get_by_role("slider", name="Step"), widget.get_by_role("img")):
        place.focus()
        step = int(widget.get_attribute("data-step"))
        page.keyboard.press("ArrowRight")
        wait_for(page, f"root.dataset.step === '{step + 1}' && root.dataset.inputMs")
        seen.add(picture(widget))
    assert len(seen) == 3 and widget.get_by_role("slider").get_attribute("aria-valuetext") == "step 2 of 6"
    assert widget.locator("tbody tr").count() == 8
    row = widget.locator("tbody tr").nth(1)
    assert row.locator("th").inner_text() == "arm x" and row.locator("td").all_inner_texts()[-1] == "−5.0 cm"
    assert widget.locator(".ask-robot-plan").inner_text().startswith("Plan:")
    assert widget.locator(".ask-robot-words").inner_text().startswith("The hand moves 5.0 cm left")
    page.keyboard.press("End")
    wait_for(page, "root.dataset.step === '6'")
    assert widget.locator("tbody tr").count() == 0 and "over" in widget.locator(".ask-robot-words").inner_text()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    wait_for(page, "Number(root.dataset.step) >= 2")
    assert widget.get_by_role("button", name="Pause").is_visible()
    assert page.trouble == []


def test_a_sentence_in_another_language_and_a_refused_word(page, widget):
    box = widget.get_by_label("Instruction", exact=True)
    box.fill("nimm die banane")
    box.press("Enter")
    wait_for(page, "root.dataset.number === '2'")
    status(page, "Stopped after 6 steps")
    assert widget.get_by_role("img").get_attribute("aria-label").startswith("“nimm die banane”")
    box.fill("pick up the zebra")
    box.press("Enter")
    status(page, "does not know 'zebra'")
    assert "Traceback" not in widget.inner_text() and widget.get_attribute("data-number") == "2"
    offers = widget.get_by_role("group", name="Instructions for this table").get_by_role("button")
    text = offers.nth(1).inner_text()
    offers.nth(1).focus()
    page.keyboard.press("Enter")
    wait_for(page, "root.dataset.number === '3'")
    assert box.input_value() == text and offers.nth(1).evaluate("button => button === document.activeElement")
    status(page, "Stopped after 6 steps")
    widget.get_by_role("button", name="New scene").click()
    wait_for(page, "root.dataset.number === '4'")
    assert widget.get_by_label("Scene", exact=True).input_value() == "2"
    assert page.trouble == []


def test_questions_about_the_picture(page, widget):
    box, answer = widget.get_by_label("Ask about this picture"), widget.locator("output")
    box.fill("where is the banana")
    box.press("Enter")
    wait_for(page, "root.querySelector('output').textContent.startsWith('where is the banana →')")
    box.fill("where is the zebra")
    widget.get_by_role("button", name="Ask", exact=True).click()
    wait_for(page, "root.querySelector('output').textContent.includes('zebra')")
    assert "does not know 'zebra' (word 4 of" in answer.inner_text() and widget.get_attribute("data-number") == "1"
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # JupyterLab's own shortcuts stayed away
    assert page.trouble == []


def test_everything_has_a_name_and_can_be_read_in_both_themes(page, widget):
    assert_readable(page, widget, "ask_robot")


def test_a_still_stands_in_where_no_kernel_runs(page, widget):
    assert_still_stands_in(page, "ask_robot", timeout=120_000)

"""The attention widget in a real browser: keyboard, instructions, what a screen reader hears, and how fast it is."""

import statistics

import pytest
from lab_page import screenshot
from widget_page import CONTRAST, NAMELESS, change_theme, run_widget

from course_lib.world.objects import NAMES

NOTEBOOK = "attention_widget.ipynb"
SOURCE = """
from pathlib import Path
import course_lib
from course_lib.classroom import AttentionWidget
from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1

policy = load_checkpoint(Path(course_lib.__file__).parent.parent / "data" / "rt1_tiny.safetensors", RT1)
AttentionWidget(policy, instruction="pick apple", scene=1)
""".strip()


@pytest.fixture
def widget(page, lab):
    """The widget's root element, live in a new notebook."""
    return run_widget(page, lab, NOTEBOOK, SOURCE, "attention[data-step]")


def picture(widget):
    return widget.locator(".player-picture").evaluate("canvas => canvas.toDataURL()")


def alt(widget):
    return widget.get_by_role("img").first.get_attribute("aria-label")


def number(widget, name):
    return widget.evaluate(f"root => Number(root.dataset.{name})")


def wait_for(page, condition):
    """``condition`` is JavaScript about ``root``, the widget's element."""
    page.wait_for_function(f"(() => {{ const root = document.querySelector('.attention'); return {condition}; }})()")


def ask(page, widget, instruction):
    """Type an instruction, press Enter, wait until the new rollout's first picture is there."""
    before = number(widget, "rollout")
    box = widget.get_by_label("Instruction", exact=True)
    box.fill(instruction)
    widget.evaluate("root => delete root.dataset.runMs")
    box.press("Enter")
    wait_for(page, f"Number(root.dataset.rollout) > {before} && root.dataset.runMs")


def status(page, words):
    wait_for(page, f"root.querySelector('[role=status]').textContent.includes({words!r})")


def test_steps_and_tokens_by_keyboard_alone(page, widget):
    seen, texts = {picture(widget)}, {alt(widget)}
    for place in (widget.get_by_role("slider", name="Step"), widget.get_by_role("img").first):
        place.focus()
        step = number(widget, "step")
        page.keyboard.press("ArrowRight")
        wait_for(page, f"root.dataset.step === '{step + 1:.0f}'")
        seen.add(picture(widget))
        texts.add(alt(widget))
    assert len(seen) == len(texts) == 3
    assert widget.get_by_role("slider").get_attribute("aria-valuetext").startswith("step 2 of ")

    everything = picture(widget), alt(widget)
    for key, token in (("3", "3"), ("8", "8"), ("0", "0"), ("1", "1"), ("a", "0")):
        page.keyboard.press(key)
        wait_for(page, f"root.dataset.token === '{token}'")
        assert ((picture(widget), alt(widget)) == everything) == (token == "0")
        assert widget.locator(".attention-words").inner_text().startswith(f"Token {token}" if token != "0" else "All 8")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # JupyterLab's own "a" adds a cell

    widget.get_by_role("radio", name="token 5").focus()
    page.keyboard.press("ArrowRight")  # the small maps are radio buttons
    wait_for(page, "root.dataset.token === '6'")
    assert widget.get_by_role("radio", name="token 6").is_checked()

    page.keyboard.press("Space")
    wait_for(page, "Number(root.dataset.step) >= 4")
    assert widget.get_by_role("button", name="Pause").is_visible()
    page.keyboard.press("Space")
    step = number(widget, "step")
    page.wait_for_timeout(800)  # more than two steps of the player
    assert number(widget, "step") == step and widget.get_by_role("button", name="Play").is_visible()
    assert page.trouble == []


def test_instructions_scenes_and_problems(page, widget):
    offers = widget.locator(".attention-offers button")
    things, before = offers.all_inner_texts(), alt(widget)
    other = next(text for text in things if "apple" not in text)
    ask(page, widget, other)
    status(page, "after")
    assert alt(widget).startswith(f"“{other}”") and alt(widget) != before
    assert offers.all_inner_texts() == things  # the same scene

    offers.nth(1).focus()
    page.keyboard.press("Enter")
    wait_for(page, "root.dataset.rollout === '3'")
    assert offers.nth(1).evaluate("button => button === document.activeElement")  # the keyboard keeps its place
    status(page, "after")

    box = widget.get_by_label("Instruction", exact=True)
    missing = next(name for name in NAMES if not any(name in text for text in things))
    for text, words in ((" ", "empty box"), (f"pick {missing}", "On it:")):
        box.fill(text)
        box.press("Enter")
        status(page, words)
        assert "Traceback" not in widget.get_by_role("status").inner_text() and number(widget, "rollout") == 3

    widget.get_by_role("button", name="New scene").click()
    wait_for(page, "root.dataset.rollout === '4'")
    assert any(missing in text for text in offers.all_inner_texts())
    assert widget.get_by_label("Scene", exact=True).input_value() == "2"
    assert page.trouble == []


def test_a_picture_with_a_text_stands_in_where_no_widget_lives(page, widget):
    still = page.locator("figure img")
    assert still.count() == 1 and not still.is_visible() and "pick apple" in still.get_attribute("alt")
    ask(page, widget, "grab the apple")
    status(page, "after")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()  # the kernel lives on: so does the widget, with its last rollout
    page.locator(".attention[data-step]").wait_for()
    assert alt(page.locator(".attention")).startswith("“grab the apple”")
    assert not still.is_visible()
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    still.wait_for(state="visible")
    screenshot(page, "attention_widget_without_kernel")


def test_everything_has_a_name_and_can_be_read_in_both_themes(page, widget):
    assert widget.evaluate(NAMELESS) == []
    widget.get_by_role("slider").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "6"):  # a picture with something to see
        page.keyboard.press(key)
    for theme in ("Light", "Dark", "Light"):
        change_theme(page, theme)
        screenshot(page, f"attention_widget_{theme.lower()}")
        contrast = widget.evaluate(CONTRAST)
        assert min(contrast.values()) >= 4.5, (theme, contrast)
    page.emulate_media(reduced_motion="reduce")
    ask(page, widget, "take the apple")
    assert widget.get_by_role("button", name="Play").is_visible()  # nothing moves by itself


def test_pictures_come_quickly(page, widget):
    """Medians by the browser's own clock, from the input to the painted picture, less the policy's own time."""
    widget.get_by_role("img").first.focus()
    inputs, runs = [], []
    for key in ("ArrowRight", "3", "ArrowRight", "8", "0", "ArrowLeft") * 3:
        widget.evaluate("root => delete root.dataset.inputMs")
        page.keyboard.press(key)
        wait_for(page, "root.dataset.inputMs")
        inputs.append(number(widget, "inputMs"))
    for text in widget.locator(".attention-offers button").all_inner_texts() * 3:
        ask(page, widget, text)
        runs.append(number(widget, "runMs") - number(widget, "modelMs"))
        status(page, "after")
    print(f"\nstep or token: median {statistics.median(inputs):.0f} ms, worst {max(inputs):.0f}")
    print(f"instruction: median {statistics.median(runs):.0f} ms beside the policy, worst {max(runs):.0f}")
    assert statistics.median(inputs) <= 150  # about 20: far enough from the target that a busy machine cannot fail it
    assert statistics.median(runs) <= 600  # the target is 150, met on a quiet machine; this notices a stalled stream

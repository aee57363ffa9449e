"""FilmDial and ActionTokenSliders in a real browser: by keyboard, in words, in both themes, and equal to Python."""

import re
import statistics

import numpy as np
import pytest
from widget_page import assert_readable, assert_still_stands_in, run_widget

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.classroom.action_sliders import text_of

DIAL = """
from pathlib import Path
import gymnasium
import course_lib.world
from course_lib.classroom.attention_trace import describe_scene
from course_lib.classroom import FilmDial
from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1

policy = load_checkpoint(Path(course_lib.__file__).parent.parent / "data" / "rt1_tiny.safetensors", RT1)
env = gymnasium.make("course_lib/Tabletop-v0").unwrapped
observation, _ = env.reset(seed=3)
other = next(s for s in course_lib.world.known_instructions() if s != observation["instruction"])
FilmDial(policy, observation, sentences=[other], scene=describe_scene(env.segmentation(), list(env.labels)))
"""
SLIDERS = "from course_lib.classroom import ActionTokenSliders\nsliders = ActionTokenSliders()\nsliders"


@pytest.fixture
def dial(page, lab):
    return run_widget(page, lab, "film_dial.ipynb", DIAL, "film-dial[data-scale]")


@pytest.fixture
def sliders(page, lab):
    return run_widget(page, lab, "action_sliders.ipynb", SLIDERS, "action-sliders[data-tokens]")


def set_range(place, value):
    """Put a slider where a mouse would, with the event that a mouse makes."""
    place.evaluate("(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", str(value))


def picture(dial, number):
    return dial.locator("canvas").nth(number).evaluate("canvas => canvas.toDataURL()")


def words(widget):
    return widget.locator(".controls-words").inner_text()


def in_python(page, expression):
    """The value of an expression in the notebook's kernel, as Python prints it."""
    return page.evaluate(
        """async value => {
            const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
            const reply = await kernel.requestExecute({ code: "", user_expressions: { value } }).done;
            return reply.content.user_expressions.value.data["text/plain"];
        }""",
        expression,
    )


def quick(page, widget, keys):
    """The median of the milliseconds from a key to its picture, by the browser's clock."""
    took = []
    for key in keys:
        widget.evaluate("root => delete root.dataset.inputMs")
        page.keyboard.press(key)
        page.wait_for_function("document.querySelector('.controls').dataset.inputMs")
        took.append(float(widget.evaluate("root => root.dataset.inputMs")))
    return statistics.median(took)


def test_the_dial_does_what_its_formula_says(page, dial):
    scale, shift = dial.get_by_label("scale γ"), dial.get_by_label("shift β")
    dial.get_by_role("button", name="Identity").click()
    assert words(dial).startswith("The identity") and picture(dial, 1) == picture(dial, 2)
    mean, spread, low, high = (
        float(cell.replace("−", "-")) for cell in dial.locator("tbody tr").first.locator("td").all_inner_texts()
    )
    set_range(scale, -200)  # γ = −2: turned over
    assert words(dial).startswith("Turned over") and scale.get_attribute("aria-valuetext") == "−2.00"
    after = [float(cell.replace("−", "-")) for cell in dial.locator("tbody tr").nth(1).locator("td").all_inner_texts()]
    assert np.allclose(after, [-mean, spread, -high, -low], atol=0.02)
    set_range(scale, -100)  # γ = −1: silenced
    assert words(dial).startswith("Silenced") and picture(dial, 2) != picture(dial, 1)
    set_range(shift, 200)
    assert re.search(r"every place holds β = [1-9\d]", words(dial))
    dial.get_by_role("button", name="As the sentence says").click()
    assert "So says" in words(dial)
    assert page.trouble == []


def test_the_dial_by_keyboard_alone(page, dial):
    before = picture(dial, 2)
    dial.get_by_label("scale γ").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert picture(dial, 2) != before and "Your own setting" in words(dial)
    dial.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")  # the other sentence
    assert dial.get_by_role("radio").nth(1).is_checked() and "So says" in words(dial)
    layer = dial.get_by_label("FiLM after")
    layer.focus()
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    assert layer.locator("option:checked").inner_text().startswith("map")
    dial.get_by_label("channel", exact=True).focus()
    page.keyboard.press("Home")
    assert "channel 1," in dial.locator("canvas").nth(1).get_attribute("aria-label")
    assert quick(page, dial, ["ArrowRight", "ArrowLeft"] * 8) <= 150
    assert page.trouble == []


def test_every_token_in_the_browser_is_the_one_that_python_gives(page, sliders):
    tokenizers = {r: ActionTokenizer(ActionSpace.official(), rounding=r) for r in ("floor", "nearest")}
    space = ActionSpace.official()
    places = np.linspace(0, 2000, 41).round().astype(int)
    for rounding, radio in (("nearest", "the nearest one"), ("floor", "the lower one (floor, RT-1's release)")):
        sliders.get_by_role("radio", name=radio).check()
        for place in places.tolist():
            values = np.where(
                [bool(d.classes) for d in space.dims], 1, space.low + (space.high.astype(float) - space.low) * place / 2000
            )
            ranges = sliders.locator("input[type=range]")
            ranges.evaluate_all(
                "(nodes, value) => nodes.slice(1).forEach(n => { n.value = value; n.dispatchEvent(new Event('input')); })",
                place,
            )
            shown = [int(t) for t in sliders.evaluate("root => root.dataset.tokens").split()]
            assert shown == tokenizers[rounding].encode(values).tolist(), (rounding, place)
    assert page.trouble == []


def test_strings_are_read_refused_and_said(page, sliders):
    sliders.get_by_role("radio", name="the nearest one").check()
    text, status = sliders.get_by_label("RT-2 would say"), sliders.get_by_role("status")
    sliders.get_by_role("button", name="RT-2's example").click()
    assert text.input_value() == "1 128 124 136 121 158 111 255" and status.inner_text() == ""
    tokens = [int(t) for t in sliders.evaluate("root => root.dataset.tokens").split()]
    action = ActionTokenizer(ActionSpace.official()).decode(np.array(tokens))
    row = sliders.locator("tbody tr").nth(3).locator("td").all_inner_texts()
    assert row[-2] == f"{1000 * float(action[3]):.1f} mm" and row[-1] == "0.0 mm"
    for typed, problem in (
        ("1 128 91 241 5 101 127", "yaw, gripper), got 7."),
        ("1 128 91 241 5 101 127 256", "Number 8 (gripper) must be a whole number 0 … 255, got “256”"),
        ("3 128 91 241 5 101 127 217", "0 … 2 (0 terminate, 1 arm, 2 base), got “3”"),
        ("1 128 -1 241 5 101 127 217", "Number 3 (arm y) must be a whole number 0 … 255, got “-1”"),
    ):
        text.fill(typed)
        text.press("Enter")
        assert problem in status.inner_text()
        assert [int(t) for t in sliders.evaluate("root => root.dataset.tokens").split()] == tokens  # nothing has moved
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1
    set_range(sliders.get_by_label("base x"), 1500)
    assert "leaves out base x" in status.inner_text()
    assert page.trouble == []


def test_floor_does_not_find_all_of_its_own_levels_again(page, sliders):
    tokenizer = ActionTokenizer(ActionSpace.official(), rounding="floor")
    tokens = np.tile(np.arange(256)[:, None], 11)
    tokens[:, 0] = 1
    lost = np.flatnonzero((tokenizer.encode(tokenizer.decode(tokens)).numpy() != tokens)[:, 1])
    text = sliders.get_by_label("RT-2 would say")
    text.fill(f"1 {lost[0]} 128 128 128 128 128 128")
    text.press("Enter")
    assert "came back as others" in sliders.get_by_role("status").inner_text()
    assert int(sliders.evaluate("root => root.dataset.tokens").split()[1]) == lost[0] - 1


def test_the_other_robot_and_what_python_sees_of_it(page, sliders):
    sliders.get_by_role("radio", name="the course's robot (±0.05 m)").check()
    set_range(sliders.get_by_label("arm x"), 2000)
    space = ActionSpace.workbook()
    tokens = [int(t) for t in sliders.evaluate("root => root.dataset.tokens").split()]
    assert tokens[0] == 255 and len(tokens) == len(space)
    said = sliders.get_by_label("RT-2 would say").input_value().split()
    assert [int(word) for word in said] == [tokens[i] for i in text_of(space).order]
    sliders.get_by_label("roll").focus()
    before = sliders.get_by_label("roll").get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert sliders.get_by_label("roll").get_attribute("aria-valuetext") != before
    assert quick(page, sliders, ["ArrowRight", "ArrowLeft"] * 8) <= 150
    shown = [int(t) for t in sliders.evaluate("root => root.dataset.tokens").split()]
    assert in_python(page, "sliders.tokens") == str(shown) and len(shown) == len(space)
    assert page.trouble == []


@pytest.mark.parametrize("name", ["dial", "sliders"])
def test_everything_has_a_name_and_can_be_read_in_both_themes(page, request, name):
    assert_readable(page, request.getfixturevalue(name), name)


@pytest.mark.parametrize("name", ["dial", "sliders"])
def test_a_still_stands_in_where_no_kernel_runs(page, request, name):
    request.getfixturevalue(name)
    assert_still_stands_in(page, name)

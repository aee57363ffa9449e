"""VocabularyExplorer in a real browser: text, ids and action as Python has them, by keyboard, in words, in both themes."""

import re

import numpy as np
import pytest
import torch
from test_lesson_widgets import in_python, quick, set_range, words
from widget_page import assert_readable, assert_still_stands_in, run_widget

from course_lib.rt2 import RT2

BASE = ("base_x", "base_y", "base_yaw")
WORDS = ["apple", "banana", "pick", "up", "the", "what", "is", "red"]
LAYOUTS = ("integers", "overwrite", "extend", "per dimension")
CELL = f"""
import torch
from course_lib.classroom import VocabularyExplorer
from course_lib.rt2 import RT2

torch.manual_seed(0)
layouts = {{name: RT2.tiny({WORDS}, layout=name, without={BASE}) for name in {LAYOUTS}}}
images = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
robot = {{"images": images, "instructions": ["pick up the apple"] * 2, "actions": torch.zeros(2, 11)}}
web = {{"images": images, "questions": ["what is the apple"] * 2, "answers": ["red", "banana"]}}
examples = {{"first": "0 10 20 30 40 50 60 70", "RT-2's example": "1 128 124 136 121 158 111 255"}}
explorer = VocabularyExplorer(layouts, robot, web, examples=examples)
explorer
"""


@pytest.fixture
def explorer(page, lab):
    return run_widget(page, lab, "vocabulary_explorer.ipynb", CELL, "vocabulary-explorer[data-ids]")


@pytest.fixture(scope="module")
def layouts():
    return {name: RT2.tiny(WORDS, layout=name, without=BASE) for name in LAYOUTS}


def numbers(explorer, name):
    return [int(word) for word in explorer.evaluate(f"root => root.dataset.{name}").split()]


def test_text_ids_and_action_are_pythons_in_every_layout(page, explorer, layouts):
    draw = np.random.default_rng(0)
    text, ids = explorer.get_by_label("as text"), explorer.get_by_label("as token ids")
    for place, policy in enumerate(layouts.values()):
        explorer.get_by_role("group", name="Action tokens").get_by_role("radio").nth(place).check()
        for _ in range(5):
            levels = torch.tensor([int(draw.integers(count)) for count in policy.text.counts])
            said, tokens = " ".join(map(str, levels.tolist())), policy.vocabulary.ids(levels).tolist()
            text.fill(said)
            text.press("Enter")
            assert numbers(explorer, "ids") == tokens and ids.input_value() == " ".join(map(str, tokens))
            explorer.get_by_role("button", name="first").click()
            ids.fill(" ".join(map(str, tokens)))
            ids.press("Enter")
            assert numbers(explorer, "levels") == levels.tolist() and text.input_value() == said
        action = policy.text.decode(said)
        first = 1 if policy.vocabulary.frame else 0
        means = explorer.locator("tbody tr").nth(first + 1).locator("td").last.inner_text()
        assert means.replace("−", "-") == f"{1000 * float(action[0]):.1f} mm"  # arm x follows terminate
    assert in_python(page, "explorer.ids") == str(tokens) and in_python(page, "explorer.chosen") == "'per dimension'"
    assert page.trouble == []


def test_what_is_wrong_is_said_and_nothing_moves(page, explorer, layouts):
    text, ids, before = explorer.get_by_label("as text"), explorer.get_by_label("as token ids"), numbers(explorer, "ids")
    status = explorer.get_by_role("status").nth(1)
    for typed, problem in (
        ("0 1 2 3 4 5 6", "Expected 8 numbers (terminate, arm x"),
        ("2 1 2 3 4 5 6 7", "Number 1 (terminate) must be a whole number 0 … 1 (0 continue, 1 stop), got “2”"),
        ("0 1 2 256 4 5 6 7", "Number 4 (arm z) must be a whole number 0 … 255, got “256”"),
        ("0 1 2 1e2 4 5 6 7", "got “1e2”"),
    ):
        text.fill(typed)
        text.press("Enter")
        assert problem in status.inner_text()
    apple = layouts["integers"].tokenizer.convert_tokens_to_ids("apple")
    for typed, problem in (
        (f"12 {apple} 12 12 12 12 12 12", f"Token 2 of 8 must be an action token, but it is id {apple}"),
        ("12 12", "Expected 8 token ids, got 2"),
        ("14 12 12 12 12 12 12 12", "Number 1 (terminate) must be a whole number 0 … 1"),
    ):
        ids.fill(typed)
        ids.press("Enter")
        assert problem in status.inner_text()
    assert numbers(explorer, "ids") == before
    explorer.get_by_role("radio", name="256 for each number").check()
    ids.fill("0 1 2 3 4 5 6 7 8 9")
    ids.press("Enter")
    assert "Token 1 of 10 must be the start token, but it is id 0" in status.inner_text()
    assert page.trouble == []


def test_the_table_says_which_rows_learn(page, explorer, layouts):
    size, tokenizer = len(layouts["integers"].tokenizer), layouts["integers"].tokenizer
    find = explorer.get_by_label("or the token")
    find.fill("Banana")
    find.press("Enter")
    banana = tokenizer.convert_tokens_to_ids("banana")
    assert f"Row {banana} is “banana” (word)." in words(explorer) and "pushes it down" in words(explorer)
    assert f"{size} of {size} have a gradient" in words(explorer).replace("rows of", "of").replace(" rows", "")
    explorer.get_by_role("radio", name="robot, action tokens only").check()
    assert "No gradient: this step leaves it exactly as it is." in words(explorer)
    explorer.get_by_role("radio", name="questions (web)").check()
    assert "It is the right answer once" in words(explorer)
    find.fill("pear")
    find.press("Enter")
    assert "There is no token “pear”" in explorer.get_by_role("status").first.inner_text()
    explorer.get_by_role("button", name="RT-2's example").click()
    explorer.get_by_role("button", name="show row").nth(1).click()
    assert "“128” (number) and stands for number 128 of every place" in words(explorer)
    explorer.get_by_role("radio", name="append 256").check()
    explorer.get_by_role("button", name="show row").nth(1).click()
    assert "is new (new: action) and stands for number 128" in words(explorer)
    before = explorer.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    explorer.get_by_role("radio", name="what each row is").check()
    assert explorer.locator("canvas").evaluate("canvas => canvas.toDataURL()") != before
    assert "word" in explorer.locator(".vocabulary-explorer-legend").inner_text()
    explorer.locator("canvas").click(position={"x": 3, "y": 3})
    assert "Row 0 is “<pad>” (special)." in words(explorer)
    assert page.trouble == []


def test_by_keyboard_alone(page, explorer):
    explorer.get_by_label("row", exact=True).focus()
    row = numbers(explorer, "row")[0]
    page.keyboard.press("ArrowRight")
    assert numbers(explorer, "row") == [row + 1] and f"Row {row + 1} is" in words(explorer)
    explorer.get_by_role("radio", name="the integers").focus()
    page.keyboard.press("ArrowDown")
    assert explorer.evaluate("root => root.dataset.layout") == "overwrite"
    slider = explorer.get_by_label("arm x")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # the focus stays where it was
    assert numbers(explorer, "levels")[1] == 12 and re.match(r"12, −45\.3 mm", slider.get_attribute("aria-valuetext"))
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no letter became a command
    assert quick(page, explorer, ["ArrowRight", "ArrowLeft"] * 8) <= 150
    explorer.get_by_role("radio", name="256 for each number").check()  # the largest table
    slider.focus()
    assert quick(page, explorer, ["ArrowRight", "ArrowLeft"] * 8) <= 150
    set_range(slider, 255)
    assert numbers(explorer, "levels")[1] == 255
    assert page.trouble == []


def test_everything_has_a_name_and_can_be_read_in_both_themes(page, explorer):
    assert_readable(page, explorer, "explorer")


def test_a_still_stands_in_where_no_kernel_runs(page, explorer):
    assert_still_stands_in(page, "explorer")

import re

import pytest

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.classroom import lesson_widget
from course_lib.classroom.action_sliders import EXAMPLE, ActionTokenSliders, still, text_of

OFFICIAL, WORKBOOK = ActionSpace.official(), ActionSpace.workbook()


def test_rt2_says_the_class_first_the_gripper_last_and_leaves_the_base_out():
    for space in (OFFICIAL, WORKBOOK):
        said = text_of(space).names
        assert len(said) == 8 and said[0].startswith("terminate") and said[-1].startswith("gripper")
        assert not any(name.startswith("base") for name in said)


def test_the_papers_example_is_a_sane_motion_of_the_official_robot():
    action = text_of(OFFICIAL).decode(" ".join(map(str, EXAMPLE)))
    assert OFFICIAL.dims[0].classes[int(action[0])] == "arm" and action[OFFICIAL.index("gripper_closedness_action")] == 1
    assert action[1:4].tolist() == pytest.approx([0.004, -0.027, 0.067], abs=5e-4)  # a few centimetres


def test_to_stay_still_is_zero_everywhere_and_the_arm_s_own_mode():
    assert still(OFFICIAL).tolist() == [1] + [0] * 10
    assert not still(WORKBOOK).any()


@pytest.mark.parametrize("rounding, token", [("floor", 127), ("nearest", 128)])
def test_the_first_tokens_are_the_tokenizers(rounding, token):
    widget = ActionTokenSliders(rounding=rounding)
    assert widget.tokens == ActionTokenizer(OFFICIAL, rounding=rounding).encode(still(OFFICIAL)).tolist()
    assert set(widget.tokens[1:]) == {token}  # zero lies between 127 and 128


def test_another_action_to_begin_with_and_impossible_ones():
    action = still(OFFICIAL)
    action[1] = 0.5
    assert ActionTokenSliders(action).tokens[1] == int(1.5 / 2 * 255)
    with pytest.raises(ValueError, match="An action here is 11 numbers"):
        ActionTokenSliders([0.1, 0.2])
    with pytest.raises(ValueError, match='rounding is "nearest" or "floor"'):
        ActionTokenSliders(rounding="up")


def test_both_robots_call_the_same_number_by_the_same_word():
    first, second = ActionTokenSliders().robots
    assert first["title"] == "RT-1 (±1 m)" and second["title"] == "the course's robot (±0.05 m)"
    names = [{dim["name"] for dim in robot["dims"]} for robot in (first, second)]
    assert names[0] == names[1] and {"arm x", "roll", "gripper", "base yaw", "terminate"} < names[0]
    assert [robot["dims"][i]["name"] for robot in (first, second) for i in robot["arm"]] == ["arm x", "arm y", "arm z"] * 2


def test_where_no_widget_lives_a_table_stands_in(monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_widget, "display", lambda what, **how: shown.append(what))
    widget = ActionTokenSliders()
    widget._ipython_display_()
    page = shown[0].data
    assert (
        f"“{text_of(OFFICIAL).encode(still(OFFICIAL)).replace('128', '127')}”" in page
    )  # ActionText rounds, the release cuts
    assert f'<figure class="{widget.still}">' in page and "RT-2 would say “1 127 127 127 127 127 127 127”" in page
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", page)[1:]]
    assert rows[0] == ["terminate", "arm", "1", "arm", ""]
    assert rows[1] == ["arm x", "0.0 mm", "127", "-3.9 mm", "-3.9 mm"]
    assert rows[4] == ["roll", "0.000 rad", "127", "-0.006 rad", "-6.2 mrad"]


def test_the_script_leaves_the_browser_nothing_to_fetch():
    widget = ActionTokenSliders()
    script = widget._esm.split("export default")[0].replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
    assert "import " not in script and "http" not in script + str(widget._css)

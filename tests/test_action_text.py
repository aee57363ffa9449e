"""Actions as RT-2's strings of numbers, and back."""

import math

import pytest
import torch

from course_lib.actions import ActionSpace, ActionText

RT2, WORKBOOK = ActionText(ActionSpace.rt2()), ActionText(ActionSpace.workbook())
EIGHT = ActionText(ActionSpace.workbook(), without=("base_x", "base_y", "base_yaw"))


def test_rt2s_string_decodes_to_the_motion_of_the_facts():
    """The paper's "pick rxbar chocolate" example: go on, a few millimetres, a tilt, close the gripper."""
    action = RT2.decode("1 128 124 136 121 158 111 255")
    degrees = [math.degrees(x) for x in action[4:7].tolist()]
    assert action[0] == 1 and RT2.space.dims[0].classes[1] == "continue"
    assert action[1:4].tolist() == pytest.approx([0.004, -0.027, 0.067], abs=5e-4)
    assert degrees == pytest.approx([-4.6, 21.5, -11.6], abs=0.05) and action[7] == 1


def test_rt2_writes_eight_numbers_terminate_first_and_the_gripper_last():
    assert len(RT2.names) == 8 and RT2.names[0] == "terminate" and RT2.names[-1] == "gripper_extension"


def test_the_workbooks_string_has_its_eleven_numbers_terminate_first():
    assert WORKBOOK.names == ("terminate", *ActionSpace.workbook().names[:-1])


def test_without_the_base_the_workbook_has_rt2s_eight():
    assert EIGHT.names == ("terminate", "arm_x", "arm_y", "arm_z", "roll", "pitch", "yaw", "gripper")
    assert EIGHT.decode("0 255 0 0 0 0 0 0").tolist()[7:10] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("text", [RT2, WORKBOOK, EIGHT], ids=["rt2", "workbook", "without base"])
def test_text_to_action_to_text_changes_nothing(text):
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        levels = torch.stack([torch.randint(count, (), generator=rng) for count in text.counts])
        written = " ".join(map(str, levels.tolist()))
        assert text.encode(text.decode(written)) == written


def test_several_actions_are_several_texts():
    written = ["1 0 0 0 0 0 0 0", "0 255 255 255 255 255 255 255"]
    assert RT2.encode(RT2.decode(written)) == written and RT2.decode(written).shape == (2, 8)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("1 128 91 241 5 101 127", r"Expected 8 numbers .* got 7 in"),  # as the paper prints its famous example
        ("1 128 91 241 5 101 127 217 0", "Expected 8 numbers .* got 9 in"),
        ("", "Expected 8 numbers .* got 0"),
        ("1 128 x 241 5 101 127 217", r"Number 3 of .* \(position_y\) must be a whole number 0 \.\.\. 255, got 'x'"),
        ("1 128 91 241 5 101 127 256", r"Number 8 of .* \(gripper_extension\) .* got '256'"),
        ("1 128 91 -241 5 101 127 0", "Number 4 .* got '-241'"),
        ("1 128 91.0 241 5 101 127 0", "Number 3 .* got '91.0'"),
        ("2 128 91 241 5 101 127 0", r"Number 1 .* \(terminate\) must be a whole number 0 \.\.\. 1, got '2'"),
        ("1 ١ 91 241 5 101 127 0", "Number 2"),
    ],
)
def test_a_malformed_string_raises_and_says_where(written, message):
    with pytest.raises(ValueError, match=message):
        RT2.decode(written)


def test_a_left_out_number_that_moves_is_refused_not_dropped():
    action = torch.zeros(11)
    assert EIGHT.encode(action).startswith("0 128")
    action[ActionSpace.workbook().index("base_y")] = 0.01
    with pytest.raises(ValueError, match=r"base_y moves by 0\.01, but this text leaves it out"):
        EIGHT.encode(action)


def test_unknown_or_all_dimensions_cannot_be_left_out():
    with pytest.raises(ValueError, match="No action dimension is called 'wheels'"):
        ActionText(ActionSpace.rt2(), without=("wheels",))
    with pytest.raises(ValueError, match="at least one number"):
        ActionText(ActionSpace.rt2(), without=ActionSpace.rt2().names)


def test_a_space_survives_its_plain_form():
    for space in (ActionSpace.rt2(), ActionSpace.official(), ActionSpace(ActionSpace.rt2().dims[1:3])):
        assert ActionSpace.from_plain(space.to_plain()) == space
    with pytest.raises(ValueError, match="'official' or 'workbook' or 'rt2'"):
        ActionSpace.from_plain("rt3")

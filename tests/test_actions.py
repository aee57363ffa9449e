"""Actions to tokens and back."""

import math

import numpy as np
import pytest
import torch

from course_lib.actions import ActionSpace, ActionTokenizer

OFFICIAL, WORKBOOK = ActionSpace.official(), ActionSpace.workbook()


def random_actions(space, n=20_000, seed=0):
    low, high = space.low, space.high
    action = np.random.default_rng(seed).uniform(low, high, (n, len(space))).astype(np.float32)
    for i, dim in enumerate(space.dims):
        if dim.classes:
            action[:, i] = np.random.default_rng(seed).integers(len(dim.classes), size=n)
    return action


def continuous(space):
    return [i for i, dim in enumerate(space.dims) if not dim.classes]


def test_both_spaces_have_rt1s_eleven_numbers():
    assert len(OFFICIAL) == len(WORKBOOK) == 11
    assert OFFICIAL.names[0] == "terminate_episode" and WORKBOOK.names[-1] == "terminate"


def test_official_step_is_7_84_millimetres_not_the_seeds_0_4():
    step = ActionTokenizer(OFFICIAL, rounding="floor").step
    assert step[1] == pytest.approx(2 / 255) and step[4] == pytest.approx(math.pi / 255)
    assert ActionTokenizer(WORKBOOK).step[0] == pytest.approx(0.1 / 255)  # ours: 0.39 mm


@pytest.mark.parametrize(("rounding", "most", "bias"), [("floor", 1.0, -0.5), ("nearest", 0.5, 0.0)])
def test_rounding_decides_the_largest_error_and_the_bias_in_steps(rounding, most, bias):
    for space in (OFFICIAL, WORKBOOK):
        tokenizer = ActionTokenizer(space, rounding=rounding)
        action = random_actions(space)
        dims = continuous(space)
        error = (tokenizer.decode(tokenizer.encode(action)).numpy() - action)[:, dims] / tokenizer.step[dims]
        assert np.abs(error).max() <= most + 1e-3
        assert error.mean() == pytest.approx(bias, abs=0.02)


def test_the_release_truncates_so_zero_becomes_127_and_only_the_maximum_is_255():
    tokenizer = ActionTokenizer(OFFICIAL, rounding="floor")
    for value, token in ((0.0, 127), (1.0, 255), (0.9999, 254), (-1.0, 0)):
        action = torch.zeros(11)
        action[1] = value
        assert tokenizer.encode(action)[1] == token
    assert tokenizer.decode(tokenizer.encode(torch.zeros(11)))[1] == pytest.approx(-1 / 255)


def test_the_official_unit_test_vector():
    tokenizer = ActionTokenizer(OFFICIAL, bins=10, rounding="floor")
    action = torch.zeros(11)
    action[1:4] = torch.tensor([0.1, 0.5, -0.8])
    assert tokenizer.encode(action)[1:4].tolist() == [4, 6, 0]


def test_decode_then_encode_is_exact_for_nearest_and_lowers_63_tokens_for_floor():
    levels = torch.arange(256)[:, None].expand(-1, 11).clone()
    levels[:, 0] = 0
    again = ActionTokenizer(OFFICIAL).encode(ActionTokenizer(OFFICIAL).decode(levels))
    assert torch.equal(again, levels)
    floor = ActionTokenizer(OFFICIAL, rounding="floor")
    lower = levels - floor.encode(floor.decode(levels))
    assert set(lower.unique().tolist()) == {0, 1} and lower[:, 1].sum() == 63


def test_beyond_the_range_is_clipped_and_never_wraps_around():
    tokenizer = ActionTokenizer(WORKBOOK)
    action = torch.zeros(4, 11)
    action[:, 0] = torch.tensor([0.051, 9.0, math.inf, -math.inf])
    assert tokenizer.encode(action)[:, 0].tolist() == [255, 255, 255, 0]


def test_nan_raises_and_names_the_dimension():
    action = torch.zeros(11)
    action[2] = math.nan
    with pytest.raises(ValueError, match="arm_z is NaN"):
        ActionTokenizer(WORKBOOK).encode(action)


def test_a_wrong_number_of_dimensions_is_explained():
    with pytest.raises(ValueError, match=r"An action here is 11 numbers .* has 7"):
        ActionTokenizer(WORKBOOK).encode(torch.zeros(7))


def test_a_class_must_be_whole_and_known():
    action = torch.zeros(11)
    action[10] = 0.5
    with pytest.raises(ValueError, match="0 = continue, 1 = stop"):
        WORKBOOK.check(action)


def test_a_class_token_beyond_the_classes_decodes_to_class_0_as_in_the_release():
    tokens = torch.full((11,), 127)
    tokens[0] = 200
    assert ActionTokenizer(OFFICIAL).decode(tokens)[0] == 0


def test_tokens_outside_the_bins_are_refused():
    with pytest.raises(ValueError, match=r"Tokens are 0 \.\.\. 255"):
        ActionTokenizer(WORKBOOK).decode(torch.full((11,), 256))
    with pytest.raises(ValueError, match="Expected integer tokens"):
        ActionTokenizer(WORKBOOK).decode(torch.zeros(11))


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ValueError, match="No action dimension is called 'arm_w'"):
        WORKBOOK.index("arm_w")
    with pytest.raises(ValueError, match="rounding is"):
        ActionTokenizer(WORKBOOK, rounding="ceil")
    with pytest.raises(ValueError, match="bins must be at least"):
        ActionTokenizer(OFFICIAL, bins=2)

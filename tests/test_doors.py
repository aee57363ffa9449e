"""What RT1 refuses, and what it says."""

import numpy as np
import pytest
import torch
from small_rt1 import observations, small_policy


@pytest.fixture
def policy():
    return small_policy()


@pytest.mark.parametrize(
    "images, message",
    [
        (torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8), r"got uint8.*Try images\.float\(\) / 255"),
        (torch.full((1, 2, 3, 32, 32), 200.0), r"values from 200 to 200.*Try images / 255"),
        (torch.full((1, 2, 3, 32, 32), -0.5), r"values from -0\.5.*Try images\.clamp"),
        (torch.full((1, 2, 3, 32, 32), float("nan")), "with NaN"),
        (torch.zeros(1, 2, 32, 32, 3), r"Try images\.movedim\(-1, 2\)"),
        (torch.zeros(1, 3, 32, 32), "Try adding the missing axes"),
        (torch.zeros(1, 2, 3, 48, 32), "H x W = 32 x 32; got float32.*Try resizing"),
        (torch.zeros(1, 4, 3, 32, 32), r"T from 1 to 3.*Try images\[:, -3:\]"),
    ],
)
def test_forward_refuses_bad_pictures(policy, images, message):
    with pytest.raises(ValueError, match=message):
        policy(images, torch.zeros(1, 12))


def test_forward_refuses_an_instruction_of_another_width(policy):
    with pytest.raises(ValueError, match=r"one instruction embedding per sequence, \(1, 12\); got \(1, 13\)"):
        policy(torch.zeros(1, 2, 3, 32, 32), torch.zeros(1, 13))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((32, 32, 3), np.float32)}, r"uint8.*got float32"),
        ({"image": np.zeros((3, 32, 32), np.uint8)}, "channels come first"),
        ({"image": np.zeros((64, 64, 3), np.uint8)}, "32, 32, 3.*got uint8 with shape"),
        ({"image": np.zeros((1, 1, 32, 32, 3), np.uint8)}, r"one picture \(H, W, 3\) or N of them"),
        ({"instruction": np.zeros(11, np.float32)}, "12 finite numbers"),
        ({"instruction": np.full(12, np.nan, np.float32)}, "12 finite numbers"),
        ({"instruction": np.zeros((2, 12), np.float32)}, r"for 1 table\(s\); got shape \(2, 12\)"),
        ({"instruction": []}, "Expected an instruction"),
    ],
)
def test_act_refuses_bad_observations_and_remembers_nothing_of_them(policy, change, message):
    with pytest.raises(ValueError, match=message):
        policy.act(observations(1)[0] | change)
    assert policy._memory is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": torch.zeros(2, 3, 32, 32, 3)}, "uint8"),
        ({"actions": torch.full((2, 3, 11), float("nan"))}, "NaN"),
        ({"valid": torch.zeros(2, 3, dtype=torch.bool)}, "no valid step"),
        ({"images": torch.zeros(2, 3, 16, 32, 3, dtype=torch.uint8)}, "16, 32, 3"),
        ({"instruction": torch.zeros(2, 11)}, "one instruction embedding per sequence"),
        ({"images": torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8)}, r"Expected images \(B, T"),
        ({"actions": torch.zeros(2, 2, 11)}, r"Expected actions \(2, 3, 11\)"),
        ({"valid": torch.ones(2, 2, dtype=torch.bool)}, r"Expected .* valid \(2, 3\)"),
    ],
)
def test_the_loss_refuses_bad_batches(policy, change, message):
    with pytest.raises(ValueError, match=message):
        policy.loss(policy.config.fake_batch(2) | change)


def test_a_batch_with_a_missing_part_names_it(policy):
    batch = policy.config.fake_batch(2)
    del batch["valid"]
    with pytest.raises(ValueError, match=r"needs images, instruction, actions, valid; missing: valid"):
        policy.loss(batch)

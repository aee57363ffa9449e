"""The door for pictures."""

import numpy as np
import pytest
import torch

from course_lib.interfaces import check_image

GOOD = np.zeros((64, 48, 3), np.uint8)


def test_a_good_picture_passes_unchanged_single_or_batched():
    assert check_image(GOOD, 64, 48).shape == (64, 48, 3)
    assert check_image(np.stack([GOOD, GOOD]), 64, 48).dtype == torch.uint8


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (GOOD.astype(np.float32), r"got float32 .* values from 0 to 0. Try \(255 \* image\)"),
        (GOOD.astype(np.int64) + 200, r"got int64 .* Try image.astype\(np.uint8\)"),
        (np.moveaxis(GOOD, -1, 0), "channels come first. Try np.moveaxis"),
        (GOOD[..., :1], "colours on the last axis"),
        (GOOD[:32], r"shape \(32, 48, 3\). Try rendering at 64x48"),
        (GOOD[0, 0], "colours on the last axis"),
    ],
)
def test_a_wrong_picture_is_told_what_is_expected_what_came_and_what_to_try(image, message):
    with pytest.raises(ValueError, match=message):
        check_image(image, 64, 48)

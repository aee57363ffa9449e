"""What happens to pictures before the network: range, resize, crop."""

import numpy as np
import pytest
import torch
from parity_recipe import close, last, load

from course_lib.rt1.preprocess import pad_then_crop, resize, to_unit_range


def test_pictures_are_resized_as_the_official_code_does():
    z = load("j_preprocess")
    full = resize(to_unit_range(torch.from_numpy(z["frame_u8"])), (300, 300))
    picture = last(full)[0]
    close("every 23rd", picture[::23, ::23], z["resized_stride"], 1e-6)
    close("row 7", picture[7], z["resized_row7"], 1e-6)
    close("column 11", picture[:, 11], z["resized_col11"], 1e-6)
    close(
        "corners",
        torch.cat((picture[:6, :6], picture[-6:, -6:])),
        np.concatenate((z["resized_head"], z["resized_tail"])),
        1e-6,
    )
    down = resize(to_unit_range(torch.from_numpy(z["down_frame_u8"])), (60, 50))
    close("60 x 50", last(down), z["down_resized_60x50"], 1e-6)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_training_crop_equals_the_official_one(case):
    z = load("j_preprocess")
    offset = tuple(int(n) for n in z[f"crop{case}_offset_yx"])
    cut = last(pad_then_crop(to_unit_range(torch.from_numpy(z["frame_u8"])), offset=offset))[0]
    close("every 16th", cut[::16, ::16], z[f"crop{case}_stride"], 1e-6)
    assert float(cut.double().sum()) == pytest.approx(float(z[f"crop{case}_sum"]), rel=1e-6)


def test_a_crop_keeps_the_size_and_one_offset_for_all_frames():
    images = torch.rand(2, 3, 3, 256, 320)
    cut = pad_then_crop(images, torch.Generator().manual_seed(1))
    assert cut.shape == images.shape
    assert torch.equal(pad_then_crop(images, offset=(20, 50)), images)
    moved = pad_then_crop(images, offset=(0, 0))
    assert torch.equal(moved[..., 20:, 50:], images[..., :-20, :-50]) and (moved[..., :20, :] == 0).all()
    with pytest.raises(ValueError, match=r"0 \.\.\. 40, 0 \.\.\. 100"):
        pad_then_crop(images, offset=(41, 0))

"""SigLIP against transformers', and what its stem does."""

import pytest
import torch
from small_rt2 import EYES, config, reference, shaken

from course_lib.rt2.config import PaliGemmaConfig, SigLIPConfig
from course_lib.rt2.siglip import SigLIP
from course_lib.rt2.weights import read_state


def test_the_eyes_equal_transformers_and_their_pictures_run_from_0_to_1():
    theirs = reference()
    ours = read_state(config(), theirs.state_dict()).vision
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected = theirs.model.vision_tower(pixel_values=2 * images - 1).last_hidden_state
        torch.testing.assert_close(ours(images), expected, rtol=0, atol=1e-5)


def test_each_patch_is_one_token_row_by_row():
    eyes = SigLIP(SigLIPConfig(16, 8, 12, 1, 2, 24))
    images = torch.zeros(1, 3, 16, 16)
    plain = eyes.patches(images).flatten(2)
    images[:, :, 8:, :8] = 1.0  # the lower left patch
    changed = (eyes.patches(images).flatten(2) != plain).any(1)[0]
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize("stem", [(), (8,), (8, 12, 16)])
def test_a_stem_leaves_the_number_of_tokens_as_it_is(stem):
    eyes = SigLIP(SigLIPConfig(16, 8, 12, 1, 2, 24, stem=stem))
    assert eyes(torch.rand(2, 3, 16, 16)).shape == (2, 4, 12)


def test_the_trace_holds_where_each_patch_looks():
    trace = {}
    SigLIP(SigLIPConfig(16, 8, 12, 2, 2, 24))(torch.rand(2, 3, 16, 16), trace)
    assert trace["siglip/layer1"].shape == (2, 4, 12)
    torch.testing.assert_close(trace["siglip/layer0/attention"].sum(-1), torch.ones(2, 2, 4))


def test_with_and_without_a_trace_the_tokens_are_the_same():
    torch.manual_seed(0)
    eyes = shaken(SigLIP(PaliGemmaConfig.tiny().vision)).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(eyes(images, {}), eyes(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 15}, "image_size must be a multiple of patch_size"),
        ({"width": 25}, "width of heads"),
        ({"stem": (8, 8, 8, 8)}, "halves the picture each time, but a patch is 8 pixels"),
        ({"layers": 0}, "layers must be at least 1"),
    ],
)
def test_impossible_eyes_are_refused(changes, message):
    sizes = {"image_size": 16, "patch_size": 8, "width": 24, "layers": 2, "heads": EYES["num_attention_heads"], "hidden": 40}
    with pytest.raises(ValueError, match=message):
        SigLIPConfig(**sizes | changes)

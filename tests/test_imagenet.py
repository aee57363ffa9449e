"""torchvision's EfficientNet-B3 and our trunk are the same network, once the padding is."""

import urllib.error

import pytest
import torch
import torchvision
from small_rt1 import config
from torch import nn
from torchvision.models import EfficientNet_B3_Weights, efficientnet_b3

from course_lib.rt1 import FilmEfficientNet, RT1Config
from course_lib.rt1.efficientnet import Conv
from course_lib.rt1.imagenet import load_imagenet, name_map
from course_lib.rt1.preprocess import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture(scope="module")
def theirs():
    """Random weights stand for the downloaded ones, with BatchNorm as after training."""
    torch.manual_seed(0)
    net = efficientnet_b3(weights=None).eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.001, 2)  # small ones too: there epsilon matters
            nn.init.uniform_(m.weight, 0.5, 1.5)
    return net


@pytest.fixture(scope="module")
def ours(theirs):
    return load_imagenet(FilmEfficientNet(RT1Config.paper()).eval(), theirs.state_dict())


def test_with_torchs_padding_the_trunk_equals_torchvisions_at_every_block(theirs, ours):
    net = load_imagenet(FilmEfficientNet(RT1Config.paper()).eval(), theirs.state_dict())
    for conv in net.modules():
        if isinstance(conv, Conv):
            conv.before_after, conv.padding = None, (conv.kernel_size[0] // 2,) * 2
    images, trace = torch.rand(1, 3, 300, 300), {}
    x = torchvision.transforms.functional.normalize(images, IMAGENET_MEAN, IMAGENET_STD)
    with torch.inference_mode():
        net(images, torch.randn(1, 512), trace)
        for stage, layer in enumerate(theirs.features):
            x = layer(x)
            last = max(k for k in trace if k.startswith(f"encoder/block{stage}")) if 0 < stage < 8 else None
            y = trace[last or ("encoder/stem" if stage == 0 else "encoder/top")]
            assert y.shape == x.shape and (y - x).abs().max() <= 1e-4 * x.abs().max(), stage
    assert x.shape[-2:] == (10, 10)


def test_with_rt1s_padding_the_map_is_9_by_9(ours):
    with torch.inference_mode():
        assert ours(torch.rand(1, 3, 300, 300), torch.randn(1, 512)).shape == (1, 512, 9, 9)


def test_every_name_but_the_classifiers_is_used_once_and_only_rt1s_own_layers_are_left(theirs, ours):
    names = name_map(ours)
    assert {k for k in theirs.state_dict() if k not in names} == {"classifier.1.weight", "classifier.1.bias"}
    assert len(set(names.values())) == len(names) == 572
    left = {k for k in ours.state_dict() if k not in names.values()}
    assert all(".film." in f".{k}" or k.startswith(("to_map.", "normalise.")) for k in left)


def test_the_given_weights_are_not_changed_and_film_stays_the_identity(theirs, ours):
    again = load_imagenet(FilmEfficientNet(RT1Config.paper()), theirs.state_dict())
    assert torch.equal(again.blocks["3a"].expand_norm.weight, ours.blocks["3a"].expand_norm.weight)
    assert not again.film.to_scale.weight.any()


def test_the_weights_come_from_torchvisions_own_enum(theirs, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda url, **_: asked.append(url) or theirs.state_dict()
    )
    load_imagenet(FilmEfficientNet(RT1Config.paper()))
    assert asked == [EfficientNet_B3_Weights.IMAGENET1K_V1.url]


def test_without_a_connection_the_error_says_what_to_copy_where(monkeypatch):
    def offline(url, **_):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ValueError, match=r"no route to host.*efficientnet_b3_.*\.pth into .*checkpoints"):
        load_imagenet(FilmEfficientNet(RT1Config.paper()))


def test_another_trunk_is_refused_with_a_table_and_stays_as_it_was(theirs):
    small = FilmEfficientNet(config())
    before = {k: v.clone() for k, v in small.state_dict().items()}
    with pytest.raises(ValueError, match=r"features\.0\.0\.weight +expected +\(32, 3, 6, 6\), got +\(40, 3, 3, 3\)"):
        load_imagenet(small, theirs.state_dict())
    assert all(torch.equal(before[k], v) for k, v in small.state_dict().items())


def test_a_missing_and_a_foreign_name_are_in_the_table(theirs):
    state = dict(theirs.state_dict())
    state["features.9.weight"] = state.pop("features.3.1.block.2.fc1.bias")
    with pytest.raises(ValueError, match=r"2 rows differ") as error:
        load_imagenet(FilmEfficientNet(RT1Config.paper()), state)
    assert "features.3.1.block.2.fc1.bias" in str(error.value) and "features.9.weight" in str(error.value)

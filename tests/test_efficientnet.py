"""FilmEfficientNet: 300 x 300 pixels to 9 x 9 cells, and its parts."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from course_lib.rt1 import FilmEfficientNet, RT1Config
from course_lib.rt1.config import EfficientNetConfig, Stage
from course_lib.rt1.efficientnet import Conv, MapPositions, MBConv, drop_connect, padding, truncated_normal_
from course_lib.rt1.film import NoFiLM


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper():
    with torch.device("meta"):  # shapes only
        return FilmEfficientNet(RT1Config.paper())


def test_the_paper_trunk_has_the_published_number_of_parameters(paper):
    film = sum(count(block.film) for block in paper.blocks.values())
    assert film == 3_701_808 and count(paper.to_map) == 786_432 and count(paper.film) == 525_312
    assert count(paper) - film - count(paper.to_map) - count(paper.film) == 10_696_232
    assert count(paper) == 15_709_784


def test_the_paper_trunk_without_film_is_as_large_as_torchvisions_b3():
    with torch.device("meta"):
        features = torchvision.models.efficientnet_b3().features
    assert count(features) == 10_696_232


def test_300_pixels_become_9_cells_by_rounding_down_five_times():
    size = 300
    sizes = [size := size // stride for stride in (2, *(stage.stride for stage in EfficientNetConfig.b3().stages))]
    assert sizes == [150, 150, 75, 37, 18, 18, 9, 9]
    assert EfficientNetConfig.b3().map_size == (9, 9)


@pytest.mark.parametrize(
    "size, kernel, stride", [(16, 3, 2), (75, 5, 2), (37, 3, 2), (18, 5, 2), (64, 6, 4), (9, 3, 1), (18, 5, 1)]
)
def test_a_convolution_pads_as_tensorflow_does_for_unknown_sizes(size, kernel, stride):
    conv, x = Conv(2, 3, kernel, stride), torch.randn(1, 2, size, size)
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    assert padding(kernel, stride) == (before, after)
    expected = F.conv2d(F.pad(x, (before, after, before, after)), conv.weight, stride=stride)
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).shape[-1] == size // stride


@pytest.mark.parametrize("size, kernel, stride", [(16, 3, 2), (75, 5, 2), (37, 3, 2), (18, 5, 2), (17, 6, 4), (16, 2, 2)])
def test_the_way_around_slow_gradients_gives_the_same_numbers(size, kernel, stride):
    conv, x = Conv(4, 4, kernel, stride, groups=4), torch.randn(2, 4, size, size, requires_grad=True)
    plain, sliced = conv(x), conv.forward_by_slices(x)
    torch.testing.assert_close(sliced, plain)
    gradient = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (x, conv.weight), gradient)
    torch.testing.assert_close(torch.autograd.grad(sliced, (x, conv.weight), gradient), expected, atol=1e-4, rtol=1e-4)


def test_a_new_encoder_does_not_hear_the_instruction():
    encoder = FilmEfficientNet(RT1Config.tiny()).eval()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(encoder(images, torch.randn(2, 384)), encoder(images, torch.zeros(2, 384)))


def test_every_film_layer_is_heard():
    encoder = FilmEfficientNet(RT1Config.tiny()).eval()
    images, z = torch.rand(1, 3, 64, 64), torch.randn(1, 384)
    plain = encoder(images, z)
    for layer in (*(block.film for block in encoder.blocks.values()), encoder.film):
        with torch.no_grad():
            layer.to_shift.weight.normal_(std=0.1)
        assert not torch.allclose(encoder(images, z), plain)
        nn.init.zeros_(layer.to_shift.weight)


def test_film_comes_after_the_residual_sum():
    trunk = EfficientNetConfig.tiny()
    shift = RecordingFiLM(8, 4)
    block = MBConv(8, 8, 3, 1, 2, trunk=trunk, drop=0.0, film=shift).eval()
    x = torch.randn(1, 8, 6, 6)
    block(x, torch.zeros(1, 4))
    with torch.no_grad():
        block.project_norm.weight.zero_()  # the branch is silent: what FiLM sees is the input itself
    block(x, torch.zeros(1, 4))
    assert torch.equal(shift.seen[1], x) and not torch.equal(shift.seen[0], x)


class RecordingFiLM(NoFiLM):
    def forward(self, x, z):
        self.seen = [*getattr(self, "seen", []), x]
        return x


def test_the_instruction_layer_can_be_replaced_by_ones_own():
    encoder = FilmEfficientNet(RT1Config.tiny(), film=RecordingFiLM).eval()
    encoder(torch.rand(1, 3, 64, 64), torch.randn(1, 384))
    seen = [block.film.seen[0].shape[1] for block in encoder.blocks.values()]
    assert seen == [stage.channels for stage in EfficientNetConfig.tiny().stages for _ in range(stage.repeats)]


def test_the_trace_keeps_every_block_and_the_map():
    encoder, trace = FilmEfficientNet(RT1Config.tiny()).eval(), {}
    result = encoder(torch.rand(1, 3, 64, 64), torch.randn(1, 384), trace)
    assert list(trace) == ["encoder/stem", *(f"encoder/block{n}" for n in encoder.blocks), "encoder/top", "encoder/map"]
    assert trace["encoder/map"] is result and result.shape == (1, 96, 8, 8)


def test_dropped_branches_are_whole_and_the_mean_stays():
    torch.manual_seed(0)
    x = torch.ones(20_000, 1, 1, 2)
    y = drop_connect(x, 0.2)
    assert set(y.unique().tolist()) == {0.0, 1.25}
    assert torch.equal(y[..., 0], y[..., 1]) and float(y.mean()) == pytest.approx(1, abs=0.02)
    assert drop_connect(x, 0.0) is x


def test_weights_start_with_keras_variances():
    torch.manual_seed(0)
    weight = torch.empty(400, 400)
    truncated_normal_(weight, 0.5)
    assert float(weight.var()) == pytest.approx(0.5, rel=0.02)
    assert float(weight.abs().max()) <= 2 * 0.5**0.5 / 0.8796 + 1e-3
    block = MBConv(64, 64, 5, 1, 6, trunk=EfficientNetConfig.b3(), drop=0.0, film=NoFiLM(64, 1))
    assert float(block.depthwise.weight.detach().var()) == pytest.approx(2 / 25, rel=0.1)  # one output each
    assert float(block.project.weight.detach().var()) == pytest.approx(2 / 64, rel=0.1)


def test_map_positions_tell_every_cell_apart_and_near_cells_are_alike():
    table = MapPositions(96, 8, 8).table.detach().flatten(1).T  # (64, 96)
    distance = torch.cdist(table, table)
    assert (distance + 10 * torch.eye(64)).min() > 0.5
    row = distance.view(8, 8, 8, 8)[0, 0, 0]  # from the corner along the first row
    assert row[1] < row[2] < row[7]


def test_map_positions_are_off_in_the_paper_and_added_in_tiny(paper):
    assert isinstance(paper.positions, nn.Identity)
    encoder, trace = FilmEfficientNet(RT1Config.tiny()).eval(), {}
    images, z = torch.rand(1, 3, 64, 64), torch.randn(1, 384)
    with_table = encoder(images, z, trace)
    torch.testing.assert_close(with_table - encoder.positions.table, encoder.film(encoder.to_map(trace["encoder/top"]), z))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"stem_stride": 8}, r"kernel \(6\) of a stem must not be smaller than its stride \(8\)"),
        ({"image_height": 4}, "too small"),
        ({"stages": ()}, "non-empty tuple"),
        ({"se_ratio": 0.0}, "0 < se_ratio"),
        ({"stem_chanels": 3}, "Did you mean 'stem_channels'"),
        ({"stages": ({"repeats": 1, "kernel": 3, "stride": 1, "expansion": 1},)}, "Stage also needs channels"),
    ],
)
def test_impossible_trunks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetConfig.tiny(**change)


def test_a_stage_of_zero_blocks_is_refused():
    with pytest.raises(ValueError, match=r"Stage\.repeats must be at least 1"):
        Stage(0, 3, 1, 1, 8)

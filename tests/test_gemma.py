"""Gemma's parts against arithmetic and against torch."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.rt2.config import GemmaConfig
from course_lib.rt2.gemma import GeGLU, Gemma, RMSNorm, look_back, rotary, rotate

SMALL = GemmaConfig(vocabulary=50, width=32, layers=2, heads=4, groups=1, head_dim=8, hidden=48)


def test_the_norm_starts_plain_and_its_weight_is_added_to_one():
    x = 3 * torch.randn(2, 5, 16)
    norm = RMSNorm(16, 1e-6)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (16,), eps=1e-6))
    torch.nn.init.constant_(norm.weight, 0.5)
    torch.testing.assert_close(norm(x), 1.5 * F.rms_norm(x, (16,), eps=1e-6))


def test_geglu_gates_with_the_tanh_approximation():
    layer, x = GeGLU(4, 6), torch.randn(3, 4)
    slow = torch.stack(
        [layer.down.weight @ (F.gelu(layer.gate.weight @ r, approximate="tanh") * (layer.up.weight @ r)) for r in x]
    )
    torch.testing.assert_close(layer(x), slow)


def test_rotary_scores_depend_on_the_distance_only():
    q, k = torch.randn(2, 1, 1, 1, 8)

    def score(i, j):
        turned = [rotate(x, rotary(torch.tensor([[at]]), SMALL)) for x, at in ((q, i), (k, j))]
        return float((turned[0] * turned[1]).sum())

    assert score(3, 1) == pytest.approx(score(103, 101), abs=1e-4)
    assert score(3, 3) == pytest.approx(float((q * k).sum()), abs=1e-5)
    assert abs(score(3, 1) - score(1, 3)) > 1e-3


def test_rotating_is_multiplying_complex_numbers():
    x, positions = torch.randn(1, 2, 3, 8), torch.tensor([[0, 5, 9]])
    speed = 10_000.0 ** (-torch.arange(4) / 4)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(3, 4), positions[0, :, None] * speed)
    torch.testing.assert_close(
        rotate(x, rotary(positions, SMALL)), torch.cat((turned.real, turned.imag), -1), rtol=0, atol=1e-5
    )


def test_the_table_is_used_twice_and_scaled_on_the_way_in():
    net = Gemma(SMALL)
    tokens = torch.tensor([[7, 3]])
    torch.testing.assert_close(net.embed(tokens), net.embedding.weight[tokens] * 32**0.5)
    h = torch.randn(2, 32)
    torch.testing.assert_close(net.logits(h), h @ net.embedding.weight.T)


def test_capped_logits_stay_below_the_cap():
    net = Gemma(GemmaConfig(50, 32, 1, 4, 2, 8, 48, final_softcap=3.0))
    assert net.logits(100 * torch.randn(4, 32)).abs().max() <= 3.0


def test_only_the_last_position_is_the_last_of_all():
    torch.manual_seed(0)
    net, h = Gemma(SMALL).eval(), torch.randn(2, 5, 32)
    positions = torch.arange(1, 6).expand(2, -1)
    mask = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 1, -1, -1)
    whole = net(h, positions, (mask, None))
    torch.testing.assert_close(net(h, positions, (mask, None), last_only=True), whole[:, -1:], rtol=1e-5, atol=1e-6)


def test_a_window_hides_what_is_too_far_back_but_not_within_the_prefix():
    positions = torch.arange(1, 6)[None]
    prefix = torch.tensor([[True, True, True, False, False]])
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[..., :4, 4] = mask[..., :3, 3] = False
    near = look_back(mask, positions, positions, 2, prefix)[0, 0]
    assert ["".join("#" if x else "." for x in row) for row in near.tolist()] == [
        "###..",
        "###..",
        "###..",
        "..##.",
        "...##",
    ]


def test_the_trace_holds_states_and_probabilities_of_every_layer():
    trace = {}
    Gemma(SMALL)(torch.randn(2, 5, 32), torch.arange(1, 6).expand(2, -1), trace=trace)
    assert trace["gemma/layer1"].shape == (2, 5, 32) and trace["gemma/layer0/attention"].shape == (2, 4, 5, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"groups": 3}, "heads must be a multiple of groups"), ({"head_dim": 7}, "head_dim even"), ({"window": -1}, "or more")],
)
def test_impossible_decoders_are_refused(changes, message):
    sizes = {"vocabulary": 50, "width": 32, "layers": 2, "heads": 4, "groups": 1, "head_dim": 8, "hidden": 48}
    with pytest.raises(ValueError, match=message):
        GemmaConfig(**sizes | changes)

"""TokenLearner v1.1: 8 softly chosen tokens from the cells of a map."""

import pytest
import torch
from parity_recipe import close, first, load, put

from course_lib.rt1 import TokenLearner


def learner():
    torch.manual_seed(0)
    return TokenLearner(16, tokens=3, hidden=10)


def test_each_map_is_a_distribution_over_the_places():
    trace = {}
    learner()(torch.randn(2, 16, 4, 5), trace)
    maps = trace["token_learner/maps"]
    assert maps.shape == (2, 3, 4, 5) and (maps > 0).all()
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))


def test_a_token_is_the_mean_of_the_unnormalised_cells_weighted_by_its_map():
    trace, x = {}, 3 + 2 * torch.randn(2, 16, 4, 5)
    tokens = learner()(x, trace)
    by_hand = torch.stack([(trace["token_learner/maps"][:, k, None] * x).sum((2, 3)) for k in range(3)], 1)
    torch.testing.assert_close(tokens, by_hand)


def test_the_maps_do_not_care_about_brightness_but_the_tokens_do():
    net, x, a, b = learner(), torch.randn(2, 16, 4, 5), {}, {}
    first, second = net(x, a), net(10 * x + 5, b)
    torch.testing.assert_close(a["token_learner/maps"], b["token_learner/maps"], atol=1e-5, rtol=0)
    torch.testing.assert_close(second, 10 * first + 5, atol=1e-4, rtol=1e-4)


def test_moving_the_cells_moves_the_maps_and_keeps_the_tokens():
    net, x, a, b = learner(), torch.randn(1, 16, 4, 5), {}, {}
    torch.testing.assert_close(net(x, a), net(x.flip(3), b))
    torch.testing.assert_close(a["token_learner/maps"].flip(3), b["token_learner/maps"])


def test_the_papers_token_learner_has_34_376_parameters():
    assert sum(p.numel() for p in TokenLearner(512).parameters()) == 34_376 == 1024 + 512 * 64 + 64 + 64 * 8 + 8


def test_without_a_trace_nothing_is_kept():
    net, x = learner(), torch.randn(2, 16, 4, 5)
    assert torch.equal(net(x), net(x, {}))


@pytest.mark.parametrize("size", ["", "_small"])  # small: nearly constant input, where LayerNorm's epsilon shows
def test_token_learner_equals_the_official_layer(size):
    z = load("b_token_learner")
    learner = put(TokenLearner(64), {k[2:]: v for k, v in z.items() if k.startswith("w/")}, "token_learner.")
    trace = {}
    y = learner(first(z[f"x{size}"]), trace)
    normed = learner.norm(torch.from_numpy(z[f"x{size}"]).flatten(1, 2))
    close("normalised", normed, z[f"normed{size}"], 5e-4 if size else 1e-5)
    close("maps", trace["token_learner/maps"].flatten(2), z[f"selection_weights{size}"], 5e-4 if size else 1e-5)
    close("tokens", y, z[f"y{size}"], 1e-5)

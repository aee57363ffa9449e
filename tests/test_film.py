"""FiLM: one scale and one shift per channel."""

import numpy as np
import pytest
import torch
from parity_recipe import close, first, last, load

from course_lib.rt1 import FiLM
from course_lib.rt1.film import NoFiLM


def random_film(channels=5, instruction_dim=7):
    film = FiLM(channels, instruction_dim)
    with torch.no_grad():
        for p in film.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
    return film


def test_a_new_film_changes_nothing():
    x = torch.randn(2, 5, 3, 4)
    assert torch.equal(FiLM(5, 7)(x, torch.randn(2, 7)), x)


def test_a_new_film_already_learns():
    film, x = FiLM(5, 7), torch.randn(2, 5, 3, 4)
    film(x, torch.randn(2, 7)).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in film.parameters())


def test_each_channel_gets_its_own_scale_and_shift_at_every_pixel():
    film, x, z = random_film(), torch.randn(2, 5, 3, 4), torch.randn(2, 7)
    y = film(x, z)
    for b in range(2):
        scale = 1 + film.to_scale.weight @ z[b] + film.to_scale.bias
        shift = film.to_shift.weight @ z[b] + film.to_shift.bias
        for c in range(5):
            torch.testing.assert_close(y[b, c], scale[c] * x[b, c] + shift[c])


def test_every_picture_hears_its_own_instruction_also_when_batch_and_height_agree():
    film, x, z = random_film(), torch.randn(1, 5, 3, 4).expand(3, -1, -1, -1), torch.randn(3, 7)  # B = H = 3
    for b in range(3):
        torch.testing.assert_close(film(x, z)[b], film(x[b : b + 1], z[b : b + 1])[0])


def test_film_also_takes_vectors():
    film, x, z = random_film(), torch.randn(2, 5), torch.randn(2, 7)
    torch.testing.assert_close(film(x, z), film(x[:, :, None, None], z)[:, :, 0, 0])


def test_the_papers_last_film_has_525_312_parameters():
    assert sum(p.numel() for p in FiLM(512, 512).parameters()) == 525_312


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 5, 4)])  # channels last; and a width that could be mistaken
def test_channels_on_the_wrong_axis_are_refused(shape):
    with pytest.raises(ValueError, match=r"5 channels on axis 1.*Try x\.movedim\(-1, 1\)"):
        FiLM(5, 7)(torch.randn(shape), torch.randn(2, 7))


def test_an_instruction_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"one instruction of 7 numbers per picture"):
        FiLM(5, 7)(torch.randn(2, 5, 3, 4), torch.randn(2, 8))


def test_without_film_nothing_is_heard_and_nothing_is_learned():
    layer, x = NoFiLM(5, 7), torch.randn(2, 5, 3, 4)
    assert torch.equal(layer(x, torch.randn(2, 7)), x)
    assert not list(layer.parameters())


@pytest.mark.parametrize("rank", ["rank4", "rank2"])
@torch.no_grad()
def test_film_equals_the_official_layer(rank):
    z = load("a_film")
    film = FiLM(24, 512)
    for part, layer in (("add", film.to_shift), ("mult", film.to_scale)):
        layer.weight.copy_(torch.from_numpy(z[f"w/film/{part}/kernel"].T))
        layer.bias.copy_(torch.from_numpy(z[f"w/film/{part}/bias"]))
    x, context = first(z[f"x_{rank}"]), torch.from_numpy(z[f"context_{rank}"])
    close(rank, last(film(x, context)), z[f"y_{rank}"], 2e-6)
    close(f"{rank} float64", last(film.double()(x.double(), context.double())), z[f"f64/y_{rank}"], 1e-6)


def test_a_new_film_is_the_identity_bit_for_bit():
    z = load("a_film")
    y = FiLM(24, 512)(first(z["x_rank4"]), torch.from_numpy(z["context_rank4"]))
    assert np.array_equal(last(y).detach().numpy(), z["y_rank4_zero_init"])

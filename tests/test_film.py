"""FiLM: one scale and one shift per channel."""

import pytest
import torch

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

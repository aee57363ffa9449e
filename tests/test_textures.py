"""Table tops: which are for training, and what of them the camera sees."""

import math
from dataclasses import replace

import pytest
import torch

from course_lib.world.sprites import VIEW
from course_lib.world.tabletop import reset
from course_lib.world.textures import (
    EXPOSURE,
    PERIOD,
    PLACES,
    SEEN_TEXTURES,
    TEXTURES,
    ground,
    packed_textures,
    seen_tables,
    table_number,
)


def bare(n=1, table=0, base=(0.0, 0.0, 0.0), camera=(0.0, 0.0)):
    state = reset(torch.arange(n), torch.full((n, 1), -1))
    rows = torch.full((n,), table) if isinstance(table, int) else table
    return replace(state, table=rows, base=torch.tensor([base] * n), camera=torch.tensor([camera] * n))


def channels(packed):
    return torch.stack([packed & 255, packed >> 8 & 255, packed >> 16 & 255], -1)


def test_training_tables_never_lie_on_a_held_out_texture():
    seen = reset(torch.arange(4000), torch.full((4000, 1), -1)).table % TEXTURES
    assert set(seen.tolist()) == set(range(SEEN_TEXTURES))
    assert seen_tables(torch.tensor([0.0, 1 - 2**-24])).tolist() == [0, (PLACES - 1) * TEXTURES + SEEN_TEXTURES - 1]


def test_a_table_number_says_texture_and_place():
    texture, place = torch.tensor([0, 5, 23]), torch.tensor([0, 63, 64])
    number = table_number(texture, place)
    assert torch.equal(number % TEXTURES, texture) and (number // TEXTURES).tolist() == [0, 63, 0]
    with pytest.raises(ValueError, match=r"Textures are 0 \.\.\. 23 \(from 18 on: held out\), got \[24\]"):
        table_number(torch.tensor([24]), torch.tensor([0]))


@pytest.mark.parametrize("size", [48, 64, 96])
def test_the_ground_is_the_texture_at_the_place_that_each_pixel_looks_at(size):
    """Pixel by pixel in double precision: from the picture to the table, from metres to texels."""
    dx, dy, yaw, right, ahead = 0.13, -0.07, 0.6, 0.01, -0.02
    state = bare(table=2 + 7 * TEXTURES, base=(dx, dy, yaw), camera=(right, ahead))
    textures, L = packed_textures(size, "cpu")
    seen, texels = ground(state, size)[0], textures.view(TEXTURES, L, L)[2]
    wrong = 0
    for row in range(size):
        for column in range(size):
            x = ((column + 0.5) / size - 0.5) * VIEW + right
            y = (0.5 - (row + 0.5) / size) * VIEW + ahead
            x, y = dx + math.cos(yaw) * x - math.sin(yaw) * y, dy + math.sin(yaw) * x + math.cos(yaw) * y
            down, across = 7 * (L // PLACES) - y / PERIOD * L, x / PERIOD * L
            wrong += bool(seen[row, column] != texels[math.floor(down) % L, math.floor(across) % L])
    assert wrong <= 0.002 * size**2  # where a float's last bit decides between two texels


def test_an_unturned_table_looks_the_same_beside_a_turned_one():
    state = bare(2, table=torch.tensor([4, 5]))
    turned = replace(state, base=torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.4]]))
    assert torch.equal(ground(state, 64)[0], ground(turned, 64)[0])
    assert not torch.equal(ground(state, 64)[1], ground(turned, 64)[1])


def test_driving_on_and_on_comes_back_to_where_it_began():
    assert torch.equal(ground(bare(table=9), 64), ground(bare(table=9, base=(3 * PERIOD, -2 * PERIOD, 0.0)), 64))


def test_textures_keep_room_for_bright_light_and_differ():
    pictures = channels(ground(bare(TEXTURES, table=torch.arange(TEXTURES)), 64)).double()
    assert pictures.max() <= 255 / EXPOSURE + 1
    colours = pictures.flatten(1, 2).mean(1)
    assert torch.cdist(colours, colours).fill_diagonal_(99).min() > 2
    contrast = pictures.flatten(1, 2).std(1).mean(-1)
    assert contrast[:SEEN_TEXTURES].max() < 20  # calm
    unseen, seen = range(SEEN_TEXTURES, TEXTURES), range(SEEN_TEXTURES)
    for number in unseen:  # a pattern, or a colour that no texture for training comes near
        distance = torch.cdist(colours[number, None], colours[list(seen)]).min()
        assert contrast[number] > 20 or distance > 40, number

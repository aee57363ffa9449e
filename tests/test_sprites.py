"""The table of sprites: what is made, when, and how large."""

import math

import pytest
import torch

from course_lib.world.drawings import Pen
from course_lib.world.fixtures import FIXTURES
from course_lib.world.objects import KINDS
from course_lib.world.sprites import DRAWINGS, REACH, SHIFTS, SIZES, SpriteTable, drawing_index, sprite_table


def numbers(table, drawing, angles, scale=1.0):
    M = len(angles)
    middle = torch.zeros(M, 2, dtype=torch.long)
    return table.number(torch.full((M,), drawing), torch.tensor(angles), torch.full((M,), scale), middle)


def test_a_sprite_is_made_once_and_listed_pixel_by_pixel():
    table = SpriteTable(48)
    number = numbers(table, 3, [0.4, 1.9, 0.4])
    table.make(number)
    used = table._used
    table.make(number)
    assert table._used == used
    owner, offset, colour = table.pixels(number)
    width = table.size + table.margin
    for which in range(3):
        square = table.squares(3, number[which : which + 1])[0].int()
        row, column = (square[..., 3] > 0).nonzero().T
        mine = owner == which
        assert torch.equal(offset[mine].long(), (row - len(square) // 2) * width + column - len(square) // 2)
        red, green, blue, keep = ((colour[mine] >> shift) & 255 for shift in (0, 8, 16, 24))
        assert torch.equal(torch.stack([red, green, blue, 255 - keep], -1), square[row, column])


def test_angles_go_to_the_nearest_turn_and_round_things_have_one():
    table = SpriteTable(48)
    step = 2 * math.pi / int(table.turns[0])
    first, near, next_, around = numbers(table, 0, [0.0, 0.49 * step, 0.51 * step, 2 * math.pi]).tolist()
    assert first == near == around and next_ - first == len(SIZES) * SHIFTS**2
    plate = [kind.name for kind in KINDS].index("red plate")
    assert len(set(numbers(table, plate, [0.0, 1.0, 2.0]).tolist())) == 1


def test_neighbouring_turns_move_nothing_by_more_than_a_pixel_of_the_course():
    table = SpriteTable(64)
    for number, drawing in enumerate(DRAWINGS):
        reach = getattr(drawing, "reach", drawing.size * REACH)
        if table.turns[number] > 1:
            assert 2 * math.pi / int(table.turns[number]) * reach / table.pixel < 1.3, drawing.name


def test_no_two_drawings_share_a_number():
    table = SpriteTable(48)
    first = torch.cat([numbers(table, d, [0.0]) for d in range(len(DRAWINGS))])
    assert torch.equal(first.diff(), (table.turns * len(SIZES) * SHIFTS**2)[:-1])


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.name)
def test_every_drawing_stays_within_its_reach(drawing):
    """What goes further would be cut off by the edge of its square."""
    pen = Pen(200)
    drawing.draw(pen)
    alpha = torch.frombuffer(bytearray(pen.image.getchannel("A").tobytes()), dtype=torch.uint8).view(200, 200)
    y, x = (alpha > 60).nonzero().double().T
    far = float(((x - 99.5) ** 2 + (y - 99.5) ** 2).sqrt().max()) / 200 * drawing.size
    assert far <= getattr(drawing, "reach", drawing.size * REACH) + drawing.size / 100


def test_the_table_starts_small_and_stays_sensible():
    table = SpriteTable(64)
    assert table.nbytes < 2e6
    every = torch.cat([numbers(table, d, [0.2 * t for t in range(32)]) for d in range(len(KINDS))])
    table.make(every)
    made = int((table._count >= 0).sum())
    assert table.nbytes < 4e6 + made * 6000  # sources, growth by doubling, two int32 per covered pixel


def test_fixtures_are_found_by_name_behind_the_kinds():
    assert [drawing_index(fixture.name) for fixture in FIXTURES] == list(range(len(KINDS), len(DRAWINGS)))
    assert sprite_table(48, "cpu") is sprite_table(48, "cpu")

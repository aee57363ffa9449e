"""What stands where in the picture: the cabinet, leaning things, what hides what, the hand, the camera."""

import math
from dataclasses import replace

import pytest
import torch

from course_lib.world import layout
from course_lib.world.fixtures import DRAWER_HEIGHT, TILT
from course_lib.world.objects import KINDS, kind_index
from course_lib.world.render import label_names, render, segment
from course_lib.world.sprites import VIEW
from course_lib.world.state import CABINET_FRONT, DRAWER_X, handles
from course_lib.world.tabletop import reset

CABINET, LEFT, RIGHT = 5, 6, 7  # labels on a table with three objects; 4 is the gripper


def scene(n=4, kinds=(0, 3, 5)):
    return reset(torch.arange(n), torch.tensor([kinds]).expand(n, -1))


def kitchen(left=0.0, right=0.0, kinds=(0, 2, 3)):
    state = reset(torch.arange(1), torch.tensor([kinds]), torch.tensor([True]))
    return replace(
        state,
        drawer=torch.tensor([[left, right]]),
        camera=torch.zeros(1, 2),
        gripper=torch.tensor([[0.0, -0.4, 0.0]]),
        xyz=torch.tensor([[[-0.1, -0.12, 0.0], [0.0, -0.12, 0.0], [0.1, -0.12, 0.0]]]),
    )


def area(state, label, size=64):
    return int((segment(state, size) == label).sum())


def middle(state, label, size=64):
    """x and y in metres of the middle of a label's pixels."""
    row, column = (segment(state, size)[0] == label).nonzero().double().mean(0).tolist()
    return ((column + 0.5) / size - 0.5) * VIEW, (0.5 - (row + 0.5) / size) * VIEW


def test_only_tables_with_a_cabinet_show_and_name_one():
    assert set(segment(kitchen()).unique().tolist()) == {0, 1, 2, 3, CABINET, LEFT, RIGHT}
    assert label_names(kitchen())[CABINET:] == ["cabinet", "left drawer", "right drawer"]
    bare = replace(kitchen(), cabinet=torch.tensor([False]))
    assert set(segment(bare).unique().tolist()) == {0, 1, 2, 3} and len(label_names(bare)) == 5


def test_an_open_drawer_shows_more_of_itself_and_only_itself():
    shut = [area(kitchen(), label) for label in (LEFT, RIGHT)]
    opened = [area(kitchen(left=0.08), label) for label in (LEFT, RIGHT)]
    pixel = VIEW / 64
    assert (
        opened[0] - shut[0] == pytest.approx(0.14 * (0.08 - TILT * DRAWER_HEIGHT) / pixel**2, rel=0.1)
        and opened[1] == shut[1]
    )
    x, y = middle(kitchen(right=0.1), RIGHT)
    assert x == pytest.approx(DRAWER_X[1], abs=0.004) and 0.05 < y < CABINET_FRONT


def test_what_lies_in_an_open_drawer_is_seen_and_in_a_shut_one_not():
    put = torch.tensor([[3, -1, -1]])
    seen = replace(kitchen(left=0.1), inside=put)
    seen.xyz[0, 0] = torch.tensor([DRAWER_X[0], 0.07, 0.008])
    hidden = replace(kitchen(), inside=put)
    hidden.xyz[0, 0] = torch.tensor([DRAWER_X[0], 0.17, 0.008])
    assert area(seen, 1) > 60 and area(hidden, 1) == 0
    assert torch.equal(render(hidden), render(replace(hidden, kind=hidden.kind.index_fill(1, torch.tensor([0]), -1))))
    half = replace(kitchen(left=0.05), inside=put)
    half.xyz[0, 0] = torch.tensor([DRAWER_X[0], 0.11, 0.008])
    assert 10 < area(half, 1) < area(seen, 1)  # the rest is still under the cabinet


def test_the_knob_is_drawn_where_the_fingers_can_take_it():
    state = kitchen(right=0.06)
    x, y, z = handles(state)[0, 1].tolist()
    row, column = (0.5 - (y + TILT * z) / VIEW) * 256, (x / VIEW + 0.5) * 256
    red, green, blue = render(replace(state, light=torch.ones(1, 3)), 256)[0, int(row), int(column)].tolist()
    assert red > 180 and 120 < green < 200 and blue < 90  # brass


def test_the_cabinet_moves_and_turns_with_the_base():
    x, y = middle(kitchen(), LEFT, 96)
    dx, dy, yaw = 0.05, 0.06, 0.3
    moved = replace(kitchen(), base=torch.tensor([[dx, dy, 0.0]]))
    assert middle(moved, LEFT, 96) == pytest.approx((x - dx, y - dy), abs=0.004)
    turned = replace(moved, base=torch.tensor([[dx, dy, yaw]]))
    cos, sin = math.cos(yaw), math.sin(yaw)
    seen = (cos * (x - dx) + sin * (y - dy), cos * (y - dy) - sin * (x - dx))
    assert middle(turned, LEFT, 96) == pytest.approx(seen, abs=0.004)


def box_of(state, label):
    """Width and height of a label's pixels."""
    where = (segment(state)[0] == label).nonzero()
    low, high = where.amin(0), where.amax(0)
    return int(high[1] - low[1] + 1), int(high[0] - low[0] + 1)


@pytest.mark.parametrize("name", [kind.name for kind in KINDS if kind.stands and kind.name not in ("cup", "chip bag")])
def test_what_stands_is_higher_than_wide_and_what_lies_wider_than_high(name):
    state = replace(scene(1, (kind_index(name),)), yaw=torch.zeros(1, 1))
    wide, high = box_of(state, 1)
    assert high >= wide + 2
    wide, high = box_of(replace(state, tilt=torch.full((1, 1), -math.pi / 2)), 1)
    assert wide >= high + 2


def test_a_thing_on_a_plate_is_seen_whole_wherever_it_comes_in_the_list():
    for kinds, put in (((0, kind_index("blue plate")), (1, -1)), ((kind_index("blue plate"), 0), (-1, 0))):
        state = replace(scene(1, kinds), inside=torch.tensor([put]), gripper=torch.tensor([[0.0, -0.4, 0.0]]))
        state = replace(state, xyz=torch.zeros(1, 2, 3))
        apple = kinds.index(0)
        alone = replace(state, kind=torch.where(torch.arange(2) == apple, state.kind, -1))
        assert area(state, apple + 1) == area(alone, apple + 1)


def test_what_is_nearer_hides_what_is_further():
    state = replace(scene(1, (0, 2)), gripper=torch.tensor([[0.0, -0.4, 0.0]]))
    state = replace(state, xyz=torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.03, 0.0]]]))
    swapped = replace(state, xyz=state.xyz.flip(1))
    alone = replace(state, kind=torch.tensor([[0, -1]]))
    assert area(state, 1) == area(alone, 1) and area(swapped, 1) < area(alone, 1)


def test_what_the_hand_carries_hides_all_else_and_takes_its_contents_along():
    plate = kind_index("red plate")
    state = scene(1, (plate, 0, kind_index("sponge")))
    state = replace(state, xyz=torch.zeros(1, 3, 3), inside=torch.tensor([[-1, 0, -1]]), held=torch.tensor([0]))
    order = layout.sprites_of(state).drawing[0].tolist()
    sponge, apple = order.index(kind_index("sponge")), order.index(0)
    assert sponge < order.index(plate) < apple < order.index(layout.drawing_index("open gripper"))


def test_wrist_roll_and_yaw_turn_the_gripper():
    state = replace(scene(1), gripper=torch.tensor([[0.0, 0.0, 0.0]]))
    upright = box_of(state, 4)
    for wrist in ([math.pi / 2, 0.0, 0.0], [0.0, 0.0, math.pi / 2]):
        turned = box_of(replace(state, wrist=torch.tensor([wrist])), 4)
        assert turned == pytest.approx(upright[::-1], abs=1)


def test_a_shifted_camera_shifts_the_whole_picture():
    state = replace(kitchen(left=0.1), gripper=torch.tensor([[0.0, 0.0, 0.0]]))
    shifted = replace(state, camera=torch.tensor([[0.0125, -0.025]]))  # 2 pixels right, 4 towards the robot
    assert (render(shifted)[:, :-4, :-2] == render(state)[:, 4:, 2:]).float().mean() > 0.995

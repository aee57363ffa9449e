"""What touches what: pushing, toppling, landing, drawers and their contents."""

import math

import pytest
import torch

from course_lib.world.contact import UPRIGHT
from course_lib.world.objects import KINDS, kind_index
from course_lib.world.scenes import scene
from course_lib.world.state import CABINET_FRONT, DRAWER_OPEN, DRAWER_X, at_tips, handles, tips
from course_lib.world.tabletop import SPACE, replace, reset, step
from course_lib.world.tasks import ALL_TASKS, Goals, draw_tasks

CAN, BLOCK, BOWL, PLATE, CARD = (kind_index(n) for n in ("coke can", "red block", "bowl", "red plate", "card 3"))


def table(*kinds, at=None, gripper=(0.0, 0.0, 0.02), closed=False, cabinet=False, drawer=(0.0, 0.0)):
    """One table with these kinds at these places, nothing turned."""
    state = reset(torch.tensor([7]), torch.tensor([kinds]), torch.tensor([cabinet]))
    xyz = state.xyz if at is None else torch.tensor([[[x, y, 0.0] for x, y in at]])
    return replace(
        state, xyz=xyz, yaw=0 * state.yaw, gripper=torch.tensor([gripper]), closed=torch.tensor([closed]),
        drawer=torch.tensor([drawer]),
    )  # fmt: skip


def do(state, steps=1, **numbers):
    action = torch.zeros(1, len(SPACE))
    for name, value in numbers.items():
        action[:, SPACE.index(name)] = value
    for _ in range(steps):
        state = step(state, action)
    return state


def test_a_closed_gripper_pushes_what_it_meets_and_an_open_or_high_one_does_not():
    start = {"at": [(0.06, 0.0)]}
    pushed = do(table(BLOCK, **start, closed=True), 2, arm_x=0.05)
    assert pushed.xyz[0, 0, 0] > pushed.gripper[0, 0] > 0.06  # it lies ahead of the fingers
    for other in (table(BLOCK, **start), table(BLOCK, **start, closed=True, gripper=(0.0, 0.0, 0.1))):
        assert do(other, 2, arm_x=0.05).xyz[0, 0, 0] == 0.06


def test_a_push_topples_what_stands_and_only_shoves_the_rest():
    can = do(table(CAN, at=[(0.06, 0.0)], closed=True), 2, arm_x=0.05)
    assert can.tilt[0, 0].abs() == pytest.approx(math.pi / 2) and can.tilt[0, 0] < 0  # to the right, as it was pushed
    left = do(table(CAN, at=[(-0.06, 0.0)], closed=True), 2, arm_x=-0.05)
    assert left.tilt[0, 0] > 0
    assert do(table(BLOCK, at=[(0.06, 0.0)], closed=True), 2, arm_x=0.05).tilt[0, 0] == 0


def test_a_pushed_object_pushes_the_next_one():
    state = do(table(BLOCK, BLOCK, at=[(-0.04, 0.0), (0.03, 0.0)], gripper=(-0.1, 0.0, 0.02), closed=True), 3, arm_x=0.05)
    fingers, first, second = state.gripper[0, 0], state.xyz[0, 0, 0], state.xyz[0, 1, 0]
    assert second > 0.05 and second - first > 0.045 and first > fingers


def test_nothing_leaves_the_table():
    state = table(BLOCK, at=[(0.12, 0.0)], closed=True)
    assert do(state, 8, arm_x=0.05).xyz[0, 0, 0] <= 0.185


def test_an_object_let_go_over_another_makes_room():
    state = do(table(BLOCK, CARD, at=[(0.0, 0.0), (0.03, 0.0)]), gripper=1)
    assert state.held.tolist() == [0]
    after = do(state, 3, gripper=-1)
    assert (after.xyz[0, 0, :2] - after.xyz[0, 1, :2]).norm() > 0.8 * 0.85 * (KINDS[BLOCK].radius + KINDS[CARD].radius)


@pytest.mark.parametrize(("roll", "lands"), [(0.0, 0.0), (0.5 * UPRIGHT, 0.0), (0.7, math.pi / 2), (-0.7, -math.pi / 2)])
def test_a_tall_thing_lands_upright_when_it_leans_little_and_else_on_its_side(roll, lands):
    state = do(table(CAN, at=[(0.0, 0.0)]), gripper=1)
    state = do(do(state, gripper=1, roll=roll), gripper=-1)
    assert state.tilt[0, 0] == pytest.approx(lands)


def test_a_tall_thing_dropped_from_high_falls_over_and_a_block_does_not():
    for kind, lies in ((CAN, True), (BLOCK, False)):
        state = do(table(kind, at=[(0.0, 0.0)]), gripper=1)
        state = do(do(state, 3, arm_z=0.05, gripper=1), gripper=-1)
        assert (state.tilt[0, 0].abs() > 1) == lies and state.xyz[0, 0, 2] == 0


@pytest.mark.parametrize("home", [BOWL, PLATE])
def test_what_is_let_go_over_a_receptacle_is_in_it_and_rides_along(home):
    state = do(table(BLOCK, home, at=[(0.0, 0.0), (0.0, 0.12)]), gripper=1)
    state = replace(state, xyz=torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.005, 0.0]]]))
    state = do(state, gripper=-1)
    assert state.inside.tolist() == [[1, -1]]
    if home == BOWL:  # which fits between the fingers, unlike a plate; lifted by its rim, without what is in it
        moved = replace(state, held=torch.tensor([1]), closed=torch.tensor([True]))
        moved = do(moved, 2, arm_x=0.05, arm_z=0.02, gripper=1)
        assert torch.allclose(
            moved.xyz[0, 0, :2] - moved.xyz[0, 1, :2], state.xyz[0, 0, :2] - state.xyz[0, 1, :2], atol=0.02
        )
        assert moved.inside.tolist() == [[1, -1]]


def test_fingers_take_what_lies_in_the_bowl_before_the_bowl():
    state = table(BLOCK, BOWL, at=[(0.005, 0.0), (0.0, 0.0)])
    state = replace(state, inside=torch.tensor([[1, -1]]))
    taken = do(state, gripper=1)
    assert taken.held.tolist() == [0] and taken.inside.tolist() == [[-1, -1]]


def test_a_plate_does_not_fit_between_the_fingers():
    assert do(table(PLATE, at=[(0.0, 0.0)]), gripper=1).held.tolist() == [-1]


def at_handle(state, drawer):
    return at_tips(state, handles(state)[:, drawer])


@pytest.mark.parametrize("drawer", [0, 1])
def test_fingers_on_a_handle_pull_the_drawer_out_and_in_between_its_stops(drawer):
    state = do(at_handle(table(CARD, at=[(0.0, -0.12)], cabinet=True), drawer), gripper=1)
    assert state.handle.tolist() == [drawer]
    state = do(state, 4, arm_y=-0.05, gripper=1)
    assert state.drawer[0, drawer] == pytest.approx(DRAWER_OPEN) and state.drawer[0, 1 - drawer] == 0
    assert torch.allclose(tips(state), handles(state)[:, drawer], atol=1e-5)  # the fingers stay on the knob
    state = do(state, 4, arm_y=0.05, gripper=1)
    assert state.drawer[0, drawer] == 0
    assert do(state, gripper=-1).handle.tolist() == [-1]


def test_there_is_no_handle_without_a_cabinet():
    assert do(at_handle(table(CARD, at=[(0.0, -0.12)]), 0), gripper=1).handle.tolist() == [-1]


def test_what_falls_into_an_open_drawer_rides_with_it_and_can_be_taken_out():
    x = DRAWER_X[1]
    state = table(BLOCK, at=[(x, 0.07)], gripper=(x, 0.07, 0.02), cabinet=True, drawer=(0.0, DRAWER_OPEN))
    state = do(do(state, gripper=1), gripper=-1)
    assert state.inside.tolist() == [[1 + 1]]
    state = do(at_handle(state, 1), gripper=1)
    shut = do(state, 4, arm_y=0.05, gripper=1)
    assert shut.drawer[0, 1] == 0 and shut.xyz[0, 0, 1] == pytest.approx(0.07 + DRAWER_OPEN, abs=0.01)
    again = do(shut, 4, arm_y=-0.05, gripper=1)
    assert again.xyz[0, 0, 1] == pytest.approx(0.07, abs=0.01)
    taken = do(at_tips(do(again, gripper=-1), again.xyz[:, 0] + torch.tensor([0, 0, 0.02])), gripper=1)
    assert taken.held.tolist() == [0] and taken.inside.tolist() == [[-1]]


def test_a_closed_gripper_pushes_a_drawer_shut_from_outside():
    state = table(
        CARD, at=[(0.0, -0.12)], gripper=(DRAWER_X[0], -0.03, 0.03), closed=True, cabinet=True, drawer=(DRAWER_OPEN, 0)
    )
    state = do(state, 5, arm_y=0.05)
    assert state.drawer[0, 0] < 0.01


def test_the_cabinet_stops_a_low_gripper_and_lets_a_high_one_pass_over_it():
    low = do(table(CARD, at=[(0.0, -0.12)], gripper=(0.0, 0.05, 0.03), cabinet=True), 4, arm_y=0.05)
    high = do(table(CARD, at=[(0.0, -0.12)], gripper=(0.0, 0.05, 0.1), cabinet=True), 4, arm_y=0.05)
    assert low.gripper[0, 1] < CABINET_FRONT < high.gripper[0, 1]


def test_commands_below_half_a_bin_move_nothing():
    state = table(CARD, at=[(0.0, -0.12)])
    nearest_to_zero = {"roll": math.pi / 2 / 255 / 2, "base_x": 0.1 / 255 / 2, "base_yaw": -math.pi / 2 / 255 / 2}
    still = do(state, 10, **nearest_to_zero)
    assert torch.equal(still.base, state.base) and torch.equal(still.wrist, state.wrist)
    assert do(state, base_x=0.1 / 255 * 1.5).base[0, 0] > 0


def test_eight_skills_go_on_alike_alone_and_in_a_batch():
    seeds = torch.arange(40)
    goals = Goals.of(ALL_TASKS)[draw_tasks(seeds, ALL_TASKS)]
    actions = torch.rand(6, 40, len(SPACE), generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    actions[..., 6] = torch.rand(6, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    actions[..., -1] = 0
    many = scene(seeds, goals)
    one = scene(seeds[13:14], goals[13:14])
    for action in actions:
        many, one = step(many, action), step(one, action[13:14])
    for name, value in vars(many[13:14]).items():
        assert torch.equal(value, getattr(one, name)), name

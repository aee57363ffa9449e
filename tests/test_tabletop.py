"""The physics of the tabletop, and its chance."""

import math

import pytest
import torch

from course_lib.world import chance, tabletop
from course_lib.world.tabletop import REACH, SEPARATION, SPACE, reset, step

KINDS = torch.tensor([[0, 1, 2]])


def tables(n=1, first=0):
    return reset(torch.arange(first, first + n), KINDS.expand(n, -1))


def command(n=1, **numbers):
    action = torch.zeros(n, len(SPACE))
    for name, value in numbers.items():
        action[:, SPACE.index(name)] = value
    return action


def over_object(state, place=0, height=0.02):
    """The same tables with the gripper over an object."""
    gripper = torch.cat([state.xyz[:, place, :2], torch.full((len(state), 1), height)], 1)
    return tabletop.replace(state, gripper=gripper)


def test_uniform_numbers_are_uniform_and_depend_on_seed_step_and_stream():
    seed = torch.arange(4000)
    u = chance.uniform(seed, torch.zeros_like(seed), 1, 5)
    assert u.min() >= 0 and u.max() < 1
    assert u.mean() == pytest.approx(0.5, abs=0.01) and u.var() == pytest.approx(1 / 12, abs=0.003)
    assert torch.corrcoef(u.T).fill_diagonal_(0).abs().max() < 0.06
    for other in (chance.uniform(seed, torch.zeros_like(seed), 2, 5), chance.uniform(seed, torch.ones_like(seed), 1, 5)):
        assert torch.corrcoef(torch.stack([u.flatten(), other.flatten()]))[0, 1].abs() < 0.03


def test_normal_numbers_have_mean_0_and_variance_1():
    seed = torch.arange(20_000)
    z = chance.normal(seed, seed % 7, 3, 2)
    assert z.mean().abs() < 0.02 and z.var() == pytest.approx(1, abs=0.02) and torch.isfinite(z).all()


def test_a_table_is_the_same_alone_or_in_a_batch():
    actions = torch.rand(5, 8, len(SPACE), generator=torch.Generator().manual_seed(0)) - 0.5
    actions[..., -1] = 0
    together, alone = tables(8), tables(1, first=5)
    for action in actions:
        together, alone = step(together, action), step(alone, action[5:6])
    for name in ("xyz", "gripper", "held", "yaw"):
        assert torch.equal(getattr(together, name)[5:6], getattr(alone, name))


def test_objects_start_apart_and_on_the_table():
    state = reset(torch.arange(500), torch.arange(5).expand(500, -1))
    gap = torch.cdist(state.xyz[..., :2], state.xyz[..., :2]) + 9 * torch.eye(5)
    assert (gap.amin((1, 2)) >= SEPARATION).float().mean() > 0.99
    assert state.xyz[..., :2].abs().max() < 0.2


def test_the_arm_moves_by_the_command_up_to_its_noise_and_stops_at_the_edge():
    state = tables(200)
    moved = step(state, command(200, arm_x=0.03))
    way = (moved.gripper - state.gripper)[:, 0]
    assert way.mean() == pytest.approx(0.03, abs=0.002) and way.std() == pytest.approx(tabletop.NOISE, rel=0.25)
    for _ in range(12):
        moved = step(moved, command(200, arm_x=0.05, arm_z=-0.05))
    assert moved.gripper[:, 0].max() <= REACH and moved.gripper[:, 2].min() >= 0


def test_a_still_command_moves_nothing():
    state = tables(5)
    after = step(state, command(5))
    assert torch.equal(after.gripper, state.gripper) and torch.equal(after.xyz, state.xyz)


def test_a_command_beyond_the_limits_is_clipped_to_them():
    state = tables(3)
    assert torch.equal(step(state, command(3, arm_y=9.0)).gripper, step(state, command(3, arm_y=0.05)).gripper)


def test_nan_raises_instead_of_moving_the_robot():
    with pytest.raises(ValueError, match="arm_x is NaN"):
        step(tables(), command(arm_x=math.nan))


def test_closing_low_over_an_object_holds_it_and_lifting_carries_it():
    state = step(over_object(tables(), 1), command(gripper=1))
    assert state.held.tolist() == [1] and state.closed.tolist() == [True]
    up = step(state, command(arm_z=0.05, gripper=1))
    assert up.xyz[0, 1, 2] > 0.03 and torch.equal(up.xyz[0, 1, :2], up.gripper[0, :2])


@pytest.mark.parametrize("how", [{"height": 0.08}, {"place": None}])
def test_closing_too_high_or_beside_holds_nothing(how):
    state = tables()
    if "height" in how:
        state = over_object(state, 0, how["height"])
    else:
        state = tabletop.replace(over_object(state, 0), gripper=torch.tensor([[0.17, 0.17, 0.02]]))
    assert step(state, command(gripper=1)).held.tolist() == [-1]


def test_opening_drops_the_object_straight_down():
    state = step(over_object(tables(), 2), command(gripper=1))
    state = step(step(state, command(arm_z=0.05)), command(arm_z=0.05))
    dropped = step(state, command(gripper=-1))
    assert dropped.held.tolist() == [-1] and dropped.xyz[0, 2, 2] == 0
    assert torch.equal(dropped.xyz[0, 2, :2], state.xyz[0, 2, :2])


def test_a_small_gripper_command_keeps_the_hand_as_it_is():
    state = step(over_object(tables(), 0), command(gripper=1))
    assert step(state, command(gripper=0.004)).held.tolist() == [0]  # 0 itself has no bin: its neighbours must not open


def test_a_moving_base_leaves_the_objects_where_they_are():
    state = tables()
    moved = step(state, command(base_x=0.05))
    assert torch.equal(moved.xyz, state.xyz)
    assert torch.allclose(tabletop.tips(moved)[0, 0] - tabletop.tips(state)[0, 0], torch.tensor(0.05))


def test_impossible_scenes_are_refused():
    with pytest.raises(ValueError, match="at most 8 objects"):
        reset(torch.tensor([0]), torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="Kinds are -1"):
        reset(torch.tensor([0]), torch.tensor([[99]]))

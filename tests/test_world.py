"""Tasks, experts and the Gymnasium environments."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from course_lib.world import PICK_TASKS, TabletopEnv, TabletopVectorEnv, Task, known_instructions, tasks
from course_lib.world.experts import pick_expert
from course_lib.world.objects import NAMES
from course_lib.world.tabletop import SPACE, replace, reset, step


def expert_episodes(n, seed=0):
    """(success, stopped) after letting the expert work."""
    seeds = torch.arange(seed, seed + n)
    target = torch.tensor([task.kind for task in PICK_TASKS])[tasks.draw_tasks(seeds)]
    state = reset(seeds, tasks.draw_kinds(seeds, target))
    stopped = torch.zeros(n, dtype=torch.bool)
    for _ in range(30):
        action = pick_expert(state, target)
        after = step(state, action)
        state = tables_or(stopped, state, after)
        stopped |= action[:, -1] > 0
    return tasks.success(state, target), stopped


def tables_or(keep, old, new):
    """Rows of ``old`` where ``keep``, else of ``new``."""
    return type(old)(
        **{
            name: torch.where(keep.view(-1, *[1] * (value.ndim - 1)), value, getattr(new, name))
            for name, value in vars(old).items()
        }
    )


def test_the_expert_picks_the_asked_object_in_at_least_98_percent_and_stops_itself():
    success, stopped = expert_episodes(1000)
    assert success.float().mean() >= 0.98 and stopped.all()


def test_the_expert_recovers_from_the_wrong_object_in_its_hand():
    seeds = torch.arange(50)
    state = reset(seeds, torch.tensor([[0, 1, 2]]).expand(50, -1))
    grip = torch.zeros(50, len(SPACE))
    grip[:, 6] = 1
    state = step(replace(state, gripper=torch.cat([state.xyz[:, 1, :2], torch.full((50, 1), 0.02)], 1)), grip)
    assert (state.held == 1).all()
    target = torch.zeros(50, dtype=torch.long)
    done = torch.zeros(50, dtype=torch.bool)
    for _ in range(30):
        state = step(state, pick_expert(state, target))
        done |= tasks.success(state, target)
    assert done.all()


def test_expert_steps_lie_on_whole_centimetres():
    seeds = torch.arange(100)
    state = reset(seeds, torch.tensor([[0, 1, 2]]).expand(100, -1))
    centimetres = pick_expert(state, torch.zeros(100, dtype=torch.long))[:, :3] * 100
    assert torch.allclose(centimetres, centimetres.round(), atol=1e-4) and centimetres.abs().max() <= 5


def test_success_needs_the_right_object_and_the_height():
    state = reset(torch.tensor([0]), torch.tensor([[4, 5, 6]]))
    up = replace(state, held=torch.tensor([1]), gripper=torch.tensor([[0.0, 0.0, 0.12]]))
    assert tasks.success(up, torch.tensor([5])).item()
    assert not tasks.success(up, torch.tensor([4])).item()
    assert not tasks.success(replace(up, gripper=torch.tensor([[0.0, 0.0, 0.08]])), torch.tensor([5])).item()
    assert not tasks.success(replace(up, held=torch.tensor([-1])), torch.tensor([5])).item()
    assert not tasks.success(up, torch.tensor([-1])).item()


def test_the_target_is_always_on_the_table_among_different_objects():
    seeds = torch.arange(300)
    target = seeds % len(NAMES)
    kinds = tasks.draw_kinds(seeds, target, 4)
    assert (kinds == target[:, None]).any(1).all()
    assert all(len(set(row)) == 4 for row in kinds.tolist())
    with pytest.raises(ValueError, match="1 to 8 different objects"):
        tasks.draw_kinds(seeds, target, 9)


def test_instructions_are_unique_and_found_again_however_they_are_spelled():
    assert len(set(known_instructions())) == len(known_instructions()) == 5 * len(NAMES)
    assert tasks.find_task("  Pick up the Coke can. ").kind == NAMES.index("coke can")
    assert tasks.find_task("could you hand me the sponge please").kind == NAMES.index("sponge")
    with pytest.raises(ValueError, match="with one of: apple"):
        tasks.find_task("make tea")


def test_a_missing_target_is_named_with_what_is_there():
    state = reset(torch.tensor([0]), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="There is no hammer on table 0: it holds apple, banana, orange"):
        tasks.target_place(state, torch.tensor([NAMES.index("hammer")]))


@pytest.mark.filterwarnings("error")
def test_gymnasiums_own_checker_passes():
    check_env(gymnasium.make("course_lib/Tabletop-v0", render_mode="rgb_array").unwrapped)


def test_the_vector_environment_keeps_its_spaces_and_equals_single_ones():
    many = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=3)
    assert isinstance(many, TabletopVectorEnv)
    singles = [gymnasium.make("course_lib/Tabletop-v0") for _ in range(3)]
    observation, _ = many.reset(seed=40)
    first = [env.reset(seed=40 + i)[0] for i, env in enumerate(singles)]
    actions = np.zeros((6, 3, 11), np.float32) + np.float32(0.02)
    for action in [None, *actions]:
        if action is not None:
            observation, reward, *_ = many.step(action)
            first = [env.step(a)[0] for env, a in zip(singles, action, strict=True)]
            assert reward.tolist() == [0, 0, 0]
        assert many.observation_space.contains(observation)
        for i, one in enumerate(first):
            assert (
                np.array_equal(one["image"], observation["image"][i]) and one["instruction"] == observation["instruction"][i]
            )


def test_after_its_end_a_table_starts_a_fresh_episode_on_the_next_step_only():
    env = TabletopVectorEnv(2, max_steps=5)
    env.reset(seed=0)
    stop = np.zeros((2, 11), np.float32)
    stop[0, -1] = 1
    *_, terminated, truncated, _ = env.step(stop)
    assert terminated.tolist() == [True, False] and not truncated.any()
    env.step(np.zeros((2, 11), np.float32))
    assert env.state.step.tolist() == [0, 2]


def test_an_episode_is_cut_off_after_max_steps():
    env = TabletopEnv(max_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(11, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_reward_is_one_only_on_the_last_step_of_a_success():
    env = TabletopVectorEnv(1)
    env.reset(seed=1, options={"task": "pick the apple"})
    rewards, over = [], False
    while not over:
        _, reward, terminated, truncated, info = env.step(pick_expert(env.state, env.target).numpy())
        rewards.append(float(reward[0]))
        over = terminated[0] or truncated[0]
    assert rewards[-1] == 1 and sum(rewards) == 1 and info["success"][0]


def test_options_choose_the_task_and_the_objects():
    env = TabletopEnv()
    observation, info = env.reset(seed=0, options={"task": "lift the cup", "kinds": ["cup", "apple"]})
    assert observation["instruction"] == "lift the cup" and info["target"] == NAMES.index("cup")
    assert env.labels == ["table", "cup", "apple", "gripper"]
    free = Task(-1, "bring me something yellow")
    assert env.reset(seed=0, options={"task": free, "kinds": ["banana"]})[0]["instruction"] == free.sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "lift the cup", "kinds": ["apple"]}, "needs a cup, but on the table are: apple"),
        ({"kinds": ["aple"]}, "Did you mean apple"),
        ({"tusk": "x"}, "Options are 'task' and 'kinds'"),
        ({"task": "do a dance"}, "No task matches 'do a dance'"),
    ],
)
def test_bad_options_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        TabletopEnv().reset(seed=0, options=options)


def test_bad_actions_are_explained_and_change_nothing():
    env = TabletopEnv()
    env.reset(seed=0)
    before = env.tables.state
    for action, message in ((np.full(11, np.nan), "is NaN"), (np.zeros(7), "Expected an action of 11 numbers")):
        with pytest.raises(ValueError, match=message):
            env.step(action)
    assert env.tables.state is before
    with pytest.raises(ValueError, match="reset"):
        TabletopVectorEnv(1).step(np.zeros((1, 11)))
    with pytest.raises(ValueError, match="one row per table"):
        env.tables.step(np.zeros((3, 11)))

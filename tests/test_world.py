"""The Gymnasium environments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from course_lib.measure import rollout
from course_lib.world import ExpertPolicy, TabletopEnv, TabletopVectorEnv, Task
from course_lib.world.chains import STORIES, draw_chain
from course_lib.world.env import options_of
from course_lib.world.objects import NAMES, kind_index
from course_lib.world.scenes import two_mode
from course_lib.world.splits import split
from course_lib.world.tasks import SKILLS
from course_lib.world.textures import TEXTURES


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
    rewards, over, expert = [], False, ExpertPolicy(env)
    while not over:
        _, reward, terminated, truncated, info = env.step(expert.act({}))
        rewards.append(float(reward[0]))
        over = terminated[0] or truncated[0]
    assert rewards[-1] == 1 and sum(rewards) == 1 and info["success"][0]


def test_options_choose_the_task_and_the_objects():
    env = TabletopEnv()
    observation, info = env.reset(seed=0, options={"task": "lift the cup", "kinds": ["cup", "apple"]})
    assert observation["instruction"] == "lift the cup" and info["target"] == NAMES.index("cup")
    assert env.labels[:4] == ["table", "cup", "apple", "gripper"]
    free = Task(-1, "bring me something yellow")
    assert env.reset(seed=0, options={"task": free, "kinds": ["banana"]})[0]["instruction"] == free.sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "lift the cup", "kinds": ["apple"]}, "needs a cup, but on the table are: apple"),
        ({"kinds": ["aple"]}, "Did you mean apple"),
        ({"tusk": "x"}, "Options are 'task', 'kinds' and 'texture'"),
        ({"task": ["lift the cup"] * 3}, "Expected one 'task' or 1 .one per table., got 3"),
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


def test_each_table_may_have_its_own_task_and_objects():
    env = TabletopVectorEnv(2)
    options = {"task": ["lift the cup", "open left drawer"], "kinds": [["cup", "apple"], ["banana"]]}
    observation, info = env.reset(seed=0, options=options)
    assert observation["instruction"] == ("lift the cup", "open left drawer")
    assert info["skill"].tolist() == [SKILLS.index("pick"), SKILLS.index("open drawer")]
    assert env.state.kind.tolist() == [[kind_index("cup"), kind_index("apple")], [kind_index("banana"), -1]]
    assert env.state.cabinet.tolist()[1]


@pytest.mark.parametrize("story", STORIES)
def test_a_chain_of_tasks_goes_on_when_the_policy_stops_with_the_task_done(story):
    n = 6
    chains = [draw_chain(seed, story) for seed in range(n)]
    env = TabletopVectorEnv(n)
    options = {"task": [chain.tasks for chain in chains], "kinds": [list(chain.kinds) for chain in chains]}
    outcomes = rollout(ExpertPolicy(env), env, n, seed=0, options=options)
    assert outcomes.success.all() and outcomes.stopped.all()
    one = rollout(ExpertPolicy(env), env, n, seed=0, options=options | {"task": [chain.tasks[0] for chain in chains]})
    assert outcomes.length.mean() > one.length.mean() + 3  # the other skills took their time


def test_a_chain_ends_where_the_policy_stops_too_early():
    env = TabletopEnv()
    chain = draw_chain(0, "put away")
    env.reset(seed=0, options={"task": chain.tasks, "kinds": list(chain.kinds)})
    stop = np.zeros(11, np.float32)
    stop[-1] = 1
    _, reward, terminated, _, info = env.step(stop)
    assert terminated and reward == 0 and not info["success"] and info["stage"] == 0


def test_a_chain_is_the_same_for_the_same_seed_and_its_story_must_exist():
    assert draw_chain(3) == draw_chain(3) and draw_chain(3, "serve").tasks[0].skill == "pick from"
    with pytest.raises(ValueError, match="Stories are put away"):
        draw_chain(0, "juggle")


def test_with_two_apples_the_expert_takes_either_about_half_of_the_time():
    env = TabletopVectorEnv(200, scene=two_mode, tasks=(Task(kind_index("apple"), "pick apple"),))
    expert = ExpertPolicy(env)
    assert rollout(expert, env, 200).success.all()
    env.reset(seed=0)
    first, apples = expert.act({})[:, :2], env.state.xyz[:, :2, :2].numpy()
    toward = (first[:, None] * (apples - env.state.gripper[:, None, :2].numpy())).sum(-1) > 0
    assert (toward.sum(1) == 1).all()  # never between the two
    assert 70 < toward[:, 0].sum() < 130  # 100 +- 4 standard deviations


def test_the_expert_of_a_single_environment_acts_for_one_table():
    env = gymnasium.make("course_lib/Tabletop-v0")
    env.reset(seed=0)
    assert ExpertPolicy(env).act({}).shape == (11,)


@pytest.mark.parametrize("name", ["unseen combinations", "backgrounds", "same colour", "distractors hard"])
def test_a_split_runs_as_it_says_and_the_expert_who_knows_the_meaning_succeeds(name):
    trials = split(name).trials(12)
    env = TabletopVectorEnv(12)
    observation, _ = env.reset(seed=0, options=options_of(trials))
    assert observation["instruction"] == tuple(trial.task.sentence for trial in trials)
    assert (env.state.table % TEXTURES).tolist() == [trial.texture for trial in trials]
    assert {tuple(sorted(k for k in row if k >= 0)) for row in env.state.kind.tolist()} == {
        tuple(sorted(map(kind_index, trial.kinds))) for trial in trials
    }
    assert rollout(ExpertPolicy(env), env, 12, seed=0, options=options_of(trials)).success.mean() > 0.9


def test_tables_with_different_numbers_of_things_begin_anew_beside_each_other():
    env = TabletopVectorEnv(2)
    env.reset(seed=3, options={"kinds": [["apple"], ["banana", "cup", "sponge"]], "task": ["pick apple", "pick banana"]})
    stop = np.zeros((2, 11), np.float32)
    stop[0, -1] = 1  # the table with one thing ends, and begins anew in the next step
    for _ in range(3):
        observation, *_ = env.step(stop)
    assert observation["image"].shape == (2, 64, 64, 3) and env.state.kind.shape == (2, 3)

"""Other people's environments as worlds of the course; tried on Gymnasium's own Pendulum."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.utils.env_checker import check_env

from course_lib.actions import ActionSpace
from course_lib.measure import rollout, success_rate
from course_lib.rt1 import RT1, RT1Config
from course_lib.world.adapter import ImageWorld

WORDS = "hold the pole upright"


def pendulum(steps=200):
    return gymnasium.make("Pendulum-v1", render_mode="rgb_array", max_episode_steps=steps)


def small_pendulum():
    env = pendulum(steps=110)
    env.unwrapped.screen_dim = 64  # drawn at 500 x 500 and made smaller, a picture takes most of the time
    return env


def upright(observation, reward, info):
    return observation[0] > 0.95  # the cosine of the pole's angle


class Swing:
    """Pumps energy into the poles until they are high, then balances them. Looks at the state, not at the picture."""

    def __init__(self, worlds):
        self.worlds = worlds

    def act(self, observation):
        torques = []
        for world in self.worlds.envs:
            angle, speed = world.unwrapped.state
            angle = (angle + np.pi) % (2 * np.pi) - np.pi
            energy = speed**2 / 6 + 5 * np.cos(angle)  # a rod of 1 kg and 1 m: 5 at rest on top
            balance = -12 * angle - 3 * speed
            torques.append([np.clip(balance if abs(angle) < 0.4 else 4 * (5 - energy) * speed, -2, 2)])
        return np.float32(torques)

    def reset(self):
        pass


class Still(Swing):
    def act(self, observation):
        return np.zeros((self.worlds.num_envs, 1), np.float32)


def test_pendulum_passes_gymnasiums_checker_with_pictures_and_words():
    world = ImageWorld(pendulum(), WORDS, upright)
    check_env(world, skip_render_check=True)
    observation, info = world.reset(seed=0)
    assert observation["image"].shape == (64, 64, 3) and observation["instruction"] == WORDS and info == {"success": False}
    assert observation["image"].std() > 10  # a pole is to be seen, not one colour


def test_a_policy_is_measured_on_pendulum_as_on_the_tabletop():
    worlds = ImageWorld.vector(small_pendulum, 2, WORDS, upright)
    good, idle = (success_rate(rollout(kind(worlds), worlds, 2, seed=3)).rate for kind in (Swing, Still))
    assert good == 1 and idle == 0


def test_rt1_drives_it_with_the_environments_own_action_space():
    worlds = ImageWorld.vector(pendulum, 2, WORDS, upright)
    torch.manual_seed(0)
    policy = RT1(RT1Config.tiny(action_space=worlds.envs[0].space))
    policy.instruction_encoder = lambda sentences: torch.zeros(len(sentences), policy.config.instruction_dim)
    observation, _ = worlds.reset(seed=0)
    action = policy.act(observation)
    assert action.shape == (2, 1) and np.abs(action).max() <= 2
    assert worlds.step(action)[0]["image"].shape == (2, 64, 64, 3)


class Numbers(gymnasium.Env):
    """Shows the action it was given as the colour of its picture and in ``info``."""

    def __init__(self, observation=None, action=None):
        picture = Box(0, 255, (8, 12, 3), np.uint8)
        self.observation_space = Dict({"eye": picture, "joint": Box(-1, 1, (2,))}) if observation is None else observation
        self.action_space = Box(np.float32([-2, 0]), np.float32([2, 10])) if action is None else action

    def _see(self, value):
        return {"eye": np.full((8, 12, 3), value, np.uint8), "joint": np.zeros(2, np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._see(7), {}

    def step(self, action):
        return self._see(9), 0.5, False, False, {"got": action}


def never(observation, reward, info):
    return False


def test_the_policys_numbers_are_stretched_from_their_range_to_the_environments():
    space = ActionSpace.workbook()
    world = ImageWorld(Numbers(), "go", never, image="eye", size=8, space=space, dims=["arm_y", "gripper"])
    world.reset(seed=0)
    action = np.zeros(11, np.float32)
    for arm, gripper, want in ((-0.05, -1, [-2, 0]), (0.05, 1, [2, 10]), (0.025, 0, [1, 5]), (9.0, -np.inf, [2, 0])):
        action[space.index("arm_y")], action[space.index("gripper")] = arm, gripper
        *_, info = world.step(action)
        assert info["got"] == pytest.approx(want) and info["got"].dtype == np.float32


def test_terminate_ends_the_episode_and_the_other_numbers_do_nothing():
    space = ActionSpace.workbook()
    world = ImageWorld(Numbers(), "go", never, image="eye", space=space, dims=["arm_y", "gripper"])
    world.reset(seed=0)
    action = np.zeros(11, np.float32)
    still = world.step(action)
    action[[0, 5, 8]] = 0.05
    assert np.array_equal(world.step(action)[-1]["got"], still[-1]["got"]) and still[2] is False
    action[-1] = 0.8  # nearer to "stop" than to "continue"
    assert world.step(action)[2] is True


def test_the_picture_is_the_part_of_the_observation_that_was_asked_for():
    world = ImageWorld(Numbers(), "go", never, image="eye", size=16)
    assert (world.reset(seed=0)[0]["image"] == 7).all() and (world.step(np.float32([0, 5]))[0]["image"] == 9).all()


def test_success_is_what_the_function_says_of_the_environments_own_words():
    seen = []

    def success(observation, reward, info):
        seen.append((sorted(observation), reward, sorted(info)))
        return np.bool_(True)

    world = ImageWorld(Numbers(), "go", success, image="eye")
    assert world.reset(seed=0)[1]["success"] is False
    *_, info = world.step(np.float32([0, 5]))
    assert info["success"] is True and seen == [(["eye", "joint"], 0.5, ["got"])]


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda: gymnasium.make("Pendulum-v1"), {}, "render_mode='rgb_array'"),
        (Numbers, {"image": "ear"}, r"no picture 'ear'. Pictures in it: \['eye'\]"),
        (lambda: Numbers(action=Discrete(3)), {"image": "eye"}, "Discrete actions do not fit"),
        (lambda: Numbers(action=Box(-np.inf, np.inf, (2,))), {"image": "eye"}, "finite ranges"),
        (Numbers, {"image": "eye", "space": ActionSpace.workbook()}, "takes 2 numbers"),
        (Numbers, {"image": "eye", "space": ActionSpace.workbook(), "dims": ["arm_x"]}, "takes 2 numbers"),
        (Numbers, {"image": "eye", "space": ActionSpace.workbook(), "dims": ["arm_x", "grip"]}, "called 'grip'"),
    ],
)
def test_environments_that_do_not_fit_say_why(make, options, words):
    with pytest.raises(ValueError, match=words):
        ImageWorld(make(), "go", never, **options)


def test_bad_actions_are_refused():
    world = ImageWorld(Numbers(), "go", never, image="eye")
    world.reset(seed=0)
    with pytest.raises(ValueError, match="action_1 is NaN"):
        world.step(np.float32([0, np.nan]))
    with pytest.raises(ValueError, match="Expected an action of 2 numbers"):
        world.step(np.zeros(3, np.float32))

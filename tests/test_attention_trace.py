import numpy as np
import pytest
import torch

from course_lib.classroom.attention_trace import attention_shares, describe_scene, describe_tokens, free_task, watch
from course_lib.world import ExpertPolicy, TabletopEnv

LABELS = ["table", "apple", "gripper"]


class Expert:
    """Knows the way to the object; its two tokens look at the upper left cell, and everywhere."""

    def __init__(self, env):
        self.env, self.heard, self.resets = env, [], 0

    def reset(self):
        self.resets += 1

    def act(self, observation, trace=None):
        self.heard.append(observation["instruction"])
        maps = torch.zeros(1, 2, 8, 8)
        maps[0, 0, 0, 0], maps[0, 1] = 1, 1 / 64
        trace["token_learner/maps"] = maps
        return ExpertPolicy(self.env).act(observation)


def scene_with_an_apple():
    """4 x 4 pixels: an apple of one pixel in the upper left cell of a 2 x 2 map, the gripper in all of the lower right."""
    pixels = np.zeros((4, 4), int)
    pixels[0, 0], pixels[2:, 2:] = 1, 2
    return pixels


def test_a_cell_that_shows_part_of_an_object_counts_for_the_object():
    maps = np.array([[[0.5, 0.2], [0.2, 0.1]]], dtype=np.float32)
    shares = attention_shares(maps, scene_with_an_apple(), 3)
    assert np.allclose(shares, [[0.4, 0.5, 0.1]] * 2)  # the mean of one map is the map


def test_two_things_in_one_cell_share_it_by_their_pixels():
    pixels = np.array([[1, 1, 0, 0], [1, 2, 0, 0]])
    shares = attention_shares(np.array([[[1.0, 0.0]]]), pixels, 3)
    assert np.allclose(shares[1], [0, 0.75, 0.25])


def test_every_row_of_the_shares_sums_to_one_and_the_first_is_the_mean():
    rng = np.random.default_rng(0)
    maps = rng.dirichlet(np.ones(81), 8).reshape(8, 9, 9)  # RT-1's 9 x 9 does not divide 64 pixels
    shares = attention_shares(maps, rng.integers(0, 4, (64, 64)), 4)
    assert np.allclose(shares.sum(1), 1, atol=1e-6)
    assert np.allclose(shares[0], shares[1:].mean(0), atol=1e-6)


def test_the_words_name_the_object_the_place_and_the_token():
    maps = np.array([[[0.7, 0.1], [0.1, 0.1]], [[0.0, 0.0], [0.0, 1.0]]])
    words = describe_tokens(maps, attention_shares(maps, scene_with_an_apple(), 3), LABELS)
    assert words[0].startswith("All 2 tokens together: 55% on the gripper, 35% on the apple")
    assert words[1] == "Token 1: 70% on the apple, 20% on the empty table; most in the upper left (70% in one cell)."
    assert words[2] == "Token 2: 100% on the gripper; most in the lower right (100% in one cell)."


def test_the_scene_in_words_says_where_things_are_and_what_is_held():
    assert describe_scene(scene_with_an_apple(), LABELS) == "apple in the upper left, gripper in the lower right"
    assert "apple held by the gripper" in describe_scene(scene_with_an_apple(), LABELS, "apple")
    assert describe_scene(np.zeros((4, 4), int), LABELS) == "an empty table"


def test_watching_an_expert_ends_with_success_and_shows_it():
    env = TabletopEnv()
    policy = Expert(env)
    task = free_task("pick up the apple")
    frames = list(watch(policy, env, task=task, scene=3, kinds=["cup", "apple"], steps=25))
    assert frames[-1].success and [frame.over for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert "apple held by the gripper" in frames[-1].scene and "held" not in frames[0].scene
    assert policy.resets == 1 and set(policy.heard) == {"pick up the apple"}
    assert frames[0].labels == ["table", "cup", "apple", "gripper"] and frames[0].image.shape == (64, 64, 3)
    assert np.allclose(frames[0].maps[0, 0, 0], 1) and frames[0].shares.shape == (3, 4)


def test_watching_stops_after_the_given_number_of_steps():
    env = TabletopEnv()
    frames = list(watch(Expert(env), env, task=None, scene=0, kinds=None, steps=2))
    assert len(frames) == 3 and frames[-1].over and not frames[-1].success


def test_a_policy_without_maps_is_refused_with_the_names_that_it_left():
    class Blind(Expert):
        def act(self, observation, trace=None):
            trace["logits"] = 0
            return np.zeros(11, np.float32)

    with pytest.raises(ValueError, match=r"token_learner/maps.*got the names \['logits'\].*Try"):
        next(watch(Blind(None), TabletopEnv(), task=None, scene=0, kinds=None, steps=2))


def test_maps_that_do_not_sum_to_one_are_scaled():
    class Sigmoid(Expert):
        def act(self, observation, trace=None):
            action = super().act(observation, trace)
            trace["token_learner/maps"] = trace["token_learner/maps"] * 7
            return action

    env = TabletopEnv()
    frame = next(watch(Sigmoid(env), env, task=None, scene=0, kinds=None, steps=2))
    assert np.allclose(frame.maps.sum((1, 2)), 1)


def test_a_sentence_without_an_object_is_a_task_without_a_goal():
    assert free_task("  tidy  up ").kind == -1 and free_task("tidy up").sentence == "tidy up"
    assert free_task("Seize the apple!").kind == free_task("pick apple").kind >= 0

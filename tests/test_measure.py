"""Rollouts and success rates."""

import numpy as np
import pytest
import torch

from course_lib.measure import rollout, success_rate, wilson
from course_lib.world import TabletopEnv, TabletopVectorEnv, pick_expert


class Expert:
    """The scripted expert as a Policy that peeks into the environment's state."""

    def __init__(self, env):
        self.env, self.resets = env, 0

    def act(self, observation):
        return pick_expert(self.env.state, self.env.target).numpy()

    def reset(self):
        self.resets += 1


class Still:
    """Does nothing."""

    def act(self, observation):
        return np.zeros((len(observation["image"]), 11), np.float32)

    def reset(self):
        pass


def test_the_expert_succeeds_and_a_still_policy_never_does():
    env = TabletopVectorEnv(16, max_steps=20)
    assert success_rate(rollout(Expert(env), env, 32)).rate >= 0.95
    outcomes = rollout(Still(), env, 16)
    assert not outcomes.success.any() and not outcomes.stopped.any() and (outcomes.length == 20).all()


def test_episodes_are_the_same_whatever_the_number_of_tables_side_by_side():
    results = []
    for tables in (3, 8):
        env = TabletopVectorEnv(tables)
        results.append(rollout(Expert(env), env, 10, seed=100))
    a, b = results
    assert a.instruction == b.instruction and a.length.tolist() == b.length.tolist()
    assert a.seed.tolist() == list(range(100, 110)) == b.seed.tolist() and len(a) == 10


def test_the_policy_is_reset_before_each_group():
    env = TabletopVectorEnv(4)
    expert, seen = Expert(env), []
    rollout(expert, env, 10, progress=lambda done, n: seen.append((done, n)))
    assert expert.resets == 3 and seen == [(4, 10), (8, 10), (10, 10)]


def test_a_single_environment_or_no_episode_is_refused():
    with pytest.raises(ValueError, match=r"Try gymnasium\.make_vec"):
        rollout(Still(), TabletopEnv(), 3)
    with pytest.raises(ValueError, match="at least one episode"):
        rollout(Still(), TabletopVectorEnv(1), 0)


def test_wilson_covers_the_truth_about_95_percent_of_the_time():
    random = torch.Generator().manual_seed(0)
    for p in (0.05, 0.5, 0.93):
        hits = torch.binomial(torch.full((4000,), 60.0), torch.full((4000,), p), generator=random).int().tolist()
        covered = np.mean([wilson(k, 60).low <= p <= wilson(k, 60).high for k in hits])
        assert 0.93 < covered < 0.98


def test_wilson_solves_its_own_equation_and_stays_inside_0_and_1():
    for k, n in ((0, 10), (3, 17), (16, 21), (10, 10)):
        rate, low, high, _ = wilson(k, n)
        assert 0 <= low <= rate + 1e-12 and rate <= high + 1e-12 and high <= 1
        for bound in (low, high):  # (p - bound)^2 = z^2 bound (1 - bound) / n defines the interval
            assert (rate - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / n, abs=1e-9)


def test_the_papers_unseen_result_of_16_of_21_has_a_wide_interval():
    assert [round(x, 2) for x in wilson(16, 21)[1:3]] == [0.55, 0.89]  # RT-1, unseen instructions
    assert str(wilson(9, 10)).startswith("90.0% [59.6%, 98.2%], n = 10")


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(5, 4)

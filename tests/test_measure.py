"""Rollouts and success rates."""

import numpy as np
import pytest
import torch

from course_lib.measure import rollout, success_by, success_rate, wilson
from course_lib.world import ExpertPolicy, TabletopEnv, TabletopVectorEnv
from course_lib.world.tasks import SKILLS


class Expert(ExpertPolicy):
    """The scripted expert; counts how often it is told that an episode begins."""

    resets = 0

    def reset(self):
        self.resets += 1


class Still:
    """Does nothing; remembers what it heard."""

    def __init__(self):
        self.heard = []

    def act(self, observation):
        self.heard.append(list(observation["instruction"]))
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


def test_a_film_shows_what_the_camera_saw_from_the_first_frame_to_the_last():
    env = TabletopVectorEnv(4, size=32)
    outcomes = rollout(Expert(env), env, 10, seed=20, film=6)
    assert [len(film) for film in outcomes.films] == (outcomes.length[:6] + 1).tolist()
    env.reset(seed=[25, 26, 27, 28])  # the sixth episode again, step by step
    frames, expert = [env.reset(seed=[25, 26, 27, 28])[0]["image"][0]], ExpertPolicy(env)
    for _ in range(outcomes.length[5]):
        frames.append(env.step(expert.act({}))[0]["image"][0])
    assert np.array_equal(outcomes.films[5], np.stack(frames))


def test_the_policy_hears_each_sentence_of_a_chain():
    chain = ("pick apple", "place apple into bowl")
    env = TabletopVectorEnv(2)
    options = {"task": chain, "kinds": ["apple", "bowl", "sponge"]}
    heard = []

    class Listening(Expert):
        def act(self, observation):
            heard.append(observation["instruction"][0])
            return super().act(observation)

    outcomes = rollout(Listening(env), env, 2, options=options)
    assert set(heard) == set(chain) and heard == sorted(heard) and outcomes.success.all()
    assert outcomes.instruction == [chain[0]] * 2


def test_a_finished_table_keeps_its_sentence_and_its_notes():
    class Impatient(Still):
        def act(self, observation):
            action = super().act(observation)
            action[0, -1] = len(self.heard) == 1  # the first table stops at once and begins another episode
            return action

    policy, env = Impatient(), TabletopVectorEnv(2, max_steps=6)
    outcomes = rollout(policy, env, 2)
    assert outcomes.length.tolist() == [1, 6] and outcomes.stopped.tolist() == [True, False]
    assert outcomes.failure == ["stopped early", "timeout"]
    assert all(heard == policy.heard[0] for heard in policy.heard)


def test_the_bar_counts_the_episodes_that_are_over(capsys):
    env = TabletopVectorEnv(4)
    rollout(Expert(env), env, 6, progress=True)
    assert "6/6" in capsys.readouterr().err


def test_success_is_reported_per_group():
    env = TabletopVectorEnv(16)
    outcomes = rollout(Expert(env), env, 32)
    skills = [SKILLS[k] for k in outcomes.skill]
    rates = success_by(outcomes, skills)
    assert sum(rate.n for rate in rates.values()) == 32
    assert {name: rate.n for name, rate in rates.items()} == {name: skills.count(name) for name in rates}
    with pytest.raises(ValueError, match=r"one group per episode \(32\)"):
        success_by(outcomes, ["pick"])


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

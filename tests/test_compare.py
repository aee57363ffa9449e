"""Paired comparison of two policies."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from course_lib.measure import Outcomes, compare, wilson
from course_lib.measure.compare import _score, difference_interval, mcnemar


def outcomes(success):
    n = len(success)
    won = np.array(success, bool)
    return Outcomes(won, np.full(n, 5), np.arange(n), ["pick apple"] * n, won, np.full(n, -1), np.zeros(n, int))


def test_the_counts_are_those_of_the_four_kinds_of_scenes():
    c = compare(outcomes([1, 1, 1, 0, 0, 0]), outcomes([1, 1, 0, 1, 1, 0]))
    assert (c.both, c.only_a, c.only_b, c.neither, c.n) == (2, 1, 2, 1, 6) and c.difference == pytest.approx(1 / 6)


def test_mcnemar_counts_the_tosses_of_a_coin():
    for a, b in [(0, 0), (0, 5), (3, 9), (7, 6), (2, 2)]:
        n = a + b
        tosses = [sum(t) for t in itertools.product((0, 1), repeat=n)]
        as_far = sum(abs(heads - n / 2) >= abs(a - n / 2) for heads in tosses)
        assert mcnemar(a, b) == pytest.approx(as_far / 2**n) and mcnemar(a, b) == mcnemar(b, a)


def test_the_score_uses_the_most_likely_chances_under_each_difference():
    a, b, n = 4, 9, 30
    for delta in (-0.3, -0.05, 0.1, 0.4):
        grid = np.linspace(max(0, -delta), (1 - delta) / 2, 2_000_001)[1:-1]  # chance of an only-a scene
        likelihood = b * np.log(grid + delta) + a * np.log(grid) + (n - a - b) * np.log(1 - 2 * grid - delta)
        q = grid[likelihood.argmax()]
        spread = math.sqrt(n * (2 * q + delta - delta**2))
        assert _score(a, b, n, delta) == pytest.approx((b - a - n * delta) / spread, abs=1e-4)


def test_the_interval_ends_where_the_score_is_1_96():
    for a, b, n in ((4, 9, 30), (0, 3, 50), (10, 10, 40), (1, 0, 5)):
        low, high = difference_interval(a, b, n)
        assert -1 <= low < (b - a) / n < high <= 1
        assert _score(a, b, n, low) == pytest.approx(1.959964, abs=1e-6)
        assert _score(a, b, n, high) == pytest.approx(-1.959964, abs=1e-6)


def test_exchanging_the_policies_turns_the_interval_round():
    low, high = difference_interval(3, 8, 40)
    assert difference_interval(8, 3, 40) == pytest.approx((-high, -low))


def test_without_discordant_scenes_the_interval_is_wilsons_for_no_success_in_n():
    low, high = difference_interval(0, 0, 40)
    assert high == pytest.approx(wilson(0, 40).high) and low == pytest.approx(-high)


def test_the_interval_stays_on_the_scale():
    assert difference_interval(0, 5, 5)[1] == pytest.approx(1) and difference_interval(5, 0, 5)[0] == pytest.approx(-1)


def test_the_interval_covers_the_truth_about_95_percent_of_the_time():
    random = np.random.default_rng(0)
    chances = np.array([0.55, 0.08, 0.17, 0.2])  # both, only a, only b, neither
    draws = random.multinomial(60, chances, 3000)
    covered = 0
    for _, a, b, _ in draws:
        low, high = difference_interval(int(a), int(b), 60)
        covered += low <= chances[2] - chances[1] <= high
    assert 0.935 < covered / 3000 < 0.97


def test_pairing_sees_what_two_separate_intervals_do_not():
    hard = np.arange(100) % 3 == 0  # scenes that neither policy solves
    a, b = ~hard & (np.arange(100) >= 8), ~hard  # b solves 5 more
    c = compare(outcomes(a), outcomes(b), ("old", "new"))
    assert c.low > 0 and wilson(int(a.sum()), 100).high > wilson(int(b.sum()), 100).low
    text = str(c)
    assert text.startswith("new is 5.0 percentage points ahead of old in the same 100 scenes (95% interval +")
    assert "only old 0, only new 5" in text and text.endswith("The difference is more than chance.")


def test_a_tie_may_be_chance():
    text = str(compare(outcomes([1, 0, 1]), outcomes([0, 1, 1])))
    assert "0.0 percentage points ahead of" in text and text.endswith("p = 1. This may be chance.")


def test_other_scenes_cannot_be_compared():
    a = outcomes([1, 0])
    others = [outcomes([1]), replace(a, seed=a.seed + 1), replace(a, instruction=["pick apple", "pick can"])]
    for other in others:
        with pytest.raises(ValueError, match="rollouts of the same scenes"):
            compare(a, other)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="only_a \\+ only_b <= n"):
        difference_interval(3, 4, 6)

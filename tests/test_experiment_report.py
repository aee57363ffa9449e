"""What readers see of the experiments: every rate with its trials, pairs compared scene by scene, pictures that speak."""

import numpy as np

from course_lib.classroom.experiments import report
from course_lib.measure import Outcomes, compare, wilson
from course_lib.measure.scaling import Point, fit


def row(language, seed, each, gaze=0.4):
    """A finished run with these scenes won (1) and lost (0)."""
    test = {"n": len(each), "successes": each.count("1"), "each": each, "skills": {}, "failures": {}}
    result = {"seen": test, "unseen": test, "nats": 2.5, "gaze": {"on_target": [gaze, 0.01]}}
    return {"run": {"language": language, "seed": seed, "episodes": 100}, "result": result}


ROWS = [row("FiLM", 0, "1111100000", 0.5), row("FiLM", 1, "1110000000", 0.3), row("none", 0, "1000000010")]


def outcomes(each):
    """The same scenes as a rollout gives them."""
    won = np.array(list(each)) == "1"
    n = len(won)
    return Outcomes(won, np.ones(n, int), np.arange(n), ["a"] * n, won, np.zeros(n, int), np.zeros(n, int))


def test_seeds_are_added_up_and_shown_apart():
    assert report.grouped(ROWS, "language")["FiLM"] == Point(2, (5, 3), (10, 10))
    table = report.rates(ROWS, "language", ("seen",))
    assert str(wilson(8, 20)) in table and "seeds: 50%, 30%" in table and len(table.splitlines()) == 2


def test_pairs_are_compared_scene_by_scene_as_measure_does():
    (found,) = report.paired(ROWS, "language", "none", "FiLM")
    expected = compare(outcomes("1000000010"), outcomes("1111100000"), ("none", "FiLM"))
    assert found == expected


def test_only_seeds_that_both_have_are_compared():
    assert len(report.paired(ROWS, "language", "FiLM", "FiLM")) == 2
    assert report.paired(ROWS, "language", "FiLM", "concatenated") == []


def test_numbers_are_means_over_seeds_with_half_their_distance():
    table = report.numbers(ROWS, "language", {"gaze.on_target": "on the target", "nats": "nats"})
    head, target, nats = table.splitlines()
    assert head.split() == ["FiLM", "none"]
    assert "0.4 ±0.1" in target and target.rstrip().endswith("0.4") and "2.5" in nats


def test_pictures_say_their_numbers_to_those_who_do_not_see_them():
    said = report.rates_figure(ROWS, "language", "A title").data
    assert "A title" in said and str(wilson(8, 20)) in said and "<img alt=" in said
    points = [Point(100, (5, 3), (10, 10)), Point(1000, (9,), (10,))]
    said = report.scaling_figure({"seen": points}, [fit(points, "power law", bootstrap=5)]).data
    assert "seen, 1,000 episodes" in said and str(wilson(9, 10)) in said


def test_what_is_not_measured_is_said_to_be_missing():
    assert report.rates([], "language") == report.numbers([], "language", {}) == report.NOTHING
    assert report.NOTHING in report.rates_figure([], "language", "A title").data
    assert report.NOTHING in report.scaling_figure({"seen": []}, []).data

"""Failure labels, told from what an environment says at each step."""

import numpy as np
import pytest

from course_lib.measure.outcomes import FAILURES, Outcomes, Watcher, joined

APPLE, CAN = 0, 6


def watched(steps, stop=True, start=None):
    """One table that says ``steps`` (a dict each), one after another."""
    start = {"target": [APPLE]} if start is None else start
    watcher = Watcher(start, 1)
    for t, said in enumerate(steps):
        last = np.array([t == len(steps) - 1])
        info = {"success": [False], "target": start.get("target", [-1]), "held": [-1]} | said
        watcher.see(info, last & stop, last & (not stop))
    return watcher


HELD, LOST, EMPTY, WRONG = {"held": [APPLE]}, {"held": [-1]}, {"missed": [True]}, {"held": [CAN]}


@pytest.mark.parametrize(
    ("label", "steps", "stop"),
    [
        ("", [HELD, HELD | {"success": [True]}], True),
        ("wrong object", [LOST, WRONG], True),
        ("wrong object", [WRONG, LOST], False),
        ("wrong object", [HELD, WRONG], True),
        ("wrong object", [{"touched": [CAN]}, LOST], True),
        ("dropped", [HELD, LOST], True),
        ("dropped", [WRONG, HELD, LOST], False),
        ("dropped", [HELD, {"touched": [CAN]}], True),
        ("missed grasp", [EMPTY, LOST], True),
        ("missed grasp", [EMPTY, {"touched": [APPLE]}], False),
        ("stopped early", [LOST, LOST], True),
        ("stopped early", [EMPTY, HELD], True),
        ("timeout", [LOST, LOST], False),
        ("timeout", [LOST, HELD], False),
    ],
)
def test_each_way_to_fail_has_its_label(label, steps, stop):
    assert watched(steps, stop).label(0) == label and (label in FAILURES or label == "")


def test_a_drawer_task_wants_nothing_in_the_hand():
    assert watched([WRONG, LOST], start={"target": [-1]}).label(0) == "wrong object"
    assert watched([LOST], start={"target": [-1]}).label(0) == "stopped early"


def test_an_environment_that_names_no_target_gets_no_wrong_object():
    assert watched([WRONG], start={}).label(0) == "stopped early"


def test_the_next_task_of_a_chain_begins_with_empty_notes():
    dropped = watched([HELD, LOST, {"target": [CAN]}, {"target": [CAN]}])
    assert dropped.label(0) == "stopped early" and dropped.target[0] == CAN


def test_what_comes_after_the_end_is_not_looked_at():
    watcher = watched([LOST], stop=True)
    watcher.see({"success": [True], "target": [CAN], "held": [CAN]}, np.array([True]), np.array([False]))
    assert watcher.length[0] == 1 and not watcher.success[0] and watcher.label(0) == "stopped early"


def test_an_environment_must_say_whether_the_task_is_done():
    with pytest.raises(ValueError, match=r"Expected info\['success'\]"):
        Watcher({}, 1).see({"reward": [1]}, np.array([True]), np.array([False]))


def make(labels):
    n = len(labels)
    won = np.array([not label for label in labels])
    return Outcomes(won, np.full(n, 5), np.arange(n), ["a"] * n, ~won, np.full(n, -1), np.zeros(n, int), failure=labels)


def test_failures_are_counted_most_frequent_first():
    outcomes = make(["timeout", "", "dropped", "timeout", ""])
    assert list(outcomes.failures().items()) == [("timeout", 2), ("dropped", 1)]


def test_groups_join_in_order_and_parts_come_out_again():
    whole = joined([make(["", "dropped"]), make(["timeout"])])
    assert whole.failure == ["", "dropped", "timeout"] and whole.success.tolist() == [True, False, False]
    assert whole.where(~whole.success).failure == ["dropped", "timeout"] and whole.where(np.array([2])).seed.tolist() == [0]
    assert whole.skill is None and whole.where(whole.success).skill is None

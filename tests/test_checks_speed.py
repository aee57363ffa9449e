"""The speed check accepts right measurements of any style, and gives every known mistake its own message."""

import statistics
import time

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.speed import SPEED, Device

RIGHT, WRONG, right, wrong = answers()


def once(run, clock, wait):
    wait()
    start = clock()
    run()
    wait()
    return 1000 * (clock() - start)


def measured(first, second, clock, wait, warmup, rounds):
    """(rounds, 2) milliseconds."""
    for _ in range(warmup):
        first(), second()
    return np.array([[once(first, clock, wait), once(second, clock, wait)] for _ in range(rounds)])


@right
def with_numpy(first, second, clock, wait, warmup=3, rounds=20):
    ms = measured(first, second, clock, wait, warmup, rounds)
    return *np.median(ms, 0), np.median(ms[:, 1] / ms[:, 0])


@right
def with_negative_rounds(first, second, clock, wait, warmup=3, rounds=20):
    times = {first: [], second: []}
    for r in range(-warmup, rounds):
        for run, kept in times.items():
            wait()
            start = clock()
            run()
            wait()
            if r >= 0:
                kept.append((clock() - start) * 1000)
    ratios = [b / a for a, b in zip(times[first], times[second], strict=True)]
    return [statistics.median(kept) for kept in (times[first], times[second], ratios)]


@right
def second_goes_first_in_torch(first, second, clock, wait, warmup=3, rounds=20):
    for run in (first, second):
        for _ in range(warmup):
            run()
    wait()
    kept = torch.zeros(rounds, 2, dtype=torch.float64)
    for row in kept:
        for column, run in ((1, second), (0, first)):
            began = clock()
            run()
            wait()
            row[column] = clock() - began
    middle = (1000 * kept).quantile(0.5, dim=0)
    return middle[0], middle[1], (kept[:, 1] / kept[:, 0]).quantile(0.5)


@right
def one_reading_ends_and_begins(first, second, clock, wait, warmup=3, rounds=20):
    for _ in range(warmup):
        first(), second()
    wait()
    readings = [clock()]
    for _ in range(rounds):
        for run in (first, second):
            run()
            wait()
            readings.append(clock())
    ms = sorted(1000 * np.diff(readings)[::2]), sorted(1000 * np.diff(readings)[1::2])
    ratio = sorted(np.diff(readings)[1::2] / np.diff(readings)[::2])
    return [(kept[(rounds - 1) // 2] + kept[rounds // 2]) / 2 for kept in (*ms, ratio)]


def mistaken_result(message, change):
    """A wrong answer that makes other numbers of the right times (rounds, 2)."""

    def answer(first, second, clock, wait, warmup, rounds):
        ms = measured(first, second, clock, wait, warmup, rounds)
        a, b, times = *np.median(ms, 0), np.median(ms[:, 1] / ms[:, 0])
        return change(ms, a, b, times)

    WRONG[message] = (answer, message, "not yet")


mistaken_result("These are seconds", lambda ms, a, b, t: (a / 1000, b / 1000, t))
mistaken_result("microseconds", lambda ms, a, b, t: (a * 1000, b * 1000, t))
mistaken_result("decoders are exchanged", lambda ms, a, b, t: (b, a, t))
mistaken_result("means of the rounds", lambda ms, a, b, t: (*ms.mean(0), t))
mistaken_result("fastest", lambda ms, a, b, t: (*ms.min(0), t))
mistaken_result("slowest", lambda ms, a, b, t: (*ms.max(0), t))
mistaken_result("sums of all", lambda ms, a, b, t: (*ms.sum(0), t))
mistaken_result("lower middle", lambda ms, a, b, t: (*torch.tensor(ms).median(0).values, t))
mistaken_result("upper middle", lambda ms, a, b, t: (*np.sort(ms, 0)[len(ms) // 2], t))
mistaken_result("upside down", lambda ms, a, b, t: (a, b, np.median(ms[:, 0] / ms[:, 1])))
mistaken_result("ratio of the medians", lambda ms, a, b, t: (a, b, b / a))
mistaken_result("difference in milliseconds", lambda ms, a, b, t: (a, b, b - a))
mistaken_result("mean of the ratios", lambda ms, a, b, t: (a, b, (ms[:, 1] / ms[:, 0]).mean()))
mistaken_result("how much longer, not", lambda ms, a, b, t: (a, b, t - 1))
mistaken_result("per cent", lambda ms, a, b, t: (a, b, 100 * t))
mistaken_result("got 2 of them", lambda ms, a, b, t: (a, b))
mistaken_result("first_ms should be one number", lambda ms, a, b, t: (ms, b, t))
mistaken_result("times should be", lambda ms, a, b, t: (a, b, t * 1.1))


def with_other_clockwork(message, once):
    """A wrong answer that times one call in another way: ``once(run, clock, wait)`` gives milliseconds."""

    def answer(first, second, clock, wait, warmup, rounds):
        for _ in range(warmup):
            first(), second()
        ms = np.array([[once(first, clock, wait), once(second, clock, wait)] for _ in range(rounds)])
        return *np.median(ms, 0), np.median(ms[:, 1] / ms[:, 0])

    WRONG[message] = (answer, message, "not yet")


def never_waits(run, clock, wait):
    start = clock()
    run()
    return 1000 * (clock() - start)


def waits_before_only(run, clock, wait):
    wait()
    return never_waits(run, clock, wait)


def waits_after_only(run, clock, wait):
    start = clock()
    run()
    wait()
    return 1000 * (clock() - start)


def waits_after_the_clock(run, clock, wait):
    start = clock()
    run()
    stop = clock()
    wait()
    return 1000 * (stop - start) + 1


def own_clock(run, clock, wait):
    wait()
    start = time.perf_counter()
    run()
    wait()
    return 1000 * (time.perf_counter() - start)


with_other_clockwork("in which a call returns", never_waits)
with_other_clockwork("read straight after a call", waits_after_the_clock)
with_other_clockwork("started while earlier work", waits_after_only)
with_other_clockwork("clock() is never read", own_clock)


@wrong("wait() is never called")
def one_pair_of_readings(first, second, clock, wait, warmup, rounds):
    for _ in range(warmup):
        first(), second()
    start = clock()
    for _ in range(rounds):
        first(), second()
    return 1000 * (clock() - start), 1, 1


@wrong("spans several calls")
def all_rounds_at_once(first, second, clock, wait, warmup, rounds):
    for _ in range(warmup):
        first(), second()
    wait()
    start = clock()
    for _ in range(rounds):
        first(), second()
    wait()
    whole = 1000 * (clock() - start) / rounds
    return whole, whole, 1


@wrong("come before those of the other")
def one_after_the_other(first, second, clock, wait, warmup, rounds):
    ms = []
    for run in (first, second):
        for _ in range(warmup):
            run()
        ms.append([once(run, clock, wait) for _ in range(rounds)])
    ms = np.array(ms).T
    return *np.median(ms, 0), np.median(ms[:, 1] / ms[:, 0])


@wrong("Where are the warm-up calls?")
def cold(first, second, clock, wait, warmup, rounds):
    return with_numpy(first, second, clock, wait, 0, rounds)


@wrong("The second decoder is called 1 times, not 2 + 1")
def warms_one(first, second, clock, wait, warmup, rounds):
    for _ in range(warmup):
        first()
    return with_numpy(first, second, clock, wait, 0, rounds)


@wrong("more often than warmup + rounds")
def warms_before_every_call(first, second, clock, wait, warmup, rounds):
    return with_numpy(first, second, clock, wait, warmup + 1, rounds)


@wrong("The warm-up calls are among")
def measures_the_warm_up(first, second, clock, wait, warmup, rounds):
    return with_numpy(first, second, clock, wait, 0, warmup + rounds)


@wrong("No decoder was called")
def guesses(first, second, clock, wait, warmup, rounds):
    return 15.0, 36.0, 2.4


@wrong("There is still a stub", "not attempted")
def blank(first, second, clock, wait, warmup, rounds):
    raise NotImplementedError


@wrong("Nothing was returned")
def forgets_return(first, second, clock, wait, warmup, rounds):
    with_numpy(first, second, clock, wait, warmup, rounds)


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(SPEED, RIGHT[name], seeds=8)


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(SPEED, *about) for about in WRONG.values()])


def test_the_pretend_device_works_on_after_the_call_and_knows_the_truth():
    case = SPEED.draw(np.random.default_rng(0), False)[1]
    device = Device(case)
    device.wait()
    start = device.clock()
    device.run(1)
    assert device.clock() - start == pytest.approx(float(case["launch"]))
    device.wait()
    assert device.clock() - start == pytest.approx(float(case["launch"] + case["seconds"][1, 0]))


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(SPEED, with_numpy)

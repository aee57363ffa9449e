"""The check of the timing exercise accepts every honest way to time, and names what is wrong with the others."""

import statistics
import time

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.stopwatch import TIME_ANSWERS


def way(*, warm=True, before=True, after=True, of=statistics.median, factor=1, tail=0, turns=True, warm_sync=True):
    """One function with the parts that people leave out."""

    def time_answers(write, counts, sync, clock, warmup=2, rounds=5):
        times = {n: [] for n in counts}
        order = [n for _ in range(rounds) for n in counts] if turns else [n for n in counts for _ in range(rounds)]
        if warm:
            for n in [n for _ in range(warmup) for n in counts]:
                write(n)
            if warm_sync:
                sync()
        for n in order:
            if before:
                sync()
            began = clock()
            write(n)
            if after:
                sync()
            times[n].append(clock() - began)
        return {n: factor * of(times[n]) for n in counts}

    return time_answers


def in_numpy(write, counts, sync, clock, warmup=2, rounds=5):
    seconds = np.zeros((warmup + rounds, len(counts)))
    for i in range(warmup + rounds):
        for j, n in enumerate(counts):
            sync()
            seconds[i, j] = -clock()
            write(n)
            sync()
            seconds[i, j] += clock()
    return np.median(seconds[warmup:], axis=0)


def in_torch(write, counts, sync, clock, warmup=2, rounds=5):
    """Every clock mark serves as an end and as a beginning; torch's median is the lower of two."""

    def mark():
        sync()
        return clock()

    marks = [mark()]
    for _ in range(warmup + rounds):
        for n in reversed(counts):
            write(n)
            marks.append(mark())
    table = torch.tensor(marks, dtype=torch.float64).diff().view(-1, len(counts))[warmup:]
    return table.median(0).values.flip(0)


def sorted_middle(write, counts, sync, clock, warmup=2, rounds=5):
    def once(n):
        sync()
        began = clock()
        write(n)
        sync()
        return clock() - began

    runs = [{n: once(n) for n in counts} for _ in range(warmup + rounds)][warmup:]
    return {n: sorted(run[n] for run in runs)[rounds // 2] for n in counts}


def warmed_up_elsewhere(write, counts, sync, clock, warmup=2, rounds=5):
    times = {n: [] for n in counts}
    for _ in range(warmup + rounds):
        for n in counts:
            sync()
            began = clock()
            write(n)
            sync()
            times[n].append(clock() - began)
    return {n: statistics.median(times[n]) for n in counts}  # warm-ups measured too


def own_clock(write, counts, sync, clock, warmup=2, rounds=5):
    return way()(write, counts, sync, time.perf_counter, warmup, rounds)


def per_token(write, counts, sync, clock, warmup=2, rounds=5):
    return {n: t / n for n, t in way()(write, counts, sync, clock, warmup, rounds).items()}


def around_all(write, counts, sync, clock, warmup=2, rounds=5):
    """One pair of clock marks around all rounds."""
    for _ in range(warmup):
        for n in counts:
            write(n)
    sync()
    began = clock()
    for _ in range(rounds):
        for n in counts:
            write(n)
    sync()
    return dict.fromkeys(counts, (clock() - began) / rounds / len(counts))


def the_same_for_all(write, counts, sync, clock, warmup=2, rounds=5):
    found = way()(write, counts, sync, clock, warmup, rounds)
    return dict.fromkeys(counts, found[counts[0]])


def other_work(write, counts, sync, clock, warmup=2, rounds=5):
    """Times 1 token and multiplies."""
    one = way()(write, [counts[0]] * len(counts), sync, clock, warmup, rounds)[counts[0]]
    return {n: one * n / counts[0] for n in counts}


def peeks(write, counts, sync, clock, warmup=2, rounds=5):
    """Reads the durations out of the pretend accelerator instead of measuring them."""
    for _ in range(warmup + rounds):
        for n in counts:
            write(n)
    seconds = np.array(write.__self__.durations).reshape(-1, len(counts))
    return np.median(seconds[warmup:], 0)


def stub(*_):
    raise NotImplementedError


RIGHT = {
    "the textbook's": way(),
    "the end of a round is the beginning of the next": way(before=False),
    "numpy": in_numpy,
    "torch, other order, shared marks": in_torch,
    "sorted": sorted_middle,
}
WRONG = {
    "never waits": (way(before=False, after=False, warm_sync=False), "sync() is never called"),
    "no wait after": (way(after=False), "write(n) returns, before anything"),
    "waits with no one": (way(before=False, warm_sync=False), "The clock is started while the accelerator still"),
    "no warm-up": (way(warm=False), "Are the warm-up calls missing?"),
    "warm-up measured": (warmed_up_elsewhere, "The warm-up calls are among the measured ones"),
    "mean": (way(of=statistics.fmean), "This is the mean"),
    "minimum": (way(of=min), "This is the fastest round"),
    "maximum": (way(of=max), "This is the slowest round"),
    "sum": (way(of=sum), "all rounds together"),
    "milliseconds": (way(factor=1000), "This is in milliseconds"),
    "one after the other": (way(turns=False), "before those of the next"),
    "own clock": (own_clock, "clock() is never read"),
    "per token": (per_token, "the time of one token"),
    "around all": (around_all, "around several answers at once"),
    "one number for all": (the_same_for_all, "on this machine the median is"),
    "less work, multiplied": (other_work, "times: too"),
    "nothing timed": (lambda write, counts, *_: dict.fromkeys(counts, 0.1), "write was never called"),
    "other keys": (lambda write, counts, *_: {str(n): 0.1 for n in counts}, "should have the counts"),
    "one number": (lambda write, counts, *_: 0.1, "should return 2 numbers, got a float"),
    "nothing returned": (lambda *_: None, "returns nothing"),
    "too often": (lambda write, *_: [write(8) for _ in range(99)], "write is called more often"),
    "no such count": (lambda write, *_: write(3), "which is not among the counts"),
    "peeks": (peeks, "These numbers were not measured"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (lambda *_: 1 / 0, "ZeroDivisionError", "error in your code"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_every_honest_way_to_time_passes(name):
    accepted(TIME_ANSWERS, RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    rejected(TIME_ANSWERS, *WRONG[name])


def test_no_two_mistakes_share_a_message():
    all_different([TIME_ANSWERS.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(TIME_ANSWERS, way())

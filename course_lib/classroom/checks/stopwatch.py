"""The check of the exercise on timing: answers of several lengths, timed on a pretend accelerator with its own clock.

No stopwatch: every duration is drawn and known. The accelerator works on after the call has returned, as a GPU does; its
first answers are slow; a busy phase begins; now and then an answer takes many times longer. The oracle is the median of
the drawn durations of the calls that the learner made. Lesson: day92_rt1/3_experiments.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, numbers, same
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 3"
SYNC, CLOCK = 0, -1  # in the log; a positive number n is write(n)
LOOP = "In each round, for each count: sync(), clock(), write(n), sync(), clock()."


# --- the pretend accelerator ---------------------------------------------------------------------------------------


class Accelerator:
    """Does what ``write(n)`` asks for after ``write`` has returned, and keeps its own time in seconds.

    ``case`` gives: busy, seconds of somebody else's work that is still running; launch, seconds that the call itself
    takes; first and step, seconds of the first and of each later token; load, a factor for the k-th call; slow, further
    seconds of the first calls of each count.
    """

    def __init__(self, case: Case):
        self.case, self.now, self.idle_at = case, 1000.0, 1000.0 + float(case["busy"])
        self.log: list[int] = []
        self.durations: list[float] = []
        self.seen: dict[int, int] = {}

    def write(self, n: int) -> None:
        """Start an answer of ``n`` tokens; returns before it is written."""
        case, k = self.case, len(self.durations)
        if n not in case["counts"].tolist():
            raise NotYet(f"write was called with {n!r}, which is not among the counts {case['counts'].tolist()}.", LOOP)
        if k >= len(case["load"]):
            raise NotYet("write is called more often than warmup + rounds times for each count.", LOOP)
        nth = self.seen[int(n)] = self.seen.get(int(n), 0) + 1
        work = float(case["load"][k]) * float(case["first"] + (n - 1) * case["step"])
        work += float(case["slow"][nth - 1]) if nth <= len(case["slow"]) else 0.0
        self.now += float(case["launch"])
        self.idle_at = max(self.now, self.idle_at) + work
        self.durations.append(float(case["launch"]) + work)
        self.log.append(int(n))

    def sync(self) -> None:
        """Wait until all work is done."""
        self.now = max(self.now, self.idle_at)
        self.log.append(SYNC)

    def clock(self) -> float:
        """The time in seconds."""
        self.log.append(CLOCK)
        return self.now


# --- the experiment and the verdict ------------------------------------------------------------------------------------


def draw_times(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random durations. One round only first, where no median forgives; then many; hidden ones with three counts."""
    if hidden:
        return [_machine(rng, [1, 8], 1, 1), _machine(rng, [1, 4, 8], 2, 6), _machine(rng, [8, 1, 2, 64], 0, 3)]
    return [_machine(rng, [1, 8], 2, 1), _machine(rng, [1, 8], 2, 7), _machine(rng, [8, 1], 3, 5)]


def _machine(rng: np.random.Generator, counts: list[int], warmup: int, rounds: int) -> Case:
    calls = (warmup + rounds) * len(counts)
    load = rng.uniform(1, 1.3, calls)
    load[rng.integers(calls)] *= 9  # somebody else's turn
    load[calls // 2 :] *= rng.uniform(1.5, 2)  # a busy phase begins
    return {
        "counts": np.array(counts, np.int64),
        "warmup": np.array(warmup, np.int64),
        "rounds": np.array(rounds, np.int64),
        "busy": np.array(rng.uniform(0.5, 1)),
        "launch": np.array(rng.uniform(1e-4, 3e-4)),
        "first": np.array(rng.uniform(0.02, 0.05)),
        "step": np.array(rng.uniform(0.002, 0.006)),
        "load": load.astype(np.float32),
        "slow": np.array(rng.uniform(1, 4, min(warmup, 1)), np.float32),
    }


def probe_times(time_answers: Any, case: Case) -> Record:
    """Let the learner's function time the pretend accelerator; note what it says and what it called, in order."""
    machine, counts = Accelerator(case), case["counts"].tolist()
    tools = (machine.write, list(counts), machine.sync, machine.clock)
    found = call("time_answers", time_answers, *tools, int(case["warmup"]), int(case["rounds"]))
    hint = "return {n: seconds, ...}: one median for each count."
    if isinstance(found, dict):
        if set(found) != set(counts):
            raise NotYet(f"The result should have the counts {counts} as keys, got {list(found)}.", hint)
        found = [found[n] for n in counts]
    seconds = numbers(found, "time_answers", len(counts), hint)
    return {"seconds": seconds, "log": np.array(machine.log, np.int64)}


def judge_times(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    counts, warmup, rounds = case["counts"].tolist(), int(case["warmup"]), int(case["rounds"])
    seconds, log = array(record, "seconds", (len(counts),)), record.get("log")
    if log is None or log.dtype != np.int64 or log.ndim != 1:
        raise NotYet("No usable list of calls came back.")
    written = [n for n in log.tolist() if n > 0]
    _judge_calls(written, counts, warmup, rounds)
    durations = _replay(case, written)
    measured = [d[warmup:] for d in durations]
    ordered = [sorted(d) for d in measured]
    middle = [(d[(rounds - 1) // 2], d[rounds // 2]) for d in ordered]  # both, where there are two
    right = [low * (1 - 1e-4) <= s <= high * (1 + 1e-4) for s, (low, high) in zip(seconds, middle, strict=True)]
    if not all(right):
        _name_times(seconds, durations, log.tolist(), case)
        _name_order_of_calls(log.tolist(), written)
        raise NotYet(
            f"For {counts[right.index(False)]} tokens you found {seconds[right.index(False)]:.4g} s; on this machine the "
            f"median is {middle[right.index(False)][0]:.4g} s.",
            LOOP,
        )
    if np.sum(log == CLOCK) <= rounds * len(counts) or np.sum(log == SYNC) < rounds * len(counts):
        raise NotYet("These numbers were not measured: clock() and sync() are called too rarely for them.", LOOP)


def _judge_calls(written: list[int], counts: list[int], warmup: int, rounds: int) -> None:
    """Each count equally often, in turns."""
    if not written:
        raise NotYet("write was never called: nothing was timed.", LOOP)
    for n in counts:
        if (times := written.count(n)) != warmup + rounds:
            few = "few" if times < warmup + rounds else "many"
            more = " Are the warm-up calls missing?" if times == rounds else ""
            raise NotYet(
                f"write({n}) was called {times} times: too {few} for {warmup} warm-ups and {rounds} rounds.{more}", LOOP
            )
    last = written[len(counts) * warmup :]
    groups = [last[i : i + len(counts)] for i in range(0, len(last), len(counts))]
    if any(sorted(group) != sorted(counts) for group in groups):
        raise NotYet(
            f"All rounds of one count come before those of the next: a busy minute hits only one of them ({last[:8]} ...).",
            "Let the counts take turns: the loop over rounds outside, the loop over counts inside.",
        )


def _replay(case: Case, written: list[int]) -> list[list[float]]:
    """The true durations of these calls, per count, warm-ups first."""
    machine = Accelerator(case)
    for n in written:
        machine.write(n)
    each = list(zip(written, machine.durations, strict=True))
    return [[d for m, d in each if m == n] for n in case["counts"].tolist()]


def _name_times(seconds: np.ndarray, durations: list[list[float]], log: list[int], case: Case) -> None:
    """The usual wrong numbers that can be made of the right durations."""
    warmup, measured = int(case["warmup"]), [d[int(case["warmup"]) :] for d in durations]

    def found(of: Callable, what: list[list[float]] = measured) -> bool:
        return same(seconds, [of(d) for d in what], 1e-4)

    many, one_token = len(measured[0]) > 1, seconds * case["counts"]
    typical = "The typical answer is the median."
    for wrong, message, hint in (
        (found(lambda d: 1000 * np.median(d)), "This is in milliseconds.", "clock() counts seconds; return seconds."),
        (many and found(np.sum), "This is the time of all rounds together.", "One answer: the median of the rounds."),
        (many and found(np.mean), "This is the mean of the rounds.", f"One interruption moves it. {typical}"),
        (many and found(np.min), "This is the fastest round.", typical),
        (many and found(np.max), "This is the slowest round.", typical),
        (
            warmup and found(np.median, durations),
            "The warm-up calls are among the measured ones.",
            "The first calls choose kernels and fill caches: call, but do not measure them.",
        ),
        (
            same(one_token, [np.median(d) for d in measured]),
            "This is the time of one token: the whole answer was asked for.",
            "Do not divide by n: that the first token costs more than the others is what we want to see.",
        ),
        (SYNC not in log, "sync() is never called: nobody waits for the accelerator.", LOOP),
        (
            found(lambda d: float(case["launch"])),
            "This is the time in which write(n) returns, before anything is written.",
            "The accelerator works on after the call: sync() before the second clock().",
        ),
    ):
        if wrong:
            raise NotYet(message, hint)


def _name_order_of_calls(log: list[int], written: list[int]) -> None:
    """What the order of write, sync and clock tells."""
    if CLOCK not in log:
        raise NotYet("clock() is never read.", "Time with the clock you are given, not with time.time().")
    if any(a == CLOCK and n > 0 and b == CLOCK for a, n, b in zip(log, log[1:], log[2:], strict=False)):
        raise NotYet(
            "The clock is read straight after write(n): the answer is not written yet.", "sync() between write and clock."
        )
    idle = False
    for place, what in enumerate(log):
        idle = what == SYNC or (idle and what == CLOCK)
        if what == CLOCK and not idle and any(n > 0 for n in log[place:]):
            raise NotYet(
                "The clock is started while the accelerator still has earlier work to do: that is counted too.",
                "sync() before the first clock() as well: after the warm-up, and before the first round.",
            )
    if log.count(CLOCK) < len(written) // 2:
        raise NotYet("The clock is read around several answers at once.", f"A median needs every answer's own time. {LOOP}")


TIME_ANSWERS = Exercise("time_answers", LESSON, draw_times, probe_times, judge_times)


def check_time_answers(time_answers: Any, seed: int | None = None) -> Check:
    """Try a learner's ``time_answers(write, counts, sync, clock, warmup, rounds)`` and name the first mistake, if any."""
    return TIME_ANSWERS.check(time_answers, seed)

"""The check of the speed exercise: two decoders timed in turns, on a pretend device whose every duration is known.

No stopwatch: the learner's ``compare_speed`` gets a device with a clock of its own. It works after a call has returned,
as a GPU does; the first calls are slow; the machine is busier in some rounds than in others, for both decoders alike. The
judge replays the calls and knows what a right measurement shows.

Lesson: day92_rt1/3_experiments.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.slips import Slip, close, name_slip, parts, plain, seen

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 3: What a step costs"
NAMES = ("first_ms", "second_ms", "times")
CLOCK, WAIT, FIRST, SECOND = range(4)  # in the log
LOOP = "For each call: wait(), start = clock(), run(), wait(), stop = clock()."
TURNS = "The loop over rounds outside; inside, the first decoder and then the second."
WARM = "The warm-up calls are among the measured ones."
PAIRS = "times = median of (second's time / first's time), round by round."


class Device:
    """Starts work when it is called, finishes it later, and keeps its own time in seconds.

    ``case``: seconds (2, n), how long the n-th call of each decoder works; launch, how long a call takes to return; busy,
    work of somebody else that is still going on.
    """

    def __init__(self, case: Case):
        self.case, self.log, self.called = case, [], [0, 0]
        self.now, self.idle_at = 1000.0, 1000.0 + float(case["busy"])

    def clock(self) -> float:
        """Seconds."""
        self.log.append(CLOCK)
        return self.now

    def wait(self) -> None:
        """Return when all work is done."""
        self.log.append(WAIT)
        self.now = max(self.now, self.idle_at)

    def run(self, which: int) -> None:
        """Start decoder 0 or 1, and return before it is done."""
        nth = self.called[which]
        if nth >= self.case["seconds"].shape[1]:
            raise NotYet(f"A decoder is called more often than warmup + rounds = {nth} times.", LOOP)
        self.log.append(FIRST + which)
        self.called[which] += 1
        self.now += float(self.case["launch"])
        self.idle_at = max(self.now, self.idle_at) + float(self.case["seconds"][which, nth])


def draw_speed(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """One round first, where no median forgives; then odd and even numbers of rounds."""
    if hidden:
        return [_case(rng, 1, 1), _case(rng, 5, 8), _case(rng, 0, 3), _case(rng, 2, 31)]
    return [_case(rng, 2, 1), _case(rng, 3, 9), _case(rng, 2, 6)]


def _case(rng: np.random.Generator, warmup: int, rounds: int) -> Case:
    """A base time for each decoder, times how busy the round is, times a little of its own."""
    base = rng.uniform(0.01, 0.02, (2, 1)) * [[1.0], [rng.uniform(1.8, 3)]]
    load = np.sort(rng.uniform(1, 2.5, warmup + rounds))[None] * rng.uniform(0.8, 1.25, (2, warmup + rounds))
    seconds = base * load
    if rounds > 1:
        seconds[rng.integers(2), rng.integers(warmup, warmup + rounds)] *= 8  # somebody else's turn
    seconds[:, : min(warmup, 1)] += rng.uniform(0.5, 1, (2, 1))  # kernels are chosen, caches are filled
    single = {"launch": rng.uniform(2e-4, 4e-4), "busy": rng.uniform(0.3, 0.6)}
    numbers = {name: np.array(value, np.float32) for name, value in single.items()}
    return {"seconds": seconds.astype(np.float32), "warmup": np.array(warmup), "rounds": np.array(rounds), **numbers}


def probe_speed(compare_speed: Any, case: Case) -> Record:
    """Let the learner's function time the pretend device: what it returns, and what it called, in order."""
    if not callable(compare_speed):
        raise NotYet(f"Expected the function, got a {type(compare_speed).__name__}.", "Give the check the function itself.")
    device, warmup, rounds = Device(case), int(case["warmup"]), int(case["rounds"])
    runs = (lambda: device.run(0), lambda: device.run(1))
    answer = compare_speed(*runs, device.clock, device.wait, warmup, rounds)
    if not any(device.called):
        raise NotYet("No decoder was called: nothing was timed.", LOOP)
    found = parts(answer, NAMES)
    numbers = {name: plain(value, (), name) for name, value in zip(NAMES, found, strict=True)}
    return {**numbers, "log": np.array(device.log, np.int64)}


def judge_speed(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    log, warmup, rounds = _log(record), int(case["warmup"]), int(case["rounds"])
    found = np.array([seen(record, name) for name in NAMES])
    _judge_calls([call for call in log if call >= FIRST], warmup, rounds)
    took = 1000 * (float(case["launch"]) + case["seconds"].astype(np.float64))  # (2, warmup + rounds)
    middle = np.median(took[:, warmup:], axis=1)
    if not close(found[:2], middle):
        _name_times(found[:2], took, warmup, case)
        _name_order(log)
    name_slip("first_ms", found[0], middle[0], [], LOOP)
    name_slip("second_ms", found[1], middle[1], [], LOOP)
    name_slip("times", found[2], np.median(took[1, warmup:] / took[0, warmup:]), _slips_ratio(took, warmup), PAIRS)


def _log(record: Record) -> list[int]:
    log = record.get("log")
    if log is None or log.dtype != np.int64 or log.ndim != 1 or not set(log.tolist()) <= {CLOCK, WAIT, FIRST, SECOND}:
        raise NotYet("No usable list of calls came back.")
    return log.tolist()


def _judge_calls(runs: list[int], warmup: int, rounds: int) -> None:
    """Both decoders equally often, in turns after the warm-up."""
    for which, name in ((FIRST, "first"), (SECOND, "second")):
        if (times := runs.count(which)) != warmup + rounds:
            more = " Where are the warm-up calls?" if times == rounds else ""
            raise NotYet(f"The {name} decoder is called {times} times, not {warmup} + {rounds}.{more}", LOOP)
    measured = runs[2 * warmup :]
    if any(a == b for a, b in zip(measured[::2], measured[1::2], strict=True)):
        raise NotYet("All rounds of one decoder come before those of the other: a busy minute hits only one of them.", TURNS)


def _name_times(found: np.ndarray, took: np.ndarray, warmup: int, case: Case) -> None:
    """The usual wrong numbers that can be made of the right durations."""
    rounds = took[:, warmup:]
    several = rounds.shape[1] > 1
    slips = [
        Slip(np.median(rounds, 1) / 1000, "These are seconds: clock() counts seconds, milliseconds are asked for."),
        Slip(np.median(rounds, 1) * 1000, "These are microseconds.", "clock() counts seconds: times 1000."),
        Slip(np.median(rounds, 1)[::-1], "The two decoders are exchanged.", "return first_ms, second_ms, times"),
        Slip(np.full(2, 1000 * float(case["launch"])), "This is the time in which a call returns, its work not done.", LOOP),
    ]
    if several:
        middle = "One interrupted round moves a mean, none a median."
        slips += [
            Slip(rounds.mean(1), "These are means of the rounds.", middle),
            Slip(rounds.min(1), "These are the fastest rounds.", "Typical is the median."),
            Slip(rounds.max(1), "These are the slowest rounds.", "Typical is the median."),
            Slip(rounds.sum(1), "These are the sums of all rounds.", "Of one call: the median of the rounds."),
            Slip(np.sort(rounds, 1)[:, (rounds.shape[1] - 1) // 2], "Of an even number of rounds this is the lower middle.",
                 "torch.median takes the lower one; statistics.median and numpy.median take the mean of both."),
            Slip(np.sort(rounds, 1)[:, rounds.shape[1] // 2], "Of an even number of rounds this is the upper middle.",
                 "statistics.median and numpy.median take the mean of both middle ones."),
        ]  # fmt: skip
    if warmup:
        slips.append(Slip(np.median(took, 1), WARM, "Call, and forget."))
    for slip in slips:
        if close(found, slip.value):
            raise NotYet(slip.mistake, slip.hint)


def _name_order(log: list[int]) -> None:
    """What the order of the calls tells."""
    if CLOCK not in log:
        raise NotYet("clock() is never read.", "Time with the clock you are given, not with one of your own.")
    if WAIT not in log:
        raise NotYet("wait() is never called: the device is still at work when the clock is stopped.", LOOP)
    if any(a == c == CLOCK and b >= FIRST for a, b, c in zip(log, log[1:], log[2:], strict=False)):
        raise NotYet(
            "The clock is read straight after a call: its work is not done yet.", "wait() before the second clock()."
        )
    timed = [i for i, call in enumerate(log) if call >= FIRST and CLOCK in log[:i]]
    starts = [next(log[j] for j in range(i - 1, -1, -1) if log[j] != WAIT) for i in timed]
    if any(start >= FIRST for start in starts[1:]):
        raise NotYet("One pair of clock readings spans several calls.", f"A median needs each call's own time. {LOOP}")
    idle = False
    for place, call in enumerate(log):
        if call == CLOCK and not idle and any(later >= FIRST for later in log[place:]):
            raise NotYet(
                "The clock is started while earlier work is still going on: that is counted too.",
                "wait() before the first clock() as well, and after the warm-up.",
            )
        idle = call == WAIT or (idle and call == CLOCK)


def _slips_ratio(took: np.ndarray, warmup: int) -> list[Slip]:
    """What ``times`` could be instead."""
    rounds = took[:, warmup:]
    middle, ratio = np.median(rounds, 1), rounds[1] / rounds[0]
    slips = [
        Slip(np.median(1 / ratio), "The ratio is upside down: how many times longer the second takes is asked for.", PAIRS),
        Slip(middle[0] / middle[1], "The ratio is upside down: how many times longer the second takes is asked for.", PAIRS),
        Slip(middle[1] / middle[0], "This is the ratio of the medians: two rounds, busy in different ways.", PAIRS),
        Slip(middle[1] - middle[0], "This is a difference in milliseconds.", PAIRS),
        Slip(ratio.mean(), "This is the mean of the ratios.", "One interrupted round moves a mean: take the median."),
        Slip(np.median(ratio) - 1, "This is how much longer, not how many times as long.", PAIRS),
    ]
    if warmup:
        slips.append(Slip(np.median(took[1] / took[0]), WARM, "Call, and forget."))
    return [*slips, Slip(100 * np.median(ratio), "These are per cent.", PAIRS)]


SPEED = Exercise("compare_speed", LESSON, draw_speed, probe_speed, judge_speed)


def check_compare_speed(compare_speed: Any, seed: int | None = None) -> Check:
    """Try a learner's ``compare_speed(first, second, clock, wait, warmup, rounds)`` and name the first mistake, if any."""
    return SPEED.check(compare_speed, seed)

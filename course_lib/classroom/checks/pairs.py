"""The check of the paired comparison: difference, its 95% interval, and McNemar's exact p, from outcomes of the same scenes.

The oracle is arithmetic on four counts. Interval: Agresti and Min, Statistics in Medicine 24 (2005), "Wald+2": half a scene
is added to each count. Test: McNemar, Psychometrika 12 (1947), in its exact, binomial form. Treacherous cases: as many
scenes for the one as for the other, where twice a tail is more than 1; and no scene at all that tells them apart.

Lesson: day92_rt1/3_experiments.
"""

import math
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.slips import Slip, close, name_slip, parts, plain, seen

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 4: Is FiLM worth its place?"
NAMES = ("difference", "low", "high", "p")
Z = 1.959964
FINE = 2e-4  # relative: 1.96 or 1.959964 may be used, but half a scene has to be seen
DIFFERENCE = "(scenes that only b solved - scenes that only a solved) / all scenes."
HALF = "Add 1/2 to each of the four counts: only_a + 1/2, only_b + 1/2, n + 2."
WIDTH = (
    "d = (only_b - only_a) / (n + 2); error ** 2 = ((only_a + only_b + 1) / (n + 2) - d ** 2) / (n + 2); d +- 1.96 error."
)
COIN = "Under 'equally good' each of the only_a + only_b scenes is a fair coin: min(1, 2 * P(at most the smaller count))."


def draw_pairs(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Cases from the counts both, only a, only b, neither."""
    m = int(rng.integers(3, 7))
    if hidden:
        return [_case(rng, 300, 20, 38, 42), _case(rng, 0, 0, 9, 0), _case(rng, 5, m, m, 2), _case(rng, 2, 0, 0, 1)]
    return [_case(rng, 9, 8, 1, m), _case(rng, 30, m, 2 * m + 3, 11), _case(rng, 22, m, m, 9), _case(rng, 21, 0, 0, 4)]


def _case(rng: np.random.Generator, both: int, only_a: int, only_b: int, neither: int) -> Case:
    rows = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, only_a, only_b, neither], axis=0)
    a, b = rng.permutation(rows).T.astype(bool)
    return {"a": a.copy(), "b": b.copy()}


def probe_pairs(compare_pairs: Any, case: Case) -> Record:
    """The four numbers that ``compare_pairs(a, b)`` returns."""
    if not callable(compare_pairs):
        raise NotYet(f"Expected the function, got a {type(compare_pairs).__name__}.", "Give the check the function itself.")
    found = parts(compare_pairs(case["a"].copy(), case["b"].copy()), NAMES)
    return {name: plain(value, (), name) for name, value in zip(NAMES, found, strict=True)}


def judge_pairs(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    difference, low, high, p = (float(seen(record, name)) for name in NAMES)
    n, only_a, only_b = len(case["a"]), int((case["a"] & ~case["b"]).sum()), int((case["b"] & ~case["a"]).sum())
    if abs(difference - (only_b - only_a) / n) > 1e-5:
        name_slip("difference", difference, (only_b - only_a) / n, _slips_difference(n, only_a, only_b), DIFFERENCE)
        raise NotYet(f"difference should be {(only_b - only_a) / n:.4g}, got {difference:.4g}.", DIFFERENCE)
    ends = _wald(only_a + 0.5, only_b + 0.5, n + 2)
    if low > high:
        raise NotYet("low is above high.", "The order is difference, low, high, p.")
    if not close([low, high], ends, FINE):
        _name_interval(np.array([low, high]), case, n, only_a, only_b)
        raise NotYet(f"The interval should be {ends[0]:.4f} to {ends[1]:.4f}, got {low:.4f} to {high:.4f}.", WIDTH)
    name_slip("p", p, mcnemar(only_a, only_b), _slips_p(case, n, only_a, only_b), COIN)


def _wald(only_a: float | int, only_b: float | int, n: float | int, z: float = Z) -> tuple[float, float]:
    """Wald's interval of the difference of paired proportions, for counts that may have halves."""
    d = (only_b - only_a) / n
    error = math.sqrt(max((only_a + only_b) / n - d**2, 0) / n)
    return d - z * error, d + z * error


def _tail(k: int, n: int) -> float:
    """The chance of at most k heads in n tosses of a fair coin."""
    return sum(math.comb(n, i) for i in range(k + 1)) / 2**n


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p."""
    return min(1.0, 2 * _tail(min(only_a, only_b), only_a + only_b))


def _slips_difference(n: int, only_a: int, only_b: int) -> list[Slip]:
    right = (only_b - only_a) / n
    return [
        Slip(-right, "The sign is the other way: how much more often b succeeds than a.", DIFFERENCE),
        Slip(100 * right, "These are per cent.", "A difference of parts: between -1 and 1."),
        Slip(right * n, "This is a number of scenes, not a part of them.", DIFFERENCE),
        Slip((only_b - only_a) / (n + 2), "The half scenes belong into the interval; the difference is as measured.", HALF),
        Slip(
            (only_b - only_a) / max(only_a + only_b, 1), "This is a part of the scenes that tell a and b apart.", DIFFERENCE
        ),
        Slip(only_b / n, "This is the part that only b solved; what only a solved has to go.", DIFFERENCE),
    ]


def _name_interval(found: np.ndarray, case: Case, n: int, only_a: int, only_b: int) -> None:
    a, b = case["a"].mean(), case["b"].mean()
    d, counts = b - a, (only_a + 0.5, only_b + 0.5, n + 2)
    alone = math.sqrt((a * (1 - a) + b * (1 - b)) / n)
    around = _wald(*counts)[1] - (only_b - only_a) / (n + 2)
    half = (only_a + only_b + 1) / (n + 2)
    slips = [
        Slip(_wald(only_a, only_b, n), "The half scenes are missing: without them, no difference would look certain.", HALF),
        Slip((d - Z * alone, d + Z * alone), "This is the interval for two groups of different scenes.", WIDTH),
        Slip(_wald(*counts, z=1.0), "This is one standard error to each side; 95% takes 1.96 of them.", WIDTH),
        Slip(_wald(*counts, z=1.644854), "1.645 makes a 90% interval.", WIDTH),
        Slip(_wald(only_a + 0.5, only_b + 0.5, n), "Two scenes were added to the counts, but not to n.", HALF),
        Slip((d - around, d + around), "The interval lies around the measured difference; with the halves it moves.", WIDTH),
        Slip(_wald(only_a + 1, only_b + 1, n + 2), "A whole scene was added to each count.", HALF),
        Slip(_wide(counts, half), "d ** 2 is missing in the variance.", WIDTH),
        Slip(_wide(counts, (half - _middle(counts) ** 2) * (n + 2)), "The variance is not divided by the number of scenes."),
        Slip([100 * end for end in _wald(*counts)], "These are per cent.", "Parts: between -1 and 1."),
    ]
    for slip in slips:
        if close(found, slip.value, FINE):
            raise NotYet(slip.mistake, slip.hint)


def _middle(counts: tuple[float, float, int]) -> float:
    return (counts[1] - counts[0]) / counts[2]


def _wide(counts: tuple[float, float, int], variance: float) -> list[float]:
    """An interval around the right middle, with another variance of one scene."""
    return [_middle(counts) + side * Z * math.sqrt(variance / counts[2]) for side in (-1, 1)]


def _slips_p(case: Case, n: int, only_a: int, only_b: int) -> list[Slip]:
    few, many = sorted((only_a, only_b))
    tail, exact = _tail(few, few + many), math.comb(few + many, few) / 2 ** (few + many)
    twice = "Twice a tail can be more than 1."
    slips = [
        Slip(2 * tail, "p is larger than 1.", f"{twice} {COIN}"),
        Slip(tail, "This is one-sided: it asks whether b is better, after having seen that it is.", COIN),
        Slip(1 - _tail(few, few + many), "This is the other tail.", COIN),
        Slip(2 * (tail - exact), "'At most' includes the count itself.", COIN),
        Slip(2 * tail - exact, "This is the mid-p: half of the count itself.", COIN),
        Slip(exact, "This is the chance of exactly these counts; also count what is more extreme.", COIN),
        Slip(min(1.0, 2 * _tail(few, n)), "All scenes are tossed; those that both or neither solved say nothing.", COIN),
        Slip(_normal((many - few) / math.sqrt(max(few + many, 1))), "This is McNemar's test by the normal curve.", COIN),
        Slip(_normal(max(many - few - 1, 0) / math.sqrt(max(few + many, 1))),
             "This is McNemar's test by the normal curve, with a correction; with few scenes only the coin is exact.", COIN),
        Slip(_unpaired(case), "This is the test for two groups of different scenes: the pairs are not used.", COIN),
        Slip(1 - mcnemar(only_a, only_b), "This is 1 - p.", "Small means surprising."),
    ]  # fmt: skip
    return slips


def _normal(z: float) -> float:
    return math.erfc(z / math.sqrt(2))


def _unpaired(case: Case) -> float:
    a, b, n = case["a"].mean(), case["b"].mean(), len(case["a"])
    pooled = (a + b) / 2
    return _normal(abs(b - a) / math.sqrt(max(2 * pooled * (1 - pooled) / n, 1e-12)))


HINTS = (("boolean subtract", "a and b are arrays of True and False: a & ~b, or a.astype(int)."),)
PAIRS = Exercise("compare_pairs", LESSON, draw_pairs, probe_pairs, judge_pairs, HINTS)


def check_compare_pairs(compare_pairs: Any, seed: int | None = None) -> Check:
    """Try a learner's ``compare_pairs(a, b)`` on random outcomes and name the first mistake, if any."""
    return PAIRS.check(compare_pairs, seed)

"""The check of the scaling exercise: error = a (N / 100)^-b, fitted by weighted least squares between logarithms.

The oracle is the closed form of the straight line, in float64. Trials differ a hundredfold from size to size, so that
weights matter, and some sizes have no failure at all, where a logarithm of zero waits.

Lesson: day92_rt1/3_experiments.
"""

from typing import Any, NamedTuple

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.slips import Slip, close, name_slip, parts, plain, seen

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 2: How does success grow with data?"
GIVEN = ("sizes", "successes", "trials")
NAMES = ("a", "b", "b_error", "chi2")
ERROR = "error = (failures + 1/2) / (trials + 1), with failures = trials - successes."
WEIGHTS = "Weigh each size with 1 / variance, variance = (1 - error) / (trials * error); numpy.polyfit wants the root of it."
LINE = "log(error) = log(a) - b * log(N / 100): the slope is -b, the height at N = 100 is log(a)."
SLOPE = "With x about its weighted mean, the variance of the slope is 1 / sum(weight * x ** 2)."


class Line(NamedTuple):
    """A straight line by weighted least squares."""

    height: float  # at x = 0
    slope: float
    slope_error: float  # standard error, from the weights alone
    height_error: float
    chi2: float


def draw_law(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Sizes that are no decades; many trials and few; a last size without a failure; two sizes only."""
    if hidden:
        return [_case(rng, 8, True), _case(rng, 2, False), _case(rng, 4, False, percent=True), _case(rng, 5, True)]
    return [_case(rng, 5, False), _case(rng, 6, True), _case(rng, 4, False, percent=True)]


def _case(rng: np.random.Generator, S: int, perfect: bool, percent: bool = False) -> Case:
    """Counts of a law that is nearly true: each size is off by a little more than luck."""
    steps = rng.uniform(1.7, 4, S).cumprod()
    sizes = np.array([22, 37, 51, 100]) if percent else (20 * steps).astype(int)
    trials = rng.integers(20, 60, S) * rng.choice([1, 3, 40], S)
    trials[0], trials[-1] = 30, 600  # the largest size counts most
    error = 0.6 * (sizes / sizes[0]) ** -rng.uniform(0.2, 0.45) * np.exp(rng.normal(0, 0.15, S))
    failures = rng.binomial(trials, np.minimum(error, 0.9))
    failures = np.clip(failures, 1, trials - 1)
    if perfect:
        trials[-1], failures[-1] = 40, 0
    return {"sizes": sizes.astype(np.int64), "successes": trials - failures, "trials": trials.astype(np.int64)}


def probe_law(fit_power_law: Any, case: Case) -> Record:
    """The four numbers that ``fit_power_law(sizes, successes, trials)`` returns."""
    if not callable(fit_power_law):
        raise NotYet(f"Expected the function, got a {type(fit_power_law).__name__}.", "Give the check the function itself.")
    given = [case[name].copy() for name in GIVEN]
    found = parts(fit_power_law(*given), NAMES)
    if any(not np.array_equal(after, case[name]) for name, after in zip(GIVEN, given, strict=True)):
        raise NotYet("fit_power_law changes its inputs in place.", "Make new arrays: x = np.log(sizes / 100).")
    return {name: plain(value, (), name) for name, value in zip(NAMES, found, strict=True)}


def judge_law(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    a, b, b_error, chi2 = (seen(record, name) for name in NAMES)
    x, y, weight = _logarithms(case)
    line = _line(x, y, weight)
    if close(b, line.slope):
        raise NotYet("b has the other sign: the slope of the line is -b.", LINE)
    if not (close(a, np.exp(line.height)) and close(b, -line.slope)):
        _name_other_line(a, b, line, _other_lines(case))
    name_slip("b", b, -line.slope, [], LINE)
    name_slip("a", a, np.exp(line.height), _slips_height(case), LINE)
    name_slip("b_error", b_error, line.slope_error, _slips_error(case), SLOPE)
    if chi2 < -1e-3 or abs(chi2 - line.chi2) > 1e-3 * max(line.chi2, 1.0):
        name_slip("chi2", chi2, line.chi2, _slips_chi2(case), "chi2 = sum of weight * (log(error) - line) ** 2.")


def _logarithms(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x = log(N / 100), y = log(error), and the weights 1 / variance(y)."""
    error = _errors(case)
    return np.log(case["sizes"] / 100), np.log(error), case["trials"] * error / (1 - error)


def _errors(case: Case) -> np.ndarray:
    return (case["trials"] - case["successes"] + 0.5) / (case["trials"] + 1)


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Line:
    x_mean, y_mean = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = (weight * (x - x_mean) ** 2).sum()
    slope = (weight * (x - x_mean) * (y - y_mean)).sum() / spread
    height = y_mean - slope * x_mean
    height_error = np.sqrt(1 / weight.sum() + x_mean**2 / spread)
    chi2 = (weight * (y - height - slope * x) ** 2).sum()
    return Line(height, slope, spread**-0.5, height_error, chi2)


def _other_lines(case: Case) -> list[Slip]:
    """The lines that the usual slips in x, y and the weights give."""
    x, y, weight = _logarithms(case)
    n, k = case["trials"].astype(float), case["successes"].astype(float)
    success = np.log((k + 0.5) / (n + 1))
    lines = [
        Slip(_line(x, y, np.ones_like(x)), "Every size counts the same: 30 trials as much as 600.", WEIGHTS),
        Slip(_line(x, y, weight**2), "The weights come in twice: polyfit squares what it is given.", WEIGHTS),
        Slip(_line(x, y, weight**0.5), "These are the roots of the weights: right for polyfit only.", WEIGHTS),
        Slip(_line(x, y, n), "Sizes are weighted with their trials alone.", WEIGHTS),
        Slip(_line(x, y, 1 / weight), "The weights are upside down: uncertain sizes count most.", WEIGHTS),
        Slip(_line(x, success, weight), "Fitted is the success, not the error.", ERROR),
        Slip(_line(x, y / np.log(10), weight), "The error is a log10, the size is not.", LINE),
        Slip(_line(x / np.log(10), y, weight), "The size is a log10, the error is not.", LINE),
        Slip(_line(case["sizes"] / 100, y, weight), "The error is in logarithms, the size is not.", LINE),
        Slip(_line(x, _errors(case), weight), "The size is in logarithms, the error is not.", LINE),
    ]
    if (k < n).all():
        bare = (n - k) / n
        line = _line(x, np.log(bare), n * bare / (1 - bare))
        lines.append(Slip(line, "Half a failure is missing: failures / trials has no logarithm at 0.", ERROR))
    return lines


def _name_other_line(a: np.ndarray, b: np.ndarray, right: Line, lines: list[Slip]) -> None:
    """A line is known by its slope and its height together (which may have been left a logarithm)."""
    for line, mistake, hint in lines:
        far = not close(line.slope, right.slope, 0.02)
        heights = (np.exp(line.height), *((10**line.height, line.height) if far else ()))
        if close(abs(b), abs(line.slope)) and any(close(a, height) for height in heights):
            raise NotYet(mistake, hint)


def _slips_height(case: Case) -> list[Slip]:
    x, y, weight = _logarithms(case)
    line = _line(x, y, weight)
    at_1 = line.height + line.slope * np.log(1 / 100)
    return [
        Slip(line.height, "a is still a logarithm.", "a = exp(height)."),
        Slip(np.exp(at_1), "This is the error at N = 1, far outside of what was measured.", "x = log(N / 100)."),
        Slip(np.exp(line.height / np.log(10)), "The height is a log10, but e was raised to it.", "10 ** goes with log10."),
        Slip(10**line.height, "The height is a natural logarithm, but 10 was raised to it.", "exp goes with log."),
        Slip(-line.slope, "This is b again.", "The order is a, b, b_error, chi2."),
        Slip(1 - np.exp(line.height), "This is the success at N = 100, not the error."),
        Slip(_errors(case)[np.abs(x).argmin()], "This is a measured error, not the line's height.", LINE),
    ]


def _slips_error(case: Case) -> list[Slip]:
    x, y, weight = _logarithms(case)
    line = _line(x, y, weight)
    slips = [
        Slip(line.slope_error**2, "This is the variance of b.", "The standard error is its root."),
        Slip(line.height_error, "This is the error of the other parameter, log(a).", "polyfit: the slope comes first."),
        Slip(1.96 * line.slope_error, "This is half a 95% interval.", "Asked is one standard error."),
        Slip(1.959964 * line.slope_error, "This is half a 95% interval.", "Asked is one standard error."),
        Slip((weight * x**2).sum() ** -0.5, "x is not taken about its mean: as if the height were known.", SLOPE),
        Slip(((x - x.mean()) ** 2).sum() ** -0.5, "The weights are not in the error of b.", SLOPE),
    ]
    if len(x) > 2:
        scaled = line.slope_error * (line.chi2 / (len(x) - 2)) ** 0.5
        words = "The error is scaled by how badly the line fits: a bad law would only look uncertain."
        slips.append(Slip(scaled, words, "From counts we know the variances: numpy.polyfit(..., cov='unscaled')."))
    return slips


def _slips_chi2(case: Case) -> list[Slip]:
    x, y, weight = _logarithms(case)
    line = _line(x, y, weight)
    rest = y - line.height - line.slope * x
    slips = [
        Slip((rest**2).sum(), "The squares are not weighted.", WEIGHTS),
        Slip((weight**0.5 * rest**2).sum(), "The squares are weighted with the roots of the weights.", WEIGHTS),
        Slip((weight**0.5 * np.abs(rest)).sum(), "Sizes of the differences are summed, not their squares."),
        Slip(line.chi2**0.5, "This is the root of chi2."),
        Slip(line.chi2 / len(x), "This is a mean; chi2 is a sum."),
        Slip((weight * rest).sum(), "The differences are not squared: above and below cancel."),
    ]
    if len(x) > 2:
        slips.append(Slip(line.chi2 / (len(x) - 2), "This is chi2 divided by its expectation, S - 2.", "Return the sum."))
    return slips


HINTS = (
    ("negative integer powers", "sizes are whole numbers: use sizes / 100, or sizes.astype(float)."),
    ("math domain error", f"A size without a failure has log(0). {ERROR}"),
    ("SVD did not converge|LinAlgError", f"Is there a logarithm of 0? {ERROR}"),
    ("scale the covariance", "numpy.polyfit(..., cov='unscaled') also works for few points."),
)
POWER_LAW = Exercise("fit_power_law", LESSON, draw_law, probe_law, judge_law, HINTS)


def check_fit_power_law(fit_power_law: Any, seed: int | None = None) -> Check:
    """Try a learner's ``fit_power_law(sizes, successes, trials)`` on random counts and name the first mistake, if any."""
    return POWER_LAW.check(fit_power_law, seed)

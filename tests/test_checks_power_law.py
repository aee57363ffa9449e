"""The scaling check accepts right answers of any style, and gives every known mistake its own message."""

import math

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.power_law import POWER_LAW, check_fit_power_law

RIGHT, WRONG, right, wrong = answers()


def prepared(sizes, successes, trials):
    error = (trials - successes + 0.5) / (trials + 1)
    return np.log(sizes / 100), np.log(error), trials * error / (1 - error)


def solved(x, y, weight, scale=None):
    """The line through polyfit: a, b, b_error, chi2."""
    (slope, height), cov = np.polyfit(x, y, 1, w=weight**0.5, cov="unscaled")
    return math.exp(height), -slope, cov[0, 0] ** 0.5, (weight * (y - height - slope * x) ** 2).sum()


@right
def with_polyfit(sizes, successes, trials):
    return solved(*prepared(sizes, successes, trials))


@right
def with_names_of_its_own(N, k, n):
    return solved(*prepared(N, k, n))


@right
def with_sums(sizes, successes, trials):
    S = Sx = Sy = Sxx = Sxy = 0.0
    points = []
    for size, won, n in zip(sizes.tolist(), successes.tolist(), trials.tolist(), strict=True):
        e = (n - won + 0.5) / (n + 1)
        x, y, w = math.log(size / 100), math.log(e), n * e / (1 - e)
        S, Sx, Sy, Sxx, Sxy = S + w, Sx + w * x, Sy + w * y, Sxx + w * x * x, Sxy + w * x * y
        points.append((x, y, w))
    D = S * Sxx - Sx**2
    slope, height = (S * Sxy - Sx * Sy) / D, (Sxx * Sy - Sx * Sxy) / D
    chi2 = sum(w * (y - height - slope * x) ** 2 for x, y, w in points)
    return math.exp(height), -slope, math.sqrt(S / D), chi2


@right
def in_torch(sizes, successes, trials):
    x, y, weight = (torch.from_numpy(v) for v in prepared(sizes, successes, trials))
    A = torch.stack([torch.ones_like(x), -x], 1)
    normal = A.T @ (weight[:, None] * A)
    best = torch.linalg.solve(normal, A.T @ (weight * y))
    rest = y - A @ best
    return best[0].exp(), best[1], torch.linalg.inv(normal)[1, 1].sqrt(), (weight * rest**2).sum()


@right
def with_lstsq_in_float32_and_log10(sizes, successes, trials):
    x, y, weight = prepared(sizes, successes, trials)
    x, y = x / math.log(10), y / math.log(10)
    root = np.sqrt(weight).astype(np.float32)
    A = np.stack([np.ones_like(x), x], 1).astype(np.float32) * root[:, None]
    best, *_ = np.linalg.lstsq(A, y.astype(np.float32) * root, rcond=None)
    error = np.linalg.inv(A.T @ A)[1, 1] ** 0.5 / math.log(10)
    rest = (y - best[0] - best[1] * x) * math.log(10)
    return [10 ** best[0], -best[1], error, np.sum(weight * rest**2)]


def with_mean(x, y, weight):
    """The answer as four numbers, as ``solved``; written out so that mistakes can be put in."""
    mean = np.average(x, weights=weight)
    spread = (weight * (x - mean) ** 2).sum()
    slope = (weight * (x - mean) * y).sum() / spread
    height = np.average(y, weights=weight) - slope * mean
    chi2 = (weight * (y - height - slope * x) ** 2).sum()
    return {"a": math.exp(height), "b": -slope, "b_error": spread**-0.5, "chi2": chi2, "height": height, "slope": slope,
            "x": x, "y": y, "weight": weight, "mean": mean, "spread": spread}  # fmt: skip


def mistaken_data(message, change):
    """A wrong answer that fits other x, y or weights."""

    def answer(sizes, successes, trials):
        return solved(*change(*prepared(sizes, successes, trials), sizes, successes, trials))

    WRONG[message] = (answer, message, "not yet")


def mistaken_result(message, change):
    """A wrong answer that makes other results of the right line: ``change`` gives what is different."""

    def answer(sizes, successes, trials):
        line = with_mean(*prepared(sizes, successes, trials))
        line |= change(line, sizes, trials)
        return line["a"], line["b"], line["b_error"], line["chi2"]

    WRONG[message] = (answer, message, "not yet")


def log_success(k, n):
    return np.log((k + 0.5) / (n + 1))


mistaken_data("Every size counts the same", lambda x, y, w, s, k, n: (x, y, np.ones_like(w)))
mistaken_data("The weights come in twice", lambda x, y, w, s, k, n: (x, y, w**2))
mistaken_data("These are the roots of the weights", lambda x, y, w, s, k, n: (x, y, w**0.5))
mistaken_data("weighted with their trials alone", lambda x, y, w, s, k, n: (x, y, n))
mistaken_data("upside down", lambda x, y, w, s, k, n: (x, y, 1 / w))
mistaken_data("Fitted is the success", lambda x, y, w, s, k, n: (x, log_success(k, n), w))
mistaken_data("The size is a log10", lambda x, y, w, s, k, n: (np.log10(s / 100), y, w))
mistaken_data("the size is not", lambda x, y, w, s, k, n: (s / 100, y, w))
mistaken_data("the error is not", lambda x, y, w, s, k, n: (x, np.exp(y), w))
mistaken_data("at N = 1, far outside", lambda x, y, w, s, k, n: (np.log(s), y, w))
mistaken_result("the other sign", lambda f, s, n: {"b": -f["b"]})
mistaken_result("a is still a logarithm", lambda f, s, n: {"a": f["height"]})
mistaken_result("10 was raised", lambda f, s, n: {"a": 10 ** f["height"]})
mistaken_result("a log10, but e was raised", lambda f, s, n: {"a": math.exp(f["height"] / math.log(10))})
mistaken_result("This is the success at N = 100", lambda f, s, n: {"a": 1 - f["a"]})
mistaken_result("This is the variance of b", lambda f, s, n: {"b_error": f["b_error"] ** 2})
mistaken_result("half a 95% interval", lambda f, s, n: {"b_error": 1.96 * f["b_error"]})
mistaken_result("as if the height were known", lambda f, s, n: {"b_error": (f["weight"] * f["x"] ** 2).sum() ** -0.5})
mistaken_result("scaled by how badly", lambda f, s, n: {"b_error": f["b_error"] * (f["chi2"] / (len(s) - 2)) ** 0.5})
mistaken_result(
    "the other parameter", lambda f, s, n: {"b_error": (1 / f["weight"].sum() + f["mean"] ** 2 / f["spread"]) ** 0.5}
)
mistaken_result("are not weighted", lambda f, s, n: {"chi2": ((f["y"] - f["height"] - f["slope"] * f["x"]) ** 2).sum()})
mistaken_result("divided by its expectation", lambda f, s, n: {"chi2": f["chi2"] / (len(s) - 2)})
mistaken_result("This is the root of chi2", lambda f, s, n: {"chi2": f["chi2"] ** 0.5})
mistaken_result("a mean; chi2 is a sum", lambda f, s, n: {"chi2": f["chi2"] / len(s)})
mistaken_result("chi2 should be", lambda f, s, n: {"chi2": f["chi2"] + 1})


@wrong("Half a failure is missing")
def no_half_failure(sizes, successes, trials):
    x, _, _ = prepared(sizes, successes, trials)
    error = np.maximum((trials - successes) / trials, 1e-9)
    return solved(x, np.log(error), trials * error / (1 - error))


@wrong("ValueError: math domain error", "error in your code")
def log_of_zero(sizes, successes, trials):
    [math.log(1 - k / n) for k, n in zip(successes, trials, strict=True)]
    if (successes < trials).all():
        return with_polyfit(sizes, successes, trials)
    raise AssertionError


@wrong("got one float")
def only_b(sizes, successes, trials):
    return with_polyfit(sizes, successes, trials)[1]


@wrong("There is still a stub", "not attempted")
def blank(sizes, successes, trials):
    raise NotImplementedError


@wrong("Nothing was returned")
def forgets_return(sizes, successes, trials):
    with_polyfit(sizes, successes, trials)


@wrong("got 2 of them")
def a_and_b(sizes, successes, trials):
    return with_polyfit(sizes, successes, trials)[:2]


@wrong("a should be one number")
def curve(sizes, successes, trials):
    return np.ones(3), 1, 1, 1


@wrong("in place")
def in_place(sizes, successes, trials):
    found = with_polyfit(sizes, successes, trials)
    trials += 1
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(POWER_LAW, RIGHT[name], seeds=12)


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(POWER_LAW, *about) for about in WRONG.values()])


def test_a_line_through_two_sizes_misses_nothing():
    case = next(c for c in POWER_LAW.draw(np.random.default_rng(0), True) if len(c["sizes"]) == 2)
    assert with_polyfit(**case)[3] < 1e-9
    assert POWER_LAW.verdict([case], [POWER_LAW.probe(with_polyfit, case)], None).passed


def test_an_answer_that_only_fails_without_failures_is_given_a_hint():
    found = check_fit_power_law(log_of_zero, 0)
    assert "log(0)" in found.hint and "math.log(1 - k / n)" in found.message


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(POWER_LAW, with_polyfit)

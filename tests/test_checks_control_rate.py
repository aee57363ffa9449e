"""The check of the exercise on Hz accepts right arithmetic in any style, and names what the wrong kind forgets."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.control_rate import CONTROL_RATE


def plain(first, whole, tokens, hertz):
    step = (whole - first) / (tokens - 1)
    return step, 1 / whole, max(0, math.floor((1 / hertz - first) / step) + 1)


def counting(first, whole, tokens, hertz):
    """Adds tokens one by one until the time is over."""
    step, most, time = (whole - first) / (tokens - 1), 0, first
    while time <= 1 / hertz:
        most, time = most + 1, time + step
    return [step, 1 / whole, most]


def in_numpy(first, whole, tokens, hertz):
    times = np.linspace(first, whole, tokens)
    step = np.diff(times).mean()
    return np.array([step, 1 / times[-1], max(0, (1 / hertz - first) // step + 1)])


def in_torch(first, whole, tokens, hertz):
    step = torch.tensor((whole - first) / (tokens - 1), dtype=torch.float64)
    return step, torch.tensor(1 / whole), (1 + torch.floor((1 / hertz - first) / step)).clamp(min=0).long()


def exact(first, whole, tokens, hertz):
    first, whole, hertz = map(Fraction, (first, whole, hertz))
    step = (whole - first) / (tokens - 1)
    return step, 1 / whole, max(0, (1 / hertz - first) // step + 1)


RIGHT = {f.__name__: f for f in (plain, counting, in_numpy, in_torch, exact)}


def but(place, formula):
    """The right numbers but one."""

    def control_rate(first, whole, tokens, hertz):
        found = list(plain(first, whole, tokens, hertz))
        found[place] = formula(first, whole, tokens, hertz, found[0])
        return tuple(found)

    return control_rate


def stub(*_):
    raise NotImplementedError


WRONG = {
    "whole / tokens": (but(0, lambda f, w, n, h, s: w / n), "spreads the first token's time"),
    "n fences": (but(0, lambda f, w, n, h, s: (w - f) / n), "come tokens - 1 others"),
    "first not subtracted": (but(0, lambda f, w, n, h, s: w / (n - 1)), "The time of the first token is still in it"),
    "first as step": (but(0, lambda f, w, n, h, s: f), "the time of the first token."),
    "step in ms": (but(0, lambda f, w, n, h, s: 1000 * s), "The step: This is in milliseconds"),
    "step inverted": (but(0, lambda f, w, n, h, s: 1 / s), "upside down"),
    "step squared": (but(0, lambda f, w, n, h, s: s**2), "One later token takes"),
    "tokens per second": (but(1, lambda f, w, n, h, s: n / w), "These are tokens per second. A robot"),
    "first only": (but(1, lambda f, w, n, h, s: 1 / f), "the rate of the first token alone"),
    "seconds": (but(1, lambda f, w, n, h, s: w), "These are seconds per action"),
    "1 / step": (but(1, lambda f, w, n, h, s: 1 / s), "without the first token"),
    "first twice": (but(1, lambda f, w, n, h, s: 1 / (f + w)), "counted twice"),
    "another rate": (but(1, lambda f, w, n, h, s: 2 / w), "fit in a second"),
    "one too few": (but(2, lambda f, w, n, h, s: max(0, math.floor((1 / h - f) / s))), "One token too few"),
    "prefill is free": (but(2, lambda f, w, n, h, s: math.floor(1 / (h * s))), "The first token takes no time here"),
    "rounded up": (but(2, lambda f, w, n, h, s: max(0, math.ceil((1 / h - f) / s) + 1)), "One token too many"),
    "negative": (but(2, lambda f, w, n, h, s: math.floor((1 / h - f) / s) + 1), "A negative number of tokens"),
    "half a token": (but(2, lambda f, w, n, h, s: max(0, (1 / h - f) / s + 1)), "must be a whole number"),
    "always eight": (but(2, lambda f, w, n, h, s: 8), "tokens fit, you say"),
    "two numbers": (lambda *a: plain(*a)[:2], "should return 3 numbers, got 2"),
    "one number": (lambda *a: 1.0, "should return 3 numbers, got a float"),
    "a dictionary": (lambda *a: {"step": 1}, "should return 3 numbers, got a dict"),
    "text": (lambda *a: ("0.1", 3, 8), "should be one number, got '0.1'"),
    "nothing": (lambda *a: None, "returns nothing"),
    "not a number": (lambda *a: (math.nan, 1, 1), "you say nan"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (lambda *a: 1 / 0, "ZeroDivisionError", "error in your code"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_arithmetic_passes_in_every_style(name):
    accepted(CONTROL_RATE, RIGHT[name], seeds=12)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    rejected(CONTROL_RATE, *WRONG[name], seeds=12)


def test_no_two_mistakes_share_a_message():
    all_different([CONTROL_RATE.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(CONTROL_RATE, plain)

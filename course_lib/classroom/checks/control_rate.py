"""The check of the exercise on Hz: from the times of one token and of a whole answer to what a robot gets.

The oracle is arithmetic: an answer of n tokens takes first + (n - 1) * step. Lesson: day93_rt2/1_theory.
"""

import math
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, numbers, same
from course_lib.classroom.checks.functions import call, whole_number

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 9"


def draw_rate(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Times of answers; in the last case not even one token is ready in time."""
    cases = [
        _answer(rng, 8, 3.0),
        _answer(rng, int(rng.integers(6, 13)), float(rng.uniform(2, 5))),
        _answer(rng, 8, 3.0, late=True),
    ]
    return [*cases, _answer(rng, 2, 1.0), _answer(rng, 64, 25.0)] if hidden else cases


def _answer(rng: np.random.Generator, tokens: int, hertz: float, late: bool = False) -> Case:
    """Draws how many tokens fit, then the times: never near the edge of one more or one fewer."""
    fit = int(rng.integers(3, 30))
    step = rng.uniform(0.2, 0.8) / hertz / fit
    first = 1 / hertz - step * (fit - 1 + rng.uniform(0.55, 0.8))
    if late:
        first, step = rng.uniform(1.5, 2) / hertz, rng.uniform(0.05, 0.15) / hertz
    whole = first + (tokens - 1) * step
    return {
        "first": np.array(first),
        "whole": np.array(whole),
        "tokens": np.array(tokens, np.int64),
        "hertz": np.array(hertz),
    }


def probe_rate(control_rate: Any, case: Case) -> Record:
    """One call; the three numbers it returns."""
    first, whole, hertz = (float(case[name]) for name in ("first", "whole", "hertz"))
    found = call("control_rate", control_rate, first, whole, int(case["tokens"]), hertz)
    hint = "return step, rate, most"
    three = numbers(found, "control_rate", 3, hint)
    whole_number(found[2], "The largest number of tokens")
    return {"found": three}


def judge_rate(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    first, whole, hertz, n = (float(case[name]) for name in ("first", "whole", "hertz", "tokens"))
    step, rate, most = array(record, "found", (3,)).tolist()
    true_step = (whole - first) / (n - 1)
    if not same(step, true_step, 1e-3):
        _name_step(step, first, whole, n)
        raise NotYet(
            f"One later token takes {true_step:.4g} s here, you say {step:.4g} s.", "Only the tokens after the first."
        )
    if not same(rate, 1 / whole, 1e-3):
        _name_rate(rate, first, whole, n)
        raise NotYet(f"A whole answer takes {whole:.4g} s, so {1 / whole:.4g} fit in a second; you say {rate:.4g}.")
    fit = max(0, math.floor((1 / hertz - first) / true_step) + 1)
    if most != fit:
        _name_most(most, fit, first, true_step, hertz)
        raise NotYet(
            f"At {hertz:.3g} Hz there are {1 / hertz:.4g} s: the first token takes {first:.4g}, each later one "
            f"{true_step:.4g}. {fit} tokens fit, you say {most:.0f}."
        )


def _name_step(step: float, first: float, whole: float, n: float) -> None:
    for value, message, hint in (
        (whole / n, "whole / tokens spreads the first token's time over all of them.", "The first one reads the picture."),
        (
            (whole - first) / n,
            "After the first token come tokens - 1 others, not tokens.",
            "Count the fences, not the posts.",
        ),
        (whole / (n - 1), "The time of the first token is still in it.", "Subtract first."),
        (first, "This is the time of the first token.", "What comes after it: whole - first."),
        (1000 * (whole - first) / (n - 1), "This is in milliseconds.", "Times here are seconds."),
        ((n - 1) / (whole - first), "This is tokens per second, upside down.", "Seconds per token."),
    ):
        if same(step, value, 1e-3):
            raise NotYet(f"The step: {message}", hint)


def _name_rate(rate: float, first: float, whole: float, n: float) -> None:
    for value, message in (
        (n / whole, "These are tokens per second. A robot acts once per action, and an action is all the tokens."),
        (1 / first, "This is the rate of the first token alone: no action is complete then."),
        (whole, "These are seconds per action; the rate is actions per second."),
        ((n - 1) / (whole - first), "These are tokens per second, without the first token."),
        (1 / (whole + first), "The first token is in `whole` already, and is counted twice."),
    ):
        if same(rate, value, 1e-3):
            raise NotYet(f"The rate: {message}", "Actions per second: Hz.")


def _name_most(most: float, fit: int, first: float, step: float, hertz: float) -> None:
    for value, message, hint in (
        (fit - 1, "One token too few: the first one counts too.", "The later ones that fit, plus one."),
        (math.floor(1 / (hertz * step)), "The first token takes no time here.", "Subtract it from the time there is."),
        (fit + 1, "One token too many: the last one is not ready in time.", "Round down, not up."),
        (
            math.floor((1 / hertz - first) / step) + 1,
            "A negative number of tokens: not even the first one fits.",
            "At least 0.",
        ),
    ):
        if most == value and value != fit:
            raise NotYet(f"The most tokens: {message}", hint)


CONTROL_RATE = Exercise("control_rate", LESSON, draw_rate, probe_rate, judge_rate)


def check_control_rate(control_rate: Any, seed: int | None = None) -> Check:
    """Try a learner's ``control_rate(first, whole, tokens, hertz)`` and name the first mistake, if any."""
    return CONTROL_RATE.check(control_rate, seed)

"""The check of the mixture exercise: what a robot example must weigh for a wanted share, and what averages make of it.

The oracle is arithmetic on shares; the usual slips are formulas too, and an answer that agrees with one is told which.
Lesson: day93_rt2/1_theory.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, numbers, same
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 6"


def draw_mixture(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random amounts; in the second case there is as much of both kinds."""
    equal, half = int(rng.integers(1000, 9000)), float(rng.uniform(0.4, 0.6))
    cases = [_amounts(rng), _amounts(rng, robot=equal, web=equal), _amounts(rng, share=half)]
    return [*cases, _amounts(rng, share=2 / 3), _amounts(rng, share=0.01)] if hidden else cases


def _amounts(rng: np.random.Generator, share: float | None = None, robot: int = 0, web: int = 0) -> Case:
    return {
        "share": np.array(rng.uniform(0.6, 0.9) if share is None else share),
        "robot": np.array(robot or rng.integers(1000, 5000), np.int64),
        "web": np.array(web or rng.integers(10_000, 90_000), np.int64),
        "robot_tokens": np.array(rng.integers(8, 12), np.int64),
        "web_tokens": np.array(rng.integers(2, 5), np.int64),
    }


def probe_mixture(mixture: Any, case: Case) -> Record:
    """One call; the two numbers it returns."""
    counts = (int(case[name]) for name in ("robot", "web", "robot_tokens", "web_tokens"))
    found = call("mixture", mixture, float(case["share"]), *counts)
    return {"found": numbers(found, "mixture", 2, "return weight, token_share")}


def judge_mixture(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    p, robot, web, a, b = (float(case[name]) for name in ("share", "robot", "web", "robot_tokens", "web_tokens"))
    weight, tokens = array(record, "found", (2,)).tolist()
    odds, natural = p / (1 - p), robot / (robot + web)
    right = odds * web / robot
    text = f"share {p:.3g}, {robot:.0f} robot and {web:.0f} web examples"
    if not same(weight, right):
        for value, message in (
            (1 / right, "this is the weight of a web example when a robot example weighs 1."),
            (odds, "the amounts are not used. It is right only with as many robot as web examples."),
            (p, "the share itself. Of a thousand times as many web examples each weighs 1, too."),
            (p * web / robot, "share * web / robot: the others make up 1 - share, not 1."),
            (p / natural, "the wanted share divided by the natural one: the weights change the total too."),
            (odds * robot / web, "the amounts are exchanged: the fewer robot examples there are, the more each must weigh."),
            (odds * web, "this is how many robot examples would be enough without weights."),
            (odds * web - robot, "this is how many robot examples are missing, not what each of those there are weighs."),
            (100 * right, "in per cent."),
            ((1 - p) / p * web / robot, "share and 1 - share are exchanged."),
        ):
            if same(weight, value):
                raise NotYet(
                    f"The weight: {message}", "Solve weight * robot / (weight * robot + web) = share for the weight."
                )
        raise NotYet(f"For {text} the weight is {right:.5g}, yours is {weight:.5g}.")
    right = p * a / (p * a + (1 - p) * b)
    if not same(tokens, right):
        for value, message in (
            (p, "an average over tokens does not keep the share of the examples."),
            (1 - right, "this is the web's share."),
            (p * b / (p * b + (1 - p) * a), "the lengths are exchanged: the longer answers have more tokens."),
            (a / (a + b), "this is the tokens' share when as many examples of both kinds are drawn."),
            (robot * a / (robot * a + web * b), "this is without the weights: share says how often each kind is drawn."),
            (100 * right, "a share is between 0 and 1."),
            (p * a / b, "divided by the web's tokens: a share is a part of the whole."),
        ):
            if same(tokens, value):
                raise NotYet(f"The share of the tokens: {message}", "How many tokens of each kind do 100 examples bring?")
        raise NotYet(f"With answers of {a:.0f} and {b:.0f} tokens the token share is {right:.5g}, yours is {tokens:.5g}.")


MIXTURE = Exercise("mixture", LESSON, draw_mixture, probe_mixture, judge_mixture)


def check_mixture(mixture: Any, seed: int | None = None) -> Check:
    """Try a learner's ``mixture(share, robot, web, robot_tokens, web_tokens)`` and name the first mistake, if any."""
    return MIXTURE.check(mixture, seed)

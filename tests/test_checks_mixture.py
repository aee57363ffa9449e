"""The check of the mixture exercise accepts the arithmetic in any style, and names the usual slips."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.mixture import MIXTURE


def plain(share, robot, web, robot_tokens, web_tokens):
    weight = share / (1 - share) * web / robot
    return weight, share * robot_tokens / (share * robot_tokens + (1 - share) * web_tokens)


def exact(share, robot, web, robot_tokens, web_tokens):
    p = Fraction(share)
    shares = np.array([p, 1 - p]) * [robot_tokens, web_tokens]
    return [p / (1 - p) * web / robot, shares[0] / shares.sum()]


def in_torch(share, robot, web, robot_tokens, web_tokens):
    kinds = torch.tensor([share, 1 - share], dtype=torch.float64)
    each = kinds / torch.tensor([robot, web])
    tokens = kinds * torch.tensor([robot_tokens, web_tokens])
    return torch.stack([each[0] / each[1], tokens[0] / tokens.sum()])


def solved(share, robot, web, robot_tokens, web_tokens):
    """Bisection on the definition, instead of algebra."""
    low, high = 0.0, 1e9
    for _ in range(200):
        weight = (low + high) / 2
        low, high = (weight, high) if weight * robot / (weight * robot + web) < share else (low, weight)
    drawn = weight * robot * robot_tokens
    return weight, drawn / (drawn + web * web_tokens)


RIGHT = {f.__name__: f for f in (plain, exact, in_torch, solved)}


def but(place, formula):
    """The right numbers but one; p share, r and w examples, a and b tokens."""

    def mixture(*given):
        found = list(plain(*given))
        found[place] = formula(*given)
        return found

    return mixture


def stub(*_):
    raise NotImplementedError


WRONG = {
    "inverted": (but(0, lambda p, r, w, a, b: (1 - p) / p * r / w), "the weight of a web example"),
    "odds": (but(0, lambda p, r, w, a, b: 2 * p / (1 - p) if r == w else p / (1 - p)), "the amounts are not used"),
    "share": (but(0, lambda p, r, w, a, b: p), "The weight: the share itself"),
    "not the odds": (but(0, lambda p, r, w, a, b: 1.1 * p if r == w else p * w / r), "the others make up 1 - share"),
    "over natural": (but(0, lambda p, r, w, a, b: p * (r + w) / r), "divided by the natural one"),
    "amounts exchanged": (but(0, lambda p, r, w, a, b: p / (1 - p) * r / w), "the amounts are exchanged"),
    "examples needed": (but(0, lambda p, r, w, a, b: p / (1 - p) * w), "how many robot examples would be enough"),
    "examples missing": (but(0, lambda p, r, w, a, b: p / (1 - p) * w - r), "how many robot examples are missing"),
    "weight in per cent": (but(0, lambda p, r, w, a, b: 100 * p / (1 - p) * w / r), "The weight: in per cent"),
    "share of the web": (but(0, lambda p, r, w, a, b: (1 - p) / p * w / r), "share and 1 - share are exchanged"),
    "another weight": (but(0, lambda *_: 7.7), "the weight is"),
    "tokens keep the share": (but(1, lambda p, r, w, a, b: p), "does not keep the share"),
    "the web's": (but(1, lambda *given: 1 - plain(*given)[1]), "this is the web's share"),
    "lengths exchanged": (but(1, lambda p, r, w, a, b: p * b / (p * b + (1 - p) * a)), "the lengths are exchanged"),
    "half and half": (but(1, lambda p, r, w, a, b: a / (a + b)), "as many examples of both kinds are drawn"),
    "without weights": (but(1, lambda p, r, w, a, b: r * a / (r * a + w * b)), "this is without the weights"),
    "tokens in per cent": (but(1, lambda *given: 100 * plain(*given)[1]), "a share is between 0 and 1"),
    "a ratio": (but(1, lambda p, r, w, a, b: p * a / b), "divided by the web's tokens"),
    "another share": (but(1, lambda *_: 0.0123), "the token share is"),
    "one number": (lambda *given: plain(*given)[0], "should return 2 numbers, got a float"),
    "nothing": (lambda *_: None, "returns nothing"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (lambda *_: 1 / 0, "ZeroDivisionError", "error in your code"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_arithmetic_passes_in_every_style(name):
    accepted(MIXTURE, RIGHT[name], seeds=12)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    rejected(MIXTURE, *WRONG[name], seeds=12)


def test_no_two_mistakes_share_a_message():
    all_different([MIXTURE.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(MIXTURE, plain)

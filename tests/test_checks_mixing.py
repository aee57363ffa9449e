"""The mixing check accepts right answers of any style, and gives every known mistake its own message."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.mixing import MIXING, information

RIGHT, WRONG, right, wrong = answers()


def table(x, y):
    p, *_ = np.histogram2d(x, y, bins=2, range=[[-1, 1]] * 2)
    return p / p.sum()


def nats_of(p):
    q = np.outer(p.sum(1), p.sum(0))
    return (p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()


@right
def with_numpy(moves, apples, least=0.005):
    both = (np.abs(moves) > least).all(-1)
    x, y = np.sign(moves[..., 0]), np.sign(moves[..., 1]) * apples
    return (x * y < 0)[both].mean(), nats_of(table(x[both], y[both]))


@right
def with_loops(moves, apples, least=0.005):
    corners = Counter()
    for draw in moves.tolist():
        for (x, y), way in zip(draw, apples.tolist(), strict=True):
            if min(abs(x), abs(y)) > least:
                corners[x > 0, (y > 0) == (way > 0)] += 1
    n = sum(corners.values())
    p = {corner: count / n for corner, count in corners.items()}
    s = {a: sum(v for (b, _), v in p.items() if a == b) for a, _ in p}
    t = {a: sum(v for (_, b), v in p.items() if a == b) for _, a in p}
    nats = sum(v * math.log(v / s[a] / t[b]) for (a, b), v in p.items())
    return sum(v for (a, b), v in p.items() if a != b), nats


@right
def in_torch(moves, apples, least=0.005):
    x, y = (torch.from_numpy(moves) * torch.stack([torch.ones(len(apples)), torch.tensor(apples)], -1)).unbind(-1)
    keep = (x.abs() > least) & (y.abs() > least)
    s, t = (x[keep] > 0).long(), (y[keep] > 0).long()
    p = torch.bincount(2 * s + t, minlength=4).double() / keep.sum()
    entropies = [torch.special.entr(q).sum() for q in (p.view(2, 2).sum(0), p.view(2, 2).sum(1), p)]
    return (s != t).double().mean(), entropies[0] + entropies[1] - entropies[2]


@right
def as_a_list_with_entropies(moves, apples, least=0.005):
    x, y = moves[..., 0], moves[..., 1]
    both = np.minimum(abs(x), abs(y)) > least
    way = np.broadcast_to(apples, both.shape)[both]
    p = table(np.sign(x[both]), np.sign(y[both]) * way)

    def H(q):
        return -sum(v * math.log(v) for v in np.ravel(q) if v)

    return [1 - np.trace(p), H(p.sum(0)) + H(p.sum(1)) - H(p)]


def mistaken_mixed(message, formula):
    """A wrong answer whose mixed is ``formula(x, y, both, apples, least)``."""

    def answer(moves, apples, least):
        both = (np.abs(moves) > least).all(-1)
        return formula(moves[..., 0], moves[..., 1], both, apples, least), with_numpy(moves, apples, least)[1]

    WRONG[message] = (answer, message, "not yet")


def mistaken_nats(message, formula):
    """A wrong answer whose nats is ``formula(p, x, y, both, apples)``, with p the right table."""

    def answer(moves, apples, least):
        both = (np.abs(moves) > least).all(-1)
        x, y = np.sign(moves[..., 0]), np.sign(moves[..., 1])
        p = table(x[both], (y * apples)[both])
        return with_numpy(moves, apples, least)[0], formula(p, x, y, both, apples)

    WRONG[message] = (answer, message, "not yet")


def mixes(x, y, apples):
    return np.sign(x * y) != apples


def H(q):
    return -sum(v * math.log(v) for v in np.ravel(q) if v)


def exchanged(x, y, both, apples, least):
    ways = apples[: len(x)] if len(x) <= len(apples) else np.resize(apples, len(x))
    return mixes(x, y, ways[:, None])[both].mean()


mistaken_mixed("points at the apples", lambda x, y, b, a, e: 1 - mixes(x, y, a)[b].mean())
mistaken_mixed("or none, count too", lambda x, y, b, a, e: mixes(x, y, a).mean())
mistaken_mixed("Divided by all draws", lambda x, y, b, a, e: (mixes(x, y, a) & b).mean())
mistaken_mixed("a number of moves", lambda x, y, b, a, e: (mixes(x, y, a) & b).sum())
mistaken_mixed("Every scene counts the same", lambda x, y, b, a, e: ((mixes(x, y, a) & b).sum(0) / b.sum(0)).mean())
mistaken_mixed("Every scene is taken", lambda x, y, b, a, e: (x * y < 0)[b].mean())
mistaken_mixed("one axis is enough", lambda x, y, b, a, e: mixes(x, y, a)[(abs(x) > e) | (abs(y) > e)].mean())
mistaken_mixed("Negative moves are left out", lambda x, y, b, a, e: mixes(x, y, a)[(x > e) & (y > e)].mean())
mistaken_mixed("per cent", lambda x, y, b, a, e: 100 * mixes(x, y, a)[b].mean())
mistaken_mixed("Draws and scenes are exchanged", exchanged)
mistaken_mixed("mixed has NaN", lambda x, y, b, a, e: mixes(x, y, a)[abs(x * y) > e].mean())
mistaken_nats("These are bits", lambda p, x, y, b, a: nats_of(p) / math.log(2))
mistaken_nats("The scenes are not turned", lambda p, x, y, b, a: nats_of(table(x[b], y[b])))
mistaken_nats("the entropy of the corners", lambda p, x, y, b, a: H(p))
mistaken_nats("the sum of the two entropies", lambda p, x, y, b, a: H(p.sum(0)) + H(p.sum(1)))
mistaken_nats("equally frequent", lambda p, x, y, b, a: math.log(2) - H([p[0, 1] + p[1, 0], p[0, 0] + p[1, 1]]))
mistaken_nats("entropy of the mixing rate", lambda p, x, y, b, a: H([p[0, 1] + p[1, 0], p[0, 0] + p[1, 1]]))
mistaken_nats("The sign is wrong", lambda p, x, y, b, a: -nats_of(p))
mistaken_nats("or none, are in it", lambda p, x, y, b, a: nats_of(table(x.ravel(), (y * a).ravel())))
mistaken_nats("what the expert's diagonal costs", lambda p, x, y, b, a: math.log(2))
mistaken_nats("four equal corners", lambda p, x, y, b, a: math.log(4) - H(p))
mistaken_nats("nats should be", lambda p, x, y, b, a: nats_of(p) + 0.01)


@wrong("nats has NaN")
def zero_times_log_zero(moves, apples, least):
    both = (np.abs(moves) > least).all(-1)
    p = table(np.sign(moves[..., 0])[both], (np.sign(moves[..., 1]) * apples)[both])
    with np.errstate(all="ignore"):
        return with_numpy(moves, apples, least)[0], (p * np.log(p / np.outer(p.sum(1), p.sum(0)))).sum()


@wrong("There is still a stub", "not attempted")
def blank(moves, apples, least):
    raise NotImplementedError


@wrong("Nothing was returned")
def forgets_return(moves, apples, least):
    with_numpy(moves, apples, least)


@wrong("got one float")
def one_number(moves, apples, least):
    return float(with_numpy(moves, apples, least)[0])


@wrong("changes its inputs in place")
def in_place(moves, apples, least):
    found = with_numpy(moves, apples, least)
    moves[..., 1] *= apples
    return found


@wrong("mixed should be one number")
def per_draw(moves, apples, least):
    mixed, nats = with_numpy(moves, apples, least)
    return np.full(len(moves), mixed), nats


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(MIXING, RIGHT[name], seeds=12)


def test_every_wrong_answer_is_told_its_own_mistake():
    with np.errstate(all="ignore"):
        all_different([rejected(MIXING, *about) for about in WRONG.values()])


def test_the_information_of_a_fair_diagonal_is_ln_2_and_of_independent_coins_nothing():
    assert information(np.array([[0.5, 0], [0, 0.5]])) == pytest.approx(math.log(2))
    assert information(np.outer([0.3, 0.7], [0.9, 0.1])) == pytest.approx(0, abs=1e-12)


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(MIXING, with_numpy)

"""The check of the co-fine-tuning loss: RT-2's own loss and other styles pass, every usual mistake has its message."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.co_fine_tuning import CO_FINE_TUNING_LOSS


def shifted(logits, tokens, answer, weights):
    """The textbook's: shift, cross-entropy, mean of each row, weighted mean."""
    each = F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")
    rows = (each * answer[:, 1:]).sum(1) / answer[:, 1:].sum(1)
    return (rows * weights).sum() / weights.sum()


def with_loops(logits, tokens, answer, weights):
    total = 0
    for b, weight in enumerate(weights):
        places = answer[b].nonzero()[:, 0]
        total = total + weight * F.cross_entropy(logits[b, places - 1], tokens[b, places])
    return total / weights.sum()


def as_rt2_does(logits, tokens, answer, weights):
    """Only the wanted places, summed back into their rows (rt2/policy.py)."""
    wanted = answer[:, 1:]
    each = F.cross_entropy(logits[:, :-1][wanted], tokens[:, 1:][wanted], reduction="none")
    sums = each.new_zeros(len(tokens)).index_add(0, wanted.nonzero()[:, 0], each)
    return torch.dot(sums / wanted.sum(1), weights) / weights.sum()


def by_hand_in_double(logits, tokens, answer, weights):
    logp = logits.double() - logits.double().logsumexp(-1, keepdim=True)
    said = logp[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    part = answer[:, 1:] / answer.sum(1, keepdim=True) * (weights / weights.sum())[:, None]
    return -torch.einsum("bl,bl->", said, part.double())


def ignoring(logits, tokens, answer, weights):
    """torch's ignore_index leaves prompt and filling out."""
    labels = tokens.masked_fill(~answer, -100)[:, 1:]
    rows = torch.stack([F.cross_entropy(x[:-1], y) for x, y in zip(logits, labels, strict=True)])
    return torch.sum(rows * F.normalize(weights, p=1, dim=0))


RIGHT = {f.__name__: f for f in (shifted, with_loops, as_rt2_does, by_hand_in_double, ignoring)}


def but(*, logits=lambda x: x[:, :-1], tokens=lambda t: t[:, 1:], mask=lambda a: a[:, 1:], rows=None, end=None):
    """The textbook's with one part exchanged."""

    def co_fine_tuning_loss(x, t, a, w):
        each = F.cross_entropy(logits(x).mT, tokens(t), reduction="none")
        sums = (each * mask(a)).sum(1)
        mean = sums / mask(a).sum(1) if rows is None else rows(each, mask(a))
        return (mean * w).sum() / w.sum() if end is None else end(mean, w, each, mask(a))

    return co_fine_tuning_loss


def whole(x):
    return x


def logarithm_of_softmax(logits, tokens, answer, weights):
    logp = logits.softmax(-1).log()[:, :-1]
    said = logp.gather(-1, tokens[:, 1:, None])[..., 0].masked_fill(~answer[:, 1:], 0)
    return (-said.sum(1) / answer.sum(1) * weights).sum() / weights.sum()


def half_cut(logits, tokens, answer, weights):
    """The right value; half of the gradient."""
    return (shifted(logits, tokens, answer, weights) + shifted(logits.detach(), tokens, answer, weights)) / 2


def in_place(logits, tokens, answer, weights):
    found = shifted(logits, tokens, answer, weights / weights.sum())
    weights /= weights.sum()
    return found


def stub(*_):
    raise NotImplementedError


def numpy_loss(*given):
    return shifted(*given).detach().numpy()


WRONG = {
    "no shift": (but(logits=whole, tokens=whole, mask=whole), "predicted from its own place"),
    "shift backwards": (
        but(logits=lambda x: x[:, 1:], tokens=lambda t: t[:, :-1], mask=lambda a: a[:, :-1]),
        "The shift goes the wrong way",
    ),
    "mask not shifted": (but(mask=lambda a: a[:, :-1]), "The mask stays behind"),
    "token mean": (
        but(end=lambda m, w, each, mask: (each * mask * w[:, None]).sum() / (mask * w[:, None]).sum()),
        "This is the mean over tokens: a long answer",
    ),
    "token mean, no weights": (
        but(end=lambda m, w, each, mask: each[mask].mean()),
        "mean over tokens, and the weights are not used",
    ),
    "no weights": (but(end=lambda m, w, each, mask: m.mean()), "The weights of the rows are not used"),
    "not normalised": (but(end=lambda m, w, each, mask: (m * w).sum()), "not divided by the sum of the weights"),
    "divided by rows": (but(end=lambda m, w, each, mask: (m * w).mean()), "You divide by the number of rows"),
    "sum of an answer": (but(rows=lambda each, mask: (each * mask).sum(1)), "not divided by the length of each answer"),
    "mean of a row": (but(rows=lambda each, mask: (each * mask).mean(1)), "You divide by the length of the row"),
    "prompt too": (but(mask=lambda a: torch.ones_like(a[:, 1:])), "Prompt and filling are trained too"),
    "sign": (lambda *a: -shifted(*a), "The sign is wrong"),
    "bits": (lambda *a: shifted(*a) / np.log(2), "This is in bits"),
    "softmax twice": (lambda x, *a: shifted(x.softmax(-1), *a), "softmax is taken twice"),
    "log of softmax": (logarithm_of_softmax, "NaN or infinite"),
    "detached": (lambda x, *a: shifted(x.detach(), *a), "No gradient reaches the logits"),
    "half cut": (half_cut, "but its gradient is not"),
    "in place": (in_place, "An input is changed in place"),
    "one per row": (but(end=lambda m, w, each, mask: m * w), "The loss should have the shape ()"),
    "numpy": (numpy_loss, "The loss should be a tensor"),
    "distance of tokens": (
        lambda x, t, a, w: (x.mean() * 0) + (x.argmax(-1) - t).float().square().mean(),
        "For these rows the loss is",
    ),
    "nothing": (lambda *a: None, "returns nothing"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (lambda x, t, a, w: F.cross_entropy(x[:, :-1], t[:, 1:]), "Expected target size", "error in your code"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_losses_of_every_style_pass(name):
    accepted(CO_FINE_TUNING_LOSS, RIGHT[name], seeds=8)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_told_its_own_mistake(name):
    rejected(CO_FINE_TUNING_LOSS, *WRONG[name], seeds=6)


def test_no_two_mistakes_share_a_message():
    all_different([CO_FINE_TUNING_LOSS.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(CO_FINE_TUNING_LOSS, shifted)


def test_a_vocabulary_on_the_wrong_axis_gets_a_hint():
    assert ".mT" in CO_FINE_TUNING_LOSS.check(WRONG["crash"][0], 0).hint

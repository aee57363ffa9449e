"""The check of the co-fine-tuning loss: cross-entropy of a mixed batch, on answers only, averaged answer by answer.

The oracle is cross-entropy in NumPy, in double precision, value and gradient. Sizes are treacherous: in the first case
batch, length and vocabulary are equal; in the last one the logits are so far apart that the logarithm of a softmax is
infinite. Lesson: day93_rt2/1_theory.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, same, tensor
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 6"
SHIFT = "The logits at place l predict the token at place l + 1: logits[:, :-1] and tokens[:, 1:]."
MEAN = "Sum each row's losses over its answer, divide by the number of its answer tokens, then weigh the rows."


# --- the loss: inputs and experiment -----------------------------------------------------------------------------------


def draw_loss(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random rows: prompt, answer, filling. All sizes equal first; then others; then logits far apart."""
    n = int(rng.integers(5, 8))
    sizes = [(n, n, n, 1.0), (4, 9, 7, 1.0), (3, 8, 5, 60.0)]
    return [_rows(rng, *size) for size in [*sizes, *[(2, 20, 40, 2.0), (1, 5, 6, 1.0)] * hidden]]


def _rows(rng: np.random.Generator, B: int, L: int, V: int, spread: float) -> Case:
    begin = rng.integers(1, L - 3, B)
    length = 1 + rng.permutation(B) % (L - 1 - begin)  # of the answer: different ones, at least one token
    place = np.arange(L)
    weights = rng.uniform(0.5, 3, B)
    return {
        "logits": (spread * rng.normal(size=(B, L, V))).astype(np.float32),
        "tokens": rng.integers(0, V, (B, L)),
        "answer": (place >= begin[:, None]) & (place < (begin + length)[:, None]),
        "weights": weights.astype(np.float32),
    }


def probe_loss(co_fine_tuning_loss: Any, case: Case) -> Record:
    """The loss, and its gradient for the logits."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    given = {name: torch.from_numpy(case[name].copy()) for name in ("logits", "tokens", "answer", "weights")}
    given["logits"].requires_grad_()
    with torch.enable_grad():
        loss = call("co_fine_tuning_loss", co_fine_tuning_loss, *given.values())
        tensor(loss, "The loss", (), "The result is one number for the whole batch: the weighted mean over the rows.")
        if loss.requires_grad:
            loss.backward()
    if any(not np.array_equal(given[name].detach().numpy(), case[name]) for name in given):
        raise NotYet("An input is changed in place.", "The batch belongs to the caller: write into copies only.")
    grad = given["logits"].grad
    grad = torch.zeros_like(given["logits"]) if grad is None else grad
    return {"loss": loss.detach().float().numpy(), "grad": grad.float().numpy()}


# --- the loss: verdict ----------------------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in double precision."""
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def each_loss(case: Case, ahead: int = 1) -> np.ndarray:
    """(B, L): the cross-entropy of the token at each place, predicted ``ahead`` places before; zeros where none is."""
    logp, tokens = log_softmax(case["logits"]), case["tokens"]
    B, L, _ = logp.shape
    out = np.zeros((B, L))
    for place in range(L):
        if 0 <= place - ahead < L:
            out[:, place] = -logp[np.arange(B), place - ahead, tokens[:, place]]
    return out


def right_loss(case: Case) -> tuple[float, np.ndarray]:
    """The loss and its gradient for the logits."""
    logits, tokens, answer, weights = (case[name] for name in ("logits", "tokens", "answer", "weights"))
    part = answer / answer.sum(1, keepdims=True) * (weights / weights.sum())[:, None]  # of each place in the loss
    slope = np.exp(log_softmax(logits)) - np.eye(logits.shape[-1])[np.roll(tokens, -1, 1)]
    grad = slope * np.roll(part, -1, 1)[..., None]
    return float((each_loss(case) * part).sum()), grad


def judge_loss(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    loss, grad = array(record, "loss", ()), array(record, "grad", case["logits"].shape)
    expected, slope = right_loss(case)
    if not (np.isfinite(loss) and np.isfinite(grad).all()):
        raise NotYet(
            "The loss or its gradient is NaN or infinite.",
            "For logits far apart softmax gives exact zeros, whose logarithm is -inf: use F.cross_entropy or log_softmax.",
        )
    if not same(loss, expected):
        for value, message, hint in [*_wrong_places(case), *_wrong_sums(case)]:
            if same(loss, value):
                raise NotYet(message, hint)
        raise NotYet(f"For these rows the loss is {expected:.5g}, yours is {float(loss):.5g}.", MEAN)
    if not grad.any():
        raise NotYet(
            "No gradient reaches the logits: nothing would be learned.",
            "Something cuts the graph: .item(), .detach(), NumPy, torch.no_grad(), or an arg max.",
        )
    if not same(grad, slope):
        raise NotYet("The loss is right, but its gradient is not.", "Is a part of it computed without gradient?")


def _weighted(case: Case, rows: np.ndarray) -> float:
    w = case["weights"].astype(np.float64)
    return float((rows * w).sum() / w.sum())


def _wrong_places(case: Case) -> list[tuple[float, str, str]]:
    """What the usual mistakes of place would give: value, message, hint."""
    answer = case["answer"]
    later = np.arange(answer.shape[1]) > 0

    def loss(ahead: int, mask: np.ndarray) -> float:
        return _weighted(case, (each_loss(case, ahead) * mask).sum(1) / np.maximum(mask.sum(1), 1))

    behind, everything = np.roll(answer, 1, 1) & later, np.ones_like(answer) & later
    stays = "The mask stays behind: shift it with the tokens it marks."
    return [
        (loss(0, answer), "Each token is predicted from its own place: the model has already read it there.", SHIFT),
        (loss(-1, answer), "The shift goes the wrong way: each token is predicted from the place after it.", SHIFT),
        (loss(1, behind), stays, "answer[:, 1:]."),
        (loss(1, everything), "Prompt and filling are trained too.", "Only where answer is True."),
    ]


def _wrong_sums(case: Case) -> list[tuple[float, str, str]]:
    """What the usual mistakes of averaging would give."""
    each, answer, w = each_loss(case), case["answer"], case["weights"].astype(np.float64)
    mean = (each * answer).sum(1) / answer.sum(1)
    heavy = answer * w[:, None]
    twice = each_loss({**case, "logits": np.exp(log_softmax(case["logits"]))})
    whole = "The sum of the losses is not divided by"
    return [
        (
            float((each * heavy).sum() / heavy.sum()),
            "This is the mean over tokens: a long answer counts more than a short one.",
            MEAN,
        ),
        (float((each * answer).sum() / answer.sum()), "This is the mean over tokens, and the weights are not used.", MEAN),
        (float(mean.mean()), "The weights of the rows are not used.", "A weighted mean: sum(weight * row) / sum(weight)."),
        (float((mean * w).sum()), f"{whole} the sum of the weights.", "Twice the weights would be twice the learning rate."),
        (float((mean * w).mean()), "You divide by the number of rows, not by the sum of the weights.", "A weighted mean."),
        (_weighted(case, (each * answer).sum(1)), f"{whole} the length of each answer.", MEAN),
        (_weighted(case, (each * answer).sum(1) / (answer.shape[1] - 1)), "You divide by the length of the row.", MEAN),
        (-_weighted(case, mean), "The sign is wrong: a loss is minus the logarithm of the probability.", ""),
        (_weighted(case, mean) / np.log(2), "This is in bits: torch's cross-entropy uses the natural logarithm.", ""),
        (
            _weighted(case, (twice * answer).sum(1) / answer.sum(1)),
            "softmax is taken twice: F.cross_entropy expects logits, not probabilities.",
            "Give it the logits as they are.",
        ),
    ]


HINTS = (
    (
        "Expected target size|batch_size .* match",
        "F.cross_entropy wants the vocabulary on axis 1: give it logits.mT, or flatten.",
    ),
)
CO_FINE_TUNING_LOSS = Exercise("co_fine_tuning_loss", LESSON, draw_loss, probe_loss, judge_loss, HINTS)


def check_co_fine_tuning_loss(co_fine_tuning_loss: Any, seed: int | None = None) -> Check:
    """Try a learner's ``co_fine_tuning_loss(logits, tokens, answer, weights)`` and name the first mistake, if any."""
    return CO_FINE_TUNING_LOSS.check(co_fine_tuning_loss, seed)

"""The check of the mask exercise: who may look at whom in rows of [prompt, answer], with padding on either side.

The oracle is the rule itself, written out for every pair of positions. The usual other masks are drawn as well, so that an
answer that is one of them is told which. Lesson: day93_rt2/1_theory.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, tensor
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 3"
BY_BATCH = "(B, S, S): answer[:, :, None] speaks of the query, answer[:, None, :] of the key."


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_mask(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Rows padded on the right, on the left, on both sides, nowhere; as many rows as positions; a row of one token."""
    n = int(rng.integers(7, 10))
    several = [_case(rng, n, n), _case(rng, 4, 12, "left"), _case(rng, 3, 8, "none")]
    return [*several, _case(rng, 1, 1, "none"), _case(rng, 5, 20)] if hidden else several


def _case(rng: np.random.Generator, B: int, S: int, padding: str = "any") -> Case:
    """Rows of random lengths; their first part is the prompt (at least one token), their second the answer."""
    kind = np.zeros((B, S), np.int64)  # 0 padding, 1 prompt, 2 answer
    for b in range(B):
        length = S if padding == "none" else int(rng.integers(min(4, S), S))
        room = S - length
        start = {"left": room, "none": 0}.get(padding, (0, room, room // 2)[b % 3])
        prompt = int(rng.integers(1, max(2, length - 2)))
        kind[b, start : start + prompt], kind[b, start + prompt : start + length] = 1, 2
    return {"real": kind > 0, "answer": kind == 2}


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_mask(prefix_lm_mask: Any, case: Case) -> Record:
    """Ask for the mask of a whole batch, and of its rows one by one."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    real, answer = (torch.from_numpy(case[name].copy()) for name in ("real", "answer"))
    whole = _ask(prefix_lm_mask, real, answer)
    rows = [_ask(prefix_lm_mask, real[b : b + 1], answer[b : b + 1]) for b in range(len(real))]
    return {"mask": whole, "rows": np.concatenate(rows)}


def _ask(prefix_lm_mask: Any, real: Any, answer: Any) -> np.ndarray:
    import torch  # noqa: PLC0415

    B, S = real.shape
    given = real.clone(), answer.clone()
    mask = call("prefix_lm_mask", prefix_lm_mask, *given)
    if isinstance(mask, torch.Tensor) and mask.numel() == S * S and B > 1:
        raise NotYet("There is one mask for the whole batch.", f"Rows differ in prompt and padding. {BY_BATCH}")
    if isinstance(mask, torch.Tensor) and tuple(mask.shape) == (B, 1, S, S):
        raise NotYet("The mask has an axis for heads.", "(B, S, S) here; whoever uses it adds that axis.")
    mask = tensor(mask, "The mask", (B, S, S), BY_BATCH)
    if mask.is_floating_point() and bool((mask <= 0).all()) and bool((mask < -1).any()):
        raise NotYet("This is a mask to be added to scores: 0 and minus infinity.", "Here: bool, True for 'may look'.")
    if mask.dtype != torch.bool:
        raise NotYet(f"The mask is {mask.dtype}, expected torch.bool.", "Comparisons and &, |, ~ give bool.")
    if not (torch.equal(given[0], real) and torch.equal(given[1], answer)):
        raise NotYet("real or answer is no longer what it was after the call.", "&= and |= write into it: use & and |.")
    return mask.detach().numpy()


# --- the verdict -------------------------------------------------------------------------------------------------------


def rule(real: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Bool (B, S, S), pair by pair: the key is real, and in the prompt, or in the answer and not after an answer's query."""
    order = np.tril(np.ones(real.shape[1:] * 2, bool))
    query, key = answer[:, :, None], answer[:, None, :]
    return real[:, None, :] & (~key | (query & order))


def usual(real: np.ndarray, answer: np.ndarray) -> dict[str, np.ndarray]:
    """The usual other masks, bool (B, S, S), under the names of ``NAMES``. Rows of padded queries are not looked at."""
    S = real.shape[1]
    order, keys = np.tril(np.ones((S, S), bool))[None], real[:, None, :]
    query, key, right = answer[:, :, None], answer[:, None, :], rule(real, answer)
    counted = np.arange(S)[None] >= (real & ~answer).sum(1, keepdims=True)  # the answer, if padding were on the right
    early = np.concatenate([answer[:, 1:], answer[:, -1:]], 1)[:, None, :]
    return {
        "upside down": ~right,
        "exchanged": right.swapaxes(1, 2),
        "causal": keys & order,
        "everything": keys & np.ones_like(order),
        "free answer": keys & (~key | query),
        "wrong way round": keys & (order | query),
        "not itself": keys & (~key | (query & order & ~np.eye(S, dtype=bool))),
        "no prompt": keys & np.where(query, key & order, ~key),
        "no answer": keys & ~key & np.ones_like(order),
        "early": keys & (~early | (query & order)),
        "counted": keys & (~counted[:, None, :] | (counted[:, :, None] & order)),
        "first row": right & rule(real[:1], answer[:1]),
    }


ONLY = "answer tokens see the prompt, and answer tokens up to themselves."
NAMES = {  # of ``usual``: mistake, hint
    "upside down": ("The mask is upside down: True where looking is forbidden.", "True means 'may look' here."),
    "exchanged": ("Queries and keys are exchanged.", "mask[b, i, j]: i looks at j. Rows are queries."),
    "causal": (
        "This mask is causal everywhere: the prompt's first tokens do not see its last ones.",
        "A prompt is given whole, nothing in it is to be predicted: all of it may see all of it.",
    ),
    "everything": ("Everybody sees everything: an answer token sees the token it has to predict.", f"Only {ONLY}"),
    "free answer": ("All answer tokens see one another, also the later ones: the labels leak.", f"Only {ONLY}"),
    "wrong way round": ("It is the wrong way round: causal in the prompt, free in the answer.", f"The prompt: all. {ONLY}"),
    "not itself": ("An answer token does not see itself.", "It does: <=, not <."),
    "no prompt": ("Answer tokens do not see the prompt.", f"Rather: {ONLY}"),
    "no answer": ("Answer tokens do not see earlier answer tokens.", f"Rather: {ONLY}"),
    "early": ("The answer begins one token too early.", "Is there a < where <= belongs?"),
    "counted": (
        "The mask is right only where padding stands on the right: you count tokens from the row's start.",
        "With padding on the left the prompt begins later: use answer itself.",
    ),
    "first row": ("The first row's prompt or padding is used for all rows.", BY_BATCH),
}


def judge_mask(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the mask shows. What padding sees is free, but it must see something."""
    real, answer = case["real"], case["answer"]
    B, S = real.shape
    mask, rows = (array(record, name, (B, S, S), np.bool_) for name in ("mask", "rows"))
    right, asked = rule(real, answer), real[:, :, None]
    if not np.array_equal(mask & asked, right & asked):
        _name(mask, real, answer)
    empty = ~mask.any(2)
    if empty.any():
        raise NotYet(
            f"{int(empty.sum())} positions, all padding, see nothing: the softmax of nothing is NaN, and NaN spreads.",
            "Let every position see itself at least: | torch.eye(S, dtype=torch.bool).",
        )
    if not np.array_equal(mask & asked, rows & asked):
        raise NotYet("The mask of a row depends on the other rows of the batch.", BY_BATCH)


def _name(mask: np.ndarray, real: np.ndarray, answer: np.ndarray) -> None:
    """Raise NotYet for a mask that is wrong for real tokens."""
    asked, itself = real[:, :, None], np.eye(real.shape[1], dtype=bool)[None]
    if not np.array_equal(real, np.ones_like(real)) and (mask & asked & ~real[:, None, :]).any():
        without = mask & real[:, None, :]
        if np.array_equal(without & asked, rule(real, answer) & asked):
            raise NotYet("Padding is seen: real tokens look at padded keys.", "Nobody's key: & real[:, None, :].")
    for name, other in usual(real, answer).items():
        if any(np.array_equal(mask & asked, shown & asked) for shown in (other, other | itself)):
            raise NotYet(*NAMES[name])
    b, i, j = np.argwhere((mask != rule(real, answer)) & asked)[0]
    kind = [("padding", "the prompt", "the answer")[int(real[b, k]) + int(answer[b, k])] for k in (i, j)]
    sees = "sees" if mask[b, i, j] else "does not see"
    raise NotYet(f"In row {b}, position {i} ({kind[0]}) {sees} position {j} ({kind[1]}).", "Draw the picture of that row.")


MASK_HINTS = (("must match the size", BY_BATCH), ("Boolean value of Tensor", "No if on a tensor: write it with &, | and ~."))
PREFIX_MASK = Exercise("prefix_lm_mask", LESSON, draw_mask, probe_mask, judge_mask, MASK_HINTS)


def check_prefix_mask(prefix_lm_mask: Any, seed: int | None = None) -> Check:
    """Try a learner's ``prefix_lm_mask(real, answer)`` on random rows with padding."""
    return PREFIX_MASK.check(prefix_lm_mask, seed)

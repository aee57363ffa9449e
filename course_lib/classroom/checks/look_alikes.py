"""The check of the look-alikes exercise: which layer made these tokens, told from the tokens and the cells alone.

The judge measures too: do the tokens add up to the cells (a softmax over the tokens hands every cell out exactly once)? Are
they all the plain mean of the cells (sigmoids that begin near one half, divided by their sum)? The inputs are treacherous:
pictures with a bright mean, where all tokens look alike by any cosine, and a new softmax over the tokens, whose tokens are
nearly alike *and* add up.

Lesson: day92_rt1/1_theory, part TokenLearner.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day92_rt1/1_theory.ipynb, part TokenLearner"
NAMES = ("token learner", "tokens compete", "one average")
NEAR = 0.05  # of the cells' own spread: new sigmoids stay within 0.02, a new TokenLearner is beyond 0.1
SUMS = "tokens.sum(1) and x.sum((2, 3)) are both (B, C): compare them with torch.allclose, not with ==."
SPREAD = "Compare |token - mean cell| with |cell - mean cell|, both as root mean squares, whatever the brightness is."


def draw_look_alikes(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Each layer in three kinds of light, and the pair that tests the order of the questions; hidden ones are shuffled."""
    n = int(rng.integers(4, 7))
    size, other = ((2, 16, 5, 3, 6), (3, 32, 9, 9, 8)) if hidden else ((n, n, n, n, n), (2, 24, 4, 6, 3))
    made = [
        *(_case(rng, size, *about) for about in ((0, 3.0), (1, 2.0), (2, 0.1))),
        *(_case(rng, other, *about) for about in ((0, 1.0, 5.0), (1, 2.0, 5.0), (2, 0.1, 5.0))),
        *(_case(rng, other, *about) for about in ((0, 2.0, 0.0, 0.01), (2, 0.1, 0.0, 100.0), (1, 0.02))),
    ]
    return [made[i] for i in rng.permutation(len(made))] if hidden else made


def _case(
    rng: np.random.Generator, size: tuple[int, ...], layer: int, sharp: float, bright: float = 0.0, contrast: float = 1.0
) -> Case:
    """Cells around ``bright``, and the tokens of one layer whose scores differ by ``sharp`` from place to place."""
    B, C, H, W, K = size
    cells = contrast * rng.normal(bright, 1, (B, H * W, C))
    scores = sharp * rng.normal(size=(B, H * W, K))
    if layer == 2:
        maps = 1 / (1 + np.exp(-scores))
        maps /= maps.sum(1, keepdims=True)
    else:
        maps = np.exp(scores) / np.exp(scores).sum(1 + layer, keepdims=True)
    x = cells.swapaxes(1, 2).reshape(B, C, H, W)
    return {"x": x.astype(np.float32), "tokens": np.einsum("bsk,bsc->bkc", maps, cells).astype(np.float32)}


def probe_look_alikes(which_layer: Any, case: Case) -> Record:
    """What ``which_layer(x, tokens)`` says, as a number; and what it says where no rounding can happen."""
    x, tokens = case["x"], case["tokens"]
    whole = np.round(8 * x / np.abs(x).max())  # whole numbers, and every token the same part of their sum
    shared = np.repeat(whole.sum((2, 3))[:, None] * 2.0**-5, 32, 1).astype(np.float32)
    return {"answer": _ask(which_layer, x, tokens), "exact": _ask(which_layer, whole.astype(np.float32), shared)}


def _ask(which_layer: Any, x: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    answer = call("which_layer", which_layer, torch.from_numpy(x.copy()), torch.from_numpy(tokens.copy()))
    if not isinstance(answer, str) or answer not in NAMES:
        raise NotYet(f"The answer should be one of {', '.join(map(repr, NAMES))}, got {answer!r:.60}.")
    return np.array(NAMES.index(answer))


def judge_look_alikes(case: Case, record: Record) -> None:
    """Raise ``NotYet`` unless the answer is what the judge's own measurements say."""
    x, tokens = case["x"].astype(np.float64), case["tokens"].astype(np.float64)
    cells = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    spread = np.sqrt(((cells - cells.mean(1, keepdims=True)) ** 2).mean())
    apart = np.sqrt(((tokens - cells.mean(1, keepdims=True)) ** 2).mean()) / spread
    adds_up = np.abs(tokens.sum(1) - cells.sum(1)).max() < 1e-3 * np.abs(cells).sum(1).max()
    right = 1 if adds_up else 2 if apart < NEAR else 0
    got, exact = (int(array(record, name, (), np.int64)) for name in ("answer", "exact"))
    if got != right:
        light = "flat " if spread < 0.1 else "glaring " if spread > 10 else "bright " if abs(cells.mean()) > spread else ""
        raise NotYet(*_mistake(right, got, exact, f"{light}picture", float(apart)))


def _mistake(right: int, got: int, exact: int, picture: str, apart: float) -> tuple[str, str]:
    """What to say, and a hint."""
    said = f'You said "{NAMES[got]}"'
    if right == 1 and got == 2:
        return f"{said}; these tokens are nearly alike, but they also add up to all cells.", f"Ask first who adds up. {SUMS}"
    if right == 1 and exact == 1:
        return f"{said} of tokens that add up to the cells but for rounding: sums of floats are rarely equal by ==.", SUMS
    if right == 1:
        return f"{said} of tokens that add up to the sum of all cells: they compete.", SUMS
    if got == 1:
        return f"{said} of tokens that do not add up to the cells.", SUMS
    where = {
        "bright picture": "In a bright picture all means look alike: take the brightness off before you compare. ",
        "flat picture": "A picture with little contrast has small differences everywhere: compare with the cells' own. ",
        "glaring picture": "A picture with much contrast has large differences everywhere: compare with the cells' own. ",
    }.get(picture, "")
    if right == 2:
        return f"{said} of tokens that are all the plain mean of a {picture}'s cells ({apart:.1%} of their spread apart).", (
            f"{where}{SPREAD}"
        )
    return f"{said} of tokens that lie {apart:.0%} of the cells' spread from the mean of a {picture}.", f"{where}{SPREAD}"


HINTS = (
    (
        "must match the size",
        "x is (B, C, H, W), tokens (B, K, C): x.flatten(2).transpose(1, 2) gives the cells (B, H*W, C).",
    ),
    ("Boolean value of Tensor", "torch.allclose gives one True or False for all of a tensor."),
)
LOOK_ALIKES = Exercise("which_layer", LESSON, draw_look_alikes, probe_look_alikes, judge_look_alikes, HINTS)


def check_look_alikes(which_layer: Any, seed: int | None = None) -> Check:
    """Try a learner's ``which_layer(x, tokens)`` on tokens of three layers and name the first mistake, if any."""
    return LOOK_ALIKES.check(which_layer, seed)

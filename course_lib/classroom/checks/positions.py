"""The check of the mask exercise: RT-1's positions, who of them may look at whom, and where the action's logits are read.

The oracle counts: position p is number p % (K + A) of its step, image when that is below K. Sizes are treacherous: as many
image tokens as action tokens, as many steps as either, one of each.

Lesson: day92_rt1/2_implementation.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array
from course_lib.classroom.checks.functions import call
from course_lib.classroom.checks.slips import Slip, parts

LESSON = "notebooks/day92_rt1/1_theory.ipynb, and 2_implementation.ipynb, part The mask"
NAMES = ("mask", "read")
ROWS = "mask[i, j]: may position i look at position j? Row i is the one who looks."
RULES = "See the small drawing in the exercise: 2 image and 2 action positions, two steps."
ORDER = "Position p is number p % (K + A) of its step: an image token when that is below K, an action token otherwise."
EARLY = "Action number k of a step is predicted by the position before its own, so number 0 by the step's last image token."


def draw_positions(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Sizes (T, K, A): RT-1's own, all equal, all different, and the smallest."""
    n, several = int(rng.integers(3, 6)), rng.permutation([3, 4, 5])
    if hidden:
        sizes = [(6, 8, 11), (1, n, n), (n, 1, 1), (2, n, n + 2), (n, n + 1, 2)]
    else:
        sizes = [tuple(map(int, several)), (n, n, n), (2, 2, 2), (6, 8, 11)]
    return [{"sizes": np.array(size)} for size in sizes]


def probe_positions(positions: Any, case: Case) -> Record:
    """What ``positions(T, K, A)`` returns: the mask as numbers, and the read positions in order."""
    T, K, A = map(int, case["sizes"])
    mask, read = parts(call("positions", positions, T, K, A), NAMES)
    S = T * (K + A)
    mask, read = _plain(mask, "mask"), _plain(read, "read")
    if mask.shape != (S, S):
        raise NotYet(f"For {T} steps of {K} + {A} positions the mask should be ({S}, {S}), got {mask.shape}.", ORDER)
    if read.size != T * A:
        raise NotYet(f"There should be {A} read positions for each of {T} steps, {T * A} together, got {read.size}.", EARLY)
    if not np.array_equal(read, np.round(read)):
        raise NotYet("Read positions are whole numbers: they index the sequence.", "Is there a / where you meant //?")
    return {"mask": mask, "read": read.reshape(T, A).astype(np.int64)}


def _plain(value: Any, what: str) -> np.ndarray:
    """A tensor, array or list of numbers or bools, as float32. Raises NotYet for anything else."""
    if value is None:
        raise NotYet(f"{what} is None.", f"return {', '.join(NAMES)}")
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(list(value) if isinstance(value, range) else value).astype(np.float32)
    except (TypeError, ValueError):
        raise NotYet(f"{what} should be a tensor, got a {type(value).__name__}.", f"return {', '.join(NAMES)}") from None


def judge_positions(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    T, K, A = map(int, case["sizes"])
    S = T * (K + A)
    mask = array(record, "mask", (S, S))
    if np.isneginf(mask).any() or (mask < -100).any():
        raise NotYet(
            "This mask is made to be added to the scores (0 and -infinity).",
            "Make it bool: True where i may look at j.",
        )
    if not np.isin(mask, (0, 1)).all():
        raise NotYet("A mask has two kinds of entries, True and False.", ROWS)
    _judge_mask(mask.astype(bool), T, K, A)
    read = array(record, "read", (T, A), np.int64)
    right = np.arange(T)[:, None] * (K + A) + K - 1 + np.arange(A)
    _name(read, right, _read_slips(right, T, K, A))
    for step, k in np.argwhere(read != right):
        raise NotYet(
            f"Action number {k} of step {step} should be read at position {right[step, k]}, got {read[step, k]}.", EARLY
        )


def _name(got: np.ndarray, right: np.ndarray, slips: Iterator[Slip]) -> None:
    """Raise NotYet with the first slip that gives the same as ``got``, unless that is right."""
    if np.array_equal(got, right):
        return
    for slip in slips:
        if np.array_equal(slip.value, got):
            raise NotYet(slip.mistake, slip.hint)


def _judge_mask(mask: np.ndarray, T: int, K: int, A: int) -> None:
    S = len(mask)
    place = np.arange(S) % (K + A)
    action, back = place >= K, np.tri(S, dtype=bool)
    right = back & ~np.logical_and.outer(action, action)
    _name(mask, right, _mask_slips(right, action, T, K, A))
    if np.array_equal(mask, right):
        return
    i, j = np.argwhere(mask != right)[0]
    kind = [f"{'action' if action[p] else 'image'} position {p}" for p in (i, j)]
    verb = "may not look at" if mask[i, j] else "should be allowed to look at"
    raise NotYet(f"With (T, K, A) = ({T}, {K}, {A}), {kind[0]} {verb} {kind[1]}.", f"{ROWS} {RULES}")


def _mask_slips(right: np.ndarray, action: np.ndarray, T: int, K: int, A: int) -> Iterator[Slip]:
    """What the usual mistakes give."""
    S = len(right)
    back, step = np.tri(S, dtype=bool), np.arange(S) // (K + A)
    pairs = np.logical_and.outer(action, action)
    same_step = np.equal.outer(step, step)
    earlier = np.greater.outer(step, step)
    first = np.arange(S) % (K + A) < A  # as if the action tokens came first
    apart = np.arange(S) >= T * K  # as if all image tokens of all steps came first
    yield Slip(right.T, "Rows and columns are exchanged: who looks and who is looked at.", ROWS)
    yield Slip(~right, "True and False are exchanged: True should mean 'may look'.", ROWS)
    yield Slip(back, "This is the plain causal mask: your mask lets an action see actions, earlier ones and itself.", RULES)
    yield Slip(np.ones((S, S), bool), "Everybody may look at everybody: the future too.", RULES)
    yield Slip(~pairs, "Nobody is kept from looking ahead.", "A position may look at itself and at what came before.")
    yield Slip(back & (~pairs | np.eye(S, dtype=bool)), "Action positions may look at themselves.",
               "An action position looks at no action position, not even itself.")  # fmt: skip
    yield Slip(back & ~(pairs & same_step), "Action positions may look at the actions of earlier steps.", RULES)
    yield Slip(back & ~(pairs & ~same_step), "Action positions may look at the actions of their own step.", RULES)
    yield Slip(
        right & ~np.eye(S, dtype=bool), "Image positions may not look at themselves.", "What came before, and itself."
    )
    yield Slip(right & ~action, "Image positions may not look at past action positions.",
               "The JAX code of RT-1-X has it so; in RT-1's release a later image may look at past actions.")  # fmt: skip
    yield Slip(
        back & ~action[:, None], "Action positions look at nothing at all.", "They look at all images up to their own."
    )
    yield Slip((earlier | same_step) & ~pairs, "Within a step, image tokens may look ahead.",
               "RT-1 is causal inside a frame too: image token 0 sees only itself, token 1 two of them, ...")  # fmt: skip
    yield Slip(right & same_step, "No step may look at the steps before it: the history is lost.", RULES)
    yield Slip(
        (earlier | np.eye(S, dtype=bool)) & ~pairs, "Action positions may not look at the images of their own step.", RULES
    )
    for kind, words in ((first, "the action tokens first"), (apart, "all image tokens of all steps first")):
        yield Slip(back & ~np.logical_and.outer(kind, kind), f"The positions are ordered with {words}.", ORDER)
    images = np.arange(S) % (K + A) <= K
    yield Slip(
        back & ~np.logical_and.outer(~images, ~images), "The first action token of each step counts as an image.", ORDER
    )


def _read_slips(right: np.ndarray, T: int, K: int, A: int) -> Iterator[Slip]:
    steps, k = np.arange(T)[:, None], np.arange(A)
    yield Slip(right + 1, "The logits are read at the action positions themselves: one position late.", EARLY)
    yield Slip(right - 1, "The logits are read one position too early.", EARLY)
    yield Slip(right - K + 1, "The logits are read from the beginning of each step, where the image tokens are.", EARLY)
    yield Slip(np.broadcast_to(right[:1], right.shape), "Every step is read at the positions of the first one.", ORDER)
    yield Slip(steps * K + K - 1 + k, "A step has K + A positions, not K.", ORDER)
    yield Slip(steps * A + K - 1 + k, "A step has K + A positions, not A.", ORDER)
    yield Slip(
        T * K - 1 + steps * A + k, "The steps follow one another: K image and A action tokens, then the next step.", ORDER
    )
    yield Slip(right.T.reshape(T, A), "The read positions are in another order.", "Row t holds those of step t, in order.")
    yield Slip(
        np.broadcast_to(steps * (K + A) + K - 1, right.shape), "All numbers of an action are read at one position.", EARLY
    )
    yield Slip(right[::-1], "The steps are in reverse order: row 0 is the oldest step.")
    yield Slip(right + 2, "The logits are read two positions late, as if counted from 1.", EARLY)


HINTS = (
    ("must match the size|could not be broadcast", ORDER),
    ("positional argument", "positions(T, K, A) returns two things: mask, read."),
)
POSITIONS = Exercise("positions", LESSON, draw_positions, probe_positions, judge_positions, HINTS)


def check_positions(positions: Any, seed: int | None = None) -> Check:
    """Try a learner's ``positions(T, K, A)`` on several sizes and name the first mistake, if any."""
    return POSITIONS.check(positions, seed)

"""What checks of analyses share: numbers out of a learner's answer, and the slip that a wrong number betrays.

An analysis ends in numbers, so its check can work backwards: it computes what the usual slips would give, by arithmetic on
the inputs, and names the one that fits. ``plain`` runs beside the learner's code; ``seen`` and ``name_slip`` judge.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from course_lib.classroom.checks.base import NotYet, Record
from course_lib.classroom.checks.evidence import finite

CLOSE = 1e-3  # relative; answers may be computed in float32


class Slip(NamedTuple):
    """A known mistake: what it would give, its name, and a hint."""

    value: Any
    mistake: str
    hint: str = ""


def parts(answer: Any, names: tuple[str, ...]) -> list[Any]:
    """The parts of an answer that is several things in this order. Raises NotYet when it is not."""
    expected = f"Expected {len(names)} things in this order: {', '.join(names)}"
    if answer is None:
        raise NotYet("Nothing was returned.", "Is a return missing?")
    if isinstance(answer, dict):
        raise NotYet(f"{expected}; got a dictionary.", f"return {', '.join(names)}")
    try:
        found = list(answer)
    except TypeError:
        raise NotYet(f"{expected}; got one {type(answer).__name__}.", f"return {', '.join(names)}") from None
    if len(found) != len(names):
        raise NotYet(f"{expected}; got {len(found)} of them.", f"return {', '.join(names)}")
    return found


def plain(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A number, list, array or tensor as float32 of this shape. Raises NotYet for anything else; NaN stays."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotYet(f"{what} should be {_words(shape)}, got a {type(value).__name__}.") from None
    if found.size == 1 and not shape:
        found = found.reshape(())
    if found.shape != shape:
        raise NotYet(f"{what} should be {_words(shape)}, got the shape {found.shape}.")
    return found.astype(np.float32)


def _words(shape: tuple[int, ...]) -> str:
    return f"numbers of the shape {shape}" if shape else "one number"


def seen(record: Record, name: str, shape: tuple[int, ...] = ()) -> np.ndarray:
    """``evidence.finite``, with the usual reason."""
    zero = "Is there a division by zero, or a logarithm of zero? In an entropy, 0 log 0 counts as 0."
    return finite(record, name, shape, f"{name} has", zero)


def close(a: Any, b: Any, tolerance: float = CLOSE) -> bool:
    """Equal but for rounding, relative to the largest number; arrays of another shape are not."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.isfinite(b).all():
        return False
    return bool(np.abs(a - b).max(initial=0) <= tolerance * max(np.abs(b).max(initial=0), 1e-12))


def name_slip(what: str, got: Any, right: Any, slips: Iterable[Slip], hint: str = "") -> None:
    """Raise NotYet unless ``got`` is right: with the first slip that would give the same, else with both numbers."""
    got, right = np.asarray(got), np.asarray(right)
    if close(got, right):
        return
    for slip in slips:
        if close(got, slip.value) and not close(slip.value, right):
            raise NotYet(slip.mistake, slip.hint)
    worst = np.unravel_index(np.argmax(np.abs(got - right)), got.shape)
    place = f" of number {worst[0]}" if got.ndim else ""
    raise NotYet(f"{what}{place} should be {right[worst]:.4g}, got {got[worst]:.4g}.", hint)

"""What checks of functions share: a learner's result as numbers or tensor, and a stranger's array as evidence.

``number``, ``numbers`` and ``tensor`` run beside the learner's code and may say no. ``array`` and ``same`` are for the
judge, which needs NumPy only. See also ``functions``, which calls.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import NotYet, Record


def number(value: Any, name: str, hint: str = "") -> float:
    """A learner's result as one number: float, NumPy scalar or a tensor without axes. Else ``NotYet``."""
    if value is None:
        raise NotYet(f"{name} returns nothing.", "Is a return missing?")
    if isinstance(value, (bool, str)):
        raise NotYet(f"{name} should be one number, got {value!r:.60}.", hint)
    if getattr(value, "ndim", 0) != 0:
        shape = tuple(value.shape)
        raise NotYet(f"{name} should be one number, got {int(np.prod(shape))} of them (shape {shape}).", hint)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise NotYet(f"{name} should be one number, got a {type(value).__name__}.", hint) from None


def numbers(value: Any, name: str, count: int, hint: str = "") -> np.ndarray:
    """A learner's tuple, list or array of ``count`` numbers as float32 (count,). Else ``NotYet``."""
    if value is None:
        raise NotYet(f"{name} returns nothing.", "Is a return missing?")
    if isinstance(value, (str, dict, set)) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise NotYet(f"{name} should return {count} numbers, got a {type(value).__name__}.", hint)
    if len(value) != count:
        raise NotYet(f"{name} should return {count} numbers, got {len(value)}.", hint)
    return np.array([number(value[i], f"Number {i + 1} of {name}", hint) for i in range(count)], np.float32)


def tensor(value: Any, name: str, shape: Sequence[int], hint: str = "") -> Any:
    """A learner's result, which must be a tensor of this shape. Else ``NotYet``."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    if value is None:
        raise NotYet(f"{name} returns nothing.", "Is a return missing?")
    if not isinstance(value, torch.Tensor):
        raise NotYet(f"{name} should be a tensor, got a {type(value).__name__}.", hint)
    if tuple(value.shape) != tuple(shape):
        raise NotYet(f"{name} should have the shape {tuple(shape)}, got {tuple(value.shape)}.", hint)
    return value


def array(record: Record, name: str, shape: tuple[int, ...], kind: type = np.float32) -> np.ndarray:
    """The door for evidence, which may come from a stranger: there, of the right shape and type; floats as float64.

    Finite or not is for the judge to say.
    """
    value = record.get(name)
    if value is None or value.shape != shape or value.dtype != kind:
        raise NotYet(f"No usable output of the experiment {name!r} came back.")
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def finite(record: Record, name: str, shape: tuple[int, ...], what: str, hint: str = "") -> np.ndarray:
    """``array`` of floats without NaN and infinities; ``what`` names them to the learner."""
    value = array(record, name, shape)
    if not np.isfinite(value).all():
        raise NotYet(f"{what} NaN or infinite numbers.", hint or "Is there a division, a logarithm or an exponential?")
    return value


def same(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Equal up to ``tolerance`` of the largest number of ``b``; never for NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return bool(np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=1e-12))

"""What rooms say to each other: Observation, Policy, Trainable, and the axis legend.

Axis letters, the same in every file and notebook:

    B batch      T history (frames)     N tables (parallel worlds)    H W image rows, columns
    C channels   K learned tokens       D width of a token            S sequence positions
    A action dimensions                 V bins of an action token     Z width of an instruction

``learn`` and ``measure`` know only these three types, so every policy of the course (RT-1, RT-2, the scripted
experts, a student's own) trains and drives the robot through the same few lines.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np
import torch
from torch import Tensor


class Observation(TypedDict):
    """What a policy sees at one control step.

    ``image``: uint8 ``(H, W, 3)``, red-green-blue, 0 to 255; batched ``(N, H, W, 3)``.
    ``instruction``: a sentence, or its embedding float32 ``(Z,)``; batched: a list of N sentences or ``(N, Z)``.
    """

    image: np.ndarray | Tensor
    instruction: str | list[str] | np.ndarray | Tensor


@runtime_checkable
class Policy(Protocol):
    """Something that drives the robot: one action for one observation, with a memory that ``reset`` clears."""

    def act(self, observation: Observation) -> np.ndarray:
        """Return float32 ``(A,)`` in the order and units of the ActionSpace, or ``(N, A)`` for N tables."""
        ...

    def reset(self) -> None:
        """Forget the history. Call at the start of each episode."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """Something that learns: the mean loss of a batch, a scalar with a gradient."""

    def loss(self, batch: Mapping[str, Any]) -> Tensor: ...


def check_image(image: np.ndarray | Tensor, height: int, width: int) -> Tensor:
    """The door for pictures: uint8 ``(..., H, W, 3)`` of the size the policy was built for.

    Returns the same numbers as a torch tensor. Raises ValueError that says expected, got, try.
    """
    want = f"Expected an image of uint8 numbers 0 to 255 with shape (..., {height}, {width}, 3)"
    shape, dtype = tuple(image.shape), str(image.dtype)
    got = f"got {dtype} with shape {shape}"
    if len(shape) >= 3 and shape[-1] != 3 and shape[-3] == 3:
        raise ValueError(f"{want}; {got}: channels come first. Try np.moveaxis(image, -3, -1).")
    if len(shape) < 3 or shape[-1] != 3:
        raise ValueError(f"{want}; {got}. Try a red-green-blue picture with the colours on the last axis.")
    if not dtype.endswith("uint8"):
        low, high = float(image.min()), float(image.max())
        hint = "(255 * image).round().astype(np.uint8)" if high <= 1.0 else "image.astype(np.uint8)"
        raise ValueError(f"{want}; {got} and values from {low:.3g} to {high:.3g}. Try {hint}.")
    if shape[-3:-1] != (height, width):
        raise ValueError(f"{want}; {got}. Try rendering at {height}x{width}, or resize the picture first.")
    return torch.as_tensor(image)

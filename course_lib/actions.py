"""Actions as tokens: the robot's action space, its 256 bins, RT-1's token ids.

RT-1 turns each number of an action into one of 256 levels: clip to the range, scale to 0 ... 255, make an integer
(``action_tokenizer.py`` of google-research/robotics_transformer). Its release *truncates* (``rounding="floor"``),
which loses up to a whole step and always to the same side; ``rounding="nearest"`` halves the error and is our default
for our own robot. Lesson: day92_rt1/2_implementation.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ActionDim:
    """One number of an action: its range and unit, or its classes."""

    name: str
    low: float | int
    high: float | int
    unit: str = ""
    classes: tuple[str, ...] = ()  # names of the classes; empty for a continuous number


@dataclass(frozen=True)
class ActionSpace:
    """The numbers of an action, in order. An action is float32 ``(A,)`` in these units; a class is its index."""

    dims: tuple[ActionDim, ...]

    @classmethod
    def official(cls) -> "ActionSpace":
        """RT-1's released 11 tokens (ranges: ``policy_specs.pbtxt``; order: the Open X-Embodiment JAX port)."""
        modes = ActionDim("terminate_episode", 0, 2, "", ("terminate", "arm", "base"))
        arm = [ActionDim(f"world_vector_{axis}", -1, 1, "m") for axis in "xyz"]
        turn = [ActionDim(f"rotation_delta_{axis}", -math.pi / 2, math.pi / 2, "rad") for axis in ("roll", "pitch", "yaw")]
        gripper = ActionDim("gripper_closedness_action", -1, 1)
        spin = ActionDim("base_displacement_vertical_rotation", -math.pi, math.pi, "rad")
        base = [ActionDim(f"base_displacement_{axis}", -1, 1, "m") for axis in "xy"]
        return cls((modes, *arm, *turn, gripper, spin, *base))

    @classmethod
    def workbook(cls) -> "ActionSpace":
        """The course's simulated robot: 11 numbers with small ranges (these are NOT RT-1's ranges)."""
        arm = [ActionDim(f"arm_{axis}", -0.05, 0.05, "m") for axis in "xyz"]
        turn = [ActionDim(name, -math.pi / 4, math.pi / 4, "rad") for name in ("roll", "pitch", "yaw")]
        gripper = ActionDim("gripper", -1, 1)  # -1 opens, +1 closes, as RT-1's
        base = [ActionDim(f"base_{axis}", -0.05, 0.05, "m") for axis in "xy"]
        spin = ActionDim("base_yaw", -math.pi / 4, math.pi / 4, "rad")
        stop = ActionDim("terminate", 0, 1, "", ("continue", "stop"))
        return cls((*arm, *turn, gripper, *base, spin, stop))

    def __len__(self) -> int:
        return len(self.dims)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dim.name for dim in self.dims)

    @property
    def low(self) -> np.ndarray:
        """float32 ``(A,)``."""
        return np.array([dim.low for dim in self.dims], np.float32)

    @property
    def high(self) -> np.ndarray:
        """float32 ``(A,)``."""
        return np.array([dim.high for dim in self.dims], np.float32)

    def index(self, name: str) -> int:
        """The place of ``name`` in an action."""
        if name not in self.names:
            raise ValueError(f"No action dimension is called {name!r}. There are {', '.join(self.names)}.")
        return self.names.index(name)

    def check(self, action: np.ndarray | Tensor) -> Float[Tensor, "*batch A"]:
        """The door for actions: float32 ``(..., A)`` without NaN, classes whole and in range. Infinities are left in.

        Raises ValueError that says expected, got, try.
        """
        action = torch.as_tensor(action, dtype=torch.float32)
        if action.ndim == 0 or action.shape[-1] != len(self):
            raise ValueError(
                f"An action here is {len(self)} numbers {self.names}, but the last axis of `action` has "
                f"{action.shape[-1] if action.ndim else 'no entries'} (shape {tuple(action.shape)}). One per name, "
                "in this order."
            )
        if torch.isnan(action).any():
            bad = sorted({self.names[i] for i in torch.isnan(action).nonzero()[:, -1].tolist()})
            raise ValueError(
                f"An action must be numbers, but {', '.join(bad)} is NaN (not a number). "
                "A NaN usually comes from 0/0 or a diverged training: look at the policy's output before this point."
            )
        for i, dim in enumerate(self.dims):
            value = action[..., i]
            if dim.classes and not ((value == value.round()) & (value >= 0) & (value < len(dim.classes))).all():
                choices = ", ".join(f"{k} = {name}" for k, name in enumerate(dim.classes))
                raise ValueError(f"{dim.name} is a class ({choices}), got {value.flatten().unique()[:5].tolist()}.")
        return action


class ActionTokenizer:
    """Actions to integer tokens and back, ``bins`` levels per number, both directions in one object.

    ``rounding="floor"`` is RT-1's release: error up to 1 step and -1/2 step on average, zero is not representable,
    the last level is reached by the exact maximum only. ``"nearest"``: up to 1/2 step, no bias.
    A class is its own token; a token beyond the classes decodes to class 0, as in the release.
    """

    def __init__(self, space: ActionSpace, bins: int = 256, rounding: str = "nearest"):
        if rounding not in ("nearest", "floor"):
            raise ValueError(f'rounding is "nearest" or "floor" (RT-1\'s release), got {rounding!r}.')
        most = max((len(dim.classes) for dim in space.dims), default=0)
        if bins < max(2, most):
            raise ValueError(f"bins must be at least {max(2, most)} for this action space, got {bins}.")
        self.space, self.bins, self.rounding = space, bins, rounding
        self._low, self._high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        self._classes = torch.tensor([len(dim.classes) for dim in space.dims])  # 0: continuous

    @property
    def step(self) -> np.ndarray:
        """Distance of two neighbouring levels, float32 ``(A,)``, in each dimension's unit (0 for classes)."""
        width = (self.space.high - self.space.low) / np.float32(self.bins - 1)
        return np.where(self._classes.numpy() > 0, np.float32(0), width)

    def encode(self, action: np.ndarray | Tensor) -> Int[Tensor, "*batch A"]:
        """Tokens 0 ... bins - 1. Values outside the range (also infinite ones) are clipped; NaN raises ValueError."""
        action = self.space.check(action)
        low, high = self._low.to(action.device), self._high.to(action.device)
        level = (action.clamp(low, high) - low) / (high - low) * (self.bins - 1)  # float32, as the release computes it
        level = level.floor() if self.rounding == "floor" else level.round()
        return torch.where(self._classes.to(action.device) > 0, action.nan_to_num(), level).long()

    def decode(self, tokens: np.ndarray | Tensor) -> Float[Tensor, "*batch A"]:
        """float32 actions (..., A) from integer tokens (..., A). Raises ValueError for tokens outside 0 ... bins - 1."""
        tokens = torch.as_tensor(tokens)
        if tokens.shape[-1] != len(self.space) or tokens.is_floating_point():
            raise ValueError(f"Expected integer tokens (..., {len(self.space)}), got {tokens.dtype} {tuple(tokens.shape)}.")
        if ((tokens < 0) | (tokens >= self.bins)).any():
            raise ValueError(f"Tokens are 0 ... {self.bins - 1}, got {int(tokens.min())} ... {int(tokens.max())}.")
        low, high, classes = (x.to(tokens.device) for x in (self._low, self._high, self._classes))
        value = tokens.float() / (self.bins - 1) * (high - low) + low
        chosen = torch.where(tokens < classes, tokens, 0).float()
        return torch.where(classes > 0, chosen, value)

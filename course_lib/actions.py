"""Actions as tokens: the robot's action space, its 256 bins, RT-1's token ids, RT-2's strings of numbers.

RT-1 turns each number of an action into one of 256 levels: clip to the range, scale to 0 ... 255, make an integer
(``action_tokenizer.py`` of google-research/robotics_transformer). Its release *truncates* (``rounding="floor"``),
which loses up to a whole step and always to the same side; ``rounding="nearest"`` halves the error and is our default
for our own robot. RT-2 writes the same 256 levels as text (``ActionText``); which tokens of a language model stand for
them is ``ActionVocabulary``. Lessons: day92_rt1/2_implementation, day93_rt2/2_implementation.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.action_vocabulary import ActionVocabulary, least_used
from course_lib.configs import build

__all__ = ["ActionDim", "ActionSpace", "ActionText", "ActionTokenizer", "ActionVocabulary", "least_used"]


NAMED = ("official", "workbook", "rt2")  # the spaces that ActionSpace has by name


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

    @classmethod
    def rt2(cls) -> "ActionSpace":
        """RT-2's 8 numbers: terminate first, the gripper last, no base. Ranges are those of RT-1's tokenizer.

        RT-2 prints no ranges; the motions recorded in its project page's demos fit RT-1's and nothing narrower. Its
        examples begin with 1, so 1 is "continue", as in RT-1 where 0 terminates and 1 moves the arm.
        """
        stop = ActionDim("terminate", 0, 1, "", ("terminate", "continue"))
        move = [ActionDim(f"position_{axis}", -1, 1, "m") for axis in "xyz"]
        turn = [ActionDim(f"rotation_{axis}", -math.pi / 2, math.pi / 2, "rad") for axis in "xyz"]
        return cls((stop, *move, *turn, ActionDim("gripper_extension", -1, 1)))

    @classmethod
    def from_plain(cls, plain: "str | Sequence | ActionSpace") -> "ActionSpace":
        """A space from its name ("official", "workbook", "rt2") or from what ``to_plain`` wrote; a space stays as it is."""
        if isinstance(plain, cls):
            return plain
        if isinstance(plain, str):
            if plain not in NAMED:
                raise ValueError(f"action_space is {' or '.join(map(repr, NAMED))} or an ActionSpace, got {plain!r}.")
            return getattr(cls, plain)()
        return cls(tuple(build(ActionDim, {**dim, "classes": tuple(dim.get("classes", ()))}) for dim in plain))

    def to_plain(self) -> str | list[dict]:
        """The name of a known space, or its dimensions: what a checkpoint keeps as JSON."""
        known = (name for name in NAMED if getattr(ActionSpace, name)() == self)
        return next(known, [asdict(dim) | {"classes": list(dim.classes)} for dim in self.dims])

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


class ActionText:
    """Actions as RT-2 writes them: whole numbers with spaces between, "1 128 124 136 121 158 111 255".

    The number of ``terminate`` comes first, the others follow in the space's order. ``without`` leaves dimensions out
    (RT-2 drops the base): they must rest, and come back as 0. In our own space of 11 numbers
    ``without=("base_x", "base_y", "base_yaw")`` gives RT-2's 8.
    """

    def __init__(self, space: ActionSpace, bins: int = 256, *, rounding: str = "nearest", without: Sequence[str] = ()):
        self.space, self.tokenizer = space, ActionTokenizer(space, bins, rounding)
        left_out = {space.index(name) for name in without}
        kept = [i for i in range(len(space)) if i not in left_out]
        self.order = sorted(kept, key=lambda i: not space.names[i].startswith("terminate"))  # stable: the rest stay in order
        self.left_out = sorted(left_out)
        if not kept:
            raise ValueError("An action needs at least one number; `without` names all of them.")

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are, in the order of the text."""
        return tuple(self.space.names[i] for i in self.order)

    @property
    def counts(self) -> list[int]:
        """Legal levels of each number: the classes of a class, else all bins."""
        return [len(self.space.dims[i].classes) or self.tokenizer.bins for i in self.order]

    def levels(self, action: np.ndarray | Tensor) -> Int[Tensor, "*batch N"]:
        """The numbers of the text, as integers. Raises ValueError for NaN, a wrong size and a left-out number that moves."""
        action = self.space.check(action)
        for i in self.left_out:
            if (action[..., i].abs() > self.tokenizer.step[i] / 2).any():
                worst = float(action[..., i].abs().max())
                raise ValueError(f"{self.space.names[i]} moves by {worst:.3g}, but this text leaves it out: it must be 0.")
        return self.tokenizer.encode(action)[..., self.order]

    def action(self, levels: np.ndarray | Tensor) -> Float[Tensor, "*batch A"]:
        """float32 actions (..., A) from the integers of the text (..., N)."""
        levels = torch.as_tensor(levels)
        if levels.shape[-1] != len(self.order):
            raise ValueError(f"Expected {len(self.order)} numbers {self.names}, got {levels.shape[-1]}.")
        tokens = levels.new_zeros((*levels.shape[:-1], len(self.space)))
        tokens[..., self.order] = levels
        action = self.tokenizer.decode(tokens)
        action[..., self.left_out] = 0.0
        return action

    def encode(self, action: np.ndarray | Tensor) -> str | list[str]:
        """The text of an action (A,), or the texts of N actions (N, A)."""
        levels = self.levels(action).tolist()
        return (
            " ".join(map(str, levels)) if levels and isinstance(levels[0], int) else [" ".join(map(str, n)) for n in levels]
        )

    def decode(self, text: str | Sequence[str]) -> Float[Tensor, "*batch A"]:
        """The action of a text, or of several. Raises ValueError that says which number is wrong and why."""
        if isinstance(text, str):
            return self.action(torch.tensor(self._read(text)))
        return torch.stack([self.decode(one) for one in text])

    def _read(self, text: str) -> list[int]:
        words = text.split()
        for place, (word, name, count) in enumerate(zip(words, self.names, self.counts, strict=False), 1):
            if not re.fullmatch(r"[0-9]+", word) or int(word) >= count:
                expected = f"a whole number 0 ... {count - 1}"
                raise ValueError(f"Number {place} of {text!r} ({name}) must be {expected}, got {word!r}.")
        if len(words) != len(self.order):
            raise ValueError(f"Expected {len(self.order)} numbers {self.names}, got {len(words)} in {text!r}.")
        return [int(word) for word in words]

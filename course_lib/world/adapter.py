"""Any Gymnasium environment with pictures and Box actions as a world of the course.

The course's policies see ``{"image", "instruction"}`` and act in an ``ActionSpace``; its rollouts read ``info["success"]``.
``ImageWorld`` gives an environment these three things, and nothing else about it changes:

    make = lambda: gymnasium.make("Pendulum-v1", render_mode="rgb_array")
    world = ImageWorld(make(), "hold the pole upright", lambda observation, reward, info: observation[0] > 0.95)
    worlds = ImageWorld.vector(make, 8, "hold the pole upright", ...)  # for ``rollout``
"""

import string
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Text
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import SyncVectorEnv
from PIL import Image

from course_lib.actions import ActionDim, ActionSpace

Success = Callable[[Any, float, dict[str, Any]], Any]  # (observation, reward, info) of the environment -> done?


class ImageWorld(gymnasium.Wrapper, RecordConstructorArgs):
    """``env`` with picture and instruction as observation, an ActionSpace as actions, and ``success`` in ``info``.

    ``instruction``: what the policy hears. ``success(observation, reward, info)``: whether the task is done, from what
    the environment itself says; asked after each step. ``image``: where the picture is: a key of a dictionary
    observation; None for the observation itself, if it is a picture, else for ``env.render()``. It is resized to
    ``size`` x ``size`` (the aspect ratio is not kept, as in RT-1).
    ``space``: the action space of your policy; None for the environment's own numbers and ranges. With a ``space``,
    ``dims`` names for each number of the environment the one of ``space`` that drives it, stretched from range to range;
    the others do nothing, except a class "stop" or "terminate", which ends the episode.
    Actions beyond the range are clipped; NaN and a wrong shape raise ValueError.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        instruction: str,
        success: Success,
        *,
        image: str | None = None,
        size: int = 64,
        space: ActionSpace | None = None,
        dims: Sequence[str] | None = None,
    ):
        options = {"image": image, "size": size, "space": space, "dims": dims}
        RecordConstructorArgs.__init__(self, instruction=instruction, success=success, **options)
        gymnasium.Wrapper.__init__(self, env)
        self.instruction, self.image_key, self.size, self._success = instruction, image, size, success
        box = _checked(env.action_space)
        self.space = _own_space(box) if space is None else space
        self._drives = [self.space.index(name) for name in _checked_dims(dims, space, box)]
        self._stop = _stop(self.space)
        picture = Box(0, 255, (size, size, 3), np.uint8)
        words = Text(max(160, len(instruction)), min_length=1, charset=frozenset(string.printable) | frozenset(instruction))
        self.observation_space = Dict({"image": picture, "instruction": words})
        self.action_space = Box(self.space.low, self.space.high, dtype=np.float32)
        self._check_picture()

    @classmethod
    def vector(cls, make: Callable[[], gymnasium.Env], n: int, *arguments: Any, **options: Any) -> SyncVectorEnv:
        """``n`` of them side by side; ``make()`` gives a new environment, the rest goes to ``ImageWorld``."""
        return SyncVectorEnv([lambda: cls(make(), *arguments, **options) for _ in range(n)])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        observation, info = self.env.reset(seed=seed, options=options)
        return self._observe(observation), {**info, "success": False}

    def step(self, action: np.ndarray):
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action_space.shape:
            raise ValueError(
                f"Expected an action of {len(self.space)} numbers {self.space.names}, got shape {action.shape}."
            )
        classes = np.array([bool(dim.classes) for dim in self.space.dims])
        clipped = np.clip(action, self.space.low, self.space.high)  # NaN stays NaN, for the check
        action = self.space.check(np.where(classes, np.round(clipped), clipped)).numpy()
        observation, reward, terminated, truncated, info = self.env.step(self._theirs(action))
        stopped = self._stop is not None and action[self._stop[0]] == self._stop[1]
        done = bool(self._success(observation, float(reward), info))
        return self._observe(observation), float(reward), bool(terminated or stopped), truncated, {**info, "success": done}

    def _theirs(self, action: np.ndarray) -> np.ndarray:
        """The numbers that the environment wants, in its own range."""
        low, high = self.space.low[self._drives], self.space.high[self._drives]
        part = (action[self._drives] - low) / (high - low)  # 0 ... 1
        box = self.env.action_space
        return np.clip(box.low + part * (box.high - box.low), box.low, box.high).astype(box.dtype)

    def _observe(self, observation: Any) -> dict[str, Any]:
        return {"image": self._picture(observation), "instruction": self.instruction}

    def _picture(self, observation: Any) -> np.ndarray:
        if self.image_key is not None:
            picture = observation[self.image_key]
        else:
            picture = observation if _is_picture(self.env.observation_space) else self.env.render()
        if picture.shape[:2] != (self.size, self.size):
            resized = Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.BILINEAR)
            picture = np.asarray(resized)
        return np.array(picture, np.uint8)

    def _check_picture(self) -> None:
        """Raises ValueError, before the first step, if there is no picture to show."""
        given = self.env.observation_space
        if self.image_key is not None:
            parts = given.spaces if isinstance(given, Dict) else {}
            if not _is_picture(parts.get(self.image_key)):
                pictures = [key for key, part in parts.items() if _is_picture(part)]
                raise ValueError(f"The observation has no picture {self.image_key!r}. Pictures in it: {pictures or 'none'}.")
        elif not _is_picture(given) and self.env.render_mode != "rgb_array":
            raise ValueError(
                f"This environment shows no pictures: its observation is {given} and its render_mode "
                f"{self.env.render_mode!r}. Try gymnasium.make(..., render_mode='rgb_array')."
            )


def _is_picture(space: gymnasium.Space | None) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[-1] == 3


def _checked(box: gymnasium.Space) -> Box:
    """The environment's action space, if it is a row of numbers with finite ranges."""
    if not isinstance(box, Box) or len(box.shape) != 1:
        raise ValueError(f"Expected a Box of one row of numbers as action space, got {box}. Discrete actions do not fit.")
    if not np.isfinite([box.low, box.high]).all():
        raise ValueError(f"Expected finite ranges of the actions, got {box}. Try gymnasium.wrappers.TransformAction.")
    return box


def _own_space(box: Box) -> ActionSpace:
    numbers = zip(box.low.tolist(), box.high.tolist(), strict=True)
    return ActionSpace(tuple(ActionDim(f"action_{i}", low, high) for i, (low, high) in enumerate(numbers)))


def _checked_dims(dims: Sequence[str] | None, space: ActionSpace | None, box: Box) -> list[str]:
    """For each number of the environment, the name of the one that drives it."""
    if space is None and dims is None:
        return [f"action_{i}" for i in range(box.shape[0])]
    if space is None or dims is None or len(dims) != box.shape[0]:
        raise ValueError(
            f"The environment takes {box.shape[0]} numbers: expected space=... and dims=... with as many of its names, "
            f"got space {None if space is None else space.names} and dims {dims}."
        )
    return list(dims)


def _stop(space: ActionSpace) -> tuple[int, int] | None:
    """Where the action says that the episode is over, and the class that says so."""
    for place, dim in enumerate(space.dims):
        for name in ("stop", "terminate"):
            if name in dim.classes:
                return place, dim.classes.index(name)
    return None

"""States of many frames in few bytes: what never changes in an episode is stored once, the rest as small as is exact.

A frame of six objects is 460 bytes as a ``TabletopState`` (whole numbers are 64 bits wide there, and every frame repeats
its table's sizes, colours and light) and about 180 here. ``tape[frames]`` gives the same state back, bit for bit.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.world.tabletop import TabletopState

ONCE = ("seed", "kind", "size", "tint", "cabinet", "table", "light", "camera")  # one value an episode
SMALL = {  # whole numbers that need no 64 bits; decimals stay float32, which is exact
    "kind": torch.int8,
    "inside": torch.int8,
    "held": torch.int8,
    "handle": torch.int8,
    "step": torch.int16,
    "table": torch.int32,
}
FIELDS = tuple(field.name for field in fields(TabletopState))


@dataclass(frozen=True)
class StateTape:
    """F frames of E episodes, one after another. All tensors share the device."""

    once: dict[str, Tensor]  # field of TabletopState -> (E, ...)
    each: dict[str, Tensor]  # field of TabletopState -> (F, ...)
    start: Int[Tensor, " E"]  # first frame of each episode

    @classmethod
    def from_states(cls, states: TabletopState, episode: Int[Tensor, " F"]) -> "StateTape":
        """Put F frames on a tape; ``episode`` counts 0, 0, 0, 1, 1, ...: the episode of each frame.

        Raises ValueError if something that belongs to an episode changes within it, or a number does not fit.
        """
        if len(states) != len(episode):
            raise ValueError(f"Expected an episode number for each of {len(states)} frames, got {len(episode)}.")
        new = episode.diff(prepend=torch.full_like(episode[:1], -1))
        if not ((new == 0) | (new == 1)).all() or (episode[:1] != 0).any():
            raise ValueError("Expected episode numbers 0, 0, ..., 1, 1, ... in order and without a gap.")
        start = new.nonzero()[:, 0]
        stored = {name: _small(name, getattr(states, name)) for name in FIELDS}
        once = {name: stored[name][start] for name in ONCE}
        for name, value in once.items():
            if not torch.equal(value[episode], stored[name]):
                raise ValueError(f"{name} changes within an episode, but a tape stores it once an episode (see tape.ONCE).")
        return cls(once, {name: stored[name] for name in FIELDS if name not in ONCE}, start)

    def __len__(self) -> int:
        return len(self.each["step"])

    def __getitem__(self, frames: Tensor | slice) -> TabletopState:
        """The states of ``frames`` (whole numbers, a mask, or a slice) as they were recorded."""
        if isinstance(frames, slice) or frames.dtype == torch.bool:
            frames = torch.arange(len(self), device=self.start.device)[frames]
        frames = torch.where(frames < 0, frames + len(self), frames)
        episode = torch.searchsorted(self.start, frames, right=True) - 1
        return TabletopState(
            **{name: _wide(values[episode]) for name, values in self.once.items()},
            **{name: _wide(values[frames]) for name, values in self.each.items()},
        )

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(x.nbytes for x in (*self.once.values(), *self.each.values(), self.start))

    def to(self, device: torch.device | str) -> "StateTape":
        """The same tape on another device."""
        once, each = ({k: v.to(device) for k, v in part.items()} for part in (self.once, self.each))
        return StateTape(once, each, self.start.to(device))


def join(tapes: list[StateTape]) -> StateTape:
    """One tape of all the episodes, in order."""
    offset, starts = 0, []
    for tape in tapes:
        starts.append(tape.start + offset)
        offset += len(tape)
    once = {name: torch.cat([tape.once[name] for tape in tapes]) for name in ONCE}
    each = {name: torch.cat([tape.each[name] for tape in tapes]) for name in tapes[0].each}
    return StateTape(once, each, torch.cat(starts))


def _small(name: str, values: Tensor) -> Tensor:
    """The tensor as it is stored; raises ValueError where that would change a number."""
    small = values.to(SMALL.get(name, values.dtype))
    if not torch.equal(small.to(values.dtype), values):
        raise ValueError(f"{name} holds {int(values.min())} ... {int(values.max())}, which does not fit {small.dtype}.")
    return small


def _wide(values: Tensor) -> Tensor:
    """Whole numbers as TabletopState has them."""
    return values if values.is_floating_point() or values.dtype == torch.bool else values.long()

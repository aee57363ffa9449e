"""Robot episodes as stored pictures: data whose states nobody knows, such as a real robot's.

``Footage`` has the same shape as ``Episodes`` (frames of all episodes one after another) and trains through the same
``Windows``. Pictures are big: a 64-pixel frame is 12,288 bytes, where a state is about 200. ``Reel`` therefore lets them
lie in files that are mapped into memory, of which only the frames of a batch are ever read.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.actions import ActionSpace


class Reel:
    """Several tensors of pictures, uint8 (f, H, W, 3), that count as one: ``reel[frames]`` picks from all of them."""

    def __init__(self, parts: list[UInt8[Tensor, "_ H W 3"]]):
        self.parts = list(parts)
        self.start = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)  # of each part; the last is F

    def __len__(self) -> int:
        return int(self.start[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """(F, H, W, 3)."""
        return (len(self), *self.parts[0].shape[1:])

    def __getitem__(self, frames: Int[Tensor, " B"]) -> UInt8[Tensor, "B H W 3"]:
        """The pictures of these frames, in this order."""
        part = torch.searchsorted(self.start, frames, right=True) - 1
        out = torch.empty(len(frames), *self.shape[1:], dtype=torch.uint8)
        for number in part.unique().tolist():
            mine = part == number
            out[mine] = self.parts[number][frames[mine] - self.start[number]]
        return out


@dataclass(frozen=True)
class Footage:
    """E episodes with stored pictures, their F frames one after another."""

    images: UInt8[Tensor, "F H W 3"] | Reel
    actions: Float[Tensor, "F A"]  # in the order and units of ``space``
    start: Int[Tensor, " E"]  # first frame of each episode
    length: Int[Tensor, " E"]  # number of frames
    task: Int[Tensor, " E"]  # index into instructions
    instructions: tuple[str, ...]
    space: ActionSpace
    fps: float | int = 3  # control steps a second

    def __len__(self) -> int:
        return len(self.length)

    @property
    def frames(self) -> int:
        """F, all frames of all episodes."""
        return len(self.actions)

    def sentences(self) -> list[str]:
        """What the robot was told, one sentence per task."""
        return list(self.instructions)

    def pictures(self, frames: Int[Tensor, " B"], size: int | None = None) -> UInt8[Tensor, "B H W 3"]:
        """The pictures of these frames. Raises ValueError if they are stored at another ``size``."""
        stored = tuple(self.images.shape[1:3])
        if size is not None and stored != (size, size):
            raise ValueError(
                f"These pictures are stored at {stored[0]}x{stored[1]}, not {size}x{size}. Read them anew at that size."
            )
        return self.images[frames.cpu()].to(frames.device)

"""The sprite table: every drawing at every turn, size and half-pixel shift, each made once per picture size.

Sampling each drawing anew for each frame is slow; copying small ready-made tiles is what lets episodes be rendered while
a model trains on them.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import ImageFilter
from torch import Tensor

from course_lib.world.drawings import Pen
from course_lib.world.objects import KINDS

VIEW = 0.4  # metres of table that the picture shows, in both directions
TURNS = 24  # angles of a drawing, 15 degrees apart
SIZES = (0.92, 1.0, 1.08, 1.2)
SHIFTS = 2  # positions per pixel and axis
DETAIL = 3  # each tile pixel averages DETAIL x DETAIL samples

GRIPPER_OPEN, GRIPPER_CLOSED, SHADOW = len(KINDS), len(KINDS) + 1, len(KINDS) + 2
_GRIPPER_SIZE, _SHADOW_SIZE = 0.105, 0.065
EXTENT = torch.tensor([*(kind.size for kind in KINDS), _GRIPPER_SIZE, _GRIPPER_SIZE, _SHADOW_SIZE])  # metres


def _draw_gripper(pen: Pen, half_gap: float):
    """Two fingers and a palm; the finger tips are at the centre of the drawing."""
    dark, light = (34, 36, 44, 255), (120, 128, 142, 255)
    for side in (-1, 1):
        x = 0.5 + side * half_gap
        pen.line((x, 0.14), (x, 0.56), fill=dark, width=0.1)
        pen.line((x, 0.44), (x, 0.56), fill=(255, 150, 30, 255), width=0.07)
    pen.box(0.5 - half_gap - 0.06, 0.06, 0.5 + half_gap + 0.06, 0.2, dark, 0.05)
    pen.box(0.42, 0.0, 0.58, 0.14, light, 0.03)


def _draw_shadow(pen: Pen):
    pen.ellipse(0.08, 0.2, 0.92, 0.8, (0, 0, 0, 105))
    pen.image = pen.image.filter(ImageFilter.GaussianBlur(pen.size * 0.05))


def _source(kind: int, side: int) -> Float[Tensor, "4 side side"]:
    """One drawing as premultiplied red, green, blue, alpha in 0 ... 1, with a soft contact shadow under objects."""
    pen = Pen(side)
    if kind < len(KINDS):
        KINDS[kind].draw(pen)
        under = Pen(side)
        soft = pen.image.getchannel("A").filter(ImageFilter.GaussianBlur(side * 0.035)).point(lambda a: a * 2 // 5)
        under.image.putalpha(soft)
        under.image.alpha_composite(pen.image)
        pen = under
    elif kind == SHADOW:
        _draw_shadow(pen)
    else:
        _draw_gripper(pen, 0.36 if kind == GRIPPER_OPEN else 0.22)
    rgba = torch.frombuffer(bytearray(pen.image.tobytes()), dtype=torch.uint8).view(side, side, 4).permute(2, 0, 1) / 255
    return torch.cat([rgba[:3] * rgba[3:], rgba[3:]])


class SpriteTable:
    """Tiles of ``P x P`` pixels for pictures of ``size`` pixels: premultiplied colour and alpha, uint8.

    A tile is made when it is first needed, so the table costs nothing up front.
    """

    def __init__(self, size: int, device: str = "cpu"):
        self.size = size
        self.pixel = VIEW / size  # metres per pixel
        largest = max(kind.size for kind in KINDS) * SIZES[-1]
        self.tile = 2 * math.ceil(largest * 0.56 / self.pixel) + 2  # even, with room for a shift
        count = len(EXTENT) * TURNS * len(SIZES) * SHIFTS**2
        self._tiles = torch.empty(count, self.tile, self.tile, 4, dtype=torch.uint8, device=device)  # touched when filled
        self._ready = torch.zeros(count, dtype=torch.bool, device=device)
        self._sources = torch.stack([_source(kind, 96) for kind in range(len(EXTENT))]).to(device)

    def tiles(self, index: Int[Tensor, " M"]) -> UInt8[Tensor, "M P P 4"]:
        """The tiles of these numbers (see ``index``)."""
        if not self._ready[index].all():
            missing = index[~self._ready[index]].unique()
            for part in missing.split(256):
                self._tiles[part] = self._make(part)
            self._ready[missing] = True
        return self._tiles.index_select(0, index)

    def _make(self, index: Int[Tensor, " M"]) -> UInt8[Tensor, "M P P 4"]:
        """Sample the drawings at DETAIL x DETAIL points per pixel and average."""
        right, rest = index % SHIFTS, index // SHIFTS
        down, rest = rest % SHIFTS, rest // SHIFTS
        size, rest = rest % len(SIZES), rest // len(SIZES)
        turn, kind = rest % TURNS, rest // TURNS
        at = ((torch.arange(self.tile * DETAIL, device=index.device) + 0.5) / DETAIL - self.tile / 2)[None]
        y = (at - down[:, None] / SHIFTS)[:, :, None]  # pixels from the tile's centre, (M, fine, 1)
        x = (at - right[:, None] / SHIFTS)[:, None, :]
        half = EXTENT.to(index.device)[kind] / 2 * torch.tensor(SIZES, device=index.device)[size] / self.pixel
        angle = 2 * math.pi * turn / TURNS
        cos, sin = ((f(angle) / half)[:, None, None] for f in (torch.cos, torch.sin))
        grid = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)  # (M, fine, fine, 2), -1 to 1 over the drawing
        small = F.avg_pool2d(F.grid_sample(self._sources[kind], grid, align_corners=False), DETAIL)  # (M, 4, P, P)
        return (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def index(
        self, kind: Int[Tensor, " M"], yaw: Float[Tensor, " M"], scale: Float[Tensor, " M"], shift: Int[Tensor, "M 2"]
    ) -> Int[Tensor, " M"]:
        """The tile that shows ``kind`` turned by ``yaw`` (counter-clockwise), at the nearest size, shifted."""
        turn = (yaw * (TURNS / (2 * math.pi))).round().long() % TURNS
        sizes = torch.tensor(SIZES, device=kind.device)
        size = (scale[:, None] - sizes).abs().argmin(-1)
        return (((kind * TURNS + turn) * len(SIZES) + size) * SHIFTS + shift[:, 0]) * SHIFTS + shift[:, 1]


@lru_cache(maxsize=8)
def sprite_table(size: int, device: str = "cpu") -> SpriteTable:
    """The table for pictures of ``size`` pixels; made on first use, then kept."""
    with torch.inference_mode(False):  # whoever asks first: a tensor of inference mode could not be filled outside it
        return SpriteTable(size, device)

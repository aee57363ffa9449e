"""The sprite table: every drawing at every turn, size and sub-pixel shift, each made once per picture size.

Sampling each drawing anew for each frame is slow. Copying ready-made sprites is what lets episodes be rendered while a
model trains on them. A sprite is kept as the list of the pixels that it covers (about a third of its square), so an apple
and a cabinet go through the same few calls; all lists stand one after the other in one growing store.
"""

import math
import threading
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import ImageFilter
from torch import Tensor

from course_lib.world.drawings import Pen
from course_lib.world.fixtures import FIXTURES, Fixture
from course_lib.world.objects import KINDS, Kind

VIEW = 0.4  # metres of table that the picture shows, in both directions
SIZES = (0.92, 1.0, 1.08, 1.2)
SHIFTS = 2  # positions per pixel and axis
TURNS = 48  # angles of an object, 7.5 degrees apart: the end of a spoon moves by less than a pixel between two of them
REACH = 0.66  # no object's drawing goes further from the middle than this part of its size
DETAIL = 3  # each sprite pixel averages DETAIL x DETAIL samples
FAINT = 5  # pixels that hide less than FAINT / 255 of what is behind them are left out

DRAWINGS: tuple[Kind | Fixture, ...] = (*KINDS, *FIXTURES)  # the number of a drawing is its place here


def drawing_index(name: str) -> int:
    """The number of a fixture's drawing (an object's is that of its kind)."""
    return len(KINDS) + [fixture.name for fixture in FIXTURES].index(name)


def _turns(drawing: Kind | Fixture) -> int:
    if isinstance(drawing, Fixture):
        return drawing.turns
    return 1 if drawing.holds else TURNS  # plates and the bowl look the same from all sides


def _reach(drawing: Kind | Fixture) -> float:
    """How far from its middle a drawing goes at most, at its largest (metres)."""
    if isinstance(drawing, Fixture):
        return drawing.reach * (SIZES[-1] if drawing.grows else 1)
    return drawing.size * REACH * SIZES[-1]


def _source(drawing: Kind | Fixture, side: int) -> Float[Tensor, "4 side side"]:
    """One drawing as premultiplied red, green, blue, alpha in 0 ... 1, with a soft contact shadow under solid things."""
    pen = Pen(side)
    drawing.draw(pen)
    if not (isinstance(drawing, Fixture) and drawing.grows):
        under = Pen(side)
        blur = ImageFilter.GaussianBlur(0.0025 / drawing.size * side)  # 2.5 mm
        under.image.putalpha(pen.image.getchannel("A").filter(blur).point(lambda a: a * 2 // 5))
        under.image.alpha_composite(pen.image)
        pen = under
    rgba = torch.frombuffer(bytearray(pen.image.tobytes()), dtype=torch.uint8).view(side, side, 4).permute(2, 0, 1) / 255
    return torch.cat([rgba[:3] * rgba[3:], rgba[3:]])


class SpriteTable:
    """Sprites for pictures of ``size`` pixels, on a canvas that is ``margin`` pixels wider and higher than the picture.

    A sprite is made when it is first needed, so the table costs nothing up front. ``nbytes`` says what it costs by now.
    """

    def __init__(self, size: int, device: str = "cpu"):
        self.size, self.device = size, device
        self.pixel = VIEW / size  # metres per pixel
        sides = [2 * math.ceil(_reach(one) / self.pixel) + 2 for one in DRAWINGS]  # even, with room for a shift
        self.margin = max(sides)
        self.sides = torch.tensor(sides, device=device)
        self.turns = torch.tensor([_turns(one) for one in DRAWINGS], device=device)
        variants = self.turns * len(SIZES) * SHIFTS**2
        self._first = variants.cumsum(0) - variants  # number of each drawing's first sprite
        self._sources: dict[int, Tensor] = {}
        self._start = torch.zeros(int(variants.sum()), dtype=torch.int32, device=device)  # where its list starts
        self._count = torch.full_like(self._start, -1)  # and how long it is; -1: not made yet
        self._store = torch.empty(2, 1 << 16, dtype=torch.int32, device=device)  # offsets on the canvas; packed colours
        self._used = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held for sprites and for the table of where they are."""
        sources = sum(source.nbytes for source in self._sources.values())
        return sources + sum(x.nbytes for x in (self._start, self._count, self._store))

    def number(
        self,
        drawing: Int[Tensor, "*M"],
        angle: Float[Tensor, "*M"],
        scale: Float[Tensor, "*M"],
        shift: Int[Tensor, "*M 2"],
    ) -> Int[Tensor, "*M"]:
        """The sprite that shows ``drawing`` turned by ``angle`` (counter-clockwise), at the nearest size, shifted."""
        turns = self.turns[drawing]
        turn = (angle * (turns / (2 * math.pi))).round().long() % turns
        size = (scale[..., None] - scale.new_tensor(SIZES)).abs().argmin(-1)
        return self._first[drawing] + ((turn * len(SIZES) + size) * SHIFTS + shift[..., 0]) * SHIFTS + shift[..., 1]

    def pixels(self, number: Int[Tensor, " M"]) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"], Int[Tensor, " p"]]:
        """The pixels of these sprites (of which ``make`` knows) one after the other: whose each is (0 ... M - 1), its
        offset, its colour.

        The offset counts row-major on the canvas from the pixel at the sprite's middle. The colour is 0xKKBBGGRR:
        premultiplied blue, green, red, and how much of what is behind is kept.
        """
        count = self._count.index_select(0, number)
        owner = torch.repeat_interleave(count)  # (p,)
        before = count.cumsum(0, dtype=torch.int32) - count
        skip = (self._start.index_select(0, number) - before).index_select(0, owner)
        at = torch.arange(len(owner), dtype=torch.int32, device=owner.device) + skip
        return owner, self._store[0].index_select(0, at), self._store[1].index_select(0, at)

    def make(self, number: Int[Tensor, " M"]) -> None:
        """Make those of these sprites that are not there yet. Under a lock: several threads may render."""
        if not bool((self._count.index_select(0, number) < 0).any()):
            return
        with self._lock, torch.inference_mode(False), torch.no_grad():
            number = number.clone()[self._count[number] < 0].unique()
            drawing = torch.searchsorted(self._first, number, right=True) - 1
            for one in drawing.unique().tolist():
                for part in number[drawing == one].split(128):
                    self._add(part, self.squares(one, part))

    def _add(self, number: Int[Tensor, " M"], square: UInt8[Tensor, "M P P 4"]) -> None:
        M, P = square.shape[:2]
        which, row, column = (square[..., 3] > 0).nonzero(as_tuple=True)
        offset = (row - P // 2) * (self.size + self.margin) + column - P // 2
        colour = square[which, row, column]
        colour[:, 3] = 255 - colour[:, 3]
        while self._store.shape[1] < self._used + len(which):
            self._store = torch.cat([self._store, torch.empty_like(self._store)], 1)
        self._store[0, self._used : self._used + len(which)] = offset.int()
        self._store[1, self._used : self._used + len(which)] = colour.view(torch.int32)[:, 0]
        count = torch.bincount(which, minlength=M).int()
        self._start[number] = self._used + count.cumsum(0, dtype=torch.int32) - count
        self._count[number] = count  # last: now readers may use it
        self._used += len(which)

    def squares(self, drawing: int, number: Int[Tensor, " M"]) -> UInt8[Tensor, "M P P 4"]:
        """Sprites of one drawing as squares: premultiplied red, green, blue, and alpha."""
        rest = number - self._first[drawing]
        right, rest = rest % SHIFTS, rest // SHIFTS
        down, rest = rest % SHIFTS, rest // SHIFTS
        size, turn = rest % len(SIZES), rest // len(SIZES)
        P = int(self.sides[drawing])
        at = ((torch.arange(P * DETAIL, device=number.device) + 0.5) / DETAIL - P / 2)[None]
        y = (at - down[:, None] / SHIFTS)[:, :, None]  # pixels from the sprite's middle, (M, fine, 1)
        x = (at - right[:, None] / SHIFTS)[:, None, :]
        half = DRAWINGS[drawing].size / 2 * y.new_tensor(SIZES)[size] / self.pixel
        angle = 2 * math.pi * turn / self.turns[drawing]
        cos, sin = ((f(angle) / half)[:, None, None] for f in (torch.cos, torch.sin))
        grid = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)  # (M, fine, fine, 2), -1 to 1 over the drawing
        source = self._drawn(drawing).expand(len(number), -1, -1, -1)
        small = F.avg_pool2d(F.grid_sample(source, grid, align_corners=False), DETAIL)  # (M, 4, P, P)
        square = (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return square * (square[..., 3:] >= FAINT)

    def _drawn(self, drawing: int) -> Float[Tensor, "4 side side"]:
        if drawing not in self._sources:
            side = min(max(96, round(2 * DETAIL * DRAWINGS[drawing].size / self.pixel)), 768)
            self._sources[drawing] = _source(DRAWINGS[drawing], side).to(self.device)
        return self._sources[drawing]


@lru_cache(maxsize=8)
def sprite_table(size: int, device: str) -> SpriteTable:
    """The table for pictures of ``size`` pixels; made on first use, then kept."""
    with torch.inference_mode(False):  # whoever asks first: a tensor of inference mode could not be filled outside it
        return SpriteTable(size, device)

"""Table tops: 24 textures, of which six are held out, and what of them the camera sees.

``state.table`` says which texture lies under a table and where on it the table is: ``table % TEXTURES`` is the texture,
``table // TEXTURES`` the place (``table_number`` and ``seen_tables`` make the numbers). Textures 0 ... SEEN_TEXTURES - 1
(wood, plain and speckled counters in calm colours) are for training; the others look clearly different (chequered and
striped cloth, marble, slate, tiles, dots) and are only for the question whether a policy survives a background that it
never saw.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int32
from torch import Tensor

from course_lib.world.sprites import VIEW
from course_lib.world.state import TabletopState

TEXTURES = 24
SEEN_TEXTURES = 18  # as many as there are WOODS and COUNTERS
PLACES = 64  # on each texture
PERIOD = 2 * VIEW  # metres after which a texture repeats
EXPOSURE = 1.1  # pictures are composed darker by this factor, so that light and tint above 1 keep their colour


def table_number(texture: Int[Tensor, " N"], place: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """``state.table`` for a texture 0 ... TEXTURES - 1 at one of PLACES places. Raises ValueError for other numbers."""
    if bool(((texture < 0) | (texture >= TEXTURES)).any()):
        raise ValueError(
            f"Textures are 0 ... {TEXTURES - 1} (from {SEEN_TEXTURES} on: held out), got {texture.tolist()[:8]}."
        )
    return place % PLACES * TEXTURES + texture


def seen_tables(u: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
    """``state.table`` from random numbers in [0, 1): every texture for training at every place alike."""
    number = (u * (SEEN_TEXTURES * PLACES)).long()
    return table_number(number // PLACES, number)


def _noise(random: torch.Generator, cells: tuple[int, int], side: int) -> Float[Tensor, "side side"]:
    """Smooth periodic noise between -0.5 and 0.5 with this many bumps down and across."""
    coarse = torch.rand(1, 1, *cells, generator=random) - 0.5
    coarse = F.pad(coarse, (4, 4, 4, 4), mode="circular")
    step = [side // n for n in cells]
    fine = F.interpolate(coarse, size=[(n + 8) * k for n, k in zip(cells, step, strict=True)], mode="bicubic")
    down, right = 4 * step[0], 4 * step[1]
    return fine[0, 0, down : down + side, right : right + side]


WOODS = (
    (188, 150, 112), (168, 128, 92), (206, 178, 142), (136, 108, 84), (198, 164, 120), (158, 132, 108), (182, 132, 100),
    (148, 122, 88), (216, 190, 152), (124, 104, 90),
)  # fmt: skip
COUNTERS = (
    (196, 194, 186), (150, 146, 140), (176, 164, 132), (160, 172, 170), (212, 204, 190), (184, 160, 150), (188, 194, 168),
    (140, 150, 158),
)  # fmt: skip


def _wood(number: int, random: torch.Generator, side: int) -> Float[Tensor, "3 side side"]:
    """Planks of grain: long stripes that waver."""
    grain = _noise(random, (64, 4), side) + 0.6 * _noise(random, (128, 8), side)
    blotch = _noise(random, (8, 8), side)
    shade = 1 + (0.10 + 0.08 * (number % 3)) * grain + 0.10 * blotch
    return torch.tensor(WOODS[number])[:, None, None] * (shade.T if number % 2 else shade)


def _counter(number: int, random: torch.Generator, side: int) -> Float[Tensor, "3 side side"]:
    """A plain or softly speckled kitchen counter."""
    shade = 1 + 0.07 * _noise(random, (8, 8), side) + (0.0, 0.16, 0.08)[number % 3] * _noise(random, (128, 128), side)
    return torch.tensor(COUNTERS[number])[:, None, None] * shade


def _held_out(number: int, random: torch.Generator, side: int) -> Float[Tensor, "3 side side"]:
    """The six patterns that no training scene shows."""
    line = (torch.arange(side) + 0.5) / side
    x, y = line[None], line[:, None]

    def mix(amount, one, other):
        a, b = (torch.tensor(c, dtype=torch.float32)[:, None, None] for c in (one, other))
        return a + (b - a) * amount

    def band(at, count):
        return ((at * count) % 1 < 0.5).float()

    if number == 0:  # chequered cloth
        return mix((band(x, 16) + band(y, 16)) / 2, (236, 232, 226), (126, 74, 88))
    if number == 1:  # striped cloth
        return mix(band(x + 0 * y, 20), (222, 216, 200), (92, 112, 136))
    if number == 2:  # marble with veins
        vein = _noise(random, (8, 8), side) + 0.5 * _noise(random, (16, 16), side) + 0.2 * _noise(random, (64, 64), side)
        return mix((1 - vein.abs() * 14).clamp(0, 1), (232, 230, 228), (112, 116, 124))
    if number == 3:  # slate
        rough = _noise(random, (16, 32), side) + 0.7 * _noise(random, (64, 128), side)
        return mix(0.5 + rough, (44, 50, 58), (82, 88, 96))
    if number == 4:  # tiles with pale joints
        joint = torch.maximum(((x * 12) % 1 < 0.12).float() + 0 * y, ((y * 12) % 1 < 0.12).float() + 0 * x)
        return mix(joint, (72, 128, 134), (214, 214, 204)) * (1 + 0.2 * _noise(random, (16, 16), side))
    across, down = (x * 14) % 1 - 0.5, (y * 14) % 1 - 0.5  # dotted cloth
    return mix((across**2 + down**2 < 0.055).float(), (70, 58, 92), (214, 200, 170))


@lru_cache(maxsize=8)
def packed_textures(size: int, device: str) -> tuple[Int32[Tensor, " texels"], int]:
    """All textures for pictures of ``size`` pixels as packed colours, row after row, and the texels along a side."""
    L = 1 << max(6, math.ceil(math.log2(PERIOD / VIEW * size)))  # a power of two: wrapping is one bitwise and
    random = torch.Generator().manual_seed(92)
    fine, out = min(max(2 * L, 256), 512), []
    for number in range(TEXTURES):
        kind = _wood if number < len(WOODS) else _counter if number < SEEN_TEXTURES else _held_out
        first = 0 if number < len(WOODS) else len(WOODS) if number < SEEN_TEXTURES else SEEN_TEXTURES
        top = kind(number - first, random, fine)[None].clamp(0, 255) / EXPOSURE
        top = F.interpolate(top, size=(L, L), mode="area" if fine >= L else "bilinear")[0]
        red, green, blue = top.round().int()
        out.append(red | green << 8 | blue << 16)
    return torch.stack(out).flatten().to(device), L


def ground(state: TabletopState, size: int) -> Int32[Tensor, "N S S"]:
    """The empty tables as the camera sees them from where the base stands: packed colours 0x00BBGGRR, 1 / EXPOSURE dark."""
    textures, L = packed_textures(size, str(state.base.device))
    texels = L / PERIOD  # per metre
    x, y, yaw = (part.contiguous() for part in state.base.unbind(-1))  # contiguous: the same cosine alone or in a batch
    line = (torch.arange(size, device=x.device) + 0.5 - size / 2) * (VIEW / size)  # metres right of the picture's middle
    right, ahead = line + state.camera[:, :1], -line + state.camera[:, 1:]  # (N, S): of columns, of rows
    cos, sin = yaw.cos()[:, None] * texels, yaw.sin()[:, None] * texels
    place = state.table // TEXTURES % PLACES * (L // PLACES)
    column = (x * texels).remainder(L)[:, None] + 2 * L + cos * right  # (N, S), never negative
    row = (place - y * texels).remainder(L)[:, None] + 2 * L - cos * ahead
    column, row = column[:, None], row[:, :, None]
    if bool(yaw.any()):  # a turned base: each texel's place depends on both axes
        column, row = column - (sin * ahead)[:, :, None], row - (sin * right)[:, None]
    texture = (state.table % TEXTURES).int()[:, None, None]
    texel = ((row.int() & (L - 1)) + texture * L) * L + (column.int() & (L - 1))
    return textures.index_select(0, texel.flatten()).view(-1, size, size)

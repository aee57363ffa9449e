"""From state to picture: uint8 (N, H, W, 3), or the label of what each pixel shows.

``layout`` says which sprites lie where, back to front; here they are laid over the table top, one sprite of every table at
a time. A pixel is one int32, 0x00BBGGRR, and red and blue are blended in one multiplication: nearly three times as fast as
a canvas of floats. ``plain_render`` does the same one sprite and one channel at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, Int32, UInt8
from torch import Tensor

from course_lib.world.layout import Sprites, sprites_of
from course_lib.world.objects import NAMES
from course_lib.world.sprites import SHIFTS, VIEW, SpriteTable, sprite_table
from course_lib.world.state import TabletopState
from course_lib.world.textures import EXPOSURE, ground

CANVAS, GPU_CANVAS = {"cpu": 1 << 22}, 1 << 26  # pixels drawn together: fewer means more calls, more only memory
RED_BLUE, GREEN = 0xFF00FF, 0xFF00


def placed(at: Float[Tensor, "N J 2"], size: int) -> tuple[Int[Tensor, "N J 2"], Int[Tensor, "N J 2"]]:
    """Row and column of the pixel at a sprite's middle, and the shift within that pixel in steps of 1 / SHIFTS."""
    x, y = at.unbind(-1)
    steps = (torch.stack([0.5 - y / VIEW, x / VIEW + 0.5], -1) * (size * SHIFTS)).round().long()
    return steps.div(SHIFTS, rounding_mode="floor"), steps % SHIFTS


def _layers(sprites: Sprites, table: SpriteTable, value: Int32[Tensor, "N J"]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Back to front, at most one sprite per table: its pixels on the flat canvas, their colours, and its ``value``."""
    S, M = table.size, table.margin
    pixel, shift = placed(sprites.at, S)
    half = M // 2  # no sprite goes further from its middle: beyond that it shows nothing, and would leave the margin
    seen = ((pixel > -half) & (pixel < S + half)).all(-1) & (sprites.drawing >= 0)
    origin = torch.arange(len(sprites), device=pixel.device)[:, None] * (S + M) + M + 1  # first row of each picture
    middle = (origin + pixel[..., 0]) * (S + M) + pixel[..., 1]
    number = table.number(sprites.drawing.clamp(min=0), sprites.angle, sprites.scale, shift)
    table.make(number[seen])
    for seen_, number_, middle_, value_ in zip(seen.T, number.T, middle.T.int(), value.T, strict=True):
        who = seen_.nonzero()[:, 0]
        if len(who):
            owner, offset, colour = table.pixels(number_[who])
            yield offset + middle_[who].index_select(0, owner), colour, value_[who].index_select(0, owner)


def _canvas(N: int, table: SpriteTable) -> tuple[Int32[Tensor, " all"], Int32[Tensor, "N S S"]]:
    """A flat canvas, and its visible part. What a sprite leaves over an edge falls into the margin.

    The margin right of a row is also the one left of the next row, and the one below a picture the one above the next.
    """
    W = table.size + table.margin
    flat = torch.empty((N * W + table.margin + 1) * W, dtype=torch.int32, device=table.device)
    return flat, flat[(table.margin + 1) * W :].view(N, W, W)[:, : table.size, : table.size]


def _blend(flat: Int32[Tensor, " all"], pixel: Tensor, colour: Tensor, tint: Tensor) -> None:
    """Lay colours over the canvas: colour * tint / 256 + old * keep / 256, in every channel, rounded down.

    Premultiplied colour and keep add up to 255 at most and tint to 256, so no channel ever runs into the next one.
    """
    pixel = pixel.long()
    old = flat.index_select(0, pixel)
    keep = (colour >> 24) & 255
    red_blue = (((colour & RED_BLUE) * tint + (old & RED_BLUE) * keep) >> 8) & RED_BLUE
    green = (((colour >> 8) & 255) * tint + ((old >> 8) & 255) * keep) & GREEN
    flat.scatter_(0, pixel, red_blue | green)


def _light(picture: Int32[Tensor, "N S S"], light: Float[Tensor, "N 3"], out: UInt8[Tensor, "N S S 3"]) -> None:
    """Packed colours under a coloured light, as bytes, into ``out``."""
    level = (light * (EXPOSURE * 256)).round().int()[:, :, None, None]
    for channel in range(3):
        value = (picture >> (8 * channel)).bitwise_and_(255).mul_(level[:, channel]).bitwise_right_shift_(8)
        out[..., channel] = value.clamp_(max=255)


def _draw(state: TabletopState, table: SpriteTable, out: UInt8[Tensor, "N S S 3"]) -> None:
    flat, picture = _canvas(len(state), table)
    picture.copy_(ground(state, table.size))
    sprites = sprites_of(state)
    tint = (sprites.tint * (256 / EXPOSURE)).round().int().clamp(0, 256)
    for pixel, colour, tint_ in _layers(sprites, table, tint):
        _blend(flat, pixel, colour, tint_)
    _light(picture, state.light, out)


def _chunks(state: TabletopState, table: SpriteTable) -> Iterator[slice]:
    count = max(1, CANVAS.get(state.base.device.type, GPU_CANVAS) // (table.size + table.margin) ** 2)
    return (slice(i, min(i + count, len(state))) for i in range(0, len(state), count))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Many small operations: on a busy machine, threads that wait for one another made this ten times slower."""
    before = torch.get_num_threads()
    if device.type == "cpu" and before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def render(state: TabletopState, size: int = 64) -> UInt8[Tensor, "N S S 3"]:
    """The robot's camera: one uint8 picture per table, ``size`` pixels wide and high, on the state's device."""
    _check_size(size)
    table = sprite_table(size, str(state.base.device))
    with torch.no_grad(), _one_thread(state.base.device):
        out = torch.empty(len(state), size, size, 3, dtype=torch.uint8, device=state.base.device)
        for part in _chunks(state, table):
            _draw(state[part], table, out[part])
        return out


def segment(state: TabletopState, size: int = 64) -> Int[Tensor, "N S S"]:
    """What each pixel shows: 0 the table (also in shadow), k + 1 the object at place k, K + 1 the gripper, K + 2 the
    cabinet, K + 3 and K + 4 its left and its right drawer (see ``label_names``)."""
    _check_size(size)
    table = sprite_table(size, str(state.base.device))
    out = torch.empty(len(state), size, size, dtype=torch.long, device=state.base.device)
    with torch.no_grad(), _one_thread(state.base.device):
        for part in _chunks(state, table):
            flat, picture = _canvas(part.stop - part.start, table)
            picture.zero_()
            sprites = sprites_of(state[part])
            for pixel, colour, label in _layers(sprites, table, sprites.label.int()):
                solid = (((colour >> 24) & 255) < 128) & (label > 0)
                flat[pixel[solid]] = label[solid]
            out[part] = picture
    return out


def label_names(state: TabletopState) -> list[str]:
    """Names of ``segment``'s labels for the first table of ``state``; the cabinet's only if it has one."""
    objects = [NAMES[k] if k >= 0 else "nothing" for k in state.kind[0].tolist()]
    cabinet = ["cabinet", "left drawer", "right drawer"] if bool(state.cabinet[0]) else []
    return ["table", *objects, "gripper", *cabinet]


def _check_size(size: int) -> None:
    if not 16 <= size <= 512:
        raise ValueError(f"Pictures are 16 to 512 pixels wide, got {size}. The course uses 64.")

"""The renderer once more, one table, one sprite and one channel at a time: slow, plain, and equal to ``render``.

Source-over compositing (Porter and Duff, SIGGRAPH 1984) in whole numbers: a sprite brings premultiplied colours and how
much they hide; what is behind shows through the rest.
"""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from course_lib.world.layout import sprites_of
from course_lib.world.render import placed
from course_lib.world.sprites import sprite_table
from course_lib.world.state import TabletopState
from course_lib.world.textures import EXPOSURE, ground


def plain_render(state: TabletopState, size: int = 64) -> UInt8[Tensor, "N S S 3"]:
    """The same pictures as ``render(state, size)``, bit for bit."""
    table = sprite_table(size, str(state.base.device))
    sprites = sprites_of(state)
    middle, shift = placed(sprites.at, size)
    number = table.number(sprites.drawing.clamp(min=0), sprites.angle, sprites.scale, shift)
    tint = (sprites.tint * (256 / EXPOSURE)).round().long().clamp(0, 256)
    pictures = []
    for n, floor in enumerate(ground(state, size).long()):
        picture = torch.stack([floor & 255, floor >> 8 & 255, floor >> 16 & 255], -1)  # (S, S, 3)
        for j, drawing in enumerate(sprites.drawing[n].tolist()):
            if drawing >= 0:
                square = table.squares(drawing, number[n, j, None])[0].long()  # (P, P, 4)
                _lay_over(picture, square, *middle[n, j].tolist(), int(tint[n, j]))
        level = (state.light[n] * (EXPOSURE * 256)).round().long()
        pictures.append((picture * level // 256).clamp(max=255))
    return torch.stack(pictures).to(torch.uint8)


def _lay_over(picture: Int[Tensor, "S S 3"], square: Int[Tensor, "P P 4"], row: int, column: int, tint: int) -> None:
    """Put the middle of ``square`` on a pixel of the picture; what sticks out over an edge is cut off."""
    S, P = len(picture), len(square)
    top, left = row - P // 2, column - P // 2
    rows, columns = (slice(max(start, 0), max(min(start + P, S), 0)) for start in (top, left))
    old = picture[rows, columns]
    new = square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if old.numel() and new.numel():
        colour, hides = new[..., :3], new[..., 3:]
        picture[rows, columns] = torch.where(hides > 0, (colour * tint + old * (255 - hides)) // 256, old)

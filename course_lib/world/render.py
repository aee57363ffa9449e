"""From state to picture: uint8 (N, H, W, 3), or the label of what each pixel shows.

The camera looks down at an angle: a point at height z appears ``TILT * z`` metres further up. Together with the shadow on
the table and a size that grows with height, that is what a policy can see of the third dimension. The camera rides on
the mobile base, so moving the base moves the picture (its turn moves the objects; the texture only slides).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.world.objects import NAMES
from course_lib.world.sprites import GRIPPER_CLOSED, GRIPPER_OPEN, SHADOW, SHIFTS, VIEW, SpriteTable, sprite_table
from course_lib.world.tabletop import TabletopState

TILT = 0.45  # apparent metres up the picture per metre of height
TEXTURES = 24
CHUNK = 256  # frames drawn together: enough to amortise the calls, small enough for the cache


@dataclass
class _Layer:
    """One sprite per table: what to draw, where (metres, frame of the base), and how bright."""

    kind: Tensor  # (N,) drawing, -1 for nothing
    xyz: Tensor  # (N, 3)
    yaw: Tensor  # (N,)
    scale: Tensor  # (N,)
    tint: Tensor  # (N,)
    label: int  # 0 for shadows


def _in_view(state: TabletopState, xyz: Float[Tensor, "N K 3"]) -> Float[Tensor, "N K 3"]:
    """Table coordinates into the frame of the base."""
    dx, dy = (xyz[..., :2] - state.base[:, None, :2]).unbind(-1)
    cos, sin = state.base[:, 2:].cos(), state.base[:, 2:].sin()  # (N, 1)
    return torch.stack([cos * dx + sin * dy, cos * dy - sin * dx, xyz[..., 2]], -1)


def _layers(state: TabletopState) -> list[_Layer]:
    """Back to front: objects on the table, shadows of what is up, the held object, the gripper."""
    N, K = state.kind.shape
    xyz = _in_view(state, state.xyz)
    ones = torch.ones(N, device=xyz.device)
    yaw = state.yaw - state.base[:, 2:]
    held = torch.arange(K, device=xyz.device) == state.held[:, None]  # (N, K)
    scale = state.size * (1 + 1.2 * xyz[..., 2])
    in_hand, rest = [], []
    for k in range(K):
        kind = state.kind[:, k]
        parts = (xyz[:, k], yaw[:, k], scale[:, k], state.tint[:, k], k + 1)
        rest.append(_Layer(torch.where(held[:, k], -1, kind), *parts))
        in_hand.append(_Layer(torch.where(held[:, k], kind, -1), *parts))
    ground = state.gripper * ones.new_tensor([1, 1, 0])
    spread = 0.92 + 1.4 * state.gripper[:, 2]
    shadow = _Layer(torch.full_like(state.held, SHADOW), ground, 0 * ones, spread, ones, 0)
    hand = torch.where(state.closed, GRIPPER_CLOSED, GRIPPER_OPEN)
    size = 1 + 0.6 * state.gripper[:, 2]
    return [*rest, shadow, *in_hand, _Layer(hand, state.gripper, state.wrist[:, 2], size, ones, K + 1)]


def _placed(layer: _Layer, table: SpriteTable) -> tuple[Tensor, Tensor, Tensor]:
    """Which tables show the layer, which tile, and the pixels (row-major, in a canvas with a margin of one tile)."""
    S, P = table.size, table.tile
    column = (layer.xyz[:, 0] / VIEW + 0.5) * S
    row = (0.5 - (layer.xyz[:, 1] + TILT * layer.xyz[:, 2]) / VIEW) * S
    corner = torch.stack([row, column], -1) - P / 2 + P  # canvas coordinates of the tile's corner
    half = (corner * SHIFTS).round().long()
    whole, shift = half.div(SHIFTS, rounding_mode="floor"), half % SHIFTS
    inside = ((whole >= 0) & (whole <= S + P)).all(-1) & (layer.kind >= 0)
    who = inside.nonzero()[:, 0]
    tile = table.index(layer.kind[who], layer.yaw[who], layer.scale[who], shift[who])
    span = torch.arange(P, device=who.device)
    width = S + 2 * P
    pixel = (whole[who, 0, None] + span)[:, :, None] * width + (whole[who, 1, None] + span)[:, None]
    return who, tile, (pixel + who[:, None, None] * width * width).flatten()


@lru_cache(maxsize=8)
def _textures(size: int, device: str) -> UInt8[Tensor, "X S S 3"]:
    """Table tops: wood, stone and plain, each twice the picture's size so that it can slide under a moving base."""
    random = torch.Generator().manual_seed(92)
    woods = [[188, 150, 112], [168, 128, 92], [206, 178, 142], [150, 146, 140], [196, 194, 186], [136, 108, 84]]
    palette = torch.tensor([*woods, [176, 164, 132], [160, 172, 170]])
    grid = torch.arange(2 * size) / size * 64  # measured in pixels of the 64-pixel picture: the same wood at any size
    out = []
    for number in range(TEXTURES):
        a, b, c, phase = torch.rand(4, generator=random).tolist()
        waves = (grid[:, None] * (0.5 + a) + 3 * ((grid[None] * 0.05 * (1 + b)) + 6.28 * phase).sin()).sin()
        coarse = torch.rand(1, 1, 32, 32, generator=random) - 0.5
        blotch = torch.nn.functional.interpolate(coarse, size=(2 * size, 2 * size), mode="bicubic")[0, 0]
        shade = 1 + (0.045 * waves * (number % 8 < 6)) + 0.12 * (0.4 + c) * blotch
        out.append((palette[number % 8] * shade[..., None]).clamp(0, 255))
    return torch.stack(out).to(torch.uint8).to(device)


def _background(state: TabletopState, size: int) -> Float[Tensor, "N S S 3"]:
    textures = _textures(size, str(state.base.device))
    offset = state.table // TEXTURES % 64 * size // 64  # where on its table top a table lies, in rows
    slide = (state.base[:, :2] / VIEW * size).round().long()
    span = torch.arange(size, device=slide.device)
    rows = ((offset - slide[:, 1])[:, None] + span) % (2 * size)  # (N, S)
    strips = textures[(state.table % TEXTURES)[:, None], rows]  # (N, S, 2 S, 3): whole rows copy fast
    if not slide[:, 0].any():
        return strips[:, :, :size].float()
    columns = (slide[:, :1] + span) % (2 * size)
    return strips.gather(2, columns[:, None, :, None].expand(-1, size, -1, 3)).float()


def _draw(state: TabletopState, table: SpriteTable) -> UInt8[Tensor, "N S S 3"]:
    N, S, P = len(state), table.size, table.tile
    canvas = torch.empty(N, S + 2 * P, S + 2 * P, 3, device=state.base.device)  # the margin is never looked at
    canvas[:, P:-P, P:-P] = _background(state, S)
    flat = canvas.view(-1, 3)
    for layer in _layers(state):
        who, tile, pixel = _placed(layer, table)
        rgba = table.tiles(tile).float()  # (M, P, P, 4) premultiplied
        colour = rgba[..., :3] * layer.tint[who, None, None, None]
        keep = (1 - rgba[..., 3:] / 255).reshape(-1, 1)
        flat.index_copy_(0, pixel, flat.index_select(0, pixel).mul_(keep).add_(colour.reshape(-1, 3)))
    picture = canvas[:, P:-P, P:-P] * state.light[:, None, None]
    return picture.clamp(0, 255).to(torch.uint8)


def render(state: TabletopState, size: int = 64) -> UInt8[Tensor, "N S S 3"]:
    """The robot's camera: one uint8 picture per table, ``size`` pixels wide and high, on the state's device."""
    _check_size(size)
    table = sprite_table(size, str(state.base.device))
    with torch.no_grad():
        return torch.cat([_draw(state[i : i + CHUNK], table) for i in range(0, len(state), CHUNK)])


def segment(state: TabletopState, size: int = 64) -> Int[Tensor, "N S S"]:
    """What each pixel shows: 0 the table, k + 1 the object at place k, K + 1 the gripper."""
    _check_size(size)
    table = sprite_table(size, str(state.base.device))
    N, P = len(state), table.tile
    labels = torch.zeros(N, size + 2 * P, size + 2 * P, dtype=torch.long, device=state.base.device)
    flat = labels.view(-1)
    for layer in _layers(state):
        if layer.label == 0:
            continue
        _, tile, pixel = _placed(layer, table)
        solid = (table.tiles(tile)[..., 3] > 127).flatten()
        flat[pixel[solid]] = layer.label
    return labels[:, P:-P, P:-P].clone()


def label_names(state: TabletopState) -> list[str]:
    """Names of ``segment``'s labels for the first table of ``state``."""
    objects = [NAMES[k] if k >= 0 else "nothing" for k in state.kind[0].tolist()]
    return ["table", *objects, "gripper"]


def _check_size(size: int) -> None:
    if not 16 <= size <= 512:
        raise ValueError(f"Pictures are 16 to 512 pixels wide, got {size}. The course uses 64.")

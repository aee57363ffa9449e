"""What stands where in the picture, back to front: from a TabletopState to a list of sprites per table.

The camera looks down at an angle: a point at height z appears ``TILT * z`` metres further up. Together with the gripper's
shadow on the table and a size that grows with height, that is what a policy can see of the third dimension. The camera
rides on the mobile base: moving or turning the base moves or turns the picture. Every drawing is flat: yaw, and the lean
of what stands tall, turn it in the plane of the picture.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.world.fixtures import CABINET, DRAWER, TILT
from course_lib.world.objects import KINDS
from course_lib.world.sprites import drawing_index
from course_lib.world.state import CABINET_FRONT, DRAWER_X, TabletopState, fronts

# The order of drawing. Within a group, what is nearer to the robot hides what is further away.
_BACK_TO_FRONT = ("drawer", "in a drawer", "cabinet", "drawer front", "on the table", "shadow", "in the hand", "gripper")
_RANK = {name: float(rank) for rank, name in enumerate(_BACK_TO_FRONT)}
SHUT = 0.001  # a drawer that is open by less shows nothing of its inside (metres)
_HOLDS = torch.tensor([*(kind.holds for kind in KINDS), False])  # the last row is the empty place, kind -1


@dataclass(frozen=True)
class Sprites:
    """J sprites per table, back to front."""

    drawing: Int[Tensor, "N J"]  # number of the drawing (sprites.DRAWINGS), -1 for none
    at: Float[Tensor, "N J 2"]  # its middle in the picture: metres right of and above the picture's middle
    angle: Float[Tensor, "N J"]  # counter-clockwise
    scale: Float[Tensor, "N J"]
    tint: Float[Tensor, "N J"]  # brightness
    label: Int[Tensor, "N J"]  # as in ``render.segment``; 0 for shadows
    rank: Float[Tensor, "N J"]  # higher is nearer to the eye

    def __len__(self) -> int:
        return self.drawing.shape[0]


def sprites_of(state: TabletopState) -> Sprites:
    """Everything that is drawn, sorted."""
    parts = [_objects(state), _cabinet(state), _hand(state)]
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts], 1) for f in fields(Sprites)}
    order = torch.where(joined["drawing"] < 0, torch.inf, joined["rank"]).argsort(dim=1, stable=True)  # nothing comes last
    rows = torch.arange(len(order), device=order.device)[:, None]
    return Sprites(**{name: values[rows, order] for name, values in joined.items()})


def in_view(state: TabletopState, xyz: Float[Tensor, "N K 3"]) -> Float[Tensor, "N K 2"]:
    """Places on the table in the picture: metres right of and above its middle."""
    dx, dy = (xyz[..., :2] - state.base[:, None, :2]).unbind(-1)
    yaw = state.base[:, 2:].contiguous()  # contiguous: the same cosine alone or in a batch
    cos, sin = yaw.cos(), yaw.sin()  # (N, 1)
    return _seen(state, torch.stack([cos * dx + sin * dy, cos * dy - sin * dx, xyz[..., 2]], -1))


def _seen(state: TabletopState, xyz: Float[Tensor, "N K 3"]) -> Float[Tensor, "N K 2"]:
    """Places in the frame of the base in the picture."""
    x, y, z = xyz.unbind(-1)
    return torch.stack([x - state.camera[:, :1], y + TILT * z - state.camera[:, 1:]], -1)


def _objects(state: TabletopState) -> Sprites:
    N, K = state.kind.shape
    at = in_view(state, state.xyz)
    place = torch.arange(K, device=at.device)
    holder = state.inside.clamp(0, K - 1)
    nested = (state.inside >= 0) & (state.inside < K)
    outer = torch.where(nested, state.inside.gather(1, holder), state.inside)  # drawer of the thing, or of what holds it
    carried = place == state.held[:, None]
    carried = carried | (nested & carried.gather(1, holder))
    under = (outer >= K) & (state.xyz[..., 1] > CABINET_FRONT)  # pushed in with its drawer: out of sight
    rank = torch.where(outer >= K, _RANK["in a drawer"], _RANK["on the table"])
    rank = torch.where(carried, _RANK["in the hand"], rank)
    holds = _HOLDS.to(at.device)[state.kind] & ~nested  # what holds things lies under everything else
    return Sprites(
        drawing=torch.where(under, -1, state.kind),
        at=at,
        angle=state.yaw + state.tilt - state.base[:, 2:],
        scale=state.size * (1 + 1.2 * state.xyz[..., 2]),
        tint=state.tint,
        label=(place + 1).expand(N, K),
        rank=rank + torch.where(holds, 0.0, 0.5) + 0.4 * (0.5 - at[..., 1]).clamp(0, 1),
    )


def _cabinet(state: TabletopState) -> Sprites:
    """Both drawers, the cabinet, and the drawers' fronts."""
    N, K = state.kind.shape
    front = fronts(state)  # (N, 2)
    y = torch.cat([front + DRAWER.anchor, torch.full_like(front[:, :1], CABINET.anchor), front], 1)
    x = y.new_tensor([*DRAWER_X, 0.0, *DRAWER_X]).expand_as(y)
    names = ("drawer", "drawer", "cabinet", "drawer front", "drawer front")
    drawing = state.kind.new_tensor([drawing_index(name) for name in names])
    one = torch.ones_like(y)
    there = state.cabinet[:, None] & torch.cat([state.drawer > SHUT, one[:, :3] > 0], 1)  # a shut drawer is out of sight
    return Sprites(
        drawing=torch.where(there, drawing, -1),
        at=in_view(state, torch.stack([x, y, 0 * one], -1)),
        angle=-state.base[:, 2:] * one,
        scale=one,
        tint=one,
        label=state.kind.new_tensor([K + 3, K + 4, K + 2, K + 3, K + 4]).expand(N, -1),
        rank=y.new_tensor([_RANK[name] for name in names]).expand_as(y),
    )


def _hand(state: TabletopState) -> Sprites:
    """The gripper and its shadow, which lies on the table below it."""
    N, K = state.kind.shape
    shadow, open_, closed = (drawing_index(name) for name in ("gripper's shadow", "open gripper", "closed gripper"))
    place = torch.stack([state.gripper * state.gripper.new_tensor([1, 1, 0]), state.gripper], 1)  # (N, 2, 3)
    height = state.gripper[:, 2]
    turn = state.wrist[:, 0] + state.wrist[:, 2]
    one = torch.ones_like(place[..., 0])
    return Sprites(
        drawing=torch.stack([torch.full_like(state.held, shadow), torch.where(state.closed, closed, open_)], 1),
        at=_seen(state, place),
        angle=torch.stack([0 * turn, turn], 1),
        scale=torch.stack([0.92 + 1.4 * height, 1 + 0.6 * height], 1),
        tint=one,
        label=state.kind.new_tensor([0, K + 1]).expand(N, -1),
        rank=one.new_tensor([_RANK["shadow"], _RANK["gripper"]]).expand_as(one),
    )

"""What N tables are at one moment: TabletopState, the cabinet's measures, and where the finger tips are.

Lengths are metres, angles radians. x points right, y away from the robot, z up; the table is 0.4 m x 0.4 m around the
origin.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CABINET_FRONT = 0.12  # y of the cabinet's front: it fills the table from here to the far edge (0.2)
CABINET_HEIGHT = 0.07
DRAWER_X = (-0.085, 0.085)  # centres of the left and the right drawer
DRAWER_HALF = 0.07  # half the width of a drawer
DRAWER_OPEN = 0.10  # a drawer slides out this far at most; its front is then at y = CABINET_FRONT - DRAWER_OPEN
HANDLE = 0.012  # the knob stands this far before the front ...
HANDLE_HEIGHT = 0.03  # ... and this high


@dataclass(frozen=True)
class TabletopState:
    """N tables with K object places each. All tensors share the first axis N and the device."""

    seed: Int[Tensor, " N"]  # identity of the episode: decides the scene and all its noise
    step: Int[Tensor, " N"]  # control steps so far
    kind: Int[Tensor, "N K"]  # index into objects.KINDS, -1 where the place is empty
    xyz: Float[Tensor, "N K 3"]  # object centres in the plane; z is the height of the underside
    yaw: Float[Tensor, "N K"]
    tilt: Float[Tensor, "N K"]  # lean to the side: 0 upright, +-pi/2 lying; only kinds that stand tall ever lean
    inside: Int[Tensor, "N K"]  # -1 on the table or in the hand, k in or on the receptacle at place k, K + d in drawer d
    size: Float[Tensor, "N K"]  # relative size, about 1
    tint: Float[Tensor, "N K"]  # relative brightness, about 1
    gripper: Float[Tensor, "N 3"]  # finger tips, in the frame of the base
    wrist: Float[Tensor, "N 3"]  # roll, pitch, yaw
    closed: Bool[Tensor, " N"]
    held: Int[Tensor, " N"]  # place of the held object, -1 for none
    handle: Int[Tensor, " N"]  # drawer whose handle the fingers hold (0 left, 1 right), -1 for none
    cabinet: Bool[Tensor, " N"]  # whether a cabinet with two drawers stands at the far side
    drawer: Float[Tensor, "N 2"]  # how far the left and the right drawer are open, 0 ... DRAWER_OPEN metres
    base: Float[Tensor, "N 3"]  # x, y, yaw of the mobile base: the camera rides on it
    table: Int[Tensor, " N"]  # number of the table texture
    light: Float[Tensor, "N 3"]  # relative brightness of red, green, blue
    camera: Float[Tensor, "N 2"]  # where the camera is mounted, x and y from its usual place on the base (metres)

    def __len__(self) -> int:
        return self.seed.shape[0]

    def to(self, device: torch.device | str) -> "TabletopState":
        return self.map(lambda x: x.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> "TabletopState":
        """Apply ``function`` to every tensor: indexing, moving, stacking."""
        return TabletopState(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def __getitem__(self, which) -> "TabletopState":
        return self.map(lambda x: x[which])


def stack(states: list[TabletopState]) -> TabletopState:
    """Concatenate along N."""
    return TabletopState(**{f.name: torch.cat([getattr(s, f.name) for s in states]) for f in fields(TabletopState)})


def tips(state: TabletopState) -> Float[Tensor, "N 3"]:
    """Finger tips in the frame of the table."""
    cos, sin = state.base[:, 2].cos(), state.base[:, 2].sin()
    x, y, z = state.gripper.unbind(-1)
    return torch.stack([state.base[:, 0] + cos * x - sin * y, state.base[:, 1] + sin * x + cos * y, z], -1)


def at_tips(state: TabletopState, tip: Float[Tensor, "N 3"]) -> TabletopState:
    """The same tables with the finger tips at ``tip`` (frame of the table): what ``tips`` undoes."""
    dx, dy = (tip[:, :2] - state.base[:, :2]).unbind(-1)
    cos, sin = state.base[:, 2].cos(), state.base[:, 2].sin()
    return replace(state, gripper=torch.stack([cos * dx + sin * dy, cos * dy - sin * dx, tip[:, 2]], -1))


def fronts(state: TabletopState) -> Float[Tensor, "N 2"]:
    """y of the front wall of each drawer."""
    return CABINET_FRONT - state.drawer


def handles(state: TabletopState) -> Float[Tensor, "N 2 3"]:
    """Where the knobs of the drawers are, frame of the table."""
    y = fronts(state) - HANDLE
    x = y.new_tensor(DRAWER_X).expand_as(y)
    return torch.stack([x, y, torch.full_like(y, HANDLE_HEIGHT)], -1)


def place_of(state: TabletopState, k: Int[Tensor, " N"]) -> Float[Tensor, "N 3"]:
    """xyz of the object at place ``k`` of each table (place 0 where k is negative)."""
    return state.xyz[torch.arange(len(state), device=k.device), k.clamp(min=0)]

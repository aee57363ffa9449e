"""The tabletop: N tables at once, pure functions from state and action to the next state.

Lengths are metres, angles radians. x points right, y away from the robot, z up; the table is 0.4 m x 0.4 m around the
origin. Every function takes all N tables and works on any device; nothing here draws pictures (``render``), knows
tasks (``tasks``) or Gymnasium (``env``). Randomness is a hash of each table's seed (``chance``), so a table behaves the
same alone or in a batch.

The physics is kinematic: the gripper moves by the commanded step (plus a little actuator noise), closes on what is
between its fingers, carries it, and lets it fall straight down. Objects do not push one another yet.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.actions import ActionSpace
from course_lib.world import chance
from course_lib.world.objects import KINDS

SPACE = ActionSpace.workbook()
REACH = 0.17  # the gripper stays within +-REACH in x and y (metres)
CEILING = 0.20  # and between the table and CEILING in z
GRASP_RADIUS = 0.028  # an object is between the fingers when it is this near in the plane
GRASP_HEIGHT = 0.035  # and the fingers are this low
SEPARATION = 0.088  # objects start at least this far apart, centre to centre
NOISE = 0.005  # standard deviation of the arm's motion error, metres per step
CABINET_FRONT = 0.12  # y of the cabinet's front: it fills the table from here to the far edge (0.2)
DRAWER_X = (-0.085, 0.085)  # centres of the left and the right drawer
DRAWER_HALF = 0.07  # half the width of a drawer
DRAWER_OPEN = 0.10  # a drawer slides out this far at most; its front is then at y = CABINET_FRONT - DRAWER_OPEN
CLOSE_ABOVE = 0.5  # gripper command above this closes, below minus this opens, between keeps


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

    def map(self, function) -> "TabletopState":
        """Apply ``function`` to every tensor: indexing, moving, stacking."""
        return TabletopState(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def __getitem__(self, which) -> "TabletopState":
        return self.map(lambda x: x[which])


def stack(states: list[TabletopState]) -> TabletopState:
    """Concatenate along N."""
    return TabletopState(**{f.name: torch.cat([getattr(s, f.name) for s in states]) for f in fields(TabletopState)})


def _places(seed: Tensor, count: int, tries: int = 48) -> Float[Tensor, "N K 2"]:
    """``count`` random places per table, at least SEPARATION apart (or as far apart as ``tries`` draws allow)."""
    spot = (chance.uniform(seed, torch.zeros_like(seed), 1, count, tries, 2) - 0.5) * 2  # (N, K, tries, 2)
    spot = spot * torch.tensor([0.155, 0.145], device=seed.device)
    chosen = spot[:, :1, 0]  # (N, 1, 2)
    for k in range(1, count):
        gap = torch.cdist(spot[:, k], chosen).amin(-1)  # (N, tries)
        best = torch.where(gap >= SEPARATION, 2.0, gap).argmax(-1)  # the first that fits, else the best
        pick = spot[:, k].gather(1, best[:, None, None].expand(-1, 1, 2))
        chosen = torch.cat([chosen, pick], 1)
    return chosen


def reset(seed: Int[Tensor, " N"], kind: Int[Tensor, "N K"]) -> TabletopState:
    """Fresh tables holding the given kinds at random places. Raises ValueError for an impossible scene."""
    N, K = kind.shape
    if K > 8:
        raise ValueError(f"Expected at most 8 objects on a table, got {K}: more do not fit {SEPARATION} m apart. Try fewer.")
    if int(kind.max()) >= len(KINDS) or int(kind.min()) < -1:
        raise ValueError(f"Kinds are -1 (empty) or 0 ... {len(KINDS) - 1}, got {int(kind.min())} ... {int(kind.max())}.")
    zero = torch.zeros_like(seed)

    def draw(stream, *shape):
        return chance.uniform(seed, zero, stream, *shape)

    flat = torch.zeros(N, K, 1, device=seed.device)
    start = (draw(5, 2) - 0.5) * torch.tensor([0.24, 0.2], device=seed.device)
    height = 0.08 + 0.08 * draw(6, 1)
    return TabletopState(
        seed=seed,
        step=zero,
        kind=kind,
        xyz=torch.cat([_places(seed, K), flat], -1),
        yaw=(draw(2, K) - 0.5) * 1.6,  # within 46 degrees of upright: the drawings stay readable
        tilt=torch.zeros(N, K, device=seed.device),
        inside=torch.full_like(kind, -1),
        size=0.92 + 0.16 * draw(3, K),
        tint=0.88 + 0.2 * draw(4, K),
        gripper=torch.cat([start, height], -1),
        wrist=torch.zeros(N, 3, device=seed.device),
        closed=torch.zeros(N, dtype=torch.bool, device=seed.device),
        held=torch.full_like(seed, -1),
        handle=torch.full_like(seed, -1),
        cabinet=torch.zeros(N, dtype=torch.bool, device=seed.device),
        drawer=torch.zeros(N, 2, device=seed.device),
        base=torch.zeros(N, 3, device=seed.device),
        table=(draw(7) * 1_000_000).long().reshape(N),
        light=0.9 + 0.16 * draw(8, 3),
        camera=torch.zeros(N, 2, device=seed.device),
    )


def tips(state: TabletopState) -> Float[Tensor, "N 3"]:
    """Finger tips in the frame of the table."""
    cos, sin = state.base[:, 2].cos(), state.base[:, 2].sin()
    x, y, z = state.gripper.unbind(-1)
    return torch.stack([state.base[:, 0] + cos * x - sin * y, state.base[:, 1] + sin * x + cos * y, z], -1)


def _moved(state: TabletopState, action: Tensor) -> TabletopState:
    """Arm, wrist and base after the commanded step; the arm's error grows with the length of the step, up to NOISE."""
    effort = (action[:, :3].abs().amax(-1, keepdim=True) / 0.02).clamp(max=1)
    error = chance.normal(state.seed, state.step, 9, 3).clamp(-2, 2) * NOISE * effort
    gripper = state.gripper + action[:, :3] + error
    low = gripper.new_tensor([-REACH, -REACH, 0.0])
    high = gripper.new_tensor([REACH, REACH, CEILING])
    return replace(
        state,
        step=state.step + 1,
        gripper=gripper.clamp(low, high),
        wrist=state.wrist + action[:, 3:6],
        base=state.base + action[:, 7:10],
    )


def _gripped(state: TabletopState, command: Tensor) -> TabletopState:
    """Close on the nearest object between the fingers, or open and let it fall."""
    tip = tips(state)
    gap = (state.xyz[..., :2] - tip[:, None, :2]).norm(dim=-1)  # (N, K)
    within = (gap < GRASP_RADIUS) & (state.kind >= 0) & (state.xyz[..., 2] < 0.01)
    nearest = torch.where(within, gap, torch.inf).argmin(-1)  # (N,)
    close, open_ = command > CLOSE_ABOVE, command < -CLOSE_ABOVE
    grasp = close & ~state.closed & within.any(-1) & (tip[:, 2] < GRASP_HEIGHT)
    held = torch.where(open_, -1, torch.where(grasp, nearest, state.held))
    return replace(state, held=held, closed=(state.closed | close) & ~open_)


def _carried(state: TabletopState, turned: Tensor) -> TabletopState:
    """The held object follows the fingers; all others rest on the table."""
    is_held = torch.arange(state.kind.shape[1], device=state.kind.device) == state.held[:, None]  # (N, K)
    tip = tips(state)
    resting = torch.cat([state.xyz[..., :2], torch.zeros_like(state.xyz[..., :1])], -1)
    in_hand = torch.cat([tip[:, :2], (tip[:, 2:] - 0.01).clamp(min=0)], -1)[:, None]  # fingers reach 1 cm around it
    yaw = torch.where(is_held, state.yaw + turned[:, None], state.yaw)
    return replace(state, xyz=torch.where(is_held[..., None], in_hand, resting), yaw=yaw)


def step(state: TabletopState, action: Float[Tensor, "N A"]) -> TabletopState:
    """One control step (1/3 s). ``action`` is in ``ActionSpace.workbook()``'s order and units.

    Numbers outside the range are clipped to it, as the real robot's limits would. NaN, a wrong shape or a broken class
    raise ValueError (``ActionSpace.check``): the robot never moves on a bad command.
    """
    action = SPACE.check(action)
    low, high = (torch.from_numpy(x).to(action.device) for x in (SPACE.low, SPACE.high))
    action = action.clamp(low, high)
    state = _moved(state, action)
    state = _gripped(state, action[:, 6])
    return _carried(state, action[:, 5] + action[:, 9])

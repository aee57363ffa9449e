"""The tabletop: N tables at once, pure functions from state and action to the next state.

Lengths are metres, angles radians. x points right, y away from the robot, z up; the table is 0.4 m x 0.4 m around the
origin. Every function takes all N tables and works on any device; nothing here draws pictures (``render``), knows
tasks (``tasks``) or Gymnasium (``env``). Randomness is a hash of each table's seed (``chance``), so a table behaves the
same alone or in a batch.

The physics is kinematic: the gripper moves by the commanded step (plus a little actuator noise), closes on what is
between its fingers or on a drawer's handle, carries it, and lets it fall straight down. What touches what, and what
follows from it, is in ``contact``.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.actions import ActionSpace
from course_lib.world import chance, contact
from course_lib.world.objects import KINDS
from course_lib.world.state import (  # part of what a table is: named here too
    CABINET_FRONT,
    DRAWER_HALF,
    DRAWER_OPEN,
    DRAWER_X,
    TabletopState,
    stack,
    tips,
)
from course_lib.world.textures import seen_tables

__all__ = [
    "CABINET_FRONT",
    "DRAWER_HALF",
    "DRAWER_OPEN",
    "DRAWER_X",
    "REACH",
    "SEPARATION",
    "SPACE",
    "TabletopState",
    "reset",
    "spots",
    "stack",
    "step",
    "tips",
]

SPACE = ActionSpace.workbook()
REACH = 0.17  # the gripper stays within +-REACH in x and y (metres)
CEILING = 0.20  # and between the table and CEILING in z
GRASP_RADIUS = 0.028  # an object is between the fingers when it is this near in the plane
GRASP_HEIGHT = 0.035  # and the fingers are this low over its underside
SEPARATION = 0.088  # objects start at least this far apart, centre to centre
MAX_OBJECTS = 8
NOISE = 0.005  # standard deviation of the arm's motion error, metres per step
CLOSE_ABOVE = 0.5  # gripper command above this closes, below minus this opens, between keeps
_LOW, _HIGH = torch.from_numpy(SPACE.low), torch.from_numpy(SPACE.high)
# A command of less than half a bin moves nothing, as a real joint's dead band: zero has no bin of its own (the 256 levels
# are symmetric around it), and a policy that says "nearest to zero" must not creep.
_DEAD = (_HIGH - _LOW) / 255 * 0.51


def spots(
    seed: Int[Tensor, " N"], count: int, far: Float[Tensor, " N"], stream: int = 1, tries: int = 48
) -> Float[Tensor, "N K 2"]:
    """``count`` random places per table, at least SEPARATION apart (or as far apart as ``tries`` draws allow).

    y runs from -0.145 to ``far``. A table's places do not depend on the other tables.
    """
    u = chance.uniform(seed, torch.zeros_like(seed), stream, count, tries, 2)  # (N, K, tries, 2)
    y = -0.145 + u[..., 1] * (far[:, None, None] + 0.145)
    spot = torch.stack([(u[..., 0] - 0.5) * 0.31, y], -1)
    chosen = spot[:, :1, 0]  # (N, 1, 2)
    for k in range(1, count):
        gap = (spot[:, k, :, None] - chosen[:, None]).square().sum(-1).amin(-1).sqrt()  # (N, tries)
        best = torch.where(gap >= SEPARATION, 2.0, gap).argmax(-1)  # the first that fits, else the best
        pick = spot[:, k].gather(1, best[:, None, None].expand(-1, 1, 2))
        chosen = torch.cat([chosen, pick], 1)
    return chosen


def _check_kinds(kind: Tensor) -> None:
    K = kind.shape[1]
    if K > MAX_OBJECTS:
        raise ValueError(
            f"Expected at most {MAX_OBJECTS} objects on a table, got {K}: more do not fit {SEPARATION} m apart. Try fewer."
        )
    if int(kind.max()) >= len(KINDS) or int(kind.min()) < -1:
        raise ValueError(f"Kinds are -1 (empty) or 0 ... {len(KINDS) - 1}, got {int(kind.min())} ... {int(kind.max())}.")


def reset(seed: Int[Tensor, " N"], kind: Int[Tensor, "N K"], cabinet: Bool[Tensor, " N"] | None = None) -> TabletopState:
    """Fresh tables holding the given kinds at random places, everything upright, drawers shut.

    Raises ValueError for an impossible scene.
    """
    _check_kinds(kind)
    N, K = kind.shape
    zero = torch.zeros_like(seed)
    device = seed.device
    cabinet = torch.zeros(N, dtype=torch.bool, device=device) if cabinet is None else cabinet

    def draw(stream, *shape):
        return chance.uniform(seed, zero, stream, *shape)

    flat = torch.zeros(N, K, 1, device=device)
    far = torch.where(cabinet, -0.02, 0.145)  # an open drawer reaches to y = 0.02
    start = (draw(5, 2) - 0.5) * torch.tensor([0.24, 0.2], device=device)
    height = 0.08 + 0.08 * draw(6, 1)
    return TabletopState(
        seed=seed,
        step=zero,
        kind=kind,
        xyz=torch.cat([spots(seed, K, far), flat], -1),
        yaw=(draw(2, K) - 0.5) * 2 * contact.TURN.to(device)[kind],
        tilt=torch.zeros(N, K, device=device),
        inside=torch.full_like(kind, -1),
        size=0.92 + 0.16 * draw(3, K),
        tint=0.88 + 0.2 * draw(4, K),
        gripper=torch.cat([start, height], -1),
        wrist=torch.zeros(N, 3, device=device),
        closed=torch.zeros(N, dtype=torch.bool, device=device),
        held=torch.full_like(seed, -1),
        handle=torch.full_like(seed, -1),
        cabinet=cabinet,
        drawer=torch.zeros(N, 2, device=device),
        base=torch.zeros(N, 3, device=device),
        table=seen_tables(draw(7)),
        light=0.9 + 0.16 * draw(8, 3),
        camera=(draw(10, 2) - 0.5) * 0.02,
    )


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
    """Close on the nearest thing between the fingers (an object or a handle), or open and let it fall."""
    tip = tips(state)
    gap = (state.xyz[..., :2] - tip[:, None, :2]).norm(dim=-1)  # (N, K)
    low = tip[:, None, 2] - state.xyz[..., 2] < GRASP_HEIGHT
    within = (gap < GRASP_RADIUS) & low & (state.kind >= 0) & contact.NARROW.to(tip.device)[state.kind]
    # what lies in a bowl is above the bowl: fingers meet it first
    nearest = torch.where(within, gap - 0.05 * (state.inside >= 0), torch.inf).argmin(-1)  # (N,)
    knob = (contact.handles(state) - tip[:, None]).norm(dim=-1)  # (N, 2)
    close, open_ = command > CLOSE_ABOVE, command < -CLOSE_ABOVE
    free = close & ~state.closed
    grasp = free & within.any(-1)
    grab = free & ~grasp & state.cabinet & (knob.amin(-1) < contact.KNOB)
    held = torch.where(open_, -1, torch.where(grasp, nearest, state.held))
    handle = torch.where(open_, -1, torch.where(grab, knob.argmin(-1), state.handle))
    return replace(state, held=held, handle=handle, closed=(state.closed | close) & ~open_)


def step(state: TabletopState, action: Float[Tensor, "N A"]) -> TabletopState:
    """One control step (1/3 s). ``action`` is in ``ActionSpace.workbook()``'s order and units.

    Numbers outside the range are clipped to it, as the real robot's limits would. NaN, a wrong shape or a broken class
    raise ValueError (``ActionSpace.check``): the robot never moves on a bad command.
    """
    action = SPACE.check(action)
    low, high, dead = (x.to(action.device) for x in (_LOW, _HIGH, _DEAD))
    action = action.clamp(low, high)
    still = (action.abs() < dead) & (torch.arange(len(SPACE), device=action.device) != SPACE.index("gripper"))
    action = torch.where(still, 0.0, action)
    before, tip = state, tips(state)
    state = contact.blocked(_moved(state, action), tip)
    state = _gripped(state, action[:, 6])
    return contact.settled(before, state, action[:, 3], action[:, 5] + action[:, 9])

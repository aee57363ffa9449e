"""What touches what: carrying, pushing, toppling, landing, drawers and what lies in them.

Kinematic rules, each a few lines, applied once per control step to all N tables:

- a held object follows the finger tips; wrist yaw turns it, wrist roll leans what can stand;
- a closed gripper (or what it holds) that moves low over the table pushes what it meets; tall things topple;
- what is let go falls straight down: into the drawer, onto the plate, into the bowl or onto the table, where it makes
  room for itself; a tall thing lands upright if it was nearly upright and not dropped from high;
- fingers on a handle move the drawer, a closed gripper pushes it shut; contents ride along.

Not modelled: weight, friction, speed, rolling. Objects have a round footprint (``Kind.radius``).
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.world.objects import KINDS
from course_lib.world.state import (
    CABINET_FRONT,
    CABINET_HEIGHT,
    DRAWER_HALF,
    DRAWER_OPEN,
    DRAWER_X,
    HANDLE,
    TabletopState,
    at_tips,
    fronts,
    handles,
    tips,
)

KNOB = 0.035  # fingers this near to a knob can grab it
LOW = 0.05  # a gripper lower than this meets what stands on the table
FINGER = 0.012  # radius of the closed fingers
EDGE = 0.185  # objects stay within +-EDGE of the table's middle
DROP = 0.08  # a tall thing that falls from higher than this does not stay upright
UPRIGHT = 0.35  # radians: lands upright when it leans less

# Facts of each kind as tensors; the last row is the empty place (kind -1).
RADIUS = torch.tensor([*(kind.radius for kind in KINDS), 0.0])
STANDS = torch.tensor([*(kind.stands for kind in KINDS), False])
HOLDS = torch.tensor([*(kind.holds for kind in KINDS), False])
PLATE = torch.tensor([*(kind.word == "plate" for kind in KINDS), False])  # flat: nothing stops at it
NARROW = ~PLATE  # fits between the fingers
# How far a kind lies turned at the start: drawings stay readable within 46 degrees, what stands upright hardly turns.
TURN = torch.tensor([*(0.15 if kind.stands else 0.3 if kind.word == "card" else 0.8 for kind in KINDS), 0.0])


def _of(facts: Tensor, state: TabletopState) -> Tensor:
    """One fact of every object, (N, K)."""
    return facts.to(state.kind.device)[state.kind]


def _is(place: Tensor, state: TabletopState) -> Tensor:
    """Which place is meant, as bool (N, K)."""
    return torch.arange(state.kind.shape[1], device=place.device) == place[:, None]


def blocked(state: TabletopState, before: Float[Tensor, "N 3"]) -> TabletopState:
    """The gripper after the step, kept on the handle it holds and out of the cabinet; drawers follow.

    ``before`` is where the tips were.
    """
    if not bool(state.cabinet.any()):
        return state
    tip, front = tips(state), fronts(state)
    x = tip.new_tensor(DRAWER_X)
    mine = torch.arange(2, device=tip.device) == state.handle[:, None]  # (N, 2)
    pulled = CABINET_FRONT - HANDLE - tip[:, 1:2]
    meets = state.closed & (state.handle < 0) & (tip[:, 2] < LOW)
    inside = (tip[:, :1] - x).abs() < DRAWER_HALF
    shove = meets[:, None] & inside & (before[:, 1:2] <= front) & (tip[:, 1:2] > front)
    opening = torch.where(mine, pulled, torch.where(shove, CABINET_FRONT - tip[:, 1:2], state.drawer))
    opening = torch.where(state.cabinet[:, None], opening.clamp(0, DRAWER_OPEN), state.drawer)
    state = replace(state, drawer=opening)
    knob = handles(state)[torch.arange(len(state), device=tip.device), state.handle.clamp(min=0)]
    wall = state.cabinet & (tip[:, 2] < CABINET_HEIGHT)
    y = torch.where(wall, tip[:, 1].clamp(max=CABINET_FRONT - 0.005), tip[:, 1])
    free = torch.stack([tip[:, 0], y, tip[:, 2]], -1)
    return at_tips(state, torch.where((state.handle >= 0)[:, None], knob, free))


def settled(before: TabletopState, state: TabletopState, rolled: Tensor, turned: Tensor) -> TabletopState:
    """All objects after the gripper has moved, closed or opened: ``before`` is the state at the start of the step."""
    state = _carried(state, rolled, turned)
    state = _landed(before, state)
    state, pushed = _pushed(before, state)
    state = _apart(state, pushed)
    return _contents(before, state)


def _carried(state: TabletopState, rolled: Tensor, turned: Tensor) -> TabletopState:
    """The held object follows the fingers."""
    held = _is(state.held, state)
    tip = tips(state)
    in_hand = torch.cat([tip[:, :2], (tip[:, 2:] - 0.01).clamp(min=0)], -1)[:, None]  # fingers reach 1 cm around it
    lean = torch.where(_of(STANDS, state), state.tilt + rolled[:, None], state.tilt)
    return replace(
        state,
        xyz=torch.where(held[..., None], in_hand, state.xyz),
        yaw=torch.where(held, state.yaw + turned[:, None], state.yaw),
        tilt=torch.where(held, lean, state.tilt),
        inside=torch.where(held, -1, state.inside),
    )


def _landed(before: TabletopState, state: TabletopState) -> TabletopState:
    """What was let go in this step falls: into a drawer, into or onto a receptacle, or onto the table."""
    let_go = _is(torch.where(state.held < 0, before.held, -1), state)  # (N, K)
    if not bool(let_go.any()):
        return state
    K = state.kind.shape[1]
    who = before.held.clamp(min=0)
    at = state.xyz[torch.arange(len(state), device=who.device), who]  # (N, 3)
    gap = (state.xyz[..., :2] - at[:, None, :2]).norm(dim=-1)
    catches = _of(HOLDS, state) & ~let_go & (gap < 0.85 * _of(RADIUS, state)) & (state.inside < 0)
    catches &= ~_of(HOLDS, state)[torch.arange(len(state), device=who.device), who][:, None]  # no bowl in a bowl
    into = torch.where(catches, gap, torch.inf)
    front = fronts(state)
    x = front.new_tensor(DRAWER_X)
    falls_in = state.cabinet[:, None] & ((at[:, :1] - x).abs() < DRAWER_HALF) & (at[:, 1:2] > front)
    falls_in &= (at[:, 1:2] < CABINET_FRONT) & (state.drawer > 0.04)
    home = torch.where(catches.any(-1), into.argmin(-1), -1)
    home = torch.where(falls_in.any(-1), K + falls_in.int().argmax(-1), home)  # (N,)
    high = at[:, 2] > DROP
    tilt = _leaning(state.tilt, high[:, None])
    rest = state.xyz * state.xyz.new_tensor([1, 1, 0])
    rest[..., 2] = torch.where((home >= 0)[:, None], 0.008, 0.0)  # on the floor of what holds it
    return replace(
        state,
        xyz=torch.where(let_go[..., None], rest, state.xyz),
        tilt=torch.where(let_go & _of(STANDS, state), tilt, state.tilt),
        inside=torch.where(let_go, home[:, None], state.inside),
    )


def _leaning(tilt: Tensor, dropped: Tensor) -> Tensor:
    """A leaning thing comes to rest upright or on one of its sides."""
    lean = torch.remainder(tilt + math.pi, 2 * math.pi) - math.pi
    side = torch.where(lean < 0, -math.pi / 2, math.pi / 2)
    return torch.where((lean.abs() < UPRIGHT) & ~dropped, 0.0, side)


def _pushed(before: TabletopState, state: TabletopState) -> tuple[TabletopState, Bool[Tensor, "N K"]]:
    """A closed gripper sweeping low over the table shoves what is in its way ahead of it; tall things topple.

    Also returns which objects were pushed: in ``_apart`` they give way to nothing.
    """
    low = (tips(state)[:, 2] < LOW) & (tips(before)[:, 2] < LOW)
    active = low & state.closed & before.closed & (state.handle < 0)
    pushed = torch.zeros_like(state.kind, dtype=torch.bool)
    if not bool(active.any()):
        return state, pushed
    rows, radius = torch.arange(len(state), device=active.device), _of(RADIUS, state)
    fingers = FINGER + 0.8 * (radius * _is(state.held, state)).amax(-1, keepdim=True)
    loose = active[:, None] & (state.kind >= 0) & (state.inside < 0) & ~_is(state.held, state) & _of(NARROW, state)
    start, end, reach = tips(before)[:, :2], tips(state)[:, :2], fingers + 0.8 * radius
    at, tilt = state.xyz[..., :2], state.tilt
    for _ in range(2):  # the fingers push the first thing they meet, that one pushes the next
        hit, shift = _swept(start, end, reach, loose, at)
        first = hit.int().argmax(-1)
        start, at = at[rows, first], at + shift
        end = torch.where(hit.any(-1, keepdim=True), at[rows, first], start)
        reach = 0.85 * (radius + radius[rows, first, None])
        side = torch.where(shift[..., 0] < 0, math.pi / 2, -math.pi / 2)  # it falls to where it was pushed
        topples = hit & _of(STANDS, state) & (tilt.abs() < UPRIGHT) & (shift.norm(dim=-1) > 0.005)
        tilt, loose, pushed = torch.where(topples, side, tilt), loose & ~hit, pushed | hit
    return replace(state, xyz=torch.cat([at, state.xyz[..., 2:]], -1), tilt=tilt), pushed


def _swept(start: Tensor, end: Tensor, reach: Tensor, loose: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The first object (N, K) met on the way from ``start`` to ``end``, and how far it is shoved (N, K, 2)."""
    length = (end - start).norm(dim=-1, keepdim=True)  # (N, 1)
    way = ((end - start) / length.clamp(min=1e-6))[:, None]  # (N, 1, 2)
    offset = at - start[:, None]
    along = (offset * way).sum(-1)  # (N, K)
    lateral = (offset[..., 0] * way[..., 1] - offset[..., 1] * way[..., 0]).abs()
    target = length + (reach**2 - lateral**2).clamp(min=0).sqrt()
    met = loose & (length > 1e-4) & (lateral < reach) & (along > 0) & (along < target)
    nearest = torch.where(met, along, torch.inf).argmin(-1, keepdim=True)
    met &= torch.arange(at.shape[1], device=at.device) == nearest
    return met, torch.where(met, target - along, 0.0)[..., None] * way


def _apart(state: TabletopState, firm: Bool[Tensor, "N K"], rounds: int = 3) -> TabletopState:
    """Objects that overlap on the table make room, half each, but ``firm`` ones stay and the other goes the whole way.

    Nothing leaves the table or enters the cabinet.
    """
    K = state.kind.shape[1]
    loose = (state.kind >= 0) & (state.inside < 0) & ~_is(state.held, state)
    solid = loose & _of(NARROW, state)
    radius = _of(RADIUS, state)
    need = 0.85 * (radius[:, :, None] + radius[:, None])  # footprints are round, things are not quite
    pair = solid[:, :, None] & solid[:, None] & ~torch.eye(K, dtype=torch.bool, device=radius.device)
    give = torch.where(firm[:, :, None], 0.0, torch.where(firm[:, None], 1.0, 0.5))  # (N, K, K): of the first, to the second
    at = state.xyz[..., :2]
    for _ in range(rounds):
        away = at[:, :, None] - at[:, None]  # (N, K, K, 2)
        gap = away.norm(dim=-1)
        lack = torch.where(pair, (need - gap).clamp(min=0), 0.0)
        if not bool((lack > 0).any()):
            break
        at = at + ((give * lack)[..., None] * away / gap.clamp(min=1e-4)[..., None]).sum(2)
    far = torch.where(state.cabinet, CABINET_FRONT, EDGE)[:, None] - torch.where(state.cabinet[:, None], radius, 0.0)
    x, y = at[..., 0].clamp(-EDGE, EDGE), torch.minimum(at[..., 1].clamp(min=-EDGE), far)
    inside = torch.where(loose[..., None], torch.stack([x, y], -1), state.xyz[..., :2])
    return replace(state, xyz=torch.cat([inside, state.xyz[..., 2:]], -1))


def _contents(before: TabletopState, state: TabletopState) -> TabletopState:
    """What lies in a drawer or a bowl moves with it."""
    K = state.kind.shape[1]
    moved = state.xyz - before.xyz  # (N, K, 3)
    slid = torch.zeros(len(state), 2, 3, device=moved.device)
    slid[..., 1] = before.drawer - state.drawer
    both = torch.cat([moved, slid], 1)  # (N, K + 2, 3)
    rides = (state.inside >= 0) & (state.inside == before.inside)
    shift = both.gather(1, state.inside.clamp(0, K + 1)[..., None].expand(-1, -1, 3))
    return replace(state, xyz=torch.where(rides[..., None], state.xyz + shift, state.xyz))


def touched(before: TabletopState, after: TabletopState) -> Int[Tensor, " N"]:
    """Kind of an object that moved in this step without being carried, dropped or riding in something; -1 for none."""
    still = ~_is(after.held, after) & ~_is(before.held, before) & (after.inside < 0) & (before.inside < 0)
    moved = ((after.xyz - before.xyz)[..., :2].norm(dim=-1) > 0.003) & still & (after.kind >= 0)
    return torch.where(moved.any(-1), after.kind.gather(1, moved.int().argmax(-1, keepdim=True))[:, 0], -1)

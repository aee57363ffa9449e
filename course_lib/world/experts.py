"""Scripted experts: policies that may look at the state, and whose actions the models learn from.

An expert is a function of the current state only (no plan in its head), so it recovers from any situation: a missed
grasp, the wrong object in hand, a push. People differ, so episodes differ in height, pace and route (``_manner``, fixed
by the episode's seed). Steps lie on a 1 cm lattice inside the 256 bins: with continuous steps a small policy needed far
longer to learn the same skill.
"""

import math
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.world import chance
from course_lib.world.contact import LOW, RADIUS, UPRIGHT
from course_lib.world.state import CABINET_FRONT, DRAWER_X, HANDLE_HEIGHT, TabletopState, fronts, handles, place_of, tips
from course_lib.world.tabletop import SPACE
from course_lib.world.tasks import LIFTED, SKILLS, Goals, success, target_home, target_place

GRASP_AT = 0.02  # height of the tips over the underside of what they grasp
ALIGNED = 0.018  # near enough in the plane to go straight down
LATTICE = 0.01
BESIDE = 0.072  # where "near" puts things: side by side, centre to centre
ROLL, GRIP, STOP = SPACE.index("roll"), SPACE.index("gripper"), SPACE.index("terminate")


@dataclass
class _Move:
    """An action in the making, one row per table."""

    xyz: Float[Tensor, "N 3"]
    grip: Float[Tensor, " N"]  # +1 close, -1 open
    roll: Float[Tensor, " N"]
    stop: Bool[Tensor, " N"]

    @classmethod
    def still(cls, state: TabletopState, grip: float = -1.0) -> "_Move":
        N, device = len(state), state.seed.device
        zero = torch.zeros(N, device=device)
        return cls(torch.zeros(N, 3, device=device), zero + grip, zero, torch.zeros(N, dtype=torch.bool, device=device))

    def where(self, mask: Bool[Tensor, " N"], other: "_Move") -> "_Move":
        """``self`` where the mask holds, ``other`` elsewhere."""
        return _Move(
            torch.where(mask[:, None], self.xyz, other.xyz),
            torch.where(mask, self.grip, other.grip),
            torch.where(mask, self.roll, other.roll),
            torch.where(mask, self.stop, other.stop),
        )

    def action(self) -> Float[Tensor, "N A"]:
        out = torch.zeros(len(self.grip), len(SPACE), device=self.grip.device)
        out[:, :3], out[:, ROLL], out[:, GRIP], out[:, STOP] = self.xyz, self.roll, self.grip, self.stop.float()
        return out


def _manner(state: TabletopState) -> tuple[Tensor, Tensor, Tensor]:
    """How this episode's person moves: travelling height, longest step, and 0, 1, 2 for straight, x first, y first."""
    u = chance.uniform(state.seed, torch.zeros_like(state.seed), 27, 3)
    hover = 0.10 + 0.02 * ((u[:, 0] > 0.85).float() - (u[:, 0] < 0.15).float())
    pace = torch.where(u[:, 1] < 0.2, 0.04, 0.05)
    route = (u[:, 2] > 0.8).long() + (u[:, 2] > 0.9).long()
    return hover, pace, route


def _toward(delta: Tensor, pace: Tensor | float = 0.05) -> Tensor:
    """A step along ``delta``: at most ``pace`` per axis, in whole centimetres."""
    most = torch.as_tensor(pace, device=delta.device).reshape(-1, *[1] * (delta.ndim - 1))
    return ((delta / LATTICE).round() * LATTICE).clamp(-most, most)


def _travel(state: TabletopState, spot: Float[Tensor, "N 2"], low: Float[Tensor, " N"]) -> tuple[Tensor, Tensor]:
    """One step (N, 3) towards height ``low`` over ``spot``, high above everything else on the way; and: is it there?"""
    tip = tips(state)
    hover, pace, route = _manner(state)
    delta = spot - tip[:, :2]
    far = delta.abs().amax(-1)
    flat = _toward(delta, pace)
    wait_y = (route == 1) & (delta[:, 0].abs() > 0.03)
    wait_x = (route == 2) & (delta[:, 1].abs() > 0.03)
    flat = torch.where(torch.stack([wait_x, wait_y], -1), 0.0, flat)
    height = torch.where(far < 0.05, low, torch.maximum(hover, low))  # down over the last 5 cm
    up = _toward(height - tip[:, 2])
    there = (far < ALIGNED) & (tip[:, 2] < low + 0.012)
    return torch.cat([flat, up[:, None]], -1), there


def _finish(state: TabletopState) -> _Move:
    """Hands off, up, and stop."""
    move = _Move.still(state)
    rise = tips(state)[:, 2] < 0.08
    move.xyz[:, 2] = 0.05 * rise
    move.stop = ~rise & ~state.closed
    return move


def _fetch(state: TabletopState, place: Int[Tensor, " N"]) -> tuple[_Move, Bool[Tensor, " N"]]:
    """Get the object at ``place`` into the hand: what to do, and who has it already."""
    has = state.held == place
    goal = place_of(state, place)
    clumsy = state.closed & ~has  # closed on nothing, or on the wrong thing
    xyz, there = _travel(state, goal[:, :2], goal[:, 2] + GRASP_AT)
    move = _Move.still(state)
    move.xyz = torch.where((clumsy | there)[:, None], 0.0, xyz)
    move.grip = torch.where(there & ~clumsy, 1.0, -1.0)
    return move, has


def _deliver(state: TabletopState, spot: Float[Tensor, "N 2"], low: float) -> _Move:
    """Carry what is in the hand to ``spot``, lower it, let go."""
    xyz, there = _travel(state, spot, torch.full_like(spot[:, 0], low))
    move = _Move.still(state, 1.0)
    move.xyz = torch.where(there[:, None], 0.0, xyz)
    move.grip = torch.where(there, -1.0, 1.0)
    return move


def _free(state: TabletopState, spots: Float[Tensor, "N C 2"], but: Bool[Tensor, "N K"]) -> Float[Tensor, "N 2"]:
    """The candidate nearest to the tips among those with room: on the table, clear of objects (``but`` some), of drawers."""
    tip = tips(state)
    gap = (spots[:, :, None] - state.xyz[:, None, :, :2]).norm(dim=-1)  # (N, C, K)
    room = gap - RADIUS.to(tip.device)[state.kind][:, None] - 0.035
    room = torch.where((but | (state.kind < 0) | (state.inside >= 0))[:, None], 1.0, room).amin(-1).clamp(max=0)
    x, y = spots.unbind(-1)
    front = fronts(state).gather(1, (x > 0).long())  # of the drawer behind the spot
    far = torch.where(state.cabinet[:, None], front - 0.045, torch.full_like(front, 0.15))
    out = (x.abs() - 0.155).clamp(min=0) + (y - far).clamp(min=0) + (-0.15 - y).clamp(min=0)
    away = (spots - tip[:, None, :2]).norm(dim=-1)
    best = (away + 20 * (out - room)).argmin(1)
    return spots[torch.arange(len(best), device=best.device), best]


def _pick(state: TabletopState, goals: Goals) -> _Move:
    place = target_place(state, goals.kind)
    fetch, has = _fetch(state, place)
    lift = _Move.still(state, 1.0)
    rise = tips(state)[:, 2] < LIFTED + 0.01
    lift.xyz[:, 2] = 0.05 * rise
    lift.stop = ~rise
    return lift.where(has, fetch)


def _move_near(state: TabletopState, goals: Goals) -> _Move:
    place, goal = target_place(state, goals.kind), target_place(state, goals.goal)
    angle = torch.arange(12, device=place.device) * (math.pi / 6)
    ring = BESIDE * torch.stack([angle.cos(), angle.sin()], -1)  # (12, 2)
    spots = place_of(state, goal)[:, None, :2] + ring
    places = torch.arange(state.kind.shape[1], device=place.device)
    spot = _free(state, spots, (places == place[:, None]) | (places == goal[:, None]))
    fetch, has = _fetch(state, place)
    return _deliver(state, spot, 0.03).where(has, fetch)


def _place_upright(state: TabletopState, goals: Goals) -> _Move:
    place = target_place(state, goals.kind)
    fetch, has = _fetch(state, place)
    lean = state.tilt.gather(1, place[:, None])[:, 0]
    lean = torch.remainder(lean + math.pi, 2 * math.pi) - math.pi
    leans = lean.abs() > UPRIGHT / 2
    tip = tips(state)
    down = _deliver(state, tip[:, :2], 0.03)
    turn = _Move.still(state, 1.0)
    turn.xyz[:, 2] = 0.05 * (tip[:, 2] < 0.06)
    turn.roll = (-lean).clamp(-math.pi / 4, math.pi / 4)
    return turn.where(leans, down).where(has, fetch)


def _knock_over(state: TabletopState, goals: Goals) -> _Move:
    tip = tips(state)
    thing = place_of(state, target_place(state, goals.kind))[:, :2]
    side = thing.new_tensor([[0.075, 0.0], [-0.075, 0.0]])
    start = _free(state, thing[:, None] + side, state.kind < 0)
    push = (thing - start)[:, 0].sign() * 0.05
    xyz, _ = _travel(state, start, torch.full_like(push, 0.03))
    before = (thing[:, 0] - tip[:, 0]) * push > 0
    low = (tip[:, 2] < LOW - 0.005) & before & ((thing - tip[:, :2])[:, 1].abs() < 0.022) & state.closed
    move = _Move.still(state, 1.0)
    move.xyz = torch.where(low[:, None], torch.stack([push, 0 * push, 0 * push], -1), xyz)
    clear = _Move.still(state)  # something in the fist, or an open hand down among things: let go, up
    clear.xyz[:, 2] = 0.05
    return clear.where((state.held >= 0) | (state.handle >= 0) | (~state.closed & (tip[:, 2] < 0.06)), move)


def _slide(state: TabletopState, goals: Goals, open_: bool) -> _Move:
    rows = torch.arange(len(state), device=goals.drawer.device)
    knob = handles(state)[rows, goals.drawer]
    opening = state.drawer[rows, goals.drawer]
    mine = state.handle == goals.drawer
    xyz, there = _travel(state, knob[:, :2], torch.full_like(opening, HANDLE_HEIGHT))
    clumsy = state.closed & ~mine
    move = _Move.still(state)
    move.xyz = torch.where((clumsy | there)[:, None], 0.0, xyz)
    move.grip = torch.where(there & ~clumsy, 1.0, -1.0)
    enough = (opening > 0.09) if open_ else (opening < 0.006)
    pull = _Move.still(state)
    pull.xyz[:, 1] = torch.where(enough, 0.0, -0.05 if open_ else 0.05)
    pull.grip = torch.where(enough, -1.0, 1.0)
    return pull.where(mine, move)


def _open_drawer(state: TabletopState, goals: Goals) -> _Move:
    return _slide(state, goals, True)


def _close_drawer(state: TabletopState, goals: Goals) -> _Move:
    return _slide(state, goals, False)


def _place_into(state: TabletopState, goals: Goals) -> _Move:
    rows = torch.arange(len(state), device=goals.drawer.device)
    d = goals.drawer.clamp(min=0)
    y = fronts(state)[rows, d]
    in_drawer = torch.stack([y.new_tensor(DRAWER_X)[d], (y + CABINET_FRONT) / 2], -1)
    bowl = place_of(state, target_home(state, goals))[:, :2]
    spot = torch.where((goals.drawer >= 0)[:, None], in_drawer, bowl)
    fetch, has = _fetch(state, target_place(state, goals.kind))
    return _deliver(state, spot, 0.04).where(has, fetch)


def _pick_from(state: TabletopState, goals: Goals) -> _Move:
    place = target_place(state, goals.kind)
    x, y = torch.meshgrid(torch.linspace(-0.14, 0.14, 8), torch.linspace(-0.14, 0.13, 7), indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], -1).to(place.device).expand(len(place), -1, -1)
    spot = _free(state, grid, torch.arange(state.kind.shape[1], device=place.device) == place[:, None])
    fetch, has = _fetch(state, place)
    return _deliver(state, spot, 0.03).where(has, fetch)


_EXPERTS = (_pick, _move_near, _place_upright, _knock_over, _open_drawer, _close_drawer, _place_into, _pick_from)


def expert(state: TabletopState, goals: Goals) -> Float[Tensor, "N A"]:
    """What a person would do now on each table: float32 actions in the workbook's action space."""
    action = torch.zeros(len(state), len(SPACE), device=state.seed.device)
    done = success(state, goals)
    for number, (skill, move) in enumerate(zip(SKILLS, _EXPERTS, strict=True)):
        rows = (goals.skill == number).nonzero()[:, 0]
        if len(rows):
            tables, asked = state[rows], goals[rows]
            made = move(tables, asked)
            if skill != "pick":  # which ends with the thing in the hand
                made = _finish(tables).where(done[rows], made)
            action[rows] = made.action()
    return action


class ExpertPolicy:
    """The expert as a policy: ``act`` looks at the state of the environment it belongs to, not at the observation.

    ``env`` is a TabletopVectorEnv (also inside Gymnasium's wrappers) or a TabletopEnv.
    """

    def __init__(self, env: gymnasium.vector.VectorEnv | gymnasium.Env):
        bare = env.unwrapped
        self.tables = getattr(bare, "tables", bare)
        self.single = self.tables is not bare

    def reset(self) -> None:
        """Nothing to forget: the expert looks at the state only."""

    def act(self, observation: dict) -> np.ndarray:
        """float32 (N, A), or (A,) for a single table."""
        action = expert(self.tables.state, self.tables.goals).cpu().numpy()
        return action[0] if self.single else action

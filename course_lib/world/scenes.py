"""Scenes: the table that a task needs, drawn from the episode's seed.

A scene holds what the task mentions and other kinds that the instruction cannot mean; it starts in a state where there
is something to do (the can lies, the drawer is open, the apple is in the bowl). Cabinets and lying cans also stand
around where no task asks for them, so that seeing one does not give the task away.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.world import chance
from course_lib.world.contact import STANDS
from course_lib.world.objects import KINDS, kind_index
from course_lib.world.state import DRAWER_OPEN, DRAWER_X, TabletopState, fronts, place_of
from course_lib.world.tabletop import MAX_OBJECTS, reset
from course_lib.world.tasks import (
    CLOSE,
    MOVE_NEAR,
    OPEN,
    PICK_FROM,
    PLACE_INTO,
    UNSEEN,
    UPRIGHTING,
    Goals,
    matches,
    target_home,
)

OBJECTS = 3  # on the table in a standard scene, what the task mentions included
CLEAR = 0.15  # what a task brings together starts this far apart (metres)
_WORDS = {word: i for i, word in enumerate(dict.fromkeys(kind.word for kind in KINDS))}
WORD = torch.tensor([*(_WORDS[kind.word] for kind in KINDS), -1])  # number of each kind's word
COMMON = torch.tensor([kind.name not in UNSEEN for kind in KINDS])


def draw_kinds(
    seed: Int[Tensor, " N"], goals: Goals, objects: int = OBJECTS, among: Bool[Tensor, " kinds"] | None = None
) -> Int[Tensor, "N K"]:
    """Kinds of a scene: what the task mentions at random places among others that its words cannot mean.

    ``among`` says which kinds may stand by (default: those of the robot data).
    """
    if not 1 <= objects <= MAX_OBJECTS:
        raise ValueError(f"A scene holds 1 to {MAX_OBJECTS} objects, got {objects}.")
    device = seed.device
    score = chance.uniform(seed, torch.zeros_like(seed), 21, len(KINDS))
    score = torch.where((COMMON if among is None else among).to(device), score, -1.0)
    word = WORD.to(device)
    for named, rank in ((goals.kind, 3.0), (goals.goal, 2.0)):
        same = (word[: len(KINDS)] == word[named][:, None]) & (named >= 0)[:, None]
        score = torch.where(same, -1.0, score)  # a second block would make "the block" ambiguous
        score = torch.where((torch.arange(len(KINDS), device=device) == named[:, None]), rank, score)
    if objects < 2 and bool(((goals.kind >= 0) & (goals.goal >= 0)).any()):
        raise ValueError(f"Some tasks mention two objects, but the scene should hold {objects}. Try objects=3.")
    kinds = score.topk(objects, 1)
    kinds = torch.where(kinds.values >= 0, kinds.indices, -1)
    order = chance.uniform(seed, torch.zeros_like(seed), 22, kinds.shape[1]).argsort(1)
    return kinds.gather(1, order)


def scene(
    seed: Int[Tensor, " N"], goals: Goals, objects: int = OBJECTS, kinds: Int[Tensor, "N K"] | None = None
) -> TabletopState:
    """A table per seed on which its task can be done and is not done yet. ``kinds`` overrides what is on it.

    Raises ValueError for impossible scenes, and where ``kinds`` lacks something that the task mentions.
    """
    kinds = draw_kinds(seed, goals, objects) if kinds is None else kinds
    _check(kinds, goals)
    u = chance.uniform(seed, torch.zeros_like(seed), 24, 4)
    cabinet = (goals.drawer >= 0) | (u[:, 0] < 0.25)
    state = reset(seed, kinds, cabinet)
    state = _drawers(state, goals, u)
    state = _lying(state, goals)
    state = _apart(state, goals)
    return _filled(state, goals)


def two_mode(
    seed: Int[Tensor, " N"], goals: Goals, objects: int = 4, kinds: Int[Tensor, "N K"] | None = None
) -> TabletopState:
    """Two equally good ways: two apples on one diagonal around the gripper, two cups on the other; pick an apple.

    The expert goes for either apple, half of the time each. A policy that decides x and y separately may mix the two and
    go for a cup: what a factorised distribution cannot say (Day 92, parallel or autoregressive decoding). The number
    and the kinds of the objects are fixed.
    """
    N, device = len(seed), seed.device
    kinds = torch.tensor([kind_index(name) for name in ("apple", "apple", "cup", "cup")], device=device).expand(N, -1)
    _check(kinds, goals)
    u = chance.uniform(seed, torch.zeros_like(seed), 28, 4)
    state = reset(seed, kinds)
    x = 0.075 + 0.02 * u[:, 0]
    y = (0.075 + 0.02 * u[:, 1]) * torch.where(u[:, 2] < 0.5, -1.0, 1.0)  # which diagonal the apples are on
    middle = state.gripper[:, None] * torch.tensor([0.3, 0.3, 0.0], device=device)
    corners = torch.stack([torch.stack([sx * x, sy * y, 0 * x], -1) for sx, sy in ((1, 1), (-1, -1), (1, -1), (-1, 1))], 1)
    gripper = torch.cat([middle[:, 0, :2], state.gripper[:, 2:]], -1)
    return replace(state, xyz=corners + middle, gripper=gripper)


def _check(kinds: Tensor, goals: Goals) -> None:
    for named in (goals.kind, goals.goal):
        absent = (named >= 0) & ~(kinds == named[:, None]).any(-1)
        if bool(absent.any()):
            row = int(absent.nonzero()[0, 0])
            there = ", ".join(KINDS[k].name for k in kinds[row].tolist() if k >= 0)
            raise ValueError(f"The task needs a {KINDS[int(named[row])].name}, but on the table are: {there}.")


def _drawers(state: TabletopState, goals: Goals, u: Tensor) -> TabletopState:
    """Shut or open as the task needs; the other drawer stands open now and then."""
    mine = torch.arange(2, device=u.device) == goals.drawer[:, None]
    ajar = torch.where(u[:, 1:3] < 0.2, DRAWER_OPEN, 0.0)
    wide = torch.where(goals.skill == CLOSE, 0.06 + 0.04 * u[:, 3], torch.full_like(u[:, 3], DRAWER_OPEN))
    wide = torch.where(goals.skill == OPEN, 0.0, wide)
    opening = torch.where(mine, wide[:, None], ajar)
    return replace(state, drawer=torch.where(state.cabinet[:, None], opening, 0.0))


def _lying(state: TabletopState, goals: Goals) -> TabletopState:
    """The thing to stand up lies; other tall things lie now and then, the thing to knock over never does."""
    K = state.kind.shape[1]
    u = chance.uniform(state.seed, torch.zeros_like(state.seed), 25, K, 3)
    mine = matches(state, goals.kind)
    lies = torch.where(mine, (goals.skill == UPRIGHTING)[:, None], u[..., 0] < 0.15)
    lies &= STANDS.to(u.device)[state.kind]
    side = torch.where(u[..., 1] < 0.5, -math.pi / 2, math.pi / 2)
    yaw = torch.where(lies, (u[..., 2] - 0.5) * 0.8, state.yaw)
    return replace(state, tilt=torch.where(lies, side, 0.0), yaw=yaw)


def _apart(state: TabletopState, goals: Goals) -> TabletopState:
    """What a task brings together starts at least CLEAR apart: else the goal changes places with the farthest object."""
    home = target_home(state, goals)
    pair = ((goals.skill == MOVE_NEAR) | (goals.skill == PLACE_INTO)) & (home >= 0)
    if not bool(pair.any()):
        return state
    rows = torch.arange(len(state), device=home.device)
    home = home.clamp(min=0)
    target = matches(state, goals.kind).int().argmax(-1)
    gap = (state.xyz[..., :2] - state.xyz[rows, target, None, :2]).norm(dim=-1)
    gap = torch.where(matches(state, goals.kind), 0.0, gap)
    swap = pair & (gap[rows, home] < CLEAR)
    other = torch.where(swap, gap.argmax(-1), home)
    xyz = state.xyz.clone()
    xyz[rows, home], xyz[rows, other] = state.xyz[rows, other], state.xyz[rows, home]
    # all of them huddle together (one scene in a thousand): the goal goes to the corner that is farthest away
    tight = pair & ((xyz[rows, home] - xyz[rows, target]).norm(dim=-1) < 0.8 * CLEAR)
    corner = torch.where(xyz[rows, target] < xyz.new_tensor([0.0, -0.08, 1.0]), 0.14, -0.14)
    corner[:, 1] = torch.where(state.cabinet, corner[:, 1].clamp(-0.14, -0.02), corner[:, 1])
    corner[:, 2] = 0
    xyz[rows, home] = torch.where(tight[:, None], corner, xyz[rows, home])
    return replace(state, xyz=xyz)


def _filled(state: TabletopState, goals: Goals) -> TabletopState:
    """The thing to take out starts in its receptacle or drawer."""
    asked = goals.skill == PICK_FROM
    if not bool(asked.any()):
        return state
    K = state.kind.shape[1]
    u = chance.uniform(state.seed, torch.zeros_like(state.seed), 26, 2)
    bowl = target_home(state, goals)
    in_bowl = place_of(state, bowl)[:, :2] + (u - 0.5) * 0.016
    d = goals.drawer.clamp(min=0)
    x = u.new_tensor(DRAWER_X)[d] + (u[:, 0] - 0.5) * 0.06
    y = fronts(state).gather(1, d[:, None])[:, 0] + 0.035 + 0.03 * u[:, 1]
    in_drawer = torch.stack([x, y], -1)
    at = torch.where((goals.drawer >= 0)[:, None], in_drawer, in_bowl)
    at = torch.cat([at, torch.full_like(at[:, :1], 0.008)], -1)
    home = torch.where(goals.drawer >= 0, K + goals.drawer, bowl)
    mine = matches(state, goals.kind) & asked[:, None]
    return replace(
        state,
        xyz=torch.where(mine[..., None], at[:, None], state.xyz),
        inside=torch.where(mine, home[:, None], state.inside),
    )

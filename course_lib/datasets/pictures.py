"""Web pictures: the robot's things, but in other compositions, and where each thing is in them.

The drawings are those of the tabletop; what differs is everything else: one to eight things or three of a kind, turned any
way, lying about, close-ups, brighter and darker light, every table top (also those that no robot episode shows), no
robot but now and then its gripper at the edge. A picture follows from its number alone.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.world import chance
from course_lib.world.layout import in_view
from course_lib.world.objects import KINDS
from course_lib.world.render import render
from course_lib.world.sprites import VIEW
from course_lib.world.state import DRAWER_OPEN, TabletopState, handles
from course_lib.world.textures import PLACES, TEXTURES, table_number

THINGS = 8  # places for things in a picture
CLOSE_UP = 0.45  # share of pictures that show only a part of a table
DETAIL = 1.5  # a close-up is cut out of a picture this much finer
GAP = 0.004  # metres between the drawings of two things
TRIES = 24

_CARDS = [k.category == "card" for k in KINDS]
_PAINTED = [k.word in ("block", "plate") for k in KINDS]
_FOOD = [k.category in ("fruit", "vegetable", "drink", "snack") for k in KINDS]
# How likely each kind is in the five themes: anything, digits, colours, food, household.
_THEMES = torch.tensor([
    [1.0] * len(KINDS),
    [5.0 if card else 0.4 for card in _CARDS],
    [0.05 if card else 4.0 if paint else 0.5 for card, paint in zip(_CARDS, _PAINTED, strict=True)],
    [3.0 if food else 0.3 for food in _FOOD],
    [0.3 if food or card or paint else 3.0 for food, card, paint in zip(_FOOD, _CARDS, _PAINTED, strict=True)],
]).log()  # fmt: skip
_SHARES = torch.tensor([0.3, 0.22, 0.18, 0.18, 0.12])
_RADIUS = torch.tensor([*(kind.size / 2 for kind in KINDS), 0.0])
_HEIGHT = torch.tensor([*(kind.height for kind in KINDS), 9.0])  # the empty place comes last
_STANDS = torch.tensor([*(kind.stands for kind in KINDS), False])
_HOLDS = torch.tensor([*(kind.holds for kind in KINDS), False])
_CARD = torch.tensor([*_CARDS, False])


@dataclass(frozen=True)
class Composition:
    """N scenes and the square of each table that the picture shows."""

    state: TabletopState
    centre: Float[Tensor, "N 2"]  # metres
    width: Float[Tensor, " N"]  # metres

    def __getitem__(self, which) -> "Composition":
        return Composition(self.state[which], self.centre[which], self.width[which])


@dataclass(frozen=True)
class Thing:
    """One thing in a picture. x runs to the right and y down, both from 0 to 1."""

    kind: int
    x: float
    y: float
    home: int = -1  # which of the picture's things it is in or on


@dataclass(frozen=True)
class Seen:
    """Everything that a question about one picture may be about."""

    things: tuple[Thing, ...]
    drawers: tuple[tuple[float, float], ...] = ()  # x and y of the left and the right handle, if there is a cabinet


def _uniform(number: Int[Tensor, " N"], stream: int, *shape: int) -> Tensor:
    return chance.uniform(number, torch.zeros_like(number), 600 + stream, *shape)


def _kinds(number: Int[Tensor, " N"], most: Int[Tensor, " N"]) -> Int[Tensor, "N K"]:
    """1 to ``most`` things of one theme, sometimes two or three of a kind; flat ones first, to be drawn below."""
    u = _uniform(number, 1, 4)
    theme = torch.searchsorted(_SHARES.to(u.device).cumsum(0)[:-1], u[:, 0].contiguous(), right=True)
    taste = -(-_uniform(number, 2, len(KINDS)).clamp(1e-7, 1 - 1e-7).log()).log()  # Gumbel noise: draws without replacement
    kind = (_THEMES.to(u.device)[theme] + taste).topk(THINGS, 1).indices
    again = torch.stack([u[:, 1] < 0.3, u[:, 1] < 0.12], 1)
    kind[:, 1:3] = torch.where(again, kind[:, :1], kind[:, 1:3])
    count = 1 + (u[:, 2].sqrt() * most).long()  # more often many than few
    kind = torch.where(torch.arange(THINGS, device=u.device) < count[:, None], kind, -1)
    return kind.gather(1, _HEIGHT.to(u.device)[kind].argsort(dim=1, stable=True))


def _places(number: Tensor, kind: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Random places between ``low`` and ``high`` (N, 2), nothing on anything; what finds no room is left out."""
    radius = _RADIUS.to(kind.device)[kind]
    spot = low[:, None, None] + _uniform(number, 3, THINGS, TRIES, 2) * (high - low)[:, None, None]  # (N, K, tries, 2)
    kind, place = kind.clone(), spot[:, :, 0].clone()
    for k in range(1, THINGS):
        gap = (spot[:, k, :, None] - place[:, None, :k]).norm(dim=-1)  # (N, tries, k)
        need = torch.where(kind[:, :k] >= 0, radius[:, k, None] + radius[:, :k] + GAP, 0.0)
        fits = (gap >= need[:, None]).all(-1)  # (N, tries)
        first = fits.int().argmax(-1)
        place[:, k] = spot[:, k].gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0]
        kind[:, k] = torch.where(fits.any(-1), kind[:, k], -1)
    return kind, place


def _filled(number: Tensor, kind: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """In a quarter of the pictures with a receptacle, the last thing lies in it: (places, what each is inside of)."""
    inside = torch.full_like(kind, -1)
    rows = torch.arange(len(kind), device=kind.device)
    holds = _HOLDS.to(kind.device)[kind]
    small = (kind >= 0) & ~holds
    home, last = holds.int().argmax(-1), THINGS - 1 - small.flip(1).int().argmax(-1)
    does = holds.any(-1) & small.any(-1) & (_uniform(number, 4, 1)[:, 0] < 0.25)
    inside[rows, last] = torch.where(does, home, -1)
    place[rows, last] = torch.where(does[:, None], place[rows, home], place[rows, last])
    return place, inside


def _things(number: Tensor, close: Tensor, cabinet: Tensor, centre: Tensor, width: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What lies where (kind, place, inside): wholly in the picture, and before the cabinet."""
    half = (width / 2 - 0.046)[:, None]
    low, high = centre - half, centre + half
    high[:, 1] = torch.where(cabinet, -0.03, high[:, 1])
    most = torch.where(close, 1 + (width / 0.075).long(), THINGS)
    kind, place = _places(number, _kinds(number, most), low, high)
    return kind, *_filled(number, kind, place)


def compose(number: Int[Tensor, " N"]) -> Composition:
    """The scenes of these picture numbers."""
    N, device = len(number), number.device
    u = _uniform(number, 5, 19)
    close = u[:, 0] < CLOSE_UP
    cabinet = ~close & (u[:, 1] < 0.2)
    width = torch.where(close, VIEW * (0.5 + 0.4 * u[:, 2]), VIEW)
    centre = (u[:, 3:5] - 0.5) * (VIEW - width)[:, None]
    kind, place, inside = _things(number, close, cabinet, centre, width)
    each = _uniform(number, 6, THINGS, 5)
    zero = torch.zeros_like(number)
    return Composition(
        TabletopState(
            seed=number,
            step=zero,
            kind=kind,
            xyz=torch.cat([place, 0.008 * (inside >= 0)[..., None]], -1),
            inside=inside,
            **_poses(kind, u, each),
            size=0.9 + 0.25 * each[..., 2],
            tint=0.8 + 0.35 * each[..., 3],
            gripper=_gripper(u, close),
            wrist=torch.zeros(N, 3, device=device),
            closed=u[:, 5] < 0.5,
            held=zero - 1,
            handle=zero - 1,
            cabinet=cabinet,
            drawer=torch.where(cabinet[:, None] & (u[:, 6:8] < 0.5), DRAWER_OPEN * u[:, 8:10], 0.0),
            base=torch.zeros(N, 3, device=device),
            table=table_number((u[:, 10] * TEXTURES).long(), (u[:, 11] * PLACES).long()),
            light=(0.78 + 0.3 * u[:, 12:13]) * (0.95 + 0.1 * u[:, 16:19]),
            camera=torch.zeros(N, 2, device=device),
        ),
        centre,
        width,
    )


def _poses(kind: Tensor, u: Tensor, each: Tensor) -> dict[str, Tensor]:
    """yaw and tilt: in half of the pictures neat, in the other half turned any way and lying about."""
    stands, neat = _STANDS.to(u.device)[kind], (u[:, 9] < 0.5)[:, None]
    lies = stands & (each[..., 0] < torch.where(neat, 0.15, 0.6))
    turn = torch.where(neat, 0.8, math.pi)
    turn = torch.where(stands & ~lies, 0.15, torch.where(_CARD.to(u.device)[kind], 0.5, turn))
    side = torch.where(each[..., 4] < 0.5, -math.pi / 2, math.pi / 2)
    return {"yaw": (each[..., 1] - 0.5) * 2 * turn, "tilt": torch.where(lies, side, 0.0)}


def _gripper(u: Tensor, close: Tensor) -> Tensor:
    """Out of the picture, or in one of seven at its left, right or far edge."""
    edge = u.new_tensor([[-0.215, 0.0, 0.08], [0.215, 0.0, 0.08], [0.0, 0.17, 0.12]])[(u[:, 14] * 3).long()]
    along = 0.3 * (u[:, 15:16] - 0.5) * torch.where(edge[:, 1:2] > 0, u.new_tensor([1, 0, 0]), u.new_tensor([0, 1, 0]))
    shown = ~close & (u[:, 13] < 0.15)
    return torch.where(shown[:, None], edge + along, u.new_tensor([0.0, -0.9, 0.0]))


def draw(what: Composition, size: int = 64) -> UInt8[Tensor, "N S S 3"]:
    """The pictures: whole tables as they are, close-ups cut out of a finer picture."""
    out = torch.empty(len(what.width), size, size, 3, dtype=torch.uint8, device=what.width.device)
    close = what.width < VIEW
    if bool((~close).any()):
        out[~close] = render(what.state[~close], size)
    if bool(close.any()):
        part = what[close]
        fine = render(part.state, round(size * DETAIL)).permute(0, 3, 1, 2).float()
        line = (torch.arange(size, device=fine.device) + 0.5) / size - 0.5  # of the window
        x = part.centre[:, :1] + line * part.width[:, None]  # metres, (n, size)
        y = part.centre[:, 1:] - line * part.width[:, None]
        grid = torch.stack([x[:, None].expand(-1, size, -1), -y[:, :, None].expand(-1, -1, size)], -1) * (2 / VIEW)
        cut = F.grid_sample(fine, grid, align_corners=False, padding_mode="border")
        out[close] = cut.round().to(torch.uint8).permute(0, 2, 3, 1)
    return out


def in_picture(state: TabletopState, xyz: Float[Tensor, "N K 3"]) -> Float[Tensor, "N K 2"]:
    """Places on the table in the robot's picture: x to the right, y down, from 0 to 1."""
    return in_view(state, xyz) / VIEW * xyz.new_tensor([1, -1]) + 0.5


def look(what: Composition) -> list[Seen]:
    """What is where in each picture."""
    state = what.state
    corner = (what.centre * what.centre.new_tensor([1, -1]) / VIEW + 0.5)[:, None] - what.width[:, None, None] / (2 * VIEW)
    places = torch.cat([state.xyz, handles(state)], 1)
    at = ((in_picture(state, places) - corner) * (VIEW / what.width)[:, None, None]).tolist()
    rows = zip(state.kind.tolist(), state.inside.tolist(), at, state.cabinet.tolist(), strict=True)
    return [_seen(*row) for row in rows]


def _seen(kinds: list, inside: list, at: list, cabinet: bool) -> Seen:
    there = [k for k, kind in enumerate(kinds) if kind >= 0]
    number = {k: i for i, k in enumerate(there)}
    things = tuple(Thing(kinds[k], *at[k], number.get(inside[k], -1)) for k in there)
    return Seen(things, tuple(map(tuple, at[len(kinds) :])) if cabinet else ())

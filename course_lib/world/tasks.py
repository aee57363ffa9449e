"""Tasks: RT-1's eight skills as an instruction grammar, and success read from the state.

The skills are those of RT-1 (paper, section 6.1 and table 1), on our objects. A task is a skill, the kind it is about,
the second thing it mentions, and the sentence the policy hears. Success is a predicate of the state, never of the
picture or of the policy's own opinion. Which scene goes with a task is ``scenes``' business.

The grammar uses each kind's ``word``: no colour, number or category is ever said to the robot in its own data ("pick up
the block", whichever colour it has). What "red" or "fruit" means can only come from the web data of Day 93.
"""

import difflib
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.world import chance
from course_lib.world.contact import UPRIGHT
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.state import TabletopState, tips

SKILLS = ("pick", "move near", "place upright", "knock over", "open drawer", "close drawer", "place into", "pick from")
PICK, MOVE_NEAR, UPRIGHTING, KNOCK, OPEN, CLOSE, PLACE_INTO, PICK_FROM = range(8)
SHARE = (0.2, 0.2, 0.1, 0.1, 0.075, 0.075, 0.125, 0.125)  # of the episodes, per skill
DRAWERS = ("left drawer", "right drawer")
UNSEEN = ("strawberry", "lemon", "brush", "pencil", "milk carton")  # kinds that no robot episode ever shows

LIFTED = 0.10  # metres above the table that count as picked
NEAR = 0.10  # centre to centre: two objects side by side
OPENED, SHUT = 0.08, 0.015  # metres that count as open and as closed

PHRASES = {
    "pick": ("pick {a}", "pick up the {a}", "grab the {a}", "lift the {a}", "take the {a}"),
    "move near": ("move {a} near {b}", "bring the {a} close to the {b}"),
    "place upright": ("place {a} upright", "stand the {a} up", "set the {a} upright"),
    "knock over": ("knock {a} over", "tip the {a} over", "push the {a} over"),
    "open drawer": ("open {b}", "open the {b}", "pull the {b} open"),
    "close drawer": ("close {b}", "close the {b}", "push the {b} shut"),
    "place into": ("place {a} {into} {b}", "put the {a} {in_} the {b}"),
    "pick from": ("pick {a} from {b} and place on counter", "take the {a} out of the {b} and put it on the counter"),
}


@dataclass(frozen=True)
class Task:
    """One thing to do; ``sentence`` is what the policy hears."""

    kind: int  # index into objects.KINDS of what is moved; -1 where a task is about a drawer only, or unknown
    sentence: str
    skill: str = "pick"
    goal: int = -1  # kind of the second object: next to it, into it, out of it
    drawer: int = -1  # 0 left, 1 right; -1 for tasks without one


@dataclass(frozen=True)
class Goals:
    """The tasks of N tables as tensors, int64 (N,): skill (index into SKILLS), kind, goal and drawer as in Task."""

    skill: Int[Tensor, " N"]
    kind: Int[Tensor, " N"]
    goal: Int[Tensor, " N"]
    drawer: Int[Tensor, " N"]

    @classmethod
    def of(cls, tasks: tuple[Task, ...] | list[Task], device: torch.device | str = "cpu") -> "Goals":
        """The same tasks, one table each."""
        rows = [(SKILLS.index(t.skill), t.kind, t.goal, t.drawer) for t in tasks]
        return cls(*torch.tensor(rows, device=device).unbind(1))

    def __getitem__(self, which) -> "Goals":
        return Goals(self.skill[which], self.kind[which], self.goal[which], self.drawer[which])

    def __len__(self) -> int:
        return len(self.skill)


def _seen(choose=lambda kind: True) -> list[int]:
    """Kinds of the robot data that pass ``choose``."""
    return [k for k, kind in enumerate(KINDS) if kind.name not in UNSEEN and choose(kind)]


def say(phrase: str, kind: int = -1, goal: int = -1, drawer: int = -1) -> str:
    """One phrase of PHRASES with the robot's words for the objects."""
    a = KINDS[kind].word if kind >= 0 else ""
    b = DRAWERS[drawer] if drawer >= 0 else KINDS[goal].word if goal >= 0 else ""
    onto = b == "plate"
    return phrase.format(a=a, b=b, into="onto" if onto else "into", in_="on" if onto else "in")


@cache
def skill_tasks(skill: str) -> tuple[Task, ...]:
    """Every task of one skill in the robot's own data, in a fixed order."""
    movable = _seen(lambda kind: kind.word != "plate")
    small = _seen(lambda kind: not kind.holds)
    tall = _seen(lambda kind: kind.stands)
    homes = [(g, -1) for g in _seen(lambda kind: kind.holds)] + [(-1, d) for d in range(2)]
    pairs = [(a, b) for a in small for b in movable if KINDS[a].word != KINDS[b].word]
    what = {
        "pick": [(a, -1, -1) for a in movable],
        "move near": [(a, b, -1) for a, b in pairs],
        "place upright": [(a, -1, -1) for a in tall],
        "knock over": [(a, -1, -1) for a in tall],
        "open drawer": [(-1, -1, d) for d in range(2)],
        "close drawer": [(-1, -1, d) for d in range(2)],
        "place into": [(a, g, d) for a in small for g, d in homes],
        "pick from": [(a, g, d) for a in small for g, d in homes],
    }
    if skill not in what:
        near = difflib.get_close_matches(skill, SKILLS, 1, 0.3)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(SKILLS)}."
        raise ValueError(f"No skill is called {skill!r}. {hint}")
    return tuple(Task(a, say(p, a, g, d), skill, g, d) for a, g, d in what[skill] for p in PHRASES[skill])


PICK_TASKS: tuple[Task, ...] = skill_tasks("pick")
ALL_TASKS: tuple[Task, ...] = tuple(task for skill in SKILLS for task in skill_tasks(skill))


@cache
def known_instructions() -> list[str]:
    """Every sentence of the robot's tasks, once each, in a fixed order (the embedding table is built from it)."""
    return list(dict.fromkeys(task.sentence for task in ALL_TASKS))


@cache
def _by_sentence() -> dict[str, Task]:
    return {task.sentence: task for task in reversed(ALL_TASKS)}


def find_task(sentence: str) -> Task:
    """The task that a sentence asks for. Raises ValueError with near sentences.

    A word that several kinds share ("block") gives the first of them; a sentence that is not in the grammar but names
    an object is understood as picking it.
    """
    words = " ".join(sentence.lower().split()).strip(" .!?")
    if words in _by_sentence():
        return _by_sentence()[words]
    named = [name for name in NAMES if name in words] or [kind.name for kind in KINDS if kind.word in words.split()]
    if not named:
        near = difflib.get_close_matches(words, list(_by_sentence()), 2, 0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        hint += f"Try 'pick up the ...' with one of: {', '.join(NAMES)}."
        raise ValueError(f"No task matches {sentence!r}. {hint}")
    return Task(kind_index(max(named, key=len)), words)


def draw_tasks(seed: Int[Tensor, " N"], tasks: tuple[Task, ...] = PICK_TASKS) -> Int[Tensor, " N"]:
    """A random task for each table, as indices into ``tasks``: first the skill (by SHARE), then one of its tasks.

    So "open drawer" with its 6 sentences is not drowned by "move near" with its thousand.
    """
    u = chance.uniform(seed, torch.zeros_like(seed), 20, 2)
    groups = [[i for i, task in enumerate(tasks) if task.skill == skill] for skill in SKILLS]
    share = torch.tensor([s * bool(group) for s, group in zip(SHARE, groups, strict=True)], device=seed.device)
    edges = (share / share.sum()).cumsum(0)[:-1].contiguous()
    skill = torch.searchsorted(edges, u[:, 0].contiguous(), right=True)
    counts = torch.tensor([len(group) for group in groups], device=seed.device)
    first = torch.tensor([i for group in groups for i in group], device=seed.device)
    start = counts.cumsum(0) - counts
    return first[start[skill] + (u[:, 1] * counts[skill]).long().clamp(max=len(tasks) - 1)]


def matches(state: TabletopState, kind: Int[Tensor, " N"]) -> Bool[Tensor, "N K"]:
    """Which places hold the kind (none where it is -1)."""
    return (state.kind == kind[:, None]) & (kind >= 0)[:, None]


def target_place(state: TabletopState, target: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """The place k of an object of the target kind; of several, one that the table's seed decides.

    Raises ValueError if a table has none.
    """
    match = matches(state, target)  # (N, K)
    if not match.any(-1).all():
        row = int((~match.any(-1)).nonzero()[0, 0])
        if int(target[row]) < 0:
            raise ValueError(f"The task of table {row} names no object that the expert could fetch.")
        there = ", ".join(NAMES[k] for k in state.kind[row].tolist() if k >= 0)
        raise ValueError(f"There is no {NAMES[int(target[row])]} on table {row}: it holds {there}.")
    taste = chance.uniform(state.seed, torch.zeros_like(state.seed), 23, state.kind.shape[1])
    return torch.where(match, taste, -1.0).argmax(-1)


def success(state: TabletopState, goals: Goals) -> Bool[Tensor, " N"]:
    """Whether each table's task is done now."""
    K = state.kind.shape[1]
    places = torch.arange(K, device=state.kind.device)
    mine, other = matches(state, goals.kind), matches(state, goals.goal)
    free = mine & (places != state.held[:, None])  # of the kind, and let go
    on_table = free & (state.inside < 0)
    gap = (state.xyz[:, :, None, :2] - state.xyz[:, None, :, :2]).norm(dim=-1)  # (N, K, K)
    beside = ((gap < NEAR) & other[:, None]).any(-1)
    home = torch.where(goals.drawer >= 0, K + goals.drawer, target_home(state, goals))
    opening = state.drawer.gather(1, goals.drawer.clamp(min=0)[:, None])[:, 0]
    drawer = state.cabinet & (goals.drawer >= 0)
    held_kind = torch.where(state.held >= 0, state.kind.gather(1, state.held.clamp(min=0)[:, None])[:, 0], -2)
    done = torch.stack(
        [
            (held_kind == goals.kind) & (tips(state)[:, 2] >= LIFTED),
            (on_table & beside).any(-1),
            (on_table & (state.tilt.abs() < UPRIGHT)).any(-1),
            (free & (state.tilt.abs() > 1)).any(-1),
            drawer & (opening >= OPENED),
            drawer & (opening <= SHUT),
            (free & (state.inside == home[:, None]) & (home >= 0)[:, None]).any(-1),
            on_table.any(-1),
        ],
        1,
    )  # (N, 8)
    return done.gather(1, goals.skill[:, None])[:, 0]


def target_home(state: TabletopState, goals: Goals) -> Int[Tensor, " N"]:
    """Place of the receptacle that a task names, -1 if it names none."""
    other = matches(state, goals.goal)
    return torch.where(other.any(-1), other.int().argmax(-1), -1)

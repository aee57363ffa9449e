"""Chains: long-horizon tasks of two to four skills, one instruction after another, as a planner would give them.

In SayCan a language model chose RT-1's next instruction (RT-1 paper, section 6.5); here the chain is drawn. The
environment moves on to the next instruction when the policy stops with the current task done (see ``env``).
"""

from dataclasses import dataclass

import torch

from course_lib.world import chance
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.tasks import PHRASES, UNSEEN, Task, say

BOWL = kind_index("bowl")


@dataclass(frozen=True)
class Chain:
    """``tasks`` to do in this order, on a table with the objects ``kinds`` (names)."""

    tasks: tuple[Task, ...]
    kinds: tuple[str, ...]


def _task(skill: str, kind: int = -1, goal: int = -1, drawer: int = -1) -> Task:
    """The task in its first phrase."""
    return Task(kind, say(PHRASES[skill][0], kind, goal, drawer), skill, goal, drawer)


def _put_away(a: int, b: int, tall: int, d: int) -> tuple[Task, ...]:
    return _task("open drawer", drawer=d), _task("place into", a, drawer=d), _task("close drawer", drawer=d)


def _put_two_away(a: int, b: int, tall: int, d: int) -> tuple[Task, ...]:
    both = (_task("place into", a, drawer=d), _task("place into", b, drawer=d))
    return _task("open drawer", drawer=d), *both, _task("close drawer", drawer=d)


def _take_out(a: int, b: int, tall: int, d: int) -> tuple[Task, ...]:
    return _task("pick from", a, drawer=d), _task("close drawer", drawer=d)


def _serve(a: int, b: int, tall: int, d: int) -> tuple[Task, ...]:
    return _task("pick from", a, BOWL), _task("move near", a, b)


def _stand_and_move(a: int, b: int, tall: int, d: int) -> tuple[Task, ...]:
    return _task("knock over", tall), _task("place upright", tall), _task("move near", tall, b)


STORIES = {
    "put away": _put_away,
    "put two away": _put_two_away,
    "take out": _take_out,
    "serve": _serve,
    "stand and move": _stand_and_move,
}


def draw_chain(seed: int, story: str | None = None) -> Chain:
    """The chain of this seed; ``story`` (a key of STORIES) fixes its kind, else that is drawn too."""
    if story is not None and story not in STORIES:
        raise ValueError(f"Stories are {', '.join(STORIES)}, got {story!r}.")
    number = torch.tensor([seed])
    u = chance.uniform(number, torch.zeros_like(number), 29, 3 + len(KINDS))[0].tolist()
    story = story or list(STORIES)[int(u[0] * len(STORIES))]
    tall = [k for k, kind in enumerate(KINDS) if kind.stands and kind.name not in UNSEEN]
    small = [k for k, kind in enumerate(KINDS) if kind.name not in UNSEEN and not kind.holds and not kind.stands]
    a, b = sorted(small, key=lambda k: u[3 + k])[:2]
    if KINDS[a].word == KINDS[b].word:  # two blocks, or two cards: "the block" would be either
        b = next(k for k in sorted(small, key=lambda k: u[3 + k]) if KINDS[k].word != KINDS[a].word)
    tasks = STORIES[story](a, b, tall[int(u[1] * len(tall))], int(u[2] * 2))
    named = dict.fromkeys(k for task in tasks for k in (task.kind, task.goal) if k >= 0)
    extra = next(k for k in sorted(small, key=lambda k: -u[3 + k]) if KINDS[k].word not in {KINDS[n].word for n in named})
    return Chain(tasks, tuple(NAMES[k] for k in (*named, extra)))

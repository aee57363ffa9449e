"""Tasks: the instruction grammar, which scenes ask for what, and success read from the state.

First skill: RT-1's "pick <object>", in five phrasings. A task is the skill, the kind it is about, and the sentence the
policy hears. Success is a predicate of the state, never of the picture or the policy's own opinion.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.world import chance
from course_lib.world.objects import NAMES, kind_index
from course_lib.world.tabletop import TabletopState

PHRASES = ("pick {}", "pick up the {}", "grab the {}", "lift the {}", "take the {}")
LIFTED = 0.10  # metres above the table that count as picked
OBJECTS = 3  # on the table in a standard scene: the target and two others


@dataclass(frozen=True)
class Task:
    """``pick`` one kind of object; ``sentence`` is what the policy hears."""

    kind: int
    sentence: str
    skill: str = "pick"


PICK_TASKS: tuple[Task, ...] = tuple(Task(kind_index(name), phrase.format(name)) for name in NAMES for phrase in PHRASES)


def known_instructions() -> list[str]:
    """Every sentence of the course's tasks, in a fixed order (the embedding table is built from it)."""
    return [task.sentence for task in PICK_TASKS]


def find_task(sentence: str) -> Task:
    """The task that a sentence asks for. Raises ValueError with the objects that exist."""
    words = " ".join(sentence.lower().split()).strip(" .!?")
    for task in PICK_TASKS:
        if task.sentence == words:
            return task
    named = [name for name in NAMES if name in words]
    if not named:
        raise ValueError(f"No task matches {sentence!r}. Try 'pick up the ...' with one of: {', '.join(NAMES)}.")
    return Task(kind_index(max(named, key=len)), words)


def draw_tasks(seed: Int[Tensor, " N"], tasks: tuple[Task, ...] = PICK_TASKS) -> Int[Tensor, " N"]:
    """A random task for each table, as indices into ``tasks``."""
    return (chance.uniform(seed, torch.zeros_like(seed), 20, 1)[:, 0] * len(tasks)).long()


def draw_kinds(seed: Int[Tensor, " N"], target: Int[Tensor, " N"], objects: int = OBJECTS) -> Int[Tensor, "N K"]:
    """Kinds of a scene: the target at a random place among different others."""
    if not 1 <= objects <= min(8, len(NAMES)):
        raise ValueError(f"A scene holds 1 to {min(8, len(NAMES))} different objects, got {objects}.")
    score = chance.uniform(seed, torch.zeros_like(seed), 21, len(NAMES))
    score = score.scatter(1, target[:, None], 2.0)  # the target is always among the first
    kinds = score.topk(objects, 1).indices  # (N, K), target first
    order = chance.uniform(seed, torch.zeros_like(seed), 22, objects).argsort(1)
    return kinds.gather(1, order)


def target_place(state: TabletopState, target: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """The place k of the first object of the target kind. Raises ValueError if a table has none."""
    match = state.kind == target[:, None]  # (N, K)
    if not match.any(-1).all():
        row = int((~match.any(-1)).nonzero()[0, 0])
        there = ", ".join(NAMES[k] for k in state.kind[row].tolist() if k >= 0)
        raise ValueError(f"There is no {NAMES[int(target[row])]} on table {row}: it holds {there}.")
    return match.int().argmax(-1)


def success(state: TabletopState, target: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Picked: the held object is of the target kind and at least LIFTED above the table."""
    kind = state.kind.gather(1, state.held.clamp(min=0)[:, None])[:, 0]
    return (state.held >= 0) & (kind == target) & (state.gripper[:, 2] >= LIFTED)

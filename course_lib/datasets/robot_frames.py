"""Robot frames as RT-2 reads them: a picture, what was asked, what the expert did, and now and then a plan in words.

With ``asked`` > 1 each picture comes with several instructions: the recorded one, and others for what lies on the same
table, each with the action that the expert would take for it now. No real robot's data has that. Here the expert is a
program that can be asked, and it is what lets a small model learn on a CPU that the *words* decide: it hears several
sentences about one picture, and reads the picture only once. Lesson: day93_rt2/2_implementation.
"""

import random

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.datasets.episodes import Episodes, Expert
from course_lib.datasets.plans import plan_of, plans_with_places
from course_lib.world.experts import expert as scripted
from course_lib.world.objects import KINDS
from course_lib.world.state import TabletopState
from course_lib.world.tasks import Goals, Task

SKILLS_ASKED = ("pick", "move near")  # what can be asked of any table


class RobotFrames:
    """Random frames of ``data`` as training batches: ``frames(step)`` always gives the same batch.

    ``plans`` is the part of the instructions whose answer begins with a plan; ``places`` adds to each name in a plan the
    location tokens of the thing. ``size``: the pictures' width in pixels, by default 64.
    """

    def __init__(
        self,
        data: Episodes,
        *,
        batch: int = 16,
        asked: int = 1,
        plans: float | int = 0.0,
        places: bool = False,
        seed: int = 0,
        size: int | None = None,
        expert: Expert = scripted,
    ):
        if batch < 1 or asked < 1 or not 0 <= plans <= 1:
            raise ValueError(f"Expected batch and asked >= 1 and plans from 0 to 1; got {batch}, {asked} and {plans}.")
        self.data, self.batch, self.asked, self.plans, self.places = data, batch, asked, plans, places
        self.seed, self.size, self.expert = seed, size, expert
        self._others = _by_things(data.tasks)

    def __call__(self, step: int) -> dict[str, Tensor | list]:
        """images uint8 (B, H, W, 3) · instructions, plans: lists of B (of Q = ``asked``) · actions (B, A) or (B, Q, A)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return self.cut(torch.randint(self.data.frames, (self.batch,), generator=generator), step)

    def cut(self, frames: Int[Tensor, " B"], step: int = 0) -> dict[str, Tensor | list]:
        """The batch of these frames; ``step`` draws the other instructions and who gets a plan."""
        draw = random.Random(f"{self.seed} {step}")
        data, frames = self.data, frames.to(self.data.start.device)
        episode = torch.searchsorted(data.start, frames, right=True) - 1
        state = data.states[frames]
        recorded = [data.tasks[t] for t in data.task[episode].tolist()]
        tasks = [[task, *self._more(kinds, draw)] for task, kinds in zip(recorded, state.kind.tolist(), strict=True)]
        actions = data.actions[frames][:, None]
        if self.asked > 1:
            actions = torch.cat((actions, self._answers(state, [row[1:] for row in tasks])), 1)
        plans = self._plans(state, tasks, draw)
        images = data.pictures(frames, self.size)
        said = [[task.sentence for task in row] for row in tasks]
        if self.asked == 1:
            said, plans, actions = [row[0] for row in said], [row[0] for row in plans], actions[:, 0]
        return {"images": images, "instructions": said, "actions": actions, "plans": plans}

    def _more(self, kinds: list[int], draw: random.Random) -> list[Task]:
        """Other tasks that this table allows, whose words mean one thing here; of few, some come twice."""
        if self.asked == 1:
            return []
        words = [KINDS[kind].word for kind in kinds]
        kinds = [kind for kind, word in zip(kinds, words, strict=True) if words.count(word) == 1]
        found = [self._others[a, b] for a in kinds for b in (-1, *kinds) if (a, b) in self._others]
        if not found:
            raise ValueError("Nothing else can be asked of a table without picking tasks: use asked=1, or data with some.")
        return [draw.choice(draw.choice(found)) for _ in range(self.asked - 1)]

    def _answers(self, state: TabletopState, tasks: list[list[Task]]) -> Tensor:
        """(B, Q - 1, A): what the expert does now for each."""
        row = torch.arange(len(tasks), device=state.seed.device).repeat_interleave(self.asked - 1)
        goals = Goals.of([task for more in tasks for task in more], row.device)
        return self.expert(state[row], goals).unflatten(0, (len(tasks), -1))

    def _plans(self, state: TabletopState, tasks: list[list[Task]], draw: random.Random) -> list[list[str]]:
        """A plan, or "" for most."""
        if self.places:
            columns = [plans_with_places(list(column), state) for column in zip(*tasks, strict=True)]
            written = [list(row) for row in zip(*columns, strict=True)]
        else:
            written = [[plan_of(task) for task in row] for row in tasks]
        return [[text if draw.random() < self.plans else "" for text in row] for row in written]


def _by_things(tasks: tuple[Task, ...]) -> dict[tuple[int, int], list[Task]]:
    """(kind, goal) -> the tasks about them that can be asked of any table; only combinations that the data has."""
    found: dict[tuple[int, int], list[Task]] = {}
    for task in tasks:
        if task.skill in SKILLS_ASKED:
            found.setdefault((task.kind, task.goal), []).append(task)
    return found

"""A clone: a small RT-1 without memory that learned from N episodes, and what it can do. Experiments are made of these.

The world is a part of the course's: eight kinds and two skills, so that a policy learns in minutes what the words mean.
All clones take the same number of steps, whatever they learn from: "grounding", doing what the *named* object asks for,
comes suddenly and late, and a schedule that ends before it looks like an effect of the data.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.classroom.experiments.gaze import gaze
from course_lib.classroom.recipes import TEST_SEED, TRAINING_SEED
from course_lib.datasets import Windows, record
from course_lib.learn import Schedule, behaviour_clone
from course_lib.measure import Outcomes, rollout
from course_lib.rt1 import RT1, FiLM, RT1Config, TokenLearner
from course_lib.rt1.ablations import ConcatRT1
from course_lib.rt1.film import NoFiLM
from course_lib.rt1.instruction import InstructionEncoder
from course_lib.rt1.variants import SigmoidTokens, TokenLearnerV10, TokensCompete
from course_lib.world import chance
from course_lib.world.env import TabletopVectorEnv
from course_lib.world.objects import NAMES, kind_index
from course_lib.world.scenes import OBJECTS, draw_kinds, scene
from course_lib.world.splits import held_out
from course_lib.world.state import TabletopState
from course_lib.world.tasks import ALL_TASKS, SKILLS, Goals, Task

WORK = "course_lib.classroom.experiments.clones:clone"
SKILLS_LEARNED = ("pick", "move near")
KINDS_USED = ("apple", "banana", "grapes", "coke can", "water bottle", "sponge", "cup", "blue block")
STEPS, BATCH = 3000, 96  # training steps, and pictures in each
EPISODES = 10_000  # where the amount of data is not the question
TRIALS = 400  # rollouts on each test set
TABLES = 50  # rolled out side by side
DATA_APART = 10_000_000  # between the first episodes of two seeds: no two share any data


class DefaultFiLM(FiLM):
    """FiLM that does not begin as the identity: torch's usual random start in both Linear layers."""

    def __init__(self, channels: int, instruction_dim: int):
        super().__init__(channels, instruction_dim)
        self.to_scale.reset_parameters()
        self.to_shift.reset_parameters()


class BareFiLM(DefaultFiLM):
    """scale(z) * x + shift(z) with torch's usual start: FiLM as it is often written, without the "1 +"."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return super().forward(x, z) - x


LANGUAGES: dict[str, Callable[..., RT1]] = {
    "FiLM": RT1,
    "concatenated": ConcatRT1,
    "none": partial(RT1, film=NoFiLM),
    "FiLM, default start": partial(RT1, film=DefaultFiLM),
    "FiLM without 1 +": partial(RT1, film=BareFiLM),
}
TOKEN_LEARNERS: dict[str, type[nn.Module]] = {
    "v1.1": TokenLearner,
    "v1.0": TokenLearnerV10,
    "tokens compete": TokensCompete,
    "sigmoid": SigmoidTokens,
}


@dataclass(frozen=True)
class Clone:
    """The settings of one clone; as a dictionary (``run()``) it is a run of a sweep."""

    seed: int = 0  # of the weights, of the episodes and of their order
    episodes: int = EPISODES
    tasks: float = 1.0  # part of the training tasks that there are episodes of
    language: str = "FiLM"
    token_learner: str = "v1.1"
    steps: int = STEPS
    batch: int = BATCH
    trials: int = TRIALS

    def __post_init__(self):
        if self.language not in LANGUAGES or self.token_learner not in TOKEN_LEARNERS or not 0 < self.tasks <= 1:
            raise ValueError(
                f"language is one of {list(LANGUAGES)}, token_learner of {list(TOKEN_LEARNERS)}, tasks above 0 and up to 1; "
                f"got {self.language!r}, {self.token_learner!r}, {self.tasks}."
            )

    def run(self) -> dict[str, Any]:
        return asdict(self)

    def policy(self) -> RT1:
        """A new one, untrained."""
        torch.manual_seed(self.seed)
        return LANGUAGES[self.language](RT1Config.tiny(history=1), token_learner=TOKEN_LEARNERS[self.token_learner])


def clone(run: dict[str, Any], report: Callable[[float], Any] = lambda part: None) -> dict[str, Any]:
    """Train one clone and test it: the work of a sweep. Returns successes on both test sets and numbers about its gaze."""
    settings = Clone(**run)
    policy, losses = taught(settings, report)
    result: dict[str, Any] = {"loss": round(float(np.mean(losses[-100:])), 4)}
    for name, tasks in {"seen": seen_tasks(), "unseen": unseen_tasks()}.items():
        result[name] = summary(rollout(policy, tables(tasks, settings.trials), settings.trials, seed=TEST_SEED))
    return result | {"gaze": gaze(policy, seen_tasks("pick"), small_scene, scenes=min(64, settings.trials))}


def taught(settings: Clone, report: Callable[[float], Any] = lambda part: None) -> tuple[RT1, list[float]]:
    """The policy after its training, and the loss of each step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tasks = some_of(seen_tasks(), settings.tasks)
    first = TRAINING_SEED + DATA_APART * settings.seed
    data = record(settings.episodes, tasks, seed=first, device=device, scene=small_scene)
    words = InstructionEncoder()(data.sentences())
    batches = Windows(data, words, history=1, batch=settings.batch, seed=settings.seed)
    policy = settings.policy().to(device)
    history = behaviour_clone(
        policy, batches, Schedule(steps=settings.steps), progress=False,
        on_step=lambda step, loss: report(0.9 * (step + 1) / settings.steps) if step % 20 == 0 else None,
    )  # fmt: skip
    if not history.finished:
        raise KeyboardInterrupt
    return policy, history.losses


def tables(tasks: tuple[Task, ...], trials: int = TABLES) -> TabletopVectorEnv:
    """Tables of the small world for these tasks, as many as ``trials`` fill."""
    return TabletopVectorEnv(min(TABLES, trials), tasks=tasks, scene=small_scene)


def summary(outcomes: Outcomes) -> dict[str, Any]:
    """Outcomes as a row keeps them: one 0 or 1 per scene (for paired comparisons), and how the others failed."""
    bits = "".join(str(int(won)) for won in outcomes.success)
    skills = {SKILLS[i]: [int(outcomes.success[outcomes.skill == i].sum()), int((outcomes.skill == i).sum())]
              for i in sorted(set(outcomes.skill.tolist()))}  # fmt: skip
    return {"n": len(outcomes), "successes": int(outcomes.success.sum()), "skills": skills,
            "failures": outcomes.failures(), "each": bits}  # fmt: skip


@cache
def _used() -> Tensor:
    return torch.tensor([name in KINDS_USED for name in NAMES])


def small_scene(seed: Tensor, goals: Goals, objects: int = OBJECTS, kinds: Tensor | None = None) -> TabletopState:
    """``scenes.scene`` with nothing but the eight kinds on the table."""
    return scene(seed, goals, objects, draw_kinds(seed, goals, objects, _used()) if kinds is None else kinds)


@cache
def _small_tasks() -> tuple[Task, ...]:
    used = {kind_index(name) for name in KINDS_USED} | {-1}
    return tuple(t for t in ALL_TASKS if t.skill in SKILLS_LEARNED and {t.kind, t.goal} <= used)


def seen_tasks(*skills: str) -> tuple[Task, ...]:
    """The tasks of the small world that clones learn from (of some skills only)."""
    return tuple(t for t in _small_tasks() if not held_out(t) and (not skills or t.skill in skills))


def unseen_tasks() -> tuple[Task, ...]:
    """Its held-out combinations: "move a near b" for pairs that no clone ever heard of."""
    return tuple(t for t in _small_tasks() if held_out(t))


def some_of(tasks: tuple[Task, ...], part: float) -> tuple[Task, ...]:
    """About this part of the tasks, by a fixed draw; all phrases of one task stay together."""
    if part == 1:
        return tasks
    same = sorted({(t.skill, t.kind, t.goal) for t in tasks})
    u = chance.uniform(torch.arange(len(same)), torch.zeros(len(same), dtype=torch.long), 41, 1)[:, 0].tolist()
    order = sorted(range(len(same)), key=lambda i: u[i])
    kept = {same[i] for i in order[: round(part * len(same))]}
    return tuple(t for t in tasks if (t.skill, t.kind, t.goal) in kept)

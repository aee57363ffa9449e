"""An arm: one way to make a robot policy out of the tiny vision-language model, and all that it can do afterwards.

Every arm takes the same number of robot steps of the same data, so that what differs is what else it learned from. It is
tested by driving (seen tasks, unseen combinations, each emergent set) and by asking it the web's questions again.
Lesson: day93_rt2/3_experiments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from course_lib.classroom.experiments.clones import DATA_APART, summary
from course_lib.classroom.recipes import DATA, TRAINING_SEED
from course_lib.classroom.web_training import exam, new_vlm
from course_lib.datasets import Episodes, record
from course_lib.datasets.mixture import Mixture
from course_lib.datasets.robot_frames import RobotFrames
from course_lib.datasets.web import WebPictures
from course_lib.interfaces import Policy
from course_lib.learn import Schedule, co_fine_tune, load_checkpoint
from course_lib.learn.sweep import Run
from course_lib.measure import Outcomes, rollout
from course_lib.measure.outcomes import joined
from course_lib.rt2 import RT2
from course_lib.world.env import TabletopVectorEnv, options_of
from course_lib.world.phrases import EMERGENT
from course_lib.world.splits import split, training_tasks
from course_lib.world.tasks import Task

WORK = "course_lib.classroom.experiments.arms:arm"
START = "rt2_tiny_web.safetensors"
SKILLS = ("pick", "move near", "place into")
WITHOUT = ("base_x", "base_y", "base_yaw")  # RT-2's eight numbers: the base rests
SETS = ("seen", "unseen combinations", "symbols", "sums", "colour", "category", "use", "same colour", "negation",
        "spanish", "german")  # fmt: skip
EPISODES, STEPS = 20_000, 1500  # of the robot; training steps on robot data
PICTURES, ASKED = 16, 8  # robot pictures in a step, and instructions about each
QUESTIONS = 12  # about each of 16 web pictures in a step
TRIALS, TABLES = 100, 50  # rollouts of each set, side by side


@dataclass(frozen=True)
class Arm:
    """The settings of one arm; as a dictionary (``run()``) it is a run of a sweep."""

    seed: int = 0
    start: str = "web"  # or "scratch"
    web: float = 0.5  # the web's share of the training steps
    plans: float = 0.0  # part of the robot's answers that begin with a plan; with some, the policy plans before it acts
    places: bool = False  # plans say where the things are
    together: bool = False  # every step learns from both, weighted by the shares
    last_layers: int = -1  # only so many layers learn; -1: all
    steps: int = STEPS  # on robot data; those on the web come on top
    lr: float = 1e-3
    trials: int = TRIALS

    def __post_init__(self):
        if self.start not in ("web", "scratch") or not 0 <= self.web < 1 or not 0 <= self.plans <= 1:
            raise ValueError(
                "start is 'web' or 'scratch', web from 0 to below 1, plans from 0 to 1; got "
                f"{self.start!r}, {self.web} and {self.plans}."
            )

    def run(self) -> dict[str, Any]:
        return asdict(self)


def arm(run: dict[str, Any], report: Callable[[float], Any] = lambda part: None) -> dict[str, Any]:
    """Train one arm and test it: the work of a sweep."""
    settings = Arm(**run)
    policy, losses = taught(settings, report)
    return {"loss": round(float(np.mean(losses[-100:])), 4)} | tested(policy, settings.trials)


def beginning(start: str, seed: int = 0) -> RT2:
    """The policy before it meets the robot: eight numbers in integer tokens."""
    vlm = load_checkpoint(DATA / START, RT2) if start == "web" else new_vlm(seed)
    return RT2(vlm.vlm, vlm.tokenizer, "workbook", without=WITHOUT)


@cache
def tasks() -> tuple[Task, ...]:
    """What the robot's data shows: three skills, all seen things, without the held-out combinations."""
    return tuple(task for task in training_tasks() if task.skill in SKILLS and task.drawer < 0)


def mixture(settings: Arm, data: Episodes) -> Mixture:
    """The batches of an arm: robot frames, and the web's share of questions."""
    frames = RobotFrames(data, batch=PICTURES, asked=ASKED, plans=settings.plans, places=settings.places, seed=settings.seed)
    web = WebPictures(batch=16, questions=QUESTIONS, seed=7 + settings.seed, places=settings.places)
    shares = {"robot": 1 - settings.web, "web": settings.web}
    return Mixture({"robot": frames, "web": web}, shares, together=settings.together)


def taught(settings: Arm, report: Callable[[float], Any] = lambda part: None) -> tuple[RT2, list[float]]:
    """The policy after its training, and the loss of each step."""
    data = record(EPISODES, tasks(), seed=TRAINING_SEED + DATA_APART * (1 + settings.seed))
    policy = beginning(settings.start, settings.seed).to("cuda" if torch.cuda.is_available() else "cpu")
    steps = settings.steps if settings.together else round(settings.steps / (1 - settings.web))
    history = co_fine_tune(
        policy, mixture(settings, data), Schedule(steps=steps, lr=settings.lr),
        last_layers=None if settings.last_layers < 0 else settings.last_layers, progress=False,
        on_step=lambda step, loss: report(0.8 * (step + 1) / steps) if step % 20 == 0 else None,
    )  # fmt: skip
    if not history.finished:
        raise KeyboardInterrupt
    policy.plan = settings.plans > 0
    return policy, history.losses


def tested(policy: RT2, trials: int = TRIALS) -> dict[str, Any]:
    """Successes on every set, and right answers to the web's questions."""
    result: dict[str, Any] = {name: summary(driven(policy, name, trials)) for name in SETS}
    answers = exam(policy, max(1, min(30, trials // 3)))
    kinds = {"all": answers.rate(), "point": answers.rate("point"), "name": answers.rate("name")}
    return result | {"web": {name: {"n": rate.n, "right": round(rate.rate * rate.n)} for name, rate in kinds.items()}}


def driven(policy: Policy, name: str, trials: int, seed: int = 0) -> Outcomes:
    """Rollouts of a named set (``world.splits``): its tasks of SKILLS, without drawers."""
    have = {request.task.skill for request in split(name).requests}
    found = split(name).trials(4 * trials, seed, tuple(skill for skill in SKILLS if skill in have))
    some = [trial for trial in found if trial.task.drawer < 0][:trials]
    groups = []
    for first in range(0, len(some), TABLES):
        part = some[first : first + TABLES]
        groups.append(rollout(policy, TabletopVectorEnv(len(part)), len(part), seed=seed + first, options=options_of(part)))
    return joined(groups)


def labelled(rows: Sequence[Run], names: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    """The rows of these arms (name -> what differs), with the name as a setting, ``arm``: what ``report`` groups by."""
    found = []
    for name, changes in names.items():
        found += [row | {"run": row["run"] | {"arm": name}} for row in rows
                  if row["run"] == Arm(seed=row["run"]["seed"], **changes).run()]  # fmt: skip
    return found


def emergent(row: Run) -> tuple[int, int]:
    """Successes and trials of a row on all emergent sets together."""
    sets = [row["result"][name] for name in SETS if name in EMERGENT]
    return sum(s["successes"] for s in sets), sum(s["n"] for s in sets)

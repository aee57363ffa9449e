"""The world in numbers and pictures: what data/world_*.csv, world_skills.png and concepts.csv are made of.

Each function makes one file's content; ``recipes`` writes it and its row in the manifest.
"""

import csv
import io
import os
import statistics
import time
from collections.abc import Iterable

import gymnasium
import numpy as np
import torch
from matplotlib.figure import Figure

import course_lib.world  # noqa: F401  registers the environment
from course_lib.classroom.film_export import contact_sheet
from course_lib.datasets import record
from course_lib.datasets.concepts import as_csv, concept_card
from course_lib.datasets.web import WebPictures
from course_lib.measure import Outcomes, rollout, wilson
from course_lib.measure.outcomes import joined
from course_lib.world import ExpertPolicy
from course_lib.world.bench import BENCHMARKS, FRAMES, rates
from course_lib.world.chains import STORIES, draw_chain
from course_lib.world.env import ENV_ID
from course_lib.world.tasks import SKILLS, skill_tasks

SHEET_SEEDS = {"move near": 12, "place into": 4, "pick from": 3}  # scenes that show the skill well


def _csv(heading: Iterable[str], rows: Iterable[Iterable]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(heading)
    table.writerows(rows)
    return out.getvalue()


def _rate(outcomes: Outcomes) -> list:
    won, n = int(outcomes.success.sum()), len(outcomes)
    rate = wilson(won, n)
    return [n, won, *(f"{x:.4f}" for x in rate[:3]), f"{np.median(outcomes.length):.0f}"]


def expert_table(n: int = 1000, tables: int = 250) -> str:
    """CSV: success of the scripted expert per skill (3 and 5 objects) and per chain, with 95% intervals and median steps."""
    rows = []
    for objects in (3, 5):
        for skill in SKILLS:
            env = gymnasium.make_vec(ENV_ID, num_envs=tables, tasks=skill_tasks(skill), objects=objects, size=16)
            rows.append([skill, objects, *_rate(rollout(ExpertPolicy(env), env, n))])
    for story in STORIES:
        chains = [draw_chain(seed, story) for seed in range(tables)]
        options = {"task": [c.tasks for c in chains], "kinds": [list(c.kinds) for c in chains]}
        env = gymnasium.make_vec(ENV_ID, num_envs=tables, size=16)
        outcomes = rollout(ExpertPolicy(env), env, tables, options=options)
        rows.append([f"chain: {story}", "", *_rate(outcomes)])
    return _csv(("skill", "objects", "n", "successes", "rate", "low", "high", "median_steps"), rows)


def skill_films(size: int = 128) -> Outcomes:
    """One filmed episode of the expert for each of the eight skills."""
    films = []
    for skill in SKILLS:
        env = gymnasium.make_vec(ENV_ID, num_envs=1, tasks=skill_tasks(skill), size=size)
        films.append(rollout(ExpertPolicy(env), env, 1, seed=SHEET_SEEDS.get(skill, 3), film=1))
    return joined(films)


def skill_sheet() -> Figure:
    """The contact sheet of the eight skills."""
    return contact_sheet(skill_films(), columns=8, rows=len(SKILLS))


def recording_rate(episodes: int = 100_000, device: str = "cpu") -> tuple[float, int, int]:
    """(seconds, frames, bytes) of recording so many expert episodes of all skills into memory."""
    start = time.perf_counter()
    data = record(episodes, seed=5_000_000, device=device)
    return time.perf_counter() - start, data.frames, data.states.nbytes + data.actions.nbytes


def speed_table(device: str = "cpu", threads: int = 2, episodes: int = 100_000) -> str:
    """CSV: how fast the world is drawn and moved on this machine, and what recording 100,000 episodes takes."""
    torch.set_num_threads(threads)
    rows = []
    for name, (unit, prepare) in BENCHMARKS.items():
        _, *warm = rates(prepare(device, FRAMES.get(device, 1024)), device)
        rows.append([name, f"{statistics.median(warm):.0f}", f"{min(warm):.0f}", f"{max(warm):.0f}", unit])
    seconds, frames, size = recording_rate(episodes, device)
    rows.append([f"record {episodes:,} episodes ({frames:,} frames)", f"{seconds:.1f}", "", "", "s"])
    rows.append([f"memory of {episodes:,} episodes", f"{size / 1e6:.0f}", "", "", "MB"])
    rows.append(["load average at the end", f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "", "", "", ""])
    return _csv(("what", "median", "lowest", "highest", "unit"), rows)


def concepts_table(episodes: int = 3000) -> str:
    """CSV: in how many web pictures, questions, robot scenes and instructions each concept occurs."""
    return as_csv(concept_card(WebPictures(), record(episodes, seed=1_000_000)))

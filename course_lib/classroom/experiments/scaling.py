"""Scaling: success against the number of episodes, and diversity against quantity; the same steps for every clone."""

from typing import Any

from course_lib.classroom.experiments.clones import WORK, Clone
from course_lib.measure.scaling import Point

__all__ = ["SIZES", "TITLE", "WORK", "diversity_runs", "points", "runs"]

TITLE = "success against the number of episodes, seen and unseen combinations"
SIZES = (100, 1000, 10_000, 100_000)
FEWER = ((1.0, 2500), (0.5, 10_000), (0.25, 10_000))  # (part of the tasks, episodes), beside all tasks and 10,000


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every size with ``seeds`` seeds, small sizes first."""
    return [Clone(seed=seed, episodes=size).run() for seed in range(seeds) for size in SIZES]


def diversity_runs(seeds: int = 3) -> list[dict[str, Any]]:
    """RT-1's other lesson (its Table 7): fewer episodes of all tasks, or as many episodes of fewer tasks."""
    settings = [(1.0, 10_000), *FEWER]
    return [Clone(seed=seed, tasks=tasks, episodes=n).run() for seed in range(seeds) for tasks, n in settings]


def points(rows: list[dict[str, Any]], test: str = "seen") -> list[Point]:
    """The rows as ``measure.scaling`` wants them: one point per size, with each seed's successes of its trials."""
    sizes = sorted({row["run"]["episodes"] for row in rows})
    found = {size: [row["result"][test] for row in rows if row["run"]["episodes"] == size] for size in sizes}
    return [Point(size, tuple(r["successes"] for r in some), tuple(r["n"] for r in some)) for size, some in found.items()]

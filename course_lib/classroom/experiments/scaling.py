"""Scaling: success against the number of episodes, with the same number of training steps for every size."""

from typing import Any

from course_lib.classroom.experiments.clones import WORK, Clone
from course_lib.measure.scaling import Point

__all__ = ["SIZES", "TITLE", "WORK", "points", "runs"]

TITLE = "success against the number of episodes, seen and unseen combinations"
SIZES = (100, 1000, 10_000, 100_000)


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every size with ``seeds`` seeds, small sizes first."""
    return [Clone(seed=seed, episodes=size).run() for seed in range(seeds) for size in SIZES]


def points(rows: list[dict[str, Any]], test: str = "seen") -> list[Point]:
    """The rows as ``measure.scaling`` wants them: one point per size, with each seed's successes of its trials."""
    sizes = sorted({row["run"]["episodes"] for row in rows})
    found = {size: [row["result"][test] for row in rows if row["run"]["episodes"] == size] for size in sizes}
    return [Point(size, tuple(r["successes"] for r in some), tuple(r["n"] for r in some)) for size, some in found.items()]

"""Diversity against quantity: fewer episodes of all tasks, or as many episodes of fewer tasks (RT-1's Table 7)."""

from typing import Any

from course_lib.classroom.experiments.clones import EPISODES, WORK, Clone

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "fewer tasks or fewer episodes: success on seen and unseen combinations"
DATA = ((1.0, EPISODES), (1.0, EPISODES // 4), (0.5, EPISODES), (0.25, EPISODES))  # (part of the tasks, episodes)


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every kind of data, with ``seeds`` seeds each."""
    return [Clone(seed=seed, tasks=tasks, episodes=n).run() for seed in range(seeds) for tasks, n in DATA]

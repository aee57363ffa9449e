"""Transfer: does what the web taught reach the hands? From scratch, robot-only, co-fine-tuned, with and without a plan."""

from typing import Any

from course_lib.classroom.experiments.arms import WORK, Arm

__all__ = ["ARMS", "DAY", "TITLE", "WORK", "runs"]

DAY = "day93"
TITLE = "from scratch, robot-only or co-fine-tuned, with and without a plan"
ARMS: dict[str, dict[str, Any]] = {  # name: what differs
    "from scratch": {"start": "scratch", "web": 0.0},
    "robot-only": {"web": 0.0},
    "robot-only, plan": {"web": 0.0, "plans": 0.5},
    "co-fine-tuned": {},
    "co-fine-tuned, plan": {"plans": 0.5},
    "co-fine-tuned, plan with places": {"plans": 0.5, "places": True},
}


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every arm, with ``seeds`` seeds each."""
    return [Arm(seed=seed, **changes).run() for seed in range(seeds) for changes in ARMS.values()]

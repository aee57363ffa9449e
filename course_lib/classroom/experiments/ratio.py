"""The ratio: how much web data to mix in, by sampling or by weighing the loss, and training only the last layers."""

from typing import Any

from course_lib.classroom.experiments.arms import WORK, Arm

__all__ = ["ARMS", "DAY", "TITLE", "WORK", "runs"]

DAY = "day93"
TITLE = "the web's share of the steps; or of the loss; or only the last layers learn"
ARMS: dict[str, dict[str, Any]] = {  # name: what differs
    "no web": {"web": 0.0},
    "a quarter": {"web": 0.25},
    "half": {},
    "three quarters": {"web": 0.75},
    "half of the loss": {"together": True},
    "no web, last 2 layers": {"web": 0.0, "last_layers": 2},
}


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every mixture, with ``seeds`` seeds each."""
    return [Arm(seed=seed, **changes).run() for seed in range(seeds) for changes in ARMS.values()]

"""FiLM's start: the identity as in RT-1, torch's usual random start, and the usual start without the "1 +"."""

from typing import Any

from course_lib.classroom.experiments.clones import WORK, Clone

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "FiLM that starts as the identity, at random, or at random without the 1 +"
STARTS = ("FiLM", "FiLM, default start", "FiLM without 1 +")


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every start, with ``seeds`` seeds each."""
    return [Clone(seed=seed, language=start).run() for seed in range(seeds) for start in STARTS]

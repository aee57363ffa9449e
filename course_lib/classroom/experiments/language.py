"""Language: FiLM, concatenated to the image tokens, or not at all; the same data, steps and test scenes for all three."""

from typing import Any

from course_lib.classroom.experiments.clones import WORK, Clone

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "FiLM, concatenated language or none"
WAYS = ("FiLM", "concatenated", "none")


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every way to listen, with ``seeds`` seeds each."""
    return [Clone(seed=seed, language=way).run() for seed in range(seeds) for way in WAYS]

"""Language: FiLM, concatenation or none, and FiLM's start, with the same data, steps and test scenes."""

from typing import Any

from course_lib.classroom.experiments.clones import LANGUAGES, WORK, Clone

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "FiLM, concatenated language or none; identity or default start"


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every way to listen, with ``seeds`` seeds each."""
    return [Clone(seed=seed, language=language).run() for seed in range(seeds) for language in LANGUAGES]

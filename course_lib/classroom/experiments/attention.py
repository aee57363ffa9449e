"""Attention: TokenLearner v1.1, v1.0 and the look-alikes trained alike, and what their maps look at (``gaze``)."""

from typing import Any

from course_lib.classroom.experiments.clones import TOKEN_LEARNERS, WORK, Clone

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "TokenLearner and its relatives: success, and what the maps look at"


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Every TokenLearner, with ``seeds`` seeds each."""
    return [Clone(seed=seed, token_learner=name).run() for seed in range(seeds) for name in TOKEN_LEARNERS]

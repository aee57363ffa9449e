"""Success rates that carry their uncertainty."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from course_lib.measure.outcomes import Outcomes


class Rate(NamedTuple):
    """A success rate with its 95% interval and the number of trials behind it."""

    rate: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.rate:.1%} [{self.low:.1%}, {self.high:.1%}], n = {self.n}"


def wilson(successes: int, n: int, z: float = 1.959964) -> Rate:
    """Wilson's score interval: it stays inside [0, 1] and is honest near 0% and 100%, where mean +- 2 sd is not.

    Wilson, J. Amer. Stat. Assoc. 22 (1927). ``z`` = 1.96 gives 95%.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"Expected 0 <= successes <= n and n >= 1, got {successes} of {n}.")
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Rate(p, max(0.0, centre - half), min(1.0, centre + half), n)


def success_rate(outcomes: Outcomes) -> Rate:
    """The part of the episodes that succeeded, with its 95% interval."""
    return wilson(int(np.sum(outcomes.success)), len(outcomes.success))


def success_by(outcomes: Outcomes, groups: Sequence[str]) -> dict[str, Rate]:
    """The success rate of each group; ``groups`` names the group of each episode, such as its skill or instruction."""
    if len(groups) != len(outcomes):
        raise ValueError(f"Expected one group per episode ({len(outcomes)}), got {len(groups)}.")
    names = np.asarray(groups)
    return {name: success_rate(outcomes.where(names == name)) for name in dict.fromkeys(groups)}

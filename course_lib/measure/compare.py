"""Two policies on the same scenes: paired, because most of the luck lies in the scene.

Scenes that both policies solve, or neither, say nothing about which is better; only the discordant ones do. So the test is
McNemar's (Psychometrika 12, 1947) in its exact, binomial form, and the interval of the difference is Tango's score
interval (Statistics in Medicine 17, 1998): the paired sibling of Wilson's, honest for few scenes and rare differences.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from course_lib.measure.outcomes import Outcomes


class Comparison(NamedTuple):
    """How much more often b succeeds than a, in the same n scenes."""

    difference: float  # success of b minus success of a
    low: float  # 95% interval
    high: float
    p: float  # exact McNemar: how often equally good policies would differ by this much or more
    both: int  # scenes that both solved
    only_a: int
    only_b: int
    neither: int
    names: tuple[str, str] = ("a", "b")

    @property
    def n(self) -> int:
        """Number of scenes."""
        return self.both + self.only_a + self.only_b + self.neither

    def __str__(self) -> str:
        a, b = self.names
        apart = f"{100 * abs(self.difference):.1f} percentage points {'ahead of' if self.difference >= 0 else 'behind'}"
        clear = self.low > 0 or self.high < 0
        return (
            f"{b} is {apart} {a} in the same {self.n} scenes "
            f"(95% interval {100 * self.low:+.1f} to {100 * self.high:+.1f}): both {self.both}, only {a} {self.only_a}, "
            f"only {b} {self.only_b}, neither {self.neither}; exact McNemar p = {self.p:.2g}. "
            + ("The difference is more than chance." if clear else "This may be chance.")
        )


def compare(a: Outcomes, b: Outcomes, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Paired comparison of two rollouts. Raises ValueError unless both drove in the same scenes with the same sentences."""
    if len(a) != len(b) or not np.array_equal(a.seed, b.seed) or a.instruction != b.instruction:
        raise ValueError(
            f"Expected two rollouts of the same scenes, got {len(a)} and {len(b)} episodes with other seeds or "
            "instructions. Call rollout(policy, env, n, seed) with the same env, n and seed for both."
        )
    won_a, won_b = np.asarray(a.success, bool), np.asarray(b.success, bool)
    counts = [int(x.sum()) for x in (won_a & won_b, won_a & ~won_b, ~won_a & won_b, ~won_a & ~won_b)]
    low, high = difference_interval(counts[1], counts[2], len(a))
    return Comparison((counts[2] - counts[1]) / len(a), low, high, mcnemar(counts[1], counts[2]), *counts, names)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p: if neither policy is better, each discordant scene is the toss of a coin."""
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def difference_interval(only_a: int, only_b: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """All differences (b minus a) that a score test at ``z`` does not reject. z = 1.96 gives 95%."""
    if n < 1 or min(only_a, only_b) < 0 or only_a + only_b > n:
        raise ValueError(f"Expected only_a + only_b <= n and n >= 1, got {only_a} + {only_b} of {n}.")
    middle = (only_b - only_a) / n

    def surprise(delta: float) -> float:
        return abs(_score(only_a, only_b, n, delta)) - z

    return _edge(surprise, middle, -1.0), _edge(surprise, middle, 1.0)


def _score(only_a: int, only_b: int, n: int, delta: float) -> float:
    """Standard deviations between the counts and a true difference of ``delta``.

    ``q`` is the most likely chance of an only-a scene under that difference; the one of only-b is q + delta.
    """
    a, b, c = 2 * n, -only_b - only_a + (2 * n - only_b + only_a) * delta, -only_a * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q + delta * (1 - delta))
    gap = only_b - only_a - n * delta
    return gap / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, gap) if abs(gap) > 1e-9 else 0.0


def _edge(surprise: Callable[[float], float], inside: float, outside: float) -> float:
    """Where ``surprise`` turns positive between a point inside the interval and the end of the scale, by halving."""
    if surprise(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if surprise(middle) > 0 else (middle, outside)
    return inside

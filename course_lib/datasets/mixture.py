"""Mixtures of data: which part a training step learns from, or how much each part weighs in its loss.

RT-2 co-fine-tunes on web data and robot data at once, and sees to it that the robot's share is large (section 3.2; 50% of
the mixture for PaLI-X, 66% for PaLM-E). There are two ways to say so, with the same expected gradient: draw batches from
the parts in these shares, or take a batch of every part and weigh their losses. Lesson: day93_rt2/2_implementation.
"""

from collections.abc import Callable, Mapping
from typing import Any

GOLDEN = (5**0.5 - 1) / 2  # the fractions of its multiples fill the line from 0 to 1 as evenly as can be


class Mixture:
    """Batches of several parts: ``mixture(step)``, always the same for the same step.

    ``parts`` maps a name to batches (``web(step)``), ``shares`` each name to its part of the whole. With
    ``together=False`` every step is a batch of one part, in turns as even as the shares allow; with True it has a batch of
    every part, ``{"parts": {name: batch}, "shares": {name: share}}``, which ``RT2.loss`` weighs.
    """

    def __init__(
        self, parts: Mapping[str, Callable[[int], Any]], shares: Mapping[str, float | int], *, together: bool = False
    ):
        if set(parts) != set(shares) or not parts or min(shares.values()) < 0 or not sum(shares.values()) > 0:
            raise ValueError(
                f"Expected one share of at least 0 for each part, not all 0; got {sorted(parts)} and {dict(shares)}."
            )
        total = sum(shares.values())
        self.shares = {name: share / total for name, share in shares.items() if share > 0}
        self.parts, self.together = {name: parts[name] for name in self.shares}, together

    def __call__(self, step: int) -> Any:
        """The batch of a step."""
        if self.together:
            return {"parts": {name: part(step) for name, part in self.parts.items()}, "shares": self.shares}
        return self.parts[self.turn(step)](step)

    def turn(self, step: int) -> str:
        """The name of the part whose turn it is, with ``together=False``."""
        place = (step + 0.5) * GOLDEN % 1
        for name, share in self.shares.items():
            place -= share
            if place < 0:
                return name
        return name  # the shares' sum, rounded, may stay a little below 1

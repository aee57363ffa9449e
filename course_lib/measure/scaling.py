"""Scaling fits: is success a power law of the data? Two laws, fitted by likelihood, with the uncertainty they have.

Success is counted, so the likelihood is binomial, not a least-squares line through logarithms (which has no room for 0 or
100%). Fits are searched on a grid of parameters: with two or three of them that finds the *best* fit, not a near one, and
all bootstrap samples are fitted in one matrix product. The bootstrap draws seeds again, then their rollouts: with three
seeds it is still too optimistic. Sources: Kaplan et al. 2020 for the power law; the logistic curve is Verhulst's (1838).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.measure.statistics import Rate, wilson

FIRST = 100  # episodes at which the power law's error is named
SMALLEST = 1e-4  # a law never promises more than 99.99%, or less than 0.01%: one lucky rollout must not refute it
TOGETHER = 64  # bootstrap samples fitted at once


class Point(NamedTuple):
    """What was measured at one size: successes and trials of each seed."""

    size: int
    successes: tuple[int, ...]
    trials: tuple[int, ...]

    @property
    def rate(self) -> Rate:
        """All seeds together, as if their rollouts were one sample: the interval leaves out that seeds differ."""
        return wilson(sum(self.successes), sum(self.trials))


@dataclass(frozen=True)
class Law:
    """A curve of success against size: parameters (G, P) and sizes (S,) -> rates (G, S)."""

    name: str
    formula: str
    parameters: dict[str, Float[Tensor, " n"]]  # the grid of each
    curve: Callable[[Tensor, Tensor], Tensor]

    def grid(self) -> Float[Tensor, "G P"]:
        """All combinations."""
        return torch.cartesian_prod(*self.parameters.values())

    def rates(self, parameters: Float[Tensor, "G P"], sizes: Sequence[float | int]) -> Float[Tensor, "G S"]:
        """The success each row of parameters predicts, kept inside (0, 1)."""
        return self.curve(parameters, torch.tensor(sizes, dtype=torch.float64)).clamp(SMALLEST, 1 - SMALLEST)


def _power(p: Tensor, sizes: Tensor) -> Tensor:
    return 1 - p[:, :1] * (sizes / FIRST) ** -p[:, 1:2]


def _logistic(p: Tensor, sizes: Tensor) -> Tensor:
    return p[:, 2:3] * torch.sigmoid(p[:, 1:2] * (sizes.log10() - p[:, :1]))


def _steps(low: float, high: float, n: int) -> Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            "power law", "error = a (N / 100)^-b",
            {"a": _steps(0.01, 1.0, 100), "b": _steps(0.0, 2.0, 201)}, _power,
        ),
        Law(
            "logistic", "success = c / (1 + exp(-k (log10 N - m)))",
            {"m": _steps(1.0, 6.0, 101), "k": _steps(0.25, 10.0, 40), "c": _steps(0.02, 1.0, 50)}, _logistic,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """The best parameters of a law, and those of the bootstrap samples."""

    law: Law
    best: Float[Tensor, " P"]
    samples: Float[Tensor, "R P"]
    log_likelihood: float  # of the best; comparable between laws for the same points
    deviance: float  # 2 (log-likelihood of the measured rates themselves - this one): large means the law does not fit

    @property
    def aic(self) -> float:
        """Akaike's criterion: smaller is better, and a parameter must pay for itself."""
        return 2 * len(self.best) - 2 * self.log_likelihood

    def parameters(self) -> dict[str, tuple[float, float, float]]:
        """Name -> best, and the middle 95% of the bootstrap."""
        low, high = self._middle(self.samples)
        names = self.law.parameters
        return {name: (float(self.best[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}

    def predict(self, size: float | int) -> tuple[float, float, float]:
        """Success at a size: best fit, and the middle 95% of the bootstrap."""
        low, high = self._middle(self.law.rates(self.samples, [size]))
        return float(self.law.rates(self.best[None], [size])[0, 0]), float(low[0]), float(high[0])

    @staticmethod
    def _middle(values: Tensor) -> Tensor:
        return torch.quantile(values, torch.tensor([0.025, 0.975], dtype=values.dtype), dim=0)


def fit(points: Sequence[Point], law: str, *, bootstrap: int = 300, seed: int = 0) -> Fit:
    """Fit a law of LAWS to the points. Raises ValueError for another law and for fewer than two sizes."""
    if law not in LAWS:
        raise ValueError(f"law is one of {list(LAWS)}, got {law!r}.")
    if bootstrap < 1:
        raise ValueError(f"Expected at least one bootstrap sample, got {bootstrap}.")
    if len({point.size for point in points}) < 2:
        raise ValueError(f"Expected points of at least two sizes, got {[point.size for point in points]}.")
    chosen = LAWS[law]
    grid = chosen.grid()
    rates = chosen.rates(grid, [point.size for point in points])
    won = torch.tensor([float(sum(point.successes)) for point in points], dtype=torch.float64)
    n = torch.tensor([float(sum(point.trials)) for point in points], dtype=torch.float64)
    best, likelihood = _best(rates, won[None], n[None])
    drawn = _resampled(points, bootstrap, torch.Generator().manual_seed(seed))
    parts = [_best(rates, w, m)[0] for w, m in zip(*(x.split(TOGETHER) for x in drawn), strict=True)]
    samples = grid[torch.cat(parts)]
    own = (won / n).clamp(SMALLEST, 1 - SMALLEST)
    perfect = float((won * own.log() + (n - won) * (1 - own).log()).sum())
    return Fit(chosen, grid[best[0]], samples, float(likelihood[0]), 2 * (perfect - float(likelihood[0])))


def _best(rates: Float[Tensor, "G S"], won: Float[Tensor, "R S"], n: Float[Tensor, "R S"]) -> tuple[Tensor, Tensor]:
    """For each sample the row of the grid with the largest binomial likelihood, and its logarithm (without the constant)."""
    likelihood = won @ rates.log().T + (n - won) @ (1 - rates).log().T  # (R, G)
    best = likelihood.max(1)
    return best.indices, best.values


def _resampled(points: Sequence[Point], count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bootstrap samples (count, S) of successes and trials: seeds drawn again, then the rollouts of each."""
    won, n = [], []
    for point in points:
        k = torch.tensor(point.successes, dtype=torch.float64)
        m = torch.tensor(point.trials, dtype=torch.float64)
        which = torch.randint(len(k), (count, len(k)), generator=random)
        won.append(torch.binomial(m[which], (k / m)[which], generator=random).sum(1))
        n.append(m[which].sum(1))
    return torch.stack(won, 1), torch.stack(n, 1)


def spread(point: Point) -> float:
    """How many times the seeds' rates vary more than rollouts alone would (in standard deviations): near 1 for equal
    seeds, NaN for one seed or if all rollouts agree."""
    rate, k = sum(point.successes) / sum(point.trials), len(point.trials)
    expected = rate * (1 - rate) / (sum(point.trials) / k)
    if k < 2 or expected == 0:
        return math.nan
    rates = [s / n for s, n in zip(point.successes, point.trials, strict=True)]
    return math.sqrt(sum((r - rate) ** 2 for r in rates) / (k - 1) / expected)

"""Fits of success against size: they find the curve that made the numbers, and say how sure they are."""

import math

import pytest
import torch

from course_lib.measure.scaling import LAWS, Point, fit, spread

SIZES = (100, 1000, 10_000, 100_000)


def points(rate, trials=1000, seeds=3):
    """Points without noise: every seed succeeds as often as the curve says."""
    return [Point(n, (round(rate(n) * trials),) * seeds, (trials,) * seeds) for n in SIZES]


def power(n):
    return 1 - 0.9 * (n / 100) ** -0.5


def logistic(n):
    return 0.9 / (1 + math.exp(-3 * (math.log10(n) - 3.0)))


def test_a_power_law_is_found_again():
    found = fit(points(power), "power law", bootstrap=50).parameters()
    for name, true in {"a": 0.9, "b": 0.5}.items():
        best, low, high = found[name]
        assert best == pytest.approx(true, abs=0.011) and low <= true <= high


def test_a_logistic_curve_is_found_again():
    found = fit(points(logistic), "logistic", bootstrap=50).parameters()
    for name, true, step in (("m", 3.0, 0.05), ("k", 3.0, 0.25), ("c", 0.9, 0.02)):
        best, low, high = found[name]
        assert abs(best - true) <= step and low - step <= true <= high + step


def test_each_law_fits_its_own_numbers_better_than_the_other():
    for own, curve in {"power law": power, "logistic": logistic}.items():
        aic = {law: fit(points(curve), law, bootstrap=1).aic for law in LAWS}
        assert min(aic, key=aic.get) == own
        assert fit(points(curve), own, bootstrap=1).deviance < 2  # no room left to do better


def test_the_grid_finds_what_gradient_descent_finds():
    noisy = [Point(n, (k,), (400,)) for n, k in zip(SIZES, (31, 180, 290, 352), strict=True)]
    found = fit(noisy, "power law", bootstrap=1)
    free = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")
    n = torch.tensor(SIZES, dtype=torch.float64)
    won = torch.tensor([p.successes[0] for p in noisy], dtype=torch.float64)

    def minus_likelihood():
        optimizer.zero_grad()
        rate = (1 - free[0].sigmoid() * (n / 100) ** -free[1].exp()).clamp(1e-9, 1 - 1e-9)
        value = -(won * rate.log() + (400 - won) * (1 - rate).log()).sum()
        value.backward()
        return value

    optimizer.step(minus_likelihood)
    assert -float(minus_likelihood().detach()) - found.log_likelihood < 0.1
    a, b = float(free[0].sigmoid()), float(free[1].exp())
    assert found.parameters()["a"][0] == pytest.approx(a, abs=0.011)
    assert found.parameters()["b"][0] == pytest.approx(b, abs=0.011)


def test_more_rollouts_and_agreeing_seeds_make_narrower_predictions():
    def width(some):
        _, low, high = fit(some, "power law", bootstrap=200).predict(1_000_000)
        return high - low

    few, many = points(power, trials=50), points(power, trials=5000)
    apart = [Point(p.size, (p.successes[0] // 2, p.successes[1], p.trials[2]), p.trials) for p in many]
    assert width(many) < width(few) < width(apart)


def test_nothing_and_everything_succeeding_does_not_break_a_fit():
    ends = [Point(100, (0, 0), (300, 300)), Point(1000, (300, 300), (300, 300))]
    for law in LAWS:
        found = fit(ends, law, bootstrap=20)
        assert math.isfinite(found.log_likelihood) and 0 <= found.predict(10)[0] <= 1


def test_the_deviance_says_when_a_law_does_not_fit():
    dip = [Point(n, (k,), (1000,)) for n, k in zip(SIZES, (500, 100, 900, 950), strict=True)]
    assert fit(dip, "power law", bootstrap=1).deviance > 50  # 95% of true laws stay below 6 here


def test_spread_is_one_for_luck_and_more_for_seeds_that_differ():
    random = torch.Generator().manual_seed(0)
    k = torch.binomial(torch.full((2000,), 400.0), torch.full((2000,), 0.3), generator=random)
    luck = Point(100, tuple(int(x) for x in k), (400,) * 2000)
    assert spread(luck) == pytest.approx(1, abs=0.05)
    assert spread(Point(100, (40, 200, 360), (400, 400, 400))) > 10
    assert math.isnan(spread(Point(100, (40,), (400,)))) and math.isnan(spread(Point(100, (0, 0), (400, 400))))


def test_the_same_seed_gives_the_same_bootstrap():
    first, again = (fit(points(power), "power law", bootstrap=30, seed=3).samples for _ in range(2))
    assert torch.equal(first, again)


def test_unknown_laws_and_single_sizes_are_refused():
    with pytest.raises(ValueError, match="power law"):
        fit(points(power), "moore")
    with pytest.raises(ValueError, match="two sizes"):
        fit(points(power)[:1], "logistic")

"""Rows of the experiments as a reader wants them: rates with intervals, seeds apart, paired differences, figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes

from course_lib.classroom.plots import still_html
from course_lib.learn.sweep import Run
from course_lib.measure import wilson
from course_lib.measure.compare import Comparison, difference_interval, mcnemar
from course_lib.measure.scaling import Fit, Point

NOTHING = "not measured yet: no finished run is in data/"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"  # told apart with any colour vision


def grouped(rows: Sequence[Run], key: str, test: str = "seen") -> dict[Any, Point]:
    """The rows by one setting: each value with the successes of its seeds (``Point.size`` counts the seeds)."""
    values = dict.fromkeys(row["run"][key] for row in rows)
    found = {value: [row["result"][test] for row in rows if row["run"][key] == value] for value in values}
    return {
        value: Point(len(some), tuple(r["successes"] for r in some), tuple(r["n"] for r in some))
        for value, some in found.items()
    }


def rates(rows: Sequence[Run], key: str, tests: Sequence[str] = ("seen", "unseen")) -> str:
    """A text table: per setting and test set the rate with its interval, and each seed's rate. Says if there is nothing."""
    if not rows:
        return NOTHING
    lines = []
    for test in tests:
        for value, point in grouped(rows, key, test).items():
            seeds = ", ".join(f"{k / n:.0%}" for k, n in zip(point.successes, point.trials, strict=True))
            lines.append(f"{test:<8} {value!s:<20} {point.rate!s:<38} seeds: {seeds}")
    return "\n".join(lines)


def paired(rows: Sequence[Run], key: str, a: Any, b: Any, test: str = "seen") -> list[Comparison]:
    """Setting b against a in the same scenes, for each seed that has both."""
    each = {(row["run"][key], row["run"]["seed"]): np.array(list(row["result"][test]["each"])) == "1" for row in rows}
    seeds = sorted(seed for value, seed in each if value == a and (b, seed) in each)
    return [_comparison(each[a, seed], each[b, seed], (str(a), str(b))) for seed in seeds]


def _comparison(a: np.ndarray, b: np.ndarray, names: tuple[str, str]) -> Comparison:
    counts = [int(x.sum()) for x in (a & b, a & ~b, ~a & b, ~a & ~b)]
    low, high = difference_interval(counts[1], counts[2], len(a))
    return Comparison((counts[2] - counts[1]) / len(a), low, high, mcnemar(counts[1], counts[2]), *counts, names)


def numbers(rows: Sequence[Run], key: str, names: Mapping[str, str]) -> str:
    """A text table of results that are numbers: a line per entry of ``names`` (path -> words), a column per setting."""
    if not rows:
        return NOTHING
    values = list(dict.fromkeys(row["run"][key] for row in rows))
    lines = [" " * 46 + "".join(f"{value!s:>16}" for value in values)]
    for path, words in names.items():
        cells = [_cell([_at(row["result"], path) for row in rows if row["run"][key] == value]) for value in values]
        lines.append(f"{words:<46}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _at(result: Mapping[str, Any], path: str) -> float:
    value: Any = result
    for part in path.split("."):
        value = value[part]
    return value[0] if isinstance(value, list) else value


def _cell(found: list[float]) -> str:
    """The mean of the seeds, and how far they lie apart."""
    apart = f" ±{(max(found) - min(found)) / 2:.2g}" if len(found) > 1 else ""
    return f"{np.mean(found):.3g}{apart}"


def rates_figure(rows: Sequence[Run], key: str, title: str, tests: Sequence[str] = ("seen", "unseen")) -> HTML:
    """A line per setting: large dots all seeds together with their 95% interval, small dots the seeds."""
    if not rows:
        return HTML(f"<p>{NOTHING}</p>")
    labels = list(dict.fromkeys(str(row["run"][key]) for row in rows))
    figure, axis = plt.subplots(figsize=(7, 0.9 + 0.5 * len(labels)))
    plt.close(figure)
    told = []
    for i, (test, colour) in enumerate(zip(tests, (BLUE, ORANGE), strict=False)):
        for value, point in grouped(rows, key, test).items():
            y = labels.index(str(value)) + 0.22 * (i - (len(tests) - 1) / 2)
            _interval(axis, point, y, colour, test if labels.index(str(value)) == 0 else None)
            told.append(f"{value}, {test}: {point.rate}")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlim=(-0.02, 1.02), ylim=(len(labels) - 0.5, -0.5), xlabel="success", title=title)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="best", fontsize=8)
    figure.tight_layout()
    return HTML(still_html(figure, f"{title}. " + "; ".join(told) + ".", "course-figure"))


def _interval(axis: Axes, point: Point, y: float, colour: str, label: str | None) -> None:
    rate = point.rate
    axis.plot([rate.low, rate.high], [y, y], color=colour, lw=2)
    axis.plot(rate.rate, y, "o", color=colour, ms=7, label=label)
    each = [k / n for k, n in zip(point.successes, point.trials, strict=True)]
    axis.plot(each, [y] * len(each), ".", color=GREY, ms=4)


def scaling_figure(points: Mapping[str, Sequence[Point]], fits: Sequence[Fit]) -> HTML:
    """Success against episodes: each test set with intervals and its seeds; the fitted laws with their 95% bands."""
    if not any(points.values()):
        return HTML(f"<p>{NOTHING}</p>")
    figure, axis = plt.subplots(figsize=(7, 4))
    plt.close(figure)
    for (test, some), colour in zip(points.items(), (BLUE, ORANGE), strict=False):
        for k, point in enumerate(some):
            low, high = point.rate.low, point.rate.high
            axis.plot([point.size] * 2, [low, high], color=colour, lw=2)
            axis.plot(point.size, point.rate.rate, "o", color=colour, label=test if k == 0 else None)
            each = [wilson(s, n).rate for s, n in zip(point.successes, point.trials, strict=True)]
            axis.plot([point.size] * len(each), each, ".", color=GREY, ms=4)
    sizes = np.logspace(2, 6, 60)
    for fitted, style, colour in zip(fits, ("--", ":"), (GREEN, "black"), strict=False):
        best, low, high = np.array([fitted.predict(float(size)) for size in sizes]).T
        axis.plot(sizes, best, style, color=colour, label=f"{fitted.law.name}: {fitted.law.formula}")
        axis.fill_between(sizes, low, high, color=colour, alpha=0.12, lw=0)
    axis.set(xscale="log", ylim=(-0.03, 1.03), xlabel="episodes N", ylabel="success", title="Success against data")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    told = [f"{test}, {p.size:,} episodes: {p.rate}" for test, some in points.items() for p in some]
    return HTML(still_html(figure, "Success against the number of episodes. " + "; ".join(told) + ".", "course-figure"))

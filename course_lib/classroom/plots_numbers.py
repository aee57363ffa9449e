"""Figures of numbers: what 256 levels give back, what independent numbers cannot say, rates with intervals, a time budget.

Like ``plots_rt1``: a Figure whose label is its alternative text. Lessons: day92_rt1/1_theory, day92_rt1/3_experiments.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from course_lib.classroom.plots_rt1 import BLUE, GREY, ORANGE, SKY, STYLES, Number, new_figure
from course_lib.measure import Rate


def staircase_figure(wanted: Float[np.ndarray, " N"], back: Mapping[str, Float[np.ndarray, " N"]], unit: str) -> Figure:
    """What comes back for what was wanted, one staircase per way of rounding, and the error of each."""
    figure, axes = new_figure(9.2, 3.3, 2)
    axes[0].plot(wanted, wanted, color=GREY, lw=1, label="wanted")
    errors = []
    for (name, values), (colour, dash, _) in zip(back.items(), STYLES, strict=False):
        error = values - wanted
        errors.append(f"{name}: {error.min():.1f} to {error.max():.1f}, mean {error.mean():.1f} {unit}")
        axes[0].plot(wanted, values, dash, color=colour, label=name)
        axes[1].plot(wanted, error, dash, color=colour)
    axes[0].plot(0, 0, "+", color="#222", ms=12)
    axes[0].annotate("“do not move”", (0, 0), (0.15 * wanted.max(), -0.45 * wanted.max()), fontsize=8.5,
                     arrowprops={"arrowstyle": "-", "color": "#222"})  # fmt: skip
    axes[1].axhline(0, color=GREY, lw=1)
    for axis, title in zip(axes, (f"what comes back ({unit})", f"error ({unit})"), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(f"wanted ({unit})")
        axis.grid(alpha=0.25)
    axes[0].legend(fontsize=8.5, frameon=False)
    figure.set_label(f"Staircases around zero, and their errors. {'; '.join(errors)}. No stair passes through zero.")
    return figure


def joint_figure(tables: Mapping[str, Float[np.ndarray, "R C"]], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Probabilities of two numbers of an action together, side by side: one table per distribution."""
    figure, axes = new_figure(3.1 * len(tables), 0.75 * len(rows) + 1.1, len(tables))
    most = max(float(table.max()) for table in tables.values())
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=2.2 * most, aspect="auto")
        for (r, c), p in np.ndenumerate(table):
            axis.text(c, r, f"{p:.0%}", ha="center", va="center", fontsize=11, weight="bold" if p > 0 else "normal")
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_title(name, fontsize=10)
        axis.tick_params(length=0)
    said = []
    for name, table in tables.items():
        cells = [f"{rows[r]} and {columns[c]} {p:.0%}" for (r, c), p in np.ndenumerate(table)]
        said.append(f"{name}: {', '.join(cells)}")
    figure.set_label(f"Tables of probabilities. {'. '.join(said)}.")
    return figure


def rates_figure(rates: Mapping[str, Mapping[str, Rate]]) -> Figure:
    """Success rates with 95% intervals: per column of a table, one row per model."""
    figure, axes = new_figure(9.2, 0.36 * len(next(iter(rates.values()))) + 1.1, len(rates), sharey=True)
    said = []
    for axis, (title, rows) in zip(axes, rates.items(), strict=True):
        for y, (name, rate) in enumerate(reversed(rows.items())):
            colour, _, marker = STYLES[(len(rows) - 1 - y) % len(STYLES)]
            axis.plot([100 * rate.low, 100 * rate.high], [y, y], "-", color=colour, lw=2)
            axis.plot(100 * rate.rate, y, marker, color=colour, ms=7)
            said.append(f"{title}, {name}: {rate.rate:.0%}, interval {rate.low:.0%} to {rate.high:.0%}")
        n = {rate.n for rate in rows.values()}
        axis.set_title(f"{title} (n = {', '.join(map(str, sorted(n)))})", fontsize=10)
        axis.set(xlim=(0, 100), xlabel="success (%)", ylim=(-0.6, len(rows) - 0.4))
        axis.set_yticks(range(len(rows)), list(reversed(rows)))
        axis.grid(axis="x", alpha=0.25)
    figure.set_label("Success rates with their 95% intervals. " + ". ".join(said) + ".")
    return figure


def budget_figure(spans: Mapping[str, tuple[Number, Number]], period: Number) -> Figure:
    """A control step as a time line: named spans (start, end) in milliseconds, and the moment the next picture comes."""
    figure, (axis,) = new_figure(9.2, 0.42 * len(spans) + 1.0)
    for y, (start, end) in enumerate(reversed(spans.values())):
        colour = (BLUE, ORANGE, SKY, GREY)[y % 4]
        axis.barh(y, end - start, left=start, height=0.55, color=colour, alpha=0.85)
        axis.text(end + 4, y, f"{end - start:.0f} ms", va="center", fontsize=9)
    axis.axvline(period, color="#222", lw=1.5)
    axis.text(period - 4, len(spans) - 0.45, f"next picture at {period:.0f} ms", ha="right", fontsize=9)
    axis.set_yticks(range(len(spans)), list(reversed(spans)))
    axis.set(xlim=(0, 1.12 * max(period, *(end for _, end in spans.values()))), xlabel="milliseconds after the picture")
    axis.set_ylim(-0.6, len(spans) - 0.1)
    said = ", ".join(f"{name} {end - start:.0f}" for name, (start, end) in spans.items())
    figure.set_label(f"A time line of one control step in milliseconds: {said}; the next picture comes at {period:.0f}.")
    return figure

"""Figures of the RT-1 lessons: its drawing, its mask, what FiLM leaves of a picture, and where token learners look.

Each function returns a Figure whose label is its alternative text, made from the same numbers; ``show`` puts both on the
page. Colours are Okabe and Ito's, told apart with any kind of colour vision. Lesson: day92_rt1/1_theory.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from course_lib.classroom.plots import still_html

Number = float | int
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8a8a8a"
STYLES = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"))  # never by colour alone


def show(figure: Figure, caption: str = "") -> HTML:
    """The figure as the page shows it, read out by its label."""
    if not figure.get_label():
        raise ValueError(
            "Expected a figure with an alternative text. Try figure.set_label('What it shows, in a sentence.')."
        )
    return HTML(still_html(figure, figure.get_label(), "course-figure", caption))


def new_figure(width: Number, height: Number, columns: int = 1, **options: object) -> tuple[Figure, np.ndarray]:
    """A figure that pyplot has forgotten (the notebook shows it once), and its axes (columns,)."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)
    plt.close(figure)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def architecture_figure(trace: Mapping[str, Tensor]) -> Figure:
    """RT-1 from pictures to action tokens, with the shapes that one real pass left in ``trace``.

    Needs the names of RT1.forward's trace, and ``images``, ``instruction`` and ``logits`` of the same pass.
    """
    T, _, H, W = trace["images"].shape[1:]
    C, h, w = trace["encoder/map"].shape[1:]
    K = trace["image_tokens"].shape[1]
    A, V = trace["logits"].shape[2:]
    S, layers = trace["decoder/embedded"].shape[1], sum(name.endswith("/attention") for name in trace)
    blocks, Z = sum(name.startswith("encoder/block") for name in trace), trace["instruction"].shape[1]
    eyes = "EfficientNet-B3" if blocks == 26 else "EfficientNet"
    figure, (axis,) = new_figure(9.6, 3.5)
    axis.set(xlim=(0, 96), ylim=(-2, 34), aspect="equal")
    axis.set_axis_off()
    row = [
        (8.5, GREY, f"{T} pictures", f"{H} × {W} × 3\neach"),
        (26.5, BLUE, eyes, f"{blocks} blocks + FiLM\n{h} × {w} × {C}\n= {h * w} places"),
        (44.5, GREEN, "TokenLearner", f"{h * w} → {K} tokens\nof {C}"),
        (64.5, PURPLE, "Transformer", f"{T} × ({K} + {A}) = {S}\npositions,\n{layers} layers"),
        (85.5, ORANGE, f"{A} action tokens", f"each one of {V};\nall in one pass"),
    ]
    for (x, colour, title, text), width in zip(row, (13, 17, 13, 18, 17), strict=True):
        _box(axis, x, 9, width, 13, colour, title, text)
    for start, end in ((15, 18), (35, 38), (51, 55.5), (73.5, 77)):
        axis.annotate("", (end, 9), (start, 9), arrowprops={"arrowstyle": "-|>", "color": "#333"})
    _box(axis, 8.5, 28, 15, 9, GREY, "a sentence", "“pick up …”")
    _box(axis, 30, 28, 20, 9, SKY, "sentence encoder", f"frozen; {Z} numbers")
    axis.annotate("", (20, 28), (16, 28), arrowprops={"arrowstyle": "-|>", "color": "#333"})
    axis.annotate("", (26.5, 15.5), (26.5, 23.5), arrowprops={"arrowstyle": "-|>", "color": "#333"})
    axis.text(28, 19.5, f"into {blocks} + 1 FiLM layers, and nowhere else", fontsize=8.5, va="center")
    axis.text(64.5, 0.6, "the action positions are empty", fontsize=8, ha="center", va="top", color="#444")
    figure.set_label(
        f"RT-1 as boxes and arrows. {T} pictures of {H} by {W} go through {eyes}, whose {blocks} blocks each end "
        f"in a FiLM layer, to {h * w} places of {C} numbers; TokenLearner makes {K} tokens of them. {T} times {K} image "
        f"tokens and {T} times {A} action positions, {S} together, go through {layers} Transformer layers to {A} tokens of "
        f"{V} classes. The sentence becomes {Z} numbers and enters through FiLM only."
    )
    return figure


def _box(axis: Axes, x: Number, y: Number, width: Number, height: Number, colour: str, title: str, text: str) -> None:
    corner = (x - width / 2, y - height / 2)
    axis.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=1", fc=colour + "22", ec=colour)
    )
    axis.text(x, y + height / 2 - 1.3, title, ha="center", va="top", fontsize=9, weight="bold")
    axis.text(x, y + height / 2 - 4.6, text, ha="center", va="top", fontsize=8.5, linespacing=1.35)


def mask_figure(mask: Bool[Tensor, "S S"], image_tokens: int, action_tokens: int, read: Int[Tensor, " R"]) -> Figure:
    """Who may look at whom: the whole mask, and its last two frames enlarged. Rows look at columns.

    Blue: at image tokens; orange: at action positions. ``read``: the rows whose outputs become the newest action.
    """
    period = image_tokens + action_tokens
    is_action = np.arange(len(mask)) % period >= image_tokens
    kinds = np.asarray(mask) * np.where(is_action[None, :], 2, 1)  # 0 no, 1 looks at an image token, 2 at an action
    colours = ListedColormap(["#ffffff", BLUE, ORANGE])
    figure, axes = new_figure(9.2, 4.5, 2, gridspec_kw={"width_ratios": [1, 1]})
    for axis, first in zip(axes, (0, len(mask) - 2 * period), strict=True):
        axis.imshow(kinds[first:, first:], cmap=colours, vmin=0, vmax=2, interpolation="nearest")
        for edge in range(0, len(mask) - first + 1, period):
            axis.axhline(edge - 0.5, color="#333", lw=0.6)
            axis.axvline(edge - 0.5, color="#333", lw=0.6)
        axis.spines[["top", "right"]].set_visible(True)
        ticks = np.arange(0, len(mask) - first, period)
        axis.set_xticks(ticks, ticks + first)
        axis.set_yticks(ticks, ticks + first)
        axis.set_xlabel("position looked at")
    axes[0].set_ylabel("position that looks")
    axes[0].set_title(f"all {len(mask)} positions", fontsize=10)
    axes[1].set_title("the last two frames; ◄ rows read for the newest action", fontsize=10)
    start = len(mask) - 2 * period
    axes[1].set_xlim(-0.5, 2 * period - 0.5)
    axes[1].plot(np.full(len(read), 2 * period + 0.3), np.asarray(read) - start, "<", color="#222", ms=5, clip_on=False)
    counts = [int(((kinds == k) & rows[:, None]).sum()) for k, rows in ((1, ~is_action), (1, is_action), (2, ~is_action))]
    figure.set_label(
        f"A {len(mask)} by {len(mask)} mask with {int(mask.sum())} ones: a lower triangle with holes. Images look at images "
        f"{counts[0]} times, actions at images {counts[1]} times, images at past actions {counts[2]} times, actions at "
        f"actions never. The rows read for the newest action are {int(read[0])} to {int(read[-1])}."
    )
    return figure


def survival_figure(apart: Mapping[str, Sequence[float]], alike: Mapping[str, Sequence[float]]) -> Figure:
    """Layer by layer, per kind of FiLM: can two pictures still be told apart, and are the features still the old ones?"""
    figure, axes = new_figure(9.2, 3.4, 2)
    for axis, lines in zip(axes, (apart, alike), strict=True):
        for (name, values), (colour, dash, marker) in zip(lines.items(), STYLES, strict=False):
            axis.plot(range(1, len(values) + 1), values, dash, marker=marker, ms=5, mfc="none", color=colour, label=name)
        axis.set_xlabel("FiLM layer")
        axis.grid(alpha=0.25)
    axes[0].set_yscale("log")
    axes[0].set_title("difference of two pictures, relative to the map", fontsize=10)
    axes[1].set_title("likeness (cosine) to the network without FiLM", fontsize=10)
    axes[1].set_ylim(-0.3, 1.1)
    axes[0].legend(fontsize=8.5, frameon=False)
    ends = "; ".join(f"{name}: {apart[name][-1]:.1e} and {alike[name][-1]:.2f}" for name in apart)
    figure.set_label(
        f"Two curves per kind of FiLM over {len(next(iter(apart.values())))} layers: how different two pictures still are, "
        f"and how alike the features are to those without FiLM. At the end: {ends}."
    )
    return figure


def learners_figure(maps: Mapping[str, Float[np.ndarray, "K h w"]]) -> Figure:
    """The K maps of several token learners over the same features, each relative to its own mean (1 = even attention)."""
    K = len(next(iter(maps.values())))
    figure, axes = plt.subplots(len(maps), K, figsize=(1.0 * K + 1.9, 1.06 * len(maps) + 0.3), layout="constrained")
    plt.close(figure)
    most = []
    for row, (name, each) in zip(axes, maps.items(), strict=True):
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8.5, rotation=0, ha="right", va="center")
        relative = each / each.mean((1, 2), keepdims=True)
        most.append(f"{name}: {relative.max():.1f}")
        for k, axis in enumerate(row):
            shown = axis.imshow(relative[k], cmap="cividis", vmin=0, vmax=4)
            axis.set(xticks=[], yticks=[])
    for k, axis in enumerate(axes[0]):
        axis.set_title(f"token {k + 1}", fontsize=8)
    figure.colorbar(shown, ax=axes, shrink=0.7, label="times the mean", extend="max")
    figure.set_label(
        f"{len(maps)} rows of {K} maps over the same random features. Bright is attention above the map's mean, up to, in "
        f"times the mean: {'; '.join(most)}."
    )
    return figure

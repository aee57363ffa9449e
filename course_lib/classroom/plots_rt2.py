"""Figures of the RT-2 lessons: its drawing, its mask, what RoPE sees, what is forgotten, what a control step costs.

Like ``plots_rt1``: a Figure whose label is its alternative text, made from the same numbers. Lesson: day93_rt2/1_theory.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from course_lib.classroom.plots_rt1 import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, STYLES, Number, new_figure

RATES = (1, 3, 5)  # Hz: RT-2's 55B needs one second to a third, RT-1 and the smaller RT-2 a third and a fifth


def pipeline_figure(trace: Mapping[str, Tensor]) -> Figure:
    """PaliGemma from a picture and a prompt to the next token, with the shapes that one real pass left in ``trace``.

    Needs ``images`` (B, 3, H, W), ``patches`` (B, K, E), ``projected`` (B, K, D), ``tokens`` (B, L), ``embedded`` (B, L, D),
    ``logits`` (B, L, V), and the names of the model's own trace.
    """
    H, W = trace["images"].shape[2:]
    (K, E), D, (L, V) = trace["patches"].shape[1:], trace["projected"].shape[2], trace["logits"].shape[1:]
    eyes, layers = (
        sum(n.startswith(f"{part}/layer") and n.endswith("/attention") for n in trace) for part in ("siglip", "gemma")
    )
    figure, (axis,) = new_figure(9.6, 3.6)
    axis.set(xlim=(0, 96), ylim=(-4, 32), aspect="equal")
    axis.set_axis_off()
    boxes = [
        (8, 23, 14, GREY, "a picture", f"{H} × {W} × 3"),
        (28, 23, 17, BLUE, "SigLIP", f"{eyes} layers:\n{K} patches of {E}"),
        (47, 23, 13, GREEN, "projector", f"{E} → {D}"),
        (8, 7, 14, GREY, "a sentence", "“q: what action …”"),
        (28, 7, 17, SKY, "tokens", f"{L} whole numbers\nbelow {V:,}"),
        (47, 7, 13, GREEN, "the table", f"a row of {D}\nfor each"),
        (67, 15, 17, PURPLE, "Gemma", f"{layers} layers over\n{K} + {L} = {K + L}\npositions of {D}"),
        (87.5, 15, 15, ORANGE, "the table again", f"{V:,} scores;\none token at\na time"),
    ]
    _draw(axis, boxes)
    axis.text(72, -2.5, "the token it chose is read, and then the next one", fontsize=8.5, ha="center", color="#444")
    figure.set_label(
        f"PaliGemma as boxes and arrows. A picture of {H} by {W} goes through {eyes} SigLIP layers to {K} patches of {E} "
        f"numbers, and a linear projector to {D}. A prompt of {L} tokens takes {L} rows of {D} from the table. Both, "
        f"{K + L} positions, go through {layers} Gemma layers; the table gives {V} scores. The chosen token is read next."
    )
    return figure


def _draw(axis: Axes, boxes: list[tuple]) -> None:
    """The boxes of ``pipeline_figure``, and the arrows between them."""
    for x, y, width, colour, title, text in boxes:
        corner = (x - width / 2, y - 5.5)
        axis.add_patch(
            FancyBboxPatch(corner, width, 11, boxstyle="round,pad=0,rounding_size=1", fc=colour + "22", ec=colour)
        )
        axis.text(x, y + 4.3, title, ha="center", va="top", fontsize=9, weight="bold")
        axis.text(x, y + 1.2, text, ha="center", va="top", fontsize=8.5, linespacing=1.3)
    arrows = [((15, y), (19.5, y)) for y in (23, 7)] + [((36.5, y), (40.5, y)) for y in (23, 7)]
    arrows += [((53.5, 23), (58.5, 18)), ((53.5, 7), (58.5, 12)), ((75.5, 15), (80, 15))]
    for start, end in arrows:
        axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#333"})
    axis.annotate(
        "", (47, 1), (87.5, 9), arrowprops={"arrowstyle": "-|>", "color": ORANGE, "connectionstyle": "arc3,rad=-0.25"}
    )


def prefix_mask_figure(masks: Mapping[str, Bool[Tensor, "S S"]], image: int, prompt: int) -> Figure:
    """Who may look at whom in rows of [image, prompt, answer]: one square per mask. Rows look at columns."""
    figure, axes = new_figure(9.6, 1.0 + 8.2 / len(masks), len(masks))
    colours, said = ListedColormap(["#ffffff", BLUE, SKY, ORANGE]), []
    for axis, (name, mask) in zip(axes, masks.items(), strict=True):
        S = len(mask)
        kind = np.select([np.arange(S) < image, np.arange(S) < image + prompt], [1, 2], 3)
        axis.imshow(np.asarray(mask) * kind[None, :], cmap=colours, vmin=0, vmax=3, interpolation="nearest")
        for edge in (image, image + prompt):
            axis.axhline(edge - 0.5, color="#333", lw=0.8)
            axis.axvline(edge - 0.5, color="#333", lw=0.8)
        middles = [(image - 1) / 2, image + (prompt - 1) / 2, (image + prompt + S - 1) / 2]
        axis.set_xticks(middles, ["image", "prompt", "\nanswer"], fontsize=8.5)
        axis.set_yticks(middles, ["image", "prompt", "answer"] if axis is axes[0] else [""] * 3, fontsize=8.5)
        axis.tick_params(length=0)
        axis.spines[["top", "right"]].set_visible(True)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("looked at")
        said.append(f"{name}: {int(mask.sum())} of {S * S} pairs may look")
    axes[0].set_ylabel("looks")
    figure.set_label(
        f"Masks over {image} image, {prompt} prompt and {len(mask) - image - prompt} answer positions. {'; '.join(said)}."
    )
    return figure


def rope_figure(scores: Float[np.ndarray, "S S"], *, query: str = "query", key: str = "key") -> Figure:
    """The score of one query and one key at every pair of positions, and the same scores over their distance."""
    S = len(scores)
    figure, axes = new_figure(9.2, 3.6, 2)
    shown = axes[0].imshow(scores, cmap="cividis")
    axes[0].set(xlabel=f"position of the {key}", ylabel=f"position of the {query}")
    axes[0].set_title("one query, one key, everywhere", fontsize=10)
    figure.colorbar(shown, ax=axes[0], shrink=0.9)
    distance = np.arange(S)[:, None] - np.arange(S)[None, :]
    axes[1].plot(distance.flatten(), scores.flatten(), ".", ms=4, color=BLUE)
    axes[1].set(xlabel=f"distance ({query} − {key})")
    axes[1].set_title(f"the same {S * S:,} scores over the distance", fontsize=10)
    axes[1].grid(alpha=0.25)
    spread = max(float(np.ptp(np.diagonal(scores, d))) for d in range(1 - S, S))
    figure.set_label(
        f"A map of {S} by {S} scores, constant along its diagonals, and the same scores over the distance: one value "
        f"for each of {2 * S - 1} distances, equal to within {spread:.0e}, from {scores.min():.2f} to {scores.max():.2f}."
    )
    return figure


def forgetting_figure(runs: Mapping[str, Mapping[str, Sequence[Number]]], every: int) -> Figure:
    """Training runs that begin with the same model: per ability a panel, per run a line of its rate, every so many steps."""
    abilities = list(next(iter(runs.values())))
    figure, axes = new_figure(9.2, 3.5, len(abilities), sharey=True)
    said = []
    for axis, ability in zip(axes, abilities, strict=True):
        for (name, run), (colour, dash, marker) in zip(runs.items(), STYLES, strict=False):
            steps = np.arange(len(run[ability])) * every
            axis.plot(steps, 100 * np.asarray(run[ability]), dash, marker=marker, ms=5, mfc="none", color=colour, label=name)
            said.append(f"{ability}, {name}: {run[ability][0]:.0%} before, {run[ability][-1]:.0%} after {steps[-1]} steps")
        axis.set_title(ability, fontsize=10)
        axis.set(xlabel="steps of fine-tuning", ylim=(-5, 105))
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("right (%)")
    figure.legend(
        *axes[0].get_legend_handles_labels(), fontsize=8.5, frameon=False, ncols=len(runs), loc="outside lower center"
    )
    figure.set_label(f"Lines over the steps of fine-tuning. {'. '.join(said)}.")
    return figure


def control_rate_figure(bytes_per_action: Mapping[str, Number], here: Number) -> Figure:
    """Actions per second that a memory's speed allows at most, a line per model; ``here`` is a measured speed, bytes/s.

    Every action must read its bytes once: rate <= speed / bytes. Dotted lines are at 1, 3 and 5 Hz.
    """
    figure, (axis,) = new_figure(9.2, 3.9)
    speeds, said = np.logspace(9, 13, 50), []
    for (name, size), (colour, dash, _) in zip(bytes_per_action.items(), STYLES, strict=False):
        axis.plot(speeds, speeds / size, dash, color=colour, lw=2, label=f"{name}: {size / 1e9:.3g} GB an action")
        axis.plot(here, here / size, "o", color=colour, ms=7)
        said.append(f"{name} needs {3 * size / 1e9:.3g} GB/s for 3 Hz and is held to {here / size:.3g} Hz here")
    for rate in RATES:
        axis.axhline(rate, color="#222", lw=1, ls=":")
        axis.text(speeds[-1] * 1.05, rate, f"{rate} Hz", fontsize=8.5, va="center")
    axis.axvline(here, color=GREY, lw=1)
    axis.text(here * 1.06, 0.012, f"here: {here / 1e9:.3g} GB/s", fontsize=8.5)
    axis.set(xscale="log", yscale="log", xlim=(speeds[0], speeds[-1]), ylim=(0.01, 1000))
    axis.set(xlabel="memory speed (bytes per second)", ylabel="actions per second, at most")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8.5, frameon=False, loc="lower right")
    figure.set_label(
        f"Lines of the highest control rate over the memory's speed. {'. '.join(said)}. Lines stand at 1, 3, 5 Hz."
    )
    return figure


__all__ = ["control_rate_figure", "forgetting_figure", "pipeline_figure", "prefix_mask_figure", "rope_figure"]

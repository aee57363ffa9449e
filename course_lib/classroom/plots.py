"""Static figures: pictures that need no kernel, each with an alternative text."""

import base64
import html
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image


def attention_figure(
    images: UInt8[np.ndarray, "T H W 3"],
    maps: Float[np.ndarray, "T K h w"],
    *,
    instruction: str = "",
    steps: Sequence[int] | None = None,
) -> Figure:
    """The camera's picture and the K attention maps over it, one row per step (by default three: start, middle, end).

    Bright yellow is where a token looks most, dark blue where it hardly looks; each map is scaled to its own maximum,
    which stands above it as a part of the token's whole attention. Raises ValueError for steps that do not exist.
    """
    T, K, _, _ = maps.shape
    chosen = sorted({0, (T - 1) // 2, T - 1}) if steps is None else list(steps)
    if not all(0 <= step < T for step in chosen) or len(images) != T:
        raise ValueError(f"Expected steps from 0 to {T - 1} and {T} pictures; got steps {chosen}, {len(images)} pictures.")
    figure, axes = plt.subplots(len(chosen), K + 1, figsize=(1.1 * (K + 1), 1.28 * len(chosen) + 0.3), squeeze=False)
    plt.close(figure)  # pyplot forgets it: the notebook shows it once, where it is returned
    for row, step in zip(axes, chosen, strict=True):
        row[0].imshow(images[step])
        row[0].set_title(f"step {step}", fontsize=8)
        for k in range(K):
            show_map(row[k + 1], images[step], maps[step, k])
            row[k + 1].set_title(f"token {k + 1}: {maps[step, k].max():.0%}", fontsize=7)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(instruction, fontsize=10)
    figure.tight_layout(pad=0.3)
    return figure


def show_map(axis, image: UInt8[np.ndarray, "H W 3"], one: Float[np.ndarray, "h w"]) -> None:
    """One attention map as a veil over the picture: the less attention, the darker. The colours are cividis, which
    people with any kind of colour vision read alike."""
    weight = one / one.max()
    veil = colormaps["cividis"](weight)
    veil[..., 3] = 0.7 - 0.52 * weight
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axis.imshow(image)
    axis.imshow(veil, extent=extent, interpolation="bilinear")


def still_html(figure: Figure, alt: str, css_class: str, caption: str = "") -> str:
    """The figure as an HTML <figure> with the picture inside it: readable where no kernel runs, and by screen readers."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    small = io.BytesIO()  # 256 colours: a sixth of the bytes in the notebook, and hardly a difference to be seen
    palette = Image.open(png).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(small, format="png", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="{css_class}"><img alt="{html.escape(alt)}" src="{source}">{words}</figure>'


def filmstrip(frames: Sequence[UInt8[np.ndarray, "H W 3"]], alt: str, *, columns: int = 8) -> HTML:
    """An episode as a row of pictures, at most ``columns`` of them, evenly chosen, first and last always among them.

    ``alt`` says in a sentence what happens; the numbers of the steps are added to it.
    """
    if not len(frames):
        raise ValueError("Expected at least one frame, got none. Add observation['image'] of each step to a list.")
    shown = sorted({round(i) for i in np.linspace(0, len(frames) - 1, min(columns, len(frames)))})
    figure, axes = plt.subplots(1, len(shown), figsize=(1.35 * len(shown), 1.6), squeeze=False)
    plt.close(figure)
    for axis, step in zip(axes[0], shown, strict=True):
        axis.imshow(frames[step])
        axis.set_title(f"step {step}", fontsize=8)
        axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    return HTML(still_html(figure, f"{alt} Shown are steps {', '.join(map(str, shown))}.", "course-filmstrip"))

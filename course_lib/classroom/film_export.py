"""Rollouts to look at and to take along: films as GIF, and a contact sheet with what became of each episode.

Every picture comes with its alternative text, and says in words, not by colour alone, whether an episode succeeded.
"""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from course_lib.classroom.plots import still_html
from course_lib.datasets.storage import write_beside
from course_lib.measure import Outcomes

Film = UInt8[np.ndarray, "T H W 3"]
GOOD, BAD = "#00622f", "#a3160f"  # both darker than 4.5 : 1 on white


def save_gif(film: Film, path: str | Path, *, fps: float | int = 3, width: int = 256) -> Path:
    """Write a film as a GIF that repeats; the last frame stays for a second more. Enlarged to whole pixels, not blurred."""
    path = Path(path)
    write_beside(path, lambda beside: beside.write_bytes(_gif(film, fps, width)))
    return path


def film_html(film: Film, alt: str, *, fps: float | int = 3, width: int = 256, caption: str = "") -> HTML:
    """The film inside a notebook, readable where no kernel runs. ``alt`` says in a sentence what happens in it."""
    source = "data:image/gif;base64," + base64.b64encode(_gif(film, fps, width)).decode()
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    picture = f'<img alt="{html.escape(alt)}" src="{source}" width="{width}">'
    return HTML(f'<figure class="course-film">{picture}{words}</figure>')


def _gif(film: Film, fps: float | int, width: int) -> bytes:
    """GIF counts time in hundredths of a second, and has 256 colours a frame."""
    if len(film) == 0 or fps <= 0:
        raise ValueError(f"Expected at least one frame and fps > 0, got {len(film)} frames and fps {fps}.")
    scale = max(1, round(width / film.shape[2]))
    large = [Image.fromarray(frame.repeat(scale, 0).repeat(scale, 1)) for frame in film]
    # One palette for all frames, so that colours do not flicker: made from a few frames beside one another.
    sample = Image.fromarray(np.concatenate([film[i] for i in np.linspace(0, len(film) - 1, 6).astype(int)], 1))
    palette = sample.quantize(256, Image.Quantize.MEDIANCUT)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in large]
    step = round(1000 / fps)
    times = [step] * (len(frames) - 1) + [step + 1000]
    out = io.BytesIO()
    frames[0].save(out, "gif", save_all=True, append_images=frames[1:], duration=times, loop=0, disposal=1)
    return out.getvalue()


def verdict(outcomes: Outcomes, i: int) -> str:
    """What became of episode ``i``, in words."""
    if outcomes.success[i]:
        return f"succeeded in {outcomes.length[i]} steps"
    reason = outcomes.failure[i] if outcomes.failure else "stopped early" if outcomes.stopped[i] else "timeout"
    return f"failed: {reason}"


def contact_sheet(outcomes: Outcomes, *, columns: int = 6, rows: int = 12) -> Figure:
    """The filmed episodes, one a row: ``columns`` pictures from first to last, the sentence, and what became of it.

    Needs films: ``rollout(..., film=12)``. Raises ValueError if there are none.
    """
    films = outcomes.films[:rows]
    if not films:
        raise ValueError("These outcomes hold no films. Try rollout(policy, env, n, film=12).")
    height = 1.42 * len(films)
    figure, axes = plt.subplots(len(films), columns, figsize=(1.2 * columns, height), squeeze=False)
    plt.close(figure)  # pyplot forgets it: the notebook shows it once, where it is returned
    for i, (film, row) in enumerate(zip(films, axes, strict=True)):
        for axis in row:
            axis.set_axis_off()
        steps = sorted(set(np.linspace(0, len(film) - 1, columns).round().astype(int).tolist()))
        for axis, step in zip(row, steps, strict=False):  # a short film leaves places empty
            axis.imshow(film[step], interpolation="nearest")
            axis.text(0.03, 0.03, str(step), transform=axis.transAxes, fontsize=6, color="white", bbox=_LABEL)
        words = f"{outcomes.instruction[i]}: {verdict(outcomes, i)}"
        colour = GOOD if outcomes.success[i] else BAD
        row[0].set_title(words, fontsize=8, color=colour, loc="left", pad=3)
    # Not tight_layout: it would make the pictures smaller until the longest sentence fits over the first of them.
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.02 / height, top=1 - 0.24 / height, wspace=0.04, hspace=0.2)
    return figure


_LABEL = {"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0}


def sheet_alt(outcomes: Outcomes, rows: int = 12) -> str:
    """The contact sheet in words: how many succeeded, how the others failed, and each row."""
    shown = range(min(rows, len(outcomes.films)))
    won = sum(bool(outcomes.success[i]) for i in shown)
    lines = "; ".join(f"{outcomes.instruction[i]}: {verdict(outcomes, i)}" for i in shown)
    return f"{len(shown)} episodes from first to last picture, {won} succeeded. {lines}."


def sheet_html(outcomes: Outcomes, *, columns: int = 6, rows: int = 12, caption: str = "") -> HTML:
    """The contact sheet for a notebook, with its alternative text."""
    figure = contact_sheet(outcomes, columns=columns, rows=rows)
    return HTML(still_html(figure, sheet_alt(outcomes, rows), "course-contact-sheet", caption))


def save_films(outcomes: Outcomes, folder: str | Path, *, fps: float | int = 3, width: int = 256) -> Sequence[Path]:
    """Every filmed episode as a GIF, named by its seed and what became of it."""
    names = [
        f"{outcomes.seed[i]}_{verdict(outcomes, i)}".replace(": ", "_").replace(" ", "_") for i in range(len(outcomes.films))
    ]
    return [
        save_gif(film, Path(folder) / f"{name}.gif", fps=fps, width=width)
        for film, name in zip(outcomes.films, names, strict=True)
    ]

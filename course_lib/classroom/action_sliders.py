"""ActionTokenSliders: eleven numbers, their 256 levels, the string that RT-2 would say, and what the robot gets back.

The arithmetic is ActionTokenizer's in float32, done again in the browser (``action_sliders.js``); a browser test compares
the two. RT-2's string (RT-2 section 3.2) is ActionText's: eight of the eleven tokens, terminate first, then the arm's
position and rotation, the gripper last; the base stays where it is. Lesson: day92_rt1/1_theory.
"""

import html
from collections.abc import Sequence

import numpy as np
import traitlets

from course_lib.actions import ActionDim, ActionSpace, ActionText, ActionTokenizer
from course_lib.classroom.lesson_widget import LessonWidget, script, style

EXAMPLE = (1, 128, 124, 136, 121, 158, 111, 255)  # RT-2 section 4.4, its chain-of-thought example
ROBOTS = {"RT-1": ActionSpace.official, "the course's robot": ActionSpace.workbook}
ROUNDINGS = ("floor", "nearest")
BASE = "base"


class ActionTokenSliders(LessonWidget):
    """Move an action, see its tokens and what comes back, and by how many millimetres and milliradians it is off.

    ``action``: the eleven numbers to begin with, in the order and units of the first robot's ActionSpace (None: do not
    move); ``rounding``: "floor" (RT-1's release) or "nearest". ``tokens`` is what the browser shows now, for the next cell.
    """

    _esm = script("action_sliders")
    _css = style("action_sliders")
    robots = traitlets.List().tag(sync=True)
    example = traitlets.List().tag(sync=True)  # a string of RT-2's paper, as tokens
    start = traitlets.List().tag(sync=True)  # the action to begin with
    rounding = traitlets.Unicode().tag(sync=True)
    tokens = traitlets.List().tag(sync=True)

    def __init__(self, action: Sequence[float] | np.ndarray | None = None, *, rounding: str = "floor"):
        space = next(iter(ROBOTS.values()))()
        tokenizer = ActionTokenizer(space, rounding=rounding)  # refuses other roundings
        start = still(space) if action is None else np.asarray(action, np.float32)
        tokens = tokenizer.encode(start).tolist()
        super().__init__(
            robots=[_describe(name, make()) for name, make in ROBOTS.items()],
            example=list(EXAMPLE),
            start=[float(value) for value in start],
            rounding=rounding,
            tokens=tokens,
        )

    def still_html(self, css_class: str) -> str:
        """The table of the action to begin with."""
        space = next(iter(ROBOTS.values()))()
        tokenizer = ActionTokenizer(space, rounding=self.rounding)
        start = np.asarray(self.start, np.float32)
        tokens = tokenizer.encode(start)
        rows = zip(space.dims, start.tolist(), tokens.tolist(), tokenizer.decode(tokens).tolist(), strict=True)
        body = "".join(_html_row(*_row(*row)) for row in rows)
        head = "".join(f"<th>{name}</th>" for name in ("number", "wanted", "token", "comes back", "error"))
        said = " ".join(str(tokens.tolist()[i]) for i in text_of(space).order)
        words = f"RT-2 would say “{said}”. Run this notebook to move the sliders."
        return (
            f'<figure class="{css_class}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            f"<figcaption>{words}</figcaption></figure>"
        )


def still(space: ActionSpace) -> np.ndarray:
    """The action that does not move: zeros, the gripper too; of classes "arm", or the first. float32 (A,)."""
    classes = [dim.classes.index("arm") if "arm" in dim.classes else 0 for dim in space.dims]
    return np.array(classes, np.float32)


def text_of(space: ActionSpace) -> ActionText:
    """RT-2's way to write this robot's actions: eight numbers, the base left out."""
    return ActionText(space, without=[name for name in space.names if name.startswith(BASE)])


def _describe(name: str, space: ActionSpace) -> dict:
    """A robot for the browser."""
    reach = next(dim.high for dim in space.dims if dim.unit == "m")
    dims = [
        {"name": _plain(dim), "low": dim.low, "high": dim.high, "unit": dim.unit, "classes": list(dim.classes)}
        for dim in space.dims
    ]
    names = space.names
    arm = [i for i in range(len(space)) if space.dims[i].unit == "m" and not names[i].startswith(BASE)]
    return {
        "title": f"{name} (±{reach:g} m)",
        "dims": dims,
        "order": text_of(space).order,
        "arm": arm,
        "still": still(space).tolist(),
    }


def _plain(dim: ActionDim) -> str:
    """ "world_vector_x" -> "arm x": the same word for the same number of both robots."""
    words = {"world_vector_": "arm_", "rotation_delta_": "", "_closedness_action": "", "_episode": "", "displacement_": ""}
    name = dim.name
    for long, short in words.items():
        name = name.replace(long, short)
    return name.replace("vertical_rotation", "yaw").replace("_", " ")


def _row(dim: ActionDim, wanted: float, token: int, back: float) -> list[str]:
    """name, wanted, token, comes back, error: as the browser writes them."""
    if dim.classes:
        return [_plain(dim), dim.classes[int(wanted)], str(token), dim.classes[int(back)], ""]
    scale, unit, small, fine = {"m": (1000, "mm", 1, "mm"), "rad": (1, "rad", 1000, "mrad")}.get(dim.unit, (1, "", 1, ""))
    digits = 1 if unit == "mm" else 3
    error = (back - wanted) * scale * small
    return [
        _plain(dim),
        f"{wanted * scale:.{digits}f} {unit}".strip(),
        str(token),
        f"{back * scale:.{digits}f} {unit}".strip(),
        f"{error:.{1 if fine else 4}f} {fine}".strip(),
    ]


def _html_row(name: str, *cells: str) -> str:
    return f'<tr><th scope="row">{html.escape(name)}</th>{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'


__all__ = ["ActionTokenSliders", "still", "text_of"]

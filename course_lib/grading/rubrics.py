"""Questions that a person marks: free text with points, and below each one, in the solution only, its rubric.

    # %% [markdown] nbgrader={"grade_id": "gaze_words", "solution": true, "points": 4}
    # The answer that would get all points.

    # %% [markdown] tags=["worked-solution"]
    # **Rubric.**
    #
    # | points | what it takes | sample answer |
    # |---|---|---|
    # | 4 | ... | "..." |

The released cell says *Your answer here.*; a text that was left like that gets no points and needs nobody. The build refuses
a question without a rubric: two people who mark the same class should give the same points.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from nbformat import NotebookNode

ROW = re.compile(r"^\| *(\d+(?:\.\d+)?) *\|(.+)\|(.+)\|$", re.MULTILINE)
FEWEST = 3  # grades: all points, none, and something between


class NoRubric(ValueError):  # noqa: N818
    """A question that a person marks, but that does not say how."""


@dataclass(frozen=True)
class Grade:
    """One line of a rubric."""

    points: float
    takes: str  # what an answer needs for these points
    sample: str  # an answer that gets them


def is_by_hand(cell: NotebookNode) -> bool:
    """Is this an answer that a person marks?"""
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("grade", False) and about.get("solution", False))


def rubrics(solution: NotebookNode) -> dict[str, list[Grade]]:
    """The grades of every question that a person marks, best first, by label.

    Raises NoRubric for a question without points, without a sample answer, or without a rubric below it.
    """
    found = {}
    for cell, below in zip(solution.cells, [*solution.cells[1:], None], strict=True):
        if is_by_hand(cell):
            about = cell.metadata.nbgrader
            if not (about.get("points", 0) > 0 and cell.source.strip()):
                raise NoRubric(f"{about.grade_id}: a question that a person marks needs points, and an answer in its cell.")
            found[about.grade_id] = _grades(about.grade_id, about.points, below)
    return found


def _grades(label: str, points: float | int, below: NotebookNode | None) -> list[Grade]:
    """Read the table in the cell below a question."""
    hidden = below is not None and "worked-solution" in below.metadata.get("tags", [])
    text = below.source if hidden and below.source.startswith("**Rubric.**") else ""
    grades = [Grade(float(p), takes.strip(), sample.strip()) for p, takes, sample in ROW.findall(text)]
    falling = all(a.points > b.points for a, b in pairwise(grades))
    whole = len(grades) >= FEWEST and falling and (grades[0].points, grades[-1].points) == (points, 0)
    if not whole or not all(grade.takes and grade.sample for grade in grades):
        raise NoRubric(
            f'{label}: expected below it a cell tagged "worked-solution" that begins with **Rubric.** and has a table '
            f"| points | what it takes | sample answer | of at least {FEWEST} rows, from {points:g} points down to 0."
        )
    return grades

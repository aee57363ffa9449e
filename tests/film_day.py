"""A day whose only exercise is FiLM, cut out of day 92: what the grading tests hand in and grade."""

import functools
import shutil
import tempfile
from pathlib import Path

from course_lib.grading.notebooks import ROOT, made_from_solution, write

NEXT = "# %% [markdown]\n# ## Exercise 2"  # where the second exercise of the day begins


def film_course(root: Path, day: str = "day92_rt1", more: str = "") -> Path:
    """Fill ``root`` with the settings and one day, as source and as exercise; returns the exercise's notebook.

    ``more`` is the source of cells that follow FiLM.
    """
    shutil.copy(ROOT / "nbgrader_config.py", root)
    film, _, _ = (ROOT / "solutions/day92_rt1/exercises.py").read_text(encoding="utf-8").partition(NEXT)
    source = root / "solutions" / day / "exercises.py"
    write(source, film + more)
    for path, text in made_from_solution(source, root).items():
        write(path, text)
    return root / "exercises" / day / "exercises.ipynb"


@functools.cache
def film_exercise() -> Path:
    """The exercise's notebook, for tests that need no course around it."""
    return film_course(Path(_FOLDER.name))


_FOLDER = tempfile.TemporaryDirectory(prefix="film_day_")  # goes when the test run ends

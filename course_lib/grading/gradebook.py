"""Grade a folder of submissions into nbgrader's gradebook, one writer at a time, and write the table of points.

    submissions/<student>/exercises.ipynb                (or submissions/<student>/day92_rt1/exercises.ipynb)

What each student handed in is read and rebuilt (``intake``), released and recorded with nbgrader, decided in ``score``. A
submission that cannot be read is graded as a blank one that says why. Grading again replaces the earlier points; marks
given by hand stay.
"""

import contextlib
import csv
import fcntl
import io
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from course_lib.grading.intake import Refused, blank, read_submission, repair
from course_lib.grading.notebooks import read, text_of, write
from course_lib.grading.release import load_config, make_exercise
from course_lib.grading.sandbox import Sandbox

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")


@dataclass
class Grades:
    """One student's points by grade cell, and what the instructor should know."""

    student: str
    points: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    highest: float = 0.0
    by_hand: bool = False  # a person still has to mark something
    notes: list[str] = field(default_factory=list)


def grade(
    root: Path, assignment: str, submissions: Path, student: str | None = None, *, unsafe: bool = False
) -> Iterator[Grades]:
    """Grade all students of ``submissions``, or one; yields each student's grades as they are recorded.

    Raises ValueError for an unknown assignment or student, SandboxBroken where student code cannot be kept in.
    """
    config = load_config(root)
    Sandbox(unsafe=unsafe)  # before anything is touched: does it work here?
    config.SandboxGrade.unsafe = unsafe
    config.CourseDirectory.assignment_id = assignment
    released = _released(root, assignment, config)
    students = _students(submissions, student)
    with _only_writer(root):
        _record_release(config, assignment)
        for name in students:
            notes = _hand_over(root, assignment, submissions, name, released)
            config.CourseDirectory.student_id = name
            with _nbgrader():
                Autograde(coursedir=CourseDirectory(config=config), config=config, force=True).start()
            found = _grades(config, assignment, name)
            found.notes = notes
            yield found


def _released(root: Path, assignment: str, config: Config) -> dict[str, NotebookNode]:
    """The assignment's notebooks as learners get them, by name, made from their sources."""
    sources = sorted((root / "solutions" / assignment).glob("*.py"))
    if not sources:
        known = sorted(p.parent.name for p in (root / "solutions").glob("*/*.py"))
        raise ValueError(f"No assignment {assignment!r} in {root / 'solutions'}. There are: {', '.join(known) or 'none'}.")
    return {source.stem: make_exercise(read(source), config) for source in sources}


def _students(submissions: Path, student: str | None) -> list[str]:
    if not submissions.is_dir():
        raise ValueError(f"Expected a folder with one folder per student, got {submissions}.")
    found = sorted(p.name for p in submissions.iterdir() if p.is_dir() and not p.name.startswith("."))
    if bad := [name for name in found if not NAME.fullmatch(name)]:
        raise ValueError(f"A student's folder is named with letters, digits and . _ @ -; rename {', '.join(bad)}.")
    if student is not None and student not in found:
        raise ValueError(f"No folder {student!r} in {submissions}. There are: {', '.join(found) or 'none'}.")
    return found if student is None else [student]


@contextlib.contextmanager
def _only_writer(root: Path) -> Iterator[None]:
    """One grading run at a time per gradebook."""
    (root / "runs").mkdir(exist_ok=True)
    with (root / "runs" / "gradebook.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"Another grading run is writing to the gradebook in {root}. Wait for its end.") from None
        yield


def _record_release(config: Config, assignment: str) -> None:
    """Tell the gradebook which cells exist and what they are worth."""
    with tempfile.TemporaryDirectory() as elsewhere:  # exercises/ is made by the build command, not here
        aside = Config(config)
        aside.CourseDirectory = Config(config.CourseDirectory)
        aside.CourseDirectory.release_directory = elsewhere
        with _nbgrader():
            GenerateAssignment(coursedir=CourseDirectory(config=aside), config=aside, force=True).start()


def _hand_over(root: Path, assignment: str, submissions: Path, student: str, released: dict[str, NotebookNode]) -> list[str]:
    """Put the rebuilt notebooks where nbgrader looks for submissions; returns what was refused."""
    notes = []
    for name, notebook in released.items():
        places = [submissions / student / assignment / f"{name}.ipynb", submissions / student / f"{name}.ipynb"]
        place = next((p for p in places if os.path.lexists(p)), places[-1])
        try:
            rebuilt = repair(read_submission(place, submissions), notebook)
        except Refused as refused:
            notes.append(str(refused))
            rebuilt = blank(notebook, str(refused))
        write(root / "submitted" / student / assignment / f"{name}.ipynb", text_of(rebuilt))
    return notes


def _grades(config: Config, assignment: str, student: str) -> Grades:
    with Gradebook(CourseDirectory(config=config).db_url, config.CourseDirectory.course_id) as book:
        submission = book.find_submission(assignment, student)
        grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
        return Grades(
            student,
            {grade.name: grade.score for grade in sorted(grades, key=lambda g: g.name)},
            submission.score,
            submission.max_score,
            any(grade.needs_manual_grade for grade in grades),
        )


def table(root: Path, assignment: str) -> str:
    """The points of every student in the gradebook as CSV text, one row each."""
    config = load_config(root)
    with Gradebook(CourseDirectory(config=config).db_url, config.CourseDirectory.course_id) as book:
        students = sorted(s.student.id for s in book.find_assignment(assignment).submissions)
    rows = [_grades(config, assignment, student) for student in students]
    cells = sorted({name for row in rows for name in row.points})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", *cells, "score", "max_score", "needs_marking_by_hand"])
    for row in rows:
        points = [row.points.get(name, "") for name in cells]
        writer.writerow([row.student, *points, row.total, row.highest, "yes" if row.by_hand else "no"])
    return out.getvalue()


class _Heard(logging.Handler):
    """Keeps what nbgrader logs as errors, for our own messages; the many reports of its steps are dropped."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage().strip().split("\n")[-1])  # of a traceback: the error itself


@contextlib.contextmanager
def _nbgrader() -> Iterator[None]:
    """Run a step of nbgrader quietly. Raises ValueError with what it logged when it fails."""
    logger, heard = logging.getLogger("traitlets"), _Heard()
    level = logger.level
    logger.setLevel(logging.ERROR)
    logger.addHandler(heard)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # nbgrader and SQLAlchemy 2: harmless, and printed by the dozen
            yield
    except NbGraderException as error:
        raise ValueError(" ".join(heard.words[:2]) or str(error)) from error
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)

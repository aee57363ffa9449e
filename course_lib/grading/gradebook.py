"""nbgrader's gradebook: the release it knows, the grades it holds, the table it becomes. One writer at a time.

Everything is written by nbgrader's own steps. Marks given by hand stay when a submission is graded again; a text that a
person has marked is marked as seen as long as it stays the same.
"""

import contextlib
import csv
import fcntl
import functools
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import nbgrader.api
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from course_lib.grading.late import settle
from course_lib.grading.release import load_config

# nbgrader opens the gradebook anew in each of its steps. With one engine per gradebook SQLAlchemy translates each kind of
# query once, and not once per student and step: a third of the time that recording takes.
nbgrader.api.create_engine = functools.cache(nbgrader.api.create_engine)


@dataclass
class Grades:
    """One student's points by grade cell, and what the instructor should know."""

    student: str
    points: dict[str, float] = field(default_factory=dict)
    total: float = 0.0  # with the late penalty taken away
    penalty: float = 0.0
    highest: float = 0.0
    by_hand: bool = False  # a person still has to mark something
    notes: list[str] = field(default_factory=list)


class Book:
    """The gradebook of one assignment. Use ``only_writer`` around everything that writes."""

    def __init__(self, root: Path, assignment: str, config: Config | None = None):
        self.root, self.assignment, self.config = root, assignment, Config(config or load_config(root))
        self.config.CourseDirectory.assignment_id = assignment

    @contextlib.contextmanager
    def only_writer(self) -> Iterator[None]:
        """One grading run at a time per gradebook."""
        (self.root / "runs").mkdir(exist_ok=True)
        with (self.root / "runs" / "gradebook.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = f"Another grading run is writing to the gradebook in {self.root}. Wait for its end."
                raise ValueError(where) from None
            yield

    def record_release(self) -> None:
        """Tell the gradebook which cells exist and what they are worth."""
        with tempfile.TemporaryDirectory() as elsewhere:  # exercises/ is made by the build command, not here
            config = self._config(release_directory=elsewhere)
            with _nbgrader():
                GenerateAssignment(coursedir=CourseDirectory(config=config), config=config, force=True).start()

    def record(self, student: str) -> None:
        """Let nbgrader write down the points of what lies in submitted/; marks given by hand stay."""
        marked = self._marked_texts(student)
        config = self._config(student_id=student)
        with _nbgrader():
            Autograde(coursedir=CourseDirectory(config=config), config=config, force=True).start()
        texts = self._texts(student)
        with self.open() as book:
            if not (self.root / "submitted" / student / self.assignment / "timestamp.txt").exists():
                book.find_submission(self.assignment, student).timestamp = None  # nbgrader keeps an earlier one
            for grade in self._all_grades(book, student):
                if marked.get(grade.name, object()) == texts.get(grade.name):  # the same text: not marked twice
                    grade.needs_manual_grade = False
            book.db.commit()

    def _marked_texts(self, student: str) -> dict[str, str]:
        """The texts that a person has marked, by label."""
        texts = self._texts(student)
        with self.open() as book:
            try:
                grades = self._all_grades(book, student)
            except MissingEntry:
                return {}
            done = {g.name for g in grades if g.manual_score is not None and not g.needs_manual_grade}
        return {name: text for name, text in texts.items() if name in done}

    def _texts(self, student: str) -> dict[str, str]:
        """The sources of the labelled cells as they were graded last, by label."""
        found = {}
        for path in sorted((self.root / "autograded" / student / self.assignment).glob("*.ipynb")):
            for cell in nbformat.read(path, as_version=4).cells:
                found[cell.metadata.get("nbgrader", {}).get("grade_id", "")] = cell.source
        return found

    def make_feedback(self, student: str) -> Path:
        """Write one student's feedback page; returns its folder."""
        config = self._config(student_id=student)
        with _nbgrader():
            GenerateFeedback(coursedir=CourseDirectory(config=config), config=config, force=True).start()
        return self.root / "feedback" / student / self.assignment

    def settle_lateness(self) -> None:
        """Ask the rule of nbgrader_config.py again what lateness costs."""
        step = AssignLatePenalties(config=self.config)
        step.init_plugin()
        with self.open() as book:
            settle(book, self.assignment, step.plugin_inst)

    def students(self) -> list[str]:
        """Everybody who has been graded."""
        with self.open() as book:
            try:
                submissions = book.find_assignment(self.assignment).submissions
            except MissingEntry:
                return []
            return sorted(submission.student.id for submission in submissions)

    def grades(self, student: str) -> Grades:
        """What the gradebook says about one student."""
        with self.open() as book:
            submission = book.find_submission(self.assignment, student)
            grades = sorted(self._all_grades(book, student), key=lambda grade: grade.name)
            penalty = submission.late_submission_penalty or 0.0
            return Grades(
                student,
                {grade.name: grade.score for grade in grades},
                max(0.0, submission.score - penalty),
                penalty,
                submission.max_score,
                any(grade.needs_manual_grade for grade in grades),
            )

    def table(self) -> str:
        """The points of every student as CSV text, one row each."""
        rows = [self.grades(student) for student in self.students()]
        cells = sorted({name for row in rows for name in row.points})
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["student", *cells, "late_penalty", "score", "max_score", "needs_marking_by_hand"])
        for row in rows:
            points = [row.points.get(name, "") for name in cells]
            by_hand = "yes" if row.by_hand else "no"
            writer.writerow([row.student, *points, row.penalty, row.total, row.highest, by_hand])
        return out.getvalue()

    def open(self) -> Gradebook:
        """nbgrader's gradebook, to be used in a ``with`` block."""
        return Gradebook(CourseDirectory(config=self.config).db_url, self.config.CourseDirectory.course_id)

    def _all_grades(self, book: Gradebook, student: str) -> list:
        notebooks = book.find_submission(self.assignment, student).notebooks
        return [grade for notebook in notebooks for grade in notebook.grades]

    def _config(self, **directory: str) -> Config:
        """The configuration with other entries for the course's folders."""
        config = Config(self.config)
        config.CourseDirectory = Config({**self.config.CourseDirectory, **directory})
        return config


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

"""Marking: a folder of submissions, from reading each one to its line in the gradebook. It can be stopped and goes on.

    submissions/<student>/exercises.ipynb                (or submissions/<student>/day92_rt1/exercises.ipynb)

What each student handed in is read and rebuilt (``intake``), its answers are tried (``fan_out``), the points are recorded
with nbgrader (``gradebook``). A submission that cannot be read is graded as a blank one that says why. Whatever has been
decided once is kept (``verdicts``), so that a second run only does what is new.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from nbformat import NotebookNode
from traitlets.config import Config

from course_lib.grading.fan_out import SHARED, ask_everybody
from course_lib.grading.gradebook import Book, Grades
from course_lib.grading.intake import Refused, blank, borrowed, other_files, read_submission, remarks, repair, with_notes
from course_lib.grading.late import arrivals
from course_lib.grading.notebooks import read, text_of, write
from course_lib.grading.release import load_config, make_exercise
from course_lib.grading.score import Question, SandboxGrade, modules, questions
from course_lib.grading.verdicts import FOLDER, Verdict, Verdicts, fingerprint

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")


class Marking:
    """One grading run over everybody in ``submissions``, or one student. ``run`` does it.

    Raises ValueError for an unknown assignment or student, SandboxBroken where student code cannot be kept in.
    """

    def __init__(self, root: Path, assignment: str, submissions: Path, student: str | None = None, *, unsafe: bool = False):
        config = load_config(root)
        config.SandboxGrade.unsafe = unsafe
        self.sandbox = SandboxGrade(config=config).sandbox()  # before anything is touched: can it work here?
        self.root, self.assignment, self.submissions = root, assignment, submissions
        self.book = Book(root, assignment, config)
        self.kept = Verdicts(root / FOLDER)
        self.released = _released(root, assignment, config)
        self.students = _students(submissions, student)
        self.arrived = arrivals(submissions)
        self.notes: dict[str, list[str]] = {}
        self.asked: dict[str, dict[str, Question]] = {}  # by student and key
        self.verdicts: dict[str, dict[str, Verdict]] = {}  # by key and label

    def run(
        self, *, jobs: int = 2, scheduler: str | None = None, again: bool = False, shared: int = SHARED
    ) -> Iterator[Grades]:
        """Grade; yields each student's grades as they are recorded. ``again`` forgets what was decided before."""
        with self.book.only_writer():
            self.book.record_release()
            for student in self.students:
                self.asked[student] = self._hand_over(student)
            if not again:
                known = {key: self.kept.find(key) for asked in self.asked.values() for key in asked}
                self.verdicts |= {key: verdicts for key, verdicts in known.items() if verdicts is not None}
            waiting = dict.fromkeys(self.students)
            yield from self._finish(waiting)
            missing = {s: {k: q for k, q in self.asked[s].items() if k not in self.verdicts} for s in waiting}
            preloaded = tuple(sorted({name for notebook in self.released.values() for name in modules(notebook)}))
            about = {"jobs": jobs, "scheduler": scheduler, "shared": shared}
            for found in ask_everybody(missing, self.sandbox, preloaded, **about):
                for key, verdicts in found.items():
                    self.kept.keep(key, verdicts)
                self.verdicts |= found
                yield from self._finish(waiting)
            self.book.settle_lateness()

    def _hand_over(self, student: str) -> dict[str, Question]:
        """Put the rebuilt notebooks where nbgrader looks for submissions; returns what is to be tried."""
        notes, asked = self.notes.setdefault(student, []), {}
        folder = self.root / "submitted" / student / self.assignment
        for name, notebook in self.released.items():
            home = self.submissions / student
            places = [home / self.assignment / f"{name}.ipynb", home / f"{name}.ipynb"]
            place = next((p for p in places if os.path.lexists(p)), places[-1])
            try:
                cells = read_submission(place, self.submissions)
                put_right = remarks(cells, notebook)
                rebuilt = with_notes(repair(cells, notebook), put_right)
                notes += put_right + borrowed(cells, notebook)
            except Refused as refused:
                notes.append(str(refused))
                rebuilt = blank(notebook, str(refused))
            if others := [file for file in other_files(place) if file.removesuffix(".ipynb") not in self.released]:
                notes.append(f"Not read: {', '.join(others)[:200]}. Only {place.name} counts.")
            asked |= {question.key(self.sandbox): question for question in questions(rebuilt)}
            write(folder / f"{name}.ipynb", text_of(rebuilt))
        stamp = folder / "timestamp.txt"
        stamp.unlink(missing_ok=True)
        if student in self.arrived:
            write(stamp, self.arrived[student] + "\n")
        return asked

    def _finish(self, waiting: dict[str, None]) -> Iterator[Grades]:
        """Record those whose verdicts are all there, unless the gradebook has them already."""
        recorded = set(self.book.students())
        for student in [s for s in waiting if all(key in self.verdicts for key in self.asked[s])]:
            del waiting[student]
            state, mark = self._state(student), self.root / "runs" / "recorded" / self.assignment / student
            if student not in recorded or not mark.exists() or mark.read_text() != state:
                self.book.record(student)
                write(mark, state)
            grades = self.book.grades(student)
            grades.notes = self.notes[student]
            yield grades

    def _state(self, student: str) -> str:
        """A fingerprint of all that the gradebook should have of one student."""
        files = sorted((self.root / "submitted" / student / self.assignment).iterdir())
        sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        verdicts = {key: {n: asdict(v) for n, v in self.verdicts[key].items()} for key in self.asked[student]}
        return fingerprint(sums, json.loads(json.dumps(verdicts)))

    def by_question(self) -> dict[str, list[Verdict]]:
        """The verdicts of everybody in this run, by grade cell."""
        found: dict[str, list[Verdict]] = {}
        for asked in self.asked.values():
            for key in asked:
                for label, verdict in self.verdicts.get(key, {}).items():
                    found.setdefault(label, []).append(verdict)
        return found


def sources(root: Path, assignment: str) -> list[Path]:
    """The files an assignment is made from. Raises ValueError if there is no such assignment."""
    found = sorted((root / "solutions" / assignment).glob("*.py"))
    if not found:
        known = sorted(p.parent.name for p in (root / "solutions").glob("*/*.py"))
        raise ValueError(f"No assignment {assignment!r} in {root / 'solutions'}. There are: {', '.join(known) or 'none'}.")
    return found


def _released(root: Path, assignment: str, config: Config) -> dict[str, NotebookNode]:
    """The assignment's notebooks as learners get them, by name, made from their sources."""
    return {source.stem: make_exercise(read(source), config) for source in sources(root, assignment)}


def _students(submissions: Path, student: str | None) -> list[str]:
    if not submissions.is_dir():
        raise ValueError(f"Expected a folder with one folder per student, got {submissions}.")
    found = sorted(p.name for p in submissions.iterdir() if p.is_dir() and not p.name.startswith("."))
    if bad := [name for name in found if not NAME.fullmatch(name)]:
        raise ValueError(f"A student's folder is named with letters, digits and . _ @ -; rename {', '.join(bad)}.")
    if student is not None and student not in found:
        raise ValueError(f"No folder {student!r} in {submissions}. There are: {', '.join(found) or 'none'}.")
    return found if student is None else [student]

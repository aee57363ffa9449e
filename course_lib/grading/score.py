"""From a notebook to points: cases drawn here, tried in the sandbox, judged here.

``evaluate`` is the whole decision and never runs student code. ``SandboxGrade`` puts it where nbgrader's autograder would
execute the notebook, so that gradebook, manual marks, feedback and export stay nbgrader's.

A grade cell belongs to an exercise by its label: ``film_check`` and ``film_hidden`` to the answer cell ``film``, and to
``course_lib.classroom.checks.EXERCISES["film"]``. The visible points are that check on fresh random inputs, the hidden
ones the same check on other sizes.
"""

import ast
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import compute_checksum
from traitlets import Bool, Float, Integer, Unicode

from course_lib.classroom.checks import EXERCISES, Check, Exercise
from course_lib.classroom.checks.base import Case
from course_lib.grading.envelope import pack, unpack
from course_lib.grading.sandbox import Limits, Room, Sandbox
from course_lib.grading.verdicts import FOLDER, Verdict, Verdicts, fingerprint

GROUPS = {"check": False, "hidden": True}  # the last part of a grade cell's label: are its inputs the hidden ones?
MARKS = re.compile(r"^### (BEGIN|END) HIDDEN TESTS\n?", re.MULTILINE)  # nbgrader's, of no use to a reader
KEPT = ("nbgrader", "released")  # of a cell's metadata: what this course put there
LONGEST = 1000  # characters of a message that comes from the sandbox


@dataclass(frozen=True)
class Question:
    """One answer to try: its exercise, the grade cells that hang on it, and the code that defines it."""

    name: str
    groups: list[str]
    cells: list[dict[str, str]]

    def key(self, sandbox: Sandbox) -> str:
        """Equal for answers that get the same verdict."""
        return fingerprint(asdict(self), asdict(sandbox.limits), sandbox.unsafe)


def label(cell: NotebookNode) -> str:
    """A cell's nbgrader label; empty without one."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def is_automatic(cell: NotebookNode) -> bool:
    """Is this a grade cell that a machine decides (and not a free answer for a person)?"""
    about = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and about.get("grade", False) and not about.get("solution", False)


def questions(notebook: NotebookNode) -> list[Question]:
    """What has to be tried, in order. Raises ValueError for a grade cell that no exercise claims."""
    wanted: dict[str, list[str]] = {}
    for name in (label(cell) for cell in notebook.cells if is_automatic(cell)):
        question, _, group = name.rpartition("_")
        if question not in EXERCISES or group not in GROUPS:
            raise ValueError(
                f"No check belongs to the grade cell {name!r}. Known: {', '.join(EXERCISES)}, with {list(GROUPS)}."
            )
        wanted.setdefault(question, []).append(group)
    return [Question(name, groups, cells_for(notebook, name)) for name, groups in wanted.items()]


def modules(notebook: NotebookNode) -> tuple[str, ...]:
    """What the locked cells import: the sandbox imports it once, before the first answer."""
    found = {"torch"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("locked") and not is_automatic(cell):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module)
    return tuple(sorted(found))


def evaluate(notebook: NotebookNode, sandbox: Sandbox, seed: int | None = None) -> dict[str, Verdict]:
    """A verdict for every automatic grade cell, by label.

    Raises ValueError for a grade cell that no exercise claims, SandboxBroken when the sandbox does not work.
    """
    verdicts: dict[str, Verdict] = {}
    with sandbox.open(modules(notebook)) as room:
        for question in questions(notebook):
            verdicts |= decide(question, room, seed)
    return verdicts


def decide(question: Question, room: Room, seed: int | None = None) -> dict[str, Verdict]:
    """Draw inputs, try one answer on them in a job of its own, judge: a verdict for each of its grade cells, by label."""
    drawn = secrets.randbits(32) if seed is None else seed
    rng = np.random.default_rng(drawn)
    cases = {group: EXERCISES[question.name].draw(rng, GROUPS[group]) for group in question.groups}
    checks, seconds = _ask(question.name, question.cells, cases, room)
    return {f"{question.name}_{group}": Verdict(check, drawn, round(seconds, 3)) for group, check in checks.items()}


def cells_for(notebook: NotebookNode, question: str) -> list[dict[str, str]]:
    """The code that defines an answer: its own cell, and the locked cells and the learner's own up to its check.

    Other questions' answers are left out: what goes wrong in them must not cost this one. So are unlabelled cells that
    stand as they were released (``intake`` marks them): they show something, and define nothing that an answer needs. An
    empty list when the answer is still the stub, and no cell of the learner's own speaks of its name.
    """
    name = EXERCISES[question].name
    stub = [label(c) == question and c.metadata.nbgrader.get("checksum") == compute_checksum(c) for c in notebook.cells]
    own = [c for c in notebook.cells if c.cell_type == "code" and not {"nbgrader", "released"} & set(c.metadata)]
    if any(stub) and not any(name in c.source for c in own):
        return []
    ours = [i for i, c in enumerate(notebook.cells) if label(c) == question or label(c) == f"{question}_check"]
    cells = []
    for cell in notebook.cells[: max(ours, default=-1) + 1]:
        other_answer = cell.metadata.get("nbgrader", {}).get("solution", False) and label(cell) != question
        if cell.cell_type == "code" and not (is_automatic(cell) or other_answer or "released" in cell.metadata):
            cells.append({"role": "answer" if label(cell) == question else "other", "source": cell.source})
    return cells


def _ask(
    question: str, cells: list[dict[str, str]], cases: dict[str, list[Case]], room: Room
) -> tuple[dict[str, Check], float]:
    """Try one answer on all its cases in one sandbox job; the check of each group, and the seconds it took."""
    exercise = EXERCISES[question]
    if not cells:
        stub = Check(exercise.name, "not attempted", "There is still a stub to fill in.", "", exercise.lesson)
        return dict.fromkeys(cases, stub), 0.0
    arrays = {f"{g}.{i}.{n}": v for g, group in cases.items() for i, case in enumerate(group) for n, v in case.items()}
    note = {"exercise": question, "cells": cells, "groups": {group: len(each) for group, each in cases.items()}}
    outcome = room.run(pack(note, arrays))
    stopped = Check(exercise.name, "error in your code", outcome.problem, "", exercise.lesson)
    if outcome.report is None:
        return dict.fromkeys(cases, stopped), outcome.seconds
    try:
        report, seen = unpack(outcome.report)
        checks = {group: _judge(exercise, each, group, report, seen) for group, each in cases.items()}
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):  # no honest runner sends such a report
        stopped = Check(exercise.name, "error in your code", "What came back is not a report.", "", exercise.lesson)
        return dict.fromkeys(cases, stopped), outcome.seconds
    return checks, outcome.seconds


def _judge(exercise: Exercise, cases: list[Case], group: str, report: dict, seen: dict[str, np.ndarray]) -> Check:
    """The verdict on one group of a report that may be forged: it can say no by itself, but yes is decided here."""
    entry = report["groups"][group]
    count = min(int(entry["records"]), len(cases))
    records = [
        {name.removeprefix(f"{group}.{i}."): value for name, value in seen.items() if name.startswith(f"{group}.{i}.")}
        for i in range(count)
    ]
    stopped = None
    if (told := entry["stopped"]) is not None:
        state = told["state"] if told["state"] in ("not yet", "not attempted") else "error in your code"
        stopped = Check(exercise.name, state, _readable(told["message"]), _readable(told["hint"]), exercise.lesson)
    return exercise.verdict(cases, records, stopped)


def _readable(text: str) -> str:
    """Text of a stranger, for people to read: not too long, no control characters."""
    shown = "".join(c for c in str(text)[:LONGEST] if c.isprintable() or c == "\n")
    return shown + (" ..." if len(str(text)) > LONGEST else "")


class SandboxGrade(NbGraderPreprocessor):
    """nbgrader's autograding step, without running the notebook: every automatic cell gets its points as a number.

    Verdicts that are kept already are used; the others are found here and kept. The number is always written out.
    (nbgrader gives full marks to a cell without output.)
    """

    unsafe = Bool(False, help="Grade without a sandbox. See course_lib.grading.sandbox.UNSAFE.").tag(config=True)
    seconds = Float(Limits.seconds, help="The longest that one question may take, in seconds.").tag(config=True)
    cpu_seconds = Integer(Limits.cpu_seconds, help="The most computing one question may do, in seconds.").tag(config=True)
    folder = Unicode(FOLDER, help="Where verdicts are kept, below the course's folder.").tag(config=True)

    def sandbox(self) -> Sandbox:
        """The walls and limits that the configuration asks for. Raises SandboxBroken where they cannot be had."""
        return Sandbox(Limits(seconds=self.seconds, cpu_seconds=self.cpu_seconds), unsafe=self.unsafe)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Write into each automatic grade cell what was found and the points, as outputs."""
        verdicts = self.verdicts(nb)
        for cell in nb.cells:
            cell.metadata = NotebookNode({name: cell.metadata[name] for name in KEPT if name in cell.metadata})
            if cell.cell_type == "code":
                cell.outputs, cell.source = [], MARKS.sub("", cell.source)
            if is_automatic(cell):
                verdict = verdicts[label(cell)]
                points = float(cell.metadata.nbgrader.points) if verdict.check.passed else 0.0
                text = f"{verdict.check}\n(inputs drawn with seed {verdict.seed})\n"
                number = {"text/plain": repr(points)}
                cell.outputs = [
                    new_output("stream", name="stdout", text=text),
                    new_output("execute_result", data=number, execution_count=None),
                ]
        return nb, resources

    def verdicts(self, nb: NotebookNode) -> dict[str, Verdict]:
        """The verdict on every automatic grade cell, by label."""
        kept, sandbox, found = Verdicts(Path(self.folder)), self.sandbox(), {}
        with sandbox.open(modules(nb)) as room:  # starts only when it is needed
            for question in questions(nb):
                key = question.key(sandbox)
                known = kept.find(key)
                if known is None:
                    known = decide(question, room)
                    kept.keep(key, known)
                found |= known
        return found

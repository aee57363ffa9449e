"""What every check is made of: an experiment beside the learner's code, and a verdict away from it.

An ``Exercise`` has three parts.

* ``draw`` makes random inputs, the *cases*.
* ``probe`` runs the learner's answer on one case and notes what it saw, as arrays: the *record*. It may say no (raise
  ``NotYet``), never yes.
* ``judge`` compares a record with arithmetic on the inputs, and raises ``NotYet`` for the first mistake it can name.

``Exercise.check`` does all three in the learner's notebook. Grading does ``draw`` and ``judge`` in a process that no
student code has ever touched, and only ``probe`` inside a sandbox: the same three functions, so what the check says is
what the points are.
"""

import html
import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

State = Literal["passed", "not yet", "error in your code", "not attempted"]
Case = dict[str, np.ndarray]  # inputs of one experiment
Record = dict[str, np.ndarray]  # what one experiment showed

COLOURS = {"passed": "#1a7f37", "not yet": "#9a6700", "error in your code": "#cf222e", "not attempted": "#57606a"}
OUR_CODE = tuple(
    str(Path(place).resolve()) + os.sep
    for place in (Path(__file__).parents[2], sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
)


class NotYet(Exception):  # noqa: N818  (an answer that is not there yet is no error)
    """A named mistake: what is wrong, and a hint that does not give the answer away."""

    def __init__(self, mistake: str, hint: str = ""):
        super().__init__(mistake)
        self.mistake, self.hint = mistake, hint


@dataclass(frozen=True)
class Check:
    """What a check found: one of four states, with a message, a hint and the lesson to look at.

    In a notebook it displays itself; ``str(check)`` is the same as plain text. The words are made from these fields.
    """

    exercise: str
    state: State
    message: str = ""
    hint: str = ""
    lesson: str = ""

    @property
    def passed(self) -> bool:
        return self.state == "passed"

    def lines(self) -> list[tuple[str, str]]:
        """The text, as (label, words); the first line is the headline."""
        rest = [("", self.message), ("Hint", self.hint)]
        if not self.passed:
            rest.append(("Lesson", self.lesson))
        return [(self.exercise, self.state), *((label, words) for label, words in rest if words)]

    def __str__(self) -> str:
        return "\n".join(f"{label}: {words}" if label else words for label, words in self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for i, (label, words) in enumerate(self.lines()):
            text = html.escape(words).replace("\n", "<br>")
            weight = "font-weight:600;" if i == 0 else ""
            name = f"<b>{html.escape(label)}:</b> " if label else ""
            rows.append(f'<div style="{weight}margin:2px 0;white-space:pre-wrap">{name}{text}</div>')
        style = f"border-left:5px solid {COLOURS[self.state]};padding:6px 12px;margin:4px 0"
        return f'<div role="status" style="{style}">{"".join(rows)}</div>'


@dataclass(frozen=True)
class Exercise:
    """One thing to write, and how it is tried and judged.

    ``draw(rng, hidden)`` gives the cases, ``probe(answer, case)`` a record, ``judge(case, record)`` raises ``NotYet`` or
    returns. ``hints``: (pattern in an error message, hint) pairs for errors that learners meet often.
    """

    name: str  # what the learner defines
    lesson: str  # where it is taught
    draw: Callable[[np.random.Generator, bool], list[Case]]
    probe: Callable[[Any, Case], Record]
    judge: Callable[[Case, Record], None]
    hints: tuple[tuple[str, str], ...] = ()

    def check(self, answer: Any, seed: int | None = None, *, hidden: bool = False) -> Check:
        """Try ``answer`` on freshly drawn inputs (those of ``seed`` when given) and say what was found.

        When nbgrader itself runs the cell, a check that has not passed raises AssertionError, so that it earns nothing.
        """
        cases = self.draw(np.random.default_rng(seed), hidden)
        result = self.verdict(cases, *self.look(answer, cases))
        if not result.passed and os.environ.get("NBGRADER_EXECUTION"):
            raise AssertionError(str(result))
        return result

    def look(self, answer: Any, cases: list[Case]) -> tuple[list[Record], Check | None]:
        """Beside the learner's code: records of the cases, in order, and what stopped the experiments, if anything."""
        records: list[Record] = []
        with _Watch(self) as watch:
            for case in cases:
                records.append(self.probe(answer, case))
        return records, watch.stopped

    def verdict(self, cases: list[Case], records: list[Record], stopped: Check | None) -> Check:
        """Away from the learner's code: the first mistake in the records, else what stopped them, else passed."""
        for case, record in zip(cases, records, strict=False):
            try:
                self.judge(case, record)
            except NotYet as mistake:
                return self.not_yet(mistake)
        if stopped is not None:
            return stopped
        if len(records) < len(cases):
            return Check(self.name, "error in your code", "It ended before every experiment was done.", "", self.lesson)
        return Check(self.name, "passed")

    def not_yet(self, mistake: NotYet) -> Check:
        """The check of a named mistake."""
        return Check(self.name, "not yet", mistake.mistake, mistake.hint, self.lesson)

    def explain(self, error: BaseException) -> Check:
        """The check of an exception: not attempted, a named mistake, or an error with the learner's own line."""
        if isinstance(error, NotYet):
            return self.not_yet(error)
        where = learners_line(error)
        if isinstance(error, NotImplementedError):
            message = f"There is still a stub to fill in{': ' + where if where else ''}."
            return Check(self.name, "not attempted", message, "", self.lesson)
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = next((hint for pattern, hint in self.hints if re.search(pattern, words)), "")
        return Check(self.name, "error in your code", f"{words}\n{where}" if where else words, hint, self.lesson)


class _Watch:
    """Turns whatever the learner's code raises into a ``Check``; only the learner's own interrupt goes through."""

    def __init__(self, exercise: Exercise):
        self.exercise, self.stopped = exercise, None

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        self.stopped = self.exercise.explain(error)
        return True


def learners_line(error: BaseException) -> str:
    """``line 7 in forward: return scale * x``: the deepest frame that is the learner's; empty when there is none."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {(error.text or '').strip()}"
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not (file.startswith("<frozen") or str(Path(file).resolve()).startswith(OUR_CODE)):
            line = linecache.getline(file, number).strip()
            place = "" if frame.f_code.co_name == "<module>" else f" in {frame.f_code.co_name}"
            return f"line {number}{place}: {line}" if line else f"line {number}{place}"
    return ""

"""One learner's answer, inside the walls: define it as a notebook would, run the experiments on it, report what they showed.

This runs in a process of its own, where nothing can be reached but the interpreter and course_lib. Nothing here decides
anything: the records are judged outside, by a process that student code never enters.
"""

import ast
import linecache
import re
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import asdict

from course_lib.classroom.checks import EXERCISES, Check, Exercise
from course_lib.grading.envelope import pack, unpack

MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)  # notebook commands such as %matplotlib inline
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
LONGEST = 2000  # characters of a message
OTHER_SECONDS = 3.0  # of computing, for all cells of the learner's own together


def report_on(job: bytes) -> bytes:
    """The report on one job: what each experiment showed, and what stopped them."""
    note, arrays = unpack(job)
    exercise = EXERCISES[note["exercise"]]
    answer, stopped = define(exercise, note["cells"])
    report, records = {}, {}
    for group, count in note["groups"].items():
        cases = [_part(arrays, f"{group}.{i}.") for i in range(count)]
        seen, stop = ([], stopped) if stopped else exercise.look(answer, cases)
        told = {name: text[:LONGEST] for name, text in asdict(stop).items()} if stop else None
        report[group] = {"records": len(seen), "stopped": told}
        records |= {f"{group}.{i}.{name}": value for i, record in enumerate(seen) for name, value in record.items()}
    return pack({"groups": report}, records)


def _part(arrays: dict, start: str) -> dict:
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


class Overtime(BaseException):
    """The learner's other cells have used up their time."""


def define(exercise: Exercise, cells: list[dict[str, str]]) -> tuple[object, Check | None]:
    """Run the cells as a notebook would and return what is called ``exercise.name``, or what stopped it.

    Answer cells run whole. A learner's other cells run statement by statement for the sake of what they define: an error
    in them costs nothing, and when they have computed for ``OTHER_SECONDS`` only definitions are still made.
    """
    home = types.ModuleType("__main__")
    home.display = lambda *shown, **how: None
    sys.modules["__main__"] = home
    signal.signal(signal.SIGVTALRM, _overtime)
    left = OTHER_SECONDS
    for number, cell in enumerate(cells):
        source, name = MAGIC.sub(r"\1pass", cell["source"]), f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        if cell["role"] == "answer":
            error = _attempt(lambda: exec(compile(source, name, "exec"), home.__dict__))  # noqa: B023  (called at once)
            if error is not None:
                return None, exercise.explain(error)
        else:
            left = _rehearse(source, name, home, left)
    if not hasattr(home, exercise.name):
        message = f"Nothing is called {exercise.name} in the answer."
        return None, Check(exercise.name, "not attempted", message, "Keep the name of the stub.", exercise.lesson)
    return getattr(home, exercise.name), None


def _attempt(work: Callable[[], None]) -> BaseException | None:
    """Do it; returns what it raised. Student code may raise anything, SystemExit included."""
    try:
        work()
    except BaseException as error:
        return error
    return None


def _rehearse(source: str, name: str, home: types.ModuleType, left: float) -> float:
    """Run a cell that is not an answer, for at most ``left`` seconds of computing; returns what is left of them."""
    statements: list[ast.stmt] = []
    _attempt(lambda: statements.extend(ast.parse(source, name).body))
    for statement in statements:
        if left <= 0 and not isinstance(statement, DEFINITIONS):
            continue
        code = compile(ast.Module([statement], []), name, "exec")
        signal.setitimer(signal.ITIMER_VIRTUAL, max(left, 0.1))
        error = _attempt(lambda: exec(code, home.__dict__))  # noqa: B023  (called at once)
        left = 0 if isinstance(error, Overtime) else signal.setitimer(signal.ITIMER_VIRTUAL, 0)[0]
    return left


def _overtime(*_: object) -> None:
    raise Overtime

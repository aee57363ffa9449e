"""Inside the sandbox: define one learner's answer, run the experiments on it, send the records back.

This file runs in a process of its own, under ``python -I``, where nothing can be reached but the interpreter and
course_lib. A block of bytes comes in on standard input, one goes out on standard output. Nothing here decides anything:
the records are judged outside, by a process that student code never enters.
"""

import ast
import linecache
import os
import re
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import asdict

from course_lib.classroom.checks import EXERCISES, Check, Exercise
from course_lib.grading.envelope import pack, unpack

READY = b"\0ready\n"  # said before any student code runs: if it is missing, the sandbox is at fault, not the learner
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)  # notebook commands such as %matplotlib inline
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
OTHER_SECONDS = 3.0  # of computing, for all cells of the learner's own together


def main() -> None:
    """Read a job, run it, report, and leave without giving student code another turn."""
    note, arrays = unpack(sys.stdin.buffer.read())
    exercise = EXERCISES[note["exercise"]]
    import torch  # noqa: F401, PLC0415  (every exercise needs it; before student code can change anything)

    os.write(2, READY)
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what student code prints goes nowhere
        os.dup2(nothing, stream)
    answer, stopped = define(exercise, note["cells"])
    report, records = {}, {}
    for group, count in note["groups"].items():
        cases = [_part(arrays, f"{group}.{i}.") for i in range(count)]
        seen, stop = ([], stopped) if stopped else exercise.look(answer, cases)
        report[group] = {"records": len(seen), "stopped": asdict(stop) if stop else None}
        records |= {f"{group}.{i}.{name}": value for i, record in enumerate(seen) for name, value in record.items()}
    block = pack({"groups": report}, records)
    while block:
        block = block[os.write(out, block) :]
    os._exit(0)


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


if __name__ == "__main__":
    main()

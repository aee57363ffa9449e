"""The grading commands: ``python -m course_lib.grading grade day92_rt1 submissions/``, then ``feedback`` and ``table``.

``grade`` reads ``submissions/<student>/*.ipynb``, records points in the gradebook of the project's folder, and writes a CSV
table and a report. Run it again at any time, for everybody or with ``--student NAME`` for one: only what is new is done.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from course_lib.grading.notebooks import ROOT, write
from course_lib.grading.sandbox import UNSAFE, SandboxBroken


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 when nothing could be graded, 130 when it was interrupted."""
    options = _parser().parse_args(arguments)
    options.root = options.root.resolve()
    try:
        {"grade": _grade, "feedback": _feedback, "table": _table}[options.command](options)
    except (ValueError, SandboxBroken) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_lib.grading", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "grade": "grade a folder of submissions",
        "feedback": "write a page for each student into feedback/",
        "table": "write the CSV table again, after marking by hand",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("assignment", help="a folder of solutions/, such as day92_rt1")
        command.add_argument("--root", type=Path, default=ROOT, help="the folder of nbgrader_config.py and the gradebook")
        if name != "table":
            command.add_argument("--student", help="only this one")
        if name != "feedback":
            command.add_argument("--csv", type=Path, help="where to write the table (default: runs/grades_ASSIGNMENT.csv)")
    grade = commands.choices["grade"]
    grade.add_argument("submissions", type=Path, help="the folder with one folder per student")
    grade.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="sandboxes at once (default: cores)")
    grade.add_argument("--scheduler", metavar="ADDRESS", help="use the workers of this Dask scheduler instead")
    grade.add_argument("--again", action="store_true", help="decide again what was decided before, on new inputs")
    grade.add_argument("--unsafe", action="store_true", help="without a sandbox; says what is lost")
    return parser


def _grade(options: argparse.Namespace) -> None:
    from tqdm import tqdm  # noqa: PLC0415

    from course_lib.grading.marking import Marking  # noqa: PLC0415  (nbgrader takes a second to start)
    from course_lib.grading.report import report  # noqa: PLC0415

    if options.jobs < 1:
        raise ValueError(f"Expected --jobs of at least 1, got {options.jobs}.")
    if options.unsafe:
        print(UNSAFE, file=sys.stderr)
    marking = Marking(
        options.root, options.assignment, options.submissions.resolve(), options.student, unsafe=options.unsafe
    )
    graded = marking.run(jobs=options.jobs, scheduler=options.scheduler, again=options.again)
    for found in tqdm(graded, "graded", len(marking.students), disable=None, unit=" students"):
        points = ", ".join(f"{name} {value:g}" for name, value in found.points.items())
        late = f" late: -{found.penalty:g}" if found.penalty else ""
        by_hand = " by hand: open" if found.by_hand else ""
        tqdm.write(f"{found.student}: {found.total:g} of {found.highest:g} ({points}){late}{by_hand}")
        for note in found.notes:
            tqdm.write(f"  {note}")
    path = options.csv or options.root / "runs" / f"grades_{options.assignment}.csv"
    write(path, marking.book.table())
    print(f"wrote {path}")
    if options.student is None:
        path = options.root / "runs" / f"report_{options.assignment}.txt"
        write(path, report(marking.by_question()))
        print(f"wrote {path}\n\n{path.read_text(encoding='utf-8')}", end="")


def _book(options: argparse.Namespace) -> Any:
    """The gradebook (a Book) of an assignment that exists. Its imports wait: nbgrader takes a second to start."""
    from course_lib.grading.gradebook import Book  # noqa: PLC0415
    from course_lib.grading.marking import sources  # noqa: PLC0415

    sources(options.root, options.assignment)  # is there such an assignment?
    return Book(options.root, options.assignment)


def _feedback(options: argparse.Namespace) -> None:
    book = _book(options)
    students = book.students()
    if options.student is not None and options.student not in students:
        raise ValueError(
            f"{options.student!r} has no grades in {options.assignment}. Graded: {', '.join(students) or 'nobody'}."
        )
    with book.only_writer():
        book.settle_lateness()
        for student in students if options.student is None else [options.student]:
            print(f"wrote {book.make_feedback(student)}")


def _table(options: argparse.Namespace) -> None:
    book = _book(options)
    with book.only_writer():
        book.settle_lateness()
        path = options.csv or options.root / "runs" / f"grades_{options.assignment}.csv"
        write(path, book.table())
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())

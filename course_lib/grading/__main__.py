"""The grading command: ``python -m course_lib.grading grade day92_rt1 submissions/``.

It reads ``submissions/<student>/*.ipynb``, records points in the gradebook of the project's folder, and writes a CSV
table. Run it again at any time, for everybody or with ``--student NAME`` for one.
"""

import argparse
import sys
from pathlib import Path

from course_lib.grading.notebooks import ROOT, write
from course_lib.grading.sandbox import UNSAFE, SandboxBroken


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 when nothing could be graded."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.grading", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    grade = commands.add_parser("grade", help="grade a folder of submissions")
    grade.add_argument("assignment", help="a folder of solutions/, such as day92_rt1")
    grade.add_argument("submissions", type=Path, help="the folder with one folder per student")
    grade.add_argument("--student", help="only this one")
    grade.add_argument("--csv", type=Path, help="where to write the table (default: runs/grades_ASSIGNMENT.csv)")
    grade.add_argument("--unsafe", action="store_true", help="without a sandbox; says what is lost")
    grade.add_argument("--root", type=Path, default=ROOT, help="the folder of nbgrader_config.py and the gradebook")
    options = parser.parse_args(arguments)
    if options.unsafe:
        print(UNSAFE, file=sys.stderr)
    try:
        return _grade(options)
    except (ValueError, SandboxBroken) as error:
        print(error, file=sys.stderr)
        return 1


def _grade(options: argparse.Namespace) -> int:
    from course_lib.grading import gradebook  # noqa: PLC0415  (nbgrader takes a second to start)

    root, assignment = options.root.resolve(), options.assignment
    submissions = options.submissions.resolve()
    for found in gradebook.grade(root, assignment, submissions, options.student, unsafe=options.unsafe):
        points = ", ".join(f"{name} {value:g}" for name, value in found.points.items())
        print(f"{found.student}: {found.total:g} of {found.highest:g} ({points}){' by hand: open' if found.by_hand else ''}")
        for note in found.notes:
            print(f"  {note}")
    path = options.csv or root / "runs" / f"grades_{assignment}.csv"
    write(path, gradebook.table(root, assignment))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

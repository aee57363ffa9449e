"""A class that hands in a day's exercises: right, partly right, wrong, failing, cheating, in notebooks tidy and not.

    python tests/grading_class.py day92_rt1 FOLDER --students 100

writes FOLDER/<student>/exercises.ipynb for as many students, and what each answer deserves into FOLDER/deserved.json. Then
``python -m course_lib.grading grade day92_rt1 FOLDER`` shows how long a class takes. Answers are made from the day's own
solutions, whatever exercises it has; no two are equal, because equal answers are tried only once.
"""

import argparse
import ast
import copy
import json
import random
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_lib.classroom.checks import EXERCISES
from course_lib.grading.notebooks import ROOT, read, text_of
from course_lib.grading.release import load_config, make_exercise
from course_lib.grading.score import GROUPS, label, questions

# What answers are like, and how often: most are right, few run for ever (each of those costs its whole time limit).
KINDS = {"right": 62, "mutant": 16, "blank": 8, "raises": 6, "exits": 2, "crashes": 2, "cheats": 3, "loops": 1}
EARNS_NOTHING = {"blank", "raises", "exits", "crashes", "cheats", "loops"}
TIDY = {"tidy": 70, "helper": 10, "copied": 5, "split": 5, "deleted": 5, "reordered": 5}

CHEAT = """
import builtins, os, sys
from course_lib.classroom import checks
from course_lib.classroom.checks import base
for exercise in checks.EXERCISES.values():
    object.__setattr__(exercise, "judge", lambda *a: None)
    object.__setattr__(exercise, "probe", lambda *a: {})
base.Exercise.verdict = base.Exercise.check = lambda self, *a, **k: base.Check(self.name, "passed")
base.Exercise.explain = lambda self, error: base.Check(self.name, "passed")
def NAME(*a, **k): raise base.NotYet("passed")
"""
BREAKS = {  # what stands first in every function
    "raises": "raise ValueError('I do not know')",
    "exits": "__import__('os')._exit(0)",
    "crashes": "__import__('ctypes').string_at(0)",
    "loops": "while True: pass",
}


SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.GtE: ast.Gt}


class Mutant(ast.NodeTransformer):
    """Changes one operator, number or statement of a program: a slip, as people make them."""

    def __init__(self, target):
        self.target, self.seen = target, -1

    def _is_it(self):
        self.seen += 1
        return self.seen == self.target

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if type(node.op) in SWAPS and self._is_it():
            node.op = SWAPS[type(node.op)]()
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        if type(node.ops[0]) in SWAPS and self._is_it():
            node.ops[0] = SWAPS[type(node.ops[0])]()
        return node

    def visit_Constant(self, node):
        return ast.Constant(node.value + 1) if type(node.value) is int and self._is_it() else node

    def visit_Expr(self, node):
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.value, ast.Call) and self._is_it() else node


def mutant(source: str, chance: random.Random) -> str:
    """``source`` with one slip in it."""
    counting = Mutant(-1)
    counting.visit(ast.parse(source))
    if counting.seen < 0:
        return source
    return ast.unparse(ast.fix_missing_locations(Mutant(chance.randrange(counting.seen + 1)).visit(ast.parse(source))))


def broken(source: str, line: str) -> str:
    """``source`` with ``line`` at the beginning of every function."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in functions or [tree]:
        node.body[:0] = ast.parse(line).body
    return ast.unparse(tree)


def answer(kind: str, name: str, solution: str, stub: str, chance: random.Random) -> str:
    """An answer of one kind to the exercise that asks for ``name``."""
    if kind in BREAKS:
        return broken(solution, BREAKS[kind])
    return {
        "right": lambda: solution,
        "mutant": lambda: mutant(solution, chance),
        "blank": lambda: stub,
        "cheats": lambda: CHEAT.replace("NAME", name),
    }[kind]()


class Day:
    """One assignment: the notebook that learners get, and the solution of each of its questions."""

    def __init__(self, assignment: str, name: str = "exercises", root: Path = ROOT):
        source = root / "solutions" / assignment / f"{name}.py"
        self.name, self.released = name, make_exercise(read(source), load_config(root))
        self.solutions = {label(cell): cell.source for cell in read(source).cells if label(cell)}
        self.questions = [question.name for question in questions(self.released)]

    def points(self, question: str) -> dict[str, float]:
        """What the grade cells of a question are worth, by label."""
        wanted = {f"{question}_{group}" for group in GROUPS}
        return {label(c): c.metadata.nbgrader.points for c in self.released.cells if label(c) in wanted}

    def hand_in(self, student: str, kinds: dict[str, str], mess: str, chance: random.Random) -> NotebookNode:
        """One student's notebook, with answers of these kinds, and with its cells in this mess."""
        notebook = copy.deepcopy(self.released)
        for cell in notebook.cells:
            name = label(cell)
            if name in kinds:
                made = answer(kinds[name], EXERCISES[name].name, self.solutions[name], cell.source, chance)
                cell.source = made if kinds[name] == "blank" else f"{made}\n# {student}"
            elif cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = f"{student} thinks that it fades, because nothing adds the 1."
        self._rearrange(notebook, mess, chance)
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"
        return notebook

    def _rearrange(self, notebook: NotebookNode, mess: str, chance: random.Random) -> None:
        """What people do to notebooks; the answers stay."""
        cells = notebook.cells
        place = [label(cell) for cell in cells].index(chance.choice(self.questions))
        if mess == "helper":
            cells.insert(place, new_code_cell("x = [i**2 for i in range(10)]\n1 / 0"))
        elif mess == "copied":
            cells.append(copy.deepcopy(cells[place + 1]))
        elif mess == "split":
            cells.insert(place, copy.deepcopy(cells[place]))
            cells[place].source = "import math"
        elif mess == "deleted":
            cells[:] = [cell for cell in cells if label(cell) in self.questions or not label(cell)]
        elif mess == "reordered":
            cells.append(cells.pop(place))


def one_of(shares: dict[str, int], chance: random.Random) -> str:
    """A key of ``shares``, as often as its share says."""
    return chance.choices(list(shares), list(shares.values()))[0]


def hand_in(assignment: str, folder: Path, students: int, seed: int = 0) -> dict[str, dict[str, str]]:
    """Write a class's submissions; returns (and writes) of which kind each answer is, by student and question."""
    day, chance, kinds = Day(assignment), random.Random(seed), {}
    for student in (f"student{number:03}" for number in range(students)):
        kinds[student] = {question: one_of(KINDS, chance) for question in day.questions}
        notebook = day.hand_in(student, kinds[student], one_of(TIDY, chance), chance)
        (folder / student).mkdir(parents=True)
        (folder / student / f"{day.name}.ipynb").write_text(text_of(notebook), encoding="utf-8")
    (folder / "deserved.json").write_text(json.dumps(kinds, indent=1))
    return kinds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assignment")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hand_in(options.assignment, options.folder, options.students, options.seed)

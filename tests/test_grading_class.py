"""A class hands in a whole day, answers of every kind to every question: each gets what it deserves, and no more."""

import csv
import random
import shutil

import pytest

pytest.importorskip("nbgrader")

import grading_class

from course_lib.grading import __main__ as command
from course_lib.grading.notebooks import ROOT, text_of
from course_lib.grading.sandbox import Sandbox, SandboxBroken

DAYS = ["day92_rt1"]
KINDS = [kind for kind in grading_class.KINDS if kind != "mutant"]  # a slip may be harmless: nobody knows what it deserves
TIDY = list(grading_class.TIDY)


class Class:
    """As many students as there are kinds of answers; every question gets one of each kind."""

    def __init__(self, assignment, root):
        self.day, chance = grading_class.Day(assignment), random.Random(3)
        shutil.copytree(ROOT / "solutions" / assignment, root / "solutions" / assignment)
        shutil.copy(ROOT / "nbgrader_config.py", root)
        with (root / "nbgrader_config.py").open("a") as settings:
            settings.write("\nc.SandboxGrade.cpu_seconds = 6\n")
        self.kinds, self.notebooks = {}, {}
        for i in range(len(KINDS)):
            kinds = {question: KINDS[(i + j) % len(KINDS)] for j, question in enumerate(self.day.questions)}
            kinds |= {q: "raises" for q in self.day.questions[1:] if kinds[q] == "loops"}  # one of them is slow enough
            made = self.day.hand_in(f"student{i}", kinds, TIDY[i % len(TIDY)], chance)
            self.kinds[f"student{i}"], self.notebooks[f"student{i}"] = kinds, made
            (root / "in" / f"student{i}").mkdir(parents=True)
            (root / "in" / f"student{i}" / "exercises.ipynb").write_text(text_of(made))
        assert command.main(["grade", "--root", str(root), assignment, str(root / "in"), "--jobs", "2"]) == 0
        with (root / f"runs/grades_{assignment}.csv").open() as file:
            self.rows = {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module", params=DAYS)
def graded(request, tmp_path_factory):
    try:
        Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    return Class(request.param, tmp_path_factory.mktemp("class"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_gets_what_it_deserves_in_every_notebook(graded, kind):
    wrong = []
    for student, kinds in graded.kinds.items():
        for question in (q for q, k in kinds.items() if k == kind):
            all_points = graded.day.points(question)
            got = {name: float(graded.rows[student][name]) for name in all_points}
            deserved = all_points if kind == "right" else dict.fromkeys(all_points, 0)
            wrong += [] if got == deserved else [(student, question, got)]
    assert not wrong

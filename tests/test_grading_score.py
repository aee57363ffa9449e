"""A class of submissions is graded once, as an instructor would; every one of them gets the points it deserves."""

import copy
import csv
import json
import os
import socket
from pathlib import Path

import grading_attacks as attacks
import pytest
from grading_tricks import EVERY

pytest.importorskip("nbgrader")

import nbformat
from film_day import film_course, film_exercise
from nbgrader.api import Gradebook

from course_lib.grading import __main__ as command
from course_lib.grading import sandbox
from course_lib.grading.notebooks import ROOT
from course_lib.grading.sandbox import Sandbox, SandboxBroken
from course_lib.grading.score import evaluate

EXERCISE = film_exercise()
MARK = "31415.9"  # seconds of a sleep that nobody else asks for


@pytest.fixture(scope="session")
def walls():
    """Skips, with the reason, where submitted code cannot be kept in."""
    try:
        return Sandbox(sandbox.Limits(cpu_seconds=8))
    except SandboxBroken as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    film_course(root)
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write("\nc.SandboxGrade.cpu_seconds = 8\nc.SandboxGrade.seconds = 40\n")
    return root


def answers(course, folder, port):
    """The answer of every student, with the places and numbers of this run put in."""
    places = [folder, ROOT / "solutions", course / "solutions", course / "gradebook.db", course / "submitted", course]
    for name, (source, _, _) in EVERY.items():
        filled = source.replace("PORT", str(port)).replace("PLACES", repr([str(p) for p in places]))
        yield name, attacks.notebook_with(EXERCISE, filled.replace("MARK", MARK))


def other_notebooks():
    """Submissions that differ in their form, with the points they deserve."""
    right = attacks.notebook_with(EXERCISE, attacks.RIGHT)
    blank = json.loads(EXERCISE.read_text())
    yield "blank", blank, 0
    changed = copy.deepcopy(right)
    check = attacks.cell_of(changed, "film_check")
    check["source"], check["metadata"]["nbgrader"]["points"] = "pass", 300
    yield "edits_the_check", changed, 5
    wrong = attacks.notebook_with(EXERCISE, attacks.NO_ONE_PLUS)
    attacks.cell_of(wrong, "film_check")["source"] = "3.0"
    yield "edits_the_check_and_is_wrong", wrong, 0
    deleted = copy.deepcopy(right)
    deleted["cells"] = [c for c in deleted["cells"] if c["id"] not in ("setup", "film_check", "film_hidden")]
    attacks.cell_of(deleted, "film")["source"] = "import torch\nfrom torch import nn\n" + attacks.RIGHT
    yield "deletes_locked_cells", deleted, 5
    copied = copy.deepcopy(right)
    copied["cells"] += [copy.deepcopy(c) for c in copied["cells"]]
    yield "copies_every_cell", copied, 5
    retyped = copy.deepcopy(right)
    for name in ("film", "film_check"):
        attacks.cell_of(retyped, name)["cell_type"] = "markdown"
    yield "changes_cell_types", retyped, 5
    twins = copy.deepcopy(right)
    for cell in twins["cells"]:
        cell["id"] = "same"
    yield "has_the_same_id_everywhere", twins, 5
    older = copy.deepcopy(right)
    attacks.cell_of(older, "film")["metadata"]["nbgrader"]["grade_id"] = "film_layer"
    yield "is_of_another_release", older, 5  # in a cell that this release does not know, but there
    yield from rearranged(right)


def rearranged(right):
    """Notebooks whose answer is spread over more than its own cell."""
    split = copy.deepcopy(right)
    place = split["cells"].index(attacks.cell_of(split, "film"))
    half = copy.deepcopy(split["cells"][place])
    split["cells"][place]["source"] = "ONE = 1\nzero = nn.init.zeros_"
    half["source"] = attacks.RIGHT.replace("(1 +", "(ONE +").replace("nn.init.zeros_(p)", "zero(p)")
    split["cells"].insert(place + 1, half)
    yield "splits_the_answer", split, 5
    helped = attacks.notebook_with(EXERCISE, attacks.RIGHT.replace("nn.init.zeros_(p)", "begin(p)"))
    helper = "%matplotlib inline\nimport time\n1 / 0\ndef begin(p):\n    nn.init.zeros_(p)\nwhile True: pass"
    helped["cells"].insert(2, {"cell_type": "code", "metadata": {}, "source": helper, "outputs": []})
    yield "has_a_helper_and_an_endless_experiment", helped, 5


@pytest.fixture(scope="module")
def graded(course, walls, tmp_path_factory):
    """The CSV rows by student, after one run of the command over the whole class."""
    folder = tmp_path_factory.mktemp("submissions")
    with socket.create_server(("127.0.0.1", 0)) as server:
        handed_in = [*answers(course, folder, server.getsockname()[1]), *((n, nb) for n, nb, _ in other_notebooks())]
        for name, notebook in handed_in:
            (folder / name).mkdir()
            (folder / name / "exercises.ipynb").write_text(json.dumps(notebook))
        for name in ("links_to_a_solution", "broken_json", "nested_without_end", "nothing"):
            (folder / name).mkdir()
        (folder / "links_to_a_solution/exercises.ipynb").symlink_to(ROOT / "solutions/day92_rt1/exercises.ipynb")
        (folder / "broken_json/exercises.ipynb").write_text('{"cells": [')
        (folder / "nested_without_end/exercises.ipynb").write_text("[" * 200_000)
        (folder / "nothing/notes.txt").symlink_to("/etc/hostname")
        (folder / "right/torch.py").write_text("raise SystemExit")
        assert command.main(["grade", "--root", str(course), "day92_rt1", str(folder)]) == 0
    with (course / "runs/grades_day92_rt1.csv").open() as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_an_answer_gets_the_points_it_deserves_whatever_it_tries(graded, name):
    _, check, hidden = EVERY[name]
    assert (float(graded[name]["film_check"]), float(graded[name]["film_hidden"])) == (check, hidden)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), [(name, points) for name, _, points in other_notebooks()])
def test_what_happens_to_the_other_cells_changes_nothing(graded, name, points):
    assert float(graded[name]["score"]) == points and float(graded[name]["max_score"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("links_to_a_solution", "is a link to another place"),
        ("broken_json", "is not a notebook that can be read"),
        ("nested_without_end", "is not a notebook that can be read"),
        ("nothing", "No exercises.ipynb was handed in"),
    ],
)
def test_what_cannot_be_read_gets_no_points_and_says_why(graded, course, name, reason):
    assert float(graded[name]["score"]) == 0 and graded[name]["needs_marking_by_hand"] == "no"
    shown = nbformat.read(course / "autograded" / name / "day92_rt1/exercises.ipynb", 4)
    assert reason in shown.cells[0].source
    assert [p.name for p in (course / "submitted" / name / "day92_rt1").iterdir()] == ["exercises.ipynb"]


@pytest.mark.slow
def test_the_gradebook_says_what_the_table_says(graded, course):
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        for name, row in graded.items():
            assert book.find_submission("day92_rt1", name).score == float(row["score"])
    assert set(graded) >= {*EVERY, *(name for name, _, _ in other_notebooks())}


@pytest.mark.slow
def test_feedback_names_the_mistake_as_the_check_does(graded, course):
    def output(name):
        cells = nbformat.read(course / "autograded" / name / "day92_rt1/exercises.ipynb", 4).cells
        return next(c for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == "film_check").outputs[0].text

    assert "At the start FiLM returns only zeros" in output("wrong_no_one_plus")
    assert "in a new FiLM scale and shift are random" in output("wrong_no_identity")
    assert "not attempted" in output("blank") and "FiLM: passed" in output("right_but_noisy")
    assert "seconds" in output("loops") and "exit()" in output("exits_at_once")
    assert "SystemExit" in output("exits") and "in forward" in output("exits")
    assert "SIGSEGV" in output("crashes") and "ValueError: <script>" in output("shouts")
    for name in EVERY:
        state, message = output(name).splitlines()[:2]
        assert state.removeprefix("FiLM: ") in ("passed", "not yet", "error in your code") and message.strip()
        assert all(c.isprintable() or c == "\n" for c in output(name)) and len(output(name)) < 2000


@pytest.mark.slow
def test_nothing_is_left_running_or_written(graded, course):
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert not [line for line in running if MARK.encode() in line]
    assert not list(course.parent.rglob("*.stolen"))


def test_an_unclaimed_grade_cell_is_the_instructors_mistake_and_stops_grading(walls):
    notebook = nbformat.read(EXERCISE, 4)
    last = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")][-1]
    last.metadata.nbgrader.grade_id = "film_chekc"
    with pytest.raises(ValueError, match="No check belongs to the grade cell 'film_chekc'"):
        evaluate(notebook, walls)


@pytest.mark.parametrize(
    ("assignment", "student", "words"),
    [("day_92", None, "There are: day92_rt1"), ("day92_rt1", "nobody", "There are: ann"), ("day92_rt1", None, "rename b*b")],
)
def test_an_unknown_assignment_or_student_is_answered_with_the_known_ones(
    walls, course, tmp_path, capsys, assignment, student, words
):
    (tmp_path / ("b*b" if "rename" in words else "ann")).mkdir()
    arguments = ["grade", "--root", str(course), assignment, str(tmp_path)] + (["--student", student] if student else [])
    assert command.main(arguments) == 1
    assert words in capsys.readouterr().err


def test_without_a_sandbox_nothing_is_graded_unless_told_so(course, tmp_path, monkeypatch, capsys):
    (tmp_path / "ann").mkdir()
    monkeypatch.setattr(sandbox.shutil, "which", lambda tool: None if tool == "bwrap" else "/usr/bin/" + tool)
    assert command.main(["grade", "--root", str(course), "day92_rt1", str(tmp_path)]) == 1
    assert "Grading needs bwrap" in capsys.readouterr().err
    assert command.main(["grade", "--root", str(course), "day92_rt1", str(tmp_path), "--unsafe"]) == 0
    shown = capsys.readouterr()
    assert "UNSAFE: submitted code runs with your rights" in shown.err and "ann: 0 of 5" in shown.out

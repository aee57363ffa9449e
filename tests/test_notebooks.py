"""Every notebook is what its source makes; solutions pass their own checks; a blank exercise earns nothing."""

import nbformat
import pytest

from course_lib.grading import notebooks
from course_lib.grading.execution import execute
from course_lib.grading.notebooks import ROOT, read, sources

pytest.importorskip("nbgrader")

from course_lib.classroom.checks import EXERCISES
from course_lib.grading.intake import read_submission, repair
from course_lib.grading.release import make_exercise
from course_lib.grading.sandbox import Sandbox, SandboxBroken
from course_lib.grading.score import GROUPS, evaluate, is_automatic, label

SOLUTIONS = sources(ROOT, "solutions")


def states(notebook):
    """The headline of every check in an executed notebook."""
    shown = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    return [output.data["text/plain"].split("\n")[0] for output in shown if "role=" in output.data.get("text/html", "")]


def test_every_notebook_is_what_its_source_makes():
    assert notebooks.check(ROOT) == []


@pytest.mark.slow
@pytest.mark.parametrize("source", SOLUTIONS, ids=lambda path: path.parent.name)
def test_solutions_run_from_top_to_bottom_and_pass_their_own_checks(source, tmp_path):
    solution = execute(read(source), tmp_path)
    assert states(solution) and all(state.endswith(": passed") for state in states(solution))


@pytest.mark.slow
@pytest.mark.parametrize("source", SOLUTIONS, ids=lambda path: path.parent.name)
def test_the_blank_exercise_runs_from_top_to_bottom_and_says_not_attempted(source, tmp_path):
    exercise = execute(make_exercise(read(source)), tmp_path)
    assert states(exercise) and all(state.endswith(": not attempted") for state in states(exercise))


@pytest.mark.parametrize("source", SOLUTIONS, ids=lambda path: path.parent.name)
def test_a_blank_exercise_scores_nothing_on_every_question(source):
    try:
        sandbox = Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    verdicts = evaluate(make_exercise(read(source)), sandbox)
    assert verdicts and {verdict.check.state for verdict in verdicts.values()} == {"not attempted"}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOLUTIONS, ids=lambda path: path.parent.name)
def test_the_solutions_handed_in_score_full_marks_on_every_question(source, tmp_path):
    try:
        sandbox = Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    solved, handed_in = {label(c): c.source for c in read(source).cells}, make_exercise(read(source))
    for cell in handed_in.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = solved[label(cell)]
    nbformat.write(handed_in, tmp_path / "exercises.ipynb")
    cells = read_submission(tmp_path / "exercises.ipynb", tmp_path)
    verdicts = evaluate(repair(cells, make_exercise(read(source))), sandbox)
    assert verdicts and {name for name, verdict in verdicts.items() if not verdict.check.passed} == set()


@pytest.mark.parametrize("source", SOLUTIONS, ids=lambda path: path.parent.name)
def test_every_exercise_has_a_card_hints_an_answer_a_visible_and_a_hidden_check_and_a_worked_solution(source):
    solution = read(source)
    graded = {label(cell): cell.metadata.nbgrader.points for cell in solution.cells if is_automatic(cell)}
    questions = {name.rpartition("_")[0] for name in graded}
    assert questions <= set(EXERCISES) and set(graded) == {f"{q}_{g}" for q in questions for g in GROUPS}
    assert all(points > 0 for points in graded.values())
    assert questions <= {label(cell) for cell in solution.cells if cell.metadata.get("nbgrader", {}).get("solution")}
    text = "\n".join(cell.source for cell in solution.cells if cell.cell_type == "markdown")
    cards, worked = text.count("| difficulty | time | points |"), text.count("**Worked solution.**")
    assert len(questions) == cards == worked and text.count("<details>") == 3 * cards


def test_released_exercises_say_nothing_of_their_solutions():
    for source in SOLUTIONS:
        target = ROOT / "exercises" / source.relative_to(ROOT / "solutions").with_suffix(".ipynb")
        text = nbformat.writes(nbformat.read(target, 4))
        assert "Worked solution" not in text and "BEGIN" not in text and "hidden=True" not in text

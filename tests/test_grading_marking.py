"""A grading run can be stopped, repeated and split, and marks given by hand outlive it."""

import csv
import datetime
import io
import json
import shutil
import threading
from pathlib import Path

import grading_attacks as attacks
import pytest

pytest.importorskip("nbgrader")

from film_day import film_course

from course_lib.classroom.checks import Check
from course_lib.grading import __main__ as command
from course_lib.grading import edition, fan_out, score
from course_lib.grading.gradebook import Book
from course_lib.grading.marking import Marking
from course_lib.grading.report import report
from course_lib.grading.sandbox import Sandbox, SandboxBroken
from course_lib.grading.verdicts import Verdict

ESSAY = """
# %% [markdown] nbgrader={"grade_id": "why", "solution": true, "points": 4}
# Because the sentence decides what is worth seeing.

# %% [markdown] tags=["worked-solution"]
# **Rubric.**
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 4 | a reason | "Because." |
# | 2 | half a reason | "Perhaps." |
# | 0 | no reason | "Yes." |
"""


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A course with the FiLM exercise and a question for free text."""
    try:
        Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    root = tmp_path_factory.mktemp("day")
    film_course(root, "day", ESSAY)
    Book(root, "day").record_release()  # a new gradebook takes seconds: copies begin with this one
    return root


@pytest.fixture
def course(day, tmp_path):
    return Path(shutil.copytree(day, tmp_path / "course"))


@pytest.fixture
def decided(monkeypatch):
    """The questions decided in a run, in order; an answer that says RIGHT is right, and no sandbox is started."""
    asked = []

    def decide(question, room, seed=None):
        asked.append(question)
        state = "passed" if "RIGHT" in question.cells[-1]["source"] else "not yet"
        check = Check("FiLM", state, "" if state == "passed" else "At the start it fades.\nMore.")
        return {f"film_{group}": Verdict(check, 1, 0.5) for group in question.groups}

    def not_here(*_):
        raise AssertionError("recording must not decide again")

    monkeypatch.setattr(fan_out, "decide", decide)
    monkeypatch.setattr(score, "decide", not_here)
    return asked


def hand_in(course, **answers):
    """Submissions with these answers to the FiLM exercise, and an essay."""
    for name, answer in answers.items():
        notebook = attacks.notebook_with(course / "exercises/day/exercises.ipynb", answer)
        attacks.cell_of(notebook, "why")["source"] = f"Because {name} says so."
        folder = course / "in" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "exercises.ipynb").write_text(json.dumps(notebook))


def rows(course):
    return {row["student"]: row for row in csv.DictReader(io.StringIO(Book(course, "day").table()))}


def grade(course, *, student=None, **how):
    return list(Marking(course, "day", course / "in", student).run(**how))


def mark(course, student, points, label="why"):
    """Give points by hand, as formgrader does."""
    book = Book(course, "day")
    with book.open() as open_book:
        given = open_book.find_grade(label, "exercises", "day", student)
        given.manual_score, given.needs_manual_grade = points, False
        open_book.find_comment("why", "exercises", "day", student).manual_comment = "Well said."
        open_book.db.commit()


def comment(course, student):
    with Book(course, "day").open() as book:
        return book.find_comment("why", "exercises", "day", student).comment


def test_a_second_run_decides_nothing_and_changes_nothing(course, decided):
    hand_in(course, ann="RIGHT = 1", bob="wrong = 1", eve="RIGHT = 2")
    found = {grades.student: grades.points["film_check"] for grades in grade(course)}
    assert found == {"ann": 3, "bob": 0, "eve": 3} and len(decided) == 3
    before, table = (course / "gradebook.db").read_bytes(), rows(course)
    assert len(grade(course)) == 3 and len(decided) == 3
    assert rows(course) == table
    grade(course, again=True)
    assert len(decided) == 6 and rows(course) == table and before


def test_an_interrupted_run_goes_on_where_it_stopped(course, decided, monkeypatch):
    hand_in(course, **{f"s{i}": f"RIGHT = {i}" for i in range(6)})
    decide, allowed = fan_out.decide, threading.Semaphore(2)

    def slowly(question, room):
        allowed.acquire(timeout=1)  # the third waits until the run has been stopped
        return decide(question, room)

    monkeypatch.setattr(fan_out, "decide", slowly)
    running = Marking(course, "day", course / "in").run(jobs=1, shared=1)
    assert next(running).total == 5
    running.close()
    before = len(decided)
    assert before < 6
    monkeypatch.setattr(fan_out, "decide", decide)
    assert len(grade(course, jobs=1)) == 6
    assert len(decided) - before in (4, 5)  # the first was kept, and the second if it had been written down
    assert {row["score"] for row in rows(course).values()} == {"5.0"}


def test_one_student_can_be_graded_again_and_the_others_keep_their_points(course, decided):
    hand_in(course, ann="RIGHT = 1", bob="wrong = 1")
    grade(course)
    hand_in(course, bob="RIGHT = 2", ann="wrong = 2")
    (found,) = grade(course, student="bob")
    assert (found.student, found.total) == ("bob", 5) and len(decided) == 3
    assert {name: row["score"] for name, row in rows(course).items()} == {"ann": "5.0", "bob": "5.0"}


def test_equal_answers_are_decided_once_and_count_for_everybody(course, decided):
    hand_in(course, ann="wrong = 1", bob="wrong = 1")
    marking = Marking(course, "day", course / "in")
    assert len(list(marking.run())) == 2 and len(decided) == 1
    text = report(marking.by_question())
    assert "2 x At the start it fades." in text and "2 (100%)" in text


def test_another_version_of_the_library_decides_again(course, decided, monkeypatch):
    hand_in(course, ann="RIGHT = 1")
    grade(course)
    monkeypatch.setattr(edition, "version", lambda: "another")
    grade(course)
    assert len(decided) == 2


def test_marks_given_by_hand_outlive_a_second_grading(course, decided):
    hand_in(course, ann="wrong = 1", bob="wrong = 1")
    assert all(grades.by_hand for grades in grade(course))
    mark(course, "ann", 3.5)
    mark(course, "bob", 1, label="film_check")  # half right, the instructor thinks
    hand_in(course, ann="RIGHT = 1", bob="wrong = 2")
    found = {grades.student: grades for grades in grade(course)}
    assert found["ann"].points == {"film_check": 3, "film_hidden": 2, "why": 3.5} and not found["ann"].by_hand
    assert found["bob"].points["film_check"] == 1 and found["bob"].by_hand
    assert comment(course, "ann") == "Well said."


def test_a_text_that_changed_after_marking_keeps_its_mark_and_asks_for_a_person(course, decided):
    hand_in(course, ann="RIGHT = 1")
    grade(course)
    mark(course, "ann", 2)
    path = course / "in/ann/exercises.ipynb"
    path.write_text(path.read_text().replace("says so", "says otherwise"))
    (found,) = grade(course)
    assert found.points["why"] == 2 and found.by_hand


def test_a_text_left_blank_gets_nothing_and_needs_nobody(course, decided):
    hand_in(course, ann="RIGHT = 1")
    path = course / "in/ann/exercises.ipynb"
    path.write_text(path.read_text().replace("Because ann says so.", "*Your answer here.*"))
    (found,) = grade(course)
    assert found.points["why"] == 0 and not found.by_hand


def test_lateness_costs_its_share_of_what_a_person_marked_too(course, decided):
    hand_in(course, ann="RIGHT = 1", bob="RIGHT = 2", eve="RIGHT = 3")
    (course / "in/arrived.csv").write_text("student,arrived\nann,2026-12-01T18:00Z\nbob,2026-12-03T08:00Z\n")
    with Book(course, "day").open() as book:
        book.find_assignment("day").duedate = datetime.datetime(2026, 12, 1, 18)
        book.db.commit()
    assert {g.student: g.total for g in grade(course)} == {"ann": 5, "bob": 4, "eve": 5}
    mark(course, "bob", 4)
    grade(course)
    assert (rows(course)["bob"]["late_penalty"], rows(course)["bob"]["score"]) == ("1.8", "7.2")
    (course / "in/arrived.csv").unlink()
    grade(course)
    assert rows(course)["bob"]["score"] == "9.0"


def test_two_runs_at_once_are_refused(course, decided):
    hand_in(course, ann="RIGHT = 1")
    with Book(course, "day").only_writer(), pytest.raises(ValueError, match="Another grading run"):
        grade(course)


def test_the_commands_say_what_they_did(course, decided, capsys):
    hand_in(course, ann="RIGHT = 1", bob="wrong = 1")
    (course / "in/bob/torch.py").write_text("raise SystemExit")
    root = ["--root", str(course)]
    assert command.main(["grade", *root, "day", str(course / "in"), "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "ann: 5 of 9 (film_check 3, film_hidden 2, why 0) by hand: open" in shown
    assert "Not read: torch.py. Only exercises.ipynb counts." in shown and "1 x At the start it fades." in shown
    mark(course, "ann", 4)
    assert command.main(["table", *root, "day", "--csv", str(course / "t.csv")]) == 0
    assert "ann,3.0,2.0,4.0,0.0,9.0,9.0,no" in (course / "t.csv").read_text()
    assert command.main(["grade", *root, "day", str(course / "in"), "--jobs", "0"]) == 1
    assert command.main(["feedback", *root, "day", "--student", "eve"]) == 1
    assert "Graded: ann, bob" in capsys.readouterr().err


def test_an_interrupted_command_says_that_it_goes_on(course, decided, monkeypatch, capsys):
    hand_in(course, ann="RIGHT = 1")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Book, "record", interrupted)
    assert command.main(["grade", "--root", str(course), "day", str(course / "in")]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err

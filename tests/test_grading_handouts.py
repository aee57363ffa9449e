"""An update of the course never takes a learner's work away: copies live apart, and what is new is said, then taken in."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.grading.handouts import hand_out, main, news, take_in
from course_lib.grading.notebooks import ROOT, text_of

NAME = "day/exercises.ipynb"


def task(name, source="raise NotImplementedError", **about):
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": name, "solution": True, "locked": False, **about}})


def locked(name, source):
    return task(name, source, solution=False, locked=True)


def monday():
    return [new_markdown_cell("# Film"), locked("setup", "import torch"), task("film"), locked("film_check", "check()")]


def tuesday():
    return [new_markdown_cell("# FiLM"), *monday()[1:], new_markdown_cell("## Bins"), task("bins")]


@pytest.fixture
def course(tmp_path):
    release(tmp_path, monday())
    assert list(hand_out(tmp_path)) == [f"my_exercises/{NAME}: new, and yours to write in."]
    return tmp_path


def release(course, cells):
    (course / "exercises/day").mkdir(parents=True, exist_ok=True)
    (course / "exercises" / NAME).write_text(text_of(new_notebook(cells=cells)))


def mine(course):
    return nbformat.read(course / "my_exercises" / NAME, 4)


def work(course):
    """A learner's evening: an answer, and a cell of their own behind it."""
    notebook = mine(course)
    notebook.cells[2].source = "film = 3"
    notebook.cells.insert(3, new_code_cell("print(film)"))
    (course / "my_exercises" / NAME).write_text(text_of(notebook))


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def test_a_copy_is_made_once_and_then_left_alone(course):
    assert (course / "my_exercises" / NAME).read_bytes() == (course / "exercises" / NAME).read_bytes()
    work(course)
    before = (course / "my_exercises" / NAME).read_bytes()
    assert list(hand_out(course)) == list(hand_out(course, update=True)) == []
    assert (course / "my_exercises" / NAME).read_bytes() == before


def test_a_newer_release_is_told_and_changes_nothing(course):
    work(course)
    before = (course / "my_exercises" / NAME).read_bytes()
    release(course, tuesday())
    for _ in range(2):  # and told again, until it is taken in
        first, second = hand_out(course)
        assert "newer release. New: bins. Cells of text and examples that are new or changed: 2." in first
        assert "Yours is as you left it" in second and "make exercises ARGS=--update" in second
    assert (course / "my_exercises" / NAME).read_bytes() == before


def test_taking_it_in_brings_the_answers_along_and_keeps_the_old_file_to_the_byte(course):
    work(course)
    before = (course / "my_exercises" / NAME).read_bytes()
    release(course, tuesday())
    told = list(hand_out(course, update=True))
    assert "my_exercises/day/exercises_before_update_1.ipynb" in told[1]
    assert (course / "my_exercises/day/exercises_before_update_1.ipynb").read_bytes() == before
    assert sources(mine(course)) == [
        "# FiLM", "import torch", "film = 3", "print(film)", "check()", "## Bins", "raise NotImplementedError",
    ]  # fmt: skip
    nbformat.validate(mine(course))
    assert list(hand_out(course)) == []
    release(course, [*tuesday(), task("mask")])
    list(hand_out(course, update=True))
    assert (course / "my_exercises/day/exercises_before_update_2.ipynb").exists()
    assert (course / "my_exercises/day/exercises_before_update_1.ipynb").read_bytes() == before
    assert "film = 3" in sources(mine(course))


def test_an_untouched_stub_becomes_the_new_one_and_an_answer_stays():
    before, now = new_notebook(cells=monday()), new_notebook(cells=[*monday()[:2], task("film", "raise NewStub")])
    assert sources(take_in(before, before, now))[-1] == "raise NewStub"
    answered = new_notebook(cells=[*monday()[:2], task("film", "one = 1"), task("film", "film = one")])
    assert sources(take_in(answered, before, now))[-1] == "one = 1\n\nfilm = one"
    assert news(before, now) == ["Changed: film."]


def test_an_answer_whose_question_is_gone_stays_as_an_own_cell():
    before, now = new_notebook(cells=monday()), new_notebook(cells=[*monday()[:2], task("bins")])
    answered = new_notebook(cells=[*monday()[:2], task("film", "film = 3"), monday()[3]])
    made = take_in(answered, before, now)
    assert sources(made) == ["# Film", "import torch", "film = 3", "raise NotImplementedError"]
    assert made.cells[2].metadata == {} and news(before, now) == ["New: bins.", "Gone: film."]


def test_text_that_was_taken_out_is_told_too_and_text_of_the_learner_stays():
    before, now = new_notebook(cells=monday()), new_notebook(cells=monday()[1:])
    assert news(before, now) == ["Cells were taken out."] and news(before, before) == []
    noted = new_notebook(cells=[new_markdown_cell("# Film, my notes"), *monday()[1:]])
    assert sources(take_in(noted, before, now))[0] == "# Film, my notes"


def test_a_lost_copy_comes_back_and_a_broken_one_is_named(course, capsys):
    place = course / "my_exercises" / NAME
    place.unlink()
    assert main(["--root", str(course)]) == 0 and place.exists()
    assert "yours to write in" in capsys.readouterr().out
    place.write_text("{")
    release(course, tuesday())
    assert main(["--root", str(course)]) == 0  # it is not looked into
    assert main(["--root", str(course), "--update"]) == 1
    assert place.read_text() == "{" and "Move it away, and you get a fresh one" in capsys.readouterr().err


def test_git_does_not_know_the_learners_folder():
    assert "/my_exercises/" in (ROOT / ".gitignore").read_text().splitlines()

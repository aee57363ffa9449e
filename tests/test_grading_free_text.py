"""Free text, from its source to the student's feedback: released blank, marked by a person, and the rubric stays with us."""

import csv
import io
import json

import pytest
from film_day import film_course

pytest.importorskip("nbgrader")

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

from course_lib.grading import notebooks
from course_lib.grading.__main__ import main
from course_lib.grading.gradebook import Book
from course_lib.grading.intake import repair
from course_lib.grading.notebooks import ROOT, read, sources, write
from course_lib.grading.rubrics import NoRubric, rubrics
from course_lib.grading.sandbox import Sandbox, SandboxBroken

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
QUESTION = """
# %% [markdown]
# ## In your own words
#
# Why inside the vision network? (4 points)

# %% [markdown] nbgrader={"grade_id": "film_words", "solution": true, "points": 4}
# The model answer: the eyes look for what was asked.

# %% [markdown] tags=["worked-solution"]
# **Rubric.**
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 4 | names the eyes and the sentence | "The eyes look for what was asked." |
# | 2.5 | names one of them | "The sentence comes early." |
# | 0 | neither | "It works better." |
"""


@pytest.fixture
def course(tmp_path):
    film_course(tmp_path, "day", QUESTION)
    return tmp_path


def released(course):
    return nbformat.read(course / "exercises/day/exercises.ipynb", 4)


def answer_cell(notebook):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "film_words")


def test_the_released_question_is_blank_and_says_nothing_of_its_rubric(course):
    cell = answer_cell(released(course))
    assert cell.source == "*Your answer here.*" and cell.metadata.nbgrader.points == 4
    assert cell.metadata.nbgrader.grade and cell.metadata.nbgrader.solution and not cell.metadata.nbgrader.locked
    text = (course / "exercises/day/exercises.ipynb").read_text()
    assert not [words for words in ("Rubric", "model answer", "The eyes look", "It works better") if words in text]
    assert "Why inside the vision network?" in text


def test_the_solution_tells_the_instructor_what_each_grade_takes(course):
    (grades,) = rubrics(read(course / "solutions/day/exercises.py")).values()
    assert [grade.points for grade in grades] == [4, 2.5, 0]
    assert grades[1].takes == "names one of them" and grades[2].sample == '"It works better."'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("**Rubric.**", "Rubric:", "film_words: expected below it"),
        ('tags=["worked-solution"]\n# **R', 'tags=["x"]\n# **R', "film_words: expected below it"),
        ('| 0 | neither | "It works better." |', "", "from 4 points down to 0"),
        ("| 4 | names the eyes and the sentence |", "| 3 | names both |", "from 4 points down to 0"),
        ("| 2.5 | names one of them |", "| 5 | names one of them |", "from 4 points down to 0"),
        ("| neither |", "|  |", "film_words: expected below it"),
        ('"points": 4', '"points": 0', "needs points"),
        ("# The model answer: the eyes look for what was asked.", "", "an answer in its cell"),
    ],
)
def test_the_build_refuses_a_question_that_does_not_say_how_it_is_marked(course, capsys, monkeypatch, old, new, says):
    source = course / "solutions/day/exercises.py"
    assert old in source.read_text()
    write(source, source.read_text().replace(old, new))
    with pytest.raises(NoRubric, match=says):
        rubrics(read(source))
    monkeypatch.setattr("sys.argv", ["notebooks", "--root", str(course)])
    assert notebooks.run() == 1 and says in capsys.readouterr().err


def test_every_question_of_the_course_that_a_person_marks_has_a_rubric_that_learners_do_not_see():
    for source in sources(ROOT, "solutions"):
        exercise = ROOT / "exercises" / source.relative_to(ROOT / "solutions").with_suffix(".ipynb")
        texts = [cell.source for cell in nbformat.read(exercise, 4).cells]
        for grades in rubrics(read(source)).values():
            assert not [grade.sample for grade in grades if any(grade.sample in text for text in texts)]
        assert not [text for text in texts if "Rubric" in text]


@pytest.fixture
def graded(course):
    """Three submissions, graded: one with an answer and a picture, one blank, one with its text in a cell below."""
    try:
        Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    for name in ("ann", "bob", "eve"):
        made = released(course)
        place = made.cells.index(answer_cell(made))
        if name == "ann":
            made.cells[place].source = "Because <b>the eyes</b> hear it. ![why](attachment:why.png)"
            made.cells[place].attachments = {"why.png": {"image/png": PNG}}
        if name == "eve":
            made.cells.insert(place + 1, new_markdown_cell("My answer is here.", id="mine"))
        (course / "in" / name).mkdir(parents=True)
        (course / "in" / name / "exercises.ipynb").write_text(json.dumps(made))
    assert main(["grade", "--root", str(course), "day", str(course / "in")]) == 0
    return course


def rows(course):
    return {row["student"]: row for row in csv.DictReader(io.StringIO(Book(course, "day").table()))}


def test_from_the_answer_to_the_feedback_page(graded):
    open_ones = {name: row["needs_marking_by_hand"] for name, row in rows(graded).items()}
    assert open_ones == {"ann": "yes", "bob": "no", "eve": "yes"}
    with Book(graded, "day").open() as book:  # as formgrader does
        grade = book.find_grade("film_words", "exercises", "day", "ann")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        book.find_comment("film_words", "exercises", "day", "ann").manual_comment = "And the sentence?"
        book.db.commit()
    assert main(["table", "--root", str(graded), "day"]) == 0
    assert main(["feedback", "--root", str(graded), "day"]) == 0
    row = rows(graded)["ann"]
    assert (row["film_words"], row["max_score"], row["needs_marking_by_hand"]) == ("2.5", "9.0", "no")
    page = (graded / "feedback/ann/day/exercises.html").read_text()
    assert "2.5 / 4.0" in page and "And the sentence?" in page and f"base64,{PNG}" in page
    assert "Because &lt;b&gt;the eyes&lt;/b&gt; hear it." in page
    assert "Rubric" not in page and "The eyes look" not in page
    assert "My answer is here." in (graded / "autograded/eve/day/exercises.ipynb").read_text()


def cells(*texts):
    """Cells as ``read_submission`` gives them: (text, label) each."""
    return [{"kind": "markdown", "source": text, "label": label, "pictures": {}} for text, label in texts]


def test_text_below_a_blank_answer_is_the_answer_and_text_below_an_answer_is_not():
    about = {"grade_id": "why", "grade": True, "solution": True, "locked": False, "points": 2}
    blank = "*Your answer here.*"
    notebook = new_notebook(cells=[new_markdown_cell(blank, metadata={"nbgrader": about}), new_markdown_cell("Next.")])

    def answer(*texts):
        return repair(cells(*texts), notebook).cells[0].source

    assert answer((blank, "why"), ("one", ""), ("two", ""), ("Next.", ""), ("three", "")) == "one\n\ntwo"
    assert answer(("mine", "why"), ("a note", ""), ("Next.", "")) == "mine"
    assert answer((blank, "why"), ("Next.", ""), ("one", "")) == blank
    code = [*cells((blank, "why")), {"kind": "code", "source": "1 + 1", "label": "", "pictures": {}}, *cells(("one", ""))]
    assert repair(code, notebook).cells[0].source == blank

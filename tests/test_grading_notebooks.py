"""The build command: the same source gives the same bytes, no output outlives its code, no answer reaches the learners."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError

from course_lib.grading import notebooks, release
from course_lib.grading.notebooks import ROOT, build, check, read

LESSON = """\
# %% [markdown]
# # A lesson

# %%
import os, sys, warnings
print(sys.executable, os.getcwd())
warnings.warn("careful")

# %%
1 + 1

# %%
1 + 1

# %% tags=["raises-exception"]
1 / 0
"""
EXERCISE = """\
# %% [markdown]
# # An exercise

# %% nbgrader={"grade_id": "answer", "solution": true}
def answer():
    ### BEGIN SOLUTION
    return "the secret"
    ### END SOLUTION

# %% nbgrader={"grade_id": "answer_check", "points": 2}
assert answer()
### BEGIN HIDDEN TESTS
assert answer() == "hidden"
### END HIDDEN TESTS

# %% [markdown] tags=["worked-solution"]
# How the secret is found.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small course, built once; tests work on copies."""
    pytest.importorskip("nbgrader")
    root = tmp_path_factory.mktemp("built")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    (root / "pyproject.toml").touch()
    for name, text in (("notebooks", LESSON), ("solutions", EXERCISE)):
        (root / name / "day").mkdir(parents=True)
        (root / name / "day" / "one.py").write_text(text)
    assert {path.relative_to(root).as_posix() for path in build(root)} == {
        "notebooks/day/one.ipynb",
        "solutions/day/one.ipynb",
        "exercises/day/one.ipynb",
    }
    return root


@pytest.fixture
def course(built, tmp_path):
    return shutil.copytree(built, tmp_path / "course")


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def test_a_second_build_writes_nothing_and_the_check_is_content(course):
    assert check(course) == []
    assert build(course) == []


def test_an_output_never_outlives_its_code(course):
    source = course / "notebooks/day/one.py"
    source.write_text(LESSON.replace("1 + 1", "1 + 2", 1))
    assert [line for line in check(course) if "edited after it was built" in line and "notebooks/day/one.py" in line]
    build(course)
    outputs = [c["outputs"] for c in cells(course / "notebooks/day/one.ipynb") if c["cell_type"] == "code"]
    assert [o[0]["data"]["text/plain"] for o in outputs[1:3]] == [["3"], ["2"]]
    assert check(course) == []


def test_a_cell_that_fails_stops_the_build_and_leaves_the_old_notebook(course):
    target = course / "notebooks/day/one.ipynb"
    before = target.read_bytes()
    target.with_suffix(".py").write_text(LESSON.replace("1 + 1", "undefined", 1))
    with pytest.raises(CellExecutionError, match="undefined"):
        build(course)
    assert target.read_bytes() == before
    assert len(check(course)) == 1


@pytest.mark.parametrize(
    ("place", "old", "new", "complaint"),
    [
        ("exercises", "raise NotImplementedError", "return 3", "exercises/day/one.ipynb: differs"),
        ("solutions", "the secret", "a secret", "solutions/day/one.ipynb: differs"),
        ("notebooks", '"1 + 1"', '"1 + 3"', "notebooks/day/one.ipynb: cell 3 differs from its source"),
        ("notebooks", '"execution_count": 2', '"execution_count": null', "cells 3 have no outputs"),
        ("notebooks", '"tags": [', '"labels": [', "cell 5 differs from its source"),
        ("notebooks", '"name": "python3"', '"name": "mine"', "notebook metadata differ"),
    ],
)
def test_what_was_edited_by_hand_is_named(course, place, old, new, complaint):
    target = course / place / "day/one.ipynb"
    text = target.read_text()
    assert old in text
    target.write_text(text.replace(old, new))
    assert any(complaint in line and "Run: python -m course_lib.grading.notebooks" in line for line in check(course))
    build(course)
    assert check(course) == []


def test_a_missing_notebook_and_one_without_a_source_are_named(course):
    (course / "exercises/day/one.ipynb").unlink()
    (course / "notebooks/stray.ipynb").write_text("{}")
    assert [line.split(". ")[0] for line in check(course)] == [
        "exercises/day/one.ipynb: has not been built",
        "notebooks/stray.ipynb: has no source",
    ]


def test_the_check_writes_nothing(course):
    (course / "notebooks/day/one.py").write_text(LESSON + "\n# %%\n2\n")
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    assert notebooks.main(["--check", "--root", str(course)]) == 1
    assert before == {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}


def test_outputs_carry_nothing_of_this_machine_or_this_minute(built):
    text = (built / "notebooks/day/one.ipynb").read_text()
    nb = json.loads(text)
    assert str(built) not in text and "ipykernel_" not in text and "timestamp" not in text
    assert set(nb["metadata"]) == {"kernelspec", "language_info", "workbook"}
    assert nb["metadata"]["language_info"] == {"name": "python"}
    assert all(set(c["metadata"]) <= {"nbgrader", "tags"} for c in nb["cells"])
    assert [c["execution_count"] for c in nb["cells"] if c["cell_type"] == "code"] == [1, 2, 3, 4]


def test_the_kernel_is_this_interpreter_and_works_in_the_notebooks_folder(built):
    (printed, warned) = cells(built / "notebooks/day/one.ipynb")[1]["outputs"]
    shown = "".join(printed["text"]).replace("~", str(Path.home()))
    assert Path(shown.split()[0]).name == Path(sys.executable).name
    assert shown.split()[1] == "./notebooks/day" and "careful" in "".join(warned["text"])


def test_ids_are_the_label_or_the_content_and_move_with_their_cell(tmp_path):
    def ids(text):
        (tmp_path / "n.py").write_text(text)
        return [cell.id for cell in read(tmp_path / "n.py").cells]

    a, b, label = "# %%\na = 1\n", "# %%\nb = 2\n", '# %% nbgrader={"grade_id": "film", "solution": true}\nc = 3\n'
    first = ids(a + b + label)
    assert ids(b + label + a) == [first[1], first[2], first[0]] and first[2] == "film"
    assert ids(a + a + b) == [first[0], f"{first[0]}-2", first[1]]
    assert ids(a.replace("1", "4") + b)[0] != first[0]


def test_no_answer_hidden_test_or_worked_solution_reaches_the_learners(built):
    text = (built / "exercises/day/one.ipynb").read_text()
    assert "the secret" not in text and "hidden" not in text.lower() and "How the secret" not in text
    assert "raise NotImplementedError  # your code here" in text and '"editable": false' in text
    assert sorted(p.name for p in (built / "exercises/day").iterdir()) == ["one.ipynb"]


def test_exercises_are_byte_for_byte_what_nbgrader_generates(course):
    ours = (course / "exercises/day/one.ipynb").read_bytes()
    command = [sys.executable, "-W", "ignore", "-m", "nbgrader", "generate_assignment", "day", "--force"]
    subprocess.run(command, cwd=course, check=True, capture_output=True)
    assert (course / "exercises/day/one.ipynb").read_bytes() == ours
    assert sorted(p.name for p in (course / "exercises/day").iterdir()) == ["one.ipynb"]


def test_without_nbgrader_notebooks_are_built_and_the_rest_gets_advice(course, monkeypatch, capsys):
    monkeypatch.setattr(release.importlib.util, "find_spec", lambda name: None)
    (course / "notebooks/day/two.py").write_text("# %%\n2 + 2\n")
    monkeypatch.setattr(sys, "argv", ["notebooks", "--root", str(course)])
    assert notebooks.run() == 1
    assert (course / "notebooks/day/two.ipynb").exists()
    assert "pip install -e '.[grading]'" in capsys.readouterr().err


def test_only_the_named_files_are_built(course, capsys):
    for folder in ("notebooks", "solutions"):
        source = course / folder / "day/one.py"
        source.write_text(source.read_text() + "\n# %% [markdown]\n# More.\n")
    exercise = course / "exercises/day/one.ipynb"
    assert {p.parent.parent.name for p in build(course, [exercise])} == {"solutions", "exercises"}
    assert len(check(course)) == 1
    with pytest.raises(SystemExit):
        notebooks.main(["--root", str(course), str(course / "notebooks/day/nothing.py")])
    assert "no source" in capsys.readouterr().err

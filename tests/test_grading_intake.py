"""What comes in as a submission is rebuilt on the released notebook, or refused with a reason."""

import base64
import json
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.grading import intake
from course_lib.grading.intake import (
    LARGEST,
    Refused,
    blank,
    borrowed,
    other_files,
    read_submission,
    remarks,
    repair,
    with_notes,
)

LABELS = [("setup", False), ("first", True), ("first_check", False), ("second", True), ("second_check", False)]


def released():
    cells = [new_markdown_cell("Read this."), new_code_cell("show(first)")]
    for name, solution in LABELS:
        about = {"grade_id": name, "solution": solution, "locked": not solution} | ({} if name == "setup" else {"points": 2})
        cells.append(new_code_cell(f"released {name}", metadata={"nbgrader": about}))
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def own(source, label=""):
    return {"kind": "code", "source": source, "label": label, "pictures": {}}


def handed_in(answers=("one", "two")):
    first, second = answers
    return [
        own("released setup", "setup"),
        own(first, "first"),
        own("released first_check", "first_check"),
        own(second, "second"),
        own("released second_check", "second_check"),
    ]


def sources(notebook, name):
    return [c.source for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name]


def labels(notebook):
    return [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]


def test_answers_are_kept_and_locked_cells_are_the_released_ones():
    cells = handed_in()
    cells[2]["source"] = "pass  # always right"
    rebuilt = repair(cells, released())
    assert sources(rebuilt, "first") == ["one"] and sources(rebuilt, "first_check") == ["released first_check"]
    assert [c.metadata.nbgrader.get("points") for c in rebuilt.cells] == [None, 2, 2, 2, 2]
    assert remarks(cells, released()) == ["Locked cells that are not as released; the released ones count: first_check."]
    assert remarks(handed_in(), released()) == []
    nbformat.validate(rebuilt)


@pytest.mark.parametrize("gone", range(5))
def test_a_deleted_cell_comes_back_in_its_place(gone):
    cells = handed_in()
    name = cells.pop(gone)["label"]
    rebuilt = repair(cells, released())
    assert labels(rebuilt) == [label for label, _ in LABELS]
    assert sources(rebuilt, name) == [f"released {name}"]
    assert remarks(cells, released()) == [f"Put back, because they were missing: {name}."]


def test_a_deleted_answer_comes_back_below_its_question_and_not_below_an_earlier_one():
    notebook = released()
    notebook.cells.insert(5, new_markdown_cell("## The second question"))
    cells = [*handed_in()[:3], {"kind": "markdown", "source": "## The second question", "label": "", "pictures": {}}]
    order = [c.source for c in repair(cells, notebook).cells]
    assert order[-3:] == ["## The second question", "released second", "released second_check"]


def test_everything_deleted_is_a_blank_notebook():
    assert labels(repair([], released())) == [label for label, _ in LABELS]
    assert "why not" in blank(released(), "why not").cells[0].source


def test_copied_or_split_answers_become_one_and_copied_checks_are_dropped():
    cells = handed_in()
    cells[1:2] = [own("half = 1", "first"), own("helper = 2"), own("one = half", "first")]
    cells += [cells[-1], cells[0]]
    rebuilt = repair(cells, released())
    assert sources(rebuilt, "first") == ["half = 1\n\none = half"]
    assert sorted(labels(rebuilt)) == sorted(label for label, _ in LABELS)
    order = [c.source for c in rebuilt.cells]
    assert order.index("helper = 2") < order.index("half = 1\n\none = half")
    (line,) = remarks(cells, released())
    assert "several times" in line and line.endswith("setup, first, second_check.")


def test_own_cells_stay_where_they_stood_and_unknown_labels_are_forgotten():
    cells = handed_in()
    cells.insert(1, own("mine = 1", "not_a_label"))
    rebuilt = repair(cells, released())
    assert rebuilt.cells[1].source == "mine = 1" and rebuilt.cells[1].metadata == {}
    assert len({cell.id for cell in rebuilt.cells}) == len(rebuilt.cells)
    (line,) = remarks(cells, released())
    assert "another release" in line and line.endswith("not_a_label.")


def test_the_setup_of_an_older_release_runs_before_this_ones():
    cells = handed_in()
    cells[0]["source"] = "import what_the_older_release_used"
    rebuilt = repair(cells, released())
    assert [c.source for c in rebuilt.cells[:2]] == ["import what_the_older_release_used", "released setup"]
    assert rebuilt.cells[0].metadata == {} and sources(rebuilt, "setup") == ["released setup"]
    assert remarks(cells, released()) == ["Locked cells that are not as released; the released ones count: setup."]


def test_an_answer_that_uses_the_courses_own_code_is_pointed_out():
    cells = handed_in(answers=("from course_lib.rt1 import FiLM", "two"))
    cells += [own("import course_lib"), {**own("course_lib is nice"), "kind": "markdown"}]
    assert borrowed(cells, released()) == ["Uses the course's own code, to be looked at: first, cell 6."]
    assert borrowed(handed_in(), released()) == []
    notebook = released()
    notebook.cells[3].source = "import course_lib  # stub"  # the stub of this answer asks for it
    assert borrowed(cells[:5], notebook) == []


def test_the_student_reads_what_was_put_right():
    cells = handed_in()[1:]
    noted = with_notes(repair(cells, released()), remarks(cells, released()))
    assert "- Put back, because they were missing: setup." in noted.cells[0].source and noted.cells[0].metadata == {}
    nbformat.validate(noted)
    tidy = repair(handed_in(), released())
    assert with_notes(tidy, remarks(handed_in(), released())).cells == repair(handed_in(), released()).cells


def test_cells_that_stand_as_they_were_released_are_known():
    rebuilt = repair([own("show(first)\n"), own("show(second)"), *handed_in()], released())
    assert [cell.metadata for cell in rebuilt.cells[:2]] == [{"released": True}, {}]


def test_pasted_pictures_come_in_and_nothing_else_does():
    png, jpeg = (base64.b64encode(begin + b"rest").decode() for begin in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
    attachments = {
        "plot.png": {"image/png": png},
        "photo.jpg": {"image/jpeg": jpeg, "text/html": "<script>"},
        "drawing.svg": {"image/svg+xml": png},
        "lie.png": {"image/png": jpeg},
        "broken.png": {"image/png": "not base64 ''"},
        "odd.png": {"image/png": "ä"},
        "list.png": {"image/png": [png]},
        "bad\ud800.png": {"image/png": png},
    }
    source = "![](attachment:plot.png)"
    cell = {"cell_type": "markdown", "source": source, "attachments": attachments, "metadata": {"x": 1}}
    kept = intake._cell(cell)
    assert kept["pictures"] == {"plot.png": {"image/png": png}, "photo.jpg": {"image/jpeg": jpeg}}
    (made,) = (c for c in repair([kept], released()).cells if c.source == source)
    assert made.attachments == kept["pictures"] and made.metadata == {}
    nbformat.validate(repair([kept], released()))


def test_other_files_are_named_and_not_opened(tmp_path):
    for name in ("n.ipynb", "torch.py", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert other_files(tmp_path / "n.ipynb") == ["link", "notes.txt", "torch.py"]
    assert other_files(tmp_path / "nobody" / "n.ipynb") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not a notebook that can be read"),
        (b"[" * 100_000, "not a notebook that can be read"),
        (b"\xff\xfe\x00", "not a notebook that can be read"),
        (b"[]", "not a notebook that can be read"),
        (b'{"worksheets": []}', "not a notebook that can be read"),
        (b'{"cells": [3]}', "not a notebook that can be read"),
        (b'{"cells": [{"cell_type": "code", "source": [1]}]}', "not a notebook that can be read"),
        (b'{"cells": [{"cell_type": "code", "source": "", "metadata": []}]}', "not a notebook that can be read"),
        (b'{"cells": [{"cell_type": ["code"], "source": ""}]}', "not a notebook that can be read"),
        (b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}', "not a notebook that can be read"),
        (b'{"cells": [{"cell_type": "code", "source": "%s"}]}' % (b"x" * 500_001), "more than 2000 cells or 500000 char"),
        (b'{"cells": [%s]}' % b",".join([b'{"cell_type": "code", "source": ""}'] * 2001), "more than 2000 cells"),
        (b" " * (LARGEST + 1), "at most 20 MB"),
        (None, "No n.ipynb was handed in"),
    ],
)
def test_what_is_no_notebook_is_refused_with_a_reason(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "n.ipynb").write_bytes(content)
    with pytest.raises(Refused, match=reason):
        read_submission(tmp_path / "n.ipynb", tmp_path)


def test_nothing_behind_a_link_is_read(tmp_path):
    good = json.dumps({"cells": [{"cell_type": "code", "source": ["a\n", "b"], "metadata": {}}]})
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "ann", outside):
        folder.mkdir(parents=True)
        (folder / "n.ipynb").write_text(good)
    assert read_submission(inside / "ann/n.ipynb", inside) == [own("a\nb")]
    (inside / "bob").symlink_to(outside)
    (inside / "ann/linked.ipynb").symlink_to(inside / "ann/n.ipynb")
    for path in ("bob/n.ipynb", "ann/linked.ipynb"):
        with pytest.raises(Refused, match="link to another place"):
            read_submission(inside / path, inside)


def test_a_link_to_itself_and_a_closed_file_are_refused(tmp_path, monkeypatch):
    (tmp_path / "n.ipynb").symlink_to(tmp_path / "n.ipynb")
    with pytest.raises(Refused, match=r"cannot be opened|link to another place"):
        read_submission(tmp_path / "n.ipynb", tmp_path)
    (tmp_path / "closed.ipynb").touch()

    def closed(*_):
        raise PermissionError

    monkeypatch.setattr(intake.os, "open", closed)
    with pytest.raises(Refused, match=r"cannot be opened \(PermissionError\)"):
        read_submission(tmp_path / "closed.ipynb", tmp_path)


def test_a_folder_or_a_pipe_in_the_notebooks_place_is_refused(tmp_path):
    (tmp_path / "n.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name in ("n.ipynb", "pipe.ipynb"):
        with pytest.raises(Refused, match="is not a file"):
            read_submission(tmp_path / name, tmp_path)

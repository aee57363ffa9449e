"""A grading run keeps the course as it was when it began, whoever updates the files meanwhile."""

import grading_attacks as attacks
import pytest

pytest.importorskip("nbgrader")

from course_lib.grading import edition
from course_lib.grading.sandbox import Sandbox, SandboxBroken
from course_lib.grading.score import Question, decide


@pytest.fixture
def library(tmp_path):
    for name in ("a.py", "room/b.py", "room/b.js"):
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(f"{name} of yesterday")
    return tmp_path / "lib"


def test_a_copy_stays_what_it_was_when_the_course_is_updated(library, tmp_path):
    copy = edition.take(library, tmp_path / "copy")
    before = edition.fingerprint_of(copy)
    assert before == edition.fingerprint_of(library)
    assert {p.relative_to(copy).as_posix() for p in copy.rglob("*.*")} == {"a.py", "room/b.py", "room/b.js"}
    assert (copy / "a.py").stat().st_mtime == (library / "a.py").stat().st_mtime
    (library / "room/b.py").write_text("of today")
    assert edition.fingerprint_of(copy) == before != edition.fingerprint_of(library)


def test_a_file_that_vanishes_while_it_is_copied_is_left_out(library, tmp_path, monkeypatch):
    copying = edition.shutil.copy2

    def vanishes(path, target):
        if path.name == "b.js":
            path.unlink()
        return copying(path, target)

    monkeypatch.setattr(edition.shutil, "copy2", vanishes)
    copy = edition.take(library, tmp_path / "copy")
    assert {p.name for p in copy.rglob("*.*")} == {"a.py", "b.py"}


def test_one_process_takes_one_copy_and_its_version_is_that_of_the_copy():
    assert edition.folder() == edition.folder() != edition.LIBRARY
    assert edition.version() == edition.fingerprint_of(edition.folder())


def test_the_sandbox_runs_the_copy_and_not_what_lies_in_the_course_now(tmp_path, monkeypatch):
    try:
        walls = Sandbox()
    except SandboxBroken as reason:
        pytest.skip(str(reason))
    copy = edition.take(edition.folder(), tmp_path / "copy")
    answers = copy / "grading/answer.py"
    answers.write_text(answers.read_text() + "\nreport_on = lambda job: pack({'groups': 'of the copy'}, {})\n")
    monkeypatch.setattr(edition, "folder", lambda: copy)
    with walls.open() as room:
        outcome = room.run(b"")
        assert b"of the copy" in outcome.report
    cells = [{"role": "answer", "source": "import torch\nfrom torch import nn\n" + attacks.RIGHT}]
    monkeypatch.undo()
    with walls.open() as room:
        assert decide(Question("film", ["check"], cells), room)["film_check"].check.passed

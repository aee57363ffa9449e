"""`make lab` from nothing, again, after an interruption, after a change, beside another one, and on a busy port."""

import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
from jupyter_server.services.config.manager import ConfigManager
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]


def load(name):
    """A script of `.ci`, which is no package, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"course_{name}", ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lab = load("lab")


class Course:
    """A course folder with a set-up whose installs are only written down. `fail` is what the next one does instead."""

    def __init__(self, folder, monkeypatch):
        self.setup, self.root, self.venv = load("setup"), folder, folder / ".venv"
        self.installs, self.fail = [], None
        for name in ("pyproject.toml", "requirements.txt", "requirements-test.txt"):
            (folder / name).write_text("one\n")
        monkeypatch.setattr(self.setup, "ROOT", folder)
        monkeypatch.setattr(self.setup, "install", self.install)
        monkeypatch.setattr(self.setup, "create", self.create)

    def create(self, venv):
        shutil.rmtree(venv, ignore_errors=True)
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(sys.executable)

    def install(self, venv, *arguments):
        self.installs.append(arguments)
        if self.fail is not None:
            outcome, self.fail = self.fail, None
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        self.package("numpy-2.4.6").mkdir(parents=True, exist_ok=True)
        return True

    def package(self, name):
        return self.venv / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info"

    def make(self, level="lab"):
        return self.setup.main(level)

    def plan(self, level="lab"):
        return self.setup.plan(self.venv, level, self.root)[0]


@pytest.fixture
def course(tmp_path, monkeypatch):
    return Course(tmp_path, monkeypatch)


def test_it_accepts_the_pythons_of_pyproject():
    setup, project = load("setup"), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = SpecifierSet(project["requires-python"])
    inside = [minor for minor in range(6, 30) if setup.OLDEST <= (3, minor) <= setup.NEWEST]
    assert inside == [minor for minor in range(6, 30) if f"3.{minor}" in allowed]


def test_the_first_time_everything_is_installed_and_the_second_time_nothing(course):
    assert course.plan() == "build"
    assert course.make() == 0
    assert course.installs[0] == ("-r", "requirements.txt", "-e", ".")
    assert course.plan() == "skip"
    course.installs.clear()
    assert course.make() == 0 and course.installs == []


@pytest.mark.parametrize("killed", [KeyboardInterrupt(), SystemExit(137)])
def test_a_set_up_that_was_killed_is_begun_again(course, killed):
    course.fail = killed
    if isinstance(killed, KeyboardInterrupt):
        assert course.make() == 130
    else:
        with pytest.raises(SystemExit):
            course.make()
    (course.venv / "half a package").touch()
    assert course.plan() == "build"
    assert course.make() == 0
    assert course.plan() == "skip" and not (course.venv / "half a package").exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt", "requirements-test.txt"])
def test_a_changed_list_of_packages_is_installed(course, name):
    course.make()
    (course.root / name).write_text("two\n")
    assert course.plan() == "update"


def test_an_environment_remembers_its_place(course):
    course.make()
    assert course.setup.plan(course.venv, "lab", Path("/elsewhere"))[0] == "build"


@pytest.mark.parametrize("text", ["", '{"level": "lab"', "[]", '{"level": "lab"}'])
def test_a_damaged_note_means_begin_again(course, text):
    course.make()
    (course.venv / "course.json").write_text(text)
    assert course.plan() == "build"


def test_a_python_that_does_not_run_means_begin_again(course):
    course.make()
    (course.venv / "bin" / "python").unlink()
    assert course.plan() == "build"
    (course.venv / "bin" / "python").symlink_to("/nowhere/python3.11")
    assert course.plan() == "build"


def test_a_package_that_was_removed_or_upgraded_by_hand_comes_back(course):
    course.make()
    course.package("numpy-2.4.6").rename(course.package("numpy-3.0.0"))
    assert course.plan() == "update"
    assert course.make() == 0 and course.plan() == "skip"


def test_an_environment_made_by_hand_is_completed_and_not_deleted(course):
    course.create(course.venv)
    (course.venv / "mine").touch()
    assert course.make() == 0 and (course.venv / "mine").exists() and course.plan() == "skip"


def test_tests_add_to_the_environment_and_lab_takes_nothing_away(course):
    course.make()
    assert course.plan("test") == "update"
    course.make("test")
    assert course.plan("lab") == "skip"
    (course.root / "pyproject.toml").write_text("two\n")
    course.make("lab")
    assert course.installs[-1][1] == "requirements-test.txt" and course.plan("test") == "skip"


def test_without_a_network_an_update_keeps_what_was_there(course, capsys):
    course.make()
    (course.root / "requirements.txt").write_text("two\n")
    course.fail = False
    assert course.make() == 1
    assert "Try the same command again" in capsys.readouterr().out
    assert course.plan() == "update" and course.package("numpy-2.4.6").exists()


def test_missing_language_weights_are_one_line_and_not_a_failure(course, capsys):
    real = course.install

    def no_weights(venv, *arguments):
        return "--no-deps" not in arguments and real(venv, *arguments)

    course.setup.install = no_weights
    assert course.make() == 0 and course.plan() == "skip"
    assert capsys.readouterr().out.count("make language") == 1
    assert course.make("language") == 1  # asked for by name, it is a failure
    course.setup.install = real
    assert course.make("language") == 0 and "requirements-language.txt" in course.installs[-1]


def test_a_full_disk_is_said_before_anything_is_deleted(course, monkeypatch):
    course.make()
    usage = namedtuple("Usage", "total used free")(100e9, 98e9, 2e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(course.setup.SetupError, match=r"Expected 7 GB free .* got 2\.0\. Try"):
        load_create(course)(course.venv)
    assert course.plan() == "skip"


def load_create(course):
    """The real `create`, which `Course` replaced, in the folder of the course."""
    fresh = load("setup")
    fresh.ROOT, fresh.SetupError = course.root, course.setup.SetupError
    return fresh.create


def test_a_fresh_environment_is_marked_unfinished_until_the_end(course):
    load_create(course)(course.venv)
    assert course.setup.version_of(course.venv / "bin" / "python") == sys.version_info[:2]
    assert course.plan() == "build"


def test_two_set_ups_in_one_folder_take_turns(course, capsys):
    folder = os.open(course.root, os.O_RDONLY)
    course.setup.fcntl.flock(folder, course.setup.fcntl.LOCK_EX)
    second = threading.Thread(target=course.make)
    second.start()
    second.join(0.5)
    assert second.is_alive() and course.installs == []
    os.close(folder)
    second.join(30)
    assert not second.is_alive() and course.plan() == "skip" and "waiting" in capsys.readouterr().out


@pytest.mark.parametrize("shown", [False, True])
def test_panels_of_nbgrader_are_switched(tmp_path, shown):
    setup, folder = load("setup"), tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    theirs = {f"nbgrader.server_extensions.{page}": not shown for page in setup.NBGRADER_PAGES}
    (folder / "nbgrader.json").write_text(json.dumps({"ServerApp": {"jpserver_extensions": theirs}}))
    setup.show_panels(tmp_path, shown)
    merged = ConfigManager(read_config_path=[str(tmp_path)]).get("jupyter_server_config")  # as Jupyter reads them
    assert set(merged["ServerApp"]["jpserver_extensions"].values()) == {shown}
    page = json.loads((tmp_path / "labconfig" / "page_config.json").read_text())
    assert page["disabledExtensions"]["@jupyter/nbgrader"] is not shown


@pytest.fixture
def busy_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_busy_port_names_the_program_and_another_port(busy_port):
    with pytest.raises(ValueError, match=rf"Expected port {busy_port} to be free.*process {os.getpid()}.*make lab PORT=\d+"):
        lab.choose_port(str(busy_port))


def test_without_a_wish_the_next_free_port_is_taken_and_said(busy_port, monkeypatch, capsys):
    monkeypatch.setattr(lab, "FIRST_PORT", busy_port)
    port = lab.choose_port("")
    assert busy_port < port < busy_port + lab.PORTS
    assert f"port {busy_port} is used by" in capsys.readouterr().out


def test_a_free_port_is_taken_as_asked(busy_port):
    free = lab.first_free()
    assert lab.choose_port(str(free)) == free


@pytest.mark.parametrize("wanted", ["abc", "80", "70000", "-1", "8888.0", "８８８８x"])
def test_a_port_that_is_no_port_is_refused(wanted):
    with pytest.raises(ValueError, match=r"Expected PORT to be a number from 1024 to 65535, got .* Try"):
        lab.choose_port(wanted)

"""One warm sandbox, many answers: none of them sees the machine, the parent, or what another one left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grading_attacks as attacks
import grading_escapes as escapes
import numpy as np
import pytest

pytest.importorskip("nbgrader")

from course_lib.classroom.checks import EXERCISES
from course_lib.grading import sandbox
from course_lib.grading.envelope import pack
from course_lib.grading.notebooks import ROOT
from course_lib.grading.sandbox import Limits, Sandbox, SandboxBroken
from course_lib.grading.score import Question, decide

SETUP = "import torch\nfrom torch import nn\n"


@pytest.fixture(scope="module")
def walls():
    """Skips, with the reason, where submitted code cannot be kept in."""
    try:
        return Sandbox(Limits(seconds=60, cpu_seconds=5))
    except SandboxBroken as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def room(walls):
    with walls.open() as opened:
        yield opened


def tried(room, answer):
    cells = [{"role": "other", "source": SETUP}, {"role": "answer", "source": answer}]
    return decide(Question("film", ["check"], cells), room, seed=0)["film_check"].check


def wins(room, attack):
    """Did the attack find what it should not reach?"""
    check = tried(room, attack + attacks.ONLY_IF_IT_WINS)
    assert check.state in ("passed", "not yet"), check  # it ran to its end
    return check.passed


def test_the_test_can_tell_an_attack_that_wins(room):
    assert wins(room, "wins = True") and not wins(room, "wins = False")


@pytest.mark.parametrize(
    "bad", ["import os\nos._exit(0)", "while True: pass", "import ctypes\nctypes.string_at(0)", "1 / 0"]
)
def test_an_answer_that_goes_wrong_costs_only_itself(room, bad):
    assert tried(room, bad).state == "error in your code"
    assert tried(room, attacks.RIGHT).passed


def test_nothing_is_left_for_the_next_answer(room):
    assert not wins(room, escapes.FINDS_WHAT_WAS_LEFT.replace("MARK", "2718.2"))
    assert wins(
        room, escapes.LEAVES_THINGS.replace("MARK", "2718.2") + escapes.FINDS_WHAT_WAS_LEFT.replace("MARK", "2718.2")
    )
    assert not wins(room, escapes.FINDS_WHAT_WAS_LEFT.replace("MARK", "2718.2"))


def test_the_parent_cannot_be_touched_or_looked_into(room):
    parent = room._process.pid
    assert not wins(room, escapes.TOUCHES_OTHER_PROCESSES)
    assert room._process.pid == parent and tried(room, attacks.RIGHT).passed


@pytest.mark.parametrize("call", escapes.SYSTEM_CALLS)
def test_system_calls_that_ask_for_more_are_refused(room, call):
    assert not wins(room, escapes.CALLS_THE_KERNEL.replace("CALL", escapes.SYSTEM_CALLS[call]))


def test_an_answer_has_no_powers_and_shares_no_memory(room):
    assert not wins(room, escapes.HAS_POWERS)


def test_a_sandbox_that_dies_costs_one_answer_and_starts_again(walls):
    with walls.open() as room:
        assert tried(room, attacks.RIGHT).passed
        threading.Timer(1, os.kill, (room._process.pid, signal.SIGKILL)).start()
        check = tried(room, "import time\ntime.sleep(30)\n" + attacks.RIGHT)
        assert check.state == "error in your code" and "brought the sandbox down" in check.message
        assert tried(room, attacks.RIGHT).passed


def test_time_on_the_clock_is_limited_too(walls):
    with Sandbox(Limits(seconds=3)).open() as room:
        check = tried(room, "import time\ntime.sleep(1000)")
    assert "did not come to an end within 3 seconds" in check.message


def test_everything_ends_with_the_sandbox(walls):
    with walls.open() as room:
        tried(room, "import subprocess\nsubprocess.Popen(['sleep', '1618.03'], start_new_session=True)\n" + attacks.RIGHT)
        process = room._process
    assert process.poll() is not None
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert not [line for line in running if b"1618.03" in line]


@pytest.fixture
def stubborn_kernel(tmp_path, monkeypatch):
    """A runner on a machine where a namespace inside a namespace is forbidden."""
    script = tmp_path / "stubborn.py"
    script.write_text(
        "from course_lib.grading import runner, walls\n"
        "def separate(): raise OSError('forbidden')\n"
        "walls.separate = separate\nrunner.main()\n"
    )
    tmp_path.chmod(0o755)
    readable = sandbox._readable()
    monkeypatch.setattr(sandbox, "_readable", lambda: [*readable, str(tmp_path)])
    monkeypatch.setattr(sandbox.runner, "__file__", str(script))


def test_without_inner_walls_every_answer_gets_a_sandbox_of_its_own(walls, stubborn_kernel):
    begun = []
    with walls.open() as room:
        begin = room._begin
        room._begin = lambda: begun.append(begin())
        assert not wins(room, "open('/tmp/left', 'w').write('x')\nwins = False")
        assert not wins(room, "import os\nwins = os.path.exists('/tmp/left')")
    assert len(begun) == 2


def test_a_sandbox_that_fails_is_nobodys_wrong_answer(walls, monkeypatch):
    monkeypatch.setattr(sandbox.runner, "__file__", str(ROOT / "not_there.py"))
    with walls.open() as room, pytest.raises(SandboxBroken, match=r"(?s)does not start here.*not_there"):
        tried(room, attacks.RIGHT)


def test_inner_walls_that_fail_are_nobodys_wrong_answer(walls, monkeypatch):
    with walls.open() as room:
        assert tried(room, attacks.RIGHT).passed
        cases = EXERCISES["film"].draw(np.random.default_rng(0), False)
        job = pack({"exercise": "film", "cells": [], "groups": {"check": 0}}, {"check.0.x": cases[0]["x"]})
        exchange = room._exchange
        monkeypatch.setattr(room, "_exchange", lambda *a: {**exchange(*a), "entered": False})
        with pytest.raises(SandboxBroken, match="failed before it came to the answer"):
            room.run(job)


def test_a_checkout_below_tmp_is_still_seen_inside_the_walls(walls, monkeypatch, tmp_path):
    (tmp_path / "here").write_text("seen")
    tmp_path.chmod(0o755)
    readable = sandbox._readable()
    monkeypatch.setattr(sandbox, "_readable", lambda: [*readable, str(tmp_path)])
    done = subprocess.run(walls._command(["cat", str(tmp_path / "here")]), capture_output=True, text=True, check=False)
    assert done.stdout == "seen", done.stderr


def test_a_checkout_below_tmp_is_seen_by_every_answer_and_changed_by_none(walls, monkeypatch, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/here").write_text("seen")
    place, readable = tmp_path / "inside", sandbox._readable()
    monkeypatch.setattr(sandbox, "_readable", lambda: [*readable, str(place)])
    changes = [f"open('{place}/here', 'w')", f"open('{place}/new', 'w')", f"__import__('os').remove('{place}/here')"]
    with walls.open() as room:
        for _ in range(2):
            assert wins(room, f"wins = open('{place}/here').read() == 'seen'")
            for change in changes:
                assert not wins(room, f"wins = True\ntry:\n    {change}\nexcept OSError:\n    wins = False")
            assert wins(room, f"wins = __import__('os').listdir('{tmp_path}') == ['inside']")


def test_an_environment_that_is_a_link_works_inside_the_walls(walls, monkeypatch, tmp_path):
    link = tmp_path / "environment"
    link.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(link / Path(sys.executable).relative_to(sys.prefix)))
    monkeypatch.setattr(sys, "prefix", str(link))
    with walls.open() as room:
        assert tried(room, attacks.RIGHT).passed


def test_the_sandbox_opens_nothing_that_is_heavy_or_decides():
    program = "import sys, json, course_lib.grading.runner; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
    assert not {"matplotlib", "ipywidgets", "nbgrader", "torch", "gymnasium", "course_lib.grading.score"} & set(loaded)


def test_without_walls_the_same_attack_wins(tmp_path):
    places = repr([str(ROOT / "solutions"), str(tmp_path / "here")])
    with Sandbox(unsafe=True).open() as room:
        assert wins(room, attacks.FILES.replace("PLACES", places))
    deadline = time.monotonic() + 10
    while not (tmp_path / "here.stolen").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    stolen = tmp_path / "here.stolen"
    assert stolen.exists()
    stolen.unlink()  # other tests look for what was stolen behind walls

"""Over threads or over a Dask cluster: the same verdicts, and a worker that dies loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import grading_attacks as attacks
import pytest

pytest.importorskip("nbgrader")

from course_lib.grading import edition, fan_out
from course_lib.grading.fan_out import ask_everybody
from course_lib.grading.sandbox import Limits, Sandbox, SandboxBroken
from course_lib.grading.score import Question

SETUP = {"role": "other", "source": "import time\nimport torch\nfrom torch import nn\n"}


@pytest.fixture(scope="module")
def sandbox():
    """Skips, with the reason, where submitted code cannot be kept in."""
    try:
        return Sandbox(Limits(cpu_seconds=10))
    except SandboxBroken as reason:
        pytest.skip(str(reason))


def class_of(n):
    """Questions of ``n`` students, every second of them right; and the points they deserve, by key."""
    asked, right = {}, {}
    for i in range(n):
        answer = attacks.RIGHT if i % 2 == 0 else attacks.NO_ONE_PLUS
        question = Question("film", ["check"], [SETUP, {"role": "answer", "source": f"time.sleep(0.5)  # {i}\n{answer}"}])
        asked[f"student{i}"] = {f"key{i}": question}
        right[f"key{i}"] = i % 2 == 0
    return asked, right


def passed(found):
    return {key: verdicts["film_check"].check.passed for key, verdicts in found.items()}


def test_everybody_gets_the_verdict_of_their_own_answer(sandbox):
    asked, right = class_of(4)
    found = {}
    for batch in ask_everybody(asked, sandbox, ("torch",), jobs=2, shared=2):
        found |= batch
    assert passed(found) == right


def test_batches_hold_a_few_students_and_equal_answers_only_once():
    asked, _ = class_of(7)
    asked["twin"] = asked["student0"]
    batches = list(fan_out._batches(asked, jobs=2, shared=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert sorted(key for batch in batches for key in batch) == sorted(f"key{i}" for i in range(7))
    assert [len(batch) for batch in fan_out._batches(dict(list(asked.items())[:2]), jobs=2, shared=5)] == [1, 1]


def test_a_broken_sandbox_stops_everything(sandbox, monkeypatch):
    def broken(*_):
        raise SandboxBroken("no walls")

    monkeypatch.setattr(fan_out, "decide", broken)
    with pytest.raises(SandboxBroken, match="no walls"):
        list(ask_everybody(class_of(3)[0], sandbox, (), jobs=2))


def test_a_worker_with_another_version_is_refused(sandbox):
    with pytest.raises(ValueError, match="another version of course_lib"):
        fan_out.try_batch({}, {}, False, (), "another")


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(sandbox, tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[fan-out]'")
    edition.take(edition.LIBRARY, tmp_path / "course_lib")
    places = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])  # the copy comes before what is installed
    program = [sys.executable, str(Path(__file__).with_name("cluster_that_loses_a_worker.py"))]
    done = subprocess.run(program, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"] == told["right"] == class_of(6)[1] and told["workers"] == 2


def test_no_scheduler_and_no_dask_are_said_in_words(sandbox, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(fan_out, "PATIENCE", 1)
    with pytest.raises(ValueError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9"):
        list(ask_everybody(class_of(1)[0], sandbox, (), scheduler="tcp://127.0.0.1:9"))
    monkeypatch.setattr(fan_out.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[fan-out\]'"):
        list(ask_everybody(class_of(1)[0], sandbox, (), scheduler="tcp://127.0.0.1:9"))

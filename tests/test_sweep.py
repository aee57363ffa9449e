"""Sweeps: every run once, what is done stays done, and a broken run breaks nothing else."""

import json
import signal
import threading

import pytest

from course_lib.learn import sweep as module
from course_lib.learn.sweep import SweepError, file_name, finished, sweep, write_row

SQUARE, MOODY = "sweep_work:square", "sweep_work:moody"


def numbers(*values):
    return [{"x": x} for x in values]


def test_each_run_gets_a_row_in_the_order_asked_for(tmp_path):
    rows = sweep(SQUARE, numbers(3, 1, 2), tmp_path, workers=2, about={"commit": "abc"}, progress=False)
    assert [row["result"]["square"] for row in rows] == [9, 1, 4]
    assert all(row["commit"] == "abc" and row["seconds"] >= 0 for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {file_name(run) for run in numbers(3, 1, 2)}  # nothing else left


def test_a_sweep_that_is_started_again_does_only_what_is_missing(tmp_path):
    first = sweep(SQUARE, numbers(1), tmp_path, workers=1, progress=False)
    both = sweep(SQUARE, numbers(2, 1), tmp_path, workers=1, progress=False)
    assert both[1] == first[0] and both[0]["result"]["square"] == 4
    assert finished(numbers(5, 1), tmp_path) == first


def test_two_workers_work_at_the_same_time_and_share_the_cores(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    runs = [{"folder": str(room), "me": name} for name in ("a", "b")]
    rows = sweep("sweep_work:meet", runs, tmp_path / "rows", workers=2, progress=False)
    assert all(row["result"]["met"] for row in rows)


def test_a_killed_or_failing_worker_loses_only_its_own_run(tmp_path):
    runs = [{"how": how} for how in ("killed", "fine", "fail")]
    with pytest.raises(SweepError) as caught:
        sweep(MOODY, runs, tmp_path, workers=2, progress=False)
    text = str(caught.value)
    assert "2 of 3" in text and f"signal {int(signal.SIGKILL)}" in text and "does not like its settings" in text
    assert [row["result"]["how"] for row in finished(runs, tmp_path)] == ["fine"]


def test_an_interrupted_sweep_stops_its_workers_and_keeps_the_rows_it_has(tmp_path, monkeypatch):
    children, start = [], module._Child.start

    def remembered(*arguments):
        children.append(start(*arguments))
        return children[-1]

    def interrupted(seconds):
        if finished([{"how": "fine"}], tmp_path) and any(child.part() == 0.25 for child in children):
            raise KeyboardInterrupt
        threading.Event().wait(seconds)

    monkeypatch.setattr(module._Child, "start", remembered)
    monkeypatch.setattr(module.time, "sleep", interrupted)
    runs = [{"how": "slow"}, {"how": "fine"}]
    with pytest.raises(KeyboardInterrupt):
        sweep(MOODY, runs, tmp_path, workers=2, progress=False)
    assert all(child.process.poll() is not None for child in children)
    assert [path.name for path in tmp_path.iterdir()] == [file_name(runs[1])]


def test_a_row_of_other_settings_is_not_taken_for_this_run(tmp_path):
    row = {"run": {"x": 1}, "result": {}}
    (tmp_path / file_name({"x": 2})).write_text(json.dumps(row))
    with pytest.raises(ValueError, match="another run"):
        sweep(SQUARE, numbers(2), tmp_path, progress=False)


def test_names_are_readable_and_differ_where_settings_differ():
    a, b = file_name({"language": "film", "seed": 1}), file_name({"seed": 2, "language": "film"})
    assert a.startswith("film-1-") and b.startswith("film-2-") and a != b
    assert file_name({"x": "1"}) != file_name({"x": 1})
    assert file_name({"x": 1, "y": 2}) == file_name({"y": 2, "x": 1})


@pytest.mark.parametrize("run", [{"x": (1, 2)}, {"x": {1}}, {"x": float("nan")}, {"x": {1: 2}}])
def test_settings_that_json_would_change_are_refused(run):
    with pytest.raises(ValueError, match=r"JSON|dictionary"):
        file_name(run)


def test_repeated_runs_and_unknown_work_are_refused(tmp_path):
    with pytest.raises(ValueError, match="differ"):
        sweep(SQUARE, numbers(1, 1), tmp_path)
    with pytest.raises(ValueError, match="at least one worker, got 0"):
        sweep(SQUARE, numbers(1), tmp_path, workers=0)
    with pytest.raises(ValueError, match="module:function"):
        module.one_row("sweep_work", {"x": 1}, {})


def test_every_worker_has_its_own_gpu_and_a_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    seen = [module._environment(slot, 4, 2) for slot in range(4)]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in seen] == ["0", "1", "0", "1"]
    assert {e["OMP_NUM_THREADS"] for e in seen} == {"2"}


def test_a_row_is_never_half_written(tmp_path):
    with pytest.raises(ValueError, match=r"JSON compliant|Out of range"):
        write_row({"run": {"x": 1}, "result": float("nan")}, tmp_path)
    assert finished(numbers(1), tmp_path) == []


def test_a_scheduler_without_dask_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        sweep(SQUARE, numbers(1), tmp_path, scheduler="tcp://nowhere:1", progress=False)


def test_the_same_rows_come_from_a_dask_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        runs = [{"how": "fine"}, {"how": "fail"}]
        with pytest.raises(SweepError, match="does not like"):
            sweep(MOODY, runs, tmp_path, scheduler=cluster.scheduler_address, progress=False)
    assert len(finished(runs, tmp_path)) == 1

"""The stopwatch: fair turns, medians, the roofline, a table that survives Ctrl-C and too little memory."""

import csv
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_rt1 import config

import course_lib
from course_lib.measure import speed
from course_lib.measure.speed import Machine, Row, benchmark, main, roofline_ms, save, table
from course_lib.rt1 import RT1
from course_lib.rt1.levers import folded, gpu_steps, levers, tf32

MACHINE = Machine("cpu", "abacus", 1, "2", {"fp32": 1e9, "bf16": 4e9}, 1e8)


@pytest.fixture
def clock(monkeypatch):
    """Every callable says itself how long it took."""
    monkeypatch.setattr(speed, "once", lambda run, device: run())


def scripted(*times):
    left = list(times)
    return lambda: float(left.pop(0))


def test_all_take_turns_and_the_warm_up_is_not_counted(clock):
    order = []
    runs = {name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}
    a, b = benchmark(runs, rounds=3, warmup=2)
    assert "".join(order) == "ab" * 5
    assert (a.median_ms, b.median_ms, a.rounds) == (7, 8, 3)


def test_the_median_the_quartiles_and_the_ratio_to_the_first_line(clock):
    rows = benchmark({"a": scripted(4, 1, 3, 2, 100), "b": scripted(6, 6, 6, 6, 6)}, rounds=5, warmup=0)
    assert (rows[0].low_ms, rows[0].median_ms, rows[0].high_ms) == (2, 3, 4)
    assert rows[0].times_first == 1 and rows[1].times_first == 2


def test_the_roofline_is_the_longer_of_computing_and_moving(clock):
    computing, moving = SimpleNamespace(flops=2e6, bytes=1e4), SimpleNamespace(flops=2e6, bytes=1e6)
    assert roofline_ms(computing, "fp32", MACHINE) == pytest.approx(2)
    assert roofline_ms(computing, "bf16", MACHINE) == pytest.approx(0.5)
    assert roofline_ms(moving, "fp32", MACHINE) == pytest.approx(10)
    (row,) = benchmark({"a": scripted(8)}, {"a": (computing, "fp32")}, rounds=1, warmup=0, machine=MACHINE)
    assert row.roofline_part == pytest.approx(0.25)


def test_ctrl_c_keeps_what_was_measured(clock):
    times = [5.0, 7.0]

    def interrupted():
        if not times:
            raise KeyboardInterrupt
        return times.pop(0)

    a, b, c = benchmark({"a": scripted(1, 2, 3), "b": interrupted, "c": scripted(1, 1, 1)}, rounds=3, warmup=0)
    assert (a.rounds, b.rounds, c.rounds) == (3, 2, 2) and b.median_ms == 6


def test_stopped_at_once_there_are_no_numbers_but_a_table(clock):
    def stop():
        raise KeyboardInterrupt

    (row,) = benchmark({"a": stop}, rounds=1)
    assert row.median_ms is None and "stopped" in table([row])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_run_that_is_too_large_is_skipped_with_the_reason(clock, error):
    def large():
        raise error

    a, b = benchmark({"large": large, "small": scripted(2, 2)}, rounds=1, warmup=1)
    assert "does not fit into memory" in a.skipped and b.median_ms == 2 and b.times_first == 1
    assert "skipped: does not fit" in table([a, b])


def test_any_other_error_is_a_bug_and_is_shown(clock):
    def wrong():
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        benchmark({"a": wrong})


@pytest.mark.parametrize(("runs", "rounds"), [({}, 3), ({"a": int}, 0)])
def test_nothing_to_measure_is_refused(runs, rounds):
    with pytest.raises(ValueError, match="at least one"):
        benchmark(runs, rounds=rounds)


def test_the_clock_runs_while_the_callable_does():
    assert speed.once(lambda: sum(range(100_000))) > 10 * speed.once(lambda: None) > 0


def test_a_clock_that_counts_only_what_this_process_computes_does_not_see_it_wait():
    assert speed.once(lambda: time.sleep(0.05)) >= 50 > 10 * speed.once(lambda: time.sleep(0.05), clock=time.process_time)


def test_the_probe_finds_positive_rates_and_the_better_of_two_is_taken():
    machine = speed.probe(size=64)
    assert set(machine.flops) == {"fp32", "bf16"} and min(*machine.flops.values(), machine.bandwidth) > 0
    assert machine.name and machine.threads == torch.get_num_threads()
    better = speed.best_of(MACHINE, Machine("cpu", "abacus", 1, "2", {"fp32": 5e8, "bf16": 5e9}, 2e8))
    assert better.flops == {"fp32": 1e9, "bf16": 5e9} and better.bandwidth == 2e8


def test_a_table_is_saved_whole_as_csv_and_json(tmp_path):
    rows = [Row("a", 1.23456, 1.0, 2.0, 9, 1.0, 0.5, 0.405), Row("b", skipped="too large")]
    for suffix in ("csv", "json"):
        save(rows, MACHINE, tmp_path / f"speed.{suffix}")
    with (tmp_path / "speed.csv").open() as file:
        a, b = csv.DictReader(file)
    assert (a["name"], a["median_ms"], a["rounds"]) == ("a", "1.235", "9") and (b["median_ms"], b["skipped"]) == (
        "",
        "too large",
    )
    read = json.loads((tmp_path / "speed.json").read_text())
    assert read["machine"]["name"] == "abacus" and read["rows"][0]["median_ms"] == 1.23456
    assert sorted(p.name for p in tmp_path.iterdir()) == ["speed.csv", "speed.json"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(speed, "probe", lambda device: MACHINE)


def test_the_command_times_a_policy_by_its_name(quick, capsys, tmp_path):
    out = tmp_path / "speed.csv"
    assert main(["course_lib.rt1:RT1", "--preset", "tiny", "--rounds", "2", "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "act(), tiny" in printed and "abacus" in printed and "of 333 ms" in printed
    assert out.read_text().count("\n") == 2


def test_the_command_times_your_own_callables(quick, capsys, tmp_path, monkeypatch):
    (tmp_path / "my_runs.py").write_text("def runs(preset, device):\n    return {preset + device: lambda: None}, {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["my_runs:runs", "--preset", "x", "--device", "cpu", "--rounds", "1"]) == 0
    assert "xcpu" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["nothing_here:f", "course_lib.rt1:Missing", "course_lib.rt1", ":"])
def test_an_unknown_name_is_explained(what, capsys):
    assert main([what]) == 1
    assert "Expected module:name" in capsys.readouterr().err


def test_an_unknown_preset_is_explained(capsys):
    assert main(["--preset", "huge", "--device", "cpu"]) == 1
    assert main(["course_lib.rt1:RT1", "--preset", "huge", "--device", "cpu"]) == 1
    assert capsys.readouterr().err.count("'huge'") == 2


def test_help_says_what_can_be_timed(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "my_file:make_runs" in capsys.readouterr().out


def test_every_lever_runs_and_the_encoders_agree():
    runs, costs = levers("tiny")
    results = {name: run() for name, run in runs.items()}
    assert next(iter(runs)) == "encoder, plain" and set(costs) <= set(runs)
    maps = {name: y.float() for name, y in results.items() if name.startswith("encoder")}
    want = maps.pop("encoder, plain")
    for name, y in maps.items():
        assert (y - want).abs().max() <= (0.05 if "bf16" in name else 1e-4) * want.abs().max(), name
    newest, half = (results[f"decoder, newest step read{end}"] for end in ("", ", bf16"))
    torch.testing.assert_close(newest, results["decoder, all steps read"][:, -1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(half, newest, atol=0.05, rtol=0.05)
    assert costs["step, faster(bf16).act()"][1] == "bf16" and costs["step, act()"][1] == "fp32"


def test_folding_leaves_no_norm_and_the_plain_encoder_as_it_was():
    plain = RT1(config()).eval().encoder
    norms = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) for net in (plain, folded(plain), plain)]
    assert norms[0] == norms[2] > 0 == norms[1]


def test_the_steps_for_a_gpu_do_the_same_in_every_precision():
    """Without a GPU: the logic, not the speed. Graphs need a GPU; compiling needs a minute."""
    policy = RT1(config()).eval().requires_grad_(False)
    runs, costs = gpu_steps(policy, batches=(1, 2), graphs=False)
    assert len(runs) == 10 and all("of 1 tables" in name for name in costs)
    for name, run in runs.items():
        if "compiled" not in name:
            tables = 2 if "of 2 tables" in name else 1
            assert run().shape == (tables, 1, policy.config.action_dims, 256), name


@pytest.mark.gpu
def test_the_steps_run_on_a_gpu():
    policy = RT1(config()).eval().requires_grad_(False).to("cuda")
    runs, costs = gpu_steps(policy, batches=(1, 2))
    rows = benchmark(runs, costs, rounds=2, device="cuda")
    assert all(row.median_ms > 0 for row in rows)


def test_tf32_is_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with tf32():
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_the_shipped_table_keeps_the_promise():
    """A step costs at most 1.5 plain encoder passes, and at least 5 times less than the release's way, in one run."""
    with (Path(course_lib.__file__).parent.parent / "data" / "rt1_speed_cpu.csv").open() as file:
        ms = {row["name"]: float(row["median_ms"]) for row in csv.DictReader(file)}
    assert set(ms) == set(levers("tiny")[0])  # the table shows what the code measures
    fast = ms["step, faster(bf16).act()"]
    assert fast <= 1.5 * ms["encoder, plain"]
    assert 5 * fast <= ms["step, the release's way: 1 frame, 11 passes"]

"""The speed lab: one model after the other, what does not fit is said, stop keeps what there is."""

import csv
from types import SimpleNamespace

import pytest
import small_rt2
import torch

from course_lib.classroom import speed_lab
from course_lib.learn import bytes_of
from course_lib.measure import devices as found
from course_lib.measure import lab, speed
from course_lib.measure.lab import Group, hertz, lab_table, main, time_groups
from course_lib.measure.speed import Machine, Row
from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.decoding import generate

MACHINE = Machine("cpu", "abacus", 1, "2", {"fp32": 1e9, "bf16": 4e9}, 1e8)


@pytest.fixture
def clock(monkeypatch):
    """Every callable says itself how long it took; the machine has 1,000 bytes."""
    monkeypatch.setattr(speed, "once", lambda run, device: run())
    monkeypatch.setattr(found, "memory", lambda device: (1000, 2000))


def group(name, *times, needs=10):
    return Group(name, needs, lambda: {f"call {i}": lambda ms=ms: ms for i, ms in enumerate(times)})


def test_groups_are_timed_one_after_the_other_and_compared_with_their_own_first_call(clock):
    rows = time_groups([group("a", 2.0, 14.0), group("b", 10.0, 5.0)], rounds=3)
    assert [row.name for row in rows] == ["a: call 0", "a: call 1", "b: call 0", "b: call 1"]
    assert [row.times_first for row in rows] == [1, 7, 1, 0.5] and hertz(rows[1]) == pytest.approx(1000 / 14)


def test_a_model_is_made_only_in_its_turn_and_not_at_all_if_it_does_not_fit(clock):
    made = []

    def making(name, needs):
        return Group(name, needs, lambda: made.append(name) or {"call": lambda: 1.0})

    rows = time_groups([making("small", 900), making("large", 901), making("last", 1)], rounds=1)
    assert made == ["small", "last"] and [row.name for row in rows] == ["small: call", "large", "last: call"]
    assert "needs about 0.0 GB, 0.0 GB are free on cpu" in rows[1].skipped and "skipped: needs about" in lab_table(rows)


def raising(error):
    def make():
        raise error

    return make


def test_what_runs_out_of_memory_while_it_is_made_is_a_row_and_any_other_error_is_a_bug(clock):
    full = Group("full", 1, raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")))
    rows = time_groups([full, group("b", 1.0)], rounds=1)
    assert rows[0].skipped == "does not fit into memory" and rows[1].median_ms == 1
    with pytest.raises(RuntimeError, match="shapes differ"):
        time_groups([Group("wrong", 1, raising(RuntimeError("shapes differ")))], rounds=1)


def test_stop_keeps_what_was_measured_and_says_what_was_not(clock):
    rounds = []
    three = [group(name, 1.0) for name in "abc"]
    stopping = {"stop": lambda: len(rounds) >= 7, "progress": lambda name, done, total: rounds.append((name, done, total))}
    rows = time_groups(three, rounds=2, **stopping)
    assert rounds == [("a", 1, 5), ("a", 2, 5), ("a", 3, 5), ("a", 4, 5), ("a", 5, 5), ("b", 1, 5), ("b", 2, 5)]
    assert rows[0].median_ms == 1 and [row.skipped[:7] for row in rows[1:]] == ["stopped", "stopped"]
    rows = time_groups([Group("a", 1, raising(KeyboardInterrupt())), group("b", 1.0)], rounds=1)
    assert all("stopped" in row.skipped for row in rows)


def test_the_table_says_which_control_rate_is_reached():
    rows = [Row("slow", 1500.0, 1400.0, 1600.0, 3, 1.0), Row("fast", 250.0, 240.0, 260.0, 3, 1 / 6, 25.0, 0.1)]
    slow, fast = lab_table(rows).splitlines()[1:]
    assert slow.split()[-2:] == ["0.7", "-"] and "4.0" in fast and "3 Hz" in fast and "10%" in fast
    assert "Hz" in lab_table([])


def test_memory_is_found_and_the_cpu_comes_last():
    free, total = found.memory("cpu")
    assert 0 < free <= total and found.devices()[-1] == "cpu"
    assert found.too_large(1, "cpu") == "" and "are free on cpu" in found.too_large(10 * total, "cpu")


def test_a_system_that_does_not_say_what_is_free_counts_as_empty(monkeypatch, tmp_path):
    monkeypatch.setattr(found, "MEMINFO", tmp_path / "none")
    free, total = found.memory("cpu")
    assert free == total > 0


def test_the_command_times_what_is_asked_for_and_writes_a_file(clock, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(lab, "probe", lambda device: MACHINE)
    monkeypatch.setattr(lab, "find", lambda name: lambda device: [group("a", 1.0), group("b", 2.0)])
    assert main(["--device", "cpu", "--only", "b", "--rounds", "2", "--out", str(tmp_path / "lab.csv")]) == 0
    printed = capsys.readouterr().out
    assert "abacus (cpu)" in printed and "GB free" in printed and "b: call 0" in printed and "a: call" not in printed
    with (tmp_path / "lab.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["b: call 0"]
    assert main(["--device", "cpu", "--only", "x"]) == 0 and "begins with 'x'" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["nothing:here", "--device", "cpu"]) == 1 and "Expected module:name" in capsys.readouterr().err


# ---- what it times


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(speed_lab, "SHAPES", {"RT-2 tiny": small_rt2.config, "RT-2 3B": PaliGemmaConfig.pt_224})
    monkeypatch.setattr(speed_lab, "PROMPT", 5)
    monkeypatch.setattr(
        speed_lab.torch,
        "randint",
        lambda low, high, size, device: 3 + torch.arange(size[0] * size[1], device=device).view(size),
    )


def test_the_lab_holds_both_models_all_batches_and_precisions_and_makes_none_of_them():
    names = [group.name for group in speed_lab.groups("cpu")]
    assert len(names) == len(set(names)) == 4 + 3 * 4 + 4 + 3
    assert {"RT-1 tiny, 64 at once", "RT-1 paper, 1 at once", "RT-2 tiny int4, 8 at once", "RT-2 3B bf16, 1 at once"} <= {
        *names
    }
    needs = {group.name: group.needs for group in speed_lab.groups("cpu")}
    assert needs["RT-2 3B bf16, 1 at once"] == 3 * 2 * 2_923_335_408 and needs["RT-1 paper, 1 at once"] > 4 * 35_000_000


@pytest.mark.parametrize("precision", list(speed_lab.BYTES))
def test_every_way_of_rt2_writes_the_same_answer(small, precision):
    runs = speed_lab.rt2_group("RT-2 tiny", precision, 2, "cpu").make()
    made = {name: run() for name, run in runs.items()}
    answer = made["8 tokens"]
    assert next(iter(made)) == "one pass" and torch.equal(made["one pass"].argmax(-1), answer[:, 0])
    for name in ("7 tokens", "11 tokens", "8 tokens, no cache", *(["8 tokens, faster()"] if precision == "fp32" else [])):
        n = min(8, int(name.split()[0]))
        assert name not in made or torch.equal(made[name][:, :n], answer[:, :n]), name
    again = runs["one more token"]()
    assert torch.equal(again, made["one more token"])  # the same place of the cache, however often


def test_another_number_format_is_timed_where_there_is_one_and_said_where_not():
    cpu, gpu = (speed_lab.rt2_group("RT-2 tiny", "fp32", 1, device) for device in ("cpu", "cuda:0"))
    assert set(cpu.cannot) == {"one pass, tf32", "8 tokens, tf32"} and not gpu.cannot
    assert all("--device cuda" in reason for reason in cpu.cannot.values())
    assert speed_lab.rt2_group("RT-2 tiny", "bf16", 1, "cpu").cannot == {}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "calls"), [("RT-1 tiny", 2), ("RT-2 tiny", 4)])
def test_compiled_calls_say_what_the_plain_ones_say(small, monkeypatch, model, calls):
    """Without the code generator, which takes a minute: what it is given to compile is what is tested."""
    monkeypatch.setattr(speed_lab, "compiled", lambda run: torch.compile(run, backend="aot_eager"))
    group = speed_lab.compiled_group(model, "cpu")
    runs = group.make()
    assert "ask for it by name" in group.by_name and len(runs) == calls
    for name, run in runs.items():
        if not name.endswith("compiled"):
            again = [runs[f"{name}, compiled"]() for _ in range(2)]
            torch.testing.assert_close(again, [run()] * 2)


def test_without_a_compiler_compiled_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(speed_lab.shutil, "which", lambda name: None)
    (row,) = time_groups([speed_lab.compiled_group("RT-2 tiny", "cpu")], rounds=1)
    assert row.name == "compiled RT-2 tiny fp32, 1 at once: compiled" and "C++ compiler" in row.skipped
    assert speed_lab.compiled_group("RT-2 tiny", "cuda:0").cannot == {}


def test_one_more_token_is_the_last_of_the_answer(small):
    vlm = small_rt2.small_vlm()
    images, prompts = torch.rand(1, 3, 16, 16), torch.full((1, 5), 7)
    step = speed_lab.one_more(vlm, images, prompts)
    trace = {}
    forced = SimpleNamespace(pick=lambda logits: prompts[:, 0])
    generate(vlm, images, prompts, steps=8, pick=forced.pick, trace=trace)
    torch.testing.assert_close(step(), trace["logits"][:, -1], atol=1e-5, rtol=1e-5)


def test_rt1s_four_ways_give_actions_for_all_tables():
    runs = speed_lab.rt1_group("tiny", 2, "cpu").make()
    assert list(runs) == ["parallel", "parallel, faster(bf16)", "token by token", "token by token, cached"]
    assert all(run().shape == (2, 11) for run in runs.values())


def test_a_random_model_is_whole_and_costs_count_weights_once_for_a_batch():
    config = small_rt2.config()
    vlm = speed_lab.random_model(config, "cpu", torch.bfloat16)
    assert bytes_of(vlm) == 2 * sum(p.numel() for p in PaliGemma(config).parameters())
    assert all(torch.isfinite(value).all() for value in vlm.state_dict().values())
    one, many = (speed_lab.rt2_costs(config, "fp32", batch)["one more token"][0] for batch in (1, 8))
    assert many.weights == one.weights and many.flops == 8 * one.flops and speed_lab.rt2_costs(config, "int8", 1) == {}

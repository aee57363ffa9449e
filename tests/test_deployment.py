"""The compression table: what its numbers are, on policies small enough to count by hand."""

import csv
import io
import re

import pytest
import small_rt1
import torch

from course_lib.classroom import deployment, recipes
from course_lib.classroom.deployment import NUMBERS, POLICIES, WAYS, compression_table, gaps, runs
from course_lib.classroom.speed_lab import groups
from course_lib.learn import compress
from course_lib.learn.compress import METHODS
from course_lib.learn.sweep import file_name
from course_lib.measure.lab import read_rows
from course_lib.measure.speed import Row


def test_every_method_is_tried_and_a_policy_that_is_not_there_yet_is_left_out(tmp_path):
    assert {how for how, _ in WAYS} == {"float32", *METHODS}
    assert runs(folder=tmp_path) == []
    (tmp_path / POLICIES["RT-1 tiny"][0]).touch()
    found = runs(folder=tmp_path)
    assert len(found) == len(WAYS) == len(set(map(file_name, found))) and {run["policy"] for run in found} == {"RT-1 tiny"}


class Said:
    """A policy that says given logits."""

    def __init__(self, logits):
        self.logits = torch.tensor(logits)

    def action_logits(self, batch):
        return self.logits, self.logits.argmax(-1)


def test_gaps_are_the_hand_counted_ones_and_missing_bins_do_not_count():
    plain = Said([[[1.0, 0.0, -torch.inf], [0.0, 2.0, 0.0]]])
    small = Said([[[1.5, 0.0, -torch.inf], [3.0, 2.0, 0.0]]])
    assert gaps(plain, small, iter([{}, {}])) == {
        "max_logit_error": 3.0,
        "mean_logit_error": pytest.approx(3.5 / 5),
        "tokens": 4,
        "same_tokens": 0.5,
    }


def test_a_compressed_policy_is_compared_on_its_own_half_of_the_recorded_steps():
    policy = small_rt1.small_policy()
    batch = policy.config.fake_batch(2)
    row = gaps(policy, compress(policy, "int8"), iter([batch]))
    assert row["tokens"] == 11 * int(batch["valid"].sum()) and 0 < row["mean_logit_error"] < row["max_logit_error"] < 1
    steps = next(deployment.test_steps(1))
    assert steps["student"]["instruction"].shape[1] == 384 and len(steps["teacher"]["instructions"]) > 4


def made_up(method, won, size):
    errors = {"max_logit_error": 0.5, "mean_logit_error": 0.1, "tokens": 10, "same_tokens": 0.9}
    return {
        "run": {"policy": "P", "method": method, "part": None, "n": len(won)},
        "result": {"bytes": size, "won": won} | errors,
    }


def test_a_line_of_the_table_is_the_arithmetic_of_its_row():
    timed = {"P": {("float32", None): Row("a", 4.0, 3.0, 5.0, 9), ("int8", None): Row("b", 8.0, 7.0, 9.0, 9)}}
    text = compression_table([made_up("float32", "1110", 400), made_up("int8", "1001", 100)], timed)
    plain, small = csv.DictReader(io.StringIO(text))
    assert list(plain) == ["policy", "method", "part", *NUMBERS]
    assert [plain[k] for k in ("smaller", "success", "difference", "p", "faster")] == ["1", "0.75", "0", "1", "1"]
    assert [small[k] for k in ("smaller", "success", "difference", "faster", "ms")] == ["4", "0.5", "-0.25", "0.5", "8"]
    assert float(small["p"]) == 1.0 and float(small["difference_low"]) < -0.25 < float(small["difference_high"])


SHIPPED = recipes.DATA / deployment.TABLE


@pytest.mark.skipif(not SHIPPED.exists(), reason="the table is not made yet")
def test_the_shipped_table_is_of_todays_policies_and_methods():
    with SHIPPED.open() as file:
        lines = [line for line in csv.DictReader(file) if line["policy"] == "RT-1 tiny"]
    assert [(line["method"], float(line["part"]) if line["part"] else None) for line in lines] == list(WAYS)
    for line, (method, part) in zip(lines, WAYS, strict=True):
        small = deployment.opened({"policy": "RT-1 tiny", "method": method, "part": part})
        assert int(line["bytes"]) == deployment.bytes_of(small)
        assert float(line["low"]) <= float(line["success"]) <= float(line["high"]) and int(line["n"]) == deployment.EPISODES
    with (recipes.DATA / "rt1_tiny_success.csv").open() as file:
        total = list(csv.DictReader(file))[-1]
    assert float(lines[0]["low"]) < float(total["rate"]) < float(lines[0]["high"])  # the same policy, counted elsewhere


def test_the_labs_table_has_the_rows_of_the_asked_groups_and_says_what_it_found(tmp_path):
    made = deployment.make_lab(tmp_path, ("RT-2 tiny fp32, 1 at once",), rounds=2)
    rows = read_rows(tmp_path / deployment.LAB)
    assert rows and all(row.name.startswith("RT-2 tiny fp32, 1 at once: ") for row in rows)
    assert all(row.median_ms or "NVIDIA" in row.skipped for row in rows)
    by_name = {row.name.partition(": ")[2]: row for row in rows if row.median_ms}
    eight = [name for name in by_name if name.startswith("8 tokens")]
    assert len(eight) >= 2
    for name in eight:
        said = re.search(rf"{re.escape(name)} (\d+\.\d)", made["result"])
        assert float(said[1]) == pytest.approx(by_name[name].times_first, abs=0.06)
    assert made["files"] == [deployment.LAB]


LAB = recipes.DATA / deployment.LAB


@pytest.mark.skipif(not LAB.exists(), reason="the table is not made yet")
def test_the_shipped_lab_has_todays_groups():
    there = {row.name.partition(": ")[0] for row in read_rows(LAB) if row.median_ms}
    here = [group.name for group in groups("cpu") if group.name.startswith(deployment.SMALL)]
    assert there == set(here)

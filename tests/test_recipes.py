"""The files of data/: each has its row, is what the row says, and can be rebuilt by the row's command."""

import csv
import json
import shlex

import gymnasium
import numpy as np
import pytest

from course_lib.classroom import recipes
from course_lib.classroom.experiments.__main__ import EXPERIMENTS
from course_lib.learn import load_checkpoint
from course_lib.learn.checkpoints import MANIFEST, sha256
from course_lib.measure import Outcomes, rollout, success_rate, wilson
from course_lib.measure.outcomes import FAILURES
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.instruction import InstructionEncoder
from course_lib.world import known_instructions
from course_lib.world.tasks import SKILLS

ROWS = json.loads((recipes.DATA / MANIFEST).read_text())
FILES = sorted(p.name for p in recipes.DATA.rglob("*") if p.is_file() and p.name != MANIFEST)


def test_every_file_of_data_has_a_row_and_every_row_a_file():
    assert sorted(ROWS) == FILES


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_file_is_the_one_its_row_describes_and_the_row_is_complete(name):
    row = ROWS[name]
    assert sha256(recipes.DATA / name) == row["sha256"]
    assert {"command", "commit", "date", "hardware", "result", "seconds", "seed", "torch"} <= set(row)
    python, m, module, *names = shlex.split(row["command"])
    known = {"course_lib.classroom.recipes": recipes.RECIPES, "course_lib.classroom.experiments": EXPERIMENTS}
    assert (python, m) == ("python", "-m") and names and set(names) <= set(known[module])
    assert "+" not in row["commit"] and row["commit"] != "unknown"  # made from committed code


def test_no_file_is_too_large():
    sizes = [(recipes.DATA / name).stat().st_size for name in FILES]
    assert max(sizes) < 16_000_000 and sum(sizes) < 60_000_000


def test_the_table_knows_every_sentence_of_the_world_without_the_weights(monkeypatch):
    monkeypatch.setattr("course_lib.rt1.instruction.package_folder", lambda: None)
    vectors = InstructionEncoder()(known_instructions())
    assert vectors.shape == (len(known_instructions()), 384)
    assert (vectors.norm(dim=-1) - 1).abs().max() < 1e-5


@pytest.fixture(scope="module")
def policy():
    return load_checkpoint(recipes.DATA / "rt1_tiny.safetensors", RT1)


def test_the_shipped_policy_is_the_tiny_preset(policy):
    assert policy.config == RT1Config.tiny()


@pytest.mark.slow
def test_the_shipped_policy_picks_as_well_as_its_table_says(policy):
    env = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=30)
    rate = success_rate(rollout(policy, env, 60, seed=recipes.TEST_SEED))
    shipped = shipped_rows()[-1]
    assert rate.high >= float(shipped["low"]) and int(shipped["n"]) >= 1000


def shipped_rows():
    with (recipes.DATA / "rt1_tiny_success.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_shipped_table_adds_up_by_skill_and_by_object():
    *parts, total = shipped_rows()
    assert total["group"] == "all"
    assert {row["name"] for row in parts if row["group"] == "skill"} == set(SKILLS)
    counted = {group: sum(int(row["n"]) for row in parts if row["group"] == group) for group in ("skill", "object")}
    drawers = sum(int(row["n"]) for row in parts if row["name"] in ("open drawer", "close drawer"))
    assert counted["skill"] == int(total["n"]) == counted["object"] + drawers  # a drawer is no object
    for row in [*parts, total]:
        n, won = int(row["n"]), int(row["successes"])
        assert float(row["rate"]) == pytest.approx(won / n, abs=1e-4)
        assert float(row["low"]) == pytest.approx(wilson(won, n).low, abs=1e-4)
        assert won + sum(int(row[failure.replace(" ", "_")]) for failure in FAILURES) == n


def test_the_success_table_counts_each_way_to_fail():
    outcomes = Outcomes(
        success=np.array([True, False, False, False]),
        length=np.array([8, 8, 9, 30]),
        seed=np.arange(4),
        instruction=["pick apple"] * 4,
        stopped=np.array([True, True, True, False]),
        held=np.array([0, 3, -1, -1]),
        target=np.array([0, 0, 0, -1]),
        skill=np.array([0, 0, 0, 4]),
        goal=np.full(4, -1),
        failure=["", "wrong object", "missed grasp", "timeout"],
    )
    lines = [line.split(",") for line in recipes.success_table(outcomes).splitlines()]
    counts = dict(zip(lines[0], lines[1], strict=True))
    assert (counts["name"], counts["n"], counts["successes"], counts["wrong_object"]) == ("pick", "3", "1", "1")
    assert [line[:4] for line in lines[2:]] == [
        ["skill", "open drawer", "1", "0"],
        ["object", "apple", "3", "1"],
        ["all", "all", "4", "1"],
    ]


def test_a_rebuilt_file_replaces_its_row_and_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "DATA", tmp_path)
    for text in ("one", "two"):
        (tmp_path / "a.csv").write_text(text)
        made = {"seed": 0, "result": text, "files": ["a.csv"]}
        recipes.add_rows("a", made, "abc1234", 1.6)
    (tmp_path / "b.csv").write_text("b")
    recipes.add_rows("b", {"seed": 1, "result": "b", "files": ["b.csv"]}, "abc1234", 2)
    rows = json.loads((tmp_path / MANIFEST).read_text())
    assert rows["a.csv"]["result"] == "two" and rows["a.csv"]["sha256"] == sha256(tmp_path / "a.csv")
    assert rows["a.csv"]["seconds"] == 2 and set(rows) == {"a.csv", "b.csv"}


def test_an_unknown_recipe_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        recipes.main(["rt7"])
    assert "rt1_tiny" in capsys.readouterr().err
    assert recipes.main([]) == 0 and "rt1_tiny.safetensors" in capsys.readouterr().out

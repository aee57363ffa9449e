"""Day 93's experiments: what an arm learns from, that arms differ only in what they say, and how they are tested."""

import json

import numpy as np
import pytest
import torch

from course_lib.classroom import recipes
from course_lib.classroom.experiments import arms, ratio, rows, transfer
from course_lib.classroom.experiments.__main__ import DAY_OF_WORK, EXPERIMENTS, plan
from course_lib.classroom.experiments.arms import Arm
from course_lib.datasets import record
from course_lib.learn.sweep import file_name, write_row
from course_lib.world.splits import held_out, split
from course_lib.world.tasks import SKILLS


@pytest.fixture(scope="module")
def data():
    return record(20, arms.tasks(), seed=9)


def test_the_robots_data_has_three_skills_no_drawers_and_no_held_out_combination():
    assert {task.skill for task in arms.tasks()} == set(arms.SKILLS)
    assert all(task.drawer < 0 and not held_out(task) for task in arms.tasks())


@pytest.mark.parametrize("name", [*transfer.ARMS, *ratio.ARMS])
def test_the_batches_of_an_arm_are_what_its_name_says(name, data):
    settings = Arm(**(transfer.ARMS | ratio.ARMS)[name])
    mixture = arms.mixture(settings, data)
    batches = [mixture(step) for step in range(4)]
    if settings.together:
        assert mixture.shares == {"robot": 0.5, "web": 0.5} and all(set(b["parts"]) == {"robot", "web"} for b in batches)
        return
    robot = [batch for batch in batches if "instructions" in batch]
    assert (len(robot) < 4) == (settings.web > 0)
    assert {len(row) for batch in robot for row in batch["instructions"]} == {arms.ASKED}
    plans = [plan for batch in robot for row in batch["plans"] for plan in row]
    assert 0.3 < np.mean([plan != "" for plan in plans]) < 0.7 if settings.plans else not any(plans)
    assert all("<loc" in plan for plan in plans if plan) if settings.places else "<loc" not in "".join(plans)


def test_arms_without_the_web_start_from_it_unless_they_say_scratch():
    assert Arm(**transfer.ARMS["robot-only"]).start == "web" and Arm(**transfer.ARMS["from scratch"]).start == "scratch"
    one, other = arms.beginning("scratch", 1), arms.beginning("scratch", 2)
    assert not torch.equal(one.vlm.language.embedding.weight, other.vlm.language.embedding.weight)
    assert one.text.names == ("terminate", "arm_x", "arm_y", "arm_z", "roll", "pitch", "yaw", "gripper")


@pytest.mark.parametrize("wrong", [{"start": "moon"}, {"web": 1.0}, {"plans": 2.0}])
def test_settings_that_make_no_arm_are_refused(wrong):
    with pytest.raises(ValueError, match="start is 'web' or 'scratch'"):
        Arm(**wrong)


class Still:
    """Does nothing, and remembers what it heard."""

    def __init__(self):
        self.heard = []

    def act(self, observation):
        self.heard += list(observation["instruction"])
        return np.zeros((len(observation["instruction"]), 11), np.float32)

    def reset(self):
        pass


@pytest.mark.parametrize("name", ["seen", "spanish"])
def test_a_set_is_driven_with_its_own_sentences_and_skills(name):
    policy = Still()
    outcomes = arms.driven(policy, name, 3)
    assert len(outcomes) == 3 and not outcomes.success.any()
    assert set(policy.heard) <= set(split(name).sentences)
    assert {SKILLS[i] for i in outcomes.skill} <= set(arms.SKILLS)
    assert arms.driven(policy, name, 3).instruction == outcomes.instruction


def test_one_arm_trains_drives_every_set_and_answers(monkeypatch):
    monkeypatch.setattr(arms, "EPISODES", 20)
    monkeypatch.setattr(arms, "SETS", ("colour",))
    said = []
    run = Arm(start="scratch", web=0.0, steps=1, trials=1).run()
    result = arms.arm(run, said.append)
    assert result["colour"]["n"] == 1 and result["web"]["all"]["n"] > 50
    assert json.loads(json.dumps(result)) == result and said


def test_the_days_keep_their_rows_apart_and_share_runs_between_experiments(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "DATA", tmp_path / "data")
    monkeypatch.setattr(recipes, "RUNS", tmp_path / "runs")
    (tmp_path / "data").mkdir()
    rows.folder("day93").mkdir(parents=True)
    run = Arm().run()
    row = {"run": run, "commit": "abc1234", "date": "2026-11-21", "hardware": "a machine", "seconds": 1.0,
           "result": {"loss": 0.5}}  # fmt: skip
    write_row(row, rows.folder("day93"))
    said = rows.keep(EXPERIMENTS)
    assert said["transfer"].startswith("1 of ") and said["ratio"].startswith("1 of ") and said["scaling"].startswith("0 of")
    assert (recipes.DATA / "day93_runs.jsonl").exists() and not (recipes.DATA / "day92_runs.jsonl").exists()
    assert rows.rows_of([run]) == [row] and rows.restore() == 1
    ((work, planned),) = plan(["transfer", "ratio"], 1)
    names = [file_name(r) for r in planned]
    assert len(names) == len(set(names)) == len(transfer.ARMS) + len(ratio.ARMS) - 2 and DAY_OF_WORK[work] == "day93"

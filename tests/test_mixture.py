"""datasets.mixture and datasets.robot_frames: the two halves of co-fine-tuning."""

from collections import Counter

import pytest
import torch

from course_lib.datasets import record
from course_lib.datasets.mixture import Mixture
from course_lib.datasets.plans import plan_of
from course_lib.datasets.robot_frames import RobotFrames
from course_lib.world.experts import expert
from course_lib.world.splits import training_tasks
from course_lib.world.tasks import Goals, find_task


@pytest.fixture(scope="module")
def data():
    return record(24, training_tasks(), seed=50)


@pytest.mark.parametrize("shares", [{"web": 1, "robot": 1}, {"web": 1, "robot": 2}, {"web": 0.05, "robot": 0.95}])
def test_the_parts_take_turns_in_their_shares_and_never_bunch(shares):
    mixture = Mixture({"web": lambda step: ("web", step), "robot": lambda step: ("robot", step)}, shares)
    turns = [mixture(step)[0] for step in range(1000)]
    part = shares["web"] / sum(shares.values())
    for length in (100, 1000):
        assert abs(Counter(turns[:length])["web"] - part * length) < 4
    assert mixture(7) == (mixture.turn(7), 7)


def test_a_share_of_nothing_is_left_out_and_together_gives_every_part_with_its_share():
    parts = {"web": lambda step: step, "robot": lambda step: -step}
    assert {Mixture(parts, {"web": 0, "robot": 3})(step) for step in range(20)} == {-step for step in range(20)}
    both = Mixture(parts, {"web": 1, "robot": 3}, together=True)(5)
    assert both == {"parts": {"web": 5, "robot": -5}, "shares": {"web": 0.25, "robot": 0.75}}


@pytest.mark.parametrize("shares", [{}, {"web": 1}, {"web": -1, "robot": 2}, {"web": 0, "robot": 0}])
def test_shares_that_make_no_mixture_are_refused(shares):
    with pytest.raises(ValueError, match="one share of at least 0 for each part"):
        Mixture({"web": lambda step: step, "robot": lambda step: step}, shares)


def test_a_frame_comes_with_its_own_picture_sentence_and_action(data):
    frames = torch.tensor([0, 1, int(data.start[5]), data.frames - 1])
    batch = RobotFrames(data, plans=1).cut(frames)
    episodes = [0, 0, 5, len(data) - 1]
    assert batch["instructions"] == [data.tasks[data.task[e]].sentence for e in episodes]
    assert batch["plans"] == [plan_of(data.tasks[data.task[e]]) for e in episodes]
    assert torch.equal(batch["actions"], data.actions[frames])
    assert torch.equal(batch["images"], data.pictures(frames))


def test_the_other_instructions_of_a_picture_are_answered_as_the_expert_would_now(data):
    rows = RobotFrames(data, asked=5, batch=6, plans=0.5)
    batch = rows(3)
    frames = torch.randint(data.frames, (6,), generator=torch.Generator().manual_seed(3))
    assert batch["actions"].shape == (6, 5, 11) and len({tuple(row) for row in batch["instructions"]}) == 6
    for i, (said, plans) in enumerate(zip(batch["instructions"], batch["plans"], strict=True)):
        state = data.states[frames[i : i + 1]]
        for j in range(1, 5):
            here = (-1, *state.kind[0].tolist())
            task = next(t for t in data.tasks if t.sentence == said[j] and t.kind in here and t.goal in here)
            assert torch.equal(batch["actions"][i, j], expert(state, Goals.of([task]))[0])
            assert plans[j] in ("", plan_of(task))
    planned = [plan != "" for row in batch["plans"] for plan in row]
    assert 5 < sum(planned) < 25
    assert batch["instructions"] == rows(3)["instructions"] and batch["plans"] == rows(3)["plans"]


def test_no_held_out_combination_is_ever_asked(data):
    rows, known = RobotFrames(data, asked=8, batch=16), {t.sentence for t in training_tasks()}
    assert {said for step in range(4) for row in rows(step)["instructions"] for said in row} <= known
    assert find_task(rows(0)["instructions"][0][1])


def test_plans_with_places_point_at_what_they_name(data):
    batch = RobotFrames(data, batch=4, asked=3, plans=1, places=True)(0)
    for row in batch["plans"]:
        for plan in row:
            assert "<loc" in plan


def test_numbers_that_make_no_batch_are_refused(data):
    for wrong in ({"batch": 0}, {"asked": 0}, {"plans": 1.5}):
        with pytest.raises(ValueError, match="Expected batch and asked"):
            RobotFrames(data, **wrong)

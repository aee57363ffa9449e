"""Recording and cutting robot episodes."""

import pytest
import torch

from course_lib.datasets import Windows, record
from course_lib.world import PICK_TASKS, tasks
from course_lib.world.experts import pick_expert
from course_lib.world.render import render
from course_lib.world.tabletop import step


@pytest.fixture(scope="module")
def episodes():
    return record(40, seed=7)


def test_episodes_lie_one_after_another_and_all_succeed(episodes):
    assert len(episodes) == 40 and episodes.frames == int(episodes.length.sum())
    assert torch.equal(episodes.start[1:], (episodes.start + episodes.length)[:-1])
    last = episodes.start + episodes.length - 1
    target = torch.tensor([t.kind for t in PICK_TASKS])[episodes.task]
    assert tasks.success(episodes.states[last], target).all()
    stop = episodes.actions[:, -1]
    assert (stop[last] == 1).all() and stop.sum() == 40


def test_the_recorded_action_is_the_experts_own_also_after_a_slip(episodes):
    target = torch.tensor([t.kind for t in PICK_TASKS])[episodes.task].repeat_interleave(episodes.length)
    assert torch.equal(episodes.actions, pick_expert(episodes.states, target))


def test_without_disturbance_each_frame_follows_from_the_one_before():
    calm = record(10, seed=3, disturbance=0.0)
    for e in range(10):
        first, n = int(calm.start[e]), int(calm.length[e])
        for t in range(first, first + n - 1):
            after = step(calm.states[t : t + 1], calm.actions[t : t + 1])
            assert torch.equal(after.gripper, calm.states[t + 1 : t + 2].gripper)


def test_disturbed_episodes_show_missed_grasps_and_calm_ones_do_not():
    def missed(data):
        return int((data.states.closed & (data.states.held < 0)).sum())

    assert missed(record(200, seed=0)) > 10 and missed(record(200, seed=0, disturbance=0.0)) == 0


def test_the_same_seed_gives_the_same_episodes_and_a_longer_recording_starts_with_the_shorter():
    a, b = record(5, seed=11), record(9, seed=11)
    frames = a.frames
    assert torch.equal(a.states.xyz, b.states.xyz[:frames]) and torch.equal(a.actions, b.actions[:frames])


def test_a_window_is_a_piece_of_one_episode_and_padding_is_marked(episodes):
    windows = Windows(episodes, torch.eye(len(episodes.tasks)), history=12, batch=16, size=32)
    which = torch.arange(40)
    batch = windows.cut(which, torch.zeros(40))
    for e in range(40):
        n = min(12, int(episodes.length[e]))
        first = int(episodes.start[e])
        assert batch["valid"][e].tolist() == [True] * n + [False] * (12 - n)
        assert torch.equal(batch["actions"][e, :n], episodes.actions[first : first + n])
        assert torch.equal(batch["images"][e, :n], render(episodes.states[first : first + n], 32))
        assert batch["instruction"][e].argmax() == episodes.task[e]


def test_windows_reach_from_the_first_frame_to_the_last(episodes):
    windows = Windows(episodes, torch.eye(len(episodes.tasks)), history=4, size=32)
    which = torch.arange(40)
    early, late = windows.cut(which, torch.zeros(40)), windows.cut(which, torch.full((40,), 0.9999))
    assert torch.equal(early["actions"][:, 0], episodes.actions[episodes.start])
    assert torch.equal(late["actions"][:, -1], episodes.actions[episodes.start + episodes.length - 1])


def test_a_batch_depends_on_its_step_and_seed_only(episodes):
    make = [Windows(episodes, torch.eye(len(episodes.tasks)), batch=4, size=32, seed=s) for s in (0, 0, 1)]
    a, b, other = (windows(5)["images"] for windows in make)
    assert torch.equal(a, b) and not torch.equal(a, other) and not torch.equal(a, make[0](6)["images"])


def test_bad_arguments_are_explained(episodes):
    with pytest.raises(ValueError, match="n_episodes >= 1"):
        record(0)
    with pytest.raises(ValueError, match="one embedding per task"):
        Windows(episodes, torch.eye(3))
    with pytest.raises(ValueError, match="history and batch"):
        Windows(episodes, torch.eye(len(episodes.tasks)), history=0)
    with pytest.raises(ValueError, match="fails in most scenes"):
        record(2, expert=lambda state, target: torch.zeros(len(state), 11), max_steps=2)

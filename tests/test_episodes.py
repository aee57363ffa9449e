"""Recording and cutting robot episodes."""

import pytest
import torch

from course_lib.datasets import record
from course_lib.world.experts import expert
from course_lib.world.render import render
from course_lib.world.tabletop import step
from course_lib.world.tasks import PICK_TASKS, Goals, success


@pytest.fixture(scope="module")
def episodes():
    return record(40, seed=7)


def test_episodes_lie_one_after_another_and_all_succeed(episodes):
    assert len(episodes) == 40 and episodes.frames == int(episodes.length.sum())
    assert torch.equal(episodes.start[1:], (episodes.start + episodes.length)[:-1])
    last = episodes.start + episodes.length - 1
    assert success(episodes.states[last], Goals.of(episodes.tasks)[episodes.task]).all()
    stop = episodes.actions[:, -1]
    assert (stop[last] == 1).all() and stop.sum() == 40


def test_the_recorded_action_is_the_experts_own_also_after_a_slip(episodes):
    goals = Goals.of(episodes.tasks)[episodes.task.repeat_interleave(episodes.length)]
    assert torch.equal(episodes.actions, expert(episodes.states[:], goals))


def test_without_disturbance_each_frame_follows_from_the_one_before():
    calm = record(10, seed=3, disturbance=0.0)
    for e in range(10):
        first, n = int(calm.start[e]), int(calm.length[e])
        for t in range(first, first + n - 1):
            after = step(calm.states[t : t + 1], calm.actions[t : t + 1])
            assert torch.equal(after.gripper, calm.states[t + 1 : t + 2].gripper)


def test_disturbed_episodes_show_missed_grasps_and_calm_ones_do_not():
    def missed(data):
        return int((data.states[:].closed & (data.states[:].held < 0)).sum())

    assert missed(record(200, PICK_TASKS)) > 10 and missed(record(200, PICK_TASKS, disturbance=0.0)) == 0


def test_the_same_seed_gives_the_same_episodes_and_a_longer_recording_starts_with_the_shorter():
    a, b = record(5, seed=11), record(9, seed=11)
    frames = a.frames
    assert torch.equal(a.states[:].xyz, b.states[:frames].xyz) and torch.equal(a.actions, b.actions[:frames])


def test_some_episodes_taken_out_are_the_same_episodes(episodes):
    some = episodes.take(torch.tensor([7, 2, 2]))
    assert len(some) == 3 and some.start.tolist() == [0, int(some.length[0]), int(some.length[:2].sum())]
    for i, e in enumerate((7, 2, 2)):
        mine = slice(int(some.start[i]), int(some.start[i] + some.length[i]))
        theirs = slice(int(episodes.start[e]), int(episodes.start[e] + episodes.length[e]))
        assert torch.equal(some.states[mine].xyz, episodes.states[theirs].xyz) and some.task[i] == episodes.task[e]
        assert torch.equal(some.actions[mine], episodes.actions[theirs])
    picks = episodes.take(episodes.task == episodes.task[0])
    assert len(picks) >= 1 and (picks.task == episodes.task[0]).all() and len(episodes.take(slice(3, 5))) == 2
    with pytest.raises(ValueError, match="at least one episode"):
        episodes.take(slice(0))


def test_pictures_are_drawn_from_the_frames_asked_for(episodes):
    frames = torch.tensor([5, 0, 17])
    assert torch.equal(episodes.pictures(frames, 32), render(episodes.states[frames], 32))
    assert episodes.pictures(frames).shape == (3, 64, 64, 3)


def test_bad_arguments_are_explained():
    with pytest.raises(ValueError, match="n_episodes >= 1"):
        record(0)
    with pytest.raises(ValueError, match="fails in most scenes"):
        record(2, expert=lambda state, goals: torch.zeros(len(state), 11), max_steps=2)

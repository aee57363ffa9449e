"""Cutting training windows out of episodes and footage."""

import pytest
import torch

from course_lib.actions import ActionSpace
from course_lib.datasets import Footage, Windows, record
from course_lib.datasets.footage import Reel
from course_lib.world.render import render


@pytest.fixture(scope="module")
def episodes():
    return record(40, seed=7)


@pytest.fixture(scope="module")
def footage(episodes):
    """The same episodes as stored pictures, in two parts."""
    images = render(episodes.states[:], 32)
    reel = Reel([images[:100], images[100:]])
    parts = (episodes.actions, episodes.start, episodes.length, episodes.task)
    return Footage(reel, *parts, tuple(episodes.sentences()), ActionSpace.workbook())


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


def test_footage_gives_the_same_batches_as_the_states_it_was_drawn_from(episodes, footage):
    words = torch.eye(len(episodes.tasks))
    drawn = Windows(episodes, words, batch=16, size=32, seed=4)(3)
    stored = Windows(footage, words, batch=16, seed=4)(3)
    assert all(torch.equal(drawn[key], stored[key]) for key in drawn) and drawn.keys() == stored.keys()


def test_a_reel_of_many_parts_is_one_row_of_pictures():
    images = torch.arange(7 * 2 * 2 * 3, dtype=torch.uint8).reshape(7, 2, 2, 3)
    reel = Reel([images[:3], images[3:4], images[4:]])
    frames = torch.tensor([6, 0, 3, 3, 4, 2])
    assert len(reel) == 7 and reel.shape == (7, 2, 2, 3) and torch.equal(reel[frames], images[frames])


def test_footage_says_at_which_size_it_is_stored(footage):
    with pytest.raises(ValueError, match="stored at 32x32, not 64x64"):
        footage.pictures(torch.tensor([0]), 64)


def test_the_releases_mask_leaves_out_the_last_step_and_with_it_every_terminate(episodes):
    words = torch.eye(len(episodes.tasks))
    ours, release = (Windows(episodes, words, history=30, size=16, mask_last=m) for m in (False, True))
    which, where = torch.arange(40), torch.zeros(40)
    a, b = ours.cut(which, where), release.cut(which, where)
    assert torch.equal(a["valid"].sum(1), episodes.length) and torch.equal(b["valid"].sum(1), episodes.length - 1)
    assert a["actions"][a["valid"]][:, -1].sum() == 40 and b["actions"][b["valid"]][:, -1].sum() == 0


def test_bad_arguments_are_explained(episodes):
    with pytest.raises(ValueError, match="one embedding per task"):
        Windows(episodes, torch.eye(3))
    with pytest.raises(ValueError, match="history and batch"):
        Windows(episodes, torch.eye(len(episodes.tasks)), history=0)

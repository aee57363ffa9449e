"""The mask check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.attention import rt1_mask
from course_lib.classroom.checks.positions import POSITIONS, check_positions

RIGHT, WRONG, right, wrong = answers()


@right
def in_torch(T, K, A):
    """The ground for most of the mistakes below."""
    p = torch.arange(T * (K + A))
    action = p % (K + A) >= K
    mask = (p[:, None] >= p[None, :]) & ~(action[:, None] & action[None, :])
    return mask, torch.arange(T)[:, None] * (K + A) + K - 1 + torch.arange(A)


@right
def with_loops(T, K, A):
    kinds = (["image"] * K + ["action"] * A) * T
    mask = [[j <= i and not (a == b == "action") for j, b in enumerate(kinds)] for i, a in enumerate(kinds)]
    return mask, [i - 1 for i, kind in enumerate(kinds) if kind == "action"]


@right
def in_numpy_as_numbers(T, K, A):
    is_action = np.tile(np.r_[np.zeros(K), np.ones(A)], T)
    mask = np.tril(np.ones((T * (K + A),) * 2)) * (1 - np.outer(is_action, is_action))
    return mask.astype(np.int64), np.flatnonzero(is_action).reshape(T, A) - 1


@right
def in_blocks(T, K, A):
    mask = torch.zeros(T, K + A, T, K + A)
    for step in range(T):
        mask[step, :, :step] = 1
        mask[step, :, step] = torch.tril(torch.ones(K + A, K + A))
    mask[:, K:, :, K:] = 0
    return mask.reshape(T * (K + A), -1), torch.stack([torch.arange(K - 1, K + A - 1) + t * (K + A) for t in range(T)])


@right
def the_librarys_inside(T, K, A):
    return rt1_mask(T, K, A), in_torch(T, K, A)[1].int()


def parts_of(T, K, A):
    mask, read = in_torch(T, K, A)
    p = torch.arange(len(mask))
    return mask, read, p % (K + A) >= K, p // (K + A)


def pairs(action):
    return action[:, None] & action[None, :]


def back(mask):
    return torch.ones_like(mask).tril()


def eye(mask):
    return torch.eye(len(mask), dtype=torch.bool)


MASKS = {  # name: (mask from (right mask, is action, step, K, A), message)
    "transposed": (lambda m, a, s, K, A: m.T, "Rows and columns are exchanged"),
    "inverted": (lambda m, a, s, K, A: ~m, "True and False are exchanged"),
    "plain_causal": (lambda m, a, s, K, A: back(m), "your mask lets an action see actions"),
    "everybody": (lambda m, a, s, K, A: torch.ones_like(m), "Everybody may look at everybody"),
    "no_causality": (lambda m, a, s, K, A: ~pairs(a), "Nobody is kept from looking ahead"),
    "actions_see_themselves": (lambda m, a, s, K, A: m | eye(m), "Action positions may look at themselves"),
    "earlier_actions": (
        lambda m, a, s, K, A: back(m) & ~(pairs(a) & (s[:, None] == s)),
        "the actions of earlier steps",
    ),
    "own_steps_actions": (
        lambda m, a, s, K, A: back(m) & ~(pairs(a) & (s[:, None] != s)),
        "the actions of their own step",
    ),
    "strictly_before": (lambda m, a, s, K, A: m & ~eye(m), "Image positions may not look at themselves"),
    "the_port": (lambda m, a, s, K, A: m & ~a, "Image positions may not look at past action"),
    "blind_actions": (lambda m, a, s, K, A: back(m) & ~a[:, None], "Action positions look at nothing"),
    "whole_frames": (lambda m, a, s, K, A: (s[:, None] >= s) & ~pairs(a), "Within a step, image tokens may look ahead"),
    "no_history": (lambda m, a, s, K, A: m & (s[:, None] == s), "the history is lost"),
    "earlier_steps_only": (
        lambda m, a, s, K, A: ((s[:, None] > s) | eye(m)) & ~pairs(a),
        "the images of their own step",
    ),
    "one_image_more": (
        lambda m, a, s, K, A: back(m) & ~pairs(torch.arange(len(m)) % (K + A) > K),
        "The first action token of each step counts as an image",
    ),
    "one_entry": (lambda m, a, s, K, A: m & ~((s[:, None] == 1) & (s == 0) & ~a[:, None]), "should be allowed to look at"),
    "additive": (lambda m, a, s, K, A: torch.zeros(m.shape).masked_fill(~m, -torch.inf), "made to be added"),
    "with_twos": (lambda m, a, s, K, A: m.long() * (1 + a.long()), "two kinds of entries"),
    "too_small": (lambda m, a, s, K, A: m[1:, 1:], "the mask should be"),
    "with_a_batch": (lambda m, a, s, K, A: m[None], "positions the mask should be"),
    "none": (lambda m, a, s, K, A: None, "mask is None"),
}
for name, (make, message) in MASKS.items():

    def positions(T, K, A, make=make):
        mask, read, action, step = parts_of(T, K, A)
        return make(mask, action, step, K, A), read

    positions.__name__ = name
    wrong(message)(positions)

READS = {  # name: (read from (right read, T, K, A), message)
    "late": (lambda r, T, K, A: r + 1, "one position late"),
    "early": (lambda r, T, K, A: r - 1, "one position too early"),
    "two_late": (lambda r, T, K, A: r + 2, "two positions late"),
    "at_the_images": (lambda r, T, K, A: r - K + 1, "from the beginning of each step"),
    "first_steps": (lambda r, T, K, A: r[:1].expand(T, A), "at the positions of the first one"),
    "steps_of_k": (lambda r, T, K, A: torch.arange(T)[:, None] * K + K - 1 + torch.arange(A), "not K."),
    "steps_of_a": (lambda r, T, K, A: torch.arange(T)[:, None] * A + K - 1 + torch.arange(A), "not A."),
    "after_all_images": (lambda r, T, K, A: T * K - 1 + torch.arange(T * A), "The steps follow one another"),
    "columns_first": (lambda r, T, K, A: r.T.reshape(T, A), "in another order"),
    "one_position": (lambda r, T, K, A: r[:, :1].expand(T, A), "are read at one position"),
    "newest_first": (lambda r, T, K, A: r.flip(0), "in reverse order"),
    "last_step_only": (lambda r, T, K, A: r[-1], "read positions for each of"),
    "not_whole": (lambda r, T, K, A: r / 2 + 0.25, "whole numbers"),
    "one_wrong": (lambda r, T, K, A: r + (torch.arange(T * A).view(T, A) == T * A - 1) * 3, "should be read at position"),
}
for name, (make, message) in READS.items():

    def positions(T, K, A, make=make):
        mask, read = in_torch(T, K, A)
        return mask, make(read, T, K, A)

    positions.__name__ = name
    wrong(message)(positions)


@wrong("the action tokens first")
def actions_first(T, K, A):
    mask, read, _, _ = parts_of(T, K, A)
    return back(mask) & ~pairs(torch.arange(len(mask)) % (K + A) < A), read


@wrong("all image tokens of all steps first")
def images_of_all_steps_first(T, K, A):
    mask, read, _, _ = parts_of(T, K, A)
    return back(mask) & ~pairs(torch.arange(len(mask)) >= T * K), read


@wrong("got one Tensor")
def only_the_mask(T, K, A):
    return in_torch(T, K, A)[0].sum()


@wrong("returns nothing")
def forgets_return(T, K, A):
    in_torch(T, K, A)


@wrong("There is still a stub", "not attempted")
def not_attempted(T, K, A):
    raise NotImplementedError


@wrong("RuntimeError", "error in your code")
def wrong_sizes(T, K, A):
    return torch.ones(T * (K + A), T * (K + A)).tril() * torch.ones(T + 3, 7), 0


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_sizes(name):
    accepted(POSITIONS, RIGHT[name])


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(POSITIONS, *about) for about in WRONG.values()])


def test_the_courses_own_mask_is_no_answer():
    assert "course's own" in check_positions(rt1_mask).message
    assert "the function itself" in check_positions(in_torch(2, 2, 2)).hint


def test_rt1s_own_numbers_stand_in_every_check():
    sizes = {tuple(case["sizes"].tolist()) for case in POSITIONS.draw(np.random.default_rng(0), False)}
    assert (6, 8, 11) in sizes and any(T == K == A for T, K, A in sizes) and any(len({T, K, A}) == 3 for T, K, A in sizes)
    mask, read = in_torch(6, 8, 11)
    assert mask.shape == (114, 114) and mask.sum() == 4344 and read[-1].tolist() == list(range(102, 113))


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(POSITIONS, in_torch)

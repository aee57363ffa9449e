"""The gaze check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.gaze import GAZE, check_gaze

RIGHT, WRONG, right, wrong = answers()


def pooled(maps, target):
    _, h, w = maps.shape
    H, W = target.shape
    return target.float().reshape(h, H // h, w, W // w).mean((1, 3))


def normal(maps):
    return maps / maps.sum((1, 2), keepdim=True)


def width(p):
    return 2 ** -(p * torch.where(p > 0, p, 1).log2()).sum((1, 2))


@right
def in_torch(maps, target):
    p = normal(maps)
    return (p * pooled(maps, target)).sum((1, 2)), width(p)


@right
def in_einsum(maps, target):
    p = normal(maps)
    part = F.adaptive_avg_pool2d(target.float()[None], maps.shape[1:])[0]
    return torch.einsum("khw,hw->k", p, part), torch.exp(torch.special.entr(p).sum((1, 2)))


@right
def with_loops(maps, target):
    target, shares, widths = target.tolist(), [], []
    (K, h, w), H, W = maps.shape, len(target), len(target[0])
    for k in range(K):
        total, share, bits = float(maps[k].sum()), 0.0, 0.0
        for y in range(h):
            for x in range(w):
                p = float(maps[k, y, x]) / total
                rows = [row[x * W // w : (x + 1) * W // w] for row in target[y * H // h : (y + 1) * H // h]]
                share += p * sum(map(sum, rows)) / (len(rows) * len(rows[0]))
                bits -= p * np.log2(p) if p > 0 else 0
        shares, widths = [*shares, share], [*widths, 2**bits]
    return shares, widths


@right
def enlarged_in_numpy(maps, target):
    maps, target = np.asarray(maps, np.float64), np.asarray(target)
    down, across = target.shape[0] // maps.shape[1], target.shape[1] // maps.shape[2]
    large = np.kron(maps, np.ones((down, across)))
    p = maps / maps.sum((1, 2), keepdims=True)
    return (large * target).sum((1, 2)) / large.sum((1, 2)), 2 ** -(p * np.log2(p + 1e-12)).sum((1, 2))


@right
def as_an_array(maps, target):
    p = normal(maps).double()
    return np.stack([np.asarray((p * pooled(maps, target)).sum((1, 2))), np.asarray(width(p))])


def mistaken_target(message, formula):
    """A wrong answer whose on_target is ``formula(maps, p, part, target)``."""

    def answer(maps, target):
        p = normal(maps)
        return formula(maps, p, pooled(maps, target), target), width(p)

    WRONG[formula.__name__ if formula.__name__ != "<lambda>" else message] = (answer, message, "not yet")


def mistaken_cells(message, formula):
    """A wrong answer whose cells are ``formula(maps, p, bits)``."""

    def answer(maps, target):
        p = normal(maps)
        return (p * pooled(maps, target)).sum((1, 2)), formula(maps, p, width(p).log2())

    WRONG[message] = (answer, message, "not yet")


def tiled(maps, p, part, target):
    down, across = target.shape[0] // p.shape[1], target.shape[1] // p.shape[2]
    return (p.repeat(1, down, across) * target).sum((1, 2)) / (down * across)


def smooth(maps, p, part, target):
    large = F.interpolate(p[None], target.shape, mode="bilinear")[0]
    return (large * target).sum((1, 2)) / large.sum((1, 2))


mistaken_target("smooth edges", smooth)
mistaken_target("do not sum to 1", lambda m, p, c, t: (m * c).sum((1, 2)))
mistaken_target("divided by one sum", lambda m, p, c, t: (m / m.sum() * c).sum((1, 2)))
mistaken_target("divided by its maximum", lambda m, p, c, t: (m / m.amax((1, 2), keepdim=True) * c).sum((1, 2)))
mistaken_target("a mean where a sum belongs", lambda m, p, c, t: (p * c).mean((1, 2)))
mistaken_target("one pixel of the target counts in full", lambda m, p, c, t: (p * (c > 0)).sum((1, 2)))
mistaken_target("by their majority", lambda m, p, c, t: (p * (c >= 0.5)).sum((1, 2)))
mistaken_target("tiled over the picture", tiled)
mistaken_target("the target's part of the picture", lambda m, p, c, t: t.float().mean().expand(len(m)))
mistaken_target("not on the target", lambda m, p, c, t: 1 - (p * c).sum((1, 2)))
mistaken_target("divided by the target's size", lambda m, p, c, t: (p * c).sum((1, 2)) / c.sum())
mistaken_target("Only the cell with the most attention", lambda m, p, c, t: c.flatten()[m.flatten(1).argmax(1)])
mistaken_target("on_target of number", lambda m, p, c, t: (p * c).sum((1, 2)).roll(1))
mistaken_cells("the entropy, in bits", lambda m, p, bits: bits)
mistaken_cells("in nats (the natural", lambda m, p, bits: bits * np.log(2))
mistaken_cells("in nats, but 2 was raised", lambda m, p, bits: 2 ** (bits * np.log(2)))
mistaken_cells("in bits, but e was raised", lambda m, p, bits: bits.exp())
mistaken_cells("cells is below 1", lambda m, p, bits: 2**-bits)
mistaken_cells("entropy is of maps that do not sum to 1", lambda m, p, bits: width(m))
mistaken_cells("the width of the mean map", lambda m, p, bits: width(p.mean(0, keepdim=True)).expand(len(m)))
mistaken_cells("All tokens have the same number", lambda m, p, bits: (2**bits).mean().expand(len(m)))
mistaken_cells("any attention counts as one", lambda m, p, bits: (p > 0).sum((1, 2)))
mistaken_cells("1 / sum(p ** 2)", lambda m, p, bits: 1 / (p**2).sum((1, 2)))
mistaken_cells("averaged over the cells", lambda m, p, bits: 2 ** (bits / p[0].numel()))
mistaken_cells("as a part of the largest", lambda m, p, bits: bits / np.log2(p[0].numel()))
mistaken_cells("NaN or infinite", lambda m, p, bits: 2 ** -(p * p.log2()).sum((1, 2)))


@wrong("There is still a stub", "not attempted")
def blank(maps, target):
    raise NotImplementedError


@wrong("Nothing was returned")
def forgets_return(maps, target):
    in_torch(maps, target)


@wrong("in the other order")
def other_order(maps, target):
    return in_torch(maps, target)[::-1]


@wrong("got 1 of them")
def one_thing(maps, target):
    return in_torch(maps, target)[:1]


@wrong("one number per map, should be numbers of the shape")
def mean_over_tokens(maps, target):
    on_target, cells = in_torch(maps, target)
    return on_target.mean(), cells.mean()


@wrong("a dictionary")
def dictionary(maps, target):
    return dict(zip(("on_target", "cells"), in_torch(maps, target), strict=True))


@wrong("changes its inputs in place")
def in_place(maps, target):
    maps /= maps.sum((1, 2), keepdim=True)
    return in_torch(maps, target)


@wrong("The size of tensor", "error in your code")
def without_pooling(maps, target):
    return (normal(maps) * torch.cat([target, target[:1]])).sum((1, 2)), width(normal(maps))


@wrong("AttributeError", "error in your code")
def as_if_numpy(maps, target):
    return maps.astype(float), maps


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(GAZE, RIGHT[name])


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(GAZE, *about) for about in WRONG.values()])


def test_rows_and_columns_exchanged_are_noticed_where_both_are_as_long():
    def transposed(maps, target):
        p = normal(maps)
        return (p * pooled(maps, target).T).sum((1, 2)), width(p)

    assert "Rows and columns are exchanged" in check_gaze(transposed, 0).message


def test_a_mean_that_hides_in_one_map_or_a_square_is_found_by_another_case():
    sizes = {case["maps"].shape for hidden in (False, True) for case in GAZE.draw(np.random.default_rng(3), hidden)}
    assert any(k == h == w for k, h, w in sizes) and any(len({k, h, w}) == 3 for k, h, w in sizes)


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(GAZE, in_torch)


def test_the_function_itself_is_asked_for():
    assert "Give it" in str(check_gaze(3)) or "Give the check the function itself" in str(check_gaze(3))

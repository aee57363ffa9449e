"""What lies beyond the edge of the picture: nothing of it is drawn, into no picture, however far the base went."""

from dataclasses import replace

import torch

from course_lib.world.render import render, segment
from course_lib.world.tabletop import reset


def views(base):
    """One table with a cabinet, seen from these places of the base."""
    base = torch.as_tensor(base, dtype=torch.float32)
    zeros = torch.zeros(len(base), dtype=torch.long)
    state = reset(zeros, torch.tensor([[0, 3, 5]]).expand(len(base), -1), torch.ones(len(base), dtype=torch.bool))
    return replace(state, base=base)


def test_a_view_that_slid_away_in_any_direction_can_be_drawn_and_does_not_touch_its_neighbours():
    steps = torch.linspace(-0.8, 0.8, 9)
    places = torch.cartesian_prod(steps, steps, torch.tensor([0.0, 2.0]))
    some = views(places)
    together = render(some, 32)
    alone = torch.cat([render(some[i : i + 1], 32) for i in range(len(some))])
    assert torch.equal(together, alone)
    here = segment(some, 32)
    away = places[:, :2].abs().amax(-1) > 0.75
    still = ((here > 0) & (here <= 3)).flatten(1).any(1)
    assert not still[away].any() and still[~away].any()  # objects are seen from near, not from far

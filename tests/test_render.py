"""Pictures and labels of the tabletop."""

import numpy as np
import pytest
import torch

from course_lib.world import tabletop
from course_lib.world.drawings import Pen
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.fixtures import TILT
from course_lib.world.render import label_names, render, segment
from course_lib.world.sprites import VIEW
from dataclasses import replace

from course_lib.world.tabletop import reset


def scene(n=4, kinds=(0, 3, 5)):
    return reset(torch.arange(n), torch.tensor([kinds]).expand(n, -1))


def test_pictures_are_uint8_of_the_asked_size_and_not_blank():
    for size in (32, 64, 96):
        picture = render(scene(), size)
        assert picture.shape == (4, size, size, 3) and picture.dtype == torch.uint8
        assert picture.float().std() > 10


def test_a_picture_is_the_same_alone_or_in_a_batch_and_does_not_change_the_state():
    state = scene()
    before = state.xyz.clone()
    assert torch.equal(render(state)[2:3], render(state[2:3])) and torch.equal(state.xyz, before)


def test_an_object_appears_where_it_is():
    state = scene(8)
    labels = segment(state)
    for n in range(8):
        for k in range(3):
            rows, columns = (labels[n] == k + 1).nonzero().float().mean(0).tolist()
            x, y, _ = state.xyz[n, k].tolist()
            assert columns == pytest.approx((x / VIEW + 0.5) * 64, abs=3.5)
            assert rows == pytest.approx((0.5 - y / VIEW) * 64, abs=3.5)


def test_height_moves_the_gripper_up_the_picture_and_leaves_its_shadow():
    low = replace(scene(1), gripper=torch.tensor([[0.0, 0.0, 0.0]]))
    high = replace(low, gripper=torch.tensor([[0.0, 0.0, 0.1]]))

    def row(state):
        labels = segment(state)[0]
        return (labels == int(labels.max())).nonzero()[:, 0].float().mean()

    assert row(low) - row(high) == pytest.approx(TILT * 0.1 / VIEW * 64, abs=1.5)
    empty = replace(high, kind=torch.full_like(high.kind, -1))
    without = replace(empty, gripper=torch.tensor([[0.0, 0.15, 0.1]]))
    assert render(empty)[0, 31:34, 30:34].float().mean() < 0.85 * render(without)[0, 31:34, 30:34].float().mean()


def test_an_open_and_a_closed_gripper_look_different():
    state = scene(1)
    assert (render(state) != render(replace(state, closed=torch.tensor([True])))).any()


def test_moving_the_base_slides_the_view():
    state = replace(scene(1), gripper=torch.tensor([[0.0, -0.17, 0.0]]))
    moved = replace(state, base=torch.tensor([[0.05, 0.0, 0.0]]))  # 8 pixels
    a, b = segment(state)[0], segment(moved)[0]
    inner = a[:40, 12:52]
    assert torch.equal(torch.where(inner < 4, inner, 0), torch.where(b[:40, 4:44] < 4, b[:40, 4:44], 0))
    assert (render(state)[0, :20, 12:52].float() - render(moved)[0, :20, 4:44].float()).abs().mean() < 1


def test_pictures_can_be_made_first_inside_inference_mode_and_then_outside():
    with torch.inference_mode():
        first = render(scene(1, (1, 2, 3)), 40)
    assert first.shape == (1, 40, 40, 3)
    assert segment(scene(6, (7, 8, 9)), 40).max() == 4 and render(scene(6, (10, 11, 12)), 40).shape[0] == 6


def test_empty_places_draw_nothing():
    state = replace(scene(1), kind=torch.full((1, 3), -1))
    assert set(segment(state).unique().tolist()) == {0, 4}
    assert label_names(state) == ["table", "nothing", "nothing", "nothing", "gripper"]


def test_every_kind_has_its_own_look():
    pictures = []
    for kind in range(len(KINDS)):
        state = tabletop.reset(torch.tensor([7]), torch.tensor([[kind]]))
        pictures.append(render(replace(state, yaw=torch.zeros(1, 1)))[0].float())
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert (one - other).abs().sum() > 2000


def test_every_drawing_fills_its_square_and_leaves_the_corners():
    for kind in KINDS:
        pen = Pen(64)
        kind.draw(pen)
        alpha = np.asarray(pen.image)[..., 3]
        assert 0.12 < (alpha > 127).mean() < 0.9, kind.name


def test_an_unknown_object_suggests_near_names():
    with pytest.raises(ValueError, match="Did you mean apple"):
        kind_index("aple")
    with pytest.raises(ValueError, match="There are apple"):
        kind_index("zzz")
    assert NAMES[kind_index("coke can")] == "coke can"


def test_absurd_picture_sizes_are_refused():
    with pytest.raises(ValueError, match="16 to 512"):
        render(scene(1), 8)

"""Pictures and labels of the tabletop."""

import math
import threading
from dataclasses import replace

import pytest
import torch

from course_lib.world import bench, layout
from course_lib.world.fixtures import TILT
from course_lib.world.objects import KINDS
from course_lib.world.plain_render import plain_render
from course_lib.world.render import CANVAS, label_names, placed, render, segment
from course_lib.world.sprites import VIEW, sprite_table
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
        state = reset(torch.tensor([7]), torch.tensor([[kind]]))
        pictures.append(render(replace(state, yaw=torch.zeros(1, 1)))[0].float())
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert (one - other).abs().sum() > 2000


def test_absurd_picture_sizes_are_refused():
    with pytest.raises(ValueError, match="16 to 512"):
        render(scene(1), 8)


def busy(n=12, seed=0):
    """Tables with all there is: cabinets, open drawers, contents, leaning things, a moved and turned base, a held thing."""
    random = torch.Generator().manual_seed(seed)
    kinds = torch.rand(n, len(KINDS), generator=random).topk(5, 1).indices
    state = reset(torch.arange(n), kinds, torch.arange(n) % 3 > 0)

    def uniform(*shape):
        return torch.rand(*shape, generator=random) - 0.5

    return replace(
        state,
        yaw=6 * uniform(n, 5),
        tilt=math.pi / 2 * (uniform(n, 5) > 0.3),
        inside=torch.where(uniform(n, 5) > 0.3, torch.tensor([1, 0, 5, 6, 2]), -1),
        drawer=0.1 * (uniform(n, 2) + 0.5),
        base=uniform(n, 3) * torch.tensor([0.3, 0.3, 2.0]),
        held=torch.arange(n) % 7 - 2,
        closed=torch.arange(n) % 2 == 0,
        wrist=uniform(n, 3),
        camera=0.02 * uniform(n, 2),
        table=torch.arange(n) * 5,
    )


@pytest.mark.parametrize("size", [40, 64])
def test_the_fast_picture_equals_the_plain_one_in_every_bit(size):
    state = busy()
    assert torch.equal(render(state, size), plain_render(state, size))


def test_a_picture_agrees_with_painting_in_floats():
    """An oracle without whole numbers, packing or lists of pixels: one apple on a table, blended as in the textbook."""
    state = replace(scene(1, (0,)), gripper=torch.tensor([[0.0, 0.9, 0.0]]), light=torch.ones(1, 3), tint=torch.ones(1, 1))
    without = render(replace(state, kind=torch.tensor([[-1]])))[0].double()
    table, sprites = sprite_table(64, "cpu"), layout.sprites_of(state)
    middle, shift = placed(sprites.at, 64)
    (row, column), apple = middle[0, 0].tolist(), torch.tensor([0])
    number = table.number(apple, sprites.angle[0, :1], sprites.scale[0, :1], shift[0, :1])
    square = table.squares(0, number)[0].double()
    half = len(square) // 2
    part = without[row - half : row + half, column - half : column + half]
    part[:] = square[..., :3] + part * (1 - square[..., 3:] / 255)
    assert (render(state)[0].double() - without).abs().max() <= 4  # of 255: three roundings down


def test_a_picture_is_the_same_alone_in_a_batch_and_across_chunks(monkeypatch):
    state = busy()
    whole, labels = render(state), segment(state)
    assert all(torch.equal(whole[i : i + 1], render(state[i : i + 1])) for i in range(len(state)))
    monkeypatch.setitem(CANVAS, "cpu", 40_000)  # two frames at a time
    assert torch.equal(whole, render(state)) and torch.equal(labels, segment(state))


def test_several_threads_may_render_at_once():
    state, size, found = busy(6), 37, {}  # a size of its own: its sprites are made in the race

    def work(i):
        found[i] = render(state, size)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expected = plain_render(state, size)
    assert all(torch.equal(found[i], expected) for i in range(3))


def test_rendering_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        render(scene(1))
        assert torch.get_num_threads() == 2
        with pytest.raises(IndexError):
            render(replace(scene(1), kind=torch.tensor([[10_000, 0, 1]])))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_a_gpu_draws_the_same_pictures():
    state = busy(64)
    here, there = render(state).int(), render(state.to("cuda")).cpu().int()
    assert (here != there).any(-1).float().mean() < 0.01  # a cosine's last bit may move a pixel


def test_the_benchmark_prints_a_line_for_everything_it_measures(capsys):
    assert bench.main(["--frames", "2", "--threads", "1", "--only", "64 px", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15] for line in lines[2:]] == ["render 64 px, 3", "render 64 px, 5"]
    for name, (unit, prepare) in bench.BENCHMARKS.items():
        if "render" in name:
            assert unit == "frames/s" and prepare("cpu", 3)() == 3, name

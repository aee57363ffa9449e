"""The figures of the RT-1 lessons show the numbers they were given, and say them in their alternative texts."""

import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_lib.attention import rt1_mask
from course_lib.classroom.plots_numbers import budget_figure, joint_figure, rates_figure, staircase_figure
from course_lib.classroom.plots_rt1 import (
    architecture_figure,
    learners_figure,
    mask_figure,
    show,
    survival_figure,
)
from course_lib.measure import wilson
from course_lib.rt1 import RT1, RT1Config


def texts(figure):
    return " ".join(text.get_text() for axis in figure.axes for text in axis.texts)


def test_the_drawing_quotes_the_shapes_of_a_real_pass():
    policy = RT1(RT1Config.tiny(history=3)).eval()
    trace = {"images": torch.rand(1, 3, 3, 64, 64), "instruction": torch.randn(1, 384)}
    with torch.inference_mode():
        trace["logits"] = policy(trace["images"], trace["instruction"], trace)
    figure = architecture_figure(trace)
    for said in ("3 pictures", "64 × 64 × 3", "8 × 8 × 96", "= 64 places", "64 → 8 tokens", "3 × (8 + 11) = 57"):
        assert said in texts(figure), said
    assert "2 layers" in texts(figure) and "into 5 + 1 FiLM layers" in texts(figure) and "384 numbers" in texts(figure)
    assert "57 together" in figure.get_label()


def test_the_mask_is_drawn_entry_for_entry_and_counted_in_words():
    mask = rt1_mask(3, 2, 4)
    figure = mask_figure(mask, 2, 4, torch.arange(13, 17))
    whole, corner = (np.asarray(axis.images[0].get_array()) for axis in figure.axes)
    assert np.array_equal(whole > 0, mask.numpy()) and np.array_equal(whole[6:, 6:], corner)
    is_action = np.arange(18) % 6 >= 2
    assert set(whole[:, is_action].flatten()) == {0, 2} and set(whole[:, ~is_action].flatten()) == {0, 1}
    label, m = figure.get_label(), mask.numpy()
    counts = [m[np.ix_(a, b)].sum() for a, b in ((~is_action, ~is_action), (is_action, ~is_action), (~is_action, is_action))]
    assert [int(n) for n in re.findall(r"(\d+) times", label)] == counts and f"{m.sum()} ones" in label
    assert "13 to 16" in label


def test_survival_draws_a_line_for_each_kind_of_film_in_both_panels():
    lines = {"a": [1.0, 1.0, 1.0], "b": [0.1, 1e-5, 1e-8]}
    figure = survival_figure(lines, {"a": [1.0, 1.0, 1.0], "b": [0.5, 0.1, 0.0]})
    assert all(len(axis.lines) == 2 for axis in figure.axes) and figure.axes[0].get_yscale() == "log"
    assert np.array_equal(figure.axes[0].lines[1].get_ydata(), lines["b"])
    assert len({(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}) == 2  # not by colour alone
    assert "b: 1.0e-08 and 0.00" in figure.get_label()


def test_learners_are_compared_relative_to_even_attention():
    even = np.full((2, 3, 3), 0.5)
    peak = np.zeros((2, 3, 3))
    peak[:, 1, 1] = 1
    figure = learners_figure({"even": even, "one place": peak})
    shown = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[:4]]
    assert np.allclose(shown[0], 1) and shown[2].max() == 9 and "one place: 9.0" in figure.get_label()
    assert [axis.get_title() for axis in figure.axes[:2]] == ["token 1", "token 2"]


def test_the_staircase_says_the_errors_it_draws():
    wanted = np.linspace(-2, 2, 401)
    figure = staircase_figure(wanted, {"floor": np.floor(wanted), "nearest": np.round(wanted)}, "mm")
    error = figure.axes[1].lines[0].get_ydata()
    assert np.array_equal(error, np.floor(wanted) - wanted)
    assert f"floor: {error.min():.1f} to {error.max():.1f}, mean {error.mean():.1f} mm" in figure.get_label()


def test_probabilities_stand_in_their_cells():
    figure = joint_figure({"people": np.array([[0.5, 0], [0.25, 0.25]])}, ["left", "right"], ["slow", "fast"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["50%", "0%", "25%", "25%"]
    assert "left and slow 50%" in figure.get_label() and "right and fast 25%" in figure.get_label()


def test_rates_stand_in_order_with_their_intervals():
    rates = {"unseen": {"RT-1": wilson(16, 21), "Gato": wilson(11, 21)}}
    figure = rates_figure(rates)
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Gato", "RT-1"]  # the first row is on top
    bars = {line.get_ydata()[0]: 100 * np.array(line.get_xdata()) / 100 for line in axis.lines if len(line.get_xdata()) == 2}
    assert bars[1] == pytest.approx([100 * rates["unseen"]["RT-1"].low, 100 * rates["unseen"]["RT-1"].high])
    assert axis.get_title() == "unseen (n = 21)" and "RT-1: 76%, interval 55% to 89%" in figure.get_label()


def test_the_budget_draws_each_span_to_scale():
    figure = budget_figure({"network": (0, 15), "wait": (15, 280)}, 333)
    bars = figure.axes[0].patches
    assert sorted((bar.get_x(), bar.get_width()) for bar in bars) == [(0, 15), (15, 265)]
    assert "network 15, wait 265" in figure.get_label() and "333" in figure.get_label()


def test_a_figure_is_shown_with_its_words_and_never_without():
    figure = joint_figure({"p": np.ones((1, 1))}, ["a"], ["b"])
    assert "a and b 100%" in show(figure, "A caption.").data and "<figcaption>A caption." in show(figure, "A caption.").data
    with pytest.raises(ValueError, match=r"Expected a figure with an alternative text\. Try"):
        show(Figure())

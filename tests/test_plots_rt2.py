"""The figures of the RT-2 lessons show the numbers they were given, and say them in their alternative texts."""

import numpy as np
import pytest
import torch
from small_rt2 import pictures, small_policy

from course_lib.attention import causal_mask, prefix_lm_mask
from course_lib.classroom.plots_rt2 import (
    control_rate_figure,
    forgetting_figure,
    pipeline_figure,
    prefix_mask_figure,
    rope_figure,
)
from course_lib.rt2.config import GemmaConfig
from course_lib.rt2.gemma import rotary, rotate


def texts(figure):
    return " ".join(text.get_text() for axis in figure.axes for text in axis.texts)


def test_the_drawing_quotes_the_shapes_of_a_real_pass():
    policy = small_policy()
    vlm = policy.vlm
    images, tokens = policy.pictures(pictures(1)), torch.tensor([policy.prompts.question("what is the apple")])
    trace = {"images": images, "tokens": tokens}
    with torch.inference_mode():
        trace["logits"] = vlm(images, tokens, trace=trace)
        trace["patches"] = vlm.vision(images)
        trace["projected"], trace["embedded"] = vlm.projector(trace["patches"]), vlm.language.embed(tokens)
    figure, rows = pipeline_figure(trace), vlm.config.language.vocabulary
    for said in ("16 × 16 × 3", "2 layers:\n4 patches of 24", "24 → 32", "6 whole numbers", f"below {rows}", "4 + 6 = 10"):
        assert said in texts(figure), said
    assert "10 positions" in figure.get_label() and f"gives {rows} scores" in figure.get_label()


def test_masks_are_drawn_entry_for_entry_and_counted_in_words():
    masks = {"causal": causal_mask(9), "prefix": prefix_lm_mask(7, 2)}
    figure = prefix_mask_figure(masks, image=4, prompt=3)
    for axis, mask in zip(figure.axes, masks.values(), strict=True):
        drawn = np.asarray(axis.images[0].get_array())
        assert np.array_equal(drawn > 0, mask.numpy())
        assert set(drawn[:, :4].flatten()) <= {0, 1} and drawn[8, 5] == 2 and drawn[8, 8] == 3  # image, prompt, answer
    assert "causal: 45 of 81" in figure.get_label() and f"prefix: {int(masks['prefix'].sum())} of 81" in figure.get_label()


def test_rotary_scores_fall_on_one_curve_and_a_score_that_does_not_is_said():
    config = GemmaConfig(10, 16, 1, 2, 1, 8, 16)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    rotation = rotary(torch.arange(12)[None], config)
    queries, keys = (rotate(v.expand(1, 1, 12, -1), rotation)[0, 0] for v in (q, k))
    scores = (queries @ keys.T).numpy()
    figure = rope_figure(scores)
    x, y = figure.axes[1].lines[0].get_data()
    assert len({round(float(v), 4) for v in y[x == 3]}) == 1 and len(x) == 144
    spread = float(figure.get_label().split("within ")[1].split(",")[0])
    assert spread < 1e-4
    scores[0, 0] += 5  # not of one curve any more
    assert float(rope_figure(scores).get_label().split("within ")[1].split(",")[0]) == pytest.approx(5, rel=0.1)


def test_forgetting_has_a_panel_for_each_ability_and_a_line_for_each_run():
    runs = {"robot only": {"says": [1.0, 0.25], "acts": [0.0, 1.0]}, "half": {"says": [1.0, 1.0], "acts": [0.0, 0.5]}}
    figure = forgetting_figure(runs, 25)
    assert [axis.get_title() for axis in figure.axes] == ["says", "acts"]
    for axis, ability in zip(figure.axes, ("says", "acts"), strict=True):
        for line, run in zip(axis.lines, runs.values(), strict=True):
            assert list(line.get_xdata()) == [0, 25] and list(line.get_ydata()) == [100 * rate for rate in run[ability]]
        assert len({(line.get_linestyle(), line.get_marker()) for line in axis.lines}) == 2  # not by colour alone
    assert "says, robot only: 100% before, 25% after 25 steps" in figure.get_label()


def test_the_control_rate_is_the_memorys_speed_over_the_bytes_of_an_action():
    figure = control_rate_figure({"large": 40e9, "small": 1e9}, here=20e9)
    lines = {line.get_label().split(":")[0]: line for line in figure.axes[0].lines if ":" in line.get_label()}
    for name, size in (("large", 40e9), ("small", 1e9)):
        assert np.allclose(lines[name].get_ydata() * size, lines[name].get_xdata())
    dots = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [0.5, 20]
    assert "large needs 120 GB/s for 3 Hz and is held to 0.5 Hz here" in figure.get_label()

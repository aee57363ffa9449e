import re

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.classroom import lesson_widget
from course_lib.classroom.film_dial import FilmDial, film_figure, listen
from course_lib.rt1 import RT1, FiLM, RT1Config
from course_lib.rt1.film import NoFiLM


def policy_with(film=FiLM):
    torch.manual_seed(0)
    policy = RT1(RT1Config.tiny(), film=film)
    policy.instruction_encoder = lambda sentences: torch.stack([vector(s) for s in sentences])
    for name, weights in policy.named_parameters():
        if ".film." in f".{name}":
            nn.init.normal_(weights, std=0.3)
    return policy


def vector(sentence):
    generator = torch.Generator().manual_seed(sum(map(ord, sentence)))
    return nn.functional.normalize(torch.randn(384, generator=generator), dim=0)


@pytest.fixture(scope="module")
def observation():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return {"image": image, "instruction": "pick the apple"}


@pytest.fixture(scope="module")
def dial(observation):
    return FilmDial(policy_with(), observation, sentences=["pick the cup"], scene="an apple and a cup")


def test_every_film_layer_is_read_as_its_own_linear_layers_say(observation):
    policy = policy_with()
    heard = listen(policy, observation)
    assert [one.layer for one in heard] == [*(f"block {name}" for name in policy.encoder.blocks), "map"]
    for one, film in zip(heard, [*(b.film for b in policy.encoder.blocks.values()), policy.encoder.film], strict=True):
        z = vector("pick the apple")
        np.testing.assert_allclose(one.scale, film.to_scale(z).detach(), atol=1e-5)
        np.testing.assert_allclose(one.shift, film.to_shift(z).detach(), atol=1e-5)


def test_scale_and_shift_make_the_map_that_the_network_goes_on_with(observation):
    policy, trace = policy_with(), {}
    policy.act(observation, trace)
    for one in listen(policy, observation)[:-1]:  # the tiny trunk adds positions to the last map after FiLM
        y = (1 + one.scale[:, None, None]) * one.x + one.shift[:, None, None]
        np.testing.assert_allclose(y, trace[f"encoder/{one.layer.replace(' ', '')}"][0], atol=1e-4)


def test_a_new_film_leaves_every_dial_at_zero(observation):
    torch.manual_seed(0)
    policy = RT1(RT1Config.tiny())
    policy.instruction_encoder = lambda sentences: torch.randn(len(sentences), 384)
    for one in listen(policy, observation):
        assert np.abs(one.scale).max() < 1e-6 and np.abs(one.shift).max() == 0


def test_before_the_first_film_all_sentences_see_the_same_and_after_it_they_do_not(dial):
    apple, cup = dial.heard.values()
    np.testing.assert_array_equal(apple[0].x, cup[0].x)
    assert all(not np.allclose(a.x, b.x) for a, b in zip(apple[1:], cup[1:], strict=True))


def test_the_learners_own_film_is_read_whatever_its_parts_are_called(observation):
    class Mine(nn.Module):
        def __init__(self, channels, instruction_dim):
            super().__init__()
            self.both = nn.Linear(instruction_dim, 2 * channels)

        def forward(self, x, z):
            gamma, beta = self.both(z)[:, :, None, None].chunk(2, 1)
            return x + gamma * x + beta

    policy = policy_with(Mine)
    last = listen(policy, observation)[-1]
    np.testing.assert_allclose(last.scale, policy.encoder.film.both(vector("pick the apple"))[:96].detach(), atol=1e-5)


def test_a_layer_that_is_not_one_scale_and_shift_per_channel_is_refused(observation):
    class Rows(nn.Module):  # scales rows instead of channels
        def __init__(self, channels, instruction_dim):
            super().__init__()

        def forward(self, x, z):
            return x * torch.linspace(0, 1, x.shape[2])[:, None]

    class Square(Rows):
        def forward(self, x, z):
            return x.square()

    for wrong in (Rows, Square):
        with pytest.raises(ValueError, match=r"Expected the FiLM of block 1a to be one scale.*Try check_film"):
            listen(policy_with(wrong), observation)


def test_a_policy_that_does_not_listen_has_all_dials_at_zero(observation):
    assert all(not one.scale.any() and not one.shift.any() for one in listen(policy_with(NoFiLM), observation))


def test_the_learners_policy_keeps_its_memory_and_its_layers(observation):
    policy = policy_with()
    policy.act(observation)
    before, layers = policy._memory.clone(), [type(m) for m in policy.modules()]
    FilmDial(policy, observation)
    assert torch.equal(policy._memory, before) and [type(m) for m in policy.modules()] == layers


def test_the_browser_gets_every_sentences_numbers_and_the_picture(dial, observation):
    assert dial.header["sentences"] == ["pick the apple", "pick the cup"] and dial.header["image"] == [64, 64]
    at = 0
    for layers in dial.heard.values():
        for one, told in zip(layers, dial.header["layers"], strict=True):
            assert told["shape"] == list(one.x.shape)
            for array in (one.x, one.scale, one.shift):
                assert np.array_equal(np.frombuffer(dial.numbers, "<f4", array.size, at), array.flatten())
                at += 4 * array.size
    assert dial.numbers[at:] == observation["image"].tobytes()


def test_the_dial_begins_where_the_sentences_differ_most(dial):
    apple, cup = dial.heard.values()
    layer = dial.header["layers"][2]
    a, b = apple[2], cup[2]
    spread = (a.x.std((1, 2)) + b.x.std((1, 2))) / 2
    difference = np.abs(a.scale - b.scale) * spread + np.abs(a.shift - b.shift)
    assert layer["channel"] == difference.argmax()


def test_where_no_widget_lives_a_picture_with_a_text_stands_in(dial, monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_widget, "display", lambda what, **how: shown.append((what, how)))
    dial._ipython_display_()
    (still, _), (live, how) = shown
    alt = re.search(r'alt="([^"]+)"', still.data)[1]
    assert f'class="{dial.still}"' in still.data and "pick the apple" in alt and "an apple and a cup" in alt
    assert how["raw"] and live["application/vnd.jupyter.widget-view+json"]["model_id"] == dial.model_id


def test_the_still_shows_both_maps_in_the_same_colours():
    x = np.array([[0.0, 1.0], [-2.0, 0.5]], np.float32)
    figure = film_figure(np.zeros((4, 4, 3), np.uint8), x, 2 * x + 1, "γ = 1, β = 1")
    before, after = (axis.images[0] for axis in figure.axes[1:3])
    assert before.get_clim() == after.get_clim() == (-3, 3) and np.array_equal(after.get_array(), 2 * x + 1)


def test_the_instruction_must_be_a_sentence_to_be_shown(observation):
    with pytest.raises(ValueError, match=r"Expected the instruction as one sentence, got ndarray\. Try"):
        FilmDial(policy_with(), observation | {"instruction": np.zeros(384, np.float32)})


def test_the_script_leaves_the_browser_nothing_to_fetch(dial):
    assert "import " not in dial._esm.split("export default")[0] and "http" not in dial._esm + str(dial._css)

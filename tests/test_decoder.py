"""The decoder: 6 x (8 image + 11 action) positions to action logits."""

import numpy as np
import pytest
import torch
from parity_recipe import close, load, put, sequence

from course_lib.actions import ActionSpace
from course_lib.attention import rt1_mask
from course_lib.rt1 import RT1Config
from course_lib.rt1.config import EfficientNetConfig
from course_lib.rt1.decoder import Decoder, official_loss


def config(**changes):
    return RT1Config.tiny(history=3, image_tokens=2, bins=16, width=24, heads=2, key_dim=8, **changes)


def decoder(**changes):
    torch.manual_seed(0)
    return Decoder(config(**changes)).eval()


def tokens(steps=3, batch=2):
    return torch.randn(batch, steps, 2, 96, generator=torch.Generator().manual_seed(1))


def test_the_paper_decoder_has_the_published_number_of_parameters():
    net = Decoder(RT1Config.paper())
    assert sum(p.numel() for p in net.parameters()) == 19_376_384
    assert sum(p.numel() for p in net.layers[0].parameters()) == 2_365_440
    assert net.mask.shape == (114, 114) and int(net.mask.sum()) == 4_344


def test_logits_are_read_one_position_before_the_action():
    net = Decoder(RT1Config.paper(layers=1, width=8, heads=1, key_dim=8))
    assert net.read_positions(6).tolist()[-11:] == list(range(102, 113))
    assert net.read_positions(6, last_only=True).tolist() == list(range(102, 113))
    assert net.read_positions(1).tolist() == list(range(7, 18))


def test_no_step_looks_ahead():
    net, x = decoder(), tokens()
    changed = x.clone()
    changed[:, 2] += 1
    before, after = net(x), net(changed)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


def test_fewer_frames_are_the_beginning_of_more():
    net, x = decoder(), tokens()
    torch.testing.assert_close(net(x[:, :2]), net(x)[:, :2])


def test_reading_only_the_last_step_gives_the_same_numbers():
    net, x = decoder(layers=3), tokens()
    torch.testing.assert_close(net(x, last_only=True), net(x)[:, -1:])


def test_the_short_cut_in_the_last_layer_gives_the_same_numbers():
    net, x = decoder(), tokens()
    everything = net.run(net.embed(x), net.mask)  # (B, S, V): the plain twin
    torch.testing.assert_close(net(x).flatten(1, 2), everything[:, net.read_positions(3)])


def test_a_trace_changes_nothing_and_shows_every_layer():
    net, x, trace = decoder(), tokens(), {}
    torch.testing.assert_close(net(x, trace=trace), net(x))
    assert set(trace) == {"decoder/embedded", *(f"decoder/layer{i}{x}" for i in (0, 1) for x in ("", "/attention"))}
    attention = trace["decoder/layer1/attention"]
    assert attention.shape == (2, 2, 39, 39) and (attention[:, :, ~net.mask] == 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 39))


def test_the_order_of_image_tokens_matters():
    net, x = decoder(), tokens()
    assert not torch.allclose(net(x), net(x.flip(2)))


def test_image_positions_may_be_kept_from_past_action_positions():
    """The two masks differ from the second frame on, and only through what action positions carry."""
    net, closed = decoder(layers=3), decoder(layers=3, images_see_actions=False)
    closed.load_state_dict(net.state_dict())
    x = tokens()
    torch.testing.assert_close(closed(x)[:, 0], net(x)[:, 0])
    assert not torch.allclose(closed(x)[:, 1], net(x)[:, 1])


def test_zeros_in_the_action_places_are_what_leaving_them_out_gives():
    net, x = decoder(), tokens()
    torch.testing.assert_close(net.embed(x, torch.zeros(2, 3, 11, 96)), net.embed(x))


def test_attention_kernels_start_as_small_as_keras_makes_them():
    attention = Decoder(RT1Config.paper(layers=1)).layers[0].attention
    assert float(attention.query.weight.detach().abs().max()) == pytest.approx(0.00928, rel=1e-3)
    assert float(attention.output.weight.detach().abs().max()) == pytest.approx(0.0342, rel=1e-2)


def test_dropout_acts_in_training_only():
    net, x = decoder(dropout=0.3), tokens()
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_in_bfloat16_takes_the_faster_way_with_the_same_result(dropout):
    net, x = decoder(dropout=dropout), tokens()
    with torch.no_grad():
        expected = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x)  # with gradients: the plain lines of attend()
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)


def test_the_official_loss_divides_by_batch_steps_and_positions():
    logits = torch.zeros(2, 3, 11, 16)
    loss = official_loss(logits, torch.zeros(2, 3, 11, dtype=torch.long), image_tokens=8)
    torch.testing.assert_close(loss, torch.full((2, 3), torch.tensor(16.0).log().item() / (2 * 3 * 19)))


@pytest.mark.parametrize("steps, image, action", [(1, 8, 11), (3, 8, 8), (6, 8, 11), (6, 81, 11), (15, 8, 11)])
def test_the_mask_equals_the_official_loops(steps, image, action):
    z, name = load("c_masks"), f"t{steps}_i{image}_a{action}"
    size = steps * (image + action)
    official = np.unpackbits(z[f"mask_{name}"], axis=1)[:, :size].astype(bool)
    assert np.array_equal(rt1_mask(steps, image, action).numpy(), official)
    read = z[f"action_positions_{name}"] - 1  # the release reads one position before each action position
    config = RT1Config.tiny(
        history=steps, image_tokens=image, action_space=ActionSpace(ActionSpace.workbook().dims[:action])
    )
    if len(config.action_space) == action:
        assert np.array_equal(Decoder(config).read_positions(steps).numpy(), read)


def small_decoder(z: dict[str, np.ndarray], embeddings: str) -> Decoder:
    trunk = EfficientNetConfig.tiny(out_channels=24)
    space = ActionSpace(ActionSpace.workbook().dims[:4])
    sizes = {"width": 32, "layers": 2, "heads": 2, "key_dim": 16, "bins": 16, "history": 2, "image_tokens": 3}
    named = {k[2:]: v for k, v in z.items() if k.startswith("w/")}
    named |= {k.removeprefix(embeddings): v for k, v in z.items() if k.startswith(embeddings)}
    return put(Decoder(RT1Config.tiny(trunk=trunk, action_space=space, **sizes)), named, "decoder.")


def test_the_small_decoder_equals_the_official_transformer_inside_and_out():
    z, trace = load("c_transformer_small"), {}
    decoder = small_decoder(z, "w/")
    h = sequence(decoder, z["x"])
    assert np.array_equal(decoder.mask.numpy(), z["mask"] == 1)
    close("logits", decoder.run(h, decoder.mask, trace=trace), z["logits"], 5e-6)
    close("logits, fused attention", decoder.run(h, decoder.mask), z["logits"], 5e-6)
    close("logits without a mask", decoder.run(h, None), z["logits_no_mask"], 5e-6)
    close("embedded", trace["decoder/embedded"], z["embedded"], 5e-6)
    for i in range(2):
        close(f"layer {i}", trace[f"decoder/layer{i}"], z[f"layer{i}"], 5e-6)
        close(f"attention {i}", trace[f"decoder/layer{i}/attention"], z[f"attention{i}"], 5e-6)
    in_double = decoder.double()
    close("logits, float64", in_double.run(sequence(in_double, z["x"].astype(float)), decoder.mask), z["f64/logits"], 1e-6)


def test_a_decoder_with_small_inputs_shows_the_epsilon_of_layer_norm():
    z, trace = load("c_transformer_small"), {}
    decoder = small_decoder(z, "flat_w/")
    close("logits", decoder.run(sequence(decoder, z["x"]), decoder.mask, trace=trace), z["flat_logits"], 2e-5)
    close("layer 0", trace["decoder/layer0"], z["flat_layer0"], 2e-5)

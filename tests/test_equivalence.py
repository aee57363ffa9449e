"""Our RT-1 equals Google's TensorFlow code, number for number (fixtures/parity; tolerances are relative to the largest)."""

import copy

import numpy as np
import pytest
import torch
from parity_recipe import all_weights, close, digest, first, last, load, manifest, sequence
from torch import nn

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.rt1 import RT1
from course_lib.rt1.config import EfficientNetConfig
from course_lib.rt1.decoder import official_loss
from course_lib.rt1.efficientnet import batch_norm
from course_lib.rt1.preprocess import ImageNorm, to_unit_range

ACTION_KEYS = (  # the order of ActionSpace.official()
    "terminate_episode",
    "world_vector",
    "rotation_delta",
    "gripper_closedness_action",
    "base_displacement_vertical_rotation",
    "base_displacement_vector",
)


def action(z: dict[str, np.ndarray], prefix: str) -> np.ndarray:
    """The dictionary of an official action as our (..., 11) numbers; one-hot classes become their index."""
    parts = [z[prefix + key] for key in ACTION_KEYS]
    parts[0] = parts[0].argmax(-1)[..., None]
    return np.concatenate(parts, -1).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    return all_weights()


@pytest.fixture(scope="module")
def policy(weights):
    return RT1.from_official(weights)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def test_the_recipe_makes_the_weights_of_the_reference(weights):
    facts = manifest()["variables"]
    assert {name: digest(array) for name, array in weights.items()} == {name: v["sha256"] for name, v in facts.items()}


def test_token_learner_of_the_real_size_equals_the_official_layer(policy):
    z, trace = load("b_token_learner_512"), {}
    close("tokens", policy.token_learner(first(z["x"]), trace), z["y"], 1e-5)
    close("maps", trace["token_learner/maps"].flatten(2), z["selection_weights"], 1e-5)


def test_the_full_decoder_equals_the_official_transformer(policy):
    z, trace = load("c_transformer_full"), {}
    h = sequence(policy.decoder, z["x"])
    close("logits", policy.decoder.run(h, policy.decoder.mask, trace=trace), z["logits"], 2e-5)
    for point in ("embedded", *(f"layer{i}" for i in range(8))):
        x = trace[f"decoder/{point}"][0]
        scale = float(x.abs().max())
        assert np.abs(x[:4, :8].numpy() - z[f"{point}/head"]).max() <= 2e-5 * scale
        assert np.abs(x[-4:, -8:].numpy() - z[f"{point}/tail"]).max() <= 2e-5 * scale
    for i in (0, 7):
        close(f"attention {i}", trace[f"decoder/layer{i}/attention"][:, :, -1], z[f"attention{i}_last_row"], 2e-5)


def test_the_encoder_equals_the_official_one_at_every_block(policy):
    z, trace = load("d_encoder"), {}
    y = policy.encoder(to_unit_range(torch.from_numpy(z["image_u8"])), torch.from_numpy(z["context"]), trace)
    close("map", last(y), z["y"], 3e-5)
    points = [k[4:-5] for k in z if k.startswith("tap/") and k.endswith("/head") and f"encoder/{k[4:-5]}" in trace]
    assert len(points) == 28  # stem, 26 blocks, top
    for point in points:
        x = last(trace[f"encoder/{point}"])[0]
        h, w = x.shape[0] // 2, x.shape[1] // 2
        cuts = {"head": x[:4, :4, :8], "tail": x[-4:, -4:, -8:], "middle": x[h - 2 : h + 2, w - 2 : w + 2, :8]}
        for name, cut in cuts.items():
            error = np.abs(cut.numpy() - z[f"tap/{point}/{name}"]).max() / float(x.abs().max())
            assert error <= 3e-5, (point, name, error)


@pytest.mark.parametrize("case", ["imagenet", "unadapted"])
def test_the_normalisation_follows_the_stored_statistics(policy, case):
    z, encoder = load("d_encoder"), copy.deepcopy(policy.encoder)
    if case == "imagenet":  # what Keras' ImageNet file holds, and what a new encoder of ours starts with
        encoder.normalise = ImageNorm()
    else:
        encoder.normalise.mean.zero_()
        encoder.normalise.variance.fill_(1)
    image = to_unit_range(torch.from_numpy(z["image_u8"]))
    close("input", last(encoder.prepare(image))[0, ::50, ::50], z[f"input_{case}_slice"], 1e-6)
    y = last(encoder(image, torch.from_numpy(z["context"])))[0, :, :, ::64]
    close("map", y, z[f"y_{case}_slice"], 3e-5)


def test_batch_norm_equals_keras_in_both_modes():
    z = load("d_batch_norm")
    norm = batch_norm(5, EfficientNetConfig.b3())
    for leaf, ours in (
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ):
        getattr(norm, ours).copy_(torch.from_numpy(z[f"w/bn/{leaf}"]))
    close("inference", last(norm.eval()(first(z["x"]))), z["y_inference"], 2e-6)
    close("training", last(norm.train()(first(z["x"]))), z["y_training"], 2e-6)
    close("mean", norm.running_mean, z["moving_mean_after"], 2e-6)
    close("variance", norm.running_var, z["moving_variance_after"], 2e-6)


def test_the_trunk_has_the_official_table(policy):
    notes = manifest()["notes"]
    blocks = policy.encoder.blocks
    assert len(blocks) == 26 and notes["batch_norm"] == {"epsilon": [1e-3], "momentum": [0.99], "count": 78}
    assert sum(isinstance(m, nn.BatchNorm2d) for m in policy.modules()) == 78
    for name, filters in notes["se_reduce_filters"].items():
        assert blocks[name.split("_")[0].removeprefix("block")].squeeze_excite.reduce.out_features == filters
    dropped = {f"block{n}_drop": block.drop for n, block in blocks.items() if block.residual and block.drop > 0}
    assert dropped == pytest.approx(notes["drop_connect"])


def test_the_image_tokens_equal_the_official_tokenizers(policy):
    z, trace = load("e_image_tokenizer"), {}
    frames, context = to_unit_range(torch.from_numpy(z["images_u8"][0])), torch.from_numpy(z["context"][0])
    close("tokens", policy.image_tokens(frames, context, trace), z["tokens"][0], 5e-5)
    close("map", last(trace["encoder/map"])[..., ::64], z["features_slice"], 5e-5)
    two_by_two = policy.image_tokens(frames[:4], context[2:6])  # each frame hears its own instruction
    close("tokens of other pairs", two_by_two, z["tokens_batch2x2"].reshape(4, 8, 512), 5e-5)


def test_the_whole_network_equals_the_official_one(policy):
    z, trace = load("f_network"), {}
    frames = to_unit_range(torch.from_numpy(z["frames_u8"][None, :6]))  # 256 x 320, resized inside
    logits = policy(frames, torch.from_numpy(z["context"]), trace)
    close("logits", logits, z["action_logits"], 5e-5)
    close("image tokens", trace["image_tokens"], z["image_tokens"][0], 8e-5)
    assert np.array_equal(logits.argmax(-1).numpy(), z["predicted_tokens"])
    labels = policy.tokenizer.encode(action(z, "action/"))
    assert np.array_equal(labels.numpy(), z["labels"])
    close("loss", official_loss(logits, labels, image_tokens=8), z["loss"], 5e-6)


def test_our_loss_is_the_official_one_without_its_scale(policy):
    z = load("f_network")
    batch = {
        "images": z["frames_u8"][None, :6],
        "instruction": z["context"],
        "actions": action(z, "action/"),
        "valid": np.ones((1, 6), bool),
    }
    assert float(policy.loss(batch)) == pytest.approx(z["loss"].mean() * 1 * 6 * 19, rel=1e-5)


def test_eight_steps_of_act_equal_the_official_stepwise_inference(policy):
    z = load("f_network")
    policy.reset()
    expected = action(z, "step_action/")
    for step, frame in enumerate(z["frames_u8"]):
        trace = {}
        got = policy.act({"image": frame, "instruction": z["context"][0]}, trace)
        close(f"logits {step}", trace["logits"][0], z["step_logits"][step], 5e-5)
        assert np.array_equal(trace["logits"][0].argmax(-1).numpy(), z["step_tokens"][step])
        np.testing.assert_allclose(got, expected[step], atol=1e-6)
        assert policy._memory.shape[1] == z["step_seq_idx_after"][step]
    close("remembered tokens", policy._memory, z["final_image_tokens_state"], 8e-5)


def test_one_pass_equals_the_official_loop_of_eleven_passes(policy):
    """The release feeds every chosen token back and runs again, but multiplies its embedding by zero."""
    decoder = policy.decoder
    tokens = torch.randn(1, 6, 8, 512, generator=torch.Generator().manual_seed(0))
    chosen = torch.zeros(1, 6, 11, dtype=torch.long)
    for k in range(11):
        embedded = policy.action_embedding(nn.functional.one_hot(chosen, 256).float())
        logits = decoder.run(decoder.embed(tokens, torch.zeros_like(embedded)), decoder.mask)  # (1, 114, 256)
        chosen[:, -1, k] = logits[:, 5 * 19 + 7 + k].argmax(-1)
    assert torch.equal(decoder(tokens, last_only=True)[:, -1].argmax(-1), chosen[:, -1])


def test_the_action_tokens_equal_the_official_ones():
    z = load("g_action_tokenizer")
    for bins, prefix in ((256, ""), (10, "vocab10/"), (1024, "vocab1024/")):
        tokenizer = ActionTokenizer(ActionSpace.official(), bins, rounding="floor")
        tokens = tokenizer.encode(action(z, "action/"))
        assert np.array_equal(tokens.numpy(), z[f"{prefix}tokens"])
        np.testing.assert_array_equal(tokenizer.decode(tokens).numpy(), action(z, f"{prefix}detokenized/"))
    table = np.repeat(z["table/tokens"][:, None], 11, 1)
    tokenizer = ActionTokenizer(ActionSpace.official(), 256, rounding="floor")
    decoded = tokenizer.decode(torch.from_numpy(table))
    np.testing.assert_array_equal(decoded.numpy(), action(z, "table/"))
    assert np.array_equal(tokenizer.encode(decoded).numpy(), z["table/retokenized"])


def test_a_wrong_epsilon_would_be_noticed(policy):
    """The comparison can fail: torch's default epsilon in BatchNorm is far outside the tolerance."""
    z, encoder = load("d_encoder"), copy.deepcopy(policy.encoder)
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-5
    wrong = last(encoder(to_unit_range(torch.from_numpy(z["image_u8"])), torch.from_numpy(z["context"]))).numpy()
    assert np.abs(wrong - z["y"]).max() > 100 * 3e-5 * np.abs(z["y"]).max()

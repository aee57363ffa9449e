"""Our RT-1 equals Google's TensorFlow code, number for number (fixtures/parity; tolerances are relative to the largest)."""

import copy

import numpy as np
import pytest
import torch
from einops import rearrange
from parity_recipe import all_weights, digest, load, manifest
from torch import nn

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.attention import rt1_mask
from course_lib.rt1 import RT1, FiLM, RT1Config, TokenLearner
from course_lib.rt1.config import EfficientNetConfig
from course_lib.rt1.decoder import Decoder, official_loss
from course_lib.rt1.efficientnet import batch_norm
from course_lib.rt1.official_names import official_variables
from course_lib.rt1.preprocess import ImageNorm, pad_then_crop, resize, to_unit_range

ACTION_KEYS = (  # the order of ActionSpace.official()
    "terminate_episode",
    "world_vector",
    "rotation_delta",
    "gripper_closedness_action",
    "base_displacement_vertical_rotation",
    "base_displacement_vector",
)


def close(what: str, got: torch.Tensor, reference: np.ndarray, tolerance: float) -> None:
    """``|got - reference| <= tolerance * max |reference|``; `pytest -rP` shows the errors."""
    got = got.detach().double().numpy()
    assert got.shape == reference.shape, (what, got.shape, reference.shape)
    error = np.abs(got - reference).max() / np.abs(reference).max()
    print(f"{what}: {error:.1e} (tolerance {tolerance:.0e})")
    assert error <= tolerance, f"{what}: {error:.2e} is more than {tolerance:.0e}"


def first(x: np.ndarray) -> torch.Tensor:
    """Channels first."""
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels last."""
    return x.movedim(1, -1)


def action(z: dict[str, np.ndarray], prefix: str) -> np.ndarray:
    """The dictionary of an official action as our (..., 11) numbers; one-hot classes become their index."""
    parts = [z[prefix + key] for key in ACTION_KEYS]
    parts[0] = parts[0].argmax(-1)[..., None]
    return np.concatenate(parts, -1).astype(np.float32)


def put(module: nn.Module, weights: dict[str, np.ndarray], prefix: str = "") -> nn.Module:
    """Load official arrays (plain names) into one part of RT1, whose key in RT1 is ``prefix``."""
    rows = {row.name: row for row in official_variables(RT1Config.paper())}
    state = module.state_dict()
    for name, array in weights.items():
        ours = torch.from_numpy(rows[name].layout.ours(array).copy())
        state[rows[name].ours.removeprefix(prefix)] = ours
    module.load_state_dict(state)
    return module.eval()


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


@pytest.mark.parametrize("rank", ["rank4", "rank2"])
def test_film_equals_the_official_layer(rank):
    z = load("a_film")
    film = FiLM(24, 512)
    for part, layer in (("add", film.to_shift), ("mult", film.to_scale)):
        layer.weight.copy_(torch.from_numpy(z[f"w/film/{part}/kernel"].T))
        layer.bias.copy_(torch.from_numpy(z[f"w/film/{part}/bias"]))
    x, context = first(z[f"x_{rank}"]), torch.from_numpy(z[f"context_{rank}"])
    close(rank, last(film(x, context)), z[f"y_{rank}"], 2e-6)
    close(f"{rank} float64", last(film.double()(x.double(), context.double())), z[f"f64/y_{rank}"], 1e-6)


def test_a_new_film_is_the_identity_bit_for_bit():
    z = load("a_film")
    y = FiLM(24, 512)(first(z["x_rank4"]), torch.from_numpy(z["context_rank4"]))
    assert np.array_equal(last(y).numpy(), z["y_rank4_zero_init"])


@pytest.mark.parametrize("size", ["", "_small"])  # small: nearly constant input, where LayerNorm's epsilon shows
def test_token_learner_equals_the_official_layer(size):
    z = load("b_token_learner")
    learner = put(TokenLearner(64), {k[2:]: v for k, v in z.items() if k.startswith("w/")}, "token_learner.")
    trace = {}
    y = learner(first(z[f"x{size}"]), trace)
    normed = learner.norm(torch.from_numpy(z[f"x{size}"]).flatten(1, 2))
    close("normalised", normed, z[f"normed{size}"], 5e-4 if size else 1e-5)
    close("maps", trace["token_learner/maps"].flatten(2), z[f"selection_weights{size}"], 5e-4 if size else 1e-5)
    close("tokens", y, z[f"y{size}"], 1e-5)


def test_token_learner_of_the_real_size_equals_the_official_layer(policy):
    z, trace = load("b_token_learner_512"), {}
    close("tokens", policy.token_learner(first(z["x"]), trace), z["y"], 1e-5)
    close("maps", trace["token_learner/maps"].flatten(2), z["selection_weights"], 1e-5)


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


def sequence(decoder: Decoder, x: np.ndarray) -> torch.Tensor:
    """The embedded sequence for arbitrary inputs at all positions, action positions included."""
    steps = rearrange(torch.from_numpy(x), "B (T P) C -> B T P C", T=decoder.history)
    return decoder.embed(steps[:, :, : decoder.image_tokens], steps[:, :, decoder.image_tokens :])


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


def test_pictures_are_resized_as_the_official_code_does():
    z = load("j_preprocess")
    full = resize(to_unit_range(torch.from_numpy(z["frame_u8"])), (300, 300))
    picture = last(full)[0]
    close("every 23rd", picture[::23, ::23], z["resized_stride"], 1e-6)
    close("row 7", picture[7], z["resized_row7"], 1e-6)
    close("column 11", picture[:, 11], z["resized_col11"], 1e-6)
    close(
        "corners",
        torch.cat((picture[:6, :6], picture[-6:, -6:])),
        np.concatenate((z["resized_head"], z["resized_tail"])),
        1e-6,
    )
    down = resize(to_unit_range(torch.from_numpy(z["down_frame_u8"])), (60, 50))
    close("60 x 50", last(down), z["down_resized_60x50"], 1e-6)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_training_crop_equals_the_official_one(case):
    z = load("j_preprocess")
    offset = tuple(int(n) for n in z[f"crop{case}_offset_yx"])
    cut = last(pad_then_crop(to_unit_range(torch.from_numpy(z["frame_u8"])), offset=offset))[0]
    close("every 16th", cut[::16, ::16], z[f"crop{case}_stride"], 1e-6)
    assert float(cut.double().sum()) == pytest.approx(float(z[f"crop{case}_sum"]), rel=1e-6)


def test_a_wrong_epsilon_would_be_noticed(policy):
    """The comparison can fail: torch's default epsilon in BatchNorm is far outside the tolerance."""
    z, encoder = load("d_encoder"), copy.deepcopy(policy.encoder)
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-5
    wrong = last(encoder(to_unit_range(torch.from_numpy(z["image_u8"])), torch.from_numpy(z["context"]))).numpy()
    assert np.abs(wrong - z["y"]).max() > 100 * 3e-5 * np.abs(z["y"]).max()

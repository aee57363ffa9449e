"""Compression: how wrong a weight may be, how many bytes it takes, and that a file gives back the same numbers."""

import json

import pytest
import small_rt2
import torch
from small_rt1 import observations, small_policy
from torch import nn
from torch.nn.utils import prune

from course_lib.learn import bytes_of, compress, load_checkpoint, load_compressed, save_checkpoint, save_compressed
from course_lib.learn.checkpoints import MANIFEST, read_tensors, write_tensors
from course_lib.learn.compress import METHODS, PACKED, from_bits, keep_largest, keep_two_of_four, to_bits
from course_lib.learn.packed import DynamicInt8Weight, Int4Weight, Int8Weight, integer_product, pack, unpack
from course_lib.rt1 import RT1
from course_lib.rt2 import RT2, PaliGemma


def matrix(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits_of(policy):
    batch = policy.config.fake_batch(2)
    with torch.inference_mode():
        return policy(batch["images"].movedim(-1, 2) / 255, batch["instruction"])


# ---- weights


@pytest.mark.parametrize("shape", [(5, 64), (6, 7), (8, 3, 3, 3), (4, 1, 5, 5)])
def test_an_int8_weight_is_wrong_by_at_most_half_a_level_of_its_row(shape):
    w = matrix(*shape)
    packed = Int8Weight(w)
    wrong = (packed() - w).abs().flatten(1)
    step = w.flatten(1).abs().amax(1) / 127
    assert (wrong <= 0.5001 * step[:, None]).all() and wrong.max() > 0.4 * step.min()


@pytest.mark.parametrize("shape", [(5, 64), (6, 45), (8, 3, 3, 3), (4, 1, 5, 5), (3, 2)])
@pytest.mark.parametrize("shift", [0, 3])
def test_an_int4_weight_is_wrong_by_at_most_its_rounding_and_that_of_bfloat16(shape, shift):
    w = matrix(*shape) + shift
    packed = Int4Weight(w, group=16)
    assert packed().shape == w.shape and packed().dtype == w.dtype
    for row, near, scales in zip(w.flatten(1), packed().flatten(1), packed.scale.float(), strict=True):
        for group, (some, other) in enumerate(zip(row.split(16), near.split(16), strict=True)):
            range_of = max(some.max(), 0) - min(some.min(), 0)
            assert scales[group] == pytest.approx(float(range_of) / 15, rel=0.02)
            assert (some - other).abs().max() <= 0.57 * scales[group]


def test_an_int4_weight_equals_the_slow_sum_of_its_parts():
    packed = Int4Weight(matrix(3, 40), group=32)
    levels, near = unpack(packed.pairs), packed()
    for o in range(3):
        for i in range(40):
            low, scale = packed.low[o, i // 32].float(), packed.scale[o, i // 32].float()
            assert near[o, i] == low + scale * float(levels[o, i])


def test_zeros_stay_zeros_and_nothing_is_nan():
    for packed in (Int8Weight(torch.zeros(4, 10)), Int4Weight(torch.zeros(4, 10))):
        assert torch.equal(packed(), torch.zeros(4, 10))


def test_two_levels_share_a_byte_and_come_apart_again():
    levels = torch.tensor([[1, 15, 0], [7, 2, 9]], dtype=torch.uint8)
    assert pack(levels).tolist() == [[1 + 15 * 16, 0], [7 + 2 * 16, 9]]
    assert torch.equal(unpack(pack(levels))[:, :3], levels)


def test_the_integer_product_is_exact():
    rng = torch.Generator().manual_seed(0)
    x, w = (torch.randint(-127, 128, size, generator=rng, dtype=torch.int8) for size in ((5, 67), (9, 67)))
    assert torch.equal(integer_product(x, w).long(), x.long() @ w.long().T)


def test_dynamic_int8_equals_its_definition_in_double():
    x, w = matrix(3, 2, 24), matrix(7, 24, seed=1)
    packed = DynamicInt8Weight(w)
    scale = x.abs().amax(-1, keepdim=True).double() / 127
    rounded = (x.double() / scale).round()
    want = (rounded @ packed.levels.double().T) * scale * packed.scale.double()
    torch.testing.assert_close(packed.linear(x).double(), want, atol=1e-5, rtol=1e-5)
    assert (packed.linear(x) - x @ w.T).abs().max() < 0.05 * (x @ w.T).abs().max()
    assert torch.equal(packed.linear(x[0, 0]), packed.linear(x)[0, 0]) and not packed.linear(torch.zeros(1, 24)).any()


@pytest.mark.parametrize("kind", [Int8Weight, Int4Weight])
def test_a_packed_linear_layer_multiplies_with_the_weight_it_shows(kind):
    x, packed = matrix(2, 3, 40), kind(matrix(8, 40, seed=1))
    torch.testing.assert_close(packed.linear(x), x @ packed().T, atol=1e-5, rtol=1e-5)


# ---- pruning


def test_magnitude_pruning_equals_torchs_own():
    layer = nn.Linear(17, 9)
    mask = keep_largest(layer.weight, 0.4)
    prune.l1_unstructured(layer, "weight", 0.4)
    assert torch.equal(mask, layer.weight_mask.bool()) and int((~mask).sum()) == round(0.4 * 17 * 9)


@pytest.mark.parametrize("shape", [(3, 8), (2, 10), (4, 3, 3, 3)])
def test_two_of_every_four_neighbours_are_left_and_they_are_the_largest(shape):
    w = matrix(*shape)
    for row, kept in zip(w.flatten(1), keep_two_of_four(w).flatten(1), strict=True):
        whole = len(row) // 4 * 4
        assert kept[whole:].all()  # what is left over at the end
        for four, mask in zip(row[:whole].split(4), kept[:whole].split(4), strict=True):
            assert sorted(four.abs()[mask].tolist()) == sorted(four.abs().tolist())[2:]


def test_bits_come_back_as_the_same_weight_and_a_damaged_file_is_refused():
    w = matrix(3, 7) * (matrix(3, 7, seed=1) > 0)
    bits, values = to_bits(w != 0), w[w != 0]
    assert len(bits) == 3 and torch.equal(from_bits(bits, values, w.shape), w)  # 21 places in 3 bytes
    with pytest.raises(ValueError, match="The file is damaged"):
        from_bits(bits, values[1:], w.shape)
    with pytest.raises(ValueError, match="The file is damaged"):
        from_bits(bits[:-1], values, w.shape)


# ---- policies


def test_bytes_are_counted_with_every_scale():
    policy = nn.Sequential(nn.Linear(64, 10), nn.LayerNorm(10), nn.Conv2d(10, 4, 3, bias=False))
    plain, biases, norm = 4 * (640 + 10 + 20 + 360), 4 * 10, 4 * 20
    assert bytes_of(policy) == plain
    assert bytes_of(compress(policy, "int8")) == biases + norm + (640 + 4 * 10) + (360 + 4 * 4)
    int4_linear, int4_conv = 10 * (32 + 2 * 4), 4 * (45 + 3 * 4)  # of 90 numbers a row: two whole groups and a short one
    assert bytes_of(compress(policy, "int4")) == biases + norm + int4_linear + int4_conv
    for method in ("magnitude", "2:4"):  # one bit a place, four bytes a number that is left (90 is no multiple of 4)
        left = 320 + 180 + (4 if method == "2:4" else 0)
        assert bytes_of(compress(policy, method)) == biases + norm + 640 // 8 + 360 // 8 + 4 * left


@pytest.mark.parametrize("method", METHODS)
def test_a_file_gives_back_the_same_outputs_bit_for_bit_and_is_as_large_as_was_counted(tmp_path, method):
    small = compress(small_policy(), method)
    path = save_compressed(small, tmp_path / "small.safetensors", note="x")
    again = load_compressed(path, RT1)
    assert torch.equal(logits_of(again), logits_of(small)) and again.compression == small.compression
    assert sum(t.numel() * t.element_size() for t in read_tensors(path)[0].values()) == bytes_of(small)
    assert 0 < path.stat().st_size - bytes_of(small) < 40_000  # the header: names and config
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", METHODS)
def test_the_original_stays_as_it_was_and_the_copy_still_drives(method):
    policy = small_policy()
    before = logits_of(policy)
    small = compress(policy, method)
    assert torch.equal(logits_of(policy), before) and not torch.equal(logits_of(small), before)
    assert bytes_of(small) < bytes_of(policy) and not any(p.requires_grad for p in small.parameters())
    small.reset()
    assert small.act(observations(1)[0]).shape == (11,)


def test_more_bits_are_nearer():
    policy = small_policy()
    before = logits_of(policy)
    wrong = {m: float((logits_of(compress(policy, m)) - before).abs().mean()) for m in ("int8", "int8 dynamic", "int4")}
    assert 0 < wrong["int8"] < wrong["int8 dynamic"] < wrong["int4"]


@pytest.mark.parametrize("method", METHODS)
def test_a_vision_language_model_is_compressed_too(tmp_path, method):
    vlm = small_rt2.small_vlm()
    small = compress(vlm, method)
    again = load_compressed(save_compressed(small, tmp_path / "vlm.safetensors"), PaliGemma)
    images, tokens, *_ = small_rt2.rows()
    assert torch.equal(again(images, tokens), small(images, tokens))
    assert torch.equal(small.language.embedding.weight, vlm.language.embedding.weight)  # tables stay


@pytest.mark.parametrize("method", METHODS)
def test_a_compressed_rt2_acts_the_same_when_it_comes_back_from_its_file(tmp_path, method):
    small = compress(small_rt2.small_policy(), method)
    again = load_compressed(save_compressed(small, tmp_path / "rt2.safetensors"), RT2)
    batch = {"images": small_rt2.pictures(3), "instructions": ["pick up the apple"] * 3, "actions": torch.zeros(3, 11)}
    assert torch.equal(again.action_logits(batch)[0], small.action_logits(batch)[0])
    seen = {"image": small_rt2.pictures(3), "instruction": "pick up the apple"}
    assert (again.act(seen) == small.act(seen)).all() and hasattr(again.vlm.projector, "packed") == (method in PACKED)


def test_layers_can_be_left_as_they_are():
    policy = small_policy()
    small = compress(policy, "int8", skip=["encoder", "decoder.output"])
    plain = {name for name, layer in small.named_modules() if type(layer) is nn.Linear}
    assert "decoder.output" in plain and not hasattr(small.encoder.stem, "packed")
    assert "decoder.token_embedding" not in plain and small.decoder.token_embedding.packed is not None


def test_precision_follows_the_model():
    small = compress(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4)), "int4").to(torch.bfloat16)
    assert small[0].weight.dtype == torch.bfloat16 and small(matrix(1, 3, 3, 3).bfloat16()).dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.parametrize("method", PACKED)
def test_a_gpu_gives_nearly_the_same_outputs(method):
    small = compress(small_policy(), method)
    batch = small.config.fake_batch(2)
    images, words = batch["images"].movedim(-1, 2) / 255, batch["instruction"]
    with torch.inference_mode():
        here, there = small(images, words), small.to("cuda")(images.cuda(), words.cuda()).cpu()
    torch.testing.assert_close(there, here, atol=0.05, rtol=0.05)


# ---- doors


def test_what_cannot_be_compressed_is_explained():
    policy = small_policy()
    with pytest.raises(ValueError, match=r"method is one of 'int8'.*got 'int2'"):
        compress(policy, "int2")
    with pytest.raises(ValueError, match=r"already \(int8\)\. Compress the original"):
        compress(compress(policy, "int8"), "int4")
    for wrong in ({"group": 1}, {"part": 0.0}, {"part": 1.0}):
        with pytest.raises(ValueError, match="part between 0 and 1"):
            compress(policy, "int4", **wrong)
    with pytest.raises(ValueError, match=r"got \['eyes'\]. In this model there are: encoder\."):
        compress(policy, "int8", skip=["eyes"])
    with pytest.raises(ValueError, match="there are: none"):
        compress(nn.LayerNorm(3), "int8")
    with pytest.raises(ValueError, match=r"not compressed\. Try save_checkpoint"):
        save_compressed(policy, "nowhere.safetensors")


def test_files_of_another_kind_are_refused(tmp_path):
    policy, path = small_policy(), tmp_path / "a.safetensors"
    save_checkpoint(policy, path)
    with pytest.raises(ValueError, match="Then try load_checkpoint"):
        load_compressed(path, RT1)
    save_compressed(compress(policy, "2:4"), path)
    with pytest.raises(ValueError, match=r"course_lib compressed 1"):
        load_checkpoint(path, RT1)
    with pytest.raises(ValueError, match="Expected a PaliGemma"):
        load_compressed(path, PaliGemma)
    tensors, header = read_tensors(path)
    tensors["decoder.output.weight.values"] = tensors["decoder.output.weight.values"][:-1]
    write_tensors(tensors, path, header)
    with pytest.raises(ValueError, match=r"decoder\.output\.weight .*damaged"):
        load_compressed(path, RT1)
    write_tensors({k: v for k, v in tensors.items() if not k.endswith(".bits")}, path, header)
    with pytest.raises(ValueError, match="tensors differ"):
        load_compressed(path, RT1)
    (tmp_path / MANIFEST).write_text(json.dumps({path.name: {"sha256": "0", "command": "make it"}}))
    with pytest.raises(ValueError, match="rebuild: make it"):
        load_compressed(path, RT1)

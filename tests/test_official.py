"""Google's released weights into ours: names, shapes, layouts, the reader, the command."""

import dataclasses
import json
import shutil
import struct

import numpy as np
import pytest
import torch
from parity_recipe import FOLDER, all_weights, digest

from course_lib.learn.checkpoints import load_checkpoint
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.config import EfficientNetConfig, Stage
from course_lib.rt1.official import expected_shapes, from_official, main, released_config
from course_lib.rt1.official_names import official_variables, plain_names, short
from course_lib.rt1.official_reader import crc32c, masked, read_checkpoint, unsnap

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
RELEASED = json.loads((FOLDER / "released_variables.json").read_text())
PRESETS = {"rt1main": RT1Config.paper, "rt1multirobot": RT1Config.multirobot}
TRUNK = EfficientNetConfig.tiny(
    image_height=32, image_width=32, stages=(Stage(1, 3, 1, 1, 8), Stage(2, 3, 2, 2, 12)), top_channels=16, out_channels=16
)


def small_config(**changes):
    trunk = dataclasses.replace(TRUNK, map_positions=False)
    sizes = {"width": 8, "heads": 2, "key_dim": 3, "history": 2, "instruction_dim": 5, "bins": 16, "action_embedding": True}
    return RT1Config.tiny(trunk=trunk, image_height=32, image_width=32, **sizes | changes)


def small_weights(config):
    """Random arrays with TensorFlow's names and shapes, each different."""
    rng = np.random.default_rng(0)
    shapes = expected_shapes(RT1(config))
    return {name: np.abs(rng.normal(1, 0.1, shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module", params=PRESETS)
def released(request):
    return PRESETS[request.param](), RELEASED[request.param]


def test_every_released_variable_has_its_place_and_nothing_is_left_over(released):
    config, table = released
    rows = official_variables(config)
    assert [[row.checkpoint, n, row.name] for n, row in enumerate(rows, 1)] == sorted(
        (r[:3] for r in table), key=lambda r: r[1]
    )
    policy = RT1(config)
    assert {row.ours for row in rows} == {key for key in policy.state_dict() if not key.endswith("num_batches_tracked")}
    assert expected_shapes(policy) == {name: tuple(shape) for _, _, name, shape, _ in table}
    dtypes = {row.name: policy.state_dict()[row.ours].dtype for row in rows}
    assert {name: str(dtype).removeprefix("torch.") for name, dtype in dtypes.items()} == {r[2]: r[4] for r in table}


def test_all_three_spellings_mean_the_same_variable(released):
    config, table = released
    names = plain_names(config)
    for path, number, name, _, _ in table:
        keys = (name, f"agent/_actor_network/{path}{SUFFIX}", f"model_variables/{number}{SUFFIX}")
        assert [names[short(key)] for key in keys] == 3 * [name]


@pytest.mark.parametrize("spelling", ["plain", "checkpoint", "saved model"])
def test_weights_load_by_any_spelling(spelling):
    config = small_config()
    weights = small_weights(config)
    spell = {
        "plain": lambda n, row: row.name,
        "checkpoint": lambda n, row: f"agent/_actor_network/{row.checkpoint}{SUFFIX}",
        "saved model": lambda n, row: f"model_variables/{n}{SUFFIX}",
    }[spelling]
    spelled = {spell(n, row): weights[row.name] for n, row in enumerate(official_variables(config), 1)}
    state = from_official(spelled, config).state_dict()
    assert not [k for k, v in from_official(weights, config).state_dict().items() if not torch.equal(v, state[k])]


def test_layouts_do_what_tensorflow_does_with_each_kind_of_array():
    config = small_config()
    w = small_weights(config)
    state = from_official(w, config).state_dict()
    stem = w["encoder/stem/conv/kernel"]  # (kh, kw, in, out)
    assert state["encoder.stem.weight"][3, 1, 2, 4] == stem[2, 4, 1, 3]
    depthwise = w["encoder/block2a/dwconv/kernel"]  # (kh, kw, C, 1)
    assert state["encoder.blocks.2a.depthwise.weight"][5, 0, 2, 1] == depthwise[2, 1, 5, 0]
    assert state["encoder.film.to_scale.weight"][7, 3] == w["encoder/head/film/mult/kernel"][3, 7]
    x = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    query = np.einsum("sd,dhk->shk", x, w["transformer/layer0/attention/query/kernel"])
    query += w["transformer/layer0/attention/query/bias"]
    ours = torch.nn.functional.linear(
        torch.from_numpy(x), *(state[f"decoder.layers.0.attention.query.{p}"] for p in ("weight", "bias"))
    )
    np.testing.assert_allclose(ours.view(4, 2, 3).numpy(), query, rtol=1e-5)
    back = np.einsum("shk,hkd->sd", query, w["transformer/layer0/attention/output/kernel"])
    ours = ours @ state["decoder.layers.0.attention.output.weight"].T
    np.testing.assert_allclose(ours.numpy(), back, rtol=1e-5)


def test_the_optimizer_and_counters_of_a_training_checkpoint_are_skipped():
    config = small_config()
    weights = small_weights(config)
    rest = {f"agent/_actor_optimizer/_variables/{n}{SUFFIX}": np.zeros(3) for n in range(3)}
    rest |= {f"{name}{SUFFIX}": np.zeros(()) for name in ("global_step", "save_counter", "model_variables/0")}
    from_official(weights | rest | {"_CHECKPOINTABLE_OBJECT_GRAPH": np.zeros(())}, config)


def test_a_misfit_is_a_table_of_names_and_shapes():
    config = small_config()
    weights = small_weights(config)
    del weights["encoder/stem/conv/kernel"]
    weights["transformer/output/bias"] = np.zeros(17, np.float32)
    weights["something/else"] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="3 rows differ") as error:
        from_official(weights, config)
    rows = [line.split("  ") for line in str(error.value).splitlines()[2:]]
    cells = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert cells["encoder/stem/conv/kernel"] == ["(6, 6, 3, 32)", "-"]
    assert cells["transformer/output/bias"] == ["(16,)", "(17,)"]
    assert cells["something/else"] == ["-", "(2, 2)"]


def test_parts_that_the_release_does_not_have_are_named():
    config = small_config()
    with_table = dataclasses.replace(config, trunk=dataclasses.replace(config.trunk, map_positions=True))
    with pytest.raises(ValueError, match=r"encoder\.positions\.table .*only in our model"):
        from_official(small_weights(config), with_table)


def test_the_released_shape_is_recognised_by_the_decoders_width():
    def kernel(width):
        return {"transformer/token_embedding/kernel": np.zeros((512, width), np.float32)}

    assert released_config(kernel(512)) == RT1Config.paper()
    assert released_config(kernel(1024)) == RT1Config.multirobot()


def test_the_dead_action_embedding_is_loaded_and_changes_nothing():
    config = small_config()
    weights = small_weights(config)
    zeroed = weights | {k: np.zeros_like(v) for k, v in weights.items() if k.startswith("action_token_embedding")}
    one, other = from_official(weights, config), from_official(zeroed, config)
    assert not torch.equal(one.action_embedding.weight, other.action_embedding.weight)
    frames, words = torch.rand(1, 2, 3, 32, 32), torch.randn(1, 5)
    assert torch.equal(one(frames, words), other(frames, words))


@pytest.mark.parametrize("folder", ["small", "small_snappy"])
def test_checkpoints_written_by_tensorflow_are_read(folder):
    arrays = read_checkpoint(FOLDER / folder)
    listed = json.loads((FOLDER / folder / "manifest.json").read_text())["variables"]
    assert set(arrays) == {v["ckpt_key"] for v in listed}
    names = plain_names(RT1Config.paper())
    for variable in listed:
        array = arrays[variable["ckpt_key"]]
        assert list(array.shape) == variable["shape"] and digest(array) == variable["sha256"]
        assert names[short(variable["ckpt_key"])] == variable["canonical"]


def test_a_path_without_suffix_and_a_saved_model_are_found(tmp_path):
    same = read_checkpoint(FOLDER / "small" / "ckpt")
    shutil.copytree(FOLDER / "small", tmp_path / "variables")
    assert set(read_checkpoint(tmp_path)) == set(same)


def copy_small(tmp_path):
    for file in (FOLDER / "small").glob("ckpt.*"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / "ckpt.data-00000-of-00001", tmp_path / "ckpt.index"


def test_a_data_file_that_is_cut_off_is_refused(tmp_path):
    data, _ = copy_small(tmp_path)
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"cut off: its index asks for 75,043 bytes, it has 75,042"):
        read_checkpoint(tmp_path)


def test_a_single_changed_byte_is_noticed(tmp_path):
    data, _ = copy_small(tmp_path)
    raw = bytearray(data.read_bytes())
    raw[40_000] ^= 1
    data.write_bytes(raw)
    with pytest.raises(ValueError, match="is damaged: the checksum of agent/_actor_network/"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("keep", [0, 20, 2000])
def test_an_index_that_is_cut_off_is_refused(tmp_path, keep):
    _, index = copy_small(tmp_path)
    index.write_bytes(index.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a whole checkpoint index"):
        read_checkpoint(tmp_path)


def test_other_troubles_of_a_download_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no TensorFlow checkpoint in .*ending in \.index"):
        read_checkpoint(tmp_path)
    data, index = copy_small(tmp_path)
    data.unlink()
    with pytest.raises(ValueError, match="missing beside its index"):
        read_checkpoint(tmp_path)
    shutil.copyfile(index, tmp_path / "other.index")
    with pytest.raises(ValueError, match=r"several checkpoints: ckpt, other"):
        read_checkpoint(tmp_path)
    (tmp_path / "other.index").unlink()
    index.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        read_checkpoint(tmp_path)


def test_the_checksum_is_crc_32c():
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283  # the published check value
    assert crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA  # RFC 3720, B.4
    rng = np.random.default_rng(0)
    for size in (0, 1, 63, 64, 65, 1000, 70_001):
        data = rng.integers(0, 256, size, dtype=np.uint8)
        assert crc32c(data) == slow_crc32c(data.tobytes())


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_snappy_literals_and_overlapping_copies_are_undone():
    assert unsnap(bytes([6, 4 << 2]) + b"abcde" + bytes([0]) + b"f") == b"abcdef"  # literals of 5 and of 1
    assert unsnap(bytes([10, 0]) + b"a" + bytes([5 << 2 | 1, 1])) == b"a" * 10  # a copy of 9 from 1 back
    assert unsnap(bytes([9, 2 << 2]) + b"abc" + bytes([5 << 2 | 2, 3, 0])) == b"abcabcabc"  # two bytes of distance
    long = bytes(range(100))
    assert unsnap(bytes([100, 60 << 2, 99]) + long) == long  # a literal whose length stands in the next byte
    with pytest.raises(IndexError, match="before the start"):
        unsnap(bytes([5, 1, 9]))


def write_checkpoint(folder, arrays):
    """A checkpoint of one data file and one uncompressed block, as TensorFlow's format says."""

    def varint(n):
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])

    def field(number, value):
        if isinstance(value, bytes):
            return varint(number << 3 | 2) + varint(len(value)) + value
        return varint(number << 3) + varint(value)

    def block(rows):
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in rows) + struct.pack("<II", 0, 1)
        return body + b"\0" + struct.pack("<I", masked(slow_crc32c(body + b"\0")))

    rows, data = [(b"", field(1, 1))], b""
    for name in sorted(arrays):
        raw = arrays[name].tobytes()
        dims = b"".join(field(2, field(1, size)) for size in arrays[name].shape)
        kind = {"float32": 1, "int64": 9}[str(arrays[name].dtype)]
        crc = struct.pack("<BI", 6 << 3 | 5, masked(crc32c(np.frombuffer(raw, np.uint8))))
        rows.append((name.encode(), field(1, kind) + field(2, dims) + field(4, len(data)) + field(5, len(raw)) + crc))
        data += raw
    content, meta = block(rows), block([])
    index = block([(rows[-1][0], varint(0) + varint(len(content) - 5))])
    at = len(content) + len(meta)
    footer = varint(len(content)) + varint(len(meta) - 5) + varint(at) + varint(len(index) - 5)
    footer = footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "variables.index").write_bytes(content + meta + index + footer)
    (folder / "variables.data-00000-of-00001").write_bytes(data)


def test_the_writer_of_these_tests_is_understood(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a/count": np.array(7)}
    write_checkpoint(tmp_path, arrays)
    read = read_checkpoint(tmp_path)
    assert set(read) == set(arrays) and all(np.array_equal(read[k], arrays[k]) for k in arrays)


@pytest.mark.slow
def test_the_command_converts_a_whole_saved_model(tmp_path, capsys):
    weights = all_weights()
    folder = tmp_path / "rt1main" / "variables"
    folder.mkdir(parents=True)
    numbered = {
        f"model_variables/{n}{SUFFIX}": weights[row.name] for n, row in enumerate(official_variables(RT1Config.paper()), 1)
    }
    write_checkpoint(folder, numbered | {f"model_variables/0{SUFFIX}": np.array(424760)})
    out = tmp_path / "rt1main.safetensors"
    assert main([str(tmp_path / "rt1main"), str(out)]) == 0
    assert "35,252,128 parameters" in capsys.readouterr().out
    loaded, expected = load_checkpoint(out, RT1).state_dict(), RT1.from_official(weights).state_dict()
    assert not [k for k in expected if not torch.equal(loaded[k], expected[k])]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rt1main", "rt1main.safetensors"]


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path, capsys):
    assert main([str(FOLDER / "small"), str(tmp_path / "out.safetensors")]) == 1
    message = capsys.readouterr().err
    assert "rows differ" in message and "encoder/" in message
    assert main([str(tmp_path), str(tmp_path / "out.safetensors")]) == 1
    assert "no TensorFlow checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.glob("*"))

"""TensorFlow checkpoints, read without TensorFlow."""

import json
import shutil

import numpy as np
import pytest
from parity_recipe import FOLDER, digest
from tensor_bundle import slow_crc32c, write_checkpoint

from course_lib.rt1 import RT1Config
from course_lib.rt1.official_names import plain_names, short
from course_lib.rt1.official_reader import crc32c, read_checkpoint, unsnap


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


def test_snappy_literals_and_overlapping_copies_are_undone():
    assert unsnap(bytes([6, 4 << 2]) + b"abcde" + bytes([0]) + b"f") == b"abcdef"  # literals of 5 and of 1
    assert unsnap(bytes([10, 0]) + b"a" + bytes([5 << 2 | 1, 1])) == b"a" * 10  # a copy of 9 from 1 back
    assert unsnap(bytes([9, 2 << 2]) + b"abc" + bytes([5 << 2 | 2, 3, 0])) == b"abcabcabc"  # two bytes of distance
    long = bytes(range(100))
    assert unsnap(bytes([100, 60 << 2, 99]) + long) == long  # a literal whose length stands in the next byte
    with pytest.raises(IndexError, match="before the start"):
        unsnap(bytes([5, 1, 9]))


def test_the_writer_of_these_tests_is_understood(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a/count": np.array(7)}
    write_checkpoint(tmp_path, arrays)
    read = read_checkpoint(tmp_path)
    assert set(read) == set(arrays) and all(np.array_equal(read[k], arrays[k]) for k in arrays)

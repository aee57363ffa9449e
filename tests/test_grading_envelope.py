"""What passes between grader and sandbox comes back as it was, and what a stranger sends is refused."""

import json

import numpy as np
import pytest

from course_lib.grading.envelope import pack, unpack


def block(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(kind, shape, length, begin=0):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, begin + length]}


def test_note_and_arrays_come_back_as_they_were():
    arrays = {
        "a": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)[:, ::-1],
        "b": np.array(7),
        "c": np.zeros((0, 3), bool),
        "d": np.arange(5, dtype=np.uint8),
        "e": np.array([1e-300, 1 / 3]),
    }
    note, back = unpack(pack({"text": "ä <b>", "n": [1, None]}, arrays))
    assert note == {"text": "ä <b>", "n": [1, None]} and set(back) == set(arrays)
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype and np.array_equal(back[name], value) and back[name].shape == value.shape


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"hello",
        b"\xff" * 100,
        pack({}, {})[:-1],
        pack({}, {}) + b"x",
        block({"other": entry("U8", [2], 2)}, b"{}"),
        block({"note": entry("F32", [10**12], 4 * 10**12)}),
        block({"note": entry("U8", [2**62, 4], 4)}, b"{}{}"),
        block({"note": entry("F16", [1], 2)}, b"{}"),
        block({"note": entry("U8", [4], 4)}, b"nope"),
        block({"note": entry("U8", [2], 2)}, b"[]"),
        block({"note": entry("U8", [100_000], 100_000)}, b"[" * 100_000),
        block({"note": entry("U8", [2], 2), "x": entry("U8", [2], 2)}, b"{}"),
    ],
    ids=range(13),
)
def test_other_bytes_are_refused(sent):
    with pytest.raises(ValueError, match=r"."):
        unpack(sent)

"""Reads TensorFlow checkpoints without TensorFlow: the index, its blocks, and the arrays in the data files.

A checkpoint ("tensor bundle") is ``NAME.index``, a sorted string table as in LevelDB, and ``NAME.data-00000-of-00001``
with the raw little-endian arrays. The index maps a name to a small protocol buffer: dtype, shape, file, offset, size,
CRC-32C. Blocks of the index may be compressed with Snappy (the released files are; those of open-source TensorFlow are
not). Formats: tensorflow/core/util/tensor_bundle, google/leveldb doc/table_format.md, google/snappy
format_description.txt. Only what RT-1's checkpoints use is read: float and integer arrays, no string tensors.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOOTER_BYTES, MAGIC = 48, 0xDB4775248B80FB57
# DataType of tensorflow/core/framework/types.proto
DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}


@dataclass(frozen=True)
class Entry:
    """Where an array lies."""

    dtype: int  # TensorFlow's number for it
    shape: tuple[int, ...]
    shard: int  # which data file
    offset: int  # bytes from its start
    size: int  # bytes
    crc: int  # masked CRC-32C of those bytes


def read_checkpoint(folder: str | Path) -> dict[str, np.ndarray]:
    """All numeric arrays of a checkpoint by name: of a SavedModel, a folder with one ``.index``, or a path without suffix.

    Raises ValueError when there is no checkpoint, or when it is cut off or damaged (sizes and checksums are compared).
    """
    prefix = find_checkpoint(Path(folder))
    shards, entries = read_index(prefix)
    names = [prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}") for i in range(shards)]
    files = [
        _open(path, max((e.offset + e.size for e in entries.values() if e.shard == i), default=0))
        for i, path in enumerate(names)
    ]
    arrays = {}
    for name, entry in entries.items():
        if entry.dtype not in DTYPES:
            continue  # strings: the object graph of a training checkpoint
        raw = files[entry.shard][entry.offset : entry.offset + entry.size]
        if masked(crc32c(raw)) != entry.crc:
            raise ValueError(
                f"{names[entry.shard].name} is damaged: the checksum of {name} does not fit. Download the file again."
            )
        arrays[name] = raw.view(DTYPES[entry.dtype]).reshape(entry.shape)
    return arrays


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint's path without its suffix."""
    if folder.with_name(folder.name + ".index").is_file():
        return folder
    places = [folder / "variables", folder]  # a SavedModel is complete where a training checkpoint may be cut off
    found = [index.with_suffix("") for place in places for index in sorted(place.glob("*.index"))]
    if not found:
        raise ValueError(
            f"There is no TensorFlow checkpoint in {folder}: expected a file ending in .index, in it or in variables/. "
            "Try a folder of trained_checkpoints/ of google-research/robotics_transformer, fetched with git lfs."
        )
    first = [path for path in found if path.parent == found[0].parent]
    if len(first) > 1:
        names = ", ".join(path.name for path in first)
        raise ValueError(f"{first[0].parent} has several checkpoints: {names}. Try {first[-1]}, without a suffix.")
    return found[0]


def read_index(prefix: Path) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and every entry by name."""
    path = prefix.with_name(prefix.name + ".index")
    data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path.name} is a Git LFS pointer, not the file. Try `git lfs pull` where you downloaded it.")
    try:
        table = dict(_table(data))
        header = _fields(table.pop(b""))
        return header.get(1, 1), {key.decode(): _entry(value) for key, value in table.items()}
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a whole checkpoint index ({len(data)} bytes). Download it again.") from error


def _entry(message: bytes) -> Entry:
    fields = _fields(message)
    dims = [_fields(dim).get(1, 0) for dim in _repeated(fields.get(2, b""), 2)]
    if 7 in fields:
        raise ValueError(
            "This checkpoint keeps tensors in slices (partitioned variables), which RT-1's do not. Try another."
        )
    return Entry(fields.get(1, 0), tuple(dims), fields.get(3, 0), fields.get(4, 0), fields.get(5, 0), fields.get(6, 0))


def _open(path: Path, needed: int) -> np.ndarray:
    """The file's bytes, mapped and not copied."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing beside its index. Download the whole folder.")
    if path.stat().st_size < needed:
        raise ValueError(
            f"{path.name} is cut off: its index asks for {needed:,} bytes, it has {path.stat().st_size:,}. "
            "Download it again (git lfs pull), or use the SavedModel of the same model, the folder variables/."
        )
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


# The sorted string table: a footer points to the index block, which points to the data blocks.


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = data[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise IndexError("no footer")
    _, at = _handle(footer, 0)  # the metaindex, empty here
    index, _ = _handle(footer, at)
    for _, handle in _block(data, *index):
        yield from _block(data, *_handle(handle, 0)[0])


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key repeats the start of the one before it."""
    body, kind, crc = data[offset : offset + size], data[offset + size], data[offset + size + 1 : offset + size + 5]
    if masked(crc32c(np.frombuffer(data[offset : offset + size + 1], np.uint8))) != struct.unpack("<I", crc)[0]:
        raise IndexError("checksum")
    if kind not in (0, 1):
        raise IndexError(f"compression {kind}")
    body = unsnap(body) if kind == 1 else body
    end = len(body) - 4 - 4 * struct.unpack("<I", body[-4:])[0]  # restart points follow, for searching
    at, key = 0, b""
    while at < end:
        shared, at = _varint(body, at)
        fresh, at = _varint(body, at)
        length, at = _varint(body, at)
        key = key[:shared] + body[at : at + fresh]
        yield key, body[at + fresh : at + fresh + length]
        at += fresh + length


def unsnap(data: bytes) -> bytes:
    """Snappy's decompression: a length, then literals and copies of what is already there."""
    length, at = _varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, kind = data[at], data[at] & 3
        at += 1
        if kind == 0:  # a literal; lengths from 60 on stand in the next 1 to 4 bytes
            size, extra = tag >> 2, max(0, (tag >> 2) - 59)
            size = (int.from_bytes(data[at : at + extra], "little") if extra else size) + 1
            at += extra
            out += data[at : at + size]
            at += size
            continue
        extra = {1: 1, 2: 2, 3: 4}[kind]
        back = int.from_bytes(data[at : at + extra], "little") + ((tag >> 5) << 8 if kind == 1 else 0)
        size = ((tag >> 2) & 7) + 4 if kind == 1 else (tag >> 2) + 1
        at += extra
        if not 0 < back <= len(out):
            raise IndexError("copy from before the start")
        for _ in range(size):  # byte by byte: a copy may overlap itself
            out.append(out[-back])
    if len(out) != length:
        raise IndexError("length")
    return bytes(out)


# Protocol buffers: a tag (field number and kind), then the value.


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _pairs(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif tag & 7 == 5:
            value, at = struct.unpack("<I", message[at : at + 4])[0], at + 4
        else:
            value, at = struct.unpack("<Q", message[at : at + 8])[0], at + 8
        yield tag >> 3, value


def _fields(message: bytes) -> dict:
    return dict(_pairs(message))


def _repeated(message: bytes, number: int) -> list:
    return [value for n, value in _pairs(message) if n == number]


# CRC-32C (Castagnoli). Many lanes of the data at once, joined by "crc of a, then as many zero bytes as b has".


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0))
    return table


TABLE = _crc_table()


def crc32c(data: np.ndarray) -> int:
    """CRC-32C of uint8 bytes."""
    lanes = 1 << max(0, min(12, len(data).bit_length() - 6))  # a power of two, for joining in halves
    length = len(data) // lanes
    head, tail = data[: lanes * length].reshape(lanes, length), data[lanes * length :]
    state = np.zeros(lanes, np.uint32)
    state[0] = 0xFFFFFFFF
    for column in np.ascontiguousarray(head.T):
        state = TABLE[(state ^ column) & 0xFF] ^ (state >> 8)
    zeros = _appending_zeros(length)
    while len(state) > 1:
        state = _apply(zeros, state[0::2]) ^ state[1::2]
        zeros = _apply(zeros, zeros)  # twice as many
    crc = int(state[0])
    for byte in tail.tolist():
        crc = int(TABLE[(crc ^ byte) & 0xFF]) ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _appending_zeros(length: int) -> np.ndarray:
    """What ``length`` zero bytes do to a state: a 32 x 32 matrix of bits, one uint32 per column."""
    result = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step = TABLE[result & 0xFF] ^ (result >> 8)  # one zero byte
    while length:
        result = _apply(step, result) if length & 1 else result
        step, length = _apply(step, step), length >> 1
    return result


def _apply(matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    bits = (states[:, None] >> np.arange(32, dtype=np.uint32)) & 1  # (n, 32)
    return np.bitwise_xor.reduce(np.where(bits == 1, matrix, np.uint32(0)), axis=1)


def masked(crc: int) -> int:
    """How LevelDB and TensorFlow store a CRC: rotated by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

"""Writes small TensorFlow checkpoints, as their format says, for the tests of the reader."""

import struct

import numpy as np

from course_lib.rt1.official_reader import crc32c, masked


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


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

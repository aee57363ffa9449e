"""What passes between the grader and the sandbox: a note and named arrays, in one block of bytes.

The block is a safetensors file with the note as JSON text in it. Nothing in it can be code, sizes are in plain view before
anything is read, and the grader opens every block as if a stranger had sent it.
"""

import json
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

KINDS = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8, "BOOL": np.bool_}
NOTE = "note"
NOTE_BYTES = 1_000_000


def pack(note: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """One block of bytes from a note (anything JSON can say) and arrays (float32, float64, int64, uint8 or bool)."""
    text = np.frombuffer(json.dumps(note).encode(), np.uint8)
    return save({NOTE: text, **{name: np.asarray(value, order="C") for name, value in arrays.items()}})


def unpack(block: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The note and the arrays of a block. Raises ValueError for anything that ``pack`` could not have made."""
    try:
        items = dict(safetensors.deserialize(block))
        if any(item["dtype"] not in KINDS for item in items.values()):
            raise ValueError(f"Expected arrays of {', '.join(KINDS)}.")
        arrays = {
            name: np.frombuffer(item["data"], KINDS[item["dtype"]]).reshape(item["shape"]).copy()
            for name, item in items.items()
        }
        text = arrays.pop(NOTE).tobytes()
        note = json.loads(text[:NOTE_BYTES])
    except (safetensors.SafetensorError, KeyError, RecursionError) as error:
        raise ValueError(f"Expected a block of bytes made by pack, got {len(block)} other bytes.") from error
    if not isinstance(note, dict):
        raise ValueError("Expected a note with named entries.")
    return note, arrays

"""Weights made from names, so that two frameworks can be compared without shipping 140 MB.

The reference numbers in ``fixtures/parity`` were computed by the TensorFlow code of google-research/robotics_transformer
(Apache-2.0) with exactly these weights: numpy's PCG64 stream of CRC-32(name) + seed, scaled so that no layer of the
untrained network dies out or explodes. The gains below are part of the recipe: changing one changes the weights.
"""

import hashlib
import json
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import nn

from course_lib.rt1 import RT1Config
from course_lib.rt1.decoder import Decoder
from course_lib.rt1.official_names import official_variables

# Another folder of the same kind (another seed, same names) can be put in the place of ours.
FOLDER = Path(os.environ.get("RT1_PARITY", Path(__file__).parent / "fixtures" / "parity"))

GAINS = {
    "dwconv": 1.7,
    "se_expand": 1.5,
    "conv1x1": 1.2,
    "film/add": 0.2,
    "film/mult": 0.2,
    "mlp/hidden": 1.5,
    "mlp/output": 4.0,
    "attention/query": 1.5,
    "attention/key": 1.5,
}
# leaf of the name: (offset, scale, whether the absolute value of the normal is taken)
OTHER_LEAVES = {
    "bias": (0, 0.02, False),
    "gamma": (1, 0.1, False),
    "beta": (0, 0.1, False),
    "moving_mean": (0, 0.1, False),
    "moving_variance": (1, 0.1, True),
    "mean": (0.45, 0.03, False),
    "variance": (0.22, 0.01, True),
}


def weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """One variable: float32 in TensorFlow's layout (``.../count``: int64 zero)."""
    layer, leaf = name.rsplit("/", 1)
    if leaf == "count":
        return np.zeros(shape, np.int64)
    normal = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) + seed)).standard_normal(shape, dtype=np.float32)
    if leaf == "kernel":
        return _kernel_scale(layer, shape) * normal
    offset, scale, absolute = OTHER_LEAVES[leaf]
    return np.float32(offset) + np.float32(scale) * (np.abs(normal) if absolute else normal)


def _kernel_scale(layer: str, shape: tuple[int, ...]) -> np.float32:
    if layer.endswith("position_embedding"):
        return np.float32(1)
    if layer.endswith("a/project_conv"):  # the first block of a stage, which has no residual
        gain = 2.8
    else:
        gain = next((gain for end, gain in GAINS.items() if f"/{layer}".endswith(f"/{end}")), 1.0)
    if layer.endswith("dwconv"):
        fan_in = shape[0] * shape[1]
    elif layer.endswith(("attention/query", "attention/key", "attention/value")):
        fan_in = shape[0]
    else:
        fan_in = int(np.prod(shape[:-1]))
    return np.float32(gain / np.sqrt(float(fan_in)))


def manifest() -> dict:
    """Seed, shapes and fingerprints of the 732 variables, facts read off the TensorFlow model."""
    return json.loads((FOLDER / "manifest.json").read_text())


def all_weights() -> dict[str, np.ndarray]:
    """The 732 variables of the reference network."""
    facts = manifest()
    return {name: weight(name, tuple(v["shape"]), facts["seed"]) for name, v in facts["variables"].items()}


def digest(array: np.ndarray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a fixture."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


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


def put(module: nn.Module, weights: dict[str, np.ndarray], prefix: str = "") -> nn.Module:
    """Load official arrays (plain names) into one part of RT1, whose key in RT1 is ``prefix``."""
    rows = {row.name: row for row in official_variables(RT1Config.paper())}
    state = module.state_dict()
    for name, array in weights.items():
        ours = torch.from_numpy(rows[name].layout.ours(array).copy())
        state[rows[name].ours.removeprefix(prefix)] = ours
    module.load_state_dict(state)
    return module.eval()


def sequence(decoder: Decoder, x: np.ndarray) -> torch.Tensor:
    """The embedded sequence for arbitrary inputs at all positions, action positions included."""
    steps = rearrange(torch.from_numpy(x), "B (T P) C -> B T P C", T=decoder.history)
    return decoder.embed(steps[:, :, : decoder.image_tokens], steps[:, :, decoder.image_tokens :])

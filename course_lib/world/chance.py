"""Random numbers that belong to a table, not to a batch: the same alone or among thousands, on CPU or GPU.

A counter-based generator: the number is a hash of (seed of the table, step, stream, position). Nothing is stored, so a
world can be resumed, split over workers or replayed at any step. The mixing function is SplitMix64's finaliser
(Steele, Lea and Flood, OOPSLA 2014), in int64 arithmetic that wraps the same way on every device.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's >> copies the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def uniform(seed: Int[Tensor, " N"], step: Int[Tensor, " N"], stream: int, *shape: int) -> Float[Tensor, "N ..."]:
    """Numbers in [0, 1), one block of ``shape`` per table. Different ``stream``: independent numbers."""
    count = math.prod(shape)
    place = torch.arange(1, count + 1, device=seed.device)
    start = _mix(_mix(seed.long() + stream * 1_000_003) + step.long())  # (N,)
    bits = _mix(start[:, None] + place * _GOLDEN)  # (N, count)
    return (_shift(bits, 40).float() / (1 << 24)).reshape(-1, *shape)


def normal(seed: Int[Tensor, " N"], step: Int[Tensor, " N"], stream: int, *shape: int) -> Float[Tensor, "N ..."]:
    """Standard normal numbers (Box-Muller), one block of ``shape`` per table."""
    u = uniform(seed, step, stream, 2, *shape)
    return (-2 * (1 - u[:, 0]).log()).sqrt() * (2 * math.pi * u[:, 1]).cos()

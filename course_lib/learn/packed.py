"""Weights in 8 or 4 bits: what a layer keeps in place of its matrix, and how it multiplies with it.

A weight of shape (O, ...) is a matrix of O rows, one per output. ``layer.weight`` is still there, computed when asked
for, so every layer and every model runs as before; Linear layers have shorter ways. torch's own tools: ``torch.ao`` is
deprecated (its docstring says so), and torchao packs Linear layers alone and cannot write its 4-bit CPU weights to
safetensors (pytorch/ao#3800), while most of RT-1 is convolutions.
"""

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8, UInt8
from torch import Tensor, nn

INT8, INT4 = 127, 15  # the largest level: -127 ... 127, and 0 ... 15
CUDA_ROWS, CUDA_STEP = 32, 8  # torch._int_mm on CUDA wants more than 16 rows, and sides that are multiples of 8


class Int8Weight(nn.Module):
    """Each row as whole numbers -127 ... 127 and one scale: w = scale * level, wrong by at most scale / 2.

    The largest number of a row is 127 times its scale, so a row of zeros stays zeros. One byte a weight, four a row.
    """

    def __init__(self, weight: Float[Tensor, "O ..."]):
        super().__init__()
        self.shape = weight.shape
        rows = weight.detach().flatten(1)
        scale = rows.abs().amax(1).clamp(min=torch.finfo(rows.dtype).tiny) / INT8
        self.register_buffer("levels", (rows / scale[:, None]).round().clamp(-INT8, INT8).to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self) -> Float[Tensor, "..."]:
        """The weight, as near as its levels."""
        return (self.levels.to(self.scale.dtype) * self.scale[:, None]).view(self.shape)

    def linear(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """x times the weight: first with the levels, then one multiplication per output."""
        return F.linear(x, self.levels.to(x.dtype)) * self.scale


class DynamicInt8Weight(Int8Weight):
    """The same weights; in a Linear layer the inputs become whole numbers too, one scale per row of inputs.

    "Dynamic": the inputs' scale is found while it runs. Processors multiply 8-bit numbers faster than floats, and their
    sums are exact; what is lost is the rounding of the inputs.
    """

    def linear(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Round the inputs, multiply whole numbers, scale back."""
        rows = x.flatten(0, -2) if x.ndim > 1 else x[None]
        scale = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) / INT8
        levels = (rows / scale).round().clamp(-INT8, INT8).to(torch.int8)
        y = integer_product(levels, self.levels).to(x.dtype) * scale * self.scale
        return y.view(*x.shape[:-1], -1)


class Int4Weight(nn.Module):
    """Groups of neighbours in a row as whole numbers 0 ... 15, two in a byte: w = low + scale * level.

    ``scale`` and ``low`` are bfloat16, one of each per group: with groups of 32 a weight costs 4 + 1 bits. Every group's
    range holds 0, so that ``low`` is small and its rounding too: a weight is wrong by at most 0.57 scale. The last group of
    a row may be shorter.
    """

    def __init__(self, weight: Float[Tensor, "O ..."], group: int = 32):
        super().__init__()
        self.shape, self.group = weight.shape, group
        rows = weight.detach().flatten(1)
        missing = -rows.shape[1] % group
        groups = F.pad(rows, (0, missing)).unflatten(1, (-1, group)).float()  # (O, G, group)
        low = groups.amin(2).clamp(max=0).to(torch.bfloat16)
        high = groups.amax(2).clamp(min=0)
        scale = ((high - low.float()) / INT4).clamp(min=1e-30).to(torch.bfloat16)
        levels = ((groups - low.float()[..., None]) / scale.float()[..., None]).round().clamp(0, INT4)
        self.register_buffer("pairs", pack(levels.flatten(1)[:, : rows.shape[1]].to(torch.uint8)))
        self.register_buffer("scale", scale)
        self.register_buffer("low", low)
        self.register_buffer("like", rows.new_empty(0), persistent=False)  # holds no number: says the weight's precision

    def forward(self) -> Float[Tensor, "..."]:
        """The weight, as near as its levels."""
        inputs = self.shape[1:].numel()
        levels = F.pad(unpack(self.pairs)[:, :inputs], (0, -inputs % self.group)).unflatten(1, (-1, self.group))
        groups = self.low[..., None] + self.scale[..., None] * levels.to(self.like.dtype)
        return groups.flatten(1)[:, :inputs].reshape(self.shape).to(self.like.dtype)

    def linear(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """x times the weight, which is unpacked for it."""
        return F.linear(x, self().to(x.dtype))


Packed = Int8Weight | Int4Weight


def replace_weight(layer: nn.Module, packed: Packed) -> None:
    """Put ``packed`` in the place of ``layer.weight``. The layer stays what it is, an ``nn.Linear``, a ``Conv`` ..."""
    del layer.weight
    layer.packed = packed
    layer.__class__ = _class_with_packed_weight(type(layer))


@cache
def _class_with_packed_weight(kind: type[nn.Module]) -> type[nn.Module]:
    """``kind`` with a weight that is computed."""

    class PackedLayer(kind):
        @property
        def weight(self) -> Tensor:
            return self.packed()

        def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
            if kind is not nn.Linear:
                return super().forward(x, *rest)
            y = self.packed.linear(x)
            return y if self.bias is None else y + self.bias

    PackedLayer.__name__ = PackedLayer.__qualname__ = f"Packed{kind.__name__}"
    return PackedLayer


def integer_product(x: Int8[Tensor, "M K"], w: Int8[Tensor, "N K"]) -> Int[Tensor, "M N"]:
    """x times w transposed, summed in 32-bit integers: exact. On mps, which has none, in float32 (exact to K = 1,040)."""
    if x.device.type == "mps":
        return (x.float() @ w.float().T).int()
    if x.device.type != "cuda":
        return torch._int_mm(x, w.T)
    M, N, K = len(x), len(w), x.shape[1]
    more = -K % CUDA_STEP
    x = F.pad(x, (0, more, 0, max(CUDA_ROWS - M, 0)))
    return torch._int_mm(x, F.pad(w, (0, more, 0, -N % CUDA_STEP)).T)[:M, :N]


def pack(levels: UInt8[Tensor, "O I"]) -> UInt8[Tensor, "O P"]:
    """Two numbers 0 ... 15 in a byte, the first in its low half; an odd row ends with a half that is 0."""
    levels = F.pad(levels, (0, levels.shape[1] % 2))
    return levels[:, ::2] | (levels[:, 1::2] << 4)


def unpack(pairs: UInt8[Tensor, "O P"]) -> UInt8[Tensor, "O I"]:
    """The way back."""
    return torch.stack((pairs & 15, pairs >> 4), -1).flatten(1)

"""What a network costs, counted from its configuration: operations and bytes of its layers.

Counted are multiplications and additions of convolutions and matrix products (2 per weight and use), as usual;
normalisation, activations and softmax are left out (under 2% of the operations, but not of the time). Bytes are what
must move at least: every weight once, and the input and output of every counted layer once.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one part."""

    flops: int  # multiplications and additions
    weights: int  # bytes of its weights
    activations: int  # bytes read and written between its layers

    @property
    def bytes(self) -> int:
        """All bytes that must move."""
        return self.weights + self.activations

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.weights + other.weights, self.activations + other.activations)


@dataclass(frozen=True)
class Use:
    """A layer at work: its weights, and the numbers it reads and writes."""

    flops: int
    weights: int
    read: int
    written: int

    def times(self, count: int) -> "Use":
        """The same layer for ``count`` inputs: its weights are read once."""
        return Use(count * self.flops, self.weights, count * self.read, count * self.written)


def total(uses: Iterator[Use], weight_bytes: int, activation_bytes: int) -> Cost:
    """The cost of several layers; the bytes per number say the precision: 4 for float32, 2 for bfloat16."""
    flops = weights = moved = 0
    for use in uses:
        flops, weights, moved = flops + use.flops, weights + use.weights, moved + use.read + use.written
    return Cost(flops, weights * weight_bytes, moved * activation_bytes)


def only_weights(count: int) -> Use:
    """Numbers that are read and added or multiplied in passing: norms, tables of positions."""
    return Use(0, count, 0, 0)


def dense(rows: int, inputs: int, outputs: int, bias: bool = True) -> Use:
    """A linear layer."""
    return Use(2 * rows * inputs * outputs, (inputs + bias) * outputs, rows * inputs, rows * outputs)


def matmul(rows: int, inner: int, columns: int, times: int) -> Use:
    """A product of two activations: no weights."""
    return Use(2 * times * rows * inner * columns, 0, times * (rows + columns) * inner, times * rows * columns)

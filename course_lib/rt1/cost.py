"""What a control step costs: operations and bytes of each part, counted from the configuration.

Counted are multiplications and additions of convolutions and matrix products (2 per weight and use), as usual;
normalisation, activations and softmax are left out (under 2% of the operations, but not of the time). Bytes are what
must move at least: every weight once, and the input and output of every counted layer once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from course_lib.rt1.config import RT1Config


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


def rt1_cost(config: RT1Config, *, weight_bytes: int = 4, activation_bytes: int = 4) -> dict[str, Cost]:
    """Costs of ``encoder`` (one frame), ``token_learner`` (one frame), ``decoder`` (one pass over the full history).

    One control step of ``RT1.act`` is the sum of the three. The bytes per number say the precision: 4 for float32,
    2 for bfloat16.
    """
    parts = {"encoder": _encoder(config), "token_learner": _token_learner(config), "decoder": _decoder(config)}
    return {name: _sum(uses, weight_bytes, activation_bytes) for name, uses in parts.items()}


def _sum(uses: Iterator[Use], weight_bytes: int, activation_bytes: int) -> Cost:
    flops = weights = moved = 0
    for use in uses:
        flops, weights, moved = flops + use.flops, weights + use.weights, moved + use.read + use.written
    return Cost(flops, weights * weight_bytes, moved * activation_bytes)


def _conv(place: tuple[int, int], inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Use:
    small = (place[0] // stride) * (place[1] // stride)
    weights = kernel * kernel * (inputs // groups) * outputs
    norm = 2 * outputs  # BatchNorm's two weights; its operations can be folded into the convolution
    return Use(2 * weights * small, weights + norm, place[0] * place[1] * inputs, small * outputs)


def _dense(rows: int, inputs: int, outputs: int) -> Use:
    return Use(2 * rows * inputs * outputs, (inputs + 1) * outputs, rows * inputs, rows * outputs)


def _matmul(rows: int, inner: int, columns: int, times: int) -> Use:
    """A product of two activations: no weights."""
    return Use(2 * times * rows * inner * columns, 0, times * (rows + columns) * inner, times * rows * columns)


def _film(config: RT1Config, channels: int) -> Iterator[Use]:
    yield _dense(1, config.instruction_dim, channels)
    yield _dense(1, config.instruction_dim, channels)


def _encoder(config: RT1Config) -> Iterator[Use]:
    trunk = config.trunk
    place, channels = (trunk.image_height, trunk.image_width), trunk.stem_channels
    yield _conv(place, 3, channels, trunk.stem_kernel, trunk.stem_stride)
    place = (place[0] // trunk.stem_stride, place[1] // trunk.stem_stride)
    for stage in trunk.stages:
        for r in range(stage.repeats):
            inner, stride = channels * stage.expansion, stage.stride if r == 0 else 1
            hidden = max(1, int(channels * trunk.se_ratio))
            if stage.expansion > 1:
                yield _conv(place, channels, inner)
            yield _conv(place, inner, inner, stage.kernel, stride, groups=inner)
            place = (place[0] // stride, place[1] // stride)
            yield _dense(1, inner, hidden)
            yield _dense(1, hidden, inner)
            yield _conv(place, inner, stage.channels)
            yield from _film(config, stage.channels)
            channels = stage.channels
    cells = place[0] * place[1]
    yield _conv(place, channels, trunk.top_channels)
    to_map = _conv(place, trunk.top_channels, trunk.out_channels)
    yield Use(to_map.flops, to_map.weights - 2 * trunk.out_channels, to_map.read, to_map.written)  # has no BatchNorm
    yield from _film(config, trunk.out_channels)
    if trunk.map_positions:
        yield Use(0, cells * trunk.out_channels, 0, 0)


def _token_learner(config: RT1Config) -> Iterator[Use]:
    cells, channels = config.trunk.map_size[0] * config.trunk.map_size[1], config.trunk.out_channels
    yield Use(0, 2 * channels, 0, 0)  # LayerNorm
    yield _dense(cells, channels, config.token_learner_hidden)
    yield _dense(cells, config.token_learner_hidden, config.image_tokens)
    yield _matmul(config.image_tokens, cells, channels, 1)


def _decoder(config: RT1Config) -> Iterator[Use]:
    width, inner, length = config.width, config.heads * config.key_dim, config.positions
    yield _dense(config.history * config.image_tokens, config.trunk.out_channels, width)  # the action zeros cost nothing
    yield Use(0, (length + 1) * width, 0, 0)  # positions
    for i in range(config.layers):
        rows = config.action_dims if i == config.layers - 1 else length  # the last layer answers only where it is read
        yield Use(0, 4 * width, 0, 0)  # two LayerNorms
        yield _dense(rows, width, inner)  # queries
        yield _dense(length, width, inner)  # keys
        yield _dense(length, width, inner)  # values
        yield _matmul(rows, config.key_dim, length, config.heads)
        yield _matmul(rows, length, config.key_dim, config.heads)
        yield _dense(rows, inner, width)
        yield _dense(rows, width, width)
    yield _dense(config.action_dims, width, config.bins)

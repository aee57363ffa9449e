"""What a control step of RT-1 costs: operations and bytes of each part, counted as ``course_lib.costs`` says."""

from collections.abc import Iterator

from course_lib.costs import Cost, Use, dense, matmul, only_weights, total
from course_lib.rt1.config import RT1Config


def rt1_cost(config: RT1Config, *, weight_bytes: int = 4, activation_bytes: int = 4) -> dict[str, Cost]:
    """Costs of ``encoder`` (one frame), ``token_learner`` (one frame), ``decoder`` (one pass over the full history).

    One control step of ``RT1.act`` is the sum of the three. The bytes per number say the precision: 4 for float32,
    2 for bfloat16.
    """
    parts = {"encoder": _encoder(config), "token_learner": _token_learner(config), "decoder": _decoder(config)}
    return {name: total(uses, weight_bytes, activation_bytes) for name, uses in parts.items()}


def rt1_window_cost(config: RT1Config, *, weight_bytes: int = 4, activation_bytes: int = 4) -> dict[str, Cost]:
    """Costs of one training window, read forward as ``RT1.loss`` reads it; the parts are those of ``rt1_cost``.

    ``encoder`` and ``token_learner`` see each of its frames (a batch reads their weights once), ``decoder`` answers at every
    step and not only at the last. What the backward pass adds is ``course_lib.measure.training_cost``'s business.
    """
    per_frame = (_encoder(config), _token_learner(config))
    encoder, learner = ((use.times(config.history) for use in uses) for uses in per_frame)
    parts = {"encoder": encoder, "token_learner": learner, "decoder": _decoder(config, config.history)}
    return {name: total(uses, weight_bytes, activation_bytes) for name, uses in parts.items()}


def _conv(place: tuple[int, int], inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Use:
    small = (place[0] // stride) * (place[1] // stride)
    weights = kernel * kernel * (inputs // groups) * outputs
    norm = 2 * outputs  # BatchNorm's two weights; its operations can be folded into the convolution
    return Use(2 * weights * small, weights + norm, place[0] * place[1] * inputs, small * outputs)


def _film(config: RT1Config, channels: int) -> Iterator[Use]:
    yield dense(1, config.instruction_dim, channels)
    yield dense(1, config.instruction_dim, channels)


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
            yield dense(1, inner, hidden)
            yield dense(1, hidden, inner)
            yield _conv(place, inner, stage.channels)
            yield from _film(config, stage.channels)
            channels = stage.channels
    cells = place[0] * place[1]
    yield _conv(place, channels, trunk.top_channels)
    to_map = _conv(place, trunk.top_channels, trunk.out_channels)
    yield Use(to_map.flops, to_map.weights - 2 * trunk.out_channels, to_map.read, to_map.written)  # has no BatchNorm
    yield from _film(config, trunk.out_channels)
    if trunk.map_positions:
        yield only_weights(cells * trunk.out_channels)


def _token_learner(config: RT1Config) -> Iterator[Use]:
    cells, channels = config.trunk.map_size[0] * config.trunk.map_size[1], config.trunk.out_channels
    yield only_weights(2 * channels)  # LayerNorm
    yield dense(cells, channels, config.token_learner_hidden)
    yield dense(cells, config.token_learner_hidden, config.image_tokens)
    yield matmul(config.image_tokens, cells, channels, 1)


def _decoder(config: RT1Config, steps: int = 1) -> Iterator[Use]:
    """A pass over the whole window that answers at its last ``steps`` steps."""
    answers = steps * config.action_dims
    width, inner, length = config.width, config.heads * config.key_dim, config.positions
    yield dense(config.history * config.image_tokens, config.trunk.out_channels, width)  # the action zeros cost nothing
    yield only_weights((length + 1) * width)  # positions
    for i in range(config.layers):
        rows = answers if i == config.layers - 1 else length  # the last layer answers only where it is read
        yield only_weights(4 * width)  # two LayerNorms
        yield dense(rows, width, inner)  # queries
        yield dense(length, width, inner)  # keys
        yield dense(length, width, inner)  # values
        yield matmul(rows, config.key_dim, length, config.heads)
        yield matmul(rows, length, config.key_dim, config.heads)
        yield dense(rows, inner, width)
        yield dense(rows, width, width)
    yield dense(answers, width, config.bins)

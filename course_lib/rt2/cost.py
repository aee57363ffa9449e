"""What RT-2 costs: the picture once, the prompt once (prefill), each further token (step).

Counted as ``course_lib.costs`` says.
"""

from collections.abc import Iterator

from course_lib.costs import Cost, Use, dense, matmul, only_weights, total
from course_lib.rt2.config import GemmaConfig, PaliGemmaConfig


def rt2_cost(
    config: PaliGemmaConfig, *, prompt: int = 16, answer: int = 8, weight_bytes: int = 4, activation_bytes: int = 4
) -> dict[str, Cost]:
    """Costs of ``encoder`` (one picture), ``prefill`` (image and ``prompt`` tokens) and ``step`` (one more token).

    The step is the last one of an answer of ``answer`` tokens, so the dearest. An answer is encoder + prefill +
    (answer - 1) * step: the first token comes out of the prefill.
    """
    K = config.vision.image_tokens
    reads = [(K + prompt, K + prompt)] if config.image_sees_prompt else [(K, K), (prompt, K + prompt)]
    parts = {
        "encoder": _encoder(config),
        "prefill": _passes(config.language, reads),
        "step": _passes(config.language, [(1, K + prompt + answer - 1)]),
    }
    return {name: total(uses, weight_bytes, activation_bytes) for name, uses in parts.items()}


def rt2_row_cost(
    config: PaliGemmaConfig,
    *,
    prompt: int = 16,
    answer: int = 9,
    questions: int = 1,
    weight_bytes: int = 4,
    activation_bytes: int = 4,
) -> dict[str, Cost]:
    """Costs of one training picture, read forward as ``RT2.loss`` reads it: ``encoder``, ``decoder`` and ``head``.

    The picture comes with ``questions`` rows of ``prompt`` and ``answer`` tokens (an action is 8 and <eos>). The decoder
    reads all but the last of them; the head gives logits where an answer is to be predicted. The table that embeds tokens
    is the head's, so its weights count there. What going backward adds is ``course_lib.measure.training_cost``'s business.
    Raises ValueError for a number below 1.
    """
    if min(prompt, answer, questions) < 1:
        raise ValueError(f"Expected prompt, answer and questions of at least 1, got {prompt}, {answer} and {questions}.")
    K, read = config.vision.image_tokens, prompt + answer - 1
    if config.image_sees_prompt:
        decoder = [use.times(questions) for use in _layers(config.language, K + read, K + read, K + read)]
    else:
        pictures, rows = _layers(config.language, K, K), _layers(config.language, read, K + read, read)
        decoder = [*pictures, *(Use(use.flops, 0, use.read, use.written).times(questions) for use in rows)]
    parts = {
        "encoder": _encoder(config),
        "decoder": iter([*decoder, only_weights(config.language.width)]),
        "head": _head(config.language, questions * answer),
    }
    return {name: total(uses, weight_bytes, activation_bytes) for name, uses in parts.items()}


def _encoder(config: PaliGemmaConfig) -> Iterator[Use]:
    eyes, K = config.vision, config.vision.image_tokens
    side, channels = eyes.image_size, 3
    for width in eyes.stem:
        side //= 2
        yield dense(side * side, 9 * channels, width)
        yield only_weights(2 * width)  # the norm
        channels = width
    patch = eyes.patch_size // 2 ** len(eyes.stem)
    yield dense(K, channels * patch**2, eyes.width)
    yield only_weights(K * eyes.width)  # the table of places
    for _ in range(eyes.layers):
        yield only_weights(4 * eyes.width)  # two LayerNorms
        for _ in range(4):
            yield dense(K, eyes.width, eyes.width)
        yield matmul(K, eyes.width // eyes.heads, K, eyes.heads)
        yield matmul(K, K, eyes.width // eyes.heads, eyes.heads)
        yield dense(K, eyes.width, eyes.hidden)
        yield dense(K, eyes.hidden, eyes.width)
    yield only_weights(2 * eyes.width)
    yield dense(K, eyes.width, config.language.width)


def _passes(config: GemmaConfig, reads: list[tuple[int, int]]) -> Iterator[Use]:
    """Passes over (new positions, all positions) each; the weights are counted once, and so are the logits."""
    for which, (rows, context) in enumerate(reads):
        for use in _layers(config, rows, context):
            yield use if which == 0 else Use(use.flops, 0, use.read, use.written)
    yield only_weights(config.width)  # the last norm
    yield from _head(config, 1)


def _head(config: GemmaConfig, rows: int) -> Iterator[Use]:
    yield dense(rows, config.width, config.vocabulary, bias=False)


def _layers(config: GemmaConfig, rows: int, context: int, answers: int = 1) -> Iterator[Use]:
    """All layers for ``rows`` positions that see ``context``; the last layer answers only at ``answers`` of them."""
    inner, shared = config.heads * config.head_dim, config.groups * config.head_dim
    for i in range(config.layers):
        asking = answers if i == config.layers - 1 else rows
        yield only_weights((4 if config.post_norms else 2) * config.width)
        yield dense(asking, config.width, inner, bias=False)
        yield dense(rows, config.width, shared, bias=False)
        yield dense(rows, config.width, shared, bias=False)
        yield matmul(asking, config.head_dim, context, config.heads)
        yield matmul(asking, context, config.head_dim, config.heads)
        yield dense(asking, inner, config.width, bias=False)
        yield dense(asking, config.width, config.hidden, bias=False)
        yield dense(asking, config.width, config.hidden, bias=False)
        yield dense(asking, config.hidden, config.width, bias=False)

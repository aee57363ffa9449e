"""The toy decoder in NumPy, for the judge of the decoding exercises: whole rows, nothing remembered, and its usual mistakes.

``checks.toy_decoder`` is the decoder that learners get. This is the same arithmetic once more, so that the answer is known
where no student code has ever run.
"""

from collections.abc import Callable

import numpy as np

Weights = dict[str, np.ndarray]
HEADS, LAYERS = 2, 2


def draw_weights(rng: np.random.Generator, vocabulary: int, width: int, room: int) -> Weights:
    """Random weights, float32, under the names of ``ToyDecoder``'s state."""

    weights = {"embedding.weight": _normal(rng, vocabulary, width), "places.weight": _normal(rng, room, width)}
    linear = {"head": (vocabulary, width)}
    norms = ["norm"]
    for i in range(LAYERS):
        linear |= {f"layers.{i}.query_key_value": (3 * width, width), f"layers.{i}.out": (width, width)}
        linear |= {f"layers.{i}.up": (2 * width, width), f"layers.{i}.down": (width, 2 * width)}
        norms += [f"layers.{i}.before_attention", f"layers.{i}.before_mlp"]
    for name, (outputs, inputs) in linear.items():
        weights[f"{name}.weight"] = _normal(rng, outputs, inputs) * np.float32(2 / inputs**0.5)
        weights[f"{name}.bias"] = _normal(rng, outputs) * np.float32(0.1)
    for name in norms:
        weights |= {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}
    return weights


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def _linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def logits(weights: Weights, tokens: np.ndarray, positions: np.ndarray | None, mask: np.ndarray) -> np.ndarray:
    """(B, S, V) after each of the tokens (B, S); ``mask`` is bool (S, S)."""

    B, S = tokens.shape
    h = weights["embedding.weight"][tokens].astype(np.float64)
    if positions is not None:
        h = h + weights["places.weight"][positions]
    for i in range(LAYERS):
        layer = f"layers.{i}"
        made = _linear(weights, f"{layer}.query_key_value", _norm(weights, f"{layer}.before_attention", h))
        query, key, value = made.reshape(B, S, 3, HEADS, -1).transpose(2, 0, 3, 1, 4)  # (B, heads, S, D of a head)
        scores = np.where(mask, query @ key.swapaxes(-1, -2) / query.shape[-1] ** 0.5, -np.inf)
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (weight / weight.sum(-1, keepdims=True)) @ value
        h = h + _linear(weights, f"{layer}.out", seen.swapaxes(1, 2).reshape(B, S, -1))
        up = np.maximum(_linear(weights, f"{layer}.up", _norm(weights, f"{layer}.before_mlp", h)), 0)
        h = h + _linear(weights, f"{layer}.down", up)
    return _linear(weights, "head", _norm(weights, "norm", h))


def prefix_lm(P: int, S: int) -> np.ndarray:
    """Bool (S, S): the P tokens of the prompt see one another, each later one sees all up to itself."""
    return np.tril(np.ones((S, S), bool)) | (np.arange(S) < P)


def in_order(P: int, S: int) -> np.ndarray | None:
    """The positions 0 ... S - 1."""
    return np.arange(S)


Mask = Callable[[int, int], np.ndarray]
Positions = Callable[[int, int], np.ndarray | None]


def decode(
    weights: Weights,
    prompt: np.ndarray,
    steps: int,
    mask: Mask = prefix_lm,
    positions: Positions = in_order,
    place: int = -1,
) -> tuple[np.ndarray, float]:
    """The ``steps`` most likely tokens, one after the other, and the smallest lead of a winner over the second."""
    row, P, lead = prompt, prompt.shape[1], np.inf
    for _ in range(steps):
        S = row.shape[1]
        scores = logits(weights, row, positions(P, S), mask(P, S))[:, place]  # (B, V)
        best = np.sort(scores, -1)
        lead = min(lead, float((best[:, -1] - best[:, -2]).min()))
        row = np.concatenate([row, scores.argmax(-1)[:, None]], 1)
    return row[:, P:], lead


def _only_self_and(seen: Callable[[int, np.ndarray, np.ndarray], np.ndarray]) -> Mask:
    """A mask whose answer rows see themselves and ``seen(P, row, column)``; the prompt sees itself."""

    def mask(P: int, S: int) -> np.ndarray:
        row, column = np.indices((S, S))
        return np.where(row < P, column < P, (row == column) | seen(P, row, column))

    return mask


def _moved(by: int) -> Positions:
    return lambda P, S: np.where(np.arange(S) < P, np.arange(S), np.arange(S) + by)


MISTAKES = {  # name: what the mistake does to ``decode``
    "no mask": {"mask": lambda P, S: np.ones((S, S), bool)},
    "no mask, no positions": {"mask": lambda P, S: np.ones((S, S), bool), "positions": lambda P, S: None},
    "no positions": {"positions": lambda P, S: None},
    "causal": {"mask": lambda P, S: np.tril(np.ones((S, S), bool))},
    "places from zero": {"positions": lambda P, S: np.where(np.arange(S) < P, np.arange(S), 0)},
    "answer from zero": {"positions": lambda P, S: np.where(np.arange(S) < P, np.arange(S), np.arange(S) - P)},
    "one too far": {"positions": _moved(1)},
    "one too early": {"positions": _moved(-1)},
    "nothing remembered": {"mask": _only_self_and(lambda P, row, column: row < 0)},
    "prompt only": {"mask": _only_self_and(lambda P, row, column: column < P)},
    "last only": {"mask": _only_self_and(lambda P, row, column: np.where(row == P, column < P, column == row - 1))},
    "first place": {"place": 0},
}

"""The check of the TokenLearner exercise: K weighted means over the cells of a map, the weights a softmax over the places.

The oracle is arithmetic. The experiment draws all weights itself and puts them into the learner's layer, which it takes
apart by the *shapes* of its parameters: names and style are free. So the judge knows what has to come out, and what each of
the usual mistakes would give. GELU may be the exact one or the tanh form, LayerNorm's epsilon 1e-5 or 1e-6.

Lesson: day92_rt1/2_implementation.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import finite
from course_lib.classroom.checks.layers import LAYER_HINTS, build, check_registered
from course_lib.classroom.checks.slips import Slip, close

LESSON = "notebooks/day92_rt1/2_implementation.ipynb, part TokenLearner"
# Not "output_bias": a softmax does not see what all places share, so it moves nothing and gets no gradient.
LEARNING = ("gain", "offset", "hidden_weight", "hidden_bias", "output_weight")
PLACES = "Each token has a map of its own, whose weights sum to 1 over all H * W places: which axis of the scores is that?"
CELLS = "x.flatten(2).transpose(1, 2) is (B, H*W, C): a row of cells. A reshape or view does not exchange axes."
LAYERS = "nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.Linear(hidden, tokens): 34,376 numbers for (512, 8, 64)."


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_token_learner(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Sizes (B, C, H, W, K, hidden): B = C = H = W; then B = H = W = K; then all different. C, K, hidden always differ."""
    n = int(rng.integers(4, 7))
    if hidden:  # the paper's sizes; one row of cells; more tokens than cells
        sizes = [(n, n, n, n, n + 1, 2 * n), (1, 512, 9, 9, 8, 64), (3, 7, 1, 5, 2, 9), (2, 16, 2, 2, 6, 11)]
    else:
        sizes = [(n, n, n, n, n + 1, 2 * n), (n, 9, n, n, n, 12), (2, 8, 3, 5, 4, 16)]
    return [_case(rng, *size) for size in sizes]


def _case(rng: np.random.Generator, B: int, C: int, H: int, W: int, K: int, hidden: int) -> Case:
    """Cells of different brightness (so that the norm shows), and weights of all layers."""

    def normal(*shape: int, std: float = 1.0, mean: float = 0.0) -> np.ndarray:
        return rng.normal(mean, std, shape).astype(np.float32)

    return {
        "x": normal(B, C, H, W) * rng.uniform(0.5, 2, (B, 1, H, W)).astype(np.float32) + normal(B, 1, H, W, std=0.5),
        "weight": normal(B, K, C),  # how much each output counts in the loss, for gradients
        "gain": normal(C, std=0.3, mean=1.0),
        "offset": normal(C, std=0.3),
        "hidden_weight": normal(hidden, C, std=1.5 / C**0.5),
        "hidden_bias": normal(hidden, std=0.3),
        "output_weight": normal(K, hidden, std=2 / hidden**0.5),
        "output_bias": normal(K, std=0.7),
    }


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_token_learner(TokenLearner: Any, case: Case) -> Record:
    """Build a layer, put the case's weights into it, run it, and note outputs and gradients."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    x = torch.from_numpy(case["x"].copy())
    K, hidden = case["output_weight"].shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = build("TokenLearner", TokenLearner, x.shape[1], K, hidden)
        check_registered(layer)
        roles = _take_apart(layer, x.shape[1], K, hidden)
        with torch.no_grad():
            for role, p in roles.items():
                weight = torch.from_numpy(case[role])
                squeezed = [n for n in p.shape if n != 1]
                p.copy_((weight if list(weight.shape) == squeezed else weight.T).reshape(p.shape))
        record = {"y": _run(layer, x, K), "again": _run(layer, x, K)}
        x.requires_grad_()
        with torch.enable_grad():
            loss = (torch.from_numpy(case["weight"]) * layer(x)).sum()
            if loss.requires_grad:
                loss.backward()
    record["x_grad"] = torch.zeros_like(x) if x.grad is None else x.grad
    for role, p in ((role, roles[role]) for role in LEARNING):
        grad = torch.zeros_like(p) if p.grad is None else p.grad
        flipped = [n for n in p.shape if n != 1] != list(case[role].shape)
        record[f"{role}_grad"] = (grad.reshape(case[role].shape[::-1]).T if flipped else grad).reshape(case[role].shape)
    return {name: np.ascontiguousarray(value.detach().numpy()) for name, value in record.items()}


def _take_apart(layer: Any, C: int, K: int, hidden: int) -> dict[str, Any]:
    """Which parameter is what, by its shape (either way round, axes of length 1 do not count). Raises NotYet."""
    shapes = {(hidden, C): "hidden_weight", (hidden,): "hidden_bias", (K, hidden): "output_weight", (K,): "output_bias"}
    shapes |= {shape[::-1]: role for shape, role in shapes.items()}
    roles: dict[str, Any] = {}
    for name, p in layer.named_parameters():
        shape = tuple(n for n in p.shape if n != 1)
        gains = float((p.detach() - 1).abs().mean()) < float(p.detach().abs().mean())  # a new LayerNorm: ones and zeros
        role = ("gain" if gains else "offset") if shape == (C,) else shapes.get(shape)
        if role is None or role in roles:
            raise NotYet(*_odd_one(name, tuple(p.shape), {(K, C), (C, K)}))
        roles[role] = p
    for first, second, what in (
        ("gain", "offset", "LayerNorm's gain and offset, one per channel,"),
        ("hidden_weight", "hidden_bias", f"the first layer's weight ({hidden}, {C}) and bias ({hidden})"),
        ("output_weight", "output_bias", f"the last layer's weight ({K}, {hidden}) and bias ({K})"),
    ):
        if first not in roles or second not in roles:
            raise NotYet(f"Among the parameters, {what} are missing, or one of them is.", LAYERS)
    return roles


def _odd_one(name: str, shape: tuple[int, ...], direct: set[tuple[int, ...]]) -> tuple[str, str]:
    """What to say of a parameter that TokenLearner does not have."""
    if tuple(n for n in shape if n != 1) in direct:
        return f"{name} goes from the channels to the tokens directly: the hidden layer is missing.", LAYERS
    if len(shape) == 4 and shape[2:] != (1, 1):
        return (
            f"{name} {shape} is a convolution over neighbours, as in version 1.0.",
            f"Version 1.1 scores each cell by itself. {LAYERS}",
        )
    return f"{name} with the shape {shape} is one parameter too many, or has another shape than it should.", LAYERS


def _run(layer: Callable, x: Any, K: int) -> Any:
    """One forward pass on a copy; says no to a result of another shape or type, and to a changed input."""
    import torch  # noqa: PLC0415

    x_in, expected = x.clone(), (len(x), K, x.shape[1])
    with torch.no_grad():
        y = layer(x_in)
    if y is None:
        raise NotYet("forward returns nothing.", "Is a return missing?")
    if not isinstance(y, torch.Tensor):
        raise NotYet(f"forward returns a {type(y).__name__}, expected the tokens (B, K, C).", "Return the tokens only.")
    if tuple(y.shape) == (len(x), x.shape[1], K):
        raise NotYet("The last two axes of the tokens are exchanged: they are (B, C, K).", "Expected (B, K, C).")
    if tuple(y.shape) != expected:
        raise NotYet(f"The tokens should have the shape (B, K, C) = {expected}, got {tuple(y.shape)}.", CELLS)
    if y.dtype != x.dtype:
        raise NotYet(f"The number type should stay: x is {x.dtype}, the tokens are {y.dtype}.", "No .double() or .half().")
    if not torch.equal(x_in, x):
        raise NotYet("forward changes its input in place.", "x -= ... writes into the caller's picture: make a new tensor.")
    return y


# --- the verdict: arithmetic on the record -----------------------------------------------------------------------------


def judge_token_learner(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    shape = case["weight"].shape
    y, again = (finite(record, name, shape, "The tokens have") for name in ("y", "again"))
    if not close(again, y):
        raise NotYet("Two calls with the same input give two answers.", "TokenLearner has no dropout and no noise.")
    _name_slip(case, y)
    for name in ("x", *LEARNING):
        gradient = finite(record, f"{name}_grad", case[name].shape, f"The gradient of {name} has")
        if case["x"].size < 10_000 and not _is_gradient(case, name, gradient):
            raise NotYet(
                f"No (or a wrong) gradient reaches {'x' if name == 'x' else 'the ' + name.replace('_', ' layer ')}.",
                "Something cuts the graph: torch.no_grad(), .detach(), .data, .item() or a copy through NumPy.",
            )


def _name_slip(case: Case, y: np.ndarray) -> None:
    """Raise NotYet unless the tokens are right: with the first mistake that would give the same, else with a number."""
    cells = _cells(case["x"])
    right = _tokens(cells, _softmax(_scores(cells, case), 1))
    if close(y, right):
        return
    for slip in _slips(case):
        if close(y, slip.value) and not close(slip.value, right):
            raise NotYet(slip.mistake, slip.hint)
    b, k, c = np.unravel_index(np.argmax(np.abs(y - right)), y.shape)
    raise NotYet(f"In token {k} of image {b}, channel {c} should be {right[b, k, c]:.4g}, got {y[b, k, c]:.4g}.", PLACES)


def _cells(x: np.ndarray) -> np.ndarray:
    """(B, C, H, W) -> (B, H W, C), in double precision."""
    return x.astype(np.float64).reshape(*x.shape[:2], -1).swapaxes(1, 2)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _norm(cells: np.ndarray, case: Case) -> np.ndarray:
    centred = cells - cells.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * case["gain"] + case["offset"]


def _scores(cells: np.ndarray, case: Case, activation: Callable = _gelu, norm: Callable = _norm) -> np.ndarray:
    """(B, S, C) -> (B, S, K)."""
    inner = activation(norm(cells, case) @ case["hidden_weight"].T + case["hidden_bias"])
    return inner @ case["output_weight"].T + case["output_bias"]


def _softmax(scores: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    grown = np.exp(scores - scores.max(axis, keepdims=True))
    return grown / grown.sum(axis, keepdims=True)


def _tokens(cells: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The weighted sums: (B, S, C) and (B, S, K) -> (B, K, C)."""
    return np.einsum("bsk,bsc->bkc", maps, cells)


def _slips(case: Case) -> Iterator[Slip]:
    """What the usual mistakes give."""
    (B, _, H, W), cells = case["x"].shape, _cells(case["x"])
    scores = _scores(cells, case)
    maps, on = _softmax(scores, 1), 1 / (1 + np.exp(-scores))
    grid = scores.reshape(B, H, W, -1)
    viewed = case["x"].astype(np.float64).reshape(B, H * W, -1)
    own = "Score the normalised cells, but add up the cells of x themselves."
    gelu = "RT-1 uses GELU between the two layers: nn.GELU(approximate='tanh')."
    given = (
        (_softmax(scores, 2), "The softmax runs over the tokens: at each place the K weights sum to 1.", PLACES),
        (_softmax(scores, 0), "The softmax runs over the images of the batch.", PLACES),
        (_softmax(scores, (1, 2)), "The softmax runs over places and tokens together.", PLACES),
        (_softmax(grid, 2).reshape(scores.shape), "The softmax runs along each row of the picture by itself.", PLACES),
        (_softmax(grid, 1).reshape(scores.shape), "The softmax runs along each column of the picture by itself.", PLACES),
        (scores, "The scores are used as weights without a softmax.", PLACES),
        (on / on.sum(1, keepdims=True), "A sigmoid, divided by its sum, where a softmax belongs.", PLACES),
        (on, "A sigmoid where a softmax belongs: the weights of a map do not sum to 1.", PLACES),
        (on / on.shape[1], "A sigmoid and a mean: that is version 1.0's family.", PLACES),
        (maps / maps.shape[1], "The softmax makes a mean already, and you divide by the number of places again.", PLACES),
        (maps[:1].repeat(B, 0), "All images get the maps of the first one.", "No scores[0] and no mean over the batch."),
        (scores == scores.max(1, keepdims=True), "Each token is one cell: the best one was picked.",
         "Nothing is selected: a token is the weighted mean of all cells."),
        (_softmax(scores / case["x"].shape[1] ** 0.5, 1), "The scores are divided by the root of the channels.",
         "That belongs to attention between queries and keys; these scores come from a network."),
        (_softmax(_scores(cells, case, lambda h: np.maximum(h, 0)), 1), "The activation is a ReLU.", gelu),
        (_softmax(_scores(cells, case, lambda h: h / (1 + np.exp(-h))), 1), "The activation is a SiLU (swish).", gelu),
        (_softmax(_scores(cells, case, np.tanh), 1), "The activation is a tanh.", gelu),
        (_softmax(_scores(cells, case, lambda h: h), 1), "There is no activation between the two layers.", gelu),
        (_softmax(_scores(cells, case, norm=lambda c, _: c), 1), "The cells are scored without LayerNorm.", own),
    )  # fmt: skip
    for weights, mistake, hint in given:
        yield Slip(_tokens(cells, weights), mistake, hint)
    yield Slip(_tokens(_norm(cells, case), maps), "The tokens are sums of the *normalised* cells.", own)
    yield Slip(_tokens(viewed, _softmax(_scores(viewed, case), 1)), "Channels and places are mixed up.", CELLS)
    yield Slip(_tokens(cells, _softmax(_scores(viewed, case), 1)), "The scored cells are mixed up.", CELLS)


def _is_gradient(case: Case, name: str, gradient: np.ndarray) -> bool:
    """Does the gradient of sum(weight * tokens) agree with differences of the oracle, in eight directions?"""
    rng, step, expected, got = np.random.default_rng(0), 1e-5, [], []
    for _ in range(8):
        way, ends = rng.normal(size=gradient.shape), []
        for sign in (1, -1):
            there = case | {name: case[name] + sign * step * way}
            cells = _cells(there["x"])
            ends.append((case["weight"] * _tokens(cells, _softmax(_scores(cells, there), 1))).sum())
        expected.append((ends[0] - ends[1]) / (2 * step))
        got.append((way * gradient).sum())
    return bool(np.linalg.norm(np.subtract(got, expected)) <= 0.01 * np.linalg.norm(expected))


HINTS = (*LAYER_HINTS, ("einsum|batch2|size of tensor|mat1", CELLS), ("normalized_shape", CELLS))
TOKEN_LEARNER = Exercise("TokenLearner", LESSON, draw_token_learner, probe_token_learner, judge_token_learner, HINTS)


def check_token_learner(TokenLearner: Any, seed: int | None = None) -> Check:
    """Try a learner's ``TokenLearner(channels, tokens, hidden)`` on random inputs and name the first mistake, if any."""
    return TOKEN_LEARNER.check(TokenLearner, seed)

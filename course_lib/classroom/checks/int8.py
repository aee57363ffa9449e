"""The check of the int8 exercise: a Linear layer whose weights are whole numbers, with one scale for each output.

The oracle is arithmetic on the weights: the largest of a row is 127 times its scale, no weight is off by more than half a
scale, the outputs are those of the rounded weights, and the layer keeps one byte for each of them. Sizes are treacherous:
in the first case there are as many outputs as inputs; rows differ a thousandfold; one is all zeros.
Lesson: day93_rt2/4_deployment.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, same, tensor
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/4_deployment.ipynb, part int8"
LARGEST = 127
ROWS = "weight has the shape (outputs, inputs): the largest of each row is weight.abs().amax(1)."
BUFFERS = "self.register_buffer('levels', ...) and self.register_buffer('scale', ...): saved and moved with the model."


# --- inputs and experiment ---------------------------------------------------------------------------------------------


def draw_int8(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random layers: as many outputs as inputs; other sizes without a bias; one with a row of zeros."""
    n = int(rng.integers(6, 9))
    cases = [_layer(rng, n, n), _layer(rng, 5, 12, bias=False), _layer(rng, 9, 4, zeros=True)]
    return [*cases, _layer(rng, 64, 48), _layer(rng, 1, 3)] if hidden else cases


def _layer(rng: np.random.Generator, O: int, I: int, *, bias: bool = True, zeros: bool = False) -> Case:  # noqa: E741
    weight = rng.normal(size=(O, I)) * 10.0 ** rng.uniform(-2, 1, (O, 1))
    weight -= np.sign(weight.max()) * 0.2 * np.abs(weight).max(1, keepdims=True)  # the largest is often a negative one
    if zeros:
        weight[rng.integers(O)] = 0
    return {
        "weight": weight.astype(np.float32),
        "bias": (rng.normal(size=O) if bias else np.zeros(0)).astype(np.float32),
        "x": rng.normal(size=(2, 3, I)).astype(np.float32),
    }


def probe_int8(Int8Linear: Any, case: Case) -> Record:
    """Make the layer from a Linear; its levels, scale, outputs, and the bytes that it keeps."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    O, I = case["weight"].shape  # noqa: E741
    linear, x = torch.nn.Linear(I, O, bias=len(case["bias"]) > 0), torch.from_numpy(case["x"].copy())
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(case["weight"]))
        if linear.bias is not None:
            linear.bias.copy_(torch.from_numpy(case["bias"]))
    layer = call("Int8Linear", Int8Linear, linear)
    levels, scale = _parts(layer, O, I)
    with torch.no_grad():
        y = layer(x)
    tensor(y, "The output", (2, 3, O), "x may have any number of axes before its last: (..., I) becomes (..., O).")
    if not np.array_equal(linear.weight.detach().numpy(), case["weight"]):
        raise NotYet("The layer you were given has been changed.", "Write into new tensors only.")
    if layer.state_dict().keys().isdisjoint({"levels"}):
        raise NotYet("levels is not in state_dict(): saving would lose it, and .to(device) leave it behind.", BUFFERS)
    kept = [*layer.state_dict().values(), *(v for v in vars(layer).values() if isinstance(v, torch.Tensor))]
    return {
        "levels": levels.long().numpy(),
        "scale": scale.detach().float().numpy(),
        "y": y.float().numpy(),
        "bytes": np.array(sum(t.numel() * t.element_size() for t in kept)),
    }


def _parts(layer: Any, O: int, I: int) -> tuple[Any, Any]:  # noqa: E741
    """The layer's levels (O, I) and scale (O,), of the right types. Else ``NotYet``."""
    import torch  # noqa: PLC0415

    if not isinstance(layer, torch.nn.Module):
        raise NotYet("Int8Linear is not an nn.Module.", "class Int8Linear(nn.Module), and super().__init__() first.")
    for name in ("levels", "scale"):
        if not isinstance(getattr(layer, name, None), torch.Tensor):
            raise NotYet(f"The layer has no tensor called {name}.", BUFFERS)
    levels, scale = layer.levels, layer.scale
    if tuple(levels.shape) != (O, I):
        raise NotYet(f"levels should have the weight's shape {(O, I)}, got {tuple(levels.shape)}.", ROWS)
    if levels.dtype != torch.int8:
        why = "uint8 has no negative numbers" if levels.dtype == torch.uint8 else "not one byte each, as int8 is"
        raise NotYet(f"levels are {levels.dtype}: {why}.", "Round first, then .to(torch.int8).")
    if scale.numel() == 1 and O > 1:
        raise NotYet("There is one scale for the whole layer: small rows become zeros.", ROWS)
    if scale.numel() != O:
        raise NotYet(f"scale should have one number for each of {O} outputs, got {tuple(scale.shape)}.", ROWS)
    return levels, scale.flatten()


# --- the verdict: arithmetic -------------------------------------------------------------------------------------------


def judge_int8(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    weight, x = case["weight"].astype(np.float64), case["x"].astype(np.float64)
    levels, scale = array(record, "levels", weight.shape, np.int64), array(record, "scale", weight.shape[:1])
    y, kept = array(record, "y", (*x.shape[:-1], len(weight))), array(record, "bytes", (), np.int64)
    if not (np.isfinite(scale).all() and np.isfinite(y).all()):
        raise NotYet(
            "The scale or the output has NaN or infinite numbers.", "Is there a row of zeros, and a division by it?"
        )
    if not scale.all():
        raise NotYet("A row of zeros has the scale 0: its levels are 0 / 0.", "Keep the scale above 0: .clamp(min=1e-12).")
    _judge_scale(weight, scale)
    _judge_levels(weight, levels, scale)
    bias = case["bias"].astype(np.float64) if len(case["bias"]) else np.zeros(len(weight))
    _judge_output(weight, bias, x, y, levels, scale)
    most = levels.size + 4 * scale.size + 4 * len(case["bias"])
    if kept > most:
        raise NotYet(
            f"The layer keeps {kept} bytes; {most} are enough: one for each weight, four for each scale and bias.",
            "Is the float weight, or the old layer, still an attribute? (It was to become smaller.)",
        )


def _judge_scale(weight: np.ndarray, scale: np.ndarray) -> None:
    """The largest number of a row is 127 scales."""
    rows = np.abs(weight).max(1)
    some, right = rows > 0, rows / LARGEST
    if same(scale[some] / right[some], 1):
        return
    positive, span = np.abs(weight.max(1)), weight.max(1) - weight.min(1)
    columns = np.abs(weight).max(0)
    for value, message, hint in (
        (0 * right + rows.max() / LARGEST, "All outputs have the same scale: small rows become zeros.", ROWS),
        (rows / 128, "The largest level is 127, not 128: +128 is no int8, and wraps round to -128.", "max / 127."),
        (positive / LARGEST, "A row's largest number may be a negative one.", "abs() before amax."),
        (span / 255, "This is (max - min) / 255: it needs an offset. Symmetric levels do not.", "abs().amax(1) / 127."),
        (rows / 255, "255 levels, but half of them are negative: the largest is 127.", "abs().amax(1) / 127."),
        (rows, "This is the largest number of each row; a scale is one step.", "Divide by 127."),
        (LARGEST / np.where(some, rows, 1), "The scale is upside down: weight = scale * level.", "max / 127."),
        (np.abs(weight).mean(1) / LARGEST, "This is the mean of each row; larger weights do not fit.", "The largest."),
        (weight.std(1) / LARGEST, "This is the spread of each row; larger weights do not fit.", "The largest."),
        (columns / LARGEST if len(columns) == len(rows) else rows * 0, "There is a scale for each input.", ROWS),
    ):
        if same((scale / right)[some], (value / right)[some], 1e-3):
            raise NotYet(message, hint)
    worst = int(np.argmax(np.abs(np.where(some, scale - right, 0))))
    raise NotYet(f"The scale of output {worst} should be {right[worst]:.4g}, yours is {scale[worst]:.4g}.", ROWS)


def _judge_levels(weight: np.ndarray, levels: np.ndarray, scale: np.ndarray) -> None:
    """No weight is off by more than half a step."""
    exact = weight / np.maximum(scale, 1e-30)[:, None]
    off = np.abs(exact - levels)
    if off.max() <= 0.5 + 1e-3:
        return
    rounded = np.round(exact)
    clear = np.abs(exact - rounded) > 1e-3  # not whole: float32 may cut off a 127 to 126
    for value, message, hint in (
        (np.trunc(exact), "The numbers are cut off, not rounded: up to a whole step wrong, always too small.", ".round()."),
        (np.floor(exact), "The numbers are rounded down: wrong by up to a whole step, and always to one side.", ".round()."),
        (np.ceil(exact), "The numbers are rounded up: wrong by up to a whole step, and always to one side.", ".round()."),
        (-rounded, "The signs are exchanged.", "levels = weight / scale."),
        (rounded.clip(0), "Negative weights have become 0.", "From -127 to 127."),
        (rounded.clip(-64, 63), "Large weights are cut at 64.", "From -127 to 127."),
    ):  # fmt: skip
        if (value == levels)[clear].all():
            raise NotYet(message, hint)
    place = tuple(int(i) for i in np.unravel_index(np.argmax(off), off.shape))
    raise NotYet(
        f"weight{list(place)} is {exact[place]:.2f} steps, its level {levels[place]}: more than half a step away.",
        "levels = (weight / scale[:, None]).round().",
    )


def _judge_output(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, levels: np.ndarray, scale: np.ndarray
) -> None:
    """The outputs are those of the rounded weights, each output on its own measure."""
    whole = x @ levels.T  # before it is scaled

    def equal(value: np.ndarray) -> bool:
        size = scale * LARGEST + np.abs(bias) + np.abs(value)  # of each output
        return bool((np.abs(y - value) <= 1e-4 * size).all())

    if equal(whole * scale + bias):
        return
    for value, message, hint in (
        (x @ weight.T + bias, "These are the outputs of the old weights: the levels are not used.", "Use them."),
        (whole * scale, "The bias is missing.", "Add it at the end, as a float."),
        (whole + bias, "The scale is missing.", "Multiply each output by its scale."),
        ((whole + bias) * scale, "The bias is scaled too.", "First times scale, then plus bias."),
        (whole / np.maximum(scale, 1e-12) + bias, "Divided by the scale: weight = scale * level.", "Times scale."),
        (whole * scale - bias, "The bias is subtracted.", ""),
        (whole * scale * scale + bias, "The scale is used twice.", "Either on the levels or on the outputs."),
        ((x * scale) @ levels.T + bias if len(scale) == x.shape[-1] else whole * 0, "The inputs are scaled.", ""),
    ):  # fmt: skip
        if equal(value):
            raise NotYet(message, hint)
    raise NotYet("The outputs are not those of the rounded weights.", "y = (x @ levels.T) * scale + bias, in floats.")


HINTS = (
    ("Char|char|same dtype|expected m1 and m2", "int8 and float do not multiply: levels.to(x.dtype), on the fly."),
    ("NoneType", "A Linear layer may have no bias: linear.bias is None then."),
    ("must match the size", "One scale for each row: scale[:, None] beside (O, I), plain scale beside (..., O)."),
)
INT8_LINEAR = Exercise("Int8Linear", LESSON, draw_int8, probe_int8, judge_int8, HINTS)


def check_int8_linear(Int8Linear: Any, seed: int | None = None) -> Check:
    """Try a learner's ``Int8Linear(linear)`` on random layers and name the first mistake, if any."""
    return INT8_LINEAR.check(Int8Linear, seed)

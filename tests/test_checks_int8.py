"""The check of the int8 layer: five ways to keep and to multiply pass, and what goes wrong with scales has names."""

import pytest
import torch
import torch.nn.functional as F
from checks_tried import accepted, all_different, forgeries_rejected, rejected
from torch import nn

from course_lib.classroom.checks.int8 import INT8_LINEAR


class Textbook(nn.Module):
    """Multiply with the levels, then scale each output. Its parts can be exchanged."""

    def __init__(self, linear):
        super().__init__()
        scale = self.scale_of(linear.weight.detach())
        self.register_buffer("levels", self.levels_of(linear.weight.detach(), scale))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", linear.bias.detach().clone() if linear.bias is not None else None)

    def scale_of(self, w):
        return w.abs().amax(1).clamp(min=1e-12) / 127

    def levels_of(self, w, scale):
        return (w / scale[:, None]).round().to(torch.int8)

    def forward(self, x):
        y = F.linear(x, self.levels.to(x.dtype)) * self.scale
        return y if self.bias is None else y + self.bias


class Dequantised(nn.Module):
    """Weights made again at every call; a scale of two axes; no buffers but parameters that are not trained."""

    def __init__(self, linear):
        super().__init__()
        w = linear.weight.data
        scale = w.abs().max(dim=1, keepdim=True).values.clamp_min(torch.finfo(torch.float32).tiny) / 127
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.levels = nn.Parameter(torch.round(w / scale).clamp(-127, 127).char(), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x):
        return F.linear(x, self.levels * self.scale, self.bias)


class Einsum(Textbook):
    def forward(self, x):
        y = torch.einsum("...i,oi,o->...o", x, self.levels.float(), self.scale)
        return y + (0 if self.bias is None else self.bias)


class RowByRow(nn.Module):
    def __init__(self, linear):
        super().__init__()
        levels, scales = [], []
        for row in linear.weight.detach():
            largest = max(float(row.max()), -float(row.min()))
            scales.append(largest / 127 if largest else 1.0)  # a row of zeros: any scale will do
            levels.append([int(torch.floor(v / scales[-1] + 0.5)) for v in row])
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.int8))
        self.register_buffer("scale", torch.tensor(scales))
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())

    def forward(self, x):
        y = torch.stack([(x * row).sum(-1) * s for row, s in zip(self.levels, self.scale, strict=True)], -1)
        return y if self.bias is None else y + self.bias


def as_a_function(linear):
    """What is asked for is a maker of layers: a function will do."""
    return Textbook(linear)


RIGHT = {f.__name__: f for f in (Textbook, Dequantised, Einsum, RowByRow, as_a_function)}


def but(**methods):
    return type("Changed", (Textbook,), methods)


def scaled(formula):
    return but(scale_of=lambda self, w: formula(w).clamp(min=1e-12))


def output(formula):
    def forward(self, x):
        bias = torch.zeros_like(self.scale) if self.bias is None else self.bias
        return formula(F.linear(x, self.levels.float()), self.scale, bias)

    return but(forward=forward)


class KeepsTheWeight(Textbook):
    def __init__(self, linear):
        super().__init__(linear)
        self.weight = linear.weight.detach()


class UsesTheWeight(Textbook):
    def __init__(self, linear):
        super().__init__(linear)
        self.linear = [linear]

    def forward(self, x):
        return self.linear[0](x)


class PlainAttributes(nn.Module):
    def __init__(self, linear):
        super().__init__()
        good = Textbook(linear)
        self.good = [good]
        self.levels, self.scale = good.levels, good.scale

    def forward(self, x):
        return self.good[0](x)


class InPlace(Textbook):
    def __init__(self, linear):
        super().__init__(linear)
        linear.weight.data.div_(2)


class OnlyLevels(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.register_buffer("levels", Textbook(linear).levels)


class NoModule:
    def __init__(self, linear):
        self.levels = linear.weight


class ScaledInputs(Textbook):
    def forward(self, x):
        if x.shape[-1] != len(self.scale):
            return super().forward(x)
        return F.linear(x * self.scale, self.levels.float(), self.bias)


def stub(*_):
    raise NotImplementedError


WRONG = {
    "one scale": (scaled(lambda w: w.abs().max().repeat(len(w)) / 127), "All outputs have the same scale"),
    "a single scale": (
        but(scale_of=lambda self, w: w.abs().max() / 127, levels_of=lambda self, w, s: (w / s).round().char()),
        "There is one scale for the whole layer",
    ),
    "128": (scaled(lambda w: w.abs().amax(1) / 128), "not 128"),
    "no abs": (scaled(lambda w: w.amax(1).abs() / 127), "may be a negative one"),
    "span": (scaled(lambda w: (w.amax(1) - w.amin(1)) / 255), "it needs an offset"),
    "255": (scaled(lambda w: w.abs().amax(1) / 255), "half of them are negative"),
    "largest": (scaled(lambda w: w.abs().amax(1)), "a scale is one step"),
    "inverted": (scaled(lambda w: 127 / w.abs().amax(1).clamp(min=1e-12)), "upside down"),
    "mean": (scaled(lambda w: w.abs().mean(1) / 127), "the mean of each row"),
    "spread": (scaled(lambda w: w.std(1, correction=0) / 127), "the spread of each row"),
    "columns": (scaled(lambda w: (w.abs().amax(0) if len(w) == w.shape[1] else w.abs().amax(1)) / 127), "for each input"),
    "another scale": (scaled(lambda w: w.abs().amax(1) / 100), "The scale of output"),
    "zeros": (but(scale_of=lambda self, w: w.abs().amax(1) / 127), "A row of zeros has the scale 0"),
    "truncated": (but(levels_of=lambda self, w, s: (w / s[:, None]).to(torch.int8)), "cut off, not rounded"),
    "floor": (but(levels_of=lambda self, w, s: (w / s[:, None]).floor().clamp(-127).char()), "rounded down"),
    "ceil": (but(levels_of=lambda self, w, s: (w / s[:, None] - 1e-4).ceil().char()), "rounded up"),
    "sign": (but(levels_of=lambda self, w, s: (-w / s[:, None]).round().char()), "The signs are exchanged"),
    "positive": (but(levels_of=lambda self, w, s: (w / s[:, None]).round().clamp(0).char()), "have become 0"),
    "wrapped": (but(levels_of=lambda self, w, s: (w / s[:, None] * 1.5).round().int().char()), "more than half a step"),
    "unsigned": (but(levels_of=lambda self, w, s: (w / s[:, None] + 128).round().byte()), "uint8 has no negative"),
    "floats": (but(levels_of=lambda self, w, s: (w / s[:, None]).round()), "not one byte each"),
    "transposed": (
        but(levels_of=lambda self, w, s: (w / s[:, None]).round().char().T[:1]),
        "should have the weight's shape",
    ),
    "old weights": (UsesTheWeight, "the outputs of the old weights"),
    "no bias": (output(lambda y, s, b: y * s), "The bias is missing"),
    "no scale": (output(lambda y, s, b: y + b), "The scale is missing"),
    "bias scaled": (output(lambda y, s, b: (y + b) * s), "The bias is scaled too"),
    "divided": (output(lambda y, s, b: y / s + b), "Divided by the scale"),
    "bias subtracted": (output(lambda y, s, b: y * s - b), "The bias is subtracted"),
    "scaled twice": (output(lambda y, s, b: y * s * s + b), "The scale is used twice"),
    "inputs scaled": (ScaledInputs, "The inputs are scaled"),
    "other outputs": (output(lambda y, s, b: (y * s + b).relu()), "not those of the rounded weights"),
    "keeps the weight": (KeepsTheWeight, "are enough: one for each weight"),
    "plain attributes": (PlainAttributes, "levels is not in state_dict()"),
    "in place": (InPlace, "has been changed"),
    "no scale tensor": (OnlyLevels, "no tensor called scale"),
    "no module": (NoModule, "is not an nn.Module"),
    "NaN": (output(lambda y, s, b: y * s + b / 0), "NaN or infinite"),
    "nothing": (lambda linear: None, "returns nothing"),
    "flat output": (output(lambda y, s, b: (y * s + b).flatten(0, 1)), "The output should have the shape"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "int8 times float": (
        but(forward=lambda self, x: F.linear(x, self.levels) * self.scale),
        "RuntimeError",
        "error in your code",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_layers_of_every_style_pass(name):
    accepted(INT8_LINEAR, RIGHT[name], seeds=8)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_layer_is_told_its_own_mistake(name):
    rejected(INT8_LINEAR, *WRONG[name], seeds=6)


def test_no_two_mistakes_share_a_message():
    all_different([INT8_LINEAR.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(INT8_LINEAR, Textbook)


def test_the_types_that_do_not_multiply_get_a_hint():
    assert "levels.to(x.dtype)" in INT8_LINEAR.check(WRONG["int8 times float"][0], 0).hint

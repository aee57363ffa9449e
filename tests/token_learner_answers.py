"""Answers to the TokenLearner exercise: right ones in several styles, wrong ones with words of the message they deserve."""

import math

import torch
import torch.nn.functional as F
from checks_tried import answers
from einops import einsum, rearrange
from torch import nn

RIGHT, WRONG, right, wrong = answers()


@right
class Textbook(nn.Module):
    """The ground for most of the mistakes below."""

    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.hidden, self.output = nn.Linear(channels, hidden), nn.Linear(hidden, tokens)

    def cells(self, x):
        return x.flatten(2).transpose(1, 2)

    def gelu(self, h):
        return F.gelu(h, approximate="tanh")

    def scores(self, cells):
        return self.output(self.gelu(self.hidden(self.norm(cells))))

    def maps(self, scores):
        return scores.softmax(1)

    def forward(self, x, trace=None):
        cells = self.cells(x)
        return self.maps(self.scores(cells)).transpose(1, 2) @ cells


@right
class Convolutions(nn.Module):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__()
        self.g, self.o = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.net = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, tokens, 1))

    def forward(self, x, trace=None):
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.g.shape, self.g, self.o).permute(0, 3, 1, 2)
        maps = self.net(normed).flatten(2).softmax(-1)
        return torch.bmm(maps, x.flatten(2).transpose(1, 2))


@right
class Functional(nn.Module):
    """Matrices the other way round, the norm and the softmax by hand."""

    def __init__(self, channels, tokens, hidden):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1, 1, channels)), nn.Parameter(torch.zeros(1, 1, channels))
        self.w1, self.b1 = nn.Parameter(torch.randn(channels, hidden)), nn.Parameter(torch.zeros(hidden))
        self.w2, self.b2 = nn.Parameter(torch.randn(hidden, tokens)), nn.Parameter(torch.zeros(tokens))

    def forward(self, x, trace=None):
        cells = rearrange(x, "B C H W -> B (H W) C")
        mean, var = cells.mean(-1, keepdim=True), cells.var(-1, keepdim=True, unbiased=False)
        h = (cells - mean) * torch.rsqrt(var + 1e-6) * self.a + self.b
        grown = torch.exp(F.gelu(h @ self.w1 + self.b1) @ self.w2 + self.b2)
        return einsum(grown / grown.sum(1, keepdim=True), cells, "B S K, B S C -> B K C")


@right
class Loops(Textbook):
    def forward(self, x, trace=None):
        images = []
        for one in x:
            maps = self.scores(one.flatten(1).T).softmax(0)  # (S, K)
            images.append(torch.stack([(maps[:, k] * one.flatten(1)).sum(1) for k in range(maps.shape[1])]))
        return torch.stack(images)


MAPS = {  # name: (maps from scores (B, S, K), message)
    "OverTokens": (lambda self, s: s.softmax(2), "The softmax runs over the tokens"),
    "OverTheBatch": (lambda self, s: s.softmax(0), "The softmax runs over the images"),
    "OverAll": (lambda self, s: s.flatten(1).softmax(1).view_as(s), "over places and tokens together"),
    "NoSoftmax": (lambda self, s: s, "without a softmax"),
    "Sigmoid": (lambda self, s: s.sigmoid(), "A sigmoid where a softmax belongs"),
    "SigmoidNormed": (lambda self, s: s.sigmoid() / (s.sigmoid().sum(1, keepdim=True) + 1e-6), "divided by its sum"),
    "SigmoidMean": (lambda self, s: s.sigmoid() / s.shape[1], "A sigmoid and a mean"),
    "MeanAfterSoftmax": (lambda self, s: s.softmax(1) / s.shape[1], "The softmax makes a mean already"),
    "FirstImage": (lambda self, s: s.softmax(1)[:1].expand_as(s), "All images get the maps of the first"),
    "BestCell": (lambda self, s: F.one_hot(s.argmax(1), s.shape[1]).transpose(1, 2) + 0.0 * s, "Each token is one cell"),
    "Scaled": (lambda self, s: (s / self.hidden.in_features**0.5).softmax(1), "divided by the root of the channels"),
    "Dropout": (lambda self, s: F.dropout(s.softmax(1), 0.5), "Two calls with the same input"),
    "Detached": (lambda self, s: s.softmax(1).detach(), "No (or a wrong) gradient reaches x"),
    "HalfDetached": (lambda self, s: (s - s.detach() + s.detach()).softmax(1), None),  # a way to write s: passes
}
for name, (maps, message) in MAPS.items():
    kind = type(name, (Textbook,), {"maps": maps})
    RIGHT.update({name: kind}) if message is None else wrong(message)(kind)

GELUS = {
    "Relu": (F.relu, "The activation is a ReLU"),
    "Silu": (F.silu, "The activation is a SiLU"),
    "Tanh": (torch.tanh, "The activation is a tanh"),
    "NoActivation": (lambda h: h, "There is no activation"),
}
for name, (gelu, message) in GELUS.items():
    wrong(message)(type(name, (Textbook,), {"gelu": lambda self, h, gelu=gelu: gelu(h)}))


def along(axis):
    def maps(self, scores):
        side = self.shape[axis]
        return scores.unflatten(1, self.shape).softmax(axis + 1).flatten(1, 2) if side else scores

    def cells(self, x):
        self.shape = x.shape[2:]
        return Textbook.cells(self, x)

    return {"maps": maps, "cells": cells}


wrong("along each row")(type("AlongRows", (Textbook,), along(1)))
wrong("along each column")(type("AlongColumns", (Textbook,), along(0)))


@wrong("*normalised* cells")
class SumsNormalisedCells(Textbook):
    def forward(self, x, trace=None):
        cells = self.norm(self.cells(x))
        return self.output(self.gelu(self.hidden(cells))).softmax(1).transpose(1, 2) @ cells


@wrong("without LayerNorm")
class ForgetsToNormalise(Textbook):
    def scores(self, cells):
        return self.output(self.gelu(self.hidden(cells)))


@wrong("Channels and places are mixed up")
class ViewedCells(Textbook):
    def cells(self, x):
        return x.reshape(len(x), -1, x.shape[1])


@wrong("The scored cells are mixed up")
class ViewedScores(Textbook):
    def scores(self, cells):
        return super().scores(cells.transpose(1, 2).reshape(cells.shape))


@wrong("the hidden layer is missing")
class OneLayer(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.hidden, self.output = nn.Identity(), nn.Linear(channels, tokens)


@wrong("a convolution over neighbours")
class Neighbours(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.hidden = nn.Conv2d(channels, hidden, 3, padding=1)


@wrong("LayerNorm's gain and offset, one per channel, are missing")
class NoNorm(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.norm = nn.Identity()


@wrong("the last layer's weight")
class NoOutputBias(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.output = nn.Linear(hidden, tokens, bias=False)


@wrong("the first layer's weight")
class NoHiddenBias(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.hidden = nn.Linear(channels, hidden, bias=False)


@wrong("one parameter too many")
class AnotherLayer(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.last = nn.Linear(channels, channels)


@wrong("The last two axes of the tokens are exchanged")
class ChannelsBeforeTokens(Textbook):
    def forward(self, x, trace=None):
        return super().forward(x).transpose(1, 2)


@wrong("The tokens should have the shape")
class KeepsThePlaces(Textbook):
    def forward(self, x, trace=None):
        cells = self.cells(x)
        return self.maps(self.scores(cells))[..., None] * cells[:, :, None]


@wrong("The number type should stay")
class Doubled(Textbook):
    def forward(self, x, trace=None):
        return super().forward(x).double()


@wrong("changes its input in place")
class InPlace(Textbook):
    def forward(self, x, trace=None):
        y = super().forward(x)
        x.data.sub_(x.mean())
        return y


@wrong("forward returns nothing")
class ForgetsReturn(Textbook):
    def forward(self, x, trace=None):
        super().forward(x)


@wrong("forward returns a tuple")
class ReturnsMapsToo(Textbook):
    def forward(self, x, trace=None):
        return super().forward(x), self.scores(self.cells(x))


@wrong("hidden in a plain list")
class PlainList(Textbook):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__(channels, tokens, hidden)
        self.layers = [self.hidden, self.output]


@wrong("NaN or infinite")
class LogOfNegative(Textbook):
    def maps(self, scores):
        return (scores / scores.sum(1, keepdim=True)).log()


@wrong("reaches the hidden layer weight")
class DetachedHidden(Textbook):
    def scores(self, cells):
        h = F.linear(self.norm(cells), self.hidden.weight.detach(), self.hidden.bias)
        return self.output(self.gelu(h))


@wrong("should be")
class Temperature(Textbook):
    def maps(self, scores):
        return (scores / math.e).softmax(1)


@wrong("There is still a stub", "not attempted")
class NotAttempted(nn.Module):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__()
        raise NotImplementedError


@wrong("RuntimeError", "error in your code")
class NotFlattened(Textbook):
    def forward(self, x, trace=None):
        return self.scores(x[..., :1]).softmax(1) @ x

"""Wrong answers to the FiLM exercise, each with its state and words of the message it deserves."""

import torch
import torch.nn.functional as F
from checks_tried import answers
from film_right import OneInTheBias, Two
from torch import nn

_, WRONG, _, wrong = answers()


FORMULAS = {  # name: (like, what forward returns, message)
    "NoOnePlus": (Two, lambda x, scale, shift: scale * x + shift, "returns only zeros"),
    "OnePlusAtTheShift": (Two, lambda x, scale, shift: scale * x + (1 + shift), "returns only ones"),
    "OneTwice": (OneInTheBias, lambda x, scale, shift: (1 + scale) * x + shift, "multiplies by 2 instead of 1"),
    "Sigmoid": (Two, lambda x, scale, shift: (1 + scale.sigmoid()) * x + shift, "multiplies by 1.5: a sigmoid"),
    "Tanh": (Two, lambda x, scale, shift: (1 + scale.tanh()) * x + shift, "The scale stays small for a very large z"),
    "Exponential": (Two, lambda x, scale, shift: scale.exp() * x + shift, "The scale is not a straight line in z"),
}
for name, (like, formula, message) in FORMULAS.items():

    def forward(self, x, z, formula=formula):
        return formula(x, *self.parts(z))

    wrong(message)(type(name, (like,), {"forward": forward}))

PARTS = {  # name: (how scale and shift are made, message)
    "ChannelsLast": (
        lambda self, z: (self.to_scale(z)[:, None, None, :], self.to_shift(z)[:, None, None, :]),
        "Every column of the picture gets its own scale",
    ),
    "OverRows": (
        lambda self, z: (self.to_scale(z)[:, None, :, None], self.to_shift(z)[:, None, :, None]),
        "Every row of the picture gets its own scale",
    ),
    "NoNewAxes": (lambda self, z: (self.to_scale(z), self.to_shift(z)), "is laid over rows and columns"),
    "OneNewAxis": (
        lambda self, z: (self.to_scale(z).unsqueeze(1), self.to_shift(z).unsqueeze(1)),
        "The pixels of one channel get different scales",
    ),
    "IgnoresZ": (lambda self, z: Two.parts(self, torch.ones_like(z)), "The output is the same for another instruction"),
    "ScaleIgnoresZ": (
        lambda self, z: (self.to_scale.bias[None, :, None, None], Two.parts(self, z)[1]),
        "The scale is the same for another instruction",
    ),
    "FirstInstructionOnly": (lambda self, z: Two.parts(self, z[:1]), "All images of the batch get the same scale"),
    "RollsTheBatch": (lambda self, z: Two.parts(self, z.roll(1, 0)), "depends on the other images"),
    "Swapped": (lambda self, z: Two.parts(self, z)[::-1], "scale and shift are swapped"),
    "Dropout": (lambda self, z: Two.parts(self, F.dropout(z, 0.5)), "Two calls with the same input"),
}
for name, (parts, message) in PARTS.items():
    wrong(message)(type(name, (Two,), {"parts": parts}))


@wrong("There is still a stub", "not attempted")
class NotAttempted(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        raise NotImplementedError


@wrong("line", "not attempted")
class HalfAttempted(Two):
    def forward(self, x, z):
        raise NotImplementedError


@wrong("1 + is missing")
class NoOnePlusNoZeros(WRONG["NoOnePlus"][0]):
    zero = ()


@wrong("in a new FiLM scale and shift are random")
class NotTheIdentity(Two):
    zero = ()


@wrong("in a new FiLM the scale is random")
class OnlyShiftZeroed(Two):
    zero = ("to_shift",)


@wrong("the shift is not zero")
class OnlyScaleZeroed(Two):
    zero = ("to_scale",)


@wrong("All channels get the same scale")
class OneForAllChannels(Two):
    def __init__(self, channels, instruction_dim):
        super().__init__(1, instruction_dim)


@wrong("There is a shift but no scale")
class OnlyShift(Two):
    def forward(self, x, z):
        return x + self.parts(z)[1]


@wrong("There is a scale but no shift")
class OnlyScale(Two):
    def forward(self, x, z):
        return x + self.parts(z)[0] * x


@wrong("returns x, whatever its parameters are")
class Pretends(Two):
    def forward(self, x, z):
        return x


@wrong("changes its input in place")
class InPlace(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        x.data.mul_(1 + scale).add_(shift)
        return x.clone()


@wrong("No gradient reaches to_s")
class NoGradient(Two):
    def parts(self, z):
        with torch.no_grad():
            return super().parts(z)


@wrong("gradient reaches x")
class DetachedPicture(Two):
    def forward(self, x, z):
        return super().forward(x.detach(), z)


@wrong("every gradient is zero")
class TwoZeroLayers(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(instruction_dim, 8, bias=False), nn.Linear(8, 2 * channels, bias=False))
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x, z):
        scale, shift = self.net(z)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * x + shift


@wrong("The shape of x should stay")
class Flattened(Two):
    def forward(self, x, z):
        return super().forward(x, z).flatten(2)


@wrong("The number type should stay")
class Doubled(Two):
    def forward(self, x, z):
        return super().forward(x, z).double()


@wrong("hidden in a plain list")
class PlainList(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.layers = [nn.Linear(instruction_dim, channels) for _ in range(2)]
        for layer in self.layers:
            nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)

    def forward(self, x, z):
        scale, shift = (layer(z)[:, :, None, None] for layer in self.layers)
        return (1 + scale) * x + shift


@wrong("self.w is a plain tensor")
class PlainTensor(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.w = torch.zeros(2, instruction_dim, channels, requires_grad=True)

    def forward(self, x, z):
        scale, shift = (z @ self.w)[..., None, None]
        return (1 + scale) * x + shift


@wrong("parameters() is empty")
class MadeInForward(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.channels = channels

    def forward(self, x, z):
        layer = nn.Linear(z.shape[1], self.channels)
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
        return (1 + layer(z))[:, :, None, None] * x


@wrong("is not an nn.Module")
class NoModule:
    def __init__(self, channels, instruction_dim):
        self.film = Two(channels, instruction_dim)

    def __call__(self, x, z):
        return self.film(x, z)


@wrong("not a straight line in x. No output is negative: is there a ReLU?")
class ReluAfter(Two):
    def forward(self, x, z):
        return super().forward(x, z).relu()


@wrong("come out in other places")
class Transposed(Two):
    def forward(self, x, z):
        return super().forward(x, z).transpose(2, 3)


@wrong("NaN or infinite")
class DividesByZero(Two):
    def parts(self, z):
        scale, shift = super().parts(z)
        return scale / scale.std() * 0, shift


@wrong("forward returns nothing")
class ForgetsReturn(Two):
    def forward(self, x, z):
        super().forward(x, z)


@wrong("mat1 and mat2 shapes", "error in your code")
class SizesExchanged(Two):
    def __init__(self, channels, instruction_dim):
        super().__init__(instruction_dim, channels)


@wrong("SystemExit", "error in your code")
class Exits(Two):
    def forward(self, x, z):
        raise SystemExit

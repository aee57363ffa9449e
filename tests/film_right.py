"""Right answers to the FiLM exercise, in several styles."""

import torch
import torch.nn.functional as F
from checks_tried import answers
from einops import rearrange
from torch import nn

RIGHT, _, right, _ = answers()


class Two(nn.Module):
    """Two Linear layers that begin at zero: the textbook's way, and the ground for most of the mistakes below."""

    zero = ("to_scale", "to_shift")

    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale, self.to_shift = nn.Linear(instruction_dim, channels), nn.Linear(instruction_dim, channels)
        for name in self.zero:
            for p in getattr(self, name).parameters():
                nn.init.zeros_(p)

    def parts(self, z):
        return self.to_scale(z)[:, :, None, None], self.to_shift(z)[:, :, None, None]

    def forward(self, x, z):
        scale, shift = self.parts(z)
        return (1 + scale) * x + shift


right(Two)


@right
class OneLinear(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.net = nn.Linear(instruction_dim, 2 * channels)
        self.net.weight.data.zero_(), self.net.bias.data.zero_()

    def forward(self, x, z):
        a, b = rearrange(self.net(z), "B (two C) -> two B C 1 1", two=2)
        return x + a * x + b


@right
class Functional(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, channels, instruction_dim))
        self.b = nn.Parameter(torch.zeros(2, channels))

    def forward(self, x, z):
        scale, shift = (F.linear(z, w, b) for w, b in zip(self.w, self.b, strict=True))
        return torch.einsum("bchw,bc->bchw", x, 1 + scale) + shift.unflatten(1, (-1, 1, 1))


@right
class OneInTheBias(Two):
    """The 1 + as the bias of the scale layer: the same function, the same start."""

    def __init__(self, channels, instruction_dim):
        super().__init__(channels, instruction_dim)
        nn.init.ones_(self.to_scale.bias)

    def forward(self, x, z):
        scale, shift = self.parts(z)
        return scale * x + shift


@right
class Loops(Two):
    def forward(self, x, z):
        scale, shift = self.to_scale(z), self.to_shift(z)
        images = [(1 + scale[b, :, None, None]) * x[b] + shift[b, :, None, None] for b in range(len(x))]
        return torch.stack(images)


@right
class OneByOneConvolution(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.make = nn.ModuleDict({k: nn.Conv2d(instruction_dim, channels, 1) for k in ("gamma", "beta")})
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x, z):
        z = z[..., None, None]
        return torch.addcmul(x + self.make["beta"](z), self.make["gamma"](z), x)


@right
class WithoutBias(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros(instruction_dim, channels)) for _ in range(2))

    def forward(self, x, z):
        return (x.movedim(1, 3) * (1 + z @ self.a)[:, None, None] + (z @ self.b)[:, None, None]).movedim(3, 1)

"""SigLIP: the Vision Transformer that turns a picture into one token per patch.

Zhai et al. 2023 (arXiv 2303.15343), the image half of SigLIP-So400m without its pooling head, as in big_vision's
``models/vit.py``: patches through one convolution, a learned table of places, pre-LayerNorm layers with biases, the
tanh approximation of GELU, a last LayerNorm. The tiny model puts a few convolutions before the patches (Xiao et al. 2021,
"Early convolutions help transformers see better"): trained from nothing for as long, it recognised more of our things
(0.78 against 0.66 after 30 CPU-seconds). Lessons: day93_rt2/1_theory, day93_rt2/2_implementation.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.attention import attend
from course_lib.rt2.config import SigLIPConfig


class SigLIP(nn.Module):
    """Pictures (B, 3, H, W) with values 0 to 1 -> image tokens (B, K, width), row by row from the upper left.

    With ``trace``: ``siglip/layer0`` ... (B, K, width) and ``siglip/layer0/attention`` (B, heads, K, K).
    """

    def __init__(self, config: SigLIPConfig):
        super().__init__()
        self.stem = nn.Sequential(*(Halve(*widths) for widths in pairwise((3, *config.stem))))
        side = config.patch_size // 2 ** len(config.stem)
        self.patches = nn.Conv2d((3, *config.stem)[-1], config.width, side, stride=side)
        self.places = nn.Parameter(torch.empty(config.image_tokens, config.width))
        nn.init.normal_(self.places, std=1 / math.sqrt(config.width))
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, images: Float[Tensor, "B 3 H W"], trace: dict | None = None) -> Float[Tensor, "B K D"]:
        pixels = (2 * images - 1).to(self.places.dtype)  # SigLIP's pictures run from -1 to 1
        h = self.patches(self.stem(pixels))  # (B, D, H / patch, W / patch)
        h = h.flatten(2).transpose(1, 2) + self.places  # (B, K, D)
        for i, layer in enumerate(self.layers):
            h = layer(h, trace, f"siglip/layer{i}")
        return self.norm(h)


class Halve(nn.Module):
    """A 3 x 3 convolution of stride 2, a norm over all of the picture, GELU: (B, C, H, W) -> (B, D, H / 2, W / 2)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return F.gelu(self.norm(self.convolution(x)), approximate="tanh")


class VisionLayer(nn.Module):
    """h += attention(norm1(h)); h += feed_forward(norm2(h)): every patch looks at every patch."""

    def __init__(self, config: SigLIPConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attention = VisionAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.widen = nn.Linear(config.width, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.width)

    def forward(self, h: Float[Tensor, "B K D"], trace: dict | None = None, name: str = "layer") -> Float[Tensor, "B K D"]:
        h = h + self.attention(self.norm1(h), trace, f"{name}/attention")
        h = h + self.narrow(F.gelu(self.widen(self.norm2(h)), approximate="tanh"))
        if trace is not None:
            trace[name] = h
        return h


class VisionAttention(nn.Module):
    """Attention with biases and without a mask."""

    def __init__(self, config: SigLIPConfig):
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.output = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, x: Float[Tensor, "B K D"], trace: dict | None, name: str) -> Float[Tensor, "B K D"]:
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        return self.output(attend(q, k, v, trace=trace, name=name).transpose(1, 2).flatten(2))

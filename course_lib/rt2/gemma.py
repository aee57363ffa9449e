"""Gemma: the decoder over image and text tokens. RMSNorm, rotary positions, GeGLU, shared keys, one table in and out.

Gemma (arXiv 2403.08295) and Gemma 2 (arXiv 2408.00118), as big_vision's ``models/ppp/gemma.py`` and Hugging Face's
``modeling_gemma*.py`` compute them, to the order of the operations. What Gemma 2 adds (norms after each part, bounded
scores and logits, every other layer with a limited look back) is switched by its configuration's numbers.
Lessons: day93_rt2/1_theory, day93_rt2/2_implementation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.attention import KVCache, SharedPrefix, attend
from course_lib.rt2.config import GemmaConfig

Rotation = tuple[Float[Tensor, "B 1 S d"], Float[Tensor, "B 1 S d"]]
Masks = tuple[Tensor | None, Tensor | None]  # for layers that look at everything, and for those with a window


class Gemma(nn.Module):
    """Embedded tokens (B, S, D) -> states (B, S, D); ``embed`` before and ``logits`` after share one table.

    With ``trace``: ``gemma/layer0`` ... (B, S, D) and ``gemma/layer0/attention`` (B, heads, S, L).
    """

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.layers = nn.ModuleList(GemmaLayer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.eps)

    def embed(self, tokens: Int[Tensor, "*batch S"]) -> Float[Tensor, "*batch S D"]:
        """Rows of the table, times sqrt(D) rounded to the table's precision."""
        rows = self.embedding(tokens)
        return rows * torch.tensor(self.config.width**0.5, dtype=rows.dtype)

    def forward(
        self,
        h: Float[Tensor, "B S D"],
        positions: Int[Tensor, "B S"],
        masks: Masks = (None, None),
        *,
        cache: KVCache | SharedPrefix | None = None,
        last_only: bool = False,
        trace: dict | None = None,
    ) -> Float[Tensor, "B R D"]:
        """States of all positions, or with ``last_only`` of the last one: the same numbers for less work."""
        rotation = self.rotation(positions, cache, h.dtype)
        for i, layer in enumerate(self.layers):
            mask = masks[1] if self.config.window and i % 2 == 0 else masks[0]
            last = last_only and i == len(self.layers) - 1
            h = layer(h, rotation, mask, i, cache, last, trace)
        return self.norm(h)

    def rotation(self, positions: Int[Tensor, "B S"], cache: KVCache | SharedPrefix | None, dtype: torch.dtype) -> Rotation:
        """Cosine and sine of these positions; the fast twin has them in a table, as far as the cache goes."""
        return rotary(positions, self.config)

    def logits(self, h: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Scores of the whole vocabulary: the table again, transposed."""
        out = F.linear(h, self.embedding.weight)
        cap = self.config.final_softcap
        return cap * (out / cap).tanh() if cap else out


class GemmaLayer(nn.Module):
    """h += attention(norm1(h)); h += feed_forward(norm2(h)); in Gemma 2 each branch is normed again at its end."""

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.eps)
        self.attention = GemmaAttention(config)
        self.norm2 = RMSNorm(config.width, config.eps)
        self.feed_forward = GeGLU(config.width, config.hidden)
        self.post1, self.post2 = (
            RMSNorm(config.width, config.eps) if config.post_norms else nn.Identity() for _ in range(2)
        )

    def forward(
        self,
        h: Float[Tensor, "B S D"],
        rotation: Rotation,
        mask: Tensor | None,
        layer: int,
        cache: KVCache | SharedPrefix | None,
        last_only: bool,
        trace: dict | None,
    ) -> Float[Tensor, "B R D"]:
        name = f"gemma/layer{layer}"
        seen = self.attention(self.norm1(h), rotation, mask, layer, cache, last_only, trace)
        h = (h[:, -1:] if last_only else h) + self.post1(seen)
        h = h + self.post2(self.feed_forward(self.norm2(h)))
        if trace is not None:
            trace[name] = h
        return h


class GemmaAttention(nn.Module):
    """Grouped-query attention without biases, queries and keys turned by their positions."""

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.head_dim, self.softcap = config.head_dim, config.attention_softcap
        self.scale = (config.query_scale or config.head_dim) ** -0.5
        self.query = nn.Linear(config.width, config.heads * config.head_dim, bias=False)
        self.key = nn.Linear(config.width, config.groups * config.head_dim, bias=False)
        self.value = nn.Linear(config.width, config.groups * config.head_dim, bias=False)
        self.output = nn.Linear(config.heads * config.head_dim, config.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        rotation: Rotation,
        mask: Tensor | None,
        layer: int,
        cache: KVCache | SharedPrefix | None,
        last_only: bool,
        trace: dict | None,
    ) -> Float[Tensor, "B R D"]:
        k, v = rotate(self._heads(self.key(x)), rotation), self._heads(self.value(x))
        if cache is not None:
            k, v = cache.append(layer, k, v)
        if last_only:  # every position gives its keys, only the last one asks
            x, rotation = x[:, -1:], tuple(part[:, :, -1:] for part in rotation)
            mask = None if mask is None else mask[..., -1:, :]
        q = rotate(self._heads(self.query(x)), rotation)
        y = attend(q, k, v, mask, scale=self.scale, softcap=self.softcap, trace=trace, name=f"gemma/layer{layer}/attention")
        return self.output(y.transpose(1, 2).flatten(2))

    def _heads(self, x: Float[Tensor, "B S W"]) -> Float[Tensor, "B heads S d"]:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class GeGLU(nn.Module):
    """down(gelu(gate(x)) * up(x)), GELU in its tanh approximation."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        return self.down(F.gelu(self.gate(x), approximate="tanh") * self.up(x))


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + weight), in float32. The weight starts at zero (Gemma's way), so decay pulls towards 1."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * (1 + self.weight.float())).type_as(x)


def rotary(positions: Int[Tensor, "B S"], config: GemmaConfig) -> Rotation:
    """Cosine and sine of the angles, one per pair: pair j of a head turns by position / base^(2j / head_dim)."""
    steps = torch.arange(0, config.head_dim, 2, device=positions.device, dtype=torch.float32)
    angles = positions[:, None, :, None].float() * (1.0 / config.rope_base ** (steps / config.head_dim))  # (B, 1, S, d / 2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def rotate(x: Float[Tensor, "B heads S d"], rotation: Rotation) -> Float[Tensor, "B heads S d"]:
    """Turn the pairs (x[j], x[j + d / 2]): a score then depends on the distance of two positions only (RoPE).

    (a, b) becomes (a cos - b sin, b cos + a sin); rolling by half swaps a and b, and the first sine is already negative.
    """
    cos, sin = (part.to(x.dtype) for part in rotation)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def look_back(
    mask: Bool[Tensor, "B 1 S L"],
    asking: Int[Tensor, "B S"],
    seen: Int[Tensor, "B L"],
    window: int,
    prefix: Bool[Tensor, "B L"],
) -> Bool[Tensor, "B 1 S L"]:
    """The mask of Gemma 2's layers with a window: keys less than ``window`` positions back; a prefix sees all of itself."""
    S, L = mask.shape[-2:]
    near = (asking[:, None, :, None] - seen[:, None, None, :]) < window
    both = prefix[:, None, L - S :, None] & prefix[:, None, None, :]
    return mask & (near | both)

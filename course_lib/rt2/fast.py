"""faster(): the same RT-2 with fewer operations per token, for inference only.

One token through a small decoder is not arithmetic but dispatch: some forty calls a layer of a few microseconds each, and
reading the weights once. The plain network is the lesson and stays as it is; in this twin

- queries, keys and values come out of one matrix product and are turned by their positions together; gate and up likewise;
- the weights 1 + w of a norm are multiplied into the matrix after it;
- cosines and sines are looked up;
- weights may be kept in bfloat16 (precision="bf16"): half the bytes, for logits that differ by about a percent.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.attention import KVCache, SharedPrefix, attend
from course_lib.rt2.gemma import Gemma, GemmaLayer, Rotation, rotary, rotate
from course_lib.rt2.paligemma import PaliGemma
from course_lib.rt2.policy import RT2

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
TABLE = 1024  # positions whose angles are looked up; later ones are computed


def faster(model: RT2 | PaliGemma, precision: str = "fp32") -> RT2 | PaliGemma:
    """A copy with the same methods and, in "fp32", the same numbers up to rounding; the original is untouched.

    The copy has no gradients and cannot be saved as a checkpoint. Raises ValueError for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {' or '.join(map(repr, PRECISIONS))}, got {precision!r}.")
    fast = copy.deepcopy(model)
    vlm = getattr(fast, "vlm", fast)
    with torch.no_grad():
        vlm.language = FastGemma(vlm.language)
        vlm.to(PRECISIONS[precision])
    return fast.eval().requires_grad_(False)


class FastGemma(nn.Module):
    """Gemma, rearranged: same arguments, same numbers up to rounding. Traces hold the layers, not the attention."""

    embed, forward, logits = Gemma.embed, Gemma.forward, Gemma.logits

    def __init__(self, plain: Gemma):
        super().__init__()
        self.config, self.embedding, self.norm = plain.config, plain.embedding, plain.norm
        self.layers = nn.ModuleList(FastLayer(layer) for layer in plain.layers)
        places = torch.arange(TABLE, device=plain.embedding.weight.device)[None]
        self.table = tuple(part[0, 0] for part in rotary(places, plain.config))  # (TABLE, d) each; stays in float32

    def rotation(self, positions: Int[Tensor, "B S"], cache: KVCache | SharedPrefix | None, dtype: torch.dtype) -> Rotation:
        """As Gemma's, in ``dtype``."""
        known = isinstance(cache, KVCache) and cache.length < TABLE
        parts = tuple(part[positions][:, None] for part in self.table) if known else rotary(positions, self.config)
        return tuple(part.to(dtype) for part in parts)


class FastLayer(nn.Module):
    """GemmaLayer with four matrices in place of seven."""

    def __init__(self, plain: GemmaLayer):
        super().__init__()
        parts, mlp = plain.attention, plain.feed_forward
        if odd := [name for name, part in plain.named_modules() if hasattr(part, "base_layer")]:
            raise ValueError(f"{odd[0]} has an adapter, which this twin would not hear. Try learn.lora.merge_lora first.")
        self.head_dim, self.groups = parts.head_dim, parts.key.out_features // parts.head_dim
        self.scale, self.softcap, self.eps = parts.scale, parts.softcap, plain.norm1.eps
        seeing = torch.cat([part.weight for part in (parts.query, parts.key, parts.value)])
        gating = torch.cat([mlp.gate.weight, mlp.up.weight])
        self.seeing = nn.Parameter(seeing * (1 + plain.norm1.weight))
        self.gating = nn.Parameter(gating * (1 + plain.norm2.weight))
        self.output, self.down = nn.Parameter(parts.output.weight), nn.Parameter(mlp.down.weight)
        self.post1, self.post2 = plain.post1, plain.post2

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
        y = F.linear(self._norm(h), self.seeing).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, all heads, S, d)
        turned, v = y[:, : -self.groups], y[:, -self.groups :]
        turned = rotate(turned, rotation)
        q, k = turned[:, : -self.groups], turned[:, -self.groups :]
        if cache is not None:
            k, v = cache.append(layer, k, v)
        if last_only:
            h, q, mask = h[:, -1:], q[:, :, -1:], None if mask is None else mask[..., -1:, :]
        y = attend(q, k, v, mask, scale=self.scale, softcap=self.softcap)
        h = h + self.post1(F.linear(y.transpose(1, 2).flatten(2), self.output))
        gate, up = F.linear(self._norm(h), self.gating).chunk(2, -1)
        h = h + self.post2(F.linear(F.gelu(gate, approximate="tanh").mul_(up), self.down))
        if trace is not None:
            trace[f"gemma/layer{layer}"] = h
        return h

    def _norm(self, h: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        return F.rms_norm(h, h.shape[-1:], None, self.eps)

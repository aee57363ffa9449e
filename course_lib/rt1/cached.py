"""AutoregressiveRT1 with a key-value cache: the same action tokens, each position through the decoder only once.

Without memory (history 1) only: RT-1's positions are absolute, so when a window of several frames slides, every position
changes and nothing that was cached stays true. Lesson: day92_rt1/3_experiments.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from course_lib.attention import KVCache, attend, causal_mask
from course_lib.rt1.ablations import AutoregressiveRT1
from course_lib.rt1.config import RT1Config
from course_lib.rt1.doors import check_finite


class CachedAutoregressiveRT1(AutoregressiveRT1):
    """The frame's K image tokens are read in one pass, then one position per action token instead of K + A."""

    def __init__(self, config: RT1Config, **parts):
        if config.history != 1:
            raise ValueError(
                f"A cache is true for one frame only (positions are absolute), got history={config.history}. Try history=1."
            )
        super().__init__(config, **parts)

    def _choose(self, memory: Float[Tensor, "N T K D"], trace: dict | None = None) -> Float[Tensor, "N A"]:
        config, decoder = self.config, self.decoder
        place = decoder.position_table + decoder.position_bias  # (S, D)
        size = (config.layers, len(memory), config.heads, config.positions, config.key_dim)
        cache = KVCache(*size, dtype=place.dtype, device=place.device)
        h = decoder.token_embedding(memory[:, 0]) + place[: config.image_tokens]
        spoken, logits = [], []
        for k in range(config.action_dims):
            logits.append(check_finite(self._read(h, cache)))  # (N, V)
            spoken.append(self.pick(logits[-1]))
            one_hot = F.one_hot(spoken[-1], config.bins).to(memory.dtype)
            said = decoder.token_embedding(self.action_embedding(one_hot))
            h = (said + place[config.image_tokens + k])[:, None]
        if trace is not None:
            trace["logits"] = torch.stack(logits, 1)
        return self.tokenizer.decode(torch.stack(spoken, 1))

    def _read(self, h: Float[Tensor, "N S D"], cache: KVCache) -> Float[Tensor, "N V"]:
        """New positions through all layers, looking at themselves and at what is cached; the last one's logits."""
        S = h.shape[1]
        cache.reserve(S)
        mask = causal_mask(S).to(h.device) if S > 1 else None
        for i, layer in enumerate(self.decoder.layers):
            normed, attention = layer.norm1(h), layer.attention
            parts = (attention.query, attention.key, attention.value)
            q, k, v = (rearrange(part(normed), "N S (h d) -> N h S d", h=attention.heads) for part in parts)
            y = attend(q, *cache.append(i, k, v), mask)
            h = h + attention.output(rearrange(y, "N h S d -> N S (h d)"))
            h = h + layer.feed_forward(layer.norm2(h))
        return self.decoder.output(h[:, -1])

"""Decoder: the Transformer over T x (K image + A action) positions that reads out the action tokens.

``transformer.py`` and ``transformer_network.py`` of google-research/robotics_transformer: 8 pre-LayerNorm layers of
8 heads x 128 at width 512, a feed-forward that is one *linear* layer, no final LayerNorm. The action positions enter
as zeros: RT-1 never sees its own actions, past or partial, so all A tokens of a step come out of one pass.
The logits of action number k are read one position early: the last image token predicts the first number.
Lessons: day92_rt1/1_theory, day92_rt1/2_implementation.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.attention import attend, rt1_mask
from course_lib.rt1.config import RT1Config


class Decoder(nn.Module):
    """Image tokens (B, T, K, C) -> logits (B, T, A, V), for any T up to the configured history.

    With ``last_only`` only the newest step is read out: (B, 1, A, V), the same numbers for less work.
    With ``trace``: ``decoder/embedded``, ``decoder/layer0`` ... (B, S, D), ``decoder/layer0/attention`` (B, heads, S, S).
    """

    def __init__(self, config: RT1Config):
        super().__init__()
        self.image_tokens, self.action_dims, self.history = config.image_tokens, config.action_dims, config.history
        self.token_embedding = _glorot(nn.Linear(config.trunk.out_channels, config.width))
        # RT-1 embeds positions by a dense layer over a one-hot: a table, and a bias that a table would not need.
        self.position_table = nn.Parameter(torch.empty(config.positions, config.width))
        self.position_bias = nn.Parameter(torch.zeros(config.width))
        nn.init.xavier_uniform_(self.position_table)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.output = _glorot(nn.Linear(config.width, config.bins))
        mask = rt1_mask(
            config.history, config.image_tokens, config.action_dims, images_see_actions=config.images_see_actions
        )
        self.register_buffer("mask", mask, persistent=False)  # (S, S); the mask of fewer steps is its corner

    def forward(
        self, tokens: Float[Tensor, "B T K C"], *, last_only: bool = False, trace: dict | None = None
    ) -> Float[Tensor, "B t A V"]:
        rows = self.read_positions(tokens.shape[1], last_only)
        h = self.embed(tokens)  # (B, S, D)
        logits = self.run(h, self.mask[: h.shape[1], : h.shape[1]], rows, trace)
        return rearrange(logits, "B (T A) V -> B T A V", A=self.action_dims)

    def embed(
        self, tokens: Float[Tensor, "B T K C"], actions: Float[Tensor, "B T A C"] | None = None
    ) -> Float[Tensor, "B S D"]:
        """The sequence: per step K image tokens and A action tokens, plus positions.

        RT-1's action tokens are zeros, of which the embedding leaves its bias; ``actions`` puts others in their place.
        """
        B, T, K, _ = tokens.shape
        assert (self.image_tokens == K) and (self.history >= T), tuple(tokens.shape)
        image = self.token_embedding(tokens)  # (B, T, K, D)
        if actions is None:
            action = self.token_embedding.bias.to(image.dtype).expand(B, T, self.action_dims, -1)
        else:
            action = self.token_embedding(actions)
        h = rearrange(torch.cat((image, action), 2), "B T P D -> B (T P) D")
        return h + self.position_table[: h.shape[1]] + self.position_bias

    def run(
        self, h: Float[Tensor, "B S D"], mask: Tensor | None, rows: Tensor | None = None, trace: dict | None = None
    ) -> Float[Tensor, "B R V"]:
        """All layers, then the logits of the asked rows (None: of every position)."""
        _keep(trace, "decoder/embedded", h)
        fast = rows is not None and trace is None  # the last layer answers only where it is read; a trace shows it all
        for i, layer in enumerate(self.layers):
            last = i == len(self.layers) - 1
            h = layer(h, mask, rows if last and fast else None, trace, f"decoder/layer{i}")
        return self.output(h if fast or rows is None else h[:, rows])

    def read_positions(self, steps: int, last_only: bool = False) -> Int[Tensor, " R"]:
        """Where the logits are read, one position before each action position: 7 ... 17, 26 ... 36, ... 102 ... 112."""
        period = self.image_tokens + self.action_dims
        first = torch.arange(steps - 1 if last_only else 0, steps, device=self.mask.device) * period + self.image_tokens - 1
        return (first[:, None] + torch.arange(self.action_dims, device=self.mask.device)).flatten()


class DecoderLayer(nn.Module):
    """h += attention(norm1(h)); h += dropout(linear(norm2(h))): (B, S, D) -> (B, S, D), or only the asked ``rows``."""

    def __init__(self, config: RT1Config):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.feed_forward = _glorot(nn.Linear(config.width, config.width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        h: Float[Tensor, "B S D"],
        mask: Tensor | None,
        rows: Tensor | None = None,
        trace: dict | None = None,
        name: str = "layer",
    ) -> Float[Tensor, "B R D"]:
        normed = self.norm1(h)
        asking = normed
        if rows is not None:
            h, asking, mask = h[:, rows], normed[:, rows], None if mask is None else mask[rows]
        h = h + self.attention(asking, normed, mask, trace, f"{name}/attention")
        h = h + self.dropout(self.feed_forward(self.norm2(h)))
        _keep(trace, name, h)
        return h


class Attention(nn.Module):
    """Heads of ``key_dim`` each, with biases everywhere; the inner width (8 x 128) need not be the outer (512)."""

    def __init__(self, config: RT1Config):
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        inner = config.heads * config.key_dim
        self.query = nn.Linear(config.width, inner)
        self.key = nn.Linear(config.width, inner)
        self.value = nn.Linear(config.width, inner)
        self.output = nn.Linear(inner, config.width)
        # Keras takes the fans of its 3-D kernels from the last two axes times the rest, so these start 6.7 times
        # smaller than a flat Glorot: (D, heads, key_dim) and (heads, key_dim, D).
        for layer in (self.query, self.key, self.value):
            _uniform(layer, config.width * config.heads, config.width * config.key_dim)
        _uniform(self.output, inner, config.heads * config.width)

    def forward(
        self,
        asking: Float[Tensor, "B R D"],
        seen: Float[Tensor, "B S D"],
        mask: Tensor | None,
        trace: dict | None,
        name: str,
    ) -> Float[Tensor, "B R D"]:
        q = rearrange(self.query(asking), "B R (h d) -> B h R d", h=self.heads)
        k = rearrange(self.key(seen), "B S (h d) -> B h S d", h=self.heads)
        v = rearrange(self.value(seen), "B S (h d) -> B h S d", h=self.heads)
        dropout = self.dropout if self.training else 0.0
        y = attend(q, k, v, mask, dropout=dropout, trace=trace, name=name)
        return self.output(rearrange(y, "B h R d -> B R (h d)"))


def official_loss(logits: Float[Tensor, "B T A V"], tokens: Int[Tensor, "B T A"], image_tokens: int) -> Float[Tensor, "B T"]:
    """RT-1's loss of each step: cross-entropy / (B * T * (K + A)), averaged over the A numbers.

    The scale depends on the batch (Adam hides it), so ``RT1.loss`` uses the plain mean instead; this is the release's
    value (``transformer_network.py``), kept for the comparison.
    """
    B, T, A, _ = logits.shape
    each = F.cross_entropy(logits.flatten(0, 2).float(), tokens.flatten(), reduction="none").view(B, T, A)
    return (each / (B * T * (image_tokens + A))).mean(-1)


def _glorot(layer: nn.Linear) -> nn.Linear:
    _uniform(layer, layer.in_features, layer.out_features)
    return layer


def _uniform(layer: nn.Linear, fan_in: int, fan_out: int) -> None:
    limit = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(layer.weight, -limit, limit)
    nn.init.zeros_(layer.bias)


def _keep(trace: dict | None, name: str, value: Tensor) -> None:
    if trace is not None:
        trace[name] = value

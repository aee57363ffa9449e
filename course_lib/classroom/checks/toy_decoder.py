"""A toy decoder for the decoding exercises: real attention, real positions, real dropout, small enough to see through.

It reads tokens and returns what may come next, with the keys and values it made on the way, so that a loop around it can
remember them. Lesson: day93_rt2/2_implementation.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.attention import attend

Kept = list[tuple[Tensor, Tensor]]  # for each layer: keys and values (B, heads, S, D of a head) of the positions read


class ToyLayer(nn.Module):
    """Attention, then two linear layers, each after a LayerNorm and with a way around it."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(
        self, h: Float[Tensor, "B S D"], past: tuple[Tensor, Tensor] | None, mask: Bool[Tensor, "S L"] | None
    ) -> tuple[Float[Tensor, "B S D"], tuple[Tensor, Tensor]]:
        """What the positions become, and their own keys and values; those of ``past`` are looked at as well."""
        made = self.query_key_value(self.before_attention(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = made.permute(2, 0, 3, 1, 4)  # (B, heads, S, D of a head) each
        keys, values = (key, value) if past is None else (torch.cat((past[0], key), 2), torch.cat((past[1], value), 2))
        seen = attend(query, keys, values, mask).transpose(1, 2).flatten(2)
        h = h + self.dropout(self.out(seen))
        return h + self.dropout(self.down(self.up(self.before_mlp(h)).relu())), (key, value)


class ToyDecoder(nn.Module):
    """Tokens in, logits of the next token out. It starts in train mode, with dropout, as every ``nn.Module`` does."""

    def __init__(
        self, vocabulary: int = 32, width: int = 32, *, heads: int = 2, layers: int = 2, room: int = 32, dropout: float = 0.1
    ):
        super().__init__()
        self.embedding, self.places = nn.Embedding(vocabulary, width), nn.Embedding(room, width)
        self.layers = nn.ModuleList(ToyLayer(width, heads, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(
        self,
        tokens: Int[Tensor, "B S"],
        positions: Int[Tensor, " S"] | None = None,
        past: Sequence[tuple[Tensor, Tensor]] = (),
        mask: Bool[Tensor, "S L"] | None = None,
    ) -> tuple[Float[Tensor, "B S V"], Kept]:
        """Logits after each of the S tokens, and their keys and values, for each layer.

        ``positions`` are the places of the tokens in the whole row, from 0; without them the order is not seen.
        ``past`` is keys and values of L - S earlier positions, for each layer. ``mask[i, j]`` is True where token i may look
        at position j of the L; without a mask every token looks at everything. Raises ValueError for a wrong ``past``.
        """
        if len(past) not in (0, len(self.layers)):
            raise ValueError(f"`past` is nothing, or (keys, values) for each of {len(self.layers)} layers; got {len(past)}.")
        h = self.embedding(tokens)
        if positions is not None:
            h = h + self.places(positions)
        kept = []
        for layer, before in zip(self.layers, past or [None] * len(self.layers), strict=True):
            h, made = layer(h, before, mask)
            kept.append(made)
        return self.head(self.norm(h)), kept

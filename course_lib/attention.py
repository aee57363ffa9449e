"""One drawn attention mask for every model, and attention itself.

A mask is boolean: ``mask[i, j]`` is True where query position i may look at key position j.
Three pictures (rows look at columns, # = may look):

    causal            prefix-LM (RT-2)          RT-1: 1 frame = 2 image (i) + 2 action (a) positions

    # . . .           # # . .   image           i # . . .  . . . .
    # # . .           # # . .   prompt          i # # . .  . . . .
    # # # .           # # # .   answer          a # # . .  . . . .    an action sees no action,
    # # # #           # # # #   answer          a # # . .  . . . .    not even itself ...
                                                i # # # #  # . . .    ... but a later image may
                                                i # # # #  # # . .
                                                a # # . .  # # . .
                                                a # # . .  # # . .

Padding is nobody's key: ``without_padding``. What a model has read once need not be read again: ``KVCache``.

Sources: RT-1 ``transformer_network.py:_generate_masks`` (google-research/robotics_transformer); the idea of one
function for all masks: big_vision ``paligemma.py:make_attn_mask``. Lessons: day92_rt1/1_theory, day93_rt2/2_implementation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def attention_mask(
    new_block: Bool[Tensor, "*batch S"], blind: Bool[Tensor, "*batch S"] | None = None
) -> Bool[Tensor, "*batch S S"]:
    """Who may look at whom, from one mark per position.

    ``new_block[j]``: position j starts a new block. A position sees its own block and all earlier ones, so all True
    is causal, and False ... False True ... True is prefix-LM.
    ``blind[j]``: blind positions do not see one another (RT-1's action positions).
    """
    block = new_block.long().cumsum(-1)  # (..., S)
    mask = block[..., :, None] >= block[..., None, :]
    if blind is not None:
        mask = mask & ~(blind[..., :, None] & blind[..., None, :])
    return mask


def causal_mask(length: int) -> Bool[Tensor, "S S"]:
    """Each position sees itself and what came before."""
    return attention_mask(torch.ones(length, dtype=torch.bool))


def prefix_lm_mask(prefix: int, answer: int) -> Bool[Tensor, "S S"]:
    """The prefix (image and prompt) sees all of itself; each answer token sees the prefix and earlier answer tokens."""
    return attention_mask(torch.arange(prefix + answer) >= prefix)


def without_padding(mask: Bool[Tensor, "*batch S L"], real: Bool[Tensor, "*batch L"]) -> Bool[Tensor, "*batch S L"]:
    """The mask with the keys that are padding (``real`` False) taken out; the S queries are the last of the L keys.

    Every position still sees itself: a row without any key has a softmax of nothing, NaN, which would spread.
    """
    S, L = mask.shape[-2:]
    itself = torch.eye(L, dtype=torch.bool, device=mask.device)[L - S :]
    return mask & real[..., None, :] | itself


def rt1_mask(steps: int, image_tokens: int, action_tokens: int, *, images_see_actions: bool = True) -> Bool[Tensor, "S S"]:
    """RT-1's mask over ``steps`` frames of [image tokens, action tokens]: 114 x 114 with 4,344 ones for (6, 8, 11).

    ``images_see_actions=False`` is the JAX port's variant, which closes the path image -> past action (3,024 ones).
    """
    is_action = (torch.arange(image_tokens + action_tokens) >= image_tokens).repeat(steps)  # (S,)
    mask = attention_mask(torch.ones_like(is_action), blind=is_action)
    if not images_see_actions:
        mask = mask & ~is_action[None, :]
    return mask


def attend(
    query: Float[Tensor, "B heads S D"],
    key: Float[Tensor, "B groups L D"],
    value: Float[Tensor, "B groups L D"],
    mask: Bool[Tensor, "#B #heads S L"] | Bool[Tensor, "S L"] | None = None,
    *,
    scale: float | None = None,
    softcap: float | int = 0.0,
    dropout: float = 0.0,
    trace: dict | None = None,
    name: str = "attention",
) -> Float[Tensor, "B heads S D"]:
    """Scaled dot-product attention. With ``trace`` the probabilities are kept as ``trace[name]`` (B, heads, S, L).

    Without a trace torch's fused kernel runs, where it is fast; with one, the plain lines that it is equal to.
    Fewer key heads than query heads: neighbouring query heads share one (grouped-query attention; a single one for all
    is multi-query).
    ``scale`` replaces 1 / sqrt(D). ``softcap`` c bends the scores to c * tanh(score / c), as Gemma 2 does.
    Every query needs at least one key it may look at (true for all masks above).
    """
    heads, S = query.shape[1:3]
    share = heads // key.shape[1]
    if share > 1:  # heads of one group become rows of one: the keys need no copies
        query = query.reshape(len(query), key.shape[1], share * S, -1)
        mask = mask if mask is None or S == 1 else mask.repeat(*[1] * (mask.ndim - 2), share, 1)
    if trace is None and not softcap and not _slow_backwards(query):
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    else:
        scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)  # (B, heads, S, L)
        scores = softcap * (scores / softcap).tanh() if softcap else scores
        if mask is not None:  # added, not filled in: half the time backwards
            scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, float("-inf"))
        probabilities = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        if trace is not None:
            trace[name] = probabilities.view(len(query), heads, S, -1)
        out = F.dropout(probabilities, dropout) @ value
    return out.view(len(query), heads, S, -1) if share > 1 else out


def _slow_backwards(query: Tensor) -> bool:
    """Training in bfloat16 on a CPU, where the fused kernel of torch 2.14 has slow gradients (53 ms against 17)."""
    return query.dtype == torch.bfloat16 and query.device.type == "cpu" and torch.is_grad_enabled()


class KVCache:
    """Keys and values of the positions read so far, so that a new token costs the work of one position.

    The room for ``capacity`` positions is taken at once and filled in place. Per step: ``reserve`` the next positions,
    then ``append`` each layer's keys and values, which returns those of everything so far. ``MemoryError`` is left to torch.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        groups: int,
        capacity: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        size = (batch, groups, capacity, head_dim)
        self.keys = [torch.zeros(size, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.real = torch.zeros(batch, capacity, dtype=torch.bool, device=device)  # False: padding, or not yet read
        self.positions = torch.zeros(batch, capacity, dtype=torch.long, device=device)  # real ones counted from 1
        self.length = 0  # places in use, the same in every row
        self.padded = False  # whether some of them may be padding

    @property
    def bytes(self) -> int:
        """Memory of the keys and values."""
        return sum(2 * keys.numel() * keys.element_size() for keys in self.keys)

    def reserve(self, count: int, real: Bool[Tensor, "B S"] | None = None) -> Int[Tensor, "B S"]:
        """Take the next ``count`` places and return their positions: the number of real tokens in the row up to each."""
        start, stop = self.length, self.length + count
        if stop > self.real.shape[1]:
            raise ValueError(
                f"This cache has room for {self.real.shape[1]} positions, but {stop} are needed. Try a larger capacity."
            )
        self.padded = self.padded or real is not None
        self.real[:, start:stop] = True if real is None else real
        counted = self.real[:, start:stop].cumsum(1) + (self.positions[:, start - 1 : start] if start else 0)
        self.positions[:, start:stop] = counted
        self.length = stop
        return counted

    def append(
        self, layer: int, key: Float[Tensor, "B groups S D"], value: Float[Tensor, "B groups S D"]
    ) -> tuple[Float[Tensor, "B groups L D"], Float[Tensor, "B groups L D"]]:
        """Put the keys and values of the reserved places into their layer; returns those of all places so far."""
        start = self.length - key.shape[2]
        self.keys[layer][:, :, start : self.length] = key
        self.values[layer][:, :, start : self.length] = value
        return self.keys[layer][:, :, : self.length], self.values[layer][:, :, : self.length]


class SharedPrefix:
    """Keys and values of a prefix (an image) that several continuations (questions) look back at, with gradients.

    The first pass, over the B prefixes, fills it; after ``share(n)`` a pass over B * n rows reads it: rows 0 ... n - 1
    belong to the first prefix.
    """

    def __init__(self):
        self.layers: list[tuple[Tensor, Tensor]] = []
        self.shared = False

    def share(self, n: int) -> "SharedPrefix":
        """Each prefix for n rows; from now on nothing is kept."""
        self.layers = [(k.repeat_interleave(n, 0), v.repeat_interleave(n, 0)) for k, v in self.layers]
        self.shared = True
        return self

    def append(
        self, layer: int, key: Float[Tensor, "B groups S D"], value: Float[Tensor, "B groups S D"]
    ) -> tuple[Float[Tensor, "B groups L D"], Float[Tensor, "B groups L D"]]:
        """While filling: keep, and return the same. Once shared: the prefix's keys and values before the given ones."""
        if not self.shared:
            assert layer == len(self.layers), (layer, len(self.layers))
            self.layers.append((key, value))
            return key, value
        before = self.layers[layer]
        return torch.cat((before[0], key), 2), torch.cat((before[1], value), 2)

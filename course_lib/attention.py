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

Sources: RT-1 ``transformer_network.py:_generate_masks`` (google-research/robotics_transformer); the idea of one
function for all masks: big_vision ``paligemma.py:make_attn_mask``. Lessons: day92_rt1/1_theory, day93_rt2/2_implementation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def attention_mask(new_block: Bool[Tensor, " S"], blind: Bool[Tensor, " S"] | None = None) -> Bool[Tensor, "S S"]:
    """Who may look at whom, from one mark per position.

    ``new_block[j]``: position j starts a new block. A position sees its own block and all earlier ones, so all True
    is causal, and False ... False True ... True is prefix-LM.
    ``blind[j]``: blind positions do not see one another (RT-1's action positions).
    """
    block = new_block.long().cumsum(0)  # (S,)
    mask = block[:, None] >= block[None, :]
    if blind is not None:
        mask = mask & ~(blind[:, None] & blind[None, :])
    return mask


def causal_mask(length: int) -> Bool[Tensor, "S S"]:
    """Each position sees itself and what came before."""
    return attention_mask(torch.ones(length, dtype=torch.bool))


def prefix_lm_mask(prefix: int, answer: int) -> Bool[Tensor, "S S"]:
    """The prefix (image and prompt) sees all of itself; each answer token sees the prefix and earlier answer tokens."""
    return attention_mask(torch.arange(prefix + answer) >= prefix)


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
    key: Float[Tensor, "B heads L D"],
    value: Float[Tensor, "B heads L D"],
    mask: Bool[Tensor, "#B #heads S L"] | Bool[Tensor, "S L"] | None = None,
    *,
    dropout: float = 0.0,
    trace: dict | None = None,
    name: str = "attention",
) -> Float[Tensor, "B heads S D"]:
    """Scaled dot-product attention. With ``trace`` the probabilities are kept as ``trace[name]`` (B, heads, S, L).

    Without a trace torch's fused kernel runs; with one, the three plain lines that it is equal to.
    Every query needs at least one key it may look at (true for all masks above).
    """
    if trace is None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # (B, heads, S, L)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    trace[name] = probabilities = scores.softmax(-1)
    return F.dropout(probabilities, dropout) @ value

"""RT-2's actions as logits over bins: (B, A, V) like RT-1's, for comparing policies and for learning from RT-2.

The true action is fed in (teacher forcing): number k is what RT-2 would say after the true numbers before it. Its scores of
other words are left out, as its decoding on a robot's prompt does.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def action_logits(policy: Any, batch: Mapping[str, Any]) -> tuple[Float[Tensor, "B A V"], Int[Tensor, "B A"]]:
    """Logits and true bins of a robot batch (see ``rt2.batches``), in the order of the action space. ``policy`` is an RT2.

    -inf stands at bins that a number does not have (a class has few); a number that RT-2 does not write rests for sure.
    Raises ValueError for another kind of batch, and for several instructions per picture.
    """
    if not {"images", "instructions", "actions"} <= set(batch) or torch.as_tensor(batch["actions"]).ndim != 2:
        got = {key: tuple(value.shape) if hasattr(value, "shape") else type(value).__name__ for key, value in batch.items()}
        raise ValueError(
            f"Expected a robot batch with one instruction per picture: images, instructions and actions (B, A); got {got}."
        )
    rows = policy.rows(batch)
    tokens, answer, real = rows.tokens, rows.answer, rows.real
    pixels = policy.pictures(batch["images"]).to(policy.device)
    states = policy.vlm.states(pixels, tokens[..., :-1], answer[..., :-1], real[..., :-1])[:, 0]  # (B, L - 1, D)
    framed, spoken = len(policy.vocabulary.frame) // 2, len(policy.text.order)
    last = real[:, 0].sum(1) - 2 - framed  # the place of the last number: after it come perhaps a frame, and <eos>
    asking = last[:, None] - torch.arange(spoken, 0, -1, device=last.device)  # a state predicts the token after it
    scores = policy.vlm.language.logits(states.gather(1, asking[..., None].expand(-1, -1, states.shape[-1]))).float()
    logits = scores.new_full((len(scores), len(policy.text.space), policy.text.tokenizer.bins), -torch.inf)
    rest = policy.text.tokenizer.encode(torch.zeros(len(policy.text.space)))
    for place in policy.text.left_out:
        logits[:, place, rest[place]] = 0.0
    slots = policy.vocabulary.slots(policy.text.counts)
    for k, place in enumerate(policy.text.order):
        ids = slots[k + framed]
        logits[:, place, : len(ids)] = scores[:, k, list(ids)]
    labels = policy.text.tokenizer.encode(torch.as_tensor(batch["actions"])).to(logits.device)
    return logits, labels

"""Co-fine-tuning: a vision-language model goes on learning its questions while it learns a robot's actions.

RT-2 (Brohan et al. 2023, section 3.2) trains all weights on a mixture of web and robot data; fine-tuning on robot data alone
is the control (its Table 6: it generalises worse). Which layers learn is a choice of its own: with few, the rest keep
what they know whatever the data are.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import nn

from course_lib.learn.train import History, Schedule, behaviour_clone


@runtime_checkable
class Layered(Protocol):
    """A model whose decoder has layers: RT2."""

    @property
    def layers(self) -> nn.ModuleList: ...


def co_fine_tune(
    policy: nn.Module,
    mixture: Callable[[int], Mapping[str, Any]],
    schedule: Schedule,
    *,
    last_layers: int | None = None,
    **options: Any,
) -> History:
    """Minimise ``policy.loss`` over the batches of ``mixture`` (``datasets.Mixture``), as ``behaviour_clone`` does.

    ``last_layers``: None trains everything; N only the last N layers of the decoder (see ``train_last``). Afterwards all
    is trainable again. ``options`` are those of ``behaviour_clone``: resume, save_every, progress, on_step.
    """
    flags = {name: p.requires_grad for name, p in policy.named_parameters()}
    if last_layers is not None:
        train_last(policy, last_layers)
    try:
        return behaviour_clone(policy, mixture, schedule, **options)
    finally:
        for name, p in policy.named_parameters():
            p.requires_grad_(flags.get(name, True))


def train_last(policy: nn.Module, layers: int) -> list[str]:
    """Freeze all but the last ``layers`` layers of the decoder; returns the names of what is left to train.

    0 freezes everything. (``list[-layers:]`` would be all of them then: a classic slip.) ValueError for a number of layers
    that the model does not have, and for a model with adapters (``learn.lora``), beside which its own weights rest.
    """
    if not isinstance(policy, Layered):
        raise ValueError(f"A {type(policy).__name__} has no `layers` of which some could be frozen. Try last_layers=None.")
    if any(hasattr(module, "base_layer") for module in policy.modules()):
        raise ValueError("This policy learns in its adapters. Try last_layers=None, or learn.lora.merge_lora first.")
    count = len(policy.layers)
    if not 0 <= layers <= count:
        raise ValueError(f"This decoder has {count} layers, so last_layers is 0 ... {count}; got {layers}.")
    policy.requires_grad_(False)
    for layer in policy.layers[count - layers :]:
        layer.requires_grad_(True)
    return [name for name, p in policy.named_parameters() if p.requires_grad]

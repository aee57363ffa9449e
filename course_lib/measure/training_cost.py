"""What a training run costs, before it is started: operations and bytes of a step, hours, memory; and what LoRA saves.

Made of the costs of a forward pass, as models count them (``rt1_window_cost``, ``rt2_row_cost``). Going backward, a layer
computes two gradients, each with as many operations as its forward pass: that of its weights, to learn, and that of its
input, to hand on. So a layer that learns costs 3 x forward; a frozen one above a learning one 2 x (only its input's gradient
is needed); a frozen one below all that learn 1 x. A little too much: the very first layer has nobody to hand on to. A little
too little: the products of attention have two inputs, so they cost 3 x even where all weights rest.
Left out, as in ``course_lib.costs``: norms, activations, softmax; and the loading of data.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from course_lib.costs import Cost
from course_lib.measure.speed import Machine, roofline_ms

NOTHING = Cost(0, 0, 0)
MOMENTS = 2  # AdamW remembers two running means for each weight
UPDATE = 7  # AdamW reads weight, gradient and both moments, and writes all but the gradient


@dataclass(frozen=True)
class Memory:
    """Bytes that a training run holds all the time. Activations come on top: they grow with the batch."""

    weights: int
    gradients: int
    moments: int  # of AdamW

    @property
    def total(self) -> int:
        """All three."""
        return self.weights + self.gradients + self.moments


def step_cost(batch: int, trained: Cost, *, passed: Cost = NOTHING, frozen: Cost = NOTHING) -> Cost:
    """Operations and least bytes of one training step, forward, backward and AdamW's update, for ``batch`` examples.

    The costs are those of ONE example forward, of the parts that learn (``trained``), of frozen parts that a gradient must
    pass through (``passed``), and of frozen parts below all that learn (``frozen``). Raises ValueError for batch < 1.
    """
    if batch < 1:
        raise ValueError(f"Expected a batch of at least one example, got {batch}.")
    parts = ((3, trained), (2, passed), (1, frozen))
    flops, weights, activations = (
        sum(times * getattr(cost, name) for times, cost in parts) for name in ("flops", "weights", "activations")
    )
    return Cost(batch * flops, weights + UPDATE * trained.weights, batch * activations)


def hours(
    step: Cost, steps: float | int, machine: Machine, *, precision: str = "bf16", utilisation: float | int = 0.4
) -> float:
    """Hours of one accelerator for ``steps`` training steps: the roofline's time divided by ``utilisation``.

    The roofline is the longer of two times, all operations at the machine's best rate and all bytes at its best rate;
    ``utilisation`` is how much of it a run reaches (0 to 1), which only a measurement can tell: see ``utilisation``. N
    accelerators that share the batches need at least hours / N. Raises ValueError for a utilisation outside (0, 1], for
    negative steps and for a precision that the machine has no rate for.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is a part of the peak, above 0 and at most 1; got {utilisation}. Try 0.4.")
    if steps < 0:
        raise ValueError(f"Expected steps of at least 0, got {steps}.")
    return steps * roofline_ms(step, _known(precision, machine), machine) / utilisation / 3_600_000


def utilisation(step: Cost, seconds: float | int, machine: Machine, *, precision: str = "bf16") -> float:
    """Which part of the roofline a measured step reached: its roofline's time divided by ``seconds``.

    1 would be perfect; above 1 the machine's rates were measured too low, on a busy machine for example. Raises ValueError
    for seconds that are not above 0 and for a precision that the machine has no rate for.
    """
    if not seconds > 0:
        raise ValueError(f"Expected the seconds of one step, above 0; got {seconds}.")
    return roofline_ms(step, _known(precision, machine), machine) / 1000 / seconds


def memory(trained: int, frozen: int = 0, *, trained_bytes: int = 4, frozen_bytes: int = 4) -> Memory:
    """Bytes of weights, gradients and AdamW's moments for so many trained and frozen weights.

    The bytes are those of one number: 4 for float32, 2 for bfloat16. torch's AdamW keeps its moments in the weights' type.
    With ``Schedule(bf16=True)`` the weights stay float32: bfloat16 are only copies, while they are multiplied. Raises
    ValueError for negative counts and for other bytes than 1, 2, 4 or 8.
    """
    if trained < 0 or frozen < 0 or {trained_bytes, frozen_bytes} - {1, 2, 4, 8}:
        raise ValueError(
            "Expected counts of at least 0, and 1, 2, 4 or 8 bytes for a number; got "
            f"{trained} and {frozen} weights of {trained_bytes} and {frozen_bytes} bytes."
        )
    learns = trained * trained_bytes
    return Memory(learns + frozen * frozen_bytes, learns, MOMENTS * learns)


def lora_weights(layers: Iterable[tuple[int, int]], rank: int) -> int:
    """Weights of LoRA's adapters (Hu et al. 2021): each (inputs, outputs) layer gets inputs x rank and rank x outputs.

    Raises ValueError for a rank that is below 1 or not below a layer's own: that would save nothing.
    """
    layers = list(layers)
    most = min((min(layer) for layer in layers), default=rank + 1)
    if not 1 <= rank < most:
        raise ValueError(f"Expected a rank from 1 to {most - 1}, below the smallest side of the layers; got {rank}.")
    return sum(rank * (inputs + outputs) for inputs, outputs in layers)


def lora_cost(layers: Iterable[tuple[int, int]], rank: int, rows: int, *, weight_bytes: int = 4) -> Cost:
    """What LoRA's adapters add to a forward pass over ``rows`` tokens. Bytes between them are left out: rank is small.

    Raises ValueError as ``lora_weights``, and for rows < 1.
    """
    if rows < 1:
        raise ValueError(f"Expected at least one row, got {rows}.")
    weights = lora_weights(layers, rank)
    return Cost(2 * rows * weights, weights * weight_bytes, 0)


def _known(precision: str, machine: Machine) -> str:
    if precision not in machine.flops:
        raise ValueError(f"precision is one of {', '.join(map(repr, machine.flops))} on {machine.name}; got {precision!r}.")
    return precision

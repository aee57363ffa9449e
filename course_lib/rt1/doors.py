"""The doors of RT1: what it accepts as pictures, instructions and batches, and what it says about the rest.

Every refusal is a ValueError that says expected, got, what to try.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from course_lib.interfaces import check_image
from course_lib.rt1.config import RT1Config

BATCH = ("images", "instruction", "actions", "valid")


def check_frames(images: Tensor, config: RT1Config) -> None:
    """Float (B, T, 3, H, W) in [0, 1], without NaN, of the camera's size or already of the network's."""
    sizes = {(config.image_height, config.image_width), (config.trunk.image_height, config.trunk.image_width)}
    either = " or ".join(f"{h} x {w}" for h, w in sorted(sizes))
    want = f"Expected images (B, T, 3, H, W), float from 0 to 1, T from 1 to {config.history}, H x W = {either}"
    got = f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
    if images.ndim != 5 or images.shape[2] != 3:
        channels_last = images.ndim == 5 and images.shape[-1] == 3
        raise ValueError(f"{want}; {got}. Try {'images.movedim(-1, 2)' if channels_last else 'adding the missing axes'}.")
    if not images.is_floating_point():
        raise ValueError(f"{want}; {got}. Try images.float() / 255.")
    if tuple(images.shape[-2:]) not in sizes:
        raise ValueError(f"{want}; {got}. Try resizing the pictures.")
    if not 1 <= images.shape[1] <= config.history:
        raise ValueError(f"{want}; {got}. Try images[:, -{config.history}:].")
    if torch.compiler.is_compiling():  # the numbers are not known while a graph is made
        return
    low, high = (float(x) for x in images.aminmax())
    if not (low >= 0 and high <= 1):  # also when they are NaN
        if math.isnan(low):
            raise ValueError(f"{want}; {got} with NaN. Try looking for a 0/0 where the pictures are made.")
        hint = "images / 255" if high > 1 else "images.clamp(0, 1)"
        raise ValueError(f"{want}; {got} with values from {low:.3g} to {high:.3g}. Try {hint}.")


def check_instructions(instruction: Tensor, batch: int, config: RT1Config) -> None:
    """One embedding per sequence, (B, Z)."""
    if tuple(instruction.shape) != (batch, config.instruction_dim):
        raise ValueError(
            f"Expected one instruction embedding per sequence, ({batch}, {config.instruction_dim}); got "
            f"{tuple(instruction.shape)}. Try InstructionEncoder()(sentences)."
        )


def check_pictures(image: np.ndarray | Tensor, config: RT1Config) -> UInt8[Tensor, "*batch H W 3"]:
    """uint8 (..., H, W, 3) of the camera's size, or already of the network's; the same numbers as a tensor."""
    trunk = config.trunk
    if tuple(image.shape[-3:]) == (trunk.image_height, trunk.image_width, 3):
        return check_image(image, trunk.image_height, trunk.image_width)
    return check_image(image, config.image_height, config.image_width)


def check_batch(batch: Mapping[str, Any], config: RT1Config, device: torch.device) -> tuple[Tensor, ...]:
    """The parts of a training batch as tensors on ``device``: images, instruction, actions, valid."""
    missing = [name for name in BATCH if name not in batch]
    if missing:
        raise ValueError(f"A batch for RT1 needs {', '.join(BATCH)}; missing: {', '.join(missing)}.")
    images, instruction, actions, valid = (torch.as_tensor(batch[name]).to(device, non_blocking=True) for name in BATCH)
    images = check_pictures(images, config)
    if images.ndim != 5 or not 1 <= images.shape[1] <= config.history:
        raise ValueError(
            f"Expected images (B, T, H, W, 3) with T from 1 to {config.history}, got {tuple(images.shape)}. "
            "Try windows as long as the policy's history."
        )
    B, T = images.shape[:2]
    check_instructions(instruction, B, config)
    if tuple(actions.shape) != (B, T, config.action_dims) or tuple(valid.shape) != (B, T) or valid.dtype != torch.bool:
        raise ValueError(
            f"Expected actions ({B}, {T}, {config.action_dims}) and bool valid ({B}, {T}) for these images; got "
            f"{tuple(actions.shape)} and {str(valid.dtype).removeprefix('torch.')} {tuple(valid.shape)}."
        )
    if not valid.any():
        raise ValueError("This batch has no valid step, so it has no loss. Check how `valid` is made.")
    return images, instruction, actions, valid


def is_text(instruction: Any) -> bool:
    """A sentence or a list of sentences, as opposed to embeddings."""
    if isinstance(instruction, list | tuple):
        return len(instruction) > 0 and all(isinstance(sentence, str) for sentence in instruction)
    return isinstance(instruction, str)


def check_words(words: Tensor, tables: int, config: RT1Config) -> Tensor:
    """Embeddings (N, Z) for N tables, or one (Z,) for all; finite."""
    words = words.expand(tables, -1) if words.ndim == 1 else words
    if tuple(words.shape) != (tables, config.instruction_dim) or not torch.isfinite(words).all():
        raise ValueError(
            f"Expected an instruction: a sentence, or {config.instruction_dim} finite numbers (its embedding), "
            f"for {tables} table(s); got shape {tuple(words.shape)}. Try InstructionEncoder()([sentence])[0]."
        )
    return words


def check_finite(outputs: Tensor) -> Tensor:
    """The same outputs, unless they are NaN or infinite: an arg-max over those would be a wild action."""
    if not torch.isfinite(outputs).all():
        raise ValueError("The policy's output is NaN or infinite: its weights are damaged. Load them again.")
    return outputs

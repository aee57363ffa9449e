"""Pictures at the door of RT-2: uint8 of the model's size, or through the real model's own processor."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.interfaces import check_image


class Pictures:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) from 0 to 1, or ValueError that says expected, got, try.

    Without a processor only the model's own ``size`` is accepted, and nothing is resized behind anybody's back. With
    transformers' SiglipImageProcessor pictures of any size are resized as the real model's training did.
    """

    def __init__(self, size: int, processor: Any = None):
        self.size, self.processor = size, processor

    def __call__(self, images: np.ndarray | Tensor) -> Float[Tensor, "B 3 H W"]:
        any_size = self.processor is not None and images.ndim >= 3
        pictures = check_image(images, *(images.shape[-3:-1] if any_size else (self.size, self.size)))
        if pictures.ndim != 4 or not len(pictures):
            raise ValueError(f"Expected at least one picture, (B, H, W, 3); got {tuple(pictures.shape)}. Try images[None].")
        if self.processor is None:
            return (pictures.float() * (1 / 255)).movedim(-1, 1)
        values = self.processor(images=list(pictures.cpu().numpy()), return_tensors="pt")["pixel_values"]
        return (torch.as_tensor(values) + 1) / 2  # the processor's run from -1 to 1

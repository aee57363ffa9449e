"""What RT-1 does to pictures before the network: numbers in [0, 1], resize, normalise; in training a random crop.

``preprocessors.py`` and ``film_efficientnet/`` of google-research/robotics_transformer.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def to_unit_range(images: UInt8[Tensor, "*batch H W 3"]) -> Float[Tensor, "*batch 3 H W"]:
    """uint8 pictures as float32 in [0, 1], colours first (in memory they stay last: convolutions like that)."""
    return (images.float() * (1 / 255)).movedim(-1, -3)


def resize(images: Float[Tensor, "B 3 h w"], size: tuple[int, int]) -> Float[Tensor, "B 3 H W"]:
    """Bilinear, half-pixel centres, no antialiasing, aspect ratio not kept: 256 x 320 becomes 300 x 300."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def pad_then_crop(
    images: Float[Tensor, "*batch 3 H W"], generator: torch.Generator | None = None, offset: tuple[int, int] | None = None
) -> Float[Tensor, "*batch 3 H W"]:
    """RT-1's only augmentation, in training: zeros around 256 x 320 pictures, then a cut of the old size somewhere.

    20 rows above and below, 50 columns left and right (twice that for height 512; in proportion, rounded, for other
    sizes, where RT-1 raises an error). One offset for the whole call, so that the frames of a window stay together:
    random, or the given ``(y, x)``.
    """
    height, width = images.shape[-2:]
    rows, columns = round(height * 20 / 256), round(width * 50 / 320)
    if offset is None:
        y, x = (int(torch.randint(2 * n + 1, (), generator=generator)) for n in (rows, columns))
    else:
        y, x = offset
    if not (0 <= y <= 2 * rows and 0 <= x <= 2 * columns):
        raise ValueError(f"offset is (0 ... {2 * rows}, 0 ... {2 * columns}) for {height} x {width} pictures, got {(y, x)}.")
    return F.pad(images, (columns, columns, rows, rows))[..., y : y + height, x : x + width]


class ImageNorm(nn.Module):
    """(x - mean) / sqrt(variance) / sqrt(0.229, 0.224, 0.225), per colour: Keras' two normalising layers.

    Keras' ImageNet file keeps *standard deviations* under the name "variance"; the second factor repairs this, so
    that the sum of both is the usual (x - mean) / std. ``mean`` and ``variance`` start with those ImageNet values and
    come from the checkpoint when one is loaded; ``count`` is Keras' and unused.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("variance", torch.tensor(IMAGENET_STD))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("repair", 1 / torch.tensor(IMAGENET_STD).sqrt(), persistent=False)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        scale = self.repair / self.variance.sqrt().clamp_min(1e-7)  # (3,)
        return (x - self.mean[:, None, None]) * scale[:, None, None]

"""An RT-1 of a few thousand weights, and something for it to look at."""

import numpy as np
import torch
from torch import nn

from course_lib.rt1 import RT1, FiLM, RT1Config
from course_lib.rt1.config import EfficientNetConfig, Stage

TRUNK = EfficientNetConfig.tiny(
    image_height=32, image_width=32, stages=(Stage(1, 3, 2, 2, 16),), top_channels=24, out_channels=24
)


def config(**changes):
    """32 x 32 pixels, 3 frames, 4 tokens of 24 numbers."""
    sizes = {
        "trunk": TRUNK,
        "image_height": 32,
        "image_width": 32,
        "instruction_dim": 12,
        "width": 24,
        "heads": 2,
        "key_dim": 8,
    }
    return RT1Config.tiny(**sizes | {"history": 3, "image_tokens": 4} | changes)


def small_policy():
    """With FiLM layers that have learned to listen."""
    torch.manual_seed(0)
    net = RT1(config())
    for layer in net.modules():
        if isinstance(layer, FiLM):
            nn.init.normal_(layer.to_scale.weight, std=0.3)
    return net.eval()


def observations(n=8, seed=0):
    """n frames of one episode: noise, and one instruction."""
    rng = np.random.default_rng(seed)
    words = rng.normal(size=12).astype(np.float32)
    return [{"image": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "instruction": words} for _ in range(n)]

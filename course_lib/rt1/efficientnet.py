"""FilmEfficientNet: EfficientNet with a FiLM layer after every block, 300 x 300 pixels to a 9 x 9 map.

RT-1 section 5.1; ``film_efficientnet/`` of google-research/robotics_transformer. Every convolution with a stride pads
``kernel - stride`` zeros, the smaller half before (top, left): TensorFlow's padding for pictures of unknown size, which
gives 300 -> 150 -> 75 -> 37 -> 18 -> 9. torch's symmetric padding, and torchvision's B3, would give 10 x 10.
Lesson: day92_rt1/2_implementation.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.rt1.config import EfficientNetConfig, RT1Config
from course_lib.rt1.film import FiLM
from course_lib.rt1.preprocess import ImageNorm, resize


class FilmEfficientNet(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] and instructions (B, Z) -> feature map (B, 512, 9, 9).

    Resize -> normalise -> stem -> MBConv blocks, each followed by FiLM -> 1 x 1 convolution to 1536 -> 1 x 1
    convolution to 512 -> a last FiLM. The paper counts 26 FiLM layers; its code has this 27th.
    ``film`` is the class of the layer that listens to the instruction: FiLM, NoFiLM or your own, built as
    ``film(channels, instruction_dim)``. With ``trace``: ``encoder/stem``, ``encoder/block1a`` ... ``encoder/map``.
    """

    def __init__(self, config: RT1Config, film: type[nn.Module] = FiLM):
        super().__init__()
        trunk = config.trunk
        self.size = (trunk.image_height, trunk.image_width)
        self.normalise = ImageNorm()
        self.stem = Conv(3, trunk.stem_channels, trunk.stem_kernel, trunk.stem_stride)
        self.stem_norm = batch_norm(trunk.stem_channels, trunk)
        self.blocks = nn.ModuleDict(self._blocks(config, film))
        channels = trunk.stages[-1].channels
        self.top = Conv(channels, trunk.top_channels, 1)
        self.top_norm = batch_norm(trunk.top_channels, trunk)
        self.to_map = Conv(trunk.top_channels, trunk.out_channels, 1)
        truncated_normal_(self.to_map.weight, 1.0 / trunk.top_channels)  # Keras' variance scaling: 1 / fan_in
        self.film = film(trunk.out_channels, config.instruction_dim)
        self.positions = MapPositions(trunk.out_channels, *trunk.map_size) if trunk.map_positions else nn.Identity()

    @staticmethod
    def _blocks(config: RT1Config, film: type[nn.Module]) -> dict[str, nn.Module]:
        """The blocks by their names in the paper's table: 1a, 1b, 2a ..."""
        trunk, blocks, channels = config.trunk, {}, config.trunk.stem_channels
        total = sum(stage.repeats for stage in trunk.stages)
        for s, stage in enumerate(trunk.stages):
            for r in range(stage.repeats):
                stride = stage.stride if r == 0 else 1
                drop = trunk.drop_connect * len(blocks) / total
                name = f"{s + 1}{chr(ord('a') + r)}"
                layer = film(stage.channels, config.instruction_dim)
                shape = (channels, stage.channels, stage.kernel, stride, stage.expansion)
                blocks[name] = MBConv(*shape, trunk=trunk, drop=drop, film=layer)
                channels = stage.channels
        return blocks

    def forward(
        self, images: Float[Tensor, "B 3 h w"], instruction: Float[Tensor, "B Z"], trace: dict | None = None
    ) -> Float[Tensor, "B C H W"]:
        x = self.prepare(images)
        x = F.silu(self.stem_norm(self.stem(x)))
        _keep(trace, "encoder/stem", x)
        for name, block in self.blocks.items():
            x = block(x, instruction)
            _keep(trace, f"encoder/block{name}", x)
        x = F.silu(self.top_norm(self.top(x)))
        _keep(trace, "encoder/top", x)
        x = self.positions(self.film(self.to_map(x), instruction))
        _keep(trace, "encoder/map", x)
        return x

    def prepare(self, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 H W"]:
        """Resize to the network's picture and normalise.

        RT-1 multiplies by 255 and by 1/255 in between; that rounding is left out (it is below float32's resolution).
        """
        x = self.normalise(resize(images, self.size)).to(self.stem.weight.dtype)
        return x.contiguous(memory_format=torch.channels_last)  # faster on CPUs


class MBConv(nn.Module):
    """Expand -> depthwise -> squeeze-excite -> project -> add the input -> FiLM: (B, C, H, W) -> (B, C', H', W').

    The input is added only where stride is 1 and the widths agree; FiLM comes after that sum.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, *,
        trunk: EfficientNetConfig, drop: float, film: nn.Module,
    ):  # fmt: skip
        super().__init__()
        inner = inputs * expansion
        self.expand = Conv(inputs, inner, 1) if expansion > 1 else None
        self.expand_norm = batch_norm(inner, trunk) if expansion > 1 else None
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner)
        self.depthwise_norm = batch_norm(inner, trunk)
        self.squeeze_excite = SqueezeExcite(inner, max(1, int(inputs * trunk.se_ratio)))  # of the block's input width
        self.project = Conv(inner, outputs, 1)
        self.project_norm = batch_norm(outputs, trunk)
        self.film = film
        self.drop, self.residual = drop, stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "B C h w"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B D H W"]:
        y = F.silu(self.expand_norm(self.expand(x))) if self.expand is not None else x
        y = F.silu(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(self.squeeze_excite(y)))  # no activation
        if self.residual:
            y = x + drop_connect(y, self.drop if self.training else 0.0)
        return self.film(y, z)


class SqueezeExcite(nn.Module):
    """Each channel is scaled by a number between 0 and 1, read from the means of all channels."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)
        for layer in (self.reduce, self.expand):
            truncated_normal_(layer.weight, 2.0 / layer.out_features)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        gate = self.expand(F.silu(self.reduce(x.mean((2, 3))))).sigmoid()  # (B, C)
        return x * gate[:, :, None, None]


class MapPositions(nn.Module):
    """Adds a learned table (C, H, W) to the map, so that TokenLearner can tell places apart. Not in RT-1.

    EfficientNet-B3 is deep: the zeros around the picture tell its 9 x 9 cells where they are. The tiny trunk is too
    shallow for that, and a weighted mean of cells without places says *what* was seen but not *where*. The table
    starts as sines and cosines of row and column (amplitude 0.5), so that near cells look alike from the first step.
    """

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        waves = -(-channels // 4)  # four numbers per frequency: sin, cos of row, sin, cos of column
        frequency = math.pi * 2.0 ** torch.linspace(-1, 2, waves)  # half a wave across the map ... four waves
        row = (torch.arange(height) + 0.5)[:, None].expand(height, width) / height
        column = (torch.arange(width) + 0.5)[None, :].expand(height, width) / width
        angles = torch.stack((row, column))[:, None] * frequency[:, None, None]  # (2, waves, H, W)
        table = torch.cat((angles.sin(), angles.cos())).flatten(0, 1)[:channels]
        self.table = nn.Parameter(0.5 * table)  # (C, H, W)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.table


class Conv(nn.Conv2d):
    """A convolution without bias and with TensorFlow's padding: ``kernel - stride`` zeros, the smaller half before."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        before, after = padding(kernel, stride)
        super().__init__(inputs, outputs, kernel, stride, before if before == after else 0, groups=groups, bias=False)
        self.before_after = (before, after, before, after) if before != after else None
        fan_out = kernel * kernel * (1 if groups > 1 else outputs)  # Keras: a depthwise kernel has one output
        truncated_normal_(self.weight, 2.0 / fan_out)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D H W"]:
        if self.groups > 1 and self.stride != (1, 1) and slow_backwards(x):
            return self.forward_by_slices(x)
        return super().forward(x if self.before_after is None else F.pad(x, self.before_after))

    def forward_by_slices(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D H W"]:
        """The same numbers from the convolution without stride, of which every ``stride``-th row and column is kept."""
        k, s = self.kernel_size[0], self.stride[0]
        first = k // 2 - padding(k, s)[0]
        y = F.conv2d(x, self.weight, padding=k // 2, groups=self.groups)
        return y[..., first::s, first::s][..., : x.shape[-2] // s, : x.shape[-1] // s]


def padding(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after): (1, 1) for kernel 3, stride 1; (0, 1) for 3, 2; (1, 2) for 5, 2. n becomes n // stride."""
    total = kernel - stride
    return total // 2, total - total // 2


def slow_backwards(x: Tensor) -> bool:
    """Training in bfloat16 on a CPU, where torch 2.14 has slow gradients for some operations (156 ms against 28 ms)."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and torch.is_grad_enabled()


def batch_norm(channels: int, trunk: EfficientNetConfig) -> nn.BatchNorm2d:
    """BatchNorm with Keras' epsilon for EfficientNet, 1e-3 (torch's 1e-5 changes the output visibly)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=trunk.norm_momentum)


def drop_connect(x: Float[Tensor, "B C H W"], rate: float) -> Float[Tensor, "B C H W"]:
    """Drops the whole branch of a sample with chance ``rate`` and scales the others up (training only)."""
    if rate == 0:
        return x
    keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= rate
    return x * keep.to(x.dtype) / (1 - rate)


@torch.no_grad()
def truncated_normal_(weight: Tensor, variance: float) -> None:
    """Keras' variance scaling: a normal cut at two deviations, made wider so that its variance is as asked."""
    std = math.sqrt(variance) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _keep(trace: dict | None, name: str, value: Tensor) -> None:
    if trace is not None:
        trace[name] = value

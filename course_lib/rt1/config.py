"""RT1Config: every number of RT-1 in one place, with the presets paper() and tiny()."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.configs import build, changed, check_positive, check_types


@dataclass(frozen=True)
class Stage:
    """A row of EfficientNet's table: ``repeats`` MBConv blocks of the same kind."""

    repeats: int  # number of blocks
    kernel: int  # side of the depthwise kernel
    stride: int  # of the first block; the others have stride 1
    expansion: int  # the block is this many times wider inside; 1: no expanding convolution
    channels: int  # width of the output

    def __post_init__(self):
        check_types(type(self), vars(self))
        check_positive(self, ("repeats", "kernel", "stride", "expansion", "channels"))
        _check_kernel("stage", self.kernel, self.stride)


@dataclass(frozen=True)
class EfficientNetConfig:
    """The picture's way from pixels to the feature map."""

    image_height: int  # rows of the picture the network sees; other sizes are resized to it
    image_width: int  # columns of it
    stem_channels: int  # width after the first convolution
    stem_kernel: int  # side of its kernel
    stem_stride: int  # its stride
    stages: tuple[Stage, ...]  # the MBConv blocks
    top_channels: int  # width of the last 1 x 1 convolution of EfficientNet
    out_channels: int  # width of the feature map, and of an image token
    se_ratio: float = 0.25  # squeeze-excite: hidden width as a part of the block's input width
    drop_connect: float = 0.2  # chance to skip the last block in training; grows linearly from 0 at the first
    norm_momentum: float = 0.01  # part of a new batch in BatchNorm's running statistics (Keras' 0.99 is torch's 0.01)
    map_positions: bool = False  # add a learned table of places to the feature map (not in RT-1; see MapPositions)

    def __post_init__(self):
        check_types(type(self), vars(self))
        if not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise ValueError(f"stages is a non-empty tuple of Stage(...), got {self.stages!r}.")
        sizes = (
            "image_height",
            "image_width",
            "stem_channels",
            "stem_kernel",
            "stem_stride",
            "top_channels",
            "out_channels",
        )
        check_positive(self, sizes)
        _check_kernel("stem", self.stem_kernel, self.stem_stride)
        if not 0 <= self.drop_connect < 1 or not 0 < self.se_ratio <= 1 or not 0 < self.norm_momentum <= 1:
            raise ValueError(
                "Expected 0 <= drop_connect < 1, 0 < se_ratio <= 1 and 0 < norm_momentum <= 1; got "
                f"{self.drop_connect}, {self.se_ratio} and {self.norm_momentum}."
            )
        if 0 in self.map_size:
            raise ValueError(
                f"A picture of {self.image_height} x {self.image_width} is too small for strides of {self.total_stride}."
            )

    @property
    def total_stride(self) -> int:
        """Pixels per cell of the feature map, along one side."""
        total = self.stem_stride
        for stage in self.stages:
            total *= stage.stride
        return total

    @property
    def map_size(self) -> tuple[int, int]:
        """(H, W) of the feature map: each stride divides and rounds down (9 x 9 for 300 x 300)."""
        return self.image_height // self.total_stride, self.image_width // self.total_stride

    @classmethod
    def b3(cls, **changes: Any) -> "EfficientNetConfig":
        """EfficientNet-B3 at 300 x 300 with a 1 x 1 convolution to 512, as in RT-1."""
        table = [(2, 3, 1, 1, 24), (3, 3, 2, 6, 32), (3, 5, 2, 6, 48), (5, 3, 2, 6, 96), (5, 5, 1, 6, 136)]
        stages = tuple(Stage(*row) for row in [*table, (6, 5, 2, 6, 232), (2, 3, 1, 6, 384)])
        return changed(cls(300, 300, 40, 3, 2, stages, 1536, 512), changes, _nested)

    @classmethod
    def tiny(cls, **changes: Any) -> "EfficientNetConfig":
        """A few blocks for 64 x 64 pictures, to an 8 x 8 map. The stem's kernel is wider than its stride: no gaps."""
        stages = (Stage(1, 3, 1, 1, 32), Stage(2, 3, 2, 2, 48), Stage(2, 3, 1, 3, 64))
        tiny = cls(64, 64, 32, 6, 4, stages, 96, 96, drop_connect=0.0, norm_momentum=0.05, map_positions=True)
        return changed(tiny, changes, _nested)


@dataclass(frozen=True)
class RT1Config:
    """Every number of RT-1. ``RT1Config.paper()`` is the published model, ``.tiny()`` the same code, small.

    Nothing in the code branches on the preset. Raises ValueError for unknown names and impossible values.
    """

    trunk: EfficientNetConfig  # picture -> feature map
    action_space: ActionSpace | str = "workbook"  # "official", "workbook" or an ActionSpace
    bins: int = 256  # V: levels of an action token
    rounding: str = "nearest"  # how an action becomes a token; "floor" is RT-1's release
    image_height: int = 64  # rows of the camera's picture (RT-1: 256, resized to the trunk's 300)
    image_width: int = 64  # columns of it (RT-1: 320)
    history: int = 6  # T: frames the policy remembers, the current one included
    image_tokens: int = 8  # K: tokens that TokenLearner makes of a frame
    token_learner_hidden: int = 64  # width of TokenLearner's small network
    instruction_dim: int = 384  # Z: 512 for the Universal Sentence Encoder, 384 for MiniLM
    width: int = 96  # D: width of the decoder
    layers: int = 2  # decoder layers
    heads: int = 4  # attention heads
    key_dim: int = 32  # width of a head; heads * key_dim need not be the decoder's width
    dropout: float = 0.0  # on attention probabilities and feed-forward outputs, in training
    images_see_actions: bool = True  # image positions look at past action positions (False: the JAX port)
    action_embedding: bool = False  # RT-1's embedding of action tokens, which its code multiplies by zero (dead weights)

    def __post_init__(self):
        check_types(type(self), vars(self))
        object.__setattr__(self, "action_space", ActionSpace.from_plain(self.action_space))
        sizes = ("bins", "image_height", "image_width", "history", "image_tokens", "token_learner_hidden")
        check_positive(self, (*sizes, "instruction_dim", "width", "layers", "heads", "key_dim"))
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a part from 0 to below 1, got {self.dropout}.")
        self.tokenizer()  # checks bins and rounding

    @property
    def action_dims(self) -> int:
        """A: numbers of an action."""
        return len(self.action_space)

    @property
    def positions(self) -> int:
        """S: positions of the decoder's sequence, 6 * (8 + 11) = 114 in the paper."""
        return self.history * (self.image_tokens + self.action_dims)

    def tokenizer(self) -> ActionTokenizer:
        """The action tokenizer of this configuration."""
        return ActionTokenizer(self.action_space, self.bins, self.rounding)

    @classmethod
    def paper(cls, **changes: Any) -> "RT1Config":
        """RT-1 as published: EfficientNet-B3, 8 layers of 8 heads x 128, 114 positions, 35,252,128 parameters."""
        sizes = {"width": 512, "layers": 8, "heads": 8, "key_dim": 128, "dropout": 0.1, "instruction_dim": 512}
        door = {"image_height": 256, "image_width": 320, "action_space": "official", "rounding": "floor"}
        return changed(cls(EfficientNetConfig.b3(), action_embedding=True, **sizes, **door), changes, _nested)

    @classmethod
    def multirobot(cls, **changes: Any) -> "RT1Config":
        """Google's released ``rt1multirobot``: the same eyes, a decoder of 10 layers, 1024 wide, 8 heads x 256."""
        return cls.paper(**{"width": 1024, "layers": 10, "key_dim": 256} | changes)

    @classmethod
    def tiny(cls, **changes: Any) -> "RT1Config":
        """The same code with small numbers: 544,416 parameters, for our 64 x 64 tabletop."""
        return changed(cls(EfficientNetConfig.tiny()), changes, _nested)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists: what a checkpoint keeps as JSON. ``from_dict`` is the way back."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain["trunk"] = dataclasses.asdict(self.trunk)
        plain["trunk"]["stages"] = list(plain["trunk"]["stages"])
        plain["action_space"] = self.action_space.to_plain()
        return plain

    @classmethod
    def from_dict(cls, plain: Any) -> "RT1Config":
        """The configuration that ``to_dict`` wrote. Raises ValueError for unknown, missing or ill-typed entries."""
        return build(cls, plain, _nested)

    def fake_batch(self, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
        """A legal training batch of noise, to try things out: images, instruction, actions, valid (see RT1.loss)."""
        rng = torch.Generator().manual_seed(seed)
        size = (batch, self.history, self.image_height, self.image_width, 3)
        tokens = torch.randint(self.bins, (batch, self.history, self.action_dims), generator=rng)
        return {
            "images": torch.randint(256, size, generator=rng, dtype=torch.uint8),
            "instruction": torch.nn.functional.normalize(torch.randn(batch, self.instruction_dim, generator=rng), dim=-1),
            "actions": self.tokenizer().decode(tokens),
            "valid": torch.ones(batch, self.history, dtype=torch.bool),
        }


def _nested(name: str, value: Any) -> Any:
    """The dataclasses inside, from mappings and lists."""
    if name == "trunk" and not isinstance(value, EfficientNetConfig):
        return build(EfficientNetConfig, value, _nested)
    if name == "stages" and isinstance(value, list | tuple):
        return tuple(stage if isinstance(stage, Stage) else build(Stage, stage) for stage in value)
    if name == "action_space" and isinstance(value, list):
        return ActionSpace.from_plain(value)
    return value


def _check_kernel(where: str, kernel: int, stride: int) -> None:
    if kernel < stride:
        raise ValueError(
            f"The kernel ({kernel}) of a {where} must not be smaller than its stride ({stride}): it would skip pixels."
        )

"""faster(): the same RT-1 with fewer operations per control step: folded, fused, and in bfloat16 where that pays.

The plain network is the lesson and stays as it is; this is its twin for driving a robot. What is done, and why:

- BatchNorm is a scale and a shift once training is over, so it is folded into the convolution before it.
- Convolution, bias and SiLU run as one oneDNN call on packed weights (CPU): the feature map is written once, not
  three times. This is what ``torch.compile`` would find, without its minute of compiling.
- The squeeze's mean is a matrix product with a row of 1 / (H W): torch's mean over places is slow on channels-last maps.
- FiLM's scales and shifts depend only on the sentence: they are computed when the sentence changes.
- Weights of the encoder's convolutions and of the decoder's layers are kept in bfloat16 (precision="bf16"): half the
  bytes, and CPUs with AVX512-BF16 or AMX do two products in place of one. FiLM, TokenLearner, embeddings stay float32.

Nothing can be cached in the decoder: positions are absolute, so every position changes when the window slides.
How much each step gains: ``python -m course_lib.classroom.recipes rt1_speed``, data/rt1_speed_cpu.csv.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.rt1.decoder import Decoder
from course_lib.rt1.efficientnet import Conv, FilmEfficientNet, MBConv
from course_lib.rt1.film import FiLM
from course_lib.rt1.policy import RT1

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def faster(policy: RT1, precision: str | None = None) -> RT1:
    """A copy of ``policy`` with the same ``act`` and ``reset``, for inference only; the original is untouched.

    ``precision``: "fp32" gives the same numbers up to rounding (1e-5 of the largest logit), "bf16" logits within a few
    percent of the largest (4% for the untrained network of the comparison with Google's code, 86 of 88 tokens the same);
    None takes bf16 where the machine computes with it, else fp32. The copy has no gradients, always uses BatchNorm's
    running statistics, starts a new episode, and cannot be saved as a checkpoint. Raises ValueError for another precision.
    """
    precision = precision or best_precision(policy.device)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {' or '.join(map(repr, PRECISIONS))}, got {precision!r}.")
    fast = copy.deepcopy(policy, {id(policy._ears): policy._ears})  # the sentence encoder is shared, not copied
    with torch.no_grad():
        fast.encoder = FastEncoder(fast.encoder, PRECISIONS[precision])
        if precision == "bf16":
            fast.decoder = HalfDecoder(fast.decoder)
    fast.reset()
    return fast.eval().requires_grad_(False)


def best_precision(device: torch.device) -> str:
    """ "bf16" where there are instructions for it (CUDA from Ampere on, AVX512-BF16, AMX), else "fp32"."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


class FastEncoder(nn.Module):
    """FilmEfficientNet (in evaluation mode), rebuilt from fused parts: same arguments, same trace, float32 map.

    ``fused=False`` leaves out oneDNN's fused call, which other devices do not have: the folded network in plain torch.
    """

    def __init__(self, plain: FilmEfficientNet, dtype: torch.dtype = torch.float32, *, fused: bool = True):
        super().__init__()
        self.size, self.normalise, self.positions = plain.size, plain.normalise, plain.positions
        kind = {"dtype": dtype, "fused": fused}
        place = plain.size
        self.stem = FoldedConv(plain.stem, plain.stem_norm, place, silu=True, **kind)
        place = self.stem.place
        blocks = {}
        for name, block in plain.blocks.items():
            blocks[name] = FastMBConv(block, place, **kind)
            place = blocks[name].depthwise.place
        self.blocks = nn.ModuleDict(blocks)
        self.top = FoldedConv(plain.top, plain.top_norm, place, silu=True, **kind)
        self.to_map = FoldedConv(plain.to_map, None, place, silu=False, **kind)
        self.film = once_per_sentence(plain.film)

    prepare = FilmEfficientNet.prepare

    def forward(
        self, images: Float[Tensor, "B 3 h w"], instruction: Float[Tensor, "B Z"], trace: dict | None = None
    ) -> Float[Tensor, "B C H W"]:
        x = self.stem(self.prepare(images))
        seen = {"encoder/stem": x}
        for name, block in self.blocks.items():
            x = seen[f"encoder/block{name}"] = block(x, instruction)
            if trace is None:
                seen.clear()  # the maps of earlier blocks are not needed any more
        x = seen["encoder/top"] = self.top(x)
        x = seen["encoder/map"] = self.positions(self.film(self.to_map(x).float(), instruction))
        if trace is not None:
            trace.update((name, value.float()) for name, value in seen.items())
        return x


class FastMBConv(nn.Module):
    """MBConv with folded convolutions: (B, C, H, W) -> (B, C', H', W')."""

    def __init__(self, block: MBConv, place: tuple[int, int], dtype: torch.dtype, fused: bool):
        super().__init__()
        kind = {"dtype": dtype, "fused": fused}
        expand = block.expand is not None
        self.expand = FoldedConv(block.expand, block.expand_norm, place, silu=True, **kind) if expand else nn.Identity()
        self.depthwise = FoldedConv(block.depthwise, block.depthwise_norm, place, silu=True, **kind)
        self.squeeze_excite = copy.deepcopy(block.squeeze_excite).to(dtype)
        self.project = FoldedConv(block.project, block.project_norm, self.depthwise.place, silu=False, **kind)
        self.film, self.residual = once_per_sentence(block.film), block.residual

    def forward(self, x: Float[Tensor, "B C h w"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B D H W"]:
        y = self.depthwise(self.expand(x))
        se = self.squeeze_excite
        gate = se.expand(F.silu(se.reduce(mean_over_places(y)), inplace=True)).sigmoid_()  # (B, C)
        y = self.project(y.mul_(gate[:, :, None, None]))
        return self.film(y.add_(x) if self.residual else y, z)


class FoldedConv(nn.Module):
    """A convolution with the following BatchNorm inside its weights, and (``silu``) the activation after it.

    ``place`` is the size (H, W) of its input, for which the weights are packed; afterwards that of its output.
    """

    def __init__(
        self, conv: Conv, norm: nn.BatchNorm2d | None, place: tuple[int, int], *, silu: bool, dtype: torch.dtype, fused: bool
    ):
        super().__init__()
        weight, bias = fold(conv, norm)
        self.register_buffer("weight", weight.to(dtype).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(dtype))
        self.stride, self.groups, self.silu = conv.stride, conv.groups, silu
        self.before_after, self.padding = conv.before_after, conv.padding
        self.place = tuple(n // s for n, s in zip(place, conv.stride, strict=True))
        fused = fused and weight.device.type == "cpu" and has_fused_convolution(dtype)
        self.packed = self._pack(place) if fused else None

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D H W"]:
        x = x.to(self.weight.dtype)
        if self.before_after is not None:
            x = F.pad(x, self.before_after)
        if self.packed is not None and x.device.type == "cpu":
            after = "swish" if self.silu else "none"
            shape = (self.padding, self.stride, (1, 1), self.groups)
            return torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *shape, after, [], "")
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return F.silu(y, inplace=True) if self.silu else y

    def _pack(self, place: tuple[int, int]) -> Tensor:
        """The weights in the order that oneDNN likes best for pictures of this size; any size is still computed."""
        more = sum(self.before_after[:2]) if self.before_after is not None else 0
        shape = [1, self.weight.shape[1] * self.groups, place[0] + more, place[1] + more]
        return torch.ops.mkldnn._reorder_convolution_weight(
            self.weight, self.padding, self.stride, (1, 1), self.groups, shape
        )


class OncePerSentence(nn.Module):
    """A FiLM layer that remembers its scales and shifts until it hears another instruction."""

    def __init__(self, film: FiLM):
        super().__init__()
        self.to_scale, self.to_shift = film.to_scale, film.to_shift
        self._heard: Tensor | None = None

    def forward(self, x: Float[Tensor, "B C H W"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        if z.device.type != "cpu":  # comparing two tensors would make the processor wait for the GPU
            return torch.addcmul(*(part.to(x.dtype) for part in self._read(z)), x)
        if self._heard is None or not torch.equal(self._heard, z):
            self._heard, self._read_last = z.clone(), self._read(z)
        shift, scale = self._read_last
        return torch.addcmul(shift.to(x.dtype), scale.to(x.dtype), x)

    def _read(self, z: Float[Tensor, "B Z"]) -> tuple[Tensor, Tensor]:
        return self.to_shift(z)[:, :, None, None], (1 + self.to_scale(z))[:, :, None, None]  # (B, C, 1, 1)


class HalfDecoder(Decoder):
    """A decoder whose layers compute in bfloat16; the sequence comes in, and logits go out, in float32."""

    def __init__(self, plain: Decoder):
        nn.Module.__init__(self)
        vars(self).update(vars(copy.deepcopy(plain)))  # the parts of a copy, not new ones
        self.layers.to(torch.bfloat16)
        self.output.to(torch.bfloat16)

    def run(
        self, h: Float[Tensor, "B S D"], mask: Tensor | None, rows: Tensor | None = None, trace: dict | None = None
    ) -> Float[Tensor, "B R V"]:
        return super().run(h.to(torch.bfloat16), mask, rows, trace).float()


def fold(conv: Conv, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals ``norm(conv(x))`` in evaluation mode."""
    if norm is None:
        return conv.weight.detach(), torch.zeros_like(conv.weight[:, 0, 0, 0])
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (conv.weight * scale[:, None, None, None]).detach(), (norm.bias - norm.running_mean * scale).detach()


def once_per_sentence(film: nn.Module) -> nn.Module:
    """FiLM with a memory; a learner's own layer as it is."""
    return OncePerSentence(film) if type(film) is FiLM else film


def mean_over_places(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C"]:
    """The mean of each channel, as a matrix product."""
    B, C, H, W = x.shape
    return (x.new_full((B, 1, H * W), 1 / (H * W)) @ x.permute(0, 2, 3, 1).reshape(B, H * W, C))[:, 0]


def has_fused_convolution(dtype: torch.dtype) -> bool:
    """oneDNN's convolution with an activation: an inner part of torch (torch.compile uses it), so not taken for granted."""
    ops = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(ops, "_convolution_pointwise"):
        return False
    known = hasattr(ops, "_reorder_convolution_weight") and hasattr(ops, "_is_mkldnn_bf16_supported")
    return known and (dtype == torch.float32 or bool(ops._is_mkldnn_bf16_supported()))

"""PaliGemmaConfig and RT2Config: every number of the vision-language model, and all that makes it a robot's policy.

PaliGemma (Beyer et al. 2024, arXiv 2407.07726) is SigLIP-So400m + Gemma 2B; PaliGemma 2 (Steiner et al. 2024,
arXiv 2412.03555) the same eyes with Gemma 2. RT-2 itself was built on PaLI-X and PaLM-E, whose weights are not public.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.actions import ActionSpace, ActionVocabulary
from course_lib.configs import build, changed, check_positive, check_types

PROMPT = "q: what action should the robot take to {instruction}? a:"  # RT-2, section 3.2
PLAN_PROMPT = "instruction: {instruction} plan:"  # RT-2, section 4.4: the answer is the plan, "action:", and the action
MARKER = "action:"


@dataclass(frozen=True)
class SigLIPConfig:
    """The eyes: a Vision Transformer over square patches."""

    image_size: int  # H and W of the picture
    patch_size: int  # H and W of a patch; one patch is one image token
    width: int  # width of a token inside the ViT
    layers: int
    heads: int
    hidden: int  # width inside the feed-forward network
    eps: float = 1e-6  # of the LayerNorms
    stem: tuple[int, ...] = ()  # widths of 3 x 3 convolutions of stride 2 before the patches; SigLIP has none

    def __post_init__(self):
        check_types(type(self), vars(self))
        check_positive(self, ("image_size", "patch_size", "width", "layers", "heads", "hidden"))
        if self.image_size % self.patch_size or self.width % self.heads:
            raise ValueError(
                f"image_size must be a multiple of patch_size and width of heads; got {self.image_size} / "
                f"{self.patch_size} and {self.width} / {self.heads}."
            )
        if self.patch_size % 2 ** len(self.stem) or min(self.stem, default=1) < 1:
            raise ValueError(f"A stem of {self.stem} halves the picture each time, but a patch is {self.patch_size} pixels.")

    @property
    def image_tokens(self) -> int:
        """K: patches of a picture (256 for 224 x 224 with patches of 14)."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class GemmaConfig:
    """The decoder. The fields after ``eps`` are Gemma 2's; their defaults are Gemma's."""

    vocabulary: int  # rows of the embedding, which is also the output layer
    width: int  # D: width of a token
    layers: int
    heads: int  # attention heads
    groups: int  # heads of keys and values; 1 is multi-query attention
    head_dim: int
    hidden: int  # width inside the feed-forward network
    rope_base: float | int = 10_000.0  # the slowest rotary wave is about 2 pi times this many positions long
    eps: float = 1e-6  # of the RMSNorms
    query_scale: float | int = 0.0  # scores are divided by its square root; 0: by head_dim's
    post_norms: bool = False  # also norms after attention and after feed-forward
    attention_softcap: float | int = 0.0  # bends attention scores to below this; 0: does not
    final_softcap: float | int = 0.0  # bends logits
    window: int = 0  # layers 0, 2, 4 ... let an answer look back less than so many positions; 0: no limit

    def __post_init__(self):
        check_types(type(self), vars(self))
        check_positive(self, ("vocabulary", "width", "layers", "heads", "groups", "head_dim", "hidden"))
        if self.heads % self.groups or self.head_dim % 2:
            numbers = f"{self.heads} / {self.groups} and {self.head_dim}"
            raise ValueError(f"heads must be a multiple of groups and head_dim even; got {numbers}.")
        if min(self.query_scale, self.attention_softcap, self.final_softcap, self.window) < 0:
            raise ValueError("query_scale, attention_softcap, final_softcap and window are 0 (off) or more.")


@dataclass(frozen=True)
class PaliGemmaConfig:
    """Eyes and decoder. Nothing in the code branches on the preset."""

    vision: SigLIPConfig
    language: GemmaConfig
    image_sees_prompt: bool = True  # PaliGemma. False: image tokens see only the image, so that one pass over it serves
    # all questions about it (``PaliGemma.forward`` with several), and a robot's image can be read before its instruction

    def __post_init__(self):
        check_types(type(self), vars(self))

    @classmethod
    def pt_224(cls, vocabulary: int = 257_152, **changes: Any) -> "PaliGemmaConfig":
        """PaliGemma 3B at 224 px: 2,923,335,408 parameters. Hugging Face's files have 257,216 rows (64 are not used).

        257,152 is Gemma's 256,000, 1,024 location tokens and 128 segmentation tokens.
        """
        eyes = SigLIPConfig(224, 14, 1152, 27, 16, 4304)
        return changed(cls(eyes, GemmaConfig(vocabulary, 2048, 18, 8, 1, 256, 16_384)), changes, _nested)

    @classmethod
    def pt2_224(cls, vocabulary: int = 257_152, **changes: Any) -> "PaliGemmaConfig":
        """PaliGemma 2 3B at 224 px (Gemma 2 2B): 3,032,094,960 parameters."""
        second = {"query_scale": 256.0, "post_norms": True, "attention_softcap": 50.0, "final_softcap": 30.0, "window": 4096}
        decoder = GemmaConfig(vocabulary, 2304, 26, 8, 4, 256, 9216, **second)
        return changed(cls(SigLIPConfig(224, 14, 1152, 27, 16, 4304), decoder), changes, _nested)

    @classmethod
    def tiny(cls, vocabulary: int = 1024, **changes: Any) -> "PaliGemmaConfig":
        """The same code with small numbers, for our 64 x 64 tabletop: 64 image tokens.

        Two departures, both for training from nothing on a CPU: a stem, and images that do not see the prompt. Small also
        so that the decoder stays in a CPU's cache from token to token.
        """
        eyes = SigLIPConfig(64, 8, 128, 4, 4, 512, stem=(32, 64, 128))
        tiny = cls(eyes, GemmaConfig(vocabulary, 160, 4, 4, 1, 40, 384), image_sees_prompt=False)
        return changed(tiny, changes, _nested)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers: what a checkpoint keeps as JSON. ``from_dict`` is the way back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, plain: Any) -> "PaliGemmaConfig":
        """The configuration that ``to_dict`` wrote. Raises ValueError for unknown, missing or ill-typed entries."""
        return build(cls, plain, _nested)

    def fake_batch(self, batch: int = 2, questions: int = 2, length: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
        """A legal training batch of noise (see ``RT2.loss``): images, tokens, answer. Half of each text is answer."""
        rng = torch.Generator().manual_seed(seed)
        size = self.vision.image_size
        tokens = torch.randint(1, self.language.vocabulary, (batch, questions, length), generator=rng)
        return {
            "images": torch.randint(256, (batch, size, size, 3), generator=rng, dtype=torch.uint8),
            "tokens": tokens,
            "answer": (torch.arange(length) >= length // 2).expand(tokens.shape).clone(),
        }


@dataclass(frozen=True)
class RT2Config:
    """A whole RT-2 with its own tokenizer: what a checkpoint keeps in its header."""

    vlm: PaliGemmaConfig
    words: tuple[str, ...]  # of the TinyTokenizer
    vocabulary: ActionVocabulary  # which tokens are action tokens
    integers: int = 256  # whole numbers that are tokens
    unused: int = 256  # tokens without a meaning
    action_space: ActionSpace | str = "workbook"  # "official", "workbook", "rt2" or an ActionSpace
    rounding: str = "nearest"  # how an action becomes a bin; "floor" is RT-1's release
    without: tuple[str, ...] = ()  # dimensions that are not written
    plan: bool = False  # act() first writes a plan
    plan_tokens: int = 24  # longest plan
    prompt: str = PROMPT
    plan_prompt: str = PLAN_PROMPT
    marker: str = MARKER  # between plan and action

    def __post_init__(self):
        check_types(type(self), vars(self))
        object.__setattr__(self, "action_space", ActionSpace.from_plain(self.action_space))
        for name in ("prompt", "plan_prompt"):
            if "{instruction}" not in getattr(self, name):
                raise ValueError(f"{name} has a place for the instruction, {{instruction}}; got {getattr(self, name)!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists: what a checkpoint keeps as JSON. ``from_dict`` is the way back."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain |= {"vlm": self.vlm.to_dict(), "vocabulary": dataclasses.asdict(self.vocabulary)}
        return plain | {"action_space": self.action_space.to_plain()}

    @classmethod
    def from_dict(cls, plain: Any) -> "RT2Config":
        """The configuration that ``to_dict`` wrote. Raises ValueError for unknown, missing or ill-typed entries."""
        return build(cls, plain, _nested)


def _nested(name: str, value: Any) -> Any:
    """The dataclasses and tuples inside, from mappings and lists."""
    kinds = {"vision": SigLIPConfig, "language": GemmaConfig, "vocabulary": ActionVocabulary, "vlm": PaliGemmaConfig}
    if isinstance(value, dict) and name in kinds:
        return build(kinds[name], value, _nested)
    if name == "rows":
        return tuple(tuple(row) for row in value)
    if name == "action_space" and isinstance(value, list):
        return ActionSpace.from_plain(value)
    return tuple(value) if isinstance(value, list) else value

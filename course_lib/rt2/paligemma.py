"""PaliGemma: image tokens, then a prompt, then an answer, in one sequence through one decoder.

Beyer et al. 2024 (arXiv 2407.07726): SigLIP's tokens go through one linear layer and stand before the text; the image
and the prompt see all of themselves, each answer token sees what came before it (prefix-LM). A row is

    image image ... image <bos> prompt ... prompt \\n answer ... answer <eos>

Several questions about one picture may come as (B, Q, L): the picture goes through the eyes once. With
``image_sees_prompt=False`` (not PaliGemma's way) it also goes through the decoder once, which makes training on web
questions several times cheaper. Lessons: day93_rt2/1_theory, day93_rt2/2_implementation.
"""

from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.attention import KVCache, SharedPrefix, attention_mask, without_padding
from course_lib.rt2.config import PaliGemmaConfig
from course_lib.rt2.gemma import Gemma, Masks, look_back
from course_lib.rt2.siglip import SigLIP


class PaliGemma(nn.Module):
    """The vision-language model. ``forward`` reads whole rows; ``prefill`` and ``step`` write an answer token by token."""

    config_class = PaliGemmaConfig  # how a checkpoint's header becomes a config

    def __init__(self, config: PaliGemmaConfig):
        super().__init__()
        self.config = config
        self.vision = SigLIP(config.vision)
        self.projector = nn.Linear(config.vision.width, config.language.width)
        self.language = Gemma(config.language)

    @classmethod
    def from_huggingface(cls, folder: str | Path, **options) -> "PaliGemma":
        """The weights of a Hugging Face folder or hub name; see ``course_lib.rt2.weights.from_huggingface``."""
        from course_lib.rt2.weights import from_huggingface  # noqa: PLC0415 - weights builds PaliGemma, so it imports this

        return from_huggingface(folder, **options)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.language.embedding.weight.dtype

    def image_tokens(self, images: Float[Tensor, "B 3 H W"], trace: dict | None = None) -> Float[Tensor, "B K D"]:
        """A picture (values 0 to 1) as K tokens of the decoder's width."""
        return self.projector(self.vision(images, trace))

    def forward(
        self,
        images: Tensor,
        tokens: Tensor,
        answer: Tensor | None = None,
        real: Tensor | None = None,
        trace: dict | None = None,
    ) -> Float[Tensor, "*rows L V"]:
        """Logits after each text token: what comes next.

        ``images`` float (B, 3, H, W) in [0, 1]; ``tokens`` int64 (B, L), or (B, Q, L) for Q questions an image;
        ``answer`` bool, True from the answer's first token on (default: nowhere); ``real`` bool, False where the row is
        padded (default: nowhere). Raises ValueError for other shapes and sizes.
        """
        self.check(images, tokens, answer, real)
        return self.language.logits(self.states(images, tokens, answer, real, trace))

    def states(
        self, images: Tensor, tokens: Tensor, answer: Tensor | None, real: Tensor | None, trace: dict | None = None
    ) -> Float[Tensor, "*rows L D"]:
        """What ``forward`` makes its logits of. For training, where few of them are needed."""
        shape = tokens.shape
        answer = torch.zeros_like(tokens, dtype=torch.bool) if answer is None else answer
        real = torch.ones_like(answer) if real is None else real
        rows, answer, real = (x.reshape(-1, shape[-1]) for x in (tokens, answer, real))
        image, text = self.image_tokens(images, trace), self.language.embed(rows)
        read = self._together if self.config.image_sees_prompt else self._apart
        return read(image, text, answer, real, trace).view(*shape, -1)

    def _together(
        self, image: Tensor, text: Tensor, answer: Tensor, real: Tensor, trace: dict | None
    ) -> Float[Tensor, "R L D"]:
        """Image and text in one sequence, the image again for each of its questions."""
        image = image.repeat_interleave(len(text) // len(image), 0)
        positions, masks = self._layout(answer, real)
        return self.language(torch.cat((image, text), 1), positions, masks, trace=trace)[:, image.shape[1] :]

    def _apart(
        self, image: Tensor, text: Tensor, answer: Tensor, real: Tensor, trace: dict | None
    ) -> Float[Tensor, "R L D"]:
        """The same numbers for ``image_sees_prompt=False``: one pass over the images, one over all their questions."""
        K = image.shape[1]
        prefix = self._read_images(image).share(len(text) // len(image))
        positions, masks = self._layout(answer, real)
        below = tuple(mask if mask is None else mask[:, :, K:] for mask in masks)
        return self.language(text, positions[:, K:], below, cache=prefix, trace=trace)

    def _read_images(self, image: Float[Tensor, "B K D"]) -> SharedPrefix:
        """Keys and values of images that see nothing but themselves."""
        prefix = SharedPrefix()
        positions = torch.arange(1, image.shape[1] + 1, device=image.device).expand(len(image), -1)
        self.language(image, positions, cache=prefix, last_only=True)  # of the last layer only keys and values are used
        return prefix

    def _layout(self, answer: Bool[Tensor, "R L"], real: Bool[Tensor, "R L"]) -> tuple[Int[Tensor, "R S"], Masks]:
        """Positions, counted from 1 over real tokens as PaliGemma's, and masks of [image, text] rows."""
        K = self.config.vision.image_tokens
        new_block = answer.clone()
        new_block[:, 0] |= not self.config.image_sees_prompt
        new_block = torch.cat((new_block.new_zeros(len(answer), K), new_block), 1)
        real = torch.cat((real.new_ones(len(real), K), real), 1)
        prefix = ~torch.cat((answer.new_zeros(len(answer), K), answer), 1)
        positions = real.long().cumsum(1)
        mask = without_padding(attention_mask(new_block), real)[:, None]  # (R, 1, S, S)
        return positions, (mask, self._windowed(mask, positions, positions, prefix))

    def _windowed(self, mask: Tensor, asking: Tensor, seen: Tensor, prefix: Tensor) -> Tensor | None:
        window = self.config.language.window
        return look_back(mask, asking, seen, window, prefix) if window else None

    def prefill(
        self, image: Float[Tensor, "B K D"], prompts: Int[Tensor, "R P"], real: Bool[Tensor, "R P"], room: int
    ) -> tuple[Float[Tensor, "R V"], KVCache]:
        """Read images and prompts once: the logits of the first answer token, and a cache with room for ``room`` more.

        ``image`` is what ``image_tokens`` made, one for R / B prompts. Prompts of different lengths are padded on the
        left (``real`` False), so that all end together.
        """
        K, P, numbers = image.shape[1], prompts.shape[1], self.config.language
        size = (numbers.layers, len(prompts), numbers.groups, K + P + room, numbers.head_dim)
        cache = KVCache(*size, dtype=self.dtype, device=self.device)
        cache.reserve(K)
        padding, share = None if bool(real.all()) else real, len(prompts) // len(image)
        text, masks = self.language.embed(prompts), (None, None)  # everything sees everything, as a prefix does
        if padding is not None:
            _, masks = self._layout(torch.zeros_like(real), real)
        if self.config.image_sees_prompt:
            cache.reserve(P, padding)
            h = torch.cat((image.repeat_interleave(share, 0), text), 1)
        else:
            for layer, (keys, values) in enumerate(self._read_images(image).share(share).layers):
                cache.append(layer, keys, values)
            cache.reserve(P, padding)
            h, masks = text, tuple(mask if mask is None else mask[:, :, K:] for mask in masks)
        positions = cache.positions[:, cache.length - h.shape[1] : cache.length]
        return self.language.logits(self.language(h, positions, masks, cache=cache, last_only=True)[:, 0]), cache

    def step(self, token: Int[Tensor, " R"], cache: KVCache) -> Float[Tensor, "R V"]:
        """Add one answer token per row to the cache: the logits of the next."""
        positions = cache.reserve(1)
        seen = slice(0, cache.length)
        mask = cache.real[:, None, None, seen] if cache.padded or self.config.language.window else None
        masks = (mask, None)
        if self.config.language.window:
            masks = (mask, self._windowed(mask, positions, cache.positions[:, seen], torch.zeros_like(cache.real[:, seen])))
        h = self.language(self.language.embed(token[:, None]), positions, masks, cache=cache)
        return self.language.logits(h[:, 0])

    @torch.no_grad()
    def grow(self, rows: int, generator: torch.Generator | None = None) -> "PaliGemma":
        """Add rows to the vocabulary, in place: for action tokens that are appended. The rest stays as it is.

        New rows start near the mean of the old ones, so that they are neither likely nor unlikely.
        """
        if rows < 1:
            return self
        old = self.language.embedding.weight
        noise = torch.randn(rows, old.shape[1], generator=generator).to(old) * old.float().std() * 0.1
        self.language.embedding = nn.Embedding(len(old) + rows, old.shape[1], _weight=torch.cat((old, old.mean(0) + noise)))
        self.config = PaliGemmaConfig.from_dict(
            self.config.to_dict() | {"language": self.config.to_dict()["language"] | {"vocabulary": len(old) + rows}}
        )
        self.language.config = self.config.language
        return self

    def check(self, images: Tensor, tokens: Tensor, answer: Tensor | None, real: Tensor | None) -> None:
        """The door of ``forward``."""
        size = self.config.vision.image_size
        want = f"Expected images (B, 3, {size}, {size}), float from 0 to 1, and int64 tokens (B, L) or (B, Q, L)"
        got = f"got {images.dtype} {tuple(images.shape)} and {tokens.dtype} {tuple(tokens.shape)}"
        if tuple(images.shape[1:]) != (3, size, size) or not images.is_floating_point():
            raise ValueError(f"{want}; {got}. Try course_lib.rt2.pictures.Pictures({size})(pictures).")
        if tokens.ndim not in (2, 3) or len(tokens) != len(images) or tokens.dtype != torch.int64 or not tokens.numel():
            raise ValueError(f"{want}; {got}.")
        self.check_tokens(tokens)
        for name, mask in (("answer", answer), ("real", real)):
            if mask is not None and (mask.shape != tokens.shape or mask.dtype != torch.bool):
                raise ValueError(
                    f"`{name}` is bool and shaped as tokens, {tuple(tokens.shape)}; got {mask.dtype} {tuple(mask.shape)}."
                )

    def check_tokens(self, tokens: Int[Tensor, "*rows L"]) -> None:
        """Every id has its row in the table."""
        low, high = (int(x) for x in tokens.aminmax())
        if low < 0 or high >= self.config.language.vocabulary:
            raise ValueError(
                f"Tokens are 0 ... {self.config.language.vocabulary - 1} here, got {low} ... {high}. Is this the model's "
                "own tokenizer? For appended action tokens try grow(added_rows) first."
            )

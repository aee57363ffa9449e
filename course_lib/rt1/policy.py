"""RT1: pictures and an instruction in, action tokens out; the policy with its memory of six frames.

RT-1 (Brohan et al. 2022), section 5; ``transformer_network.py`` of google-research/robotics_transformer.
Departures, both named where they stand: ``loss`` is a plain mean (the release divides by batch, steps and positions),
and ``act`` runs the decoder once per control step (the release runs it eleven times with the same result).
Lessons: day92_rt1/2_implementation, day92_rt1/3_experiments.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from course_lib.interfaces import Observation, check_image
from course_lib.rt1.config import RT1Config
from course_lib.rt1.decoder import Decoder
from course_lib.rt1.efficientnet import FilmEfficientNet
from course_lib.rt1.film import FiLM
from course_lib.rt1.preprocess import to_unit_range
from course_lib.rt1.token_learner import TokenLearner


class RT1(nn.Module):
    """The whole policy. ``film`` and ``token_learner`` may be your own classes with the same arguments.

    ``act`` takes one observation (or N at once) and returns the action; ``reset`` forgets the episode.
    """

    config_class = RT1Config  # how a checkpoint's header becomes a config

    config_class = RT1Config

    def __init__(self, config: RT1Config, film: type[nn.Module] = FiLM, token_learner: type[nn.Module] = TokenLearner):
        super().__init__()
        self.config, self.tokenizer = config, config.tokenizer()
        self.encoder = FilmEfficientNet(config, film)
        self.token_learner = token_learner(config.trunk.out_channels, config.image_tokens, config.token_learner_hidden)
        self.decoder = Decoder(config)
        # Dead weights: RT-1's code multiplies this embedding of action tokens by zero (``zeros_like``, b/260260205),
        # so it never reaches the output. It is here because the published 35,252,128 parameters include it.
        self.action_embedding = nn.Linear(config.bins, config.trunk.out_channels) if config.action_embedding else None
        self._ears: tuple[Callable[[list[str]], Tensor], ...] = ()  # in a tuple: its weights are not this policy's
        self.reset()

    @property
    def instruction_encoder(self) -> Callable[[list[str]], Tensor]:
        """Sentences -> embeddings (N, Z). Set your own; else the frozen MiniLM is made when first needed."""
        if not self._ears:
            self._ears = (self._default_encoder(),)
        return self._ears[0]

    @instruction_encoder.setter
    def instruction_encoder(self, encoder: Callable[[list[str]], Tensor]) -> None:
        self._ears, self._heard = (encoder,), None

    @property
    def device(self) -> torch.device:
        """Where the weights are; observations are brought there."""
        return self.decoder.position_bias.device

    @classmethod
    def from_official(cls, variables: Mapping[str, np.ndarray]) -> "RT1":
        """RT-1 with the weights that Google released; see ``course_lib.rt1.official.from_official``."""
        from course_lib.rt1.official import from_official  # noqa: PLC0415 - official builds RT1, so it imports this file

        return from_official(variables)

    def forward(self, images: Tensor, instruction: Tensor, trace: dict | None = None) -> Float[Tensor, "B T A V"]:
        """Logits of every step's action tokens.

        ``images``: float (B, T, 3, H, W) in [0, 1], T up to the history, the camera's or the trunk's size;
        ``instruction``: (B, Z). Raises ValueError for other ranges, layouts and sizes, and for NaN.
        """
        self._check_images(images)
        if instruction.ndim != 2 or tuple(instruction.shape) != (len(images), self.config.instruction_dim):
            raise ValueError(
                f"Expected one instruction embedding per sequence, ({len(images)}, {self.config.instruction_dim}); got "
                f"{tuple(instruction.shape)}. Try InstructionEncoder()(sentences)."
            )
        return self._logits(images, instruction, trace)

    def _logits(self, images: Tensor, instruction: Tensor, trace: dict | None = None) -> Tensor:
        T = images.shape[1]
        frames = rearrange(images, "B T C H W -> (B T) C H W")  # one network call for all frames
        words = repeat(instruction, "B Z -> (B T) Z", T=T)  # every frame hears its own instruction
        tokens = rearrange(self.image_tokens(frames, words, trace), "(B T) K D -> B T K D", T=T)
        return self.decoder(tokens, trace=trace)

    def image_tokens(
        self, frames: Float[Tensor, "B 3 H W"], instruction: Float[Tensor, "B Z"], trace: dict | None = None
    ) -> Float[Tensor, "B K D"]:
        """A frame's K tokens: 300 x 300 pixels -> 81 cells -> 8 tokens."""
        tokens = self.token_learner(self.encoder(frames, instruction, trace), trace)
        if trace is not None:
            trace["image_tokens"] = tokens
        return tokens

    def loss(self, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Mean cross-entropy over the valid steps and the A numbers of an action.

        ``images`` uint8 (B, T, H, W, 3), ``instruction`` float32 (B, Z), ``actions`` float32 (B, T, A) in the action
        space's units, ``valid`` bool (B, T). Put padding after the real frames: no step looks ahead.
        """
        images, instruction, actions, valid = (torch.as_tensor(batch[k]).to(self.device) for k in BATCH)
        images = self._checked(images)
        if not valid.any():
            raise ValueError("This batch has no valid step, so it has no loss. Check how `valid` is made.")
        frames = to_unit_range(images)  # (B, T, 3, H, W)
        logits = self._logits(frames, instruction)
        return F.cross_entropy(logits[valid].flatten(0, 1).float(), self.tokenizer.encode(actions)[valid].flatten())

    def act(self, observation: Observation, trace: dict | None = None) -> np.ndarray:
        """The next action, float32 (A,), or (N, A) for a batched observation: the most likely token of each number.

        Encodes the one new frame, remembers the tokens of the last ``history`` frames, runs the decoder once.
        The window grows from position 0 and then slides. Raises ValueError for bad pictures and instructions, and
        when N changes without ``reset()``.
        """
        image = self._checked(observation["image"])
        if image.ndim not in (3, 4):
            raise ValueError(f"act() takes one picture (H, W, 3) or N of them (N, H, W, 3), got {tuple(image.shape)}.")
        single = image.ndim == 3
        images = (image[None] if single else image).to(self.device)
        with torch.inference_mode(), evaluating(self):
            words = self._embedding(observation["instruction"], len(images))
            self._remember(self.image_tokens(to_unit_range(images), words, trace))
            logits = self.decoder(self._memory, last_only=True, trace=trace)[:, -1]  # (N, A, V)
            if trace is not None:
                trace["logits"] = logits
            if not torch.isfinite(logits).all():
                raise ValueError(
                    "The policy's output is not finite (NaN or infinite): its weights are damaged. Load them again."
                )
            action = self.tokenizer.decode(logits.argmax(-1)).cpu().numpy()
        return action[0] if single else action

    def reset(self) -> None:
        """Forget the frames seen so far. Call at the start of each episode."""
        self._memory: Tensor | None = None  # (N, t, K, D), t up to the history
        self._heard: tuple[Any, Tensor] | None = None  # the last sentences and their embeddings

    def _remember(self, new: Float[Tensor, "N K D"]) -> None:
        if self._memory is None:
            self._memory = new[:, None]
            return
        if len(self._memory) != len(new):
            raise ValueError(
                f"This episode has {len(self._memory)} tables, but the new observation has {len(new)}. "
                "Call reset() before a new episode with another number of tables."
            )
        self._memory = torch.cat((self._memory, new[:, None]), 1)[:, -self.config.history :]

    def _embedding(self, instruction: Any, tables: int) -> Float[Tensor, "N Z"]:
        """The door for instructions: sentences or embeddings, one for all tables or one for each."""
        if isinstance(instruction, str) or (isinstance(instruction, list | tuple) and isinstance(instruction[0], str)):
            sentences = [instruction] * tables if isinstance(instruction, str) else list(instruction)
            words = self._listen(sentences)
        else:
            words = torch.as_tensor(np.asarray(instruction) if isinstance(instruction, list | tuple) else instruction)
            words = words.to(self.device, self.decoder.position_bias.dtype)
        words = words.expand(tables, -1) if words.ndim == 1 else words
        if tuple(words.shape) != (tables, self.config.instruction_dim) or not torch.isfinite(words).all():
            raise ValueError(
                f"Expected an instruction: a sentence, or {self.config.instruction_dim} finite numbers (its embedding), "
                f"for {tables} table(s); got shape {tuple(words.shape)}. Try InstructionEncoder()([sentence])[0]."
            )
        return words

    def _listen(self, sentences: list[str]) -> Tensor:
        if self._heard is not None and self._heard[0] == sentences:
            return self._heard[1]
        words = torch.as_tensor(self.instruction_encoder(sentences)).to(self.device, self.decoder.position_bias.dtype)
        self._heard = (sentences, words)
        return words

    def _default_encoder(self) -> Callable[[list[str]], Tensor]:
        if self.config.instruction_dim != 384:
            raise ValueError(
                f"This policy listens to embeddings of {self.config.instruction_dim} numbers: RT-1 was trained with the "
                "Universal Sentence Encoder (USE, 512 numbers), which is not part of the course, and our MiniLM gives 384. "
                "Give the embedding itself as observation['instruction'], or set policy.instruction_encoder."
            )
        from course_lib.rt1.instruction import InstructionEncoder  # noqa: PLC0415 - loads a language model

        return InstructionEncoder()

    def _checked(self, image: Any) -> UInt8[Tensor, "*batch H W 3"]:
        """uint8 pictures of the camera's size, or already of the trunk's."""
        trunk = self.config.trunk
        if tuple(image.shape[-3:]) == (trunk.image_height, trunk.image_width, 3):
            return check_image(image, trunk.image_height, trunk.image_width)
        return check_image(image, self.config.image_height, self.config.image_width)

    def _check_images(self, images: Tensor) -> None:
        config = self.config
        sizes = {(config.image_height, config.image_width), (config.trunk.image_height, config.trunk.image_width)}
        either = " or ".join(f"{h} x {w}" for h, w in sorted(sizes))
        want = f"Expected images (B, T, 3, H, W), float from 0 to 1, T from 1 to {config.history}, H x W = {either}"
        got = f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        if images.ndim != 5 or images.shape[2] != 3:
            channels_last = images.ndim == 5 and images.shape[-1] == 3
            raise ValueError(
                f"{want}; {got}. Try {'images.movedim(-1, 2)' if channels_last else 'adding the missing axes'}."
            )
        if not images.is_floating_point():
            raise ValueError(f"{want}; {got}. Try images.float() / 255.")
        if tuple(images.shape[-2:]) not in sizes:
            raise ValueError(f"{want}; {got}. Try resizing the pictures.")
        if not 1 <= images.shape[1] <= config.history:
            raise ValueError(f"{want}; {got}. Try images[:, -{config.history}:].")
        low, high = (float(x) for x in images.aminmax())
        if not (low >= 0 and high <= 1):  # also false for NaN
            nan = math.isnan(low)
            hint = (
                "looking for a 0/0 where the pictures are made"
                if nan
                else "images / 255"
                if high > 1
                else "images.clamp(0, 1)"
            )
            raise ValueError(f"{want}; {got} with {'NaN' if nan else f'values from {low:.3g} to {high:.3g}'}. Try {hint}.")


BATCH = ("images", "instruction", "actions", "valid")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """No dropout, no batch statistics inside; every part's own mode is as before afterwards."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True

"""RT1: pictures and an instruction in, action tokens out; the policy with its memory of six frames.

RT-1 (Brohan et al. 2022), section 5; ``transformer_network.py`` of google-research/robotics_transformer.
Departures, both named where they stand: ``loss`` is a plain mean (the release divides by batch, steps and positions),
and ``act`` runs the decoder once per control step (the release runs it eleven times with the same result).
Lessons: day92_rt1/2_implementation, day92_rt1/3_experiments.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.interfaces import Observation
from course_lib.rt1.config import RT1Config
from course_lib.rt1.cost import Cost, rt1_cost
from course_lib.rt1.decoder import Decoder
from course_lib.rt1.doors import (
    check_batch,
    check_finite,
    check_frames,
    check_instructions,
    check_pictures,
    check_words,
    is_text,
)
from course_lib.rt1.efficientnet import FilmEfficientNet
from course_lib.rt1.film import FiLM
from course_lib.rt1.preprocess import to_unit_range
from course_lib.rt1.token_learner import TokenLearner


class RT1(nn.Module):
    """The whole policy. ``film`` and ``token_learner`` may be your own classes with the same arguments.

    ``act`` takes one observation (or N at once) and returns the action; ``reset`` forgets the episode.
    """

    config_class = RT1Config  # how a checkpoint's header becomes a config

    def __init__(self, config: RT1Config, film: type[nn.Module] = FiLM, token_learner: type[nn.Module] = TokenLearner):
        super().__init__()
        self.config, self.tokenizer = config, config.tokenizer()
        self.encoder = FilmEfficientNet(config, film)
        self.token_learner = token_learner(config.trunk.out_channels, config.image_tokens, config.token_learner_hidden)
        self.decoder = Decoder(config)
        # Dead weights: RT-1's code multiplies this embedding of action tokens by zero (``zeros_like``, b/260260205),
        # so it never reaches the output. It is here because the published 35,252,128 parameters include it.
        self.action_embedding = nn.Linear(config.bins, config.trunk.out_channels) if config.action_embedding else None
        self._ears: tuple[
            Callable[[list[str]], Tensor], ...
        ] = ()  # a tuple hides the encoder's weights: they are not this policy's
        self.pick: Callable[[Tensor], Tensor] = arg_max  # how a token is chosen from its logits; see also sampling()
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

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "instruction_encoder":  # torch would make any module that is set here a part of this one
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

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
        check_frames(images, self.config)
        check_instructions(instruction, len(images), self.config)
        return self._decode(self._window_tokens(images, instruction, trace), trace=trace)

    def _window_tokens(self, images: Tensor, instruction: Tensor, trace: dict | None = None) -> Float[Tensor, "B T K D"]:
        T = images.shape[1]
        frames = rearrange(images, "B T C H W -> (B T) C H W")  # one network call for all frames
        words = repeat(instruction, "B Z -> (B T) Z", T=T)  # every frame hears its own instruction
        return rearrange(self.image_tokens(frames, words, trace), "(B T) K D -> B T K D", T=T)

    def _decode(self, tokens: Tensor, labels: Tensor | None = None, trace: dict | None = None) -> Float[Tensor, "B T A V"]:
        """Logits of a window. RT-1 does not look at ``labels``, the true action tokens; AutoregressiveRT1 does."""
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
        logits, labels = self.action_logits(batch)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    def action_logits(self, batch: Mapping[str, Any]) -> tuple[Float[Tensor, "n A V"], Int[Tensor, "n A"]]:
        """Logits and true tokens of the n valid steps of a batch (see ``loss``), step by step through each window."""
        images, instruction, actions, valid = check_batch(batch, self.config, self.device)
        labels = self.tokenizer.encode(actions)
        logits = self._decode(self._window_tokens(to_unit_range(images), instruction), labels)  # (B, T, A, V)
        return logits[valid], labels[valid]

    def act(self, observation: Observation, trace: dict | None = None) -> np.ndarray:
        """The next action, float32 (A,), or (N, A) for a batched observation: the most likely token of each number.

        Encodes the one new frame, remembers the tokens of the last ``history`` frames, runs the decoder once.
        The window grows from position 0 and then slides. Raises ValueError for bad pictures and instructions, and
        when N changes without ``reset()``.
        """
        image = check_pictures(observation["image"], self.config)
        if image.ndim not in (3, 4):
            raise ValueError(f"act() takes one picture (H, W, 3) or N of them (N, H, W, 3), got {tuple(image.shape)}.")
        single = image.ndim == 3
        images = (image[None] if single else image).to(self.device)
        self._check_tables(len(images))
        with torch.inference_mode(), evaluating(self):
            words = self._embedding(observation["instruction"], len(images))
            new = self.image_tokens(to_unit_range(images), words, trace)[:, None]  # (N, 1, K, D)
            memory = new if self._memory is None else torch.cat((self._memory, new), 1)[:, -self.config.history :]
            action = self._choose(memory, trace).cpu().numpy()
        self._memory = memory
        return action[0] if single else action

    def _choose(self, memory: Float[Tensor, "N T K D"], trace: dict | None = None) -> Float[Tensor, "N A"]:
        """The newest step's action; all its tokens come out of one pass."""
        logits = self.decoder(memory, last_only=True, trace=trace)[:, -1]  # (N, A, V)
        if trace is not None:
            trace["logits"] = logits
        return self.tokenizer.decode(self.pick(check_finite(logits)))

    def cost(self, *, weight_bytes: int = 4, activation_bytes: int = 4) -> dict[str, Cost]:
        """Operations and bytes of ``encoder``, ``token_learner`` (one frame each) and ``decoder`` (one pass)."""
        return rt1_cost(self.config, weight_bytes=weight_bytes, activation_bytes=activation_bytes)

    def reset(self) -> None:
        """Forget the frames seen so far. Call at the start of each episode."""
        self._memory: Tensor | None = None  # (N, t, K, D), t up to the history
        self._heard: tuple[Any, Tensor] | None = None  # the last sentences and their embeddings

    def _check_tables(self, tables: int) -> None:
        if self._memory is not None and len(self._memory) != tables:
            raise ValueError(
                f"This episode has {len(self._memory)} tables, but the new observation has {tables}. "
                "Call reset() before a new episode with another number of tables."
            )

    def _embedding(self, instruction: Any, tables: int) -> Float[Tensor, "N Z"]:
        """Sentences or embeddings, one for all tables or one for each."""
        if is_text(instruction):
            words = self._listen([instruction] * tables if isinstance(instruction, str) else list(instruction))
        else:
            words = torch.as_tensor(np.asarray(instruction) if isinstance(instruction, list | tuple) else instruction)
            words = words.to(self.device, self.decoder.position_bias.dtype)
        return check_words(words, tables, self.config)

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


def arg_max(logits: Float[Tensor, "*batch V"]) -> Int[Tensor, "*batch"]:
    """The most likely token: what RT-1's code does (the paper's text says "sampled")."""
    return logits.argmax(-1)


def sampling(generator: torch.Generator | None = None, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Another ``policy.pick``: tokens drawn with their probabilities, each number of an action on its own."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}. Try arg_max for the most likely token.")

    def pick(logits: Float[Tensor, "*batch V"]) -> Int[Tensor, "*batch"]:
        probabilities = (logits.float() / temperature).softmax(-1)
        return torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator).view(logits.shape[:-1])

    return pick


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

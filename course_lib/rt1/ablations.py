"""RT-1 with one thing changed, for comparison: language by concatenation, action tokens in turn, continuous actions.

The paper's own ablations (its Table 13) change the action head and the history; it has none without FiLM. The others
need no class: ``RT1Config.tiny(history=1)`` has no history, ``RT1(config, film=NoFiLM)`` does not listen.
Lesson: day92_rt1/3_experiments.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.attention import causal_mask
from course_lib.rt1.config import RT1Config
from course_lib.rt1.doors import check_batch, check_finite, check_frames, check_instructions
from course_lib.rt1.film import NoFiLM
from course_lib.rt1.policy import RT1
from course_lib.rt1.preprocess import to_unit_range
from course_lib.rt1.token_learner import TokenLearner


class ConcatRT1(RT1):
    """Without FiLM: the instruction is concatenated to every image token and mixed in by one Linear layer.

    The eyes do not know what they are looking for: TokenLearner chooses places without having heard the instruction,
    and only the decoder can combine both. The layer starts as "keep the token, add a little of the instruction".
    """

    def __init__(self, config: RT1Config, film: type[nn.Module] = NoFiLM, token_learner: type[nn.Module] = TokenLearner):
        super().__init__(config, film, token_learner)
        width = config.trunk.out_channels
        self.join = nn.Linear(width + config.instruction_dim, width)
        with torch.no_grad():
            self.join.weight[:, :width] = torch.eye(width)
            nn.init.zeros_(self.join.bias)

    def image_tokens(
        self, frames: Float[Tensor, "B 3 H W"], instruction: Float[Tensor, "B Z"], trace: dict | None = None
    ) -> Float[Tensor, "B K D"]:
        tokens = super().image_tokens(frames, instruction, trace)
        words = instruction[:, None].expand(-1, tokens.shape[1], -1).to(tokens.dtype)  # (B, K, Z)
        return self.join(torch.cat((tokens, words), -1))


class AutoregressiveRT1(RT1):
    """Action tokens one after the other, each seeing the ones before it: plain causal mask, living action embedding.

    Can say "left and turned left, or right and turned right", which RT-1's product of independent numbers cannot; pays
    with A decoder passes per control step. In training the true tokens are fed in (teacher forcing). ``forward`` needs
    them too: ``forward(images, instruction, actions=...)`` with actions (B, T, A) in the action space's units.
    """

    def __init__(self, config: RT1Config, **parts: Any):
        super().__init__(dataclasses.replace(config, action_embedding=True), **parts)
        self.decoder.register_buffer("mask", causal_mask(config.positions), persistent=False)

    def reset(self) -> None:
        super().reset()
        self._spoken: Tensor | None = None  # (N, t - 1, A) tokens of the remembered steps before this one

    def forward(
        self, images: Tensor, instruction: Tensor, trace: dict | None = None, *, actions: Tensor | None = None
    ) -> Float[Tensor, "B T A V"]:
        check_frames(images, self.config)
        check_instructions(instruction, len(images), self.config)
        if actions is None:
            raise ValueError(
                "AutoregressiveRT1 reads its own earlier action tokens: try forward(images, instruction, actions=actions)."
            )
        return self._decode(self._window_tokens(images, instruction, trace), self.tokenizer.encode(actions), trace)

    def _decode(self, tokens: Tensor, labels: Tensor | None = None, trace: dict | None = None) -> Float[Tensor, "B T A V"]:
        logits = self._pass(tokens, labels, self.decoder.read_positions(tokens.shape[1]), trace)
        return rearrange(logits, "B (T A) V -> B T A V", A=self.config.action_dims)

    def _pass(self, tokens: Tensor, spoken: Int[Tensor, "B T A"], rows: Tensor, trace: dict | None = None) -> Tensor:
        embedded = self.action_embedding(F.one_hot(spoken, self.config.bins).to(tokens.dtype))  # (B, T, A, D)
        h = self.decoder.embed(tokens, embedded)
        return self.decoder.run(h, self.decoder.mask[: h.shape[1], : h.shape[1]], rows, trace)

    def _choose(self, memory: Float[Tensor, "N T K D"], trace: dict | None = None) -> Float[Tensor, "N A"]:
        N, T, A = len(memory), memory.shape[1], self.config.action_dims
        spoken = torch.zeros(N, T, A, dtype=torch.long, device=memory.device)
        if T > 1:
            spoken[:, :-1] = self._spoken[:, -(T - 1) :]
        rows, logits = self.decoder.read_positions(T, last_only=True), []
        for k in range(A):  # what stands in the places k ... A - 1 is not seen yet
            logits.append(check_finite(self._pass(memory, spoken, rows[k : k + 1])))  # (N, 1, V)
            spoken[:, -1, k] = self.pick(logits[-1])[:, 0]
        if trace is not None:
            trace["logits"] = torch.cat(logits, 1)
        self._spoken = spoken[:, -self.config.history :]
        return self.tokenizer.decode(spoken[:, -1])


class ContinuousRT1(RT1):
    """Numbers instead of tokens: one output per action number, trained with squared error (the paper's "continuous").

    The squared error's best answer to "left or right" is the middle. Outputs are in parts of the range, -1 to 1.
    """

    def __init__(self, config: RT1Config, **parts: Any):
        super().__init__(config, **parts)
        self.decoder.output = nn.Linear(config.width, 1)
        space = config.action_space
        self.register_buffer("low", torch.from_numpy(space.low), persistent=False)
        self.register_buffer("high", torch.from_numpy(space.high), persistent=False)

    def loss(self, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Mean squared error over valid steps and action numbers, in parts of half the range."""
        images, instruction, actions, valid = check_batch(batch, self.config, self.device)
        target = (self.config.action_space.check(actions).clamp(self.low, self.high) - self.low) / (
            self.high - self.low
        ) * 2 - 1
        predicted = self._decode(self._window_tokens(to_unit_range(images), instruction))[..., 0]  # (B, T, A)
        return F.mse_loss(predicted[valid].float(), target[valid])

    def _choose(self, memory: Float[Tensor, "N T K D"], trace: dict | None = None) -> Float[Tensor, "N A"]:
        part = self.decoder(memory, last_only=True, trace=trace)[:, -1, :, 0].float()  # (N, A)
        action = ((check_finite(part).clamp(-1, 1) + 1) / 2 * (self.high - self.low) + self.low).cpu()
        for i, dim in enumerate(self.config.action_space.dims):
            if dim.classes:
                action[:, i] = action[:, i].round()
        return action

"""RT2: a vision-language model that answers questions in words and instructions in action tokens.

RT-2 (Brohan et al. 2023): the same network, the same vocabulary and the same loss for both; only decoding knows that a
robot is asking, and then allows action tokens alone. Departures: the backbone is PaliGemma's (RT-2's PaLI-X and PaLM-E
are not public), and the loss is averaged over each answer first, as big_vision does, so that an answer of eight action
tokens weighs as much as one of a single word. Lessons: day93_rt2/2_implementation, day93_rt2/3_experiments.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.actions import ActionSpace, ActionText, ActionVocabulary
from course_lib.costs import Cost
from course_lib.interfaces import Observation
from course_lib.rt2.action_logits import action_logits
from course_lib.rt2.batches import Rows, nested, robot_rows, token_rows, web_rows
from course_lib.rt2.config import MARKER, PLAN_PROMPT, PROMPT, PaliGemmaConfig, RT2Config
from course_lib.rt2.cost import rt2_cost
from course_lib.rt2.decoding import LogitFilter, OnlyActionTokens, Pick, PlanThenAction, arg_max, generate
from course_lib.rt2.paligemma import PaliGemma
from course_lib.rt2.pictures import Pictures
from course_lib.rt2.prompts import Prompts, action_layouts, pad_left
from course_lib.rt2.tokenizer import TinyTokenizer, huggingface_processor
from course_lib.rt2.weights import find_folder


class RT2(nn.Module):
    """The policy. ``tokenizer`` is a TinyTokenizer, transformers' tokenizer, or its whole PaliGemmaProcessor.

    ``vocabulary`` says which tokens are action tokens (default: those of the integers); ``without`` which dimensions are
    not written. With ``plan``, ``act`` first writes a plan. ``pick`` chooses tokens: ``arg_max``, or ``sampling()``.
    """

    config_class = RT2Config  # how a checkpoint's header becomes a config

    def __init__(
        self,
        vlm: PaliGemma,
        tokenizer: Any,
        space: ActionSpace | str = "workbook",
        *,
        vocabulary: ActionVocabulary | None = None,
        without: Sequence[str] = (),
        rounding: str = "nearest",
        plan: bool = False,
        plan_tokens: int = 24,
        prompt: str = PROMPT,
        plan_prompt: str = PLAN_PROMPT,
        marker: str = MARKER,
    ):
        super().__init__()
        self.vlm, self.tokenizer = vlm, getattr(tokenizer, "tokenizer", tokenizer)
        self.pictures = Pictures(vlm.config.vision.image_size, getattr(tokenizer, "image_processor", None))
        self.prompts = Prompts(self.tokenizer, prompt, plan_prompt, marker)
        space = ActionSpace.from_plain(space)
        self.vocabulary = vocabulary or _integers(self.tokenizer, len(space) - len(without))
        self.text = ActionText(space, self.vocabulary.size, rounding=rounding, without=without)
        self.plan, self.plan_tokens, self.pick = plan, plan_tokens, arg_max
        self._slots = self.vocabulary.slots(self.text.counts)
        rows, needed = vlm.config.language.vocabulary, max(len(self.tokenizer), 1 + max(map(max, self._slots)))
        if rows < needed:
            raise ValueError(
                f"The model's table has {rows} rows, but the tokenizer and the action tokens need {needed}. "
                f"Try RT2(vlm.grow({needed - rows}), ...)."
            )

    @classmethod
    def tiny(
        cls, words: Iterable[str], space: ActionSpace | str = "workbook", *, layout: str = "integers", **options
    ) -> "RT2":
        """A new tiny model that knows ``words``; ``layout`` is a name of ``action_layouts``, ``options`` as for RT2."""
        names = {"prompt": "action", "plan_prompt": "plan", "marker": "marker"}
        said = Prompts(TinyTokenizer(()), **{field: options[name] for name, field in names.items() if name in options})
        tokenizer = TinyTokenizer([*words, *said.words])
        space = ActionSpace.from_plain(space)
        layouts = action_layouts(tokenizer, len(space) - len(options.get("without", ())))
        if layout not in layouts:
            raise ValueError(f"layout is one of {', '.join(map(repr, layouts))}; got {layout!r}.")
        vlm = PaliGemma(PaliGemmaConfig.tiny(len(tokenizer) + layouts[layout].added_rows))
        return cls(vlm, tokenizer, space, vocabulary=layouts[layout], **options)

    @classmethod
    def from_config(cls, config: RT2Config) -> "RT2":
        """A new model with the tokenizer and the settings of ``config``: how a checkpoint is opened."""
        tokenizer = TinyTokenizer(config.words, integers=config.integers, unused=config.unused)
        names = ("vocabulary", "without", "rounding", "plan", "plan_tokens", "prompt", "plan_prompt", "marker")
        options = {name: getattr(config, name) for name in names}
        return cls(PaliGemma(config.vlm), tokenizer, config.action_space, **options)

    @classmethod
    def from_huggingface(
        cls,
        folder: str | Path,
        space: ActionSpace | str = "rt2",
        *,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
        download: bool = False,
        **options: Any,
    ) -> "RT2":
        """The real weights, tokenizer and picture processor of a folder or hub name (see ``weights.from_huggingface``).

        ``options`` are RT2's; ``vocabulary`` is needed among them: PaliGemma's tokenizer splits "128" into digits.
        RT-2-PaLM-E's way is ``ActionVocabulary.overwrite(range(256_896, 257_152))``, here the last 128 location tokens
        and all 128 segmentation tokens.
        """
        folder = find_folder(folder, download=download)
        vlm = PaliGemma.from_huggingface(folder, dtype=dtype, device=device)
        return cls(vlm, huggingface_processor(folder), space, **options)

    @property
    def config(self) -> RT2Config:
        """All that ``from_config`` needs. Raises ValueError if the tokenizer is not a TinyTokenizer."""
        if not isinstance(self.tokenizer, TinyTokenizer):
            raise ValueError(
                "The real tokenizer does not fit into a checkpoint's header. Save the weights with "
                "save_checkpoint(policy.vlm, ...) and keep the folder the tokenizer came from."
            )
        return RT2Config(
            vlm=self.vlm.config,
            words=self.tokenizer.words,
            vocabulary=self.vocabulary,
            integers=self.tokenizer.integers,
            unused=self.tokenizer.unused,
            action_space=self.text.space,
            rounding=self.text.tokenizer.rounding,
            without=tuple(self.text.space.names[i] for i in self.text.left_out),
            plan=self.plan,
            plan_tokens=self.plan_tokens,
            prompt=self.prompts.action,
            plan_prompt=self.prompts.plan,
            marker=self.prompts.marker,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are; pictures and tokens are brought there."""
        return self.vlm.device

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder's layers: what ``learn.train_last`` counts."""
        return self.vlm.language.layers

    def loss(self, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """The weighted mean of ``losses``: what training minimises.

        A batch of several parts, ``{"parts": {name: batch}, "shares": {name: share}}``, costs the sum of share x loss.
        """
        if "parts" in batch:
            return torch.stack([share * self.loss(batch["parts"][name]) for name, share in batch["shares"].items()]).sum()
        rows = self.rows(batch)
        return (self._losses(batch["images"], rows) * rows.weights).sum() / rows.weights.sum()

    def losses(self, batch: Mapping[str, Any]) -> Float[Tensor, "B Q"]:
        """Each answer's cross-entropy over the whole vocabulary, the mean over its tokens and <eos>; prompts cost nothing.

        ``batch`` is a web, a robot or a token batch, see ``course_lib.rt2.batches``. ValueError for anything else.
        """
        return self._losses(batch["images"], self.rows(batch))

    def _losses(self, images: np.ndarray | Tensor, rows: Rows) -> Float[Tensor, "B Q"]:
        tokens, answer, real = rows.tokens, rows.answer, rows.real
        self.vlm.check_tokens(tokens)
        pixels = self.pictures(images).to(self.device)
        states = self.vlm.states(pixels, tokens[..., :-1], answer[..., :-1], real[..., :-1])
        wanted = answer[..., 1:]  # the state of a position predicts the next token
        logits = self.vlm.language.logits(states[wanted]).float()  # only where there is something to predict
        each = F.cross_entropy(logits, tokens[..., 1:][wanted], reduction="none")
        row = wanted.flatten(0, 1).nonzero()[:, 0]
        sums = each.new_zeros(tokens.shape[:2].numel()).index_add(0, row, each)
        return sums.view(tokens.shape[:2]) / wanted.sum(-1)

    def rows(self, batch: Mapping[str, Any]) -> Rows:
        """A batch as tokens, on the model's device."""
        keys = set(batch)
        if {"images", "tokens", "answer"} <= keys:
            return token_rows(batch).to(self.device)
        if {"images", "questions", "answers"} <= keys:
            return web_rows(batch, self.prompts).to(self.device)
        if {"images", "instructions", "actions"} <= keys:
            return robot_rows(batch, self.prompts, self.text, self.vocabulary).to(self.device)
        raise ValueError(
            "A batch for RT2 has images, and either questions and answers, or instructions and actions, or tokens and "
            f"answer; got {', '.join(batch) or 'nothing'}."
        )

    def act(self, observation: Observation, trace: dict | None = None) -> np.ndarray:
        """The next action, float32 (A,), or (N, A) for a batched observation.

        With ``trace``: ``text``, what was written for each table; ``tokens`` (N, n); ``logits`` (N, n, V) after the
        filters. Raises ValueError for bad pictures, instructions and words that the tokenizer does not know.
        """
        image, said = observation["image"], observation["instruction"]
        images = self.pictures(image if image.ndim == 4 else image[None])
        said = [said] * len(images) if isinstance(said, str) else list(said)
        if len(said) != len(images):
            raise ValueError(f"Expected one instruction, or one per picture ({len(images)}); got {len(said)}.")
        rule = self._filter()
        steps = rule.steps if self.plan else len(self._slots)
        asked = [self.prompts.instruction(text, self.plan) for text in said]
        tokens = self._write(images, asked, steps, [rule], self.pick, trace)
        begin = tokens.shape[1] - rule.since_marker(tokens) if self.plan else torch.zeros_like(tokens[:, 0])
        places = begin[:, None] + torch.arange(len(self._slots), device=tokens.device)
        levels = self.vocabulary.bins(tokens.gather(1, places))
        if trace is not None:
            plans = [self._text(row[:n]) for row, n in zip(tokens, begin.tolist(), strict=True)]
            numbers = [" ".join(map(str, row)) for row in levels.tolist()]
            trace |= {"tokens": tokens, "text": [f"{a} {b}".strip() for a, b in zip(plans, numbers, strict=True)]}
        action = self.text.action(levels).cpu().numpy()
        return action if image.ndim == 4 else action[0]

    def action_logits(self, batch: Mapping[str, Any]) -> tuple[Float[Tensor, "B A V"], Int[Tensor, "B A"]]:
        """Logits and true bins of a robot batch's actions; see ``rt2.action_logits``."""
        return action_logits(self, batch)

    def reset(self) -> None:
        """Nothing to forget: RT-2 acts on the picture of the moment."""

    def _filter(self) -> LogitFilter:
        size, end = self.vlm.config.language.vocabulary, self.tokenizer.eos_token_id
        if not self.plan:
            return OnlyActionTokens(self._slots, end, size)
        return PlanThenAction(self.prompts.marker_ids, self._slots, end, size, limit=self.plan_tokens)

    def generate(
        self,
        images: np.ndarray | Tensor,
        prompts: Sequence,
        *,
        steps: int = 16,
        pick: Pick = arg_max,
        filters: Sequence[LogitFilter] = (),
        trace: dict | None = None,
    ) -> list:
        """Answers in words: one per picture, or lists of them for lists of questions about each picture.

        ``images`` uint8 (B, H, W, 3); ``prompts`` (B) strings, or (B) lists of Q strings. All words are allowed, up to
        ``steps`` tokens. Raises ValueError for what the model cannot read.
        """
        rows = nested(prompts)
        per_image = len(rows[0]) if rows else 0
        if len(rows) != len(images) or not per_image or any(len(row) != per_image for row in rows):
            counts = [len(row) for row in rows]
            raise ValueError(f"Expected equally many prompts for each of {len(images)} pictures, got {counts[:8]}.")
        asked = [self.prompts.question(text) for row in rows for text in row]
        said = [self._text(row) for row in self._write(self.pictures(images), asked, steps, filters, pick, trace)]
        if all(isinstance(text, str) for text in prompts):
            return said
        return [said[i : i + per_image] for i in range(0, len(said), per_image)]

    def _write(self, images: Tensor, prompts: list, steps: int, filters: Sequence, pick: Pick, trace: dict | None) -> Tensor:
        """Token ids (R, n) of the answers."""
        rows, real = (x.to(self.device) for x in pad_left(prompts, self.tokenizer.pad_token_id))
        rules = {"stop": self.tokenizer.eos_token_id, "filters": filters, "pick": pick, "trace": trace}
        return generate(self.vlm, images.to(self.device), rows, real, steps=steps, **rules)

    def _text(self, tokens: Tensor) -> str:
        """The words up to <eos>; appended action tokens, which are no text, as <action 1100>."""
        ids = tokens.tolist()
        end = self.tokenizer.eos_token_id
        ids = ids[: ids.index(end)] if end in ids else ids
        known = [i for i in ids if i < len(self.tokenizer)]
        appended = [f"<action {i}>" for i in ids if i >= len(self.tokenizer)]
        return " ".join([*[self.tokenizer.decode(known)] * bool(known), *appended])

    def cost(self, *, prompt: int = 16, weight_bytes: int = 4, activation_bytes: int = 4) -> dict[str, Cost]:
        """Operations and bytes of ``encoder``, ``prefill`` and ``step``, see ``rt2_cost``; ``prompt`` is its tokens."""
        sizes = {"weight_bytes": weight_bytes, "activation_bytes": activation_bytes}
        return rt2_cost(self.vlm.config, prompt=prompt, answer=len(self._slots), **sizes)


def _integers(tokenizer: Any, numbers: int) -> ActionVocabulary:
    """The default layout, where the tokenizer has a token for each integer."""
    layouts = action_layouts(tokenizer, numbers)
    if "integers" not in layouts:
        raise ValueError(
            "This tokenizer has no single token for each of the integers 0 ... 255, so RT2 needs `vocabulary`: try "
            f"ActionVocabulary.extend({len(tokenizer)}) after vlm.grow(256), or ActionVocabulary.overwrite(ids) of 256 "
            "tokens that are hardly used (least_used)."
        )
    return layouts["integers"]

"""Training batches of RT-2: questions about pictures, or a robot's steps, as rows of tokens.

A batch is a mapping; which keys it has says what it is:

    web     images uint8 (B, H, W, 3) · questions, answers: lists (B) of strings, or (B) of lists (Q) of strings
    robot   images uint8 (B, H, W, 3) · instructions: list (B) of strings · actions float (B, A) · plans, optional: list (B)
            of strings, "" where there is none; or lists (B) of lists (Q), and actions (B, Q, A): Q instructions a picture
    tokens  images uint8 (B, H, W, 3) · tokens int64 (B, L) or (B, Q, L) · answer bool of the same shape

``weights``, float (B,) or (B, Q), may stand in each; other keys are not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.actions import ActionText, ActionVocabulary
from course_lib.rt2.prompts import Prompts, pad_right


@dataclass(frozen=True)
class Rows:
    """B images with Q rows each: prompt and answer in one row of L tokens, filled up at the end."""

    tokens: Int[Tensor, "B Q L"]
    answer: Bool[Tensor, "B Q L"]  # True from the answer's first token to its <eos>
    weights: Float[Tensor, "B Q"]

    def to(self, device: torch.device | str) -> "Rows":
        return Rows(self.tokens.to(device), self.answer.to(device), self.weights.to(device))

    @property
    def real(self) -> Bool[Tensor, "B Q L"]:
        """Everything up to the last answer token."""
        return self.answer.flip(-1).cumsum(-1).flip(-1) > 0


def rows_of(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], per_image: int, weights: Any, pad: int
) -> Rows:
    """Rows from ids: B * Q prompts and as many answers, Q = ``per_image`` in a row about the same image."""
    tokens = pad_right([[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)], pad)
    place = torch.arange(tokens.shape[1])
    begin = torch.tensor([len(prompt) for prompt in prompts])[:, None]
    end = begin + torch.tensor([len(answer) for answer in answers])[:, None]
    tokens, answer = (x.unflatten(0, (-1, per_image)) for x in (tokens, (place >= begin) & (place < end)))
    return Rows(tokens, answer, weights_of(weights, tokens.shape[:2]))


def web_rows(batch: Mapping[str, Any], prompts: Prompts) -> Rows:
    """Rows of a web batch. Raises ValueError for lists that do not fit together."""
    questions, answers = nested(batch["questions"]), nested(batch["answers"])
    counts = {len(row) for row in [*questions, *answers]}
    if len(questions) != len(answers) or len(questions) != len(batch["images"]) or len(counts) != 1 or counts == {0}:
        raise ValueError(
            f"Expected equally many questions and answers for each of {len(batch['images'])} images; got "
            f"{[len(row) for row in questions][:8]} questions and {[len(row) for row in answers][:8]} answers."
        )
    asked = [prompts.question(text) for row in questions for text in row]
    said = [prompts.answer(text) for row in answers for text in row]
    return rows_of(asked, said, counts.pop(), batch.get("weights"), prompts.tokenizer.pad_token_id)


def robot_rows(batch: Mapping[str, Any], prompts: Prompts, text: ActionText, vocabulary: ActionVocabulary) -> Rows:
    """Rows of a robot batch. Raises ValueError for lists of other lengths and for actions that ``text`` refuses."""
    instructions, actions = nested(batch["instructions"]), torch.as_tensor(batch["actions"])
    plans = nested(batch.get("plans") or [[""] * len(row) for row in instructions])
    actions = actions[:, None] if actions.ndim == 2 else actions
    counts = [*{len(row) for row in [*instructions, *plans]}]
    sizes = [len(batch["images"]), len(instructions), len(plans)]
    if len({*sizes}) != 1 or actions.ndim != 3 or [*actions.shape[:2]] != [sizes[0], *counts]:
        raise ValueError(
            f"Expected equally many images, instructions and plans, and an action for each instruction; got {sizes} and "
            f"actions {tuple(batch['actions'].shape)}, with {sorted(counts)} instructions or plans a picture."
        )
    numbers = vocabulary.ids(text.levels(actions)).flatten(0, 1).tolist()
    said, written = ([text for row in rows for text in row] for rows in (instructions, plans))
    asked = [prompts.instruction(said, bool(plan)) for said, plan in zip(said, written, strict=True)]
    end = prompts.tokenizer.eos_token_id
    answers = [[*prompts.planned(plan), *ids, end] for plan, ids in zip(written, numbers, strict=True)]
    return rows_of(asked, answers, counts[0], batch.get("weights"), prompts.tokenizer.pad_token_id)


def token_rows(batch: Mapping[str, Any]) -> Rows:
    """Rows of a token batch. Raises ValueError for other shapes, and for a row without an answer or without a prompt."""
    tokens, answer = torch.as_tensor(batch["tokens"]), torch.as_tensor(batch["answer"])
    alike = answer.shape == tokens.shape and answer.dtype == torch.bool and len(tokens) == len(batch["images"])
    if tokens.ndim not in (2, 3) or not alike:
        raise ValueError(
            f"Expected tokens (B, L) or (B, Q, L) for {len(batch['images'])} images and a bool answer of that shape; got "
            f"{tuple(tokens.shape)} and {answer.dtype} {tuple(answer.shape)}."
        )
    tokens, answer = (x if x.ndim == 3 else x[:, None] for x in (tokens, answer))
    if answer[..., 0].any() or not answer.any(-1).all():
        raise ValueError("Every row of a batch begins with its prompt and has an answer, but one has none of the two.")
    return Rows(tokens, answer, weights_of(batch.get("weights"), tokens.shape[:2]))


def nested(texts: Any) -> list[list[str]]:
    """Lists of lists: a plain list is one text per image."""
    if isinstance(texts, str):
        raise ValueError(f"Expected a list of texts, got one: {texts!r}. Try [{texts!r}].")
    return [[row] if isinstance(row, str) else list(row) for row in texts]


def weights_of(weights: Any, shape: tuple[int, ...]) -> Float[Tensor, "B Q"]:
    """One weight per row; one per image is that of all its rows; None is 1."""
    if weights is None:
        return torch.ones(shape)
    weights = torch.as_tensor(weights, dtype=torch.float32)
    weights = weights[:, None].expand(shape) if weights.ndim == 1 and len(weights) == shape[0] else weights
    if tuple(weights.shape) != tuple(shape) or not (weights >= 0).all() or not weights.sum() > 0:
        got = f"got {tuple(weights.shape)}"
        raise ValueError(f"Expected weights of at least 0, not all 0, (B,) or (B, Q) = {tuple(shape)}; {got}.")
    return weights

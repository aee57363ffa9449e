"""What is asked and how: prompts, answers and plans as token ids, and the four layouts of action tokens.

A row is <bos> prompt \\n answer <eos>, as PaliGemma's processor makes it (the image tokens stand before it).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.actions import ActionVocabulary
from course_lib.rt2.config import MARKER, PLAN_PROMPT, PROMPT
from course_lib.rt2.tokenizer import SEPARATOR, TextTokenizer, TinyTokenizer

LONGEST = 512  # tokens of a prompt: PaliGemma's longest text in training (128 at 224 px)


@dataclass(frozen=True)
class Prompts:
    """The sentences in which RT-2 is asked for actions. ``{instruction}`` is where the instruction goes."""

    tokenizer: TextTokenizer
    action: str = PROMPT
    plan: str = PLAN_PROMPT  # asks for a plan and then an action
    marker: str = MARKER  # between the two

    def question(self, text: object) -> list[int]:
        """<bos> text \\n. Raises ValueError for a text that is empty, too long, or has unknown words."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"Expected a question or an instruction in words, got {text!r}.")
        ids = [self.tokenizer.bos_token_id, *self.tokenizer.encode(text.strip() + SEPARATOR, add_special_tokens=False)]
        if len(ids) > LONGEST:
            raise ValueError(
                f"This prompt has {len(ids)} tokens, at most {LONGEST} can be read: {text[:60]!r}... Try fewer words."
            )
        return ids

    def answer(self, text: object) -> list[int]:
        """text <eos>: what the model learns to write. Raises ValueError for an empty text."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"Expected an answer in words, got {text!r}.")
        return [*self.tokenizer.encode(text.strip(), add_special_tokens=False), self.tokenizer.eos_token_id]

    def instruction(self, text: object, plan: bool = False) -> list[int]:
        """The prompt that asks for an action, or for a plan and an action."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"Expected an instruction in words, got {text!r}.")
        return self.question((self.plan if plan else self.action).replace("{instruction}", text.strip()))

    def planned(self, plan: str) -> list[int]:
        """A plan and the marker after it; nothing for an empty plan."""
        return self.tokenizer.encode(f"{plan.strip()} {self.marker}", add_special_tokens=False) if plan.strip() else []

    @property
    def marker_ids(self) -> list[int]:
        """The marker's tokens, as they stand after a plan."""
        return self.tokenizer.encode(f" {self.marker}", add_special_tokens=False)

    @property
    def words(self) -> list[str]:
        """What a small tokenizer must know to read these sentences."""
        return f"{self.action} {self.plan} {self.marker}".replace("{instruction}", " ").split()


def action_layouts(tokenizer: TextTokenizer, numbers: int, bins: int = 256) -> dict[str, ActionVocabulary]:
    """The four layouts of action tokens that a tokenizer allows, by name; a layout that it does not allow is left out.

    "extend" appends, "overwrite" takes the tokens without a meaning of a TinyTokenizer, "integers" needs one token for each
    whole number, "per dimension" appends bins for each of the ``numbers`` of an action.
    """
    size = len(tokenizer)
    found = {"extend": ActionVocabulary.extend(size, bins)}
    if isinstance(tokenizer, TinyTokenizer) and tokenizer.unused >= bins:
        found["overwrite"] = ActionVocabulary.overwrite(range(size - bins, size))
    spelled = [tokenizer.encode(str(n), add_special_tokens=False) for n in range(bins)] if _knows(tokenizer, bins) else []
    if spelled and all(len(ids) == 1 for ids in spelled):
        found["integers"] = ActionVocabulary.integers(ids[0] for ids in spelled)
    return found | {"per dimension": ActionVocabulary.per_dimension(numbers, bins, first=size)}


def _knows(tokenizer: TextTokenizer, bins: int) -> bool:
    return not isinstance(tokenizer, TinyTokenizer) or tokenizer.integers >= bins


def token_counts(tokenizer: TextTokenizer, texts: Iterable[str]) -> Int[Tensor, " V"]:
    """How often each id occurs in texts: what ``least_used`` wants."""
    counts = torch.zeros(len(tokenizer), dtype=torch.long)
    for text in texts:
        counts += torch.bincount(torch.tensor(tokenizer.encode(text), dtype=torch.long), minlength=len(tokenizer))
    return counts


def pad_right(rows: Sequence[Sequence[int]], pad: int) -> Int[Tensor, "R L"]:
    """Rows of ids, each filled up at its end."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[Int[Tensor, "R L"], Bool[Tensor, "R L"]]:
    """Rows of ids, each filled up at its beginning so that all end together; and which are real."""
    longest = max(map(len, rows))
    filled = torch.tensor([[*[pad] * (longest - len(row)), *row] for row in rows])
    return filled, torch.arange(longest) >= longest - torch.tensor([len(row) for row in rows])[:, None]

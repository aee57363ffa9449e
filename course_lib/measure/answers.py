"""How many questions about pictures a vision-language model answers, by type, and against not looking at all."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from course_lib.measure.statistics import Rate, wilson

_LOCATION = re.compile(r"<loc(\d{4})>")


@runtime_checkable
class Answerer(Protocol):
    """What is asked of a model: RT2 has it."""

    def generate(self, images: Any, prompts: Any, *, steps: int = 16) -> list: ...


@dataclass
class Answers:
    """Rows: question, right answer, given answer, type, whether it needs the picture, concept of its phrase.

    ``cells`` are the places along a picture's side; pointing to a neighbour of the right cell counts as right (the thing is
    wider than a cell), everything else must be the same words.
    """

    cells: int = 16
    rows: list[tuple[str, str, str, str, bool, str]] = field(default_factory=list)

    def rate(self, *types: str, concept: str | None = None, blind: bool = False) -> Rate:
        """Right answers among the questions that need the picture (``blind``: among all), of some types or one concept.

        Raises ValueError if there is no such question.
        """
        some = [
            self.right(right, given)
            for _, right, given, type_, needs, of in self.rows
            if (needs or blind) and (not types or type_ in types) and concept in (None, of)
        ]
        if not some:
            raise ValueError(f"No question of the types {types or 'all'} and the concept {concept} was asked.")
        return wilson(sum(some), len(some))

    def right(self, wanted: str, given: str) -> bool:
        """Whether an answer counts: the same words, or a place at most one cell away in x and in y."""
        here, there = ([int(n) * self.cells // 1024 for n in _LOCATION.findall(text)] for text in (wanted, given))
        if len(here) == 2 and not _LOCATION.sub("", wanted).strip():
            pointed = len(there) == 2 and not _LOCATION.sub("", given).strip()
            return pointed and all(abs(a - b) <= 1 for a, b in zip(here, there, strict=True))
        return wanted.split() == given.split()

    @property
    def types(self) -> list[str]:
        """The types that were asked with a need to look, sorted."""
        return sorted({row[3] for row in self.rows if row[4]})

    @property
    def concepts(self) -> list[str]:
        """The concepts of phrases that pointing was asked with, sorted."""
        return sorted({row[5] for row in self.rows if row[3] == "point" and row[5]})

    def __str__(self) -> str:
        lines = [f"{name:<16} {self.rate(name)}" for name in self.types]
        lines += [f"point: {name:<9} {self.rate('point', concept=name)}" for name in self.concepts]
        return "\n".join([*lines, f"{'all':<16} {self.rate()}"])


def ask_all(policy: Answerer, batches: Iterable[Mapping[str, Any]], *, cells: int = 16, steps: int = 10) -> Answers:
    """Ask every question of some web batches (``WebPictures(split="test")``), greedily, up to ``steps`` tokens each."""
    found = Answers(cells)
    for batch in batches:
        columns = [batch[key] for key in ("questions", "answers")]
        columns += [policy.generate(batch["images"], batch["questions"], steps=steps)]
        columns += [batch[key] for key in ("types", "needs_image", "phrases")]
        for lists in zip(*columns, strict=True):
            found.rows += zip(*lists, strict=True)
    return found

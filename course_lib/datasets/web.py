"""Web data: pictures with questions and answers, the part of RT-2's training in which no robot acts.

``WebPictures(...)(step)`` is a batch, always the same for the same step, so that an interrupted training resumes exactly.
Every picture and every question follows from (seed, split, index) alone; "train" and "test" never share a picture.
"""

import random
import re
from collections import Counter
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.datasets.pictures import Seen, compose, draw, look
from course_lib.datasets.plans import DRAWERS_IN, MEAN, MIX, PLAN, SAY, TYPES, WHAT, WHERE, plan_question, point, translation
from course_lib.datasets.questions import EXTREMES, MOST, SIDES, TEXTS, Asker, Question
from course_lib.world.lexicon import CATEGORIES, COLOURS, NUMBERS, category_of, name_of, use_of
from course_lib.world.objects import KINDS
from course_lib.world.phrases import INSTRUCTIONS, phrases
from course_lib.world.splits import emergent_instructions
from course_lib.world.tasks import PHRASES, known_instructions

SPLITS = ("train", "test")
_WORD = re.compile(r"<loc\d{4}>|[^\s<]+")


def words(text: str) -> list[str]:
    """The words of a text; each location token is one: "apple <loc0032><loc0096>" has three."""
    return _WORD.findall(text)


class WebPictures:
    """Batches of pictures, each with ``questions`` questions: ``web(step)``.

    ``cells`` are the places along a picture's side that location tokens tell apart. ``mix`` says how often each type of
    question is asked (default ``plans.MIX``; 0 leaves a type out; where a picture allows none of them, a name is asked
    for). ``places`` adds location tokens to plans.
    """

    def __init__(
        self,
        *,
        batch: int = 16,
        questions: int = 8,
        size: int = 64,
        seed: int = 0,
        split: str = "train",
        cells: int = 16,
        mix: dict[str, float | int] | None = None,
        places: bool = False,
        device: str = "cpu",
    ):
        if split not in SPLITS:
            raise ValueError(f"The web data has the splits {SPLITS}, got {split!r}.")
        if cells < 2 or 1024 % cells:
            raise ValueError(f"cells divides 1024 (16, 32, 64 ...), got {cells}.")
        unknown = set(mix or {}) - set(TYPES)
        if unknown or (mix is not None and not sum(mix.values()) > 0):
            raise ValueError(f"mix gives weights to {TYPES}, got {mix}.")
        if batch < 1 or questions < 1:
            raise ValueError(f"batch and questions are at least 1, got {batch} and {questions}.")
        self.batch, self.questions, self.size, self.seed, self.split = batch, questions, size, seed, split
        self.cells, self.places, self.device = cells, places, device
        self.mix = {t: w for t, w in (MIX if mix is None else mix).items() if w > 0}

    def __call__(self, step: int) -> dict[str, Tensor | list]:
        """images uint8 (B, H, W, 3) · questions, answers, types, needs_image, phrases, kinds: lists of B lists."""
        return self.cut(torch.arange(step * self.batch, (step + 1) * self.batch))

    def cut(self, index: Int[Tensor, " B"]) -> dict[str, Tensor | list]:
        """The batch of these picture numbers."""
        what = compose(self._number(index))
        return {"images": draw(what, self.size)} | self._talk(index, look(what))

    def text(self, step: int) -> dict[str, list]:
        """The same batch without drawing its pictures: what a blind model sees."""
        index = torch.arange(step * self.batch, (step + 1) * self.batch)
        return self._talk(index, look(compose(self._number(index))))

    def _talk(self, index: Tensor, looks: list[Seen]) -> dict[str, list]:
        """The questions of a batch, and which kinds each picture shows."""
        asked = [self._ask(i, seen) for i, seen in zip(index.tolist(), looks, strict=True)]
        return _columns(asked) | {"kinds": [[thing.kind for thing in seen.things] for seen in looks]}

    def _number(self, index: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """One number per picture of all seeds and splits."""
        return (index + ((2 * self.seed + SPLITS.index(self.split)) << 40)).to(self.device)

    def _ask(self, index: int, seen: Seen) -> list[Question]:
        """Different questions about one picture."""
        draws = random.Random(f"{self.seed} {self.split} {index}")
        ask = Asker(seen, draws, self.cells)
        makers = _makers(ask, self.places)
        types, weights = list(self.mix), list(self.mix.values())
        found: dict[str, Question] = {}
        for _ in range(20):
            for type_ in draws.choices(types, weights, k=self.questions):
                question = makers[type_]()
                if question and len(found) < self.questions:
                    found.setdefault(question.question, question)
            if len(found) == self.questions:
                break
        asked = list(found.values()) or [ask.name()]  # three equal plates, say, leave nothing to point at
        return [asked[i % len(asked)] for i in range(self.questions)]  # a lonely thing may have fewer than asked for


def _makers(ask: Asker, places: bool) -> dict:
    """Type of question: what makes one."""
    makers = {type_: getattr(ask, type_.replace(" ", "_"), None) for type_ in TYPES}
    apart = {"point": point, "translation": translation, "plan": partial(plan_question, places=places)}
    return makers | {type_: partial(make, ask) for type_, make in apart.items()}


def _columns(asked: list[list[Question]]) -> dict[str, list]:
    """Rows of questions as the lists of a batch."""
    keys = ("questions", "answers", "types", "needs_image", "phrases")
    return {key: [[q[i] for q in row] for row in asked] for i, key in enumerate(keys)}


def location_words(cells: int = 16) -> list[str]:
    """The location tokens that a picture with so many cells a side uses."""
    return [f"<loc{(2 * c + 1) * 512 // cells:04d}>" for c in range(cells)]


def vocabulary(cells: int = 16) -> list[str]:
    """Every word that can occur in web questions, answers and robot instructions (also the emergent ones), sorted."""
    kinds = range(len(KINDS))
    texts = [
        *TEXTS.values(),
        *(text for text, _ in WHERE.values()),
        *WHAT.values(),
        SAY,
        MEAN,
        PLAN,
        *SIDES,
        *MOST,
        *EXTREMES,
    ]
    texts += [word for _, be in WHERE.values() for word in be]
    texts += [form for language in INSTRUCTIONS.values() for forms in language.values() for form in forms]
    texts += [form for forms in PHRASES.values() for form in forms]
    texts += [text for p in phrases() for text in (p.text, p.accusative)]
    texts += [text for names in DRAWERS_IN.values() for text in names]
    texts += [name_of(k) for k in kinds] + [use_of(k)[0] for k in kinds] + [category_of(k) for k in kinds]
    texts += [*COLOURS, *NUMBERS, *CATEGORIES, *CATEGORIES.values(), *known_instructions(), *emergent_instructions()]
    texts += ["which things yes no del onto into in on spanish german"]
    return sorted({w for text in texts for w in words(text) if "{" not in w} | set(location_words(cells)))


def blind_baseline(train: list[dict], test: list[dict]) -> dict[str, tuple[float, float]]:
    """What one scores without looking, per type: (all questions, those that need the image).

    The answer given is the one that the same question, or else the same type, most often had in ``train`` (both lists of
    batches, ``WebPictures.text`` will do).
    """
    by_question: dict[str, Counter] = {}
    by_type: dict[str, Counter] = {}
    for question, answer, type_, _ in rows_of(train):
        by_question.setdefault(question, Counter())[answer] += 1
        by_type.setdefault(type_, Counter())[answer] += 1
    hits: dict[str, list[tuple[bool, bool]]] = {}
    for question, answer, type_, needs in rows_of(test):
        guesses = by_question.get(question) or by_type.get(type_) or Counter({"": 1})
        hits.setdefault(type_, []).append((guesses.most_common(1)[0][0] == answer, needs))
    out = {}
    for type_, rows in sorted(hits.items()):
        seeing = [hit for hit, needs in rows if needs]
        out[type_] = (sum(hit for hit, _ in rows) / len(rows), sum(seeing) / max(1, len(seeing)))
    return out


def rows_of(batches: list[dict]) -> list[tuple[str, str, str, bool]]:
    """(question, answer, type, needs_image) of every question of some batches."""
    keys = ("questions", "answers", "types", "needs_image")
    return [row for b in batches for lists in zip(*(b[k] for k in keys), strict=True) for row in zip(*lists, strict=True)]

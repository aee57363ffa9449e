"""Questions about a picture, in a small closed vocabulary, with answers that follow from what is in it.

Where a person could hesitate (two fruits, a thing half yellow and half green, two things equally near) the question is
not asked. No answer holds an action. A place is said in PaliGemma's location tokens, y before x: "<loc0544><loc0288>" is a
little below the middle and to the left. A picture has ``cells`` places along a side; the number in a token is the middle
of its cell in 1024ths.
"""

import random
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from course_lib.datasets.pictures import Seen
from course_lib.world.lexicon import (
    ALSO,
    CATEGORIES,
    COLOURS,
    DIGITS,
    NUMBERS,
    category_of,
    colour_of,
    coloured,
    doubtful,
    name_of,
    use_of,
)
from course_lib.world.objects import KINDS, NAMES
from course_lib.world.phrases import Phrase, phrases

DRAWN = {  # how often each concept is what a thing is referred to by
    "name": 4, "colour": 3, "category": 2, "use": 2, "symbols": 3, "sums": 3, "same colour": 4, "negation": 4,
    "spanish": 3, "german": 3,
}  # fmt: skip
TEXTS = {
    "name": "what is at {a}",
    "which": "what {be} {a}",  # "what is the fruit"
    "place": "the thing at {a}",
    "colour": "what colour {be} {a}",
    "category": "what kind of thing {be} {a}",
    "use": "what can you do with {a}",
    "count": "how many {a} are there",
    "side": "{be} {a} {side} {b}",
    "most": "what is the {side} thing",
    "near": "what is nearest to {a}",
    "in": "what is {side} {a}",
    "number": "what number is at {a}",
    "only number": "what is the number on the card",
    "extreme": "what is the {side} number",
    "sum": "what is the sum of the cards",
    "plus": "what is {a} plus {b}",
    "same": "{be} {a} the same colour as {b}",
}
BE = ("is", "are")
SIDES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}  # x to the right, y down
MOST = {"leftmost": (-1, 0), "rightmost": (1, 0)}
EXTREMES = ("lowest", "highest")
APART = 0.08  # of the picture's side: what is called left of another thing is at least so much farther left
NEARER = 0.7  # the nearest thing is nearer than this part of the second nearest one's distance


class Question(NamedTuple):
    """One question with its answer."""

    question: str
    answer: str
    type: str  # one of plans.TYPES
    needs_image: bool = True  # False: the words alone decide the answer
    phrase: str = ""  # concept of the phrase that must be understood (one of phrases.CONCEPTS), if one is used


def location(x: float, y: float, cells: int) -> str:
    """A place in a picture (0 to 1) as two tokens, y first: the middle of its cell."""
    cell = [min(max(int(v * cells), 0), cells - 1) for v in (y, x)]
    return "".join(f"<loc{(2 * c + 1) * 512 // cells:04d}>" for c in cell)


def read_location(text: str) -> list[tuple[float, float]]:
    """The places that a text names, as (x, y) from 0 to 1: what ``location`` undoes up to half a cell.

    Raises ValueError for a token without its partner.
    """
    numbers = [int(number) / 1024 for number in re.findall(r"<loc(\d{4})>", text)]
    if len(numbers) % 2:
        raise ValueError(f"Expected location tokens in pairs (y, then x), got {len(numbers)} in {text!r}.")
    return list(zip(numbers[1::2], numbers[::2], strict=True))


@cache
def _by_concept() -> dict[str, list[list[Phrase]]]:
    """concept -> kind -> the phrases that can mean it."""
    kinds = range(len(KINDS))
    return {c: [[p for p in phrases() if p.concept == c and k in p.means] for k in kinds] for c in DRAWN}


@cache
def english(kind: int) -> Phrase:
    """The plain English phrase for a kind: "the apple", "the red block", "the card with the three"."""
    plain = (p for p in phrases() if p.language == "english" and p.means == {kind} and not p.needs)
    return next(p for p in plain if p.concept != "sums")


class Asker:
    """What there is to ask about one picture: each method gives a question of its type, or None where there is none."""

    def __init__(self, seen: Seen, draw: random.Random, cells: int = 16):
        self.things, self.drawers, self.draw, self.cells = seen.things, seen.drawers, draw, cells
        self.kinds = [thing.kind for thing in seen.things]
        self.others = [frozenset(self.kinds[:i] + self.kinds[i + 1 :]) for i in range(len(self.kinds))]
        self.phrases = _by_concept()
        homes = {thing.home for thing in seen.things}
        self.bare = [i for i in range(len(self.kinds)) if i not in homes]  # nothing lies on these
        self.cards = [i for i, kind in enumerate(self.kinds) if NAMES[kind] in DIGITS]

    def one(self, options: Iterable):
        """One of them at random, or None."""
        options = list(options)
        return self.draw.choice(options) if options else None

    def refer(self, concept: str = "") -> tuple[int, Phrase] | None:
        """A thing and a phrase of the concept (default: any) that picks it out."""
        concept = concept or self.draw.choices(list(DRAWN), list(DRAWN.values()))[0]
        mine, found = self.phrases[concept], []
        for i, (kind, others) in enumerate(zip(self.kinds, self.others, strict=True)):
            # what Phrase.picks_out says, without a call: this is asked some hundred times per picture
            found += [(i, p) for p in mine[kind] if p.needs <= others and p.rivals.isdisjoint(others)]
        return self.one(found)

    def plain(self, among: Iterable[int]) -> list[int]:
        """Those of the things whose plain English phrase means no other thing here."""
        return [i for i in among if self.kinds[i] not in self.others[i]]

    def at(self, i: int) -> str:
        """The location tokens of a thing."""
        return location(self.things[i].x, self.things[i].y, self.cells)

    # One method per type.

    def name(self) -> Question:
        i = self.draw.choice(self.bare)
        return Question(TEXTS["name"].format(a=self.at(i)), name_of(self.kinds[i]), "name")

    def which(self, concept: str) -> Question | None:
        """Which thing a phrase means: "what is the fruit" -> "apple"."""
        found = self.refer(concept)
        if not found:
            return None
        i, phrase = found
        if phrase.text == f"the {name_of(self.kinds[i])}":
            return None  # "what is the red block": the answer is in the question
        text = TEXTS["which"].format(be=BE[phrase.plural], a=phrase.text)
        if concept == "negation" and self.draw.random() < 0.5:
            text = phrase.text.replace("the ", "which ", 1).replace(" that ", " ", 1)  # "which fruit is not the apple"
        return Question(text, name_of(self.kinds[i]), concept, len(phrase.means) > 1, concept)

    def fact(self, type_: str, fact: Callable[[int], str]) -> Question | None:
        """A property of a thing that is pointed at (two in three) or named."""
        if self.draw.random() < 0.65:
            i = self.one(i for i in self.bare if fact(self.kinds[i]))
            if i is None:
                return None
            text = TEXTS[type_].format(be="is", a=TEXTS["place"].format(a=self.at(i)))
            return Question(text, fact(self.kinds[i]), type_)
        found = self.refer(self.draw.choice(("name", "category", "negation")))
        if not found or not fact(self.kinds[found[0]]) or (type_ == "category" and found[1].concept != "name"):
            return None
        i, phrase = found
        text = TEXTS[type_].format(be=BE[phrase.plural], a=phrase.text)
        undecided = len({fact(k) for k in phrase.means}) > 1
        return Question(text, fact(self.kinds[i]), type_, undecided, phrase.concept)

    def colour(self) -> Question | None:
        return self.which("colour") if self.draw.random() < 0.35 else self.fact("colour", colour_of)

    def category(self) -> Question | None:
        return self.which("category") if self.draw.random() < 0.45 else self.fact("category", category_of)

    def use(self) -> Question | None:
        return self.which("use") if self.draw.random() < 0.45 else self.fact("use", lambda kind: use_of(kind)[0])

    def negation(self) -> Question | None:
        return self.which("negation")

    def count(self) -> Question | None:
        if self.draw.random() < 0.3:
            colour = self.draw.choice(COLOURS)
            sure, unsure = coloured(colour)
            if not unsure.isdisjoint(self.kinds) or any(not colour_of(kind) for kind in self.kinds):
                return None
            nouns, n = f"{colour} things", sum(kind in sure for kind in self.kinds)
        else:
            here = [category_of(kind) for kind in self.kinds if category_of(kind)]
            noun = self.draw.choice([*here, *here, *CATEGORIES, "thing"])
            if not doubtful(noun).isdisjoint(self.kinds):
                return None
            nouns, n = CATEGORIES.get(noun, "things"), here.count(noun) if noun != "thing" else len(self.kinds)
        return Question(TEXTS["count"].format(a=nouns), NUMBERS[n], "count")

    def relation(self) -> Question | None:
        return self.draw.choice((self._side, self._side, self._most, self._nearest, self._within))()

    def _side(self) -> Question | None:
        plain = self.plain(self.bare)
        if len(plain) < 2:
            return None
        i, j = self.draw.sample(plain, 2)
        side = self.draw.choice(list(SIDES))
        ahead = self._along(i, SIDES[side]) - self._along(j, SIDES[side])
        if abs(ahead) < APART:
            return None
        a, b = english(self.kinds[i]), english(self.kinds[j])
        text = TEXTS["side"].format(be=BE[a.plural], a=a.text, side=side, b=b.text)
        return Question(text, "yes" if ahead > 0 else "no", "relation")

    def _along(self, i: int, way: tuple[int, int]) -> float:
        return self.things[i].x * way[0] + self.things[i].y * way[1]

    def _extreme(self, way: tuple[int, int]) -> int | None:
        order = sorted(range(len(self.kinds)), key=lambda i: -self._along(i, way))
        if len(order) < 2 or self._along(order[0], way) - self._along(order[1], way) < APART / 2:
            return None
        return order[0]

    def _most(self) -> Question | None:
        side = self.draw.choice(list(MOST))
        i = self._extreme(MOST[side])
        if i is None:
            return None
        return Question(TEXTS["most"].format(side=side), name_of(self.kinds[i]), "relation")

    def _nearest(self) -> Question | None:
        i = self.one(self.plain(self.bare))
        if i is None or len(self.kinds) < 3:
            return None
        here, rest = self.things[i], [j for j in range(len(self.kinds)) if j != i]
        gap = {j: (self.things[j].x - here.x) ** 2 + (self.things[j].y - here.y) ** 2 for j in rest}
        first, second = sorted(rest, key=gap.__getitem__)[:2]
        if gap[first] > NEARER**2 * gap[second]:
            return None
        text = TEXTS["near"].format(a=english(self.kinds[i]).text)
        return Question(text, name_of(self.kinds[first]), "relation")

    def _within(self) -> Question | None:
        i = self.one(i for i, thing in enumerate(self.things) if thing.home >= 0 and self.plain([thing.home]))
        if i is None:
            return None
        home = self.kinds[self.things[i].home]
        side = "on" if KINDS[home].word == "plate" else "in"
        text = TEXTS["in"].format(side=side, a=english(home).text)
        return Question(text, name_of(self.kinds[i]), "relation")

    def symbols(self) -> Question | None:
        numbers = [DIGITS[NAMES[self.kinds[i]]] for i in self.cards]
        i = self.one(i for i in self.cards if i in self.bare)
        if i is None:
            return None
        text, number = TEXTS["number"].format(a=self.at(i)), DIGITS[NAMES[self.kinds[i]]]
        if self.draw.random() < 0.4:
            high = self.draw.random() < 0.5
            text = TEXTS["only number"] if len(numbers) == 1 else TEXTS["extreme"].format(side=EXTREMES[high])
            number = max(numbers) if high else min(numbers)
        return Question(text, NUMBERS[number], "symbols")

    def sums(self) -> Question | None:
        total = sum(DIGITS[NAMES[self.kinds[i]]] for i in self.cards)
        if len(self.cards) > 1 and total < len(NUMBERS):
            return Question(TEXTS["sum"], NUMBERS[total], "sums")
        if self.draw.random() < 0.6:
            return None
        a, b = self.draw.randint(1, 6), self.draw.randint(1, 6)
        return Question(TEXTS["plus"].format(a=NUMBERS[a], b=NUMBERS[b]), NUMBERS[a + b], "sums", False)

    def same_colour(self) -> Question | None:
        if self.draw.random() < 0.5:
            return self.which("same colour")
        i = self.one(i for i in self.bare if colour_of(self.kinds[i]))
        if i is None:
            return None
        mine, alike = self.kinds[i], self.draw.random() < 0.5
        j = self.one(j for j in self.bare if j != i and self._alike(mine, self.kinds[j]) is alike)
        if j is None:
            return None
        a, b = (TEXTS["place"].format(a=self.at(k)) for k in (i, j))
        return Question(TEXTS["same"].format(be="is", a=a, b=b), "yes" if alike else "no", "same colour")

    @staticmethod
    def _alike(a: int, b: int) -> bool | None:
        """Whether two kinds have the same colour; None where one could argue."""
        one, other = colour_of(a), colour_of(b)
        if not other or one in ALSO.get(NAMES[b], ()) or other in ALSO.get(NAMES[a], ()):
            return None
        return one == other

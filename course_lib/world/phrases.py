"""Phrases: the ways to refer to one thing on a table, and the sentences and plans made of them.

A phrase is a noun phrase with the set of kinds that it can mean. It picks out a thing if it means that thing's kind and
no other on the table: "the fruit" needs a table with one fruit. Both the web's questions ("where is the fruit") and the
emergent instructions ("pick up the fruit") are built from the same phrases; with an action the robot's own data has none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from course_lib.world.lexicon import (
    CATEGORIES,
    COLOURS,
    DIGITS,
    GERMAN_DRAWERS,
    NUMBERS,
    SPANISH_DRAWERS,
    category_of,
    colour_of,
    coloured,
    contracted,
    doubtful,
    german_has,
    in_german,
    in_spanish,
    is_plural,
    kinds_where,
    name_of,
    use_of,
)
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.tasks import DRAWERS, PHRASES

EMERGENT = ("symbols", "sums", "colour", "category", "use", "same colour", "negation", "spanish", "german")
CONCEPTS = ("name", *EMERGENT)
_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Phrase:
    """A noun phrase. Numbers are indices into ``objects.KINDS``."""

    text: str
    concept: str  # one of CONCEPTS: what one must understand
    means: frozenset[int]
    unsure: frozenset[int] = _NONE  # kinds that some people would mean: must not be on the table either
    needs: frozenset[int] = _NONE  # kinds that must be there for the phrase to make sense
    plural: bool = False
    accusative: str = ""  # German only: as the object of a verb
    rivals: frozenset[int] = field(init=False)  # kinds beside which the phrase would be ambiguous

    def __post_init__(self):
        object.__setattr__(self, "rivals", self.means | self.unsure)

    @property
    def language(self) -> str:
        return self.concept if self.concept in ("spanish", "german") else "english"

    def picks_out(self, kind: int, others: Iterable[int]) -> bool:
        """Whether it means a thing of ``kind`` and nothing else, beside things of the kinds ``others``."""
        others = frozenset(others)
        return kind in self.means and self.needs <= others and self.rivals.isdisjoint(others)


def _names() -> list[Phrase]:
    """What the robot says too: "the apple"."""
    plain = kinds_where(lambda k: KINDS[k].word == NAMES[k])
    return [Phrase(f"the {name_of(k)}", "name", frozenset({k}), plural=is_plural(k)) for k in sorted(plain)]


def _symbols() -> list[Phrase]:
    texts = ("the card with the {}", "the number {}")
    return [Phrase(t.format(NUMBERS[n]), "symbols", frozenset({kind_index(c)})) for c, n in DIGITS.items() for t in texts]


def _sums() -> list[Phrase]:
    pairs = [(a, b) for a in range(1, 6) for b in range(1, 6) if a + b <= 6]
    text = "the sum of {} plus {}"
    return [Phrase(text.format(NUMBERS[a], NUMBERS[b]), "sums", frozenset({kind_index(f"card {a + b}")})) for a, b in pairs]


def _of_colour(colour: str, noun: str) -> tuple[frozenset[int], frozenset[int]]:
    """The kinds of a colour among those of a category ("thing" for all), and the unsure ones."""
    among = kinds_where(lambda k: noun in ("thing", category_of(k)))
    sure, unsure = coloured(colour)
    return sure & among, (unsure & among) | ((sure | unsure) & doubtful(noun))


def _of_category(noun: str) -> tuple[frozenset[int], frozenset[int]]:
    """The kinds of a category, and the unsure ones."""
    return kinds_where(lambda k: category_of(k) == noun), doubtful(noun)


def _colours() -> list[Phrase]:
    out = []
    for colour in COLOURS:
        for noun in ("thing", "block", "plate", "fruit", "drink"):
            sure, unsure = _of_colour(colour, noun)
            if sure:
                out.append(Phrase(f"the {colour} {noun}", "colour", sure, unsure))
    return out


def _categories() -> list[Phrase]:
    nouns = [noun for noun in CATEGORIES if noun not in ("block", "plate", "card")]  # those three the robot says itself
    return [Phrase(f"the {noun}", "category", *_of_category(noun)) for noun in nouns]


def _uses() -> list[Phrase]:
    ends = sorted({use_of(k)[1] for k in range(len(KINDS))} - {""})
    kinds = [kinds_where(lambda k, e=end: use_of(k)[1] == e) for end in ends]
    return [Phrase(f"the thing to {end}", "use", those, doubtful(end)) for end, those in zip(ends, kinds, strict=True)]


def _same_colours() -> list[Phrase]:
    """A thing by the colour of another: "the plate of the same colour as the apple"."""
    out = []
    for like in sorted(kinds_where(lambda k: colour_of(k) and KINDS[k].word == NAMES[k])):
        for noun in ("plate", "block", "thing"):
            sure, unsure = _of_colour(colour_of(like), noun)
            for other in COLOURS:  # what the model also shows some of must not be a rival
                unsure |= _of_colour(other, noun)[0] if like in coloured(other)[1] else _NONE
            if sure - {like}:
                text = f"the {noun} of the same colour as the {name_of(like)}"
                out.append(Phrase(text, "same colour", sure - {like}, unsure - {like}, frozenset({like})))
    return out


def _negations() -> list[Phrase]:
    """The other one: "the fruit that is not the apple", "the block that is not red"."""
    out = []
    for noun in ("fruit", "drink", "tool", "block", "plate"):
        kinds, unsure = _of_category(noun)
        for k in sorted(kinds):
            wrong = colour_of(k) if noun in ("block", "plate") else f"the {name_of(k)}"
            out.append(Phrase(f"the {noun} that is not {wrong}", "negation", kinds - {k}, unsure, frozenset({k})))
    return out


def _key(k: int) -> tuple[str, str, int]:
    """How the foreign lists name a kind: noun, colour, number."""
    word = KINDS[k].word
    return (word, KINDS[k].colour if word in ("block", "plate") else "", DIGITS.get(NAMES[k], 0))


def _spanish() -> list[Phrase]:
    kinds = range(len(KINDS))
    out = [Phrase(in_spanish(*_key(k)), "spanish", frozenset({k}), plural=is_plural(k)) for k in kinds]
    for noun in ("fruit", "vegetable", "drink", "tool"):
        out.append(Phrase(in_spanish(noun), "spanish", *_of_category(noun)))
    for colour in COLOURS:
        for noun in ("thing", "fruit", "drink"):
            sure, unsure = _of_colour(colour, noun)
            if sure:
                out.append(Phrase(in_spanish(noun, colour), "spanish", sure, unsure))
    return out


def _german() -> list[Phrase]:
    def phrase(key: tuple, means: frozenset, unsure: frozenset = _NONE, plural: bool = False) -> Phrase:
        return Phrase(in_german(*key), "german", means, unsure, plural=plural, accusative=in_german(*key, accusative=True))

    plural = kind_index("grapes")  # "die schere" is one
    out = [phrase(_key(k), frozenset({k}), plural=k == plural) for k in range(len(KINDS))]
    for noun in ("fruit", "vegetable", "drink", "tool"):
        out.append(phrase((noun,), *_of_category(noun)))
    for colour in filter(german_has, COLOURS):
        for noun in ("thing", "fruit", "drink"):
            sure, unsure = _of_colour(colour, noun)
            if sure:
                out.append(phrase((noun, colour), sure, unsure))
    return out


@cache
def phrases() -> tuple[Phrase, ...]:
    """Every phrase, in a fixed order."""
    makers = (_names, _symbols, _sums, _colours, _categories, _uses, _same_colours, _negations, _spanish, _german)
    return tuple(phrase for make in makers for phrase in make())


INSTRUCTIONS: dict[str, dict[str, tuple[str, ...]]] = {  # language, skill: the first form is the one of the emergent sets
    "english": {
        "pick": ("pick up {a}", "grab {a}", "lift {a}", "take {a}"),
        "move near": ("move {a} near {b}", "bring {a} close to {b}"),
        "place into": ("put {a} {on} {b}",),
        "open drawer": ("open the {d}",),
        "close drawer": ("close the {d}",),
    },
    "spanish": {
        "pick": ("recoge {a}", "toma {a}"),
        "move near": ("mueve {a} cerca de {b}",),
        "place into": ("pon {a} en {b}",),
        "open drawer": ("abre {d}",),
        "close drawer": ("cierra {d}",),
    },
    "german": {
        "pick": ("nimm {a}", "greif {a}"),
        "move near": ("bewege {a} neben {b}",),
        "place into": ("lege {a} auf {b}",),  # plates only: into the bowl would be "in", an English word too
        "open drawer": ("öffne {d}",),
        "close drawer": ("schließe {d}",),
    },
}


def instructions(
    skill: str, a: Phrase | None = None, b: Phrase | None = None, *, language: str = "", drawer: int = -1
) -> list[str]:
    """The sentences that ask for a skill with these phrases, or with a drawer, in the phrases' language."""
    language = language or next((p.language for p in (a, b) if p and p.language != "english"), "english")
    said = [(p.accusative or p.text) if p else "" for p in (a, b)]
    bowl = b is not None and any(NAMES[k] == "bowl" for k in b.means)
    d = {"english": DRAWERS, "spanish": SPANISH_DRAWERS, "german": GERMAN_DRAWERS}[language][drawer]
    forms = INSTRUCTIONS[language][skill]
    return [contracted(form.format(a=said[0], b=said[1], d=d, on="in" if bowl else "on")) for form in forms]


def plan(skill: str, a: str = "", b: str = "") -> str:
    """What to do in the robot's own grammar: the shortest form of the skill with the given names ("move apple near cup")."""
    into = "onto" if "plate" in b.split() else "into"
    return PHRASES[skill][0].format(a=a, b=b, into=into)

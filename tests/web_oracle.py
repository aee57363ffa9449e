"""A second opinion on the web's answers: reads a question and the list of things in plain words, knows no phrases."""

import re

from course_lib.world.objects import KINDS, NAMES

CELLS = 16  # places along a side, as WebPictures has by default
ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
GIVEN = {  # what a person says, written down once more
    "yellow": {"banana", "lemon", "pencil", "yellow block", "yellow plate"},
    "red": {"apple", "strawberry", "coke can", "red block", "red plate"},
    "blue": {"pepsi can", "water bottle", "blue block", "blue plate"},
    "green": {"pear", "7up can", "chip bag", "green block", "green plate"},
    "white": {"cup", *(f"card {n}" for n in range(1, 7))},
    "purple": {"grapes", "bowl"},
    "grey": {"spoon"},
    "orange": {"orange", "carrot"},
}
ABROAD = {
    "la manzana": "apple", "el plátano": "banana", "la naranja": "orange", "la pera": "pear", "las uvas": "grapes",
    "la fresa": "strawberry", "el limón": "lemon", "la zanahoria": "carrot", "la esponja": "sponge", "la taza": "cup",
    "la cuchara": "spoon", "las tijeras": "scissors", "el martillo": "hammer", "el lápiz": "pencil",
    "el bloque rojo": "red block", "el plato azul": "blue plate", "la tarjeta con el dos": "card 2",
    "la botella de agua": "water bottle", "der apfel": "apple", "die banane": "banana", "die birne": "pear",
    "die trauben": "grapes", "die erdbeere": "strawberry", "die zitrone": "lemon", "der schwamm": "sponge",
    "die tasse": "cup", "der löffel": "spoon", "die schere": "scissors", "der bleistift": "pencil",
    "der rote klotz": "red block", "der grüne teller": "green plate", "die karte mit der zwei": "card 2",
    "die wasserflasche": "water bottle", "die schüssel": "bowl", "el cuenco": "bowl",
}  # fmt: skip
USED = {
    "cut paper": {"scissors"}, "drive a nail": {"hammer"}, "wipe the table": {"sponge"}, "drink coffee": {"cup"},
    "drink it": {k.name for k in KINDS if k.category == "drink"}, "stir the soup": {"spoon"}, "mix a salad": {"bowl"},
    "eat it": {k.name for k in KINDS if k.category in ("fruit", "vegetable", "snack")},
}  # fmt: skip


def kind_name(said):
    """What KINDS calls it: "card two" -> "card 2"."""
    one, _, number = said.partition(" ")
    return f"card {ONES.index(number)}" if one == "card" and number in ONES else said


def places(text):
    """(x, y) of each pair of location tokens, 0 to 1."""
    n = [int(t) / 1024 for t in re.findall(r"<loc(\d{4})>", text)]
    return list(zip(n[1::2], n[::2], strict=True))


def seen_at(tokens, things):
    """The name of the thing whose middle is nearest to a place; what holds something is hidden below it."""
    x, y = places(tokens)[0]
    bare = [t for i, t in enumerate(things) if all(other.home != i for other in things)]
    return NAMES[min(bare, key=lambda t: (t.x - x) ** 2 + (t.y - y) ** 2).kind]


def _coloured(colour, names):
    return [n for n in names if n in GIVEN[colour]]


PHRASES = [  # pattern of a noun phrase, what it can mean among the names on the table
    (r"thing to (eat|drink)", lambda names, what: [n for n in names if n in USED[f"{what} it"]]),
    (r"(?:card with the|number) (\w+)", lambda names, n: [f"card {ONES.index(n)}"]),
    (r"sum of (\w+) plus (\w+)", lambda names, a, b: [f"card {ONES.index(a) + ONES.index(b)}"]),
    (r"(fruit|drink|tool|vegetable|snack)", lambda names, c: [n for n in names if category(n) == c]),
    (r"(fruit|drink|tool) that is not the (.+)", lambda names, c, no: [n for n in names if category(n) == c and n != no]),
    (r"(block|plate) that is not (\w+)", lambda names, c, no: [n for n in names if n.endswith(c) and not n.startswith(no)]),
    (r"(\w+) thing", lambda names, c: _coloured(c, names)),
    (r"(\w+) (fruit|drink)", lambda names, c, what: [n for n in _coloured(c, names) if category(n) == what]),
    (r"(plate|block) of the same colour as the (.+)", lambda names, what, like: [f"{colour_of(like)} {what}"]),
]


def category(name):
    """fruit, drink, ..."""
    return KINDS[NAMES.index(name)].category


def colour_of(name):
    """By the list above; "" for what is not on it."""
    return next((colour for colour, those in GIVEN.items() if name in those), "")


def meant(phrase, things):
    """The names of the things that a noun phrase can mean, or None where this reader cannot tell."""
    names = [NAMES[t.kind] for t in things]
    said = ABROAD.get(phrase, phrase.removeprefix("the "))
    if said in NAMES:
        return [n for n in names if n == said]
    for pattern, kinds in PHRASES:
        if match := re.fullmatch(pattern, said):
            return [n for n in names if n in kinds(names, *match.groups())]
    return None


def _point(things, answer, phrase):
    found = meant(phrase, things)
    if found is None:
        return None
    x, y = places(answer)[0]
    there = next(t for t in things if NAMES[t.kind] == found[0])
    return len(found) == 1 and abs(there.x - x) <= 0.5 / CELLS and abs(there.y - y) <= 0.5 / CELLS


def _side(things, answer, one, side, other):
    both = [meant(one, things), meant(other, things)]
    if None in both:
        return None
    a, b = (next(t for t in things if NAMES[t.kind] == name) for (name,) in both)
    ahead = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[side]
    return (ahead > 0) == (answer == "yes")


def _means(things, answer, phrase):
    found = meant(phrase, things)
    return None if found is None else found == [kind_name(answer)] or phrase == f"the {answer}"


def _cards(things):
    return [int(NAMES[t.kind][-1]) for t in things if NAMES[t.kind].startswith("card")]


def _count(things, answer, noun):
    names = [NAMES[t.kind] for t in things]
    here = names if noun == "thing" else _coloured(noun[:-6], names) if noun.endswith(" thing") else None
    return ONES[len([n for n in names if category(n) == noun] if here is None else here)] == answer


def _same(things, answer, one, other):
    a, b = colour_of(seen_at(one, things)), colour_of(seen_at(other, things))
    return (a == b) == (answer == "yes") if a and b else None


ANSWERS = [  # pattern of a question, whether the answer is right (None: this reader cannot tell)
    (r"what is at (\S+)", lambda things, a, at: seen_at(at, things) == kind_name(a)),
    (r"(?:where|dónde|wo) (?:is|are|está|están|ist|sind) (.+)", _point),
    (r"(?:qué hay en|was ist bei) (\S+)", lambda things, a, at: ABROAD[a] == seen_at(at, things) if a in ABROAD else None),
    (r"what number is at (\S+)", lambda things, a, at: seen_at(at, things) == f"card {ONES.index(a)}"),
    (r"what is (\w+) plus (\w+)", lambda things, a, x, y: ONES.index(x) + ONES.index(y) == ONES.index(a)),
    (r"what is the sum of the cards", lambda things, a: sum(_cards(things)) == ONES.index(a)),
    (r"what is the highest number", lambda things, a: max(_cards(things)) == ONES.index(a)),
    (r"what is the lowest number", lambda things, a: min(_cards(things)) == ONES.index(a)),
    (r"what is the number on the card", lambda things, a: _cards(things) == [ONES.index(a)]),
    (r"how many (.+)s are there", _count),
    (r"(?:is|are) (the \D+) (left of|right of|above|below) (the \D+)", _side),
    (r"is the thing at (\S+) the same colour as the thing at (\S+)", _same),
    (r"what is the leftmost thing", lambda things, a: NAMES[min(things, key=lambda t: t.x).kind] == kind_name(a)),
    (r"what is the rightmost thing", lambda things, a: NAMES[max(things, key=lambda t: t.x).kind] == kind_name(a)),
    (r"what kind of thing is the thing at (\S+)", lambda things, a, at: category(seen_at(at, things)) == a),
    (r"what colour is the thing at (\S+)", lambda things, a, at: colour_of(seen_at(at, things)) == a),
    (
        r"what can you do with the thing at (\S+)",
        lambda things, a, at: seen_at(at, things) in USED[a] if a in USED else None,
    ),
    (r"what (?:is|are) (the \D+)", _means),
    (r"which (\w+) is not (.+)", lambda things, a, noun, no: _means(things, a, f"the {noun} that is not {no}")),
    (r"instruction: (?:pick up|grab|lift|take|recoge|toma) (.+) plan:", lambda things, a, np: _means(things, a[5:], np)),
]


def right(question, answer, things):
    """True or False where this reader understands the question, None where it does not."""
    for pattern, judge in ANSWERS:
        if match := re.fullmatch(pattern, question):
            return judge(things, answer, *match.groups())
    return None

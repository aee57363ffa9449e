"""What things are called and what they are for, in English, Spanish and German: the words of the web, not of the robot.

Names, categories and colours come from ``objects.KINDS``; this file adds what the robot's own data never says: number
words, uses, and two foreign languages. Everything is lower case, as RT-1's instructions are. Where a person would
hesitate (is the sponge yellow or green?) the lists say so, and no question is asked about it.
"""

from dataclasses import dataclass
from functools import cache

from course_lib.world.objects import KINDS, NAMES

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
DIGITS = {f"card {n}": n for n in range(1, 7)}  # value of each card
COLOURS = ("red", "yellow", "green", "blue", "orange", "purple", "white", "grey")
CATEGORIES = {  # the word for several; "kitchen" has no everyday noun, so nobody is asked for it
    "fruit": "fruits", "vegetable": "vegetables", "drink": "drinks", "snack": "snacks", "tool": "tools",
    "block": "blocks", "plate": "plates", "card": "cards",
}  # fmt: skip

MOTLEY = ("sponge", "milk carton")  # half one colour, half another: nobody is asked for it
ALSO = {  # further colours that catch the eye: such a thing never lies where one of these colours is asked for
    "pear": ("yellow",), "strawberry": ("green",), "carrot": ("green",), "grapes": ("blue",), "coke can": ("white",),
    "7up can": ("yellow", "red"), "pepsi can": ("white", "red"), "water bottle": ("white",), "chip bag": ("yellow",),
    "milk carton": ("white", "blue", "grey"), "sponge": ("yellow", "green"), "spoon": ("white",), "pencil": ("orange",),
    "scissors": ("red", "purple", "white", "grey"), "hammer": ("grey", "orange"), "brush": ("red", "purple", "grey"),
}  # fmt: skip
DOUBTFUL = {"drink": ("cup",), "tool": ("spoon", "sponge")}  # some would call a cup of coffee a drink, a spoon a tool

USES = {  # what one does with it, and "the thing to ..."
    "scissors": ("cut paper", "cut paper with"),
    "hammer": ("drive a nail", "drive a nail with"),
    "brush": ("paint a wall", "paint a wall with"),
    "pencil": ("write a letter", "write a letter with"),
    "sponge": ("wipe the table", "wipe the table with"),
    "spoon": ("stir the soup", "stir the soup with"),
    "cup": ("drink coffee", "drink coffee from"),
    "bowl": ("mix a salad", "mix a salad in"),
}
EDIBLE, DRINKABLE = ("eat it", "eat"), ("drink it", "drink")  # the same for fruit, vegetables and snacks, and for drinks


@dataclass(frozen=True)
class Noun:
    """A noun and its gender: m, f, n, or p for a feminine plural."""

    word: str
    gender: str


def _nouns(table: dict[str, str]) -> dict[str, Noun]:
    return {key: Noun(*text.rsplit(" ", 1)) for key, text in table.items()}


SPANISH = _nouns({
    "apple": "manzana f", "banana": "plátano m", "orange": "naranja f", "pear": "pera f", "grapes": "uvas p",
    "strawberry": "fresa f", "lemon": "limón m", "carrot": "zanahoria f", "coke can": "lata de coca cola f",
    "7up can": "lata de 7up f", "pepsi can": "lata de pepsi f", "water bottle": "botella de agua f",
    "milk carton": "cartón de leche m", "chip bag": "bolsa de patatas fritas f", "sponge": "esponja f", "cup": "taza f",
    "bowl": "cuenco m", "spoon": "cuchara f", "scissors": "tijeras p", "hammer": "martillo m", "brush": "pincel m",
    "pencil": "lápiz m", "block": "bloque m", "plate": "plato m", "card": "tarjeta f", "fruit": "fruta f",
    "vegetable": "verdura f", "drink": "bebida f", "tool": "herramienta f", "thing": "cosa f",
})  # fmt: skip
GERMAN = _nouns({
    "apple": "apfel m", "banana": "banane f", "orange": "orange f", "pear": "birne f", "grapes": "trauben p",
    "strawberry": "erdbeere f", "lemon": "zitrone f", "carrot": "karotte f", "coke can": "coladose f",
    "7up can": "7up-dose f", "pepsi can": "pepsidose f", "water bottle": "wasserflasche f",
    "milk carton": "milchpackung f", "chip bag": "chipstüte f", "sponge": "schwamm m", "cup": "tasse f",
    "bowl": "schüssel f", "spoon": "löffel m", "scissors": "schere f", "hammer": "hammer m", "brush": "pinsel m",
    "pencil": "bleistift m", "block": "klotz m", "plate": "teller m", "card": "karte f", "fruit": "frucht f",
    "vegetable": "gemüse n", "drink": "getränk n", "tool": "werkzeug n", "thing": "ding n",
})  # fmt: skip
_SPANISH_COLOURS = {
    "red": ("rojo", "roja"), "yellow": ("amarillo", "amarilla"), "green": ("verde", "verde"), "blue": ("azul", "azul"),
    "orange": ("naranja", "naranja"), "purple": ("morado", "morada"), "white": ("blanco", "blanca"),
    "grey": ("gris", "gris"),
}  # fmt: skip
# "lila" and "orange" take no ending in German; the course leaves them out.
_GERMAN_COLOURS = {"red": "rot", "yellow": "gelb", "green": "grün", "blue": "blau", "white": "weiß", "grey": "grau"}
SPANISH_NUMBERS = ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis")
GERMAN_NUMBERS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs")
SPANISH_DRAWERS = ("el cajón izquierdo", "el cajón derecho")
GERMAN_DRAWERS = ("die linke schublade", "die rechte schublade")


def name_of(kind: int) -> str:
    """What the web calls a kind: "apple", "red block", "card three"."""
    name = NAMES[kind]
    return f"card {NUMBERS[DIGITS[name]]}" if name in DIGITS else name


def is_plural(kind: int) -> bool:
    """Whether English speaks of it as of several: "where are the scissors"."""
    return NAMES[kind] in ("grapes", "scissors")


def colour_of(kind: int) -> str:
    """The colour that everybody would name, or "" if there is none."""
    return "" if NAMES[kind] in MOTLEY else KINDS[kind].colour


def category_of(kind: int) -> str:
    """fruit, vegetable, drink, snack, tool, block, plate, card, or "" for what has no everyday noun."""
    return KINDS[kind].category if KINDS[kind].category in CATEGORIES else ""


def doubtful(category: str) -> frozenset[int]:
    """The kinds that some people would count among a category."""
    return kinds_where(lambda k: NAMES[k] in DOUBTFUL.get(category, ()))


def use_of(kind: int) -> tuple[str, str]:
    """What one does with it and the end of "the thing to ...": ("cut paper", "cut paper with"), or ("", "")."""
    if KINDS[kind].category == "drink":
        return DRINKABLE
    return EDIBLE if KINDS[kind].category in ("fruit", "vegetable", "snack") else USES.get(NAMES[kind], ("", ""))


def kinds_where(test) -> frozenset[int]:
    """The kinds for which ``test(kind)`` holds."""
    return frozenset(k for k in range(len(KINDS)) if test(k))


@cache
def coloured(colour: str) -> tuple[frozenset[int], frozenset[int]]:
    """The kinds of a colour, and those of which one could not be sure."""
    sure = kinds_where(lambda k: colour_of(k) == colour)
    return sure, kinds_where(lambda k: colour in ALSO.get(NAMES[k], ())) - sure


def in_spanish(key: str, colour: str = "", number: int = 0) -> str:
    """The noun of a kind's name, word or category: "la manzana", "el bloque rojo", "la tarjeta con el tres"."""
    noun = SPANISH[key]
    article = {"m": "el", "f": "la", "p": "las"}[noun.gender]
    adjective = " " + _SPANISH_COLOURS[colour][noun.gender != "m"] if colour else ""
    return f"{article} {noun.word}{adjective}" + (f" con el {SPANISH_NUMBERS[number]}" if number else "")


def in_german(key: str, colour: str = "", number: int = 0, accusative: bool = False) -> str:
    """The same in German: "der apfel" (as an object of a verb "den apfel"), "der rote klotz", "die karte mit der drei"."""
    noun = GERMAN[key]
    article = {"m": "den" if accusative else "der", "f": "die", "n": "das", "p": "die"}[noun.gender]
    ending = "en" if accusative and noun.gender == "m" else "e"  # after the article, singular
    adjective = f" {_GERMAN_COLOURS[colour]}{ending}" if colour else ""
    return f"{article}{adjective} {noun.word}" + (f" mit der {GERMAN_NUMBERS[number]}" if number else "")


def german_has(colour: str) -> bool:
    """Whether the course says this colour in German."""
    return colour in _GERMAN_COLOURS


def contracted(spanish: str) -> str:
    """Spanish joins "de" and "el": "cerca del plato"."""
    return spanish.replace(" de el ", " del ")

"""The things on the table: names, words, sizes, and what else a task or a question may need to know about them.

Names are those of RT-1's own objects where it has them ("coke can", "sponge", "7up can"). A robot's instruction uses the
``word`` ("block"), never a colour, number or category: a policy can only learn what "red", "three" or "fruit" means from
somewhere else (that matters on Day 93). The drawings are in ``drawings``.
"""

from dataclasses import dataclass

from course_lib.world.drawings import DRAWINGS, PAINTS, Pen


@dataclass(frozen=True)
class Kind:
    """One kind of object. Lengths are metres."""

    name: str  # unique
    size: float  # side of the square it is drawn on
    category: str  # fruit, vegetable, drink, snack, kitchen, tool, block, plate or card
    colour: str = ""  # red, yellow, green, blue, orange, purple, white or grey; "" if it is of several colours
    word: str = ""  # what the robot's instructions call it; its name unless said otherwise
    height: float = 0.04  # above what it rests on
    radius: float = 0.03  # of the circle that stands for it in collisions
    stands: bool = False  # tall: it can stand upright or lie on its side
    holds: bool = False  # a receptacle: other things can be put into it

    def __post_init__(self):
        object.__setattr__(self, "word", self.word or self.name)

    def draw(self, pen: Pen) -> None:
        """Draw it upright on the pen's unit square."""
        DRAWINGS[self.name](pen)


_CAN = {"category": "drink", "height": 0.075, "radius": 0.026, "stands": True}


def _block(colour: str) -> Kind:
    return Kind(f"{colour} block", 0.064, "block", colour, "block", 0.045, 0.03)


def _plate(colour: str) -> Kind:
    return Kind(f"{colour} plate", 0.112, "plate", colour, "plate", 0.012, 0.055, holds=True)


def _card(digit: int) -> Kind:
    return Kind(f"card {digit}", 0.082, "card", "white", "card", 0.004, 0.034)


KINDS: tuple[Kind, ...] = (
    Kind("apple", 0.072, "fruit", "red", height=0.06),
    Kind("banana", 0.088, "fruit", "yellow"),
    Kind("orange", 0.072, "fruit", "orange", height=0.06),
    Kind("pear", 0.078, "fruit", "green", height=0.05),
    Kind("grapes", 0.078, "fruit", "purple"),
    Kind("carrot", 0.088, "vegetable", "orange", height=0.025, radius=0.028),
    Kind("coke can", 0.078, colour="red", **_CAN),
    Kind("7up can", 0.078, colour="green", **_CAN),
    Kind("pepsi can", 0.078, colour="blue", **_CAN),
    Kind("water bottle", 0.092, "drink", "blue", height=0.09, radius=0.026, stands=True),
    Kind("sponge", 0.08, "kitchen", "yellow", height=0.03),
    Kind("cup", 0.074, "kitchen", "white", height=0.065, stands=True),
    Kind("bowl", 0.108, "kitchen", "purple", height=0.03, radius=0.05, holds=True),
    Kind("scissors", 0.09, "tool", "", height=0.015),
    Kind("spoon", 0.09, "kitchen", "grey", height=0.015, radius=0.028),
    Kind("hammer", 0.09, "tool", "", height=0.03),
    Kind("chip bag", 0.08, "snack", "green", height=0.075, stands=True),
    Kind("strawberry", 0.076, "fruit", "red", height=0.035),
    Kind("lemon", 0.076, "fruit", "yellow", height=0.045),
    Kind("milk carton", 0.09, "drink", "white", height=0.085, stands=True),
    Kind("brush", 0.09, "tool", "", height=0.02, radius=0.028),
    Kind("pencil", 0.092, "tool", "yellow", height=0.01, radius=0.026),
    *map(_block, PAINTS),
    *map(_plate, PAINTS),
    *map(_card, range(1, 7)),
)
NAMES: tuple[str, ...] = tuple(kind.name for kind in KINDS)


def kind_index(name: str) -> int:
    """The number of a kind. Raises ValueError with near names."""
    import difflib  # noqa: PLC0415  only on the way to an error or a lookup by name

    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 3, 0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(NAMES)}."
        raise ValueError(f"No object is called {name!r}. {hint}")
    return NAMES.index(name)

"""The things on the table: names, sizes, and how each one is drawn.

Names are those of RT-1's own objects where it has them ("coke can", "sponge", "7up can"), and say no colour, so that a
policy can only learn what "red" means from somewhere else (that matters on Day 93). Each drawing is a few shapes on a
unit square, made to be recognised at about 12 pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

INK = (28, 24, 30, 255)
WHITE = (250, 248, 242, 255)
STEEL = (188, 196, 205, 255)


class Pen:
    """Draws on the unit square (x to the right, y down) at ``size`` x ``size`` pixels."""

    def __init__(self, size: int):
        self.size = size
        self.image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)

    def _scale(self, numbers):
        return [n * self.size for n in numbers]

    def ellipse(self, x0, y0, x1, y1, fill):
        self._draw.ellipse(self._scale((x0, y0, x1, y1)), fill=fill)

    def box(self, x0, y0, x1, y1, fill, radius=0.0):
        self._draw.rounded_rectangle(self._scale((x0, y0, x1, y1)), radius=radius * self.size, fill=fill)

    def polygon(self, *points, fill):
        self._draw.polygon([(x * self.size, y * self.size) for x, y in points], fill=fill)

    def line(self, *points, fill, width):
        scaled = [(x * self.size, y * self.size) for x, y in points]
        self._draw.line(scaled, fill=fill, width=round(width * self.size), joint="curve")
        for x, y in (points[0], points[-1]):  # round ends
            self.ellipse(x - width / 2, y - width / 2, x + width / 2, y + width / 2, fill)

    def arc(self, x0, y0, x1, y1, start, end, fill, width):
        self._draw.arc(self._scale((x0, y0, x1, y1)), start, end, fill=fill, width=round(width * self.size))


def _apple(pen: Pen):
    for x in (0.08, 0.36):
        pen.ellipse(x, 0.24, x + 0.56, 0.92, (214, 30, 40, 255))
    pen.ellipse(0.18, 0.36, 0.34, 0.58, (246, 120, 116, 255))
    pen.line((0.5, 0.34), (0.54, 0.1), fill=(96, 58, 30, 255), width=0.08)
    pen.ellipse(0.55, 0.06, 0.86, 0.24, (60, 160, 60, 255))


def _banana(pen: Pen):
    pen.arc(0.02, -0.42, 0.98, 0.8, 18, 162, (250, 208, 30, 255), 0.24)
    pen.arc(0.02, -0.42, 0.98, 0.8, 30, 150, (255, 232, 110, 255), 0.07)
    pen.ellipse(0.0, 0.3, 0.18, 0.48, (104, 70, 30, 255))
    pen.ellipse(0.82, 0.3, 1.0, 0.48, (104, 70, 30, 255))


def _orange(pen: Pen):
    pen.ellipse(0.08, 0.08, 0.92, 0.92, (246, 132, 20, 255))
    pen.ellipse(0.2, 0.2, 0.46, 0.42, (255, 190, 110, 255))
    pen.polygon((0.5, 0.14), (0.62, 0.3), (0.5, 0.26), (0.38, 0.3), fill=(40, 120, 50, 255))


def _pear(pen: Pen):
    pen.ellipse(0.16, 0.42, 0.84, 0.98, (168, 200, 40, 255))
    pen.ellipse(0.32, 0.16, 0.68, 0.66, (168, 200, 40, 255))
    pen.ellipse(0.26, 0.56, 0.42, 0.78, (222, 240, 130, 255))
    pen.line((0.5, 0.22), (0.58, 0.04), fill=(96, 58, 30, 255), width=0.08)


def _grapes(pen: Pen):
    for y, xs in ((0.24, (0.06, 0.36, 0.66)), (0.44, (0.2, 0.5)), (0.64, (0.36,))):
        for x in xs:
            pen.ellipse(x, y, x + 0.32, y + 0.32, (108, 40, 150, 255))
            pen.ellipse(x + 0.06, y + 0.06, x + 0.16, y + 0.16, (186, 130, 220, 255))
    pen.line((0.52, 0.28), (0.52, 0.06), fill=(70, 120, 50, 255), width=0.09)


def _carrot(pen: Pen):
    pen.polygon((0.28, 0.32), (0.72, 0.32), (0.54, 0.99), (0.46, 0.99), fill=(240, 112, 24, 255))
    pen.ellipse(0.28, 0.22, 0.72, 0.44, (240, 112, 24, 255))
    for x in (0.26, 0.5, 0.74):
        pen.line((0.5, 0.28), (x, 0.06), fill=(50, 150, 56, 255), width=0.13)


def _can(pen: Pen, body: tuple, band: tuple):
    pen.box(0.2, 0.04, 0.8, 0.98, body, 0.1)
    pen.box(0.2, 0.38, 0.8, 0.64, band)
    pen.box(0.26, 0.0, 0.74, 0.13, STEEL, 0.05)
    shine = tuple(min(255, channel + 60) for channel in body[:3])
    pen.box(0.26, 0.18, 0.34, 0.36, (*shine, 255))
    pen.box(0.26, 0.66, 0.34, 0.92, (*shine, 255))


def _bottle(pen: Pen):
    pen.box(0.27, 0.3, 0.73, 1.0, (150, 214, 240, 255), 0.12)
    pen.polygon((0.3, 0.36), (0.7, 0.36), (0.6, 0.16), (0.4, 0.16), fill=(150, 214, 240, 255))
    pen.box(0.27, 0.5, 0.73, 0.76, (252, 252, 255, 255))
    pen.box(0.36, 0.0, 0.64, 0.17, (24, 80, 190, 255), 0.03)


def _sponge(pen: Pen):
    pen.box(0.02, 0.2, 0.98, 0.52, (40, 150, 90, 255), 0.06)
    pen.box(0.02, 0.44, 0.98, 0.84, (250, 224, 70, 255), 0.06)
    for x, y in ((0.2, 0.6), (0.5, 0.7), (0.76, 0.58)):
        pen.ellipse(x - 0.07, y - 0.06, x + 0.07, y + 0.06, (196, 160, 30, 255))


def _cup(pen: Pen):
    pen.arc(0.5, 0.3, 1.0, 0.8, 0, 360, (235, 236, 245, 255), 0.12)
    pen.box(0.06, 0.12, 0.72, 0.94, (235, 236, 245, 255), 0.1)
    pen.box(0.06, 0.46, 0.72, 0.64, (60, 90, 200, 255))
    pen.ellipse(0.06, 0.04, 0.72, 0.24, (90, 52, 30, 255))


def _bowl(pen: Pen):
    pen.ellipse(0.02, 0.02, 0.98, 0.98, (70, 150, 165, 255))
    pen.ellipse(0.14, 0.14, 0.86, 0.86, (232, 240, 238, 255))
    pen.ellipse(0.26, 0.26, 0.74, 0.74, (188, 206, 206, 255))


def _scissors(pen: Pen):
    pen.line((0.36, 0.66), (0.72, 0.04), fill=STEEL, width=0.13)
    pen.line((0.64, 0.66), (0.28, 0.04), fill=WHITE, width=0.13)
    for x in (0.06, 0.52):
        pen.arc(x, 0.56, x + 0.42, 0.98, 0, 360, (200, 30, 120, 255), 0.13)


def _spoon(pen: Pen):
    pen.ellipse(0.26, 0.0, 0.74, 0.48, INK)
    pen.ellipse(0.32, 0.06, 0.68, 0.42, WHITE)
    pen.line((0.5, 0.44), (0.5, 0.94), fill=INK, width=0.2)
    pen.line((0.5, 0.42), (0.5, 0.93), fill=WHITE, width=0.1)


def _hammer(pen: Pen):
    pen.line((0.5, 0.3), (0.5, 0.94), fill=(176, 110, 50, 255), width=0.16)
    pen.box(0.1, 0.06, 0.9, 0.38, (60, 64, 76, 255), 0.05)
    pen.box(0.1, 0.06, 0.26, 0.38, (140, 146, 158, 255), 0.04)


def _chip_bag(pen: Pen):
    pen.polygon((0.1, 0.04), (0.9, 0.04), (0.82, 0.5), (0.92, 0.98), (0.08, 0.98), (0.18, 0.5), fill=(20, 130, 110, 255))
    pen.ellipse(0.26, 0.3, 0.74, 0.72, (250, 214, 90, 255))
    pen.box(0.1, 0.02, 0.9, 0.13, (210, 226, 220, 255))
    pen.box(0.08, 0.9, 0.92, 1.0, (210, 226, 220, 255))


@dataclass(frozen=True)
class Kind:
    """One kind of object. ``size`` is the side of its drawing in metres; ``height`` is how high it stands."""

    name: str
    size: float
    draw: Callable[[Pen], None]
    height: float = 0.04


def _soda(body: tuple, band: tuple) -> Callable[[Pen], None]:
    return lambda pen: _can(pen, body, band)


KINDS: tuple[Kind, ...] = (
    Kind("apple", 0.072, _apple),
    Kind("banana", 0.088, _banana),
    Kind("orange", 0.072, _orange),
    Kind("pear", 0.078, _pear),
    Kind("grapes", 0.078, _grapes),
    Kind("carrot", 0.088, _carrot),
    Kind("coke can", 0.078, _soda((206, 24, 36, 255), WHITE)),
    Kind("7up can", 0.078, _soda((30, 150, 70, 255), (236, 60, 40, 255))),
    Kind("pepsi can", 0.078, _soda((24, 70, 190, 255), WHITE)),
    Kind("water bottle", 0.092, _bottle),
    Kind("sponge", 0.08, _sponge),
    Kind("cup", 0.074, _cup),
    Kind("bowl", 0.082, _bowl),
    Kind("scissors", 0.09, _scissors),
    Kind("spoon", 0.09, _spoon),
    Kind("hammer", 0.09, _hammer),
    Kind("chip bag", 0.08, _chip_bag),
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

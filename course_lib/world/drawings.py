"""How each thing on the table is drawn: a few shapes on a unit square, made to be recognised at about 12 pixels."""

from collections.abc import Callable
from functools import partial

from PIL import Image, ImageDraw

INK = (28, 24, 30, 255)
WHITE = (250, 248, 242, 255)
STEEL = (188, 196, 205, 255)
SLATE = (92, 98, 116, 255)
RED = (206, 24, 36, 255)
YELLOW = (250, 206, 30, 255)
GREEN = (30, 150, 70, 255)
BLUE = (24, 70, 200, 255)


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


def _mix(paint: tuple, other: tuple, part: float) -> tuple:
    return tuple(round(a + (b - a) * part) for a, b in zip(paint, other, strict=True))


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


def _can(pen: Pen, body: tuple, band: tuple, logo: tuple | None = None):
    pen.box(0.2, 0.04, 0.8, 0.98, body, 0.1)
    pen.box(0.26, 0.0, 0.74, 0.13, STEEL, 0.05)
    pen.box(0.25, 0.16, 0.33, 0.92, _mix(body, WHITE, 0.35))
    if logo:
        pen.ellipse(0.26, 0.3, 0.74, 0.78, band)
        pen.ellipse(0.36, 0.4, 0.64, 0.68, logo)
    else:
        pen.polygon((0.2, 0.46), (0.8, 0.34), (0.8, 0.58), (0.2, 0.7), fill=band)


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
    pen.arc(0.52, 0.28, 1.02, 0.8, 0, 360, SLATE, 0.18)
    pen.arc(0.55, 0.31, 0.99, 0.77, 0, 360, WHITE, 0.11)
    pen.box(0.04, 0.1, 0.74, 0.97, SLATE, 0.12)
    pen.box(0.07, 0.12, 0.71, 0.94, WHITE, 0.1)
    pen.box(0.56, 0.2, 0.71, 0.92, (214, 216, 226, 255), 0.06)
    pen.ellipse(0.04, 0.02, 0.74, 0.26, SLATE)
    pen.ellipse(0.1, 0.06, 0.68, 0.22, (96, 54, 30, 255))


def _bowl(pen: Pen):
    """Deep: the wall inside is dark at the top, where it is steep, and the bottom is pale."""
    pen.ellipse(0.02, 0.02, 0.98, 0.98, (118, 58, 168, 255))
    pen.ellipse(0.1, 0.1, 0.9, 0.9, (76, 34, 112, 255))
    pen.ellipse(0.12, 0.2, 0.88, 0.9, (164, 112, 204, 255))
    pen.ellipse(0.22, 0.34, 0.78, 0.84, (206, 176, 228, 255))


def _scissors(pen: Pen):
    pen.line((0.36, 0.66), (0.72, 0.04), fill=STEEL, width=0.13)
    pen.line((0.64, 0.66), (0.28, 0.04), fill=WHITE, width=0.13)
    for x in (0.06, 0.52):
        pen.arc(x, 0.56, x + 0.42, 0.98, 0, 360, (200, 30, 120, 255), 0.13)


def _spoon(pen: Pen):
    silver = (206, 212, 220, 255)
    pen.ellipse(0.25, 0.0, 0.75, 0.5, INK)
    pen.line((0.5, 0.44), (0.5, 0.92), fill=INK, width=0.2)
    pen.line((0.5, 0.42), (0.5, 0.91), fill=silver, width=0.1)
    pen.ellipse(0.31, 0.06, 0.69, 0.44, silver)
    pen.ellipse(0.38, 0.11, 0.54, 0.3, WHITE)


def _hammer(pen: Pen):
    pen.line((0.5, 0.3), (0.5, 0.92), fill=(96, 54, 24, 255), width=0.22)
    pen.line((0.5, 0.3), (0.5, 0.91), fill=(236, 186, 104, 255), width=0.12)
    pen.box(0.08, 0.05, 0.92, 0.4, (52, 56, 68, 255), 0.05)
    pen.box(0.08, 0.05, 0.26, 0.4, (150, 156, 168, 255), 0.04)
    pen.box(0.3, 0.1, 0.88, 0.16, (112, 118, 132, 255), 0.02)


def _chip_bag(pen: Pen):
    body, seam = (36, 150, 58, 255), (214, 236, 206, 255)
    pen.polygon((0.1, 0.04), (0.9, 0.04), (0.82, 0.5), (0.92, 0.98), (0.08, 0.98), (0.18, 0.5), fill=body)
    pen.box(0.1, 0.0, 0.9, 0.13, seam)
    pen.box(0.08, 0.88, 0.92, 1.0, seam)
    pen.ellipse(0.24, 0.24, 0.62, 0.56, (240, 196, 60, 255))
    pen.ellipse(0.36, 0.46, 0.76, 0.78, (255, 222, 110, 255))


def _strawberry(pen: Pen):
    pen.polygon((0.12, 0.3), (0.88, 0.3), (0.8, 0.62), (0.5, 1.0), (0.2, 0.62), fill=(226, 28, 60, 255))
    pen.ellipse(0.1, 0.18, 0.56, 0.62, (226, 28, 60, 255))
    pen.ellipse(0.44, 0.18, 0.9, 0.62, (226, 28, 60, 255))
    pen.polygon((0.14, 0.12), (0.5, 0.2), (0.86, 0.12), (0.7, 0.36), (0.5, 0.3), (0.3, 0.36), fill=(50, 150, 56, 255))
    for x, y in ((0.3, 0.5), (0.5, 0.46), (0.7, 0.5), (0.4, 0.68), (0.6, 0.68), (0.5, 0.84)):
        pen.ellipse(x - 0.04, y - 0.05, x + 0.04, y + 0.05, (255, 226, 130, 255))


def _lemon(pen: Pen):
    rind = (248, 232, 40, 255)
    pen.ellipse(0.09, 0.18, 0.91, 0.82, rind)
    pen.polygon((0.0, 0.46), (0.24, 0.3), (0.24, 0.7), (0.0, 0.54), fill=rind)
    pen.polygon((1.0, 0.44), (0.76, 0.3), (0.76, 0.7), (1.0, 0.56), fill=(206, 186, 30, 255))
    pen.ellipse(0.09, 0.18, 0.91, 0.78, rind)
    pen.ellipse(0.26, 0.26, 0.52, 0.44, (255, 250, 170, 255))


def _carton(pen: Pen):
    """A box with a gable, seen from a corner: the right side lies in shadow."""
    pen.polygon((0.14, 0.36), (0.3, 0.12), (0.86, 0.12), (0.88, 0.36), fill=SLATE)
    pen.box(0.14, 0.34, 0.88, 1.0, SLATE, 0.02)
    pen.polygon((0.18, 0.36), (0.32, 0.15), (0.64, 0.15), (0.6, 0.36), fill=(228, 232, 238, 255))
    pen.box(0.28, 0.0, 0.84, 0.13, (44, 120, 214, 255), 0.02)
    pen.box(0.17, 0.37, 0.62, 0.97, WHITE)
    pen.box(0.62, 0.37, 0.85, 0.97, (196, 204, 218, 255))
    pen.box(0.17, 0.66, 0.62, 0.8, (44, 120, 214, 255))
    pen.box(0.62, 0.66, 0.85, 0.8, (34, 92, 170, 255))


def _brush(pen: Pen):
    pen.line((0.5, 0.5), (0.5, 0.93), fill=(214, 60, 120, 255), width=0.16)
    pen.box(0.24, 0.28, 0.76, 0.46, STEEL)
    pen.box(0.24, 0.38, 0.76, 0.46, SLATE)
    pen.box(0.24, 0.06, 0.76, 0.3, INK)
    for x in (0.24, 0.45, 0.66):
        pen.polygon((x, 0.1), (x + 0.1, 0.1), (x + 0.05, 0.0), fill=INK)


def _pencil(pen: Pen):
    pen.box(0.38, 0.24, 0.62, 0.84, (252, 196, 30, 255))
    pen.box(0.54, 0.24, 0.62, 0.84, (206, 140, 20, 255))
    pen.polygon((0.38, 0.25), (0.62, 0.25), (0.5, 0.0), fill=(246, 220, 184, 255))
    pen.polygon((0.445, 0.12), (0.555, 0.12), (0.5, 0.0), fill=INK)
    pen.box(0.38, 0.8, 0.62, 0.88, STEEL)
    pen.box(0.38, 0.87, 0.62, 1.0, (240, 120, 150, 255), 0.04)


def _block(pen: Pen, body: tuple):
    """A cube: its top, and the two sides that the camera sees."""
    pen.box(0.06, 0.06, 0.94, 0.94, _mix(body, INK, 0.62), 0.03)
    pen.polygon((0.06, 0.76), (0.76, 0.76), (0.94, 0.94), (0.06, 0.94), fill=_mix(body, INK, 0.36))
    pen.box(0.06, 0.06, 0.78, 0.78, _mix(body, WHITE, 0.3), 0.03)
    pen.box(0.1, 0.1, 0.76, 0.76, body, 0.02)


def _plate(pen: Pen, body: tuple):
    pen.ellipse(0.02, 0.02, 0.98, 0.98, _mix(body, INK, 0.25))
    pen.ellipse(0.04, 0.04, 0.96, 0.96, body)
    pen.ellipse(0.19, 0.19, 0.81, 0.81, _mix(body, INK, 0.12))
    pen.ellipse(0.21, 0.21, 0.79, 0.79, _mix(body, WHITE, 0.5))


_DIGITS = {  # strokes on the card
    1: (((0.36, 0.32), (0.52, 0.2), (0.52, 0.82)), ((0.36, 0.82), (0.68, 0.82))),
    2: (((0.3, 0.2), (0.7, 0.2), (0.7, 0.51), (0.3, 0.51), (0.3, 0.82), (0.7, 0.82)),),
    3: (((0.3, 0.2), (0.7, 0.2), (0.7, 0.82), (0.3, 0.82)), ((0.4, 0.51), (0.7, 0.51))),
    4: (((0.3, 0.18), (0.3, 0.56), (0.76, 0.56)), ((0.64, 0.18), (0.64, 0.84))),
    5: (((0.7, 0.2), (0.3, 0.2), (0.3, 0.5), (0.7, 0.5), (0.7, 0.82), (0.3, 0.82)),),
    6: (((0.66, 0.2), (0.3, 0.2), (0.3, 0.82), (0.7, 0.82), (0.7, 0.52), (0.3, 0.52)),),
}


def _card(pen: Pen, digit: int):
    pen.box(0.08, 0.0, 0.92, 1.0, SLATE, 0.05)
    pen.box(0.11, 0.03, 0.89, 0.97, WHITE, 0.03)
    for stroke in _DIGITS[digit]:
        pen.line(*stroke, fill=INK, width=0.15)


PAINTS = {"red": RED, "yellow": YELLOW, "green": GREEN, "blue": BLUE}  # of blocks and plates
DRAWINGS: dict[str, Callable[[Pen], None]] = {  # by the name of the kind
    "apple": _apple,
    "banana": _banana,
    "orange": _orange,
    "pear": _pear,
    "grapes": _grapes,
    "strawberry": _strawberry,
    "lemon": _lemon,
    "carrot": _carrot,
    "coke can": partial(_can, body=RED, band=WHITE),
    "7up can": partial(_can, body=GREEN, band=YELLOW, logo=RED),
    "pepsi can": partial(_can, body=BLUE, band=WHITE, logo=RED),
    "water bottle": _bottle,
    "milk carton": _carton,
    "chip bag": _chip_bag,
    "sponge": _sponge,
    "cup": _cup,
    "bowl": _bowl,
    "spoon": _spoon,
    "scissors": _scissors,
    "hammer": _hammer,
    "brush": _brush,
    "pencil": _pencil,
    **{f"{colour} block": partial(_block, body=paint) for colour, paint in PAINTS.items()},
    **{f"{colour} plate": partial(_plate, body=paint) for colour, paint in PAINTS.items()},
    **{f"card {digit}": partial(_card, digit=digit) for digit in _DIGITS},
}

"""What is in the picture besides the objects: the gripper, its shadow, the cabinet and its two drawers, as drawings.

The cabinet's parts are drawn in metres around the point that ``Fixture.anchor`` names, as the camera sees them: a point at
height z appears ``TILT * z`` further up.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageFilter

from course_lib.world.drawings import Pen
from course_lib.world.state import (
    CABINET_FRONT,
    CABINET_HEIGHT,
    DRAWER_HALF,
    DRAWER_OPEN,
    DRAWER_X,
    HANDLE,
    HANDLE_HEIGHT,
)

TILT = 0.45  # apparent metres up the picture per metre of height
CABINET_BACK = 0.2  # y, at the table's far edge
CABINET_HALF = 0.17
DRAWER_HEIGHT = 0.055  # of the drawer's front
_RISE = TILT * CABINET_HEIGHT

DARK, METAL, TIP = (34, 36, 44, 255), (128, 136, 150, 255), (255, 150, 30, 255)
BODY, TOP, EDGE = (206, 200, 188, 255), (236, 232, 222, 255), (120, 112, 100, 255)
FRONT, INSIDE, FLOOR = (222, 228, 230, 255), (66, 60, 58, 255), (126, 118, 116, 255)
BRASS = (226, 160, 44, 255)


@dataclass(frozen=True)
class Fixture:
    """A drawing that is no object. Lengths are metres."""

    name: str
    size: float  # side of the square it is drawn on
    reach: float  # how far from the middle of the square it goes at most
    turns: int  # number of angles that it is shown at
    draw: Callable[[Pen], None]
    anchor: float = 0.0  # y of the middle of the square in the place that the drawing shows
    grows: bool = False  # whether it looks larger when it is higher


def _gripper(pen: Pen, half_gap: float):
    """Two fingers and a palm, with a bright line for dark tables; the finger tips are at the centre of the drawing."""
    for side in (-1, 1):
        x = 0.5 + side * half_gap
        pen.line((x, 0.14), (x, 0.56), fill=DARK, width=0.11)
        pen.line((x, 0.16), (x, 0.42), fill=METAL, width=0.035)
        pen.line((x, 0.44), (x, 0.56), fill=TIP, width=0.075)
    pen.box(0.5 - half_gap - 0.06, 0.06, 0.5 + half_gap + 0.06, 0.2, DARK, 0.05)
    pen.box(0.5 - half_gap, 0.115, 0.5 + half_gap, 0.145, METAL)
    pen.box(0.42, 0.0, 0.58, 0.15, METAL, 0.03)


def _shadow(pen: Pen):
    pen.ellipse(0.08, 0.2, 0.92, 0.8, (0, 0, 0, 90))
    pen.image = pen.image.filter(ImageFilter.GaussianBlur(pen.size * 0.05))


def _metres(pen: Pen, size: float, anchor: float) -> Callable[..., None]:
    """A function that fills a box given in metres, y up, with a height above the table for each of its edges."""

    def box(x0, x1, low, high, fill, z0=0.0, z1=0.0, radius=0.0):
        down, up = (0.5 - (y + TILT * z - anchor) / size for y, z in ((low, z0), (high, z1)))
        pen.box(0.5 + x0 / size, up, 0.5 + x1 / size, down, fill, radius / size)

    return box


def _cabinet(pen: Pen):
    box = _metres(pen, CABINET.size, CABINET.anchor)
    box(-CABINET_HALF, CABINET_HALF, CABINET_FRONT, CABINET_FRONT, EDGE, 0, CABINET_HEIGHT)
    inner = CABINET_HALF - 0.004
    box(-inner, inner, CABINET_FRONT, CABINET_FRONT, BODY, 0.006, CABINET_HEIGHT)
    for x in DRAWER_X:
        box(x - DRAWER_HALF, x + DRAWER_HALF, CABINET_FRONT, CABINET_FRONT, INSIDE, 0, DRAWER_HEIGHT)
    box(-CABINET_HALF, CABINET_HALF, CABINET_FRONT, CABINET_BACK, EDGE, CABINET_HEIGHT, CABINET_HEIGHT, 0.004)
    box(-inner, inner, CABINET_FRONT + 0.004, CABINET_BACK - 0.004, TOP, CABINET_HEIGHT, CABINET_HEIGHT)


def _drawer(pen: Pen):
    """The open box behind the front, whose foot is at y = 0."""
    box = _metres(pen, DRAWER.size, DRAWER.anchor)
    box(-DRAWER_HALF, DRAWER_HALF, 0, DRAWER_OPEN + 0.01, EDGE)
    box(-DRAWER_HALF + 0.003, DRAWER_HALF - 0.003, 0, DRAWER_OPEN + 0.01, FRONT)
    box(-DRAWER_HALF + 0.011, DRAWER_HALF - 0.011, 0, DRAWER_OPEN + 0.01, FLOOR)


def _front(pen: Pen):
    """The drawer's front wall, foot at y = 0, with its knob."""
    box = _metres(pen, FRONT_WALL.size, FRONT_WALL.anchor)
    box(-DRAWER_HALF, DRAWER_HALF, 0, 0, EDGE, 0, DRAWER_HEIGHT, 0.003)
    box(-DRAWER_HALF + 0.005, DRAWER_HALF - 0.005, 0, 0, FRONT, 0.011, DRAWER_HEIGHT - 0.006)
    at = -HANDLE + TILT * HANDLE_HEIGHT
    box(-0.013, 0.013, at - 0.013, at + 0.011, DARK, radius=0.012)
    box(-0.009, 0.009, at - 0.009, at + 0.007, BRASS, radius=0.008)


CABINET = Fixture("cabinet", 0.36, 0.182, 240, _cabinet, (CABINET_FRONT + CABINET_BACK + _RISE) / 2)
DRAWER = Fixture("drawer", 0.16, 0.092, 120, _drawer, 0.055)
FRONT_WALL = Fixture("drawer front", 0.16, 0.08, 120, _front, 0.0)
FIXTURES: tuple[Fixture, ...] = (
    Fixture("open gripper", 0.105, 0.063, 60, lambda pen: _gripper(pen, 0.36), grows=True),
    Fixture("closed gripper", 0.105, 0.063, 60, lambda pen: _gripper(pen, 0.22), grows=True),
    Fixture("gripper's shadow", 0.065, 0.033, 1, _shadow, grows=True),
    DRAWER,
    CABINET,
    FRONT_WALL,
)

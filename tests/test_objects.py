"""The kinds of objects: facts, words, and drawings that keep to them."""

import colorsys
from collections import Counter

import pytest
import torch

from course_lib.world.drawings import Pen
from course_lib.world.objects import KINDS, NAMES, Kind, kind_index

COLOURS = {"red", "yellow", "green", "blue", "orange", "purple", "white", "grey"}
CATEGORIES = {"fruit", "vegetable", "drink", "snack", "kitchen", "tool", "block", "plate", "card"}


def pixels(kind, side=96):
    """The opaque pixels of a drawing, (M, 3), and the share of the square that they cover."""
    pen = Pen(side)
    kind.draw(pen)
    image = torch.frombuffer(bytearray(pen.image.tobytes()), dtype=torch.uint8).view(-1, 4)
    solid = image[:, 3] > 127
    return image[solid, :3], float(solid.double().mean())


def colour_word(red, green, blue):
    """What a person would call a colour; bounds by eye, wide."""
    hue, light, strong = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
    if strong < 0.3 or light > 0.93:
        return "white" if light > 0.88 else "grey" if light > 0.4 else "black"
    hue *= 360
    bounds = ((12, "red"), (40, "orange"), (67, "yellow"), (165, "green"), (250, "blue"), (300, "purple"), (361, "red"))
    return next(word for bound, word in bounds if hue < bound)


def test_every_kind_has_its_facts():
    assert len(set(NAMES)) == len(KINDS) == 36
    for kind in KINDS:
        assert kind.category in CATEGORIES and kind.colour in COLOURS | {""}, kind.name
        assert 0.05 < kind.size < 0.12 and 0 < kind.height < 0.1 and 0.02 < kind.radius < 0.06, kind.name
        assert kind.radius < kind.size * 0.6, kind.name


def test_words_of_instructions_hide_what_only_the_web_teaches():
    """Colours, numbers and categories are no part of a word; "orange" and "7up can" are names of things."""
    said = {part for kind in KINDS for part in kind.word.split()} - {"orange"}
    assert not said & (COLOURS | CATEGORIES - {"block", "plate", "card"} | set("123456"))
    assert Counter(kind.word for kind in KINDS if kind.word != kind.name) == {"block": 4, "plate": 4, "card": 6}


def test_tall_things_stand_and_hollow_things_hold():
    assert {kind.name for kind in KINDS if kind.stands} == {
        "coke can", "7up can", "pepsi can", "water bottle", "milk carton", "cup", "chip bag"
    }  # fmt: skip
    assert {kind.name for kind in KINDS if kind.holds} == {
        "bowl", "red plate", "yellow plate", "green plate", "blue plate"
    }  # fmt: skip
    assert all(kind.height > 0.06 for kind in KINDS if kind.stands)
    assert all(kind.radius > other.radius for kind in KINDS if kind.holds for other in KINDS if not other.holds)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.colour], ids=lambda kind: kind.name)
def test_a_drawing_has_the_colour_that_questions_are_asked_about(kind):
    colours, _ = pixels(kind)
    words = Counter(colour_word(*rgb) for rgb in colours.tolist())
    assert words.most_common(1)[0][0] == kind.colour, words


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_drawing_fills_its_square_and_leaves_the_corners(kind):
    assert 0.12 < pixels(kind)[1] < 0.9


def test_an_unknown_object_suggests_near_names():
    with pytest.raises(ValueError, match="Did you mean apple"):
        kind_index("aple")
    with pytest.raises(ValueError, match="There are apple"):
        kind_index("zzz")
    assert NAMES[kind_index("coke can")] == "coke can"


def test_a_kind_without_a_word_is_called_by_its_name():
    assert Kind("kiwi", 0.06, "fruit").word == "kiwi" and KINDS[kind_index("red block")].word == "block"

"""The check of the learner's own emergent instructions refuses what would spoil the test, and says why."""

import json

import numpy as np
import pytest
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.emergent import COUNT, MY_INSTRUCTIONS, rules

GOOD = (
    ("use", "take the thing to wipe a table with", "sponge", ["hammer", "apple", "pear"]),
    ("sums", "grab the card with the sum of two plus three", "card 5", ["card 2", "card 3", "cup"]),
    ("colour", "lift the fruit that is yellow", "banana", ["apple", "pear", "cup"]),
    ("spanish", "toma la lata de coca cola", "coke can", ["pepsi can", "banana", "spoon"]),
    ("negation", "lift the card that is not number two and not number three", "card 4", ["card 2", "card 3", "cup"]),
)


def rows(*changes):
    """The good rows with some exchanged: (number from 0, row)."""
    found = list(GOOD)
    for number, row in changes:
        found[number] = row
    return lambda: found


def first(
    concept="use", sentence="take the thing to drive a nail in", target="hammer", others=("sponge", "apple", "orange")
):
    return rows((0, (concept, sentence, target, list(others))))


RIGHT = {
    "a list of tuples": rows(),
    "a tuple of lists": lambda: tuple([*row[:3], tuple(row[3])] for row in GOOD),
    "capitals and a full stop": rows((2, ("colour", "Lift  the Fruit that is yellow.", "banana", ["apple", "pear", "cup"]))),
    "two blocks and a colour": rows(
        (2, ("colour", "pick up the block that is red", "red block", ["blue block", "apple", "cup"]))
    ),
    "another idea": rows((2, ("other", "take what you eat, the green one", "pear", ["apple", "scissors", "cup"]))),
}


def stub():
    raise NotImplementedError


WRONG = {
    "four": (lambda: GOOD[:4], "there are 4"),
    "no list": (lambda: {"use": 1}, "returns a list of rows"),
    "sentences only": (lambda: [row[1] for row in GOOD], "returns a list of rows"),
    "three parts": (lambda: [row[:3] for row in GOOD], "A row has four parts"),
    "one other thing as text": (lambda: [(*row[:3], "apple") for row in GOOD], "A row has four parts"),
    "others are numbers": (lambda: [(*row[:3], [1, 2]) for row in GOOD], "Things are named by texts"),
    "no such target": (first(target="screwdriver"), "no thing is called 'screwdriver'"),
    "no such thing": (first(others=("sponge", "aple", "cup")), "no thing is called 'aple'"),
    "a plate": (first(target="red plate"), "too large to be lifted"),
    "unseen": (first(target="brush", sentence="take the thing to paint with"), "the robot never saw a brush"),
    "twice on the table": (first(others=("hammer", "apple", "cup")), "is on the table twice"),
    "alone": (first(others=()), "0 other things"),
    "crowded": (first(others=("apple", "pear", "cup", "bowl", "banana")), "5 other things"),
    "no sentence": (first(sentence=""), "this one 0"),
    "too long": (first(sentence="take " + "the thing that is not " * 4), "this one 21"),
    "unknown word": (first(sentence="take the bludgeon"), "has never read 'bludgeon'"),
    "no request": (first(sentence="the thing to drive a nail in"), "does not ask for lifting"),
    "of the robot": (first(sentence="pick up the hammer"), "the robot's data has this very sentence"),
    "of the course": (
        rows((2, ("colour", "pick up the yellow fruit", "banana", ["apple", "pear", "cup"]))),
        "own test sets",
    ),
    "gives it away": (first(sentence="grab the hammer that is not red"), "is the robot's own word for the target"),
    "one block": (
        rows((2, ("colour", "lift the red block", "red block", ["apple", "cup", "bowl"]))),
        "'block' is the robot's own word",
    ),
    "no such concept": (first(concept="fun"), "no concept is called 'fun'"),
    "a sentence twice": (rows((0, GOOD[1])), "A sentence is there twice"),
    "one concept": (lambda: [("use", *row[1:]) for row in GOOD], "Only 1 different concepts"),
    "one target": (
        lambda: [
            (c, s, "hammer", ["sponge", "apple", "cup"])
            for c, s in zip(
                ("use", "category", "other", "use", "use"),
                (
                    "take the thing to drive a nail in with",
                    "take one of the tools",
                    "take what is not the apple",
                    "grab the thing to drive a nail in with",
                    "lift the thing to drive a nail in with",
                ),
                strict=True,
            )
        ],
        "Only 1 different targets",
    ),
    "nothing": (lambda: None, "returns nothing"),
    "the list itself": (list(GOOD), "Expected the function my_instructions"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (lambda: GOOD[9], "IndexError", "error in your code"),
}
SHARED = ("sentences only", "one other thing as text")  # the same message as another mistake of the same kind


@pytest.mark.parametrize("name", RIGHT)
def test_five_fair_instructions_pass(name):
    accepted(MY_INSTRUCTIONS, RIGHT[name], seeds=2)


@pytest.mark.parametrize("name", WRONG)
def test_what_would_spoil_the_test_is_named(name):
    rejected(MY_INSTRUCTIONS, *WRONG[name], seeds=1)


def test_no_two_mistakes_share_a_message():
    all_different([MY_INSTRUCTIONS.check(a, 0).message for name, (a, *_) in WRONG.items() if name not in SHARED])


def test_forged_evidence_never_passes():
    forgeries_rejected(MY_INSTRUCTIONS, rows())
    for text in (b"", b"{}", b"[1, 2, 3, 4, 5]", b"[" * 15_000, json.dumps([[1, 2, 3, 4]] * COUNT).encode(), b"x" * 30_000):
        forged = {"rows": np.frombuffer(text, np.uint8)}
        assert not MY_INSTRUCTIONS.verdict([{"count": np.array(COUNT)}], [forged], None).passed


def test_the_rules_are_those_of_the_world():
    known = rules()
    assert known.words["red block"] == "block" and known.words["apple"] == "apple" and "strawberry" in known.unseen
    assert {"red plate", "blue plate"} <= known.too_large and "bowl" not in known.too_large
    assert "grab the thing to cut paper" in known.course
    assert {"pick up", "recoge", "nimm"} <= set(known.verbs) and "pick up the apple" in known.robot

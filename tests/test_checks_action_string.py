"""The parser's check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
from learner_answers import assert_accepted, assert_all_differ, assert_forgeries_fail, assert_told, changed

from course_lib.actions import ActionSpace, ActionText
from course_lib.classroom.checks.action_string import ACTION_STRING, BAD_WORDS, HIGH

BASE = """
def read_action(text):
    words = text.split()
    if len(words) != 8:
        raise ValueError(f"Expected 8 numbers, got {len(words)} in {text!r}.")
    for place, word in enumerate(words, 1):
        most = 1 if place == 1 else 255
        if not re.fullmatch("[0-9]+", word) or int(word) > most:
            raise ValueError(f"Number {place} of {text!r} must be 0 ... {most}, got {word!r}.")
    levels = [int(word) for word in words]
    motion = [2 * level / 255 - 1 for level in levels[1:]]
    high = [1, 1, 1, math.pi / 2, math.pi / 2, math.pi / 2]
    deltas = [h * m for h, m in zip(high, motion)]
    return levels[0] == 0, deltas, motion[6]
"""
RIGHT = {
    "words in a loop": BASE,
    "one pattern, NumPy": """
def read_action(text):
    words = text.split()
    for i, word in enumerate(words):
        if not (word.isascii() and word.isdigit()):
            raise ValueError("the %d. word, %s, is not a number" % (i + 1, word))
        if int(word) > 255 or (i == 0 and word not in ("0", "1")):
            raise ValueError("the %d. word, %s, is too large" % (i + 1, word))
    if not len(words) == 8:
        raise ValueError(f"expected eight numbers, but there are {len(words)}")
    x = np.array(words, dtype=int)[1:]
    high = np.array([1, 1, 1, np.pi / 2, np.pi / 2, np.pi / 2, 1])
    motion = np.interp(x, [0, 255], [-1, 1]) * high
    return bool(words[0] == "0"), motion[:6], motion[6]
""",
    "torch, errors of its own": """
class Malformed(ValueError):
    pass

def read_action(text):
    terminate, *rest = (text.split() or [""])
    if len(rest) != 7:
        raise Malformed(f"got {len(rest) + 1}, want 8 words")
    if terminate not in {"0", "1"}:
        raise Malformed(f"word 1: {terminate}")
    allowed = {str(n): n for n in range(256)}
    for k, word in enumerate(rest, start=2):
        if word not in allowed:
            raise Malformed(f"word {k}: {word}")
    level = torch.tensor([allowed[word] for word in rest], dtype=torch.float64)
    scale = torch.tensor([1.0] * 3 + [math.pi / 2] * 3 + [1.0])
    deltas, gripper = torch.lerp(-scale.double(), scale.double(), level / 255).split([6, 1])
    return torch.tensor(terminate == "0"), deltas, gripper[0]
""",
    "the course's own reader": """
from course_lib.actions import ActionSpace, ActionText
SPELL = ActionText(ActionSpace.rt2())
def read_action(text):
    action = SPELL.decode(text)
    return bool(action[0] == 0), action[1:7].tolist(), float(action[7])
""",
}
TEST = 'not re.fullmatch("[0-9]+", word) or int(word) > most'
MOTION, HIGHS, RETURN = "2 * level / 255 - 1", "[1, 1, 1, math.pi / 2, math.pi / 2, math.pi / 2]", "return levels[0] == 0"
HALF = "math.pi / 2"
WHERE, COUNT = "Number {place} of {text!r} must be 0 ... {most}, got {word!r}.", "got {len(words)} in {text!r}"


def turns(unit):
    return changed(BASE, HIGHS, f"[1, 1, 1, {unit}, {unit}, {unit}]")


WRONG = {  # name: (source, message)
    "terminate turned": (changed(BASE, "== 0, deltas", "== 1, deltas"), "terminate is the wrong way round"),
    "terminate last": (changed(BASE, "return levels[0]", "return levels[-1]"), "terminate is read from the last number"),
    "true text": (changed(BASE, RETURN, "return bool(words[0])"), "terminate is always True"),
    "a number": (changed(BASE, RETURN, "return levels[0]"), "terminate should be True or False"),
    "levels": (changed(BASE, MOTION, "level", HIGHS, "[1] * 6"), "These are still the levels"),
    "parts": (changed(BASE, MOTION, "level / 255", HIGHS, "[1] * 6"), "These are parts of the range"),
    "256": (changed(BASE, "level / 255", "level / 256"), "You divide by 256"),
    "254": (changed(BASE, "level / 255", "level / 254"), "You divide by 254"),
    "middles": (changed(BASE, "level / 255", "(level + 0.5) / 256"), "middles of 256 bins"),
    "no low end": (changed(BASE, MOTION, "2 * level / 255"), "The low end is missing"),
    "signs": (changed(BASE, MOTION, "1 - 2 * level / 255"), "Every sign is wrong"),
    "one range": (turns("1"), "Rotations have the range of positions"),
    "twice": (turns("math.pi"), "Rotations are twice too large"),
    "degrees": (turns("90"), "Rotations are in degrees"),
    "half": (turns("math.pi / 4"), "Rotations have half their range"),
    "small robot": (changed(BASE, HIGHS, "[0.05] * 3 + [math.pi / 4] * 3"), "ranges of the course's small robot"),
    "rotations first": (
        changed(BASE, "zip(high, motion)", "zip(high, motion[3:6] + motion[:3])"),
        "Rotations come before positions",
    ),
    "gripper first": (
        changed(BASE, "zip(high, motion)", "zip(high, motion[1:])", "deltas, motion[6]", "deltas, motion[0]"),
        "The gripper is read as the first",
    ),
    "gripper of 1": (changed(BASE, "deltas, motion[6]", "deltas, levels[7] / 255"), "The gripper goes from 0 to 1"),
    "gripper turned": (changed(BASE, "deltas, motion[6]", "deltas, -motion[6]"), "The gripper is the wrong way round"),
    "rounded": (
        changed(BASE, "[h * m for", "[round(h * m, 2) for", "deltas, motion[6]", "deltas, round(motion[6], 2)"),
        "The numbers are rounded",
    ),
    "something else": (changed(BASE, "deltas, motion[6]", "deltas, 0.25"), "Number 8 of a string is not right"),
    "a word more": (changed(BASE, "text.split()", 'text.split(" ")'), "Expected 8 numbers, got", "error in your code"),
    "never raises": (
        changed(
            BASE,
            'raise ValueError(f"Exp',
            'return True, [0.0] * 6, 0.0  # (f"Exp',
            'raise ValueError(f"N',
            'return True, [0.0] * 6, 0.0  # (f"N',
        ),
        "Malformed strings go through without an error",
    ),
    "clips": (
        changed(BASE, "int(word) > most", "False", "[int(word) for", "[min(int(word), 255) for"),
        "'256' as number",
    ),
    "kind digits": (changed(BASE, "[0-9]+", r"\\d+"), "'٣٧' as number"),
    "underscores": (changed(BASE, "[0-9]+", "[0-9_]+"), "'1_28' as number"),
    "two stops": (changed(BASE, "1 if place == 1 else 255", "255"), "as number 1, and yet an action came back"),
    "at least eight": (changed(BASE, "len(words) != 8", "len(words) < 8"), "9 numbers, and yet an action came back"),
    "asserts": (
        changed(BASE, 'raise ValueError(f"Expected 8', 'raise AssertionError(f"Expected 8'),
        "raises AssertionError, expected ValueError",
    ),
    "does not count": (changed(BASE, "len(words) != 8", "False"), "raises IndexError, expected ValueError"),
    "does not say where": (changed(BASE, WHERE, "{text!r} has {word!r} in it"), "The message does not say where"),
    "counts from 0": (changed(BASE, "Number {place}", "Number {place - 1}"), "Places are counted from 0"),
    "does not show": (changed(BASE, WHERE, "Number {place} is wrong."), "does not show the word that is wrong"),
    "does not say how many": (changed(BASE, COUNT, "got others"), "the message does not say so"),
    "two things": (changed(BASE, ", motion[6]", ""), "expected three things"),
    "six, please": (changed(BASE, "zip(high, motion)", "zip(high[:5], motion)"), "deltas should return 6 numbers, got 5"),
    "forgets return": (changed(BASE, "return levels", "levels"), "returns nothing"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    assert_accepted(ACTION_STRING, RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    assert_told(ACTION_STRING, *WRONG[name])


def test_no_two_mistakes_share_a_message():
    assert_all_differ(ACTION_STRING, {name: answer[0] for name, answer in WRONG.items()})


def test_a_stub_is_no_mistake_and_no_error():
    assert_told(ACTION_STRING, "def read_action(text):\n    raise NotImplementedError", "still a stub", "not attempted")


def test_forged_or_incomplete_evidence_never_passes():
    assert_forgeries_fail(ACTION_STRING, BASE)


def test_the_judges_arithmetic_agrees_with_the_courses_reader_of_rt2_strings():
    spell = ActionText(ActionSpace.rt2())
    levels = np.array([128, 91, 241, 5, 101, 127])
    assert np.allclose((2 * levels / 255 - 1) * HIGH, spell.decode("0 128 91 241 5 101 127 217")[1:7], atol=1e-6)
    for word in BAD_WORDS:
        with pytest.raises(ValueError, match="Number 2"):
            spell.decode(f"1 {word} 124 136 121 158 111 255")

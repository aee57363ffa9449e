"""The check of the parser exercise: eight numbers as text -> terminate, six deltas, gripper; or an error that helps.

The oracle is arithmetic: level n of 0 ... 255 stands for low + n / 255 * (high - low). Malformed strings must raise a
ValueError that says where: the numbers in these strings are chosen so that a place (1 ... 8) can only be in a message if
somebody put it there. Lesson: day93_rt2/2_implementation.
"""

import re
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, number, numbers
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/2_implementation.ipynb, part 1"
TURN = np.pi / 2
HIGH = np.array([1, 1, 1, TURN, TURN, TURN], np.float64)  # metres and radians; the lows are the same with a minus
RETURNED, VALUE_ERROR, OTHER_ERROR = range(3)
BAD_WORDS = ("256", "999", "-1", "-37", "12.5", "1e2", "up", "nan", "1_28", "+37", "0x1F", "128,", "²", "٣٧", "１２８")
BAD_FIRST = ("2", "255", "-1", "1.0", "True", "stop")
SEPARATOR = "\0"


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_string(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Good strings (every level in one of the hidden cases), then strings with one thing wrong."""
    levels = rng.integers(10, 256, size=(256 if hidden else 24, 7))
    if hidden:
        levels = np.stack([rng.permutation(256) for _ in range(7)], 1)
    else:
        levels[0], levels[1], levels[2] = 0, 255, 127
    good = [[str(int(rng.integers(2))), *map(str, row)] for row in levels]
    good[0][0], good[1][0] = "0", "1"
    texts = [" ".join(words) for words in good]
    texts[2] = "  ".join(good[2]) + "\n"  # more space, and a line end, as a tokenizer may leave them
    texts[3] = "\t".join(good[3])
    bad, places = _malformed(rng)
    return [
        {"texts": _bytes(texts), "place": np.zeros(0, np.int64)},
        {"texts": _bytes(bad), "place": places},
    ]


def _malformed(rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Strings with a bad word at a place 1 ... 8, or (place 0) with another number of words than eight."""

    def words(count: int = 8) -> list[str]:
        return [str(int(rng.integers(2))), *map(str, rng.integers(10, 256, size=max(count - 1, 0)))][:count]

    texts, places = [], []
    for i, bad in enumerate((*BAD_WORDS, *rng.permutation(BAD_FIRST)[:3])):
        text, place = words(), (2 + (i + int(rng.integers(7))) % 7 if i < len(BAD_WORDS) else 1)
        text[place - 1] = str(bad)
        texts.append(" ".join(text))
        places.append(place)
    counts = [7, 9, 6, 14, 1, 0]
    return texts + [" ".join(words(n)) for n in counts], np.array(places + [0] * len(counts))


def _bytes(texts: list[str]) -> np.ndarray:
    return np.frombuffer(SEPARATOR.join(texts).encode(), np.uint8).copy()


def _texts(value: np.ndarray) -> list[str]:
    return value.tobytes().decode(errors="replace").split(SEPARATOR)


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_string(read_action: Any, case: Case) -> Record:
    """Read every string; note the numbers of the good ones and what happened with the malformed ones."""
    texts = _texts(case["texts"])
    if len(case["place"]):
        outcomes = [_provoke(read_action, text) for text in texts]
        words = [words.replace(SEPARATOR, " ")[:400] for _, words in outcomes]
        return {"outcomes": np.array([kind for kind, _ in outcomes], np.int64), "words": _bytes(words)}
    found = [_read(read_action, text) for text in texts]
    return {"terminate": np.array([f[0] for f in found]), "motion": np.array([f[1] for f in found], np.float32)}


def _read(read_action: Any, text: str) -> tuple[bool, list[float]]:
    answer = call("read_action", read_action, text)
    if not isinstance(answer, (tuple, list)) or len(answer) != 3:
        raise NotYet(f"read_action returns {answer!r:.80}: expected three things.", "return terminate, deltas, gripper")
    terminate, deltas, gripper = answer
    if hasattr(terminate, "item"):
        terminate = terminate.item()
    if not isinstance(terminate, bool):
        raise NotYet(f"terminate should be True or False, got {terminate!r:.40}.", "A comparison gives one: word == '0'.")
    return terminate, [*numbers(deltas, "deltas", 6).tolist(), number(gripper, "gripper")]


def _provoke(read_action: Any, text: str) -> tuple[int, str]:
    try:
        call("read_action", read_action, text)
    except NotYet as nothing:
        return RETURNED, nothing.mistake
    except NotImplementedError:
        raise
    except ValueError as error:
        return VALUE_ERROR, str(error)
    except (LookupError, TypeError, ArithmeticError, AssertionError, AttributeError, RuntimeError) as error:
        return OTHER_ERROR, type(error).__name__
    return RETURNED, ""


# --- the verdict -------------------------------------------------------------------------------------------------------


def judge_string(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    texts = _texts(case["texts"])
    if len(case["place"]):
        _judge_malformed(texts, case["place"], record)
        return
    levels = np.array([[int(word) for word in text.split()] for text in texts])
    terminate = array(record, "terminate", (len(texts),), np.bool_)
    motion = array(record, "motion", (len(texts), 7))
    _judge_terminate(terminate, levels)
    _judge_motion(motion, levels[:, 1:])


def _judge_terminate(terminate: np.ndarray, levels: np.ndarray) -> None:
    if np.array_equal(terminate, levels[:, 0] == 0):
        return
    if np.array_equal(terminate, levels[:, 0] == 1):
        raise NotYet("terminate is the wrong way round.", "0 says terminate, 1 says continue: RT-2's examples begin with 1.")
    if np.array_equal(terminate, levels[:, -1] == 0):
        raise NotYet("terminate is read from the last number.", "It is the first; the gripper is the last.")
    if terminate.all() or not terminate.any():
        raise NotYet(
            f"terminate is always {bool(terminate[0])}.",
            'bool("0") is True, as of every string that is not empty: compare the number.',
        )
    raise NotYet("terminate is not right for some strings.", "It is True exactly when the first number is 0.")


def usual(levels: np.ndarray) -> dict[str, np.ndarray]:
    """What other scales and orders make of the levels (N, 7), under the names of ``NAMES``."""
    unit, high = levels / 255, np.append(HIGH, 1)

    def ranges(*parts: float | int) -> np.ndarray:
        return (2 * unit - 1) * np.repeat(parts, (3, 3, 1))

    right = ranges(1, TURN, 1)
    return {
        "levels": levels,
        "parts": unit,
        "256": (2 * levels / 256 - 1) * high,
        "254": (2 * levels / 254 - 1) * high,
        "middles": (2 * (levels + 0.5) / 256 - 1) * high,
        "no low": levels / 127.5 * high,
        "signs": -right,
        "all one": ranges(1, 1, 1),
        "pi": ranges(1, np.pi, 1),
        "degrees": ranges(1, 90, 1),
        "half": ranges(1, np.pi / 4, 1),
        "small robot": ranges(0.05, np.pi / 4, 1),
        "rotations first": ranges(1, 1, 1)[:, [3, 4, 5, 0, 1, 2, 6]] * high,
        "gripper first": ranges(1, 1, 1)[:, [1, 2, 3, 4, 5, 6, 0]] * high,
        "gripper 0 to 1": np.append(right[:, :6], unit[:, 6:], 1),
        "gripper turned": np.append(right[:, :6], -right[:, 6:], 1),
        "rounded": np.round(right, 2),
    }


TURNS = "Positions go from -1 to 1 m, rotations from -pi/2 to pi/2, the gripper from -1 to 1."
STEPS = "256 levels have 255 steps between them: level 0 is the low end, level 255 the high end."
SCALE = "low + level / 255 * (high - low)"
NAMES = {  # of ``usual``: mistake, hint
    "levels": ("These are still the levels 0 ... 255.", SCALE),
    "parts": ("These are parts of the range, 0 ... 1.", SCALE),
    "256": ("You divide by 256.", STEPS),
    "254": ("You divide by 254.", STEPS),
    "middles": ("These are the middles of 256 bins.", STEPS),
    "no low": ("The low end is missing: nothing is ever negative.", SCALE),
    "signs": ("Every sign is wrong.", "Level 0 is the low end."),
    "all one": ("Rotations have the range of positions.", TURNS),
    "pi": ("Rotations are twice too large.", TURNS),
    "degrees": ("Rotations are in degrees.", TURNS),
    "half": ("Rotations have half their range.", TURNS),
    "small robot": ("These are the ranges of the course's small robot.", f"RT-2's string has RT-1's. {TURNS}"),
    "rotations first": ("Rotations come before positions.", "terminate, position x y z, rotation x y z, gripper."),
    "gripper first": ("The gripper is read as the first of the seven.", "It is the last."),
    "gripper 0 to 1": ("The gripper goes from 0 to 1.", TURNS),
    "gripper turned": ("The gripper is the wrong way round.", "Level 255 is +1: closed."),
    "rounded": ("The numbers are rounded.", "Round when you print."),
}


def _judge_motion(motion: np.ndarray, levels: np.ndarray) -> None:
    """Deltas and gripper: the right numbers, or the scale that somebody else uses."""
    right = (2 * levels / 255 - 1) * np.append(HIGH, 1)
    if _same(motion, right):
        return
    for name, other in usual(levels).items():
        if _same(motion, other):
            raise NotYet(*NAMES[name])
    row, place = np.argwhere(~np.isclose(motion, right, atol=1e-5))[0]
    got = f"level {levels[row, place]} became {motion[row, place]:.4g}"
    raise NotYet(f"Number {place + 2} of a string is not right: {got}.", TURNS)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, atol=1e-5))


def _judge_malformed(texts: list[str], places: np.ndarray, record: Record) -> None:
    """Each malformed string raised a ValueError that names the place and the word, or how many words there are."""
    outcomes = array(record, "outcomes", (len(texts),), np.int64)
    told = record.get("words", np.zeros(()))
    words = _texts(told) if told.ndim == 1 and told.dtype == np.uint8 else []
    if len(words) != len(texts):
        raise NotYet("No usable output of the experiment 'words' came back.")
    if (outcomes == RETURNED).all():
        raise NotYet(
            "Malformed strings go through without an error.", "A wrong motion is worse than none: raise ValueError."
        )
    for text, place, outcome, message in zip(texts, places.tolist(), outcomes.tolist(), words, strict=True):
        split = text.split()
        what = f"{split[place - 1]!r} as number {place}" if place else f"{len(split)} numbers"
        if outcome == RETURNED:
            raise NotYet(f"{text!r} has {what}, and yet an action came back.", _why_not(split, place))
        if outcome == OTHER_ERROR:
            raise NotYet(f"{text!r} has {what}; that raises {message}, expected ValueError.", "Look before you compute.")
    said = [_numbers_said(text, message) for text, message in zip(texts, words, strict=True)]
    placed = [(place, there) for place, there in zip(places.tolist(), said, strict=True) if place]
    if all(str(place - 1) in there for place, there in placed) and not all(str(place) in there for place, there in placed):
        raise NotYet("Places are counted from 0 in your messages.", "People count from 1: enumerate(words, 1).")
    for text, place, message, there in zip(texts, places.tolist(), words, said, strict=True):
        _judge_message(text, place, message, there)


def _why_not(words: list[str], place: int) -> str:
    """A hint for a malformed string that was taken."""
    if not place:
        return "Count the words before anything else: exactly eight." if words else "An empty answer has no action in it."
    word = words[place - 1]
    if place == 1:
        return "The first number is 0 or 1, nothing else."
    if not re.fullmatch("[0-9]+", word):
        return f"Only the digits 0 to 9 write a number. int({word!r}) may be kinder: look at the word itself, re.fullmatch."
    return "Levels are 0 ... 255: no clipping, no wrapping around."


def _numbers_said(text: str, message: str) -> list[str]:
    """The numbers that stand alone in a message, without those of the text that it quotes."""
    rest = message.replace(text, "") if " " in text else message
    return re.findall(r"(?<![\w.+-])[0-9]+(?!\w|\.[0-9])", rest)


def _judge_message(text: str, place: int, message: str, said: list[str]) -> None:
    """The message helps: the place from 1 and the word, or the number of words."""
    words = text.split()
    if not place:
        if words and str(len(words)) not in said:
            raise NotYet(
                f"{text!r} has {len(words)} numbers, and the message does not say so: {message!r:.120}",
                "Say what was expected and what came: expected 8 numbers, got ...",
            )
        return
    word = words[place - 1]
    if word not in message:
        raise NotYet(f"The message does not show the word that is wrong, {word!r}: {message!r:.120}", "f'... {word!r} ...'")
    if str(place) not in said:
        raise NotYet(
            f"The message does not say where: {word!r} is number {place}, the message is {message!r:.120}",
            "Which of the eight numbers is it? enumerate(words, 1)",
        )


STRING_HINTS = (
    ("invalid literal for int", "Some space may be doubled, or be a tab or a line end: text.split() takes any."),
)
ACTION_STRING = Exercise("read_action", LESSON, draw_string, probe_string, judge_string, STRING_HINTS)


def check_action_string(read_action: Any, seed: int | None = None) -> Check:
    """Try a learner's ``read_action(text)`` on random strings, good and malformed."""
    return ACTION_STRING.check(read_action, seed)

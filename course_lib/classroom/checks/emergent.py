"""The check of the learner's own emergent instructions: could the robot's data alone explain a success?

A sentence is worth a test when the robot's data does not give its meaning away: its words for the target are not in it, it
is no sentence of the data or of the course's own test sets, and only one thing on the table fits. The check holds what
can be held by rule; whether a sentence means its target and nothing else is for a person (see the rubric).
Lesson: day93_rt2/1_theory.
"""

import difflib
import functools
import json
from typing import Any, NamedTuple

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 7"
EXAMPLE = "grab the thing to cut paper"  # of the hints: not to be handed in
ROW = f'("use", "{EXAMPLE}", "scissors", ["spoon", "apple", "cup"]): concept, sentence, target, other things.'
COUNT, CONCEPTS_AT_LEAST, TARGETS_AT_LEAST = 5, 3, 3
OTHERS = 3  # things beside the target, as in the course's own test sets; every table has equally many
LONGEST = 16  # words of a sentence
MOST_BYTES = 20_000


class Rules(NamedTuple):
    """What the world knows: names of things, their words for the robot, sentences that are taken, words of the models."""

    words: dict[str, str]  # name of a kind: the robot's word for it
    unseen: frozenset[str]  # kinds that no robot episode shows
    too_large: frozenset[str]  # kinds that cannot be lifted
    robot: frozenset[str]  # sentences of the robot's data
    course: frozenset[str]  # sentences of the course's own test sets
    vocabulary: frozenset[str]
    concepts: tuple[str, ...]
    verbs: tuple[str, ...]  # ways to ask for lifting


@functools.cache
def rules() -> Rules:
    """The rules of this world. (Its tables are imported here: the other checks do without them.)"""
    from course_lib.datasets.web import vocabulary  # noqa: PLC0415
    from course_lib.world.objects import KINDS  # noqa: PLC0415
    from course_lib.world.phrases import EMERGENT, INSTRUCTIONS  # noqa: PLC0415
    from course_lib.world.splits import emergent_instructions  # noqa: PLC0415
    from course_lib.world.tasks import UNSEEN, known_instructions  # noqa: PLC0415

    return Rules(
        words={kind.name: kind.word for kind in KINDS},
        unseen=frozenset(UNSEEN),
        too_large=frozenset(kind.name for kind in KINDS if kind.word == "plate"),
        robot=frozenset(known_instructions()),
        course=frozenset({*emergent_instructions(), EXAMPLE}),
        vocabulary=frozenset(vocabulary()),
        concepts=(*EMERGENT, "other"),
        verbs=tuple(form.removesuffix(" {a}") for said in INSTRUCTIONS.values() for form in said["pick"]),
    )


def draw_instructions(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Nothing is random here: the answer is a list, not a function of inputs."""
    return [{"count": np.array(COUNT)}]


def probe_instructions(my_instructions: Any, case: Case) -> Record:
    """The learner's rows as JSON text."""
    rows = call("my_instructions", my_instructions)
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise NotYet("my_instructions returns a list of rows.", ROW)
    for row in rows:
        if len(row) != 4 or not all(isinstance(part, str) for part in row[:3]) or not isinstance(row[3], (list, tuple)):
            raise NotYet(f"A row has four parts, three texts and a list; this one is {row!r:.120}.", ROW)
        if not all(isinstance(name, str) for name in row[3]):
            raise NotYet(f"Things are named by texts; this row has {row[3]!r:.80}.", ROW)
    return {"rows": np.frombuffer(json.dumps(rows).encode(), np.uint8)}


def judge_instructions(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first thing that would spoil the test."""
    rows = _read(record)
    if len(rows) != int(case["count"]):
        raise NotYet(f"Five instructions are asked for, there are {len(rows)}.", ROW)
    known = rules()
    for number, (concept, sentence, target, others) in enumerate(rows, 1):
        _judge_things(number, target, others, known)
        _judge_sentence(number, sentence, known)
        _judge_secret(number, sentence, target, others, known)
        if concept not in known.concepts:
            raise NotYet(f"Row {number}: no concept is called {concept!r}.", f"There are {', '.join(known.concepts)}.")
    _judge_variety(rows)


def _read(record: Record) -> list[tuple[str, str, str, list[str]]]:
    """The rows of a record that may come from a stranger."""
    sent = record.get("rows")
    if sent is None or sent.dtype != np.uint8 or sent.ndim != 1 or sent.size > MOST_BYTES:
        raise NotYet("No usable list of instructions came back.")
    try:
        return [(str(c), plain(str(s)), str(t), list(map(str, o))) for c, s, t, o in json.loads(sent.tobytes())]
    except (ValueError, TypeError, RecursionError):
        raise NotYet("What came back is not a list of instructions.", ROW) from None


def plain(sentence: str) -> str:
    """Lower case, one space between words, no full stop: how the robot hears it."""
    return " ".join(sentence.lower().split()).strip(" .!")


def _judge_things(number: int, target: str, others: list[str], known: Rules) -> None:
    for name in (target, *others):
        if name not in known.words:
            near = difflib.get_close_matches(name, known.words, 3, 0.4) or sorted(known.words)[:8]
            raise NotYet(f"Row {number}: no thing is called {name!r}.", f"Near it: {', '.join(near)}.")
    if target in known.too_large:
        raise NotYet(f"Row {number}: a plate is too large to be lifted.", "Choose a target that fits into the gripper.")
    if target in known.unseen:
        raise NotYet(
            f"Row {number}: the robot never saw a {target}. Would a failure be the sentence's fault, or the thing's?",
            "One novelty at a time: a thing it knows, asked for in words it does not.",
        )
    if target in others or len(set(others)) < len(others):
        raise NotYet(f"Row {number}: a thing is on the table twice.", "others are the things beside the target.")
    if len(others) != OTHERS:
        raise NotYet(
            f"Row {number}: {len(others)} other things on the table, it should be {OTHERS}.",
            "Equally many everywhere, so that luck is the same: a random grasp is right one time in four.",
        )


def _judge_sentence(number: int, sentence: str, known: Rules) -> None:
    words = sentence.split()
    if not 2 <= len(words) <= LONGEST:
        raise NotYet(f"Row {number}: a sentence has 2 to {LONGEST} words, this one {len(words)}.", ROW)
    if unknown := [word for word in words if word.strip(",;?") not in known.vocabulary]:
        near = difflib.get_close_matches(unknown[0], known.vocabulary, 3, 0.5)
        more = f" Near it: {', '.join(near)}." if near else ""
        raise NotYet(
            f"Row {number}: the small model has never read {unknown[0]!r}.",
            f"It knows {len(known.vocabulary)} words, see vocabulary().{more}",
        )
    if not sentence.startswith(tuple(f"{verb} " for verb in known.verbs)):
        raise NotYet(
            f"Row {number}: {sentence!r} does not ask for lifting something.", f"Begin with {', '.join(known.verbs)}."
        )


def _judge_secret(number: int, sentence: str, target: str, others: list[str], known: Rules) -> None:
    """Does the robot's data give the meaning away?"""
    if sentence in known.robot:
        raise NotYet(f"Row {number}: the robot's data has this very sentence.", "Say it in words that it has not.")
    if sentence in known.course:
        raise NotYet(f"Row {number}: this sentence is in the course's own test sets, or in a hint.", "Find one of your own.")
    word = known.words[target]
    alike = [name for name in others if known.words[name] == word]
    if f" {word} " in f" {sentence} " and not alike:
        raise NotYet(
            f"Row {number}: {word!r} is the robot's own word for the target, so its data is enough to understand this.",
            "Describe the target, or put another one with the same word beside it (two blocks: then the colour decides).",
        )


def _judge_variety(rows: list[tuple[str, str, str, list[str]]]) -> None:
    concepts, sentences, targets, _ = zip(*rows, strict=True)
    if len(set(sentences)) < len(sentences):
        raise NotYet("A sentence is there twice.", "Five different ones.")
    if len(set(concepts)) < CONCEPTS_AT_LEAST:
        raise NotYet(
            f"Only {len(set(concepts))} different concepts.",
            f"Try at least {CONCEPTS_AT_LEAST}: a skill may have one of them.",
        )
    if len(set(targets)) < TARGETS_AT_LEAST:
        raise NotYet(
            f"Only {len(set(targets))} different targets: a policy that always takes the same thing would look good.",
            f"At least {TARGETS_AT_LEAST}.",
        )


MY_INSTRUCTIONS = Exercise("my_instructions", LESSON, draw_instructions, probe_instructions, judge_instructions)


def check_my_instructions(my_instructions: Any) -> Check:
    """Look at a learner's ``my_instructions()`` and name the first thing that would spoil the test, if any."""
    return MY_INSTRUCTIONS.check(my_instructions)

"""The concept card: what of each concept is in the web data and what in the robot's, counted, not claimed.

"Emergent" means: the robot does it although no robot episode ever said it. ``concept_card(web, episodes)`` draws from
both sources and counts, for every name, colour, category, use, number, relation, language and skill, how often it is
seen and said in each. An emergent concept has a zero in the last column.
"""

import csv
import io
import re
from collections.abc import Callable
from typing import NamedTuple

from course_lib.datasets.episodes import Episodes
from course_lib.datasets.plans import PLAN
from course_lib.datasets.web import WebPictures, rows_of
from course_lib.world.lexicon import (
    CATEGORIES,
    COLOURS,
    DIGITS,
    NUMBERS,
    category_of,
    colour_of,
    kinds_where,
    name_of,
    use_of,
)
from course_lib.world.objects import KINDS, NAMES
from course_lib.world.phrases import EMERGENT, phrases, plan
from course_lib.world.splits import split
from course_lib.world.tasks import SKILLS

_BEFORE, _AFTER = PLAN.split("{a}")
RELATIONS = ("left of", "right of", "above", "below", "nearest to", "leftmost", "rightmost")
HEADINGS = ("concept", "seen on the web", "said on the web", "seen by the robot", "said to the robot", "remark")


class Concept(NamedTuple):
    """One row of the card. Counts are of pictures and questions, of episodes and their instructions."""

    group: str  # name, colour, category, use, number, sum, relation, same colour, negation, language, skill, emergent set
    concept: str
    web_seen: int | None  # pictures that show it; None where there is nothing to see
    web_said: int  # questions or answers that say it
    robot_seen: int | None  # episodes that show it
    robot_said: int  # episodes whose instruction says it
    remark: str = ""


class _Row(NamedTuple):
    """What counts as seeing and saying a concept."""

    group: str
    concept: str
    kinds: frozenset[int] | None
    pattern: str  # regular expression, whole words
    remark: str = ""


def _things() -> list[_Row]:
    out = []
    for k, kind in enumerate(KINDS):
        remark = "" if kind.word == kind.name else f'the robot hears only "{kind.word}"'
        out.append(_Row("name", name_of(k), frozenset({k}), re.escape(name_of(k)), remark))
    return out


def _property_rows(group: str, values, fact: Callable[[int], str]) -> list[_Row]:
    """One row per colour or category."""
    out = []
    for value in values:
        kinds = kinds_where(lambda k, v=value: fact(k) == v)
        as_name = value in {kind.word for kind in KINDS}
        pattern = f"{value}|{CATEGORIES[value]}" if value in CATEGORIES else value
        out.append(_Row(group, value, kinds, pattern, "to the robot it is a thing's name" if as_name else ""))
    return out


def _number_rows() -> list[_Row]:
    cards = {n: frozenset({NAMES.index(card)}) for card, n in DIGITS.items()}
    return [_Row("number", word, cards.get(n), word) for n, word in enumerate(NUMBERS)]


def _use_rows() -> list[_Row]:
    uses = sorted({use_of(k) for k in range(len(KINDS))} - {("", "")})
    return [
        _Row("use", end, kinds_where(lambda k, e=end: use_of(k)[1] == e), f"{re.escape(does)}|to {re.escape(end)}")
        for does, end in uses
    ]


def _language_rows() -> list[_Row]:
    said = {name: "|".join(re.escape(p.text) for p in phrases() if p.concept == name) for name in ("spanish", "german")}
    return [_Row("language", name, None, pattern) for name, pattern in said.items()]


def _rows() -> list[_Row]:
    words = [("sum", "plus", "plus"), ("same colour", "same colour", "same colour"), ("negation", "not", "not")]
    return [
        *_things(),
        *_property_rows("colour", COLOURS, colour_of),
        *_property_rows("category", CATEGORIES, category_of),
        *_use_rows(),
        *_number_rows(),
        *(_Row(group, concept, None, pattern) for group, concept, pattern in words),
        *(_Row("relation", word, None, word) for word in RELATIONS),
        *_language_rows(),
    ]


def _said(pattern: str, texts: list[str]) -> int:
    """In how many texts the pattern stands as whole words."""
    whole = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)")
    return sum(bool(whole.search(text)) for text in texts)


def concept_card(web: WebPictures, episodes: Episodes, steps: int = 100) -> list[Concept]:
    """Count every concept in ``steps`` batches of web data and in all of the episodes."""
    batches = [web.text(step) for step in range(steps)]
    pictures = [frozenset(kinds) for batch in batches for kinds in batch["kinds"]]
    asked = [(question, answer) for question, answer, _, _ in rows_of(batches)]
    tables = [frozenset(kinds) for kinds in episodes.states[episodes.start].kind.tolist()]
    tasks = [episodes.tasks[i] for i in episodes.task.tolist()]
    said, told = [f"{q} {a}" for q, a in asked], [task.sentence for task in tasks]
    out = []
    for row in _rows():
        seen = [None if row.kinds is None else sum(not row.kinds.isdisjoint(k) for k in x) for x in (pictures, tables)]
        counts = (seen[0], _said(row.pattern, said), seen[1], _said(row.pattern, told))
        out.append(Concept(row.group, row.concept, *counts, row.remark if counts[3] or row.group == "name" else ""))
    plans = {q.removeprefix(_BEFORE).removesuffix(_AFTER): a for q, a in asked if q.startswith(_BEFORE)}
    out += [_skill(skill, [*plans.values()], [task.skill for task in tasks]) for skill in SKILLS]
    return out + [_emergent(name, plans, told) for name in EMERGENT]


def _skill(skill: str, plans: list[str], done: list[str]) -> Concept:
    """A skill is planned on the web and done by the robot."""
    form = re.escape(plan(skill, "A", "B")).replace("A", ".+").replace("B", ".+").replace("into", "(into|onto)")
    planned = sum(bool(re.fullmatch(form, text)) for text in plans)
    times = done.count(skill)
    return Concept("skill", skill, None, planned, times, times, "on the web a plan, never an action" if planned else "")


def _emergent(name: str, plans: dict[str, str], told: list[str]) -> Concept:
    """How many of a set's instructions the web plans word for word, and how many the robot hears."""
    sentences = set(split(name).sentences)
    planned, heard = len(sentences & plans.keys()), len(sentences.intersection(told))
    return Concept("emergent set", name, None, planned, None, heard, f"of {len(sentences)} instructions, word for word")


def as_markdown(card: list[Concept]) -> str:
    """The card as a table for a notebook or README, one row per concept."""
    lines = ["| " + " | ".join(("", *HEADINGS)) + " |", "|" + "---|" * (len(HEADINGS) + 1)]
    last = ""
    for row in card:
        cells = ["–" if value is None else str(value) for value in row[1:]]
        lines.append("| " + " | ".join(("" if row.group == last else row.group, *cells)) + " |")
        last = row.group
    return "\n".join(lines) + "\n"


def as_csv(card: list[Concept]) -> str:
    """The card as comma-separated values with a heading."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(Concept._fields)
    table.writerows(["" if value is None else value for value in row] for row in card)
    return out.getvalue()

"""The check of the vocabulary exercise: what four layouts of action tokens cost, and which share of the table they are.

The oracle is arithmetic on random sizes. Every mistake that people make here is a formula of its own; an answer that
agrees with one of them on all the sizes of a case is told which. Lesson: day93_rt2/1_theory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, number
from course_lib.classroom.checks.functions import call, whole_number

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 5"
LAYOUTS = ("extend", "overwrite", "integers", "per dimension")  # the layouts of course_lib.action_vocabulary
TOLERANCE = 1e-5  # relative; shares travel as float32
NUMBERS = ("text_tokens", "dims", "bins", "width")


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_vocabulary(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random sizes, each layout with a tied and an untied table; then sizes where several numbers are equal."""
    same = int(rng.integers(20, 60))
    cases = [_case(rng, *([(1000, 60000), (3, 12), (16, 300), (32, 4097)])) for _ in range(3 if hidden else 1)]
    equal = _case(rng, (1000, 60000), (same, same + 1), (same, same + 1), (same, same + 1))  # dims = bins = width
    return [*cases, equal]


def _case(rng: np.random.Generator, *ranges: tuple[int, int]) -> Case:
    sizes = [[int(rng.integers(*r)) for r in ranges] for _ in range(2 * len(LAYOUTS))]
    return {"sizes": np.array(sizes), "layout": np.arange(2 * len(LAYOUTS)) % 4, "tied": np.arange(2 * len(LAYOUTS)) < 4}


def _questions(case: Case) -> list[dict]:
    """The arguments of each call."""
    rows = zip(case["layout"], case["sizes"], case["tied"], strict=True)
    return [
        {"layout": LAYOUTS[layout], **dict(zip(NUMBERS, map(int, sizes), strict=True)), "tied": bool(tied)}
        for layout, sizes, tied in rows
    ]


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_vocabulary(vocabulary_cost: Any, case: Case) -> Record:
    """Ask for each layout and size, and note the three numbers."""
    counts, shares = [], []
    for asked in _questions(case):
        answer = call("vocabulary_cost", vocabulary_cost, *asked.values())
        if not isinstance(answer, (tuple, list)) or len(answer) != 3:
            raise NotYet(
                f"vocabulary_cost returns {answer!r}: expected three numbers.", "return rows, added_parameters, share"
            )
        counts.append([whole_number(n, name) for n, name in zip(answer, ("rows", "added_parameters"), strict=False)])
        shares.append(number(answer[2], "The share"))
    return {"counts": np.array(counts, np.int64), "shares": np.array(shares, np.float32)}


# --- the verdict: arithmetic -------------------------------------------------------------------------------------------


def cost(layout: str, text_tokens: int, dims: int, bins: int, width: int, tied: bool) -> tuple[int, int, float]:
    """Rows of the table, added weights, share of the rows that an action is written with."""
    added = {"extend": bins, "per dimension": dims * bins + 2}.get(layout, 0)
    rows = text_tokens + added
    return rows, added * width * (1 if tied else 2), (added or bins) / rows


def judge_vocabulary(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the numbers show."""
    asked = _questions(case)
    counts, shares = array(record, "counts", (len(asked), 2), np.int64), array(record, "shares", (len(asked),))
    for name, judge, found, right in (
        ("number of rows", _judge_rows, counts[:, 0], [cost(**one)[0] for one in asked]),
        ("number of added parameters", _judge_added, counts[:, 1], [cost(**one)[1] for one in asked]),
        ("share", _judge_share, shares, [cost(**one)[2] for one in asked]),
    ):
        fits = np.isclose(found, right, rtol=TOLERANCE, atol=0)
        if not fits.all():
            judge(asked, found, ~fits)
            first = int(np.argmin(fits))
            sizes = ", ".join(f"{name} = {value!r}" for name, value in asked[first].items())
            raise NotYet(
                f"The {name} is not right for {sizes}: got {found[first]:.6g}.",
                "Write the table down for this layout: which rows are there, and which of them are new?",
            )


def _matches(asked: list[dict], found: np.ndarray, formula: Callable[..., float]) -> bool:
    return bool(np.allclose(found, [formula(**one) for one in asked], rtol=TOLERANCE, atol=0))


def _judge_rows(asked: list[dict], rows: np.ndarray, wrong: np.ndarray) -> None:
    """Which rows are there?"""
    layouts = {one["layout"] for one, bad in zip(asked, wrong, strict=True) if bad}

    def always(text_tokens: int, bins: int, **_: Any) -> int:
        return text_tokens + bins

    def shared(layout: str, text_tokens: int, bins: int, **_: Any) -> int:
        return text_tokens + {"extend": bins, "per dimension": bins + 2}.get(layout, 0)

    def unframed(extra: int) -> Callable[..., float]:
        return lambda layout, text_tokens, dims, bins, **_: (
            text_tokens + {"extend": bins, "per dimension": dims * bins + extra}.get(layout, 0)
        )

    if _matches(asked, rows, always) or layouts == {"overwrite", "integers"}:
        raise NotYet(
            "You append rows for layouts that append none.",
            "'overwrite' gives existing rows a new meaning, 'integers' a second one: RT-2 has no new row.",
        )
    if _matches(asked, rows, shared):
        raise NotYet("'per dimension' has a token of its own for each bin of each dimension.", "dims times as many.")
    if _matches(asked, rows, unframed(0)) or _matches(asked, rows, unframed(1)):
        raise NotYet("'per dimension' also has a token before and a token after the action.", "A start and an end: two.")
    if _matches(asked, rows, lambda layout, text_tokens, **_: text_tokens):
        raise NotYet("No layout of yours has a new row.", "Two of the four append rows to the table.")
    if _matches(asked, rows, lambda **one: cost(**one)[0] - one["text_tokens"]):
        raise NotYet("You count the new rows only.", "rows is the whole table: the text's tokens and the new ones.")
    if _matches(asked, rows, lambda **one: cost(**one)[0] + 2 * (one["layout"] != "per dimension")):
        raise NotYet("Only 'per dimension' has a start and an end token.", "Did the + 2 reach the other layouts too?")
    if _matches(asked, rows, lambda **one: cost(**{**one, "bins": 256})[0]):
        raise NotYet("You count 256 bins, whatever `bins` is.", "256 is RT-2's number; here it is an argument.")
    if layouts == {"extend"}:
        raise NotYet("'extend' appends one token for each bin, whatever the dimension.", "All dimensions share them.")


def _judge_added(asked: list[dict], added: np.ndarray, wrong: np.ndarray) -> None:
    """How many weights come with the new rows?"""

    def per_row(one: dict) -> int:
        return cost(**{**one, "tied": True})[1]

    if _matches(asked, added, lambda **one: per_row(one) / one["width"]):
        raise NotYet("These are rows, not parameters.", "A row is a vector of `width` numbers.")
    if _matches(asked, added, lambda **one: per_row(one)):
        raise NotYet("Without tying, the output layer has a table of its own, and it grows too.", "Twice, unless tied.")
    if _matches(asked, added, lambda **one: per_row(one) * (2 if one["tied"] else 1)):
        raise NotYet("tied is the wrong way round.", "Tied: one table serves as input and output. Untied: there are two.")
    if _matches(asked, added, lambda **one: 2 * per_row(one)):
        raise NotYet("When the tables are tied, there is only one.", "Twice only if not tied.")
    if _matches(asked, added, lambda **one: cost(**one)[0] * one["width"] * (1 if one["tied"] else 2)):
        raise NotYet("This is the whole table.", "Only the rows that were not there before are added parameters.")
    if _matches(asked, added, lambda **one: cost(**one)[1] + (0 if one["tied"] else per_row(one) / one["width"])):
        raise NotYet("You count a bias for each new row of the output layer.", "These models have none there.")


def _judge_share(asked: list[dict], share: np.ndarray, wrong: np.ndarray) -> None:
    """Which part of the table do actions use?"""

    def right(one: dict) -> float:
        return cost(**one)[2]

    if _matches(asked, share, lambda **one: 100 * right(one)):
        raise NotYet("The share is in per cent.", "A share is between 0 and 1.")
    if _matches(asked, share, lambda **one: right(one) * cost(**one)[0] / one["text_tokens"]):
        raise NotYet("You divide by the text's tokens alone.", "The whole table afterwards includes the new rows.")
    if _matches(asked, share, lambda **one: one["bins"] / cost(**one)[0]):
        raise NotYet(
            "For 'per dimension' more rows than `bins` belong to actions.", "dims x bins, and the start and the end."
        )
    if _matches(asked, share, lambda **one: right(one) if one["layout"] in ("extend", "per dimension") else 0):
        raise NotYet(
            "A layout that adds nothing still writes its actions with some rows of the table.", "`bins` rows are in use."
        )
    if _matches(asked, share, lambda **one: 1 / right(one)):
        raise NotYet("The share is upside down.", "Rows of actions divided by all rows.")
    if np.abs(share - [right(one) for one in asked]).max() < 0.006:
        raise NotYet("The share is rounded.", "Return the number itself; round when you print it.")


VOCABULARY = Exercise("vocabulary_cost", LESSON, draw_vocabulary, probe_vocabulary, judge_vocabulary)


def check_vocabulary(vocabulary_cost: Any, seed: int | None = None) -> Check:
    """Try a learner's ``vocabulary_cost(layout, text_tokens, dims, bins, width, tied)`` on random sizes."""
    return VOCABULARY.check(vocabulary_cost, seed)

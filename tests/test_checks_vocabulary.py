"""The vocabulary check accepts right answers of any style, and gives every known mistake its own message."""

import pytest
from learner_answers import assert_accepted, assert_all_differ, assert_forgeries_fail, assert_told, changed, define

from course_lib.actions import ActionVocabulary
from course_lib.classroom.checks import check_vocabulary
from course_lib.classroom.checks.vocabulary import VOCABULARY, cost

BASE = """
def vocabulary_cost(layout, text_tokens, dims, bins, width, tied):
    new = {"extend": bins, "per dimension": dims * bins + 2}.get(layout, 0)
    rows = text_tokens + new
    return rows, new * width * (1 if tied else 2), (new or bins) / rows
"""
RIGHT = {
    "a table": BASE,
    "cases, NumPy numbers": """
def vocabulary_cost(layout, text_tokens, dims, bins, width, tied):
    match layout:
        case "extend":
            new = used = np.int64(bins)
        case "per dimension":
            new = used = np.int64(bins) * dims + 2
        case _:
            new, used = np.int64(0), np.int64(bins)
    tables = 2 - tied
    return [new + text_tokens, tables * new * width, used / (new + text_tokens)]
""",
    "tables of torch": """
def vocabulary_cost(layout, text_tokens, dims, bins, width, tied):
    before = torch.empty(text_tokens, 0)
    appended = {"extend": bins, "per dimension": bins * dims + 2}
    after = torch.empty(text_tokens + appended.get(layout, 0), 0)
    weights = sum((len(after) - len(before)) * width for _ in range(1 if tied else 2))
    return torch.tensor(len(after)), float(weights), torch.tensor(appended.get(layout, bins) / len(after))
""",
    "the course's own vocabulary": """
from course_lib.actions import ActionVocabulary
def vocabulary_cost(layout, text_tokens, dims, bins, width, tied):
    if layout == "extend":
        v = ActionVocabulary.extend(text_tokens, bins)
    elif layout == "per dimension":
        v = ActionVocabulary.per_dimension(dims, bins, first=text_tokens)
    else:
        v = ActionVocabulary.overwrite(range(bins))
    rows = text_tokens + v.added_rows
    return rows, v.added_parameters(width, tied=tied), (sum(map(len, v.rows)) + len(v.frame)) / rows
""",
}
GET, NEW = ".get(layout, 0)", '{"extend": bins, "per dimension": dims * bins + 2}.get(layout, 0)'
SHARE = "(new or bins) / rows"
WRONG = {  # name: (source, message)
    "always appends": (changed(BASE, NEW, "bins"), "append rows for layouts that append none"),
    "never appends": (changed(BASE, NEW, "0"), "No layout of yours has a new row"),
    "overwrite appends": (changed(BASE, GET, ".get(layout, bins)"), "append rows for layouts that append none"),
    "dimensions share": (changed(BASE, "dims * bins + 2", "bins + 2"), "for each bin of each dimension"),
    "no start and end": (changed(BASE, "dims * bins + 2", "dims * bins"), "a token before and a token after"),
    "new rows only": (changed(BASE, "return rows", "return new"), "You count the new rows only"),
    "frames everywhere": (
        changed(BASE, "dims * bins + 2", "dims * bins", GET, ".get(layout, 0) + 2"),
        "Only 'per dimension' has",
    ),
    "extends by dimension": (changed(BASE, '"extend": bins', '"extend": bins * dims'), "whatever the dimension"),
    "rows, not weights": (changed(BASE, "new * width * (1 if tied else 2)", "new"), "These are rows, not parameters"),
    "never twice": (changed(BASE, "(1 if tied else 2)", "1"), "Without tying, the output layer has a table"),
    "always twice": (changed(BASE, "(1 if tied else 2)", "2"), "When the tables are tied, there is only one"),
    "tied upside down": (changed(BASE, "1 if tied", "2 if tied", "else 2", "else 1"), "tied is the wrong way round"),
    "whole table": (changed(BASE, "new * width", "rows * width"), "This is the whole table"),
    "a bias": (changed(BASE, "(1 if tied else 2),", "(1 if tied else 2) + (0 if tied else new),"), "You count a bias"),
    "per cent": (changed(BASE, SHARE, f"100 * {SHARE}"), "The share is in per cent"),
    "of the text": (changed(BASE, SHARE, "(new or bins) / text_tokens"), "You divide by the text's tokens alone"),
    "bins only": (changed(BASE, SHARE, "bins / rows"), "more rows than `bins` belong to actions"),
    "nothing added, nothing used": (changed(BASE, SHARE, "new / rows"), "still writes its actions with some rows"),
    "upside down": (changed(BASE, SHARE, "rows / (new or bins)"), "The share is upside down"),
    "rounded": (changed(BASE, SHARE, f"round({SHARE}, 3)"), "The share is rounded"),
    "something else": (changed(BASE, SHARE, "0.5"), "The share is not right for layout = 'extend'"),
    "always 256": (changed(BASE, "    new", "    bins = 256\n    new"), "You count 256 bins, whatever"),
    "half a row": (changed(BASE, "return rows", "return rows + 0.5"), "rows must be a whole number"),
    "two numbers": (changed(BASE, f", {SHARE}", ""), "expected three numbers"),
    "forgets return": (changed(BASE, "return ", ""), "returns nothing"),
}
ONE_MESSAGE = {"overwrite appends"}  # the same mistake as another, written differently


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    assert_accepted(VOCABULARY, RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    assert_told(VOCABULARY, *WRONG[name])


def test_no_two_mistakes_share_a_message():
    assert_all_differ(VOCABULARY, {name: source for name, (source, _) in WRONG.items() if name not in ONE_MESSAGE})


def test_errors_and_stubs_are_told_apart_from_mistakes():
    assert_told(VOCABULARY, "def vocabulary_cost(*sizes):\n    raise NotImplementedError", "still a stub", "not attempted")
    assert_told(VOCABULARY, changed(BASE, GET, "[layout]"), "KeyError: 'overwrite'", "error in your code")
    assert (
        "Give the check the function itself"
        in check_vocabulary(define(BASE, "vocabulary_cost")("extend", 9, 9, 9, 9, True)).hint
    )


def test_forged_or_incomplete_evidence_never_passes():
    assert_forgeries_fail(VOCABULARY, BASE)


def test_the_judges_arithmetic_agrees_with_the_courses_vocabularies():
    made = {
        "extend": ActionVocabulary.extend(900, 40),
        "overwrite": ActionVocabulary.overwrite(range(860, 900)),
        "integers": ActionVocabulary.integers(range(40)),
        "per dimension": ActionVocabulary.per_dimension(7, 40, first=900),
    }
    for layout, vocabulary in made.items():
        for tied in (True, False):
            rows, added, share = cost(layout, 900, 7, 40, 64, tied)
            used = {i for row in vocabulary.rows for i in row} | set(vocabulary.frame)
            assert (rows, added) == (900 + vocabulary.added_rows, vocabulary.added_parameters(64, tied=tied))
            assert share == len(used) / rows

"""The check of the first-loss exercise: what three models that never look at the picture would score.

The oracle is counting. The usual slips are counted as well, so that a wrong number is known by the slip that gives it.
Lesson: day93_rt2/1_theory.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, numbers
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/1_theory.ipynb, part 5"
IGNORED = -100  # torch's cross_entropy leaves such labels out
WHICH = ("uniform", "frequencies", "places")


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_baselines(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Labels of answers of different lengths. Most are skewed; as many answers as places; every place one token only."""
    n, vocabulary = int(rng.integers(6, 12)), int(rng.integers(400, 257_153))
    cases = [_case(rng, 40, 8, vocabulary), _case(rng, n, n, int(rng.integers(300, 1000)))]
    if hidden:
        constant = np.tile(rng.integers(0, 300, size=8), (12, 1))  # a robot that always does the same
        return [*cases, _case(rng, 200, 8, 32_000), {"labels": constant, "vocabulary": np.array(vocabulary)}]
    return cases


def _case(rng: np.random.Generator, N: int, A: int, vocabulary: int) -> Case:
    """Few tokens are common at each place and many are rare, as in a robot's actions; some answers end early."""
    rank = np.minimum(rng.geometric(0.3, size=(N, A)) - 1, 19)
    tokens = np.stack([rng.permutation(min(vocabulary, 300))[:20] for _ in range(A)])  # (A, 20)
    labels = tokens[np.arange(A), rank]
    ends = rng.integers(1, A + 1, size=N)
    labels[np.arange(A) >= np.where(rng.random(N) < 0.5, ends, A)[:, None]] = IGNORED
    labels[0] = tokens[:, 0]  # no place is empty
    return {"labels": labels, "vocabulary": np.array(vocabulary)}


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_baselines(baselines: Any, case: Case) -> Record:
    """Ask once; note the three numbers."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    labels = torch.from_numpy(case["labels"].copy())
    found = call("baselines", baselines, labels, int(case["vocabulary"]))
    if not torch.equal(labels, torch.from_numpy(case["labels"])):
        raise NotYet("baselines changes the labels it was given.", "Make a new tensor: labels[labels != -100].")
    return {"found": numbers(found, "baselines", 3, "return uniform, frequencies, places")}


# --- the verdict: counting ---------------------------------------------------------------------------------------------


def shares(tokens: np.ndarray) -> np.ndarray:
    """How often each of the different tokens occurs, as parts of 1."""
    return np.unique(tokens, return_counts=True)[1] / tokens.size


def entropy(tokens: np.ndarray) -> float:
    """The mean of -ln p over the tokens, each with the share of its kind."""
    p = shares(tokens)
    return float(-(p * np.log(p)).sum())


def expected_baselines(labels: np.ndarray, vocabulary: int) -> tuple[float, float, float]:
    """(ln V, entropy of all tokens, entropy of the tokens of each place, weighted by how many there are)."""
    columns = [column[column != IGNORED] for column in labels.T]
    everything = np.concatenate(columns)
    places = sum(entropy(column) * column.size for column in columns) / everything.size
    return float(np.log(vocabulary)), entropy(everything), places


def judge_baselines(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first number that is not right."""
    labels, vocabulary = case["labels"], int(case["vocabulary"])
    found, expected = array(record, "found", (3,)), expected_baselines(labels, vocabulary)
    if np.isnan(found).any():
        raise NotYet("One of the numbers is not a number (NaN).", "0 * log 0 is NaN: count only tokens that occur.")
    for name, got, right, slips in zip(WHICH, found, expected, _slips(labels, vocabulary, expected), strict=True):
        if _same(got, right):
            continue
        for value, mistake, hint in [*slips, *_any_slips(right, labels)]:
            if _same(got, value) and not _same(value, right):
                raise NotYet(mistake.format(name=name), hint)
        raise NotYet(f"{name} is not right: got {got:.5g}.", "The mean of -ln p over all tokens that are scored.")


def _same(a: float, b: float) -> bool:
    return bool(np.isclose(a, b, rtol=1e-4, atol=1e-5))


def _any_slips(right: float, labels: np.ndarray) -> list[tuple[float, str, str]]:
    """What goes wrong with any of the three: (value, mistake, hint)."""
    count = int((labels != IGNORED).sum())
    return [
        (-right, "{name} is negative: the minus is missing.", "A loss is -ln p, and ln of a share is below zero."),
        (right / np.log(2), "{name} is in bits.", "torch's cross-entropy counts in nats: the natural logarithm."),
        (right / np.log(10), "{name} is taken with the logarithm to base 10.", "The natural logarithm: math.log."),
        (right * count, "{name} is the sum over all tokens.", "A mean: divide by the number of tokens that are scored."),
        (right * count / labels.size, "{name} is divided by all labels, the ignored ones too.", "Leave -100 out of both."),
        (np.exp(right), "{name} is exp of the loss: a perplexity.", "Return the loss itself."),
        (np.exp(-right), "{name} is a probability, not a loss.", "-ln of it."),
    ]


SEEN = "ln of the number of tokens in the vocabulary: the logits speak of all of them, used or not."
LEAVE_OUT = "Leave ignored labels out before you count."


def _slips(labels: np.ndarray, vocabulary: int, expected: tuple[float, ...]) -> list[list[tuple[float, str, str]]]:
    """What goes wrong with each of the three: (value, mistake, hint)."""
    scored = labels[labels != IGNORED]
    p = shares(scored)
    each = [entropy(column[column != IGNORED]) for column in labels.T]
    filled = float(np.mean([entropy(column) for column in labels.T]))
    answers = [row[row != IGNORED] for row in labels]
    within = sum(entropy(row) * row.size for row in answers) / scored.size
    smooth = np.concatenate([p * scored.size + 1, np.ones(vocabulary - p.size)]) / (scored.size + vocabulary)
    return [
        [
            (np.log(p.size), "uniform counts only the tokens that occur.", SEEN),
            (np.log(256), "uniform counts 256 tokens.", SEEN),
            (np.log(vocabulary + 256), "uniform counts 256 tokens too many.", "The vocabulary is as large as it says."),
        ],
        [
            (entropy(labels), "-100 is counted as if it were a token.", LEAVE_OUT),
            (-np.log(p).mean(), "Every kind of token counts the same.", "A frequent one is scored more often: sum p ln p."),
            (-np.log(p.max()), "This is the loss on the most frequent token only.", "The mean over all tokens."),
            (-(p * np.log(smooth[: p.size])).sum(), "One was added to every count.", "Here the shares are known exactly."),
            (expected[2], "frequencies is what places should be.", "In order: uniform, frequencies, places."),
        ],
        [
            (expected[1], "places is the same as frequencies.", "Count the tokens of each column of labels on its own."),
            (float(np.mean(each)), "Every place counts the same.", "Later places have fewer tokens: weigh by how many."),
            (float(np.sum(each)), "places is the sum over the places.", "The mean over all tokens that are scored."),
            (filled, "-100 is counted as if it were a token of its place.", LEAVE_OUT),
            (within, "You count within each answer instead of within each place.", "An answer is a row, a place a column."),
        ],
    ]


BASELINE_HINTS = (
    ("expected input to have only non-negative|non-negative", "bincount cannot count -100: leave it out first."),
    ("Long|integer", "Counts are whole numbers: make them float before you divide or take a mean."),
)
BASELINES = Exercise("baselines", LESSON, draw_baselines, probe_baselines, judge_baselines, BASELINE_HINTS)


def check_baselines(baselines: Any, seed: int | None = None) -> Check:
    """Try a learner's ``baselines(labels, vocabulary)`` on random labels."""
    return BASELINES.check(baselines, seed)

"""The check of the first loss accepts right answers of any style, and gives every known mistake its own message."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from learner_answers import assert_accepted, assert_all_differ, assert_forgeries_fail, assert_told, changed

from course_lib.classroom.checks.baselines import BASELINES, IGNORED, expected_baselines

BASE = """
def entropy(tokens):
    counts = torch.unique(tokens, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * p.log()).sum())

def baselines(labels, vocabulary):
    scored = labels[labels != -100]
    uniform = math.log(vocabulary)
    places = 0.0
    for column in labels.T:
        column = column[column != -100]
        places += entropy(column) * len(column)
    return uniform, entropy(scored), places / len(scored)
"""
RIGHT = {
    "entropies": BASE,
    "logits and torch's cross-entropy": """
def loss(tokens):
    logits = torch.bincount(tokens).double().log()
    return F.cross_entropy(logits.expand(len(tokens), -1), tokens, reduction="none")

def baselines(labels, vocabulary):
    real = labels != -100
    uniform = F.cross_entropy(torch.zeros(1, vocabulary), torch.tensor([0]))
    places = torch.cat([loss(labels[real[:, k], k]) for k in range(labels.shape[1])])
    return torch.stack([uniform.double(), loss(labels[real]).mean(), places.mean()])
""",
    "dictionaries": """
from collections import Counter
def baselines(labels, vocabulary):
    rows = labels.tolist()
    pairs = [(k, t) for row in rows for k, t in enumerate(row) if t != -100]
    tokens, both, place = Counter(t for _, t in pairs), Counter(pairs), Counter(k for k, _ in pairs)
    N = len(pairs)
    frequencies = sum(math.log(N / tokens[t]) for _, t in pairs) / N
    places = sum(math.log(place[k] / both[k, t]) for k, t in pairs) / N
    return [-math.log(1 / vocabulary), frequencies, places]
""",
    "NumPy with zeros left out": """
def baselines(labels, vocabulary):
    labels = labels.numpy()
    def total(tokens):
        counts = np.bincount(tokens[tokens >= 0], minlength=vocabulary)
        counts = counts[counts > 0]
        return (counts * np.log(counts.sum() / counts)).sum(), counts.sum()
    whole, n = total(labels.ravel())
    return np.log(vocabulary), whole / n, sum(total(c)[0] for c in labels.T) / n
""",
}
LAST = "places / len(scored)"
WRONG = {  # name: (source, message)
    "tokens that occur": (
        changed(BASE, "math.log(vocabulary)", "math.log(len(scored.unique()))"),
        "uniform counts only the tokens",
    ),
    "256": (changed(BASE, "math.log(vocabulary)", "math.log(256)"), "uniform counts 256 tokens."),
    "256 more": (changed(BASE, "math.log(vocabulary)", "math.log(vocabulary + 256)"), "uniform counts 256 tokens too many"),
    "bits": (changed(BASE, "math.log(vocabulary)", "math.log2(vocabulary)"), "uniform is in bits"),
    "bits of the tokens": (changed(BASE, "p.log()", "p.log2()"), "frequencies is in bits"),
    "tens": (changed(BASE, "p.log()", "p.log10()"), "frequencies is taken with the logarithm to base 10"),
    "no minus": (changed(BASE, "-(p * p", "(p * p"), "frequencies is negative: the minus is missing"),
    "probability": (changed(BASE, "math.log(vocabulary)", "1 / vocabulary"), "uniform is a probability"),
    "perplexity": (changed(BASE, "entropy(scored),", "math.exp(entropy(scored)),"), "frequencies is exp of the loss"),
    "ignored tokens": (
        changed(BASE, "labels[labels != -100]", "labels.flatten()"),
        "-100 is counted as if it were a token.",
    ),
    "every kind the same": (changed(BASE, "-(p * p.log()).sum()", "-p.log().mean()"), "Every kind of token counts the same"),
    "most frequent": (changed(BASE, "-(p * p.log()).sum()", "-p.max().log()"), "on the most frequent token only"),
    "smoothed": (
        changed(BASE, "entropy(scored),", "smooth(scored, vocabulary),")
        + """
def smooth(tokens, vocabulary):
    counts = torch.bincount(tokens, minlength=vocabulary)
    q = (counts + 1) / (counts + 1).sum()
    return float(-(counts / counts.sum() * q.log()).sum())
""",
        "One was added to every count",
    ),
    "exchanged": (
        changed(BASE, f"entropy(scored), {LAST}", f"{LAST}, entropy(scored)"),
        "frequencies is what places should be",
    ),
    "places ignored": (changed(BASE, LAST, "entropy(scored)"), "places is the same as frequencies"),
    "sum": (changed(BASE, LAST, "places"), "places is the sum over all tokens"),
    "places unweighted": (
        changed(BASE, " * len(column)", "", LAST, "places / labels.shape[1]"),
        "Every place counts the same",
    ),
    "sum of places": (changed(BASE, " * len(column)", "", LAST, "places"), "places is the sum over the places"),
    "all labels": (changed(BASE, LAST, "places / labels.numel()"), "places is divided by all labels"),
    "ignored at a place": (
        changed(BASE, "column = column[column != -100]", "pass", LAST, "places / labels.numel()"),
        "-100 is counted as if it were a token of its place",
    ),
    "rows": (changed(BASE, "labels.T", "labels"), "within each answer instead of within each place"),
    "zeros": (
        changed(BASE, "torch.unique(tokens, return_counts=True)[1]", "torch.bincount(tokens)"),
        "One of the numbers is not a number",
    ),
    "in place": (
        changed(BASE, "scored = labels", "labels += 0 * labels; labels[labels < 0] = 0; scored = labels"),
        "changes the labels",
    ),
    "two": (changed(BASE, f", {LAST}", ""), "should return 3 numbers, got 2"),
    "something else": (changed(BASE, LAST, "0.123"), "places is not right: got 0.123"),
}
SOMETIMES = {"256"}  # seen when the vocabulary is not 256


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    assert_accepted(BASELINES, RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    assert_told(BASELINES, *WRONG[name])


def test_no_two_mistakes_share_a_message():
    assert_all_differ(BASELINES, {name: source for name, (source, _) in WRONG.items()})


def test_errors_and_stubs_are_told_apart_from_mistakes():
    assert_told(
        BASELINES, "def baselines(labels, vocabulary):\n    raise NotImplementedError", "still a stub", "not attempted"
    )
    counted = changed(BASE, "labels[labels != -100]", "torch.bincount(labels.flatten())")
    assert_told(BASELINES, counted, "RuntimeError", "error in your code", seeds=1)


def test_forged_or_incomplete_evidence_never_passes():
    assert_forgeries_fail(BASELINES, BASE)


def test_the_judges_counting_agrees_with_torchs_cross_entropy():
    labels = np.array([[3, 5, 5], [3, 4, IGNORED], [2, 5, IGNORED], [3, 5, 6]])
    uniform, frequencies, places = expected_baselines(labels, 9)
    flat = torch.from_numpy(labels).flatten()
    logits = torch.bincount(flat[flat >= 0], minlength=9).log()
    assert uniform == pytest.approx(float(F.cross_entropy(torch.zeros(12, 9), flat, ignore_index=IGNORED)))
    finite = logits.clamp(min=-1e4).expand(12, -1)
    assert frequencies == pytest.approx(float(F.cross_entropy(finite, flat, ignore_index=IGNORED)))
    by_hand = [3 * math.log(4 / 3) + math.log(4), 3 * math.log(4 / 3) + math.log(4), 2 * math.log(2)]
    assert places == pytest.approx(sum(by_hand) / 10)

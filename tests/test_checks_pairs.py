"""The check of the paired comparison accepts right answers of any style, and names every known mistake."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.pairs import PAIRS
from course_lib.measure.compare import mcnemar as course_mcnemar

RIGHT, WRONG, right, wrong = answers()
Z = 1.96


def counted(a, b):
    return len(a), int((a & ~b).sum()), int((b & ~a).sum())


def interval(c10, c01, n, z=Z):
    d = (c01 - c10) / n
    error = math.sqrt(((c10 + c01) / n - d**2) / n)
    return d - z * error, d + z * error


def tail(k, n):
    return sum(math.comb(n, i) for i in range(k + 1)) / 2**n


@right
def with_counts(a, b):
    n, only_a, only_b = counted(a, b)
    p = min(1, 2 * tail(min(only_a, only_b), only_a + only_b))
    return (only_b - only_a) / n, *interval(only_a + 0.5, only_b + 0.5, n + 2), p


@right
def with_loops(a, b):
    table = Counter(zip(a.tolist(), b.tolist(), strict=True))
    c, d, n = table[True, False], table[False, True], len(a)
    few, m = min(c, d), c + d
    chance, p = 0.5**m, 0.0
    for k in range(few + 1):
        p += chance
        chance *= (m - k) / (k + 1)
    middle = (d - c) / (n + 2)
    error = ((c + d + 1) - (d - c) ** 2 / (n + 2)) ** 0.5 / (n + 2)
    return [(d - c) / n, middle - Z * error, middle + Z * error, min(2 * p, 1.0)]


@right
def in_torch(a, b):
    difference = torch.tensor(b).double() - torch.tensor(a).double()
    padded = torch.cat([difference, torch.tensor([0.5**0.5, -(0.5**0.5)], dtype=torch.float64)])  # squares: 1/2 and 1/2
    n, m = len(padded), int(difference.abs().sum())
    error = (padded.square().mean() - padded.mean() ** 2).sqrt() / n**0.5
    k = torch.arange(m + 1, dtype=torch.float64)
    log = torch.lgamma(torch.tensor(m + 1.0)) - torch.lgamma(k + 1) - torch.lgamma(m - k + 1) - m * math.log(2)
    extreme = (k - m / 2).abs() >= (difference.sum().abs() / 2 - 1e-9)
    ends = padded.mean() + 1.959964 * error * torch.tensor([-1, 1])
    return difference.mean(), ends[0], ends[1], log.exp()[extreme].sum().clamp(max=1)


@right
def as_an_array(a, b):
    a, b = a.astype(int), b.astype(int)
    return np.array([b.mean() - a.mean(), *with_counts(a > 0, b > 0)[1:]])


def mistaken(message, **changes):
    """A wrong answer: some of difference, ends and p come from ``change(n, only_a, only_b, a, b)``."""

    def answer(a, b):
        n, only_a, only_b = counted(a, b)
        difference, low, high, p = with_counts(a, b)
        found = {"difference": difference, "ends": (low, high), "p": p}
        found |= {name: change(n, only_a, only_b, a, b) for name, change in changes.items()}
        return found["difference"], *found["ends"], found["p"]

    WRONG[message] = (answer, message, "not yet")


def two_groups(n, c, d, a, b):
    error = math.sqrt((a.mean() * (1 - a.mean()) + b.mean() * (1 - b.mean())) / n)
    return (d - c) / n - Z * error, (d - c) / n + Z * error


def two_groups_p(n, c, d, a, b):
    pooled = (a.mean() + b.mean()) / 2
    return math.erfc(abs(b.mean() - a.mean()) / math.sqrt(2 * pooled * (1 - pooled) / n) / math.sqrt(2))


def around_measured(n, c, d, a, b):
    low, high = interval(c + 0.5, d + 0.5, n + 2)
    return (d - c) / n - (high - low) / 2, (d - c) / n + (high - low) / 2


def without_square(n, c, d, a, b):
    middle, error = (d - c) / (n + 2), math.sqrt((c + d + 1) / (n + 2) ** 2)
    return middle - Z * error, middle + Z * error


def of_one_scene(n, c, d, a, b):
    middle = (d - c) / (n + 2)
    error = math.sqrt((c + d + 1) / (n + 2) - middle**2)
    return middle - Z * error, middle + Z * error


def exactly(c, d):
    return math.comb(c + d, c) / 2 ** (c + d)


def normal(z):
    return math.erfc(z / math.sqrt(2))


mistaken("The sign is the other way", difference=lambda n, c, d, a, b: (c - d) / n)
mistaken("per cent", difference=lambda n, c, d, a, b: 100 * (d - c) / n)
mistaken("a number of scenes", difference=lambda n, c, d, a, b: d - c)
mistaken("The half scenes belong", difference=lambda n, c, d, a, b: (d - c) / (n + 2))
mistaken("the scenes that tell", difference=lambda n, c, d, a, b: (d - c) / max(c + d, 1))
mistaken("the part that only b solved", difference=lambda n, c, d, a, b: d / n)
mistaken("difference should be", difference=lambda n, c, d, a, b: 0.1 + (d - c) / n)
mistaken("The half scenes are missing", ends=lambda n, c, d, a, b: interval(c, d, n))
mistaken("two groups of different scenes", ends=two_groups)
mistaken("one standard error to each", ends=lambda n, c, d, a, b: interval(c + 0.5, d + 0.5, n + 2, 1))
mistaken("90% interval", ends=lambda n, c, d, a, b: interval(c + 0.5, d + 0.5, n + 2, 1.645))
mistaken("but not to n", ends=lambda n, c, d, a, b: interval(c + 0.5, d + 0.5, n))
mistaken("around the measured difference", ends=around_measured)
mistaken("A whole scene was added", ends=lambda n, c, d, a, b: interval(c + 1, d + 1, n + 2))
mistaken("d ** 2 is missing", ends=without_square)
mistaken("not divided by the number of scenes", ends=of_one_scene)
mistaken("low is above high", ends=lambda n, c, d, a, b: interval(c + 0.5, d + 0.5, n + 2)[::-1])
mistaken("The interval should be", ends=lambda n, c, d, a, b: interval(c + 0.5, d + 0.5, n + 2, 2.5))
mistaken("p is larger than 1", p=lambda n, c, d, a, b: 2 * tail(min(c, d), c + d))
mistaken("This is one-sided", p=lambda n, c, d, a, b: tail(min(c, d), c + d))
mistaken("the other tail", p=lambda n, c, d, a, b: 1 - tail(min(c, d), c + d))
mistaken("includes the count itself", p=lambda n, c, d, a, b: 2 * (tail(min(c, d), c + d) - exactly(c, d)))
mistaken("mid-p", p=lambda n, c, d, a, b: 2 * tail(min(c, d), c + d) - exactly(c, d))
mistaken("exactly these counts", p=lambda n, c, d, a, b: exactly(c, d))
mistaken("All scenes are tossed", p=lambda n, c, d, a, b: min(1, 2 * tail(min(c, d), n)))
mistaken("by the normal curve.", p=lambda n, c, d, a, b: normal(abs(c - d) / math.sqrt(max(c + d, 1))))
mistaken("with a correction", p=lambda n, c, d, a, b: normal(max(abs(c - d) - 1, 0) / math.sqrt(max(c + d, 1))))
mistaken("the pairs are not used", p=two_groups_p)
mistaken("This is 1 - p", p=lambda n, c, d, a, b: 1 - min(1, 2 * tail(min(c, d), c + d)))
mistaken("p should be", p=lambda n, c, d, a, b: 0.05)


@wrong("NaN")
def divides_by_the_discordant(a, b):
    _, c, d = counted(a, b)
    return (*with_counts(a, b)[:3], float(np.divide(c, c + d)) * 0 + with_counts(a, b)[3])


@wrong("TypeError", "error in your code")
def subtracts_truths(a, b):
    return (b - a).mean(), 0, 0, 1


@wrong("There is still a stub", "not attempted")
def blank(a, b):
    raise NotImplementedError


@wrong("Nothing was returned")
def forgets_return(a, b):
    with_counts(a, b)


@wrong("got 2 of them")
def difference_and_p(a, b):
    return with_counts(a, b)[::3]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(PAIRS, RIGHT[name], seeds=6)


def test_every_wrong_answer_is_told_its_own_mistake():
    with np.errstate(all="ignore"):
        all_different([rejected(PAIRS, *about) for about in WRONG.values()])


def test_the_oracle_and_the_course_agree_about_mcnemar():
    for only_a, only_b in ((0, 0), (3, 3), (2, 9), (40, 12)):
        a = np.repeat([True, False, True], [only_a, only_b, 5])
        b = np.repeat([False, True, True], [only_a, only_b, 5])
        assert with_counts(a, b)[3] == pytest.approx(course_mcnemar(only_a, only_b))


def test_subtracting_truth_values_is_explained():
    assert "a & ~b" in PAIRS.check(subtracts_truths, 0).hint


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(PAIRS, with_counts)

"""Day 92's analyses show whatever runs have been made: none, some or all."""

import math

import numpy as np
import pytest

from course_lib.classroom.experiments import decoding, language, rows, scaling
from course_lib.grading.notebooks import ROOT, read

CELLS = [c.source for c in read(ROOT / "solutions/day92_rt1/exercises.py").cells if c.cell_type == "code"]
PRINTED = [[14, 57, 52, 76], [41, 47, 59, 59]]  # RT-1's paper, Table 7: unseen and backgrounds, in per cent, by data size


class Passed:
    passed = True


def shown(words, answers, capsys):
    """What the cell with these words prints, given the learner's answers."""
    (source,) = (text for text in CELLS if words in text)
    home = {"np": np, "math": math} | answers | {f"check_{name}": lambda _: Passed for name in answers}
    exec(source, home)
    return capsys.readouterr().out


def clone(run, successes):
    each = "1" * successes + "0" * (400 - successes)
    test = {"successes": successes, "n": 400, "each": each}
    return {"run": run, "result": {"seen": test, "unseen": test, "sampled": test | {"mixed": 1, "first_actions": 400}}}


@pytest.fixture
def made(monkeypatch):
    """Say which runs have been made: a list of (run, successes)."""
    found = []
    monkeypatch.setattr(rows, "rows_of", lambda wanted: [clone(run, k) for run, k in found if run in wanted])
    return found


def test_the_scaling_cell_needs_no_run_of_ours_and_takes_those_that_are_there(made, capsys):
    fitted = []

    def fit_power_law(sizes, successes, trials):
        fitted.append((sizes.tolist(), successes.tolist(), trials.tolist()))
        return 0.1, 0.2, 0.3, 0.4

    answers = {"fit_power_law": fit_power_law}
    out = shown("our clones", answers, capsys)
    assert "0 runs of our own" in out and out.count("chi2") == 2 and len(fitted) == 2
    for (sizes, successes, trials), printed in zip(fitted, PRINTED, strict=True):
        assert sizes == [22, 37, 51, 100]
        assert [round(100 * k / n) for k, n in zip(successes, trials, strict=True)] == printed
    made += [(run, 100 + 10 * i) for i, run in enumerate(scaling.runs(seeds=1)[:1])]
    assert "1 runs of our own" in shown("our clones", answers, capsys) and len(fitted) == 4  # one size makes no line
    made += [(run, 300) for run in scaling.runs(seeds=2)[1:]]
    out = shown("our clones", answers, capsys)
    assert "our clones, seen tasks" in out and "our clones, unseen tasks" in out
    assert fitted[-1] == ([100, 1000, 10_000, 100_000], [400, 600, 600, 600], [800] * 4)


def test_the_cell_of_film_against_concatenation_pairs_what_has_been_trained_both_ways(made, capsys):
    compared = []

    def compare_pairs(a, b):
        compared.append((int(a.sum()), int(b.sum())))
        return 0.1, 0.0, 0.2, 0.05

    answers = {"compare_pairs": compare_pairs}
    out = shown('("concatenated", "FiLM"', answers, capsys)
    assert "FiLM against concatenated: 0 seeds" in out and "autoregressive against parallel: 0 seeds" in out and not compared
    ways = {run["language"]: 0 for run in language.runs(seeds=1)}
    ways |= {"FiLM": 300, "concatenated": 250}
    made += [(run, ways[run["language"]]) for run in language.runs(seeds=2) if (run["language"], run["seed"]) != ("FiLM", 1)]
    made += [(run, 200) for run in decoding.runs(seeds=1)]
    out = shown('("concatenated", "FiLM"', answers, capsys)
    assert "FiLM against concatenated: 1 seeds" in out and "autoregressive against parallel: 1 seeds" in out
    assert compared == [(250, 300), (200, 200)]

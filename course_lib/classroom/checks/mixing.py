"""The check of the mixing exercise: how often sampled moves mix two good ways, and how much x knows about y.

The oracle is arithmetic: two counts, and the mutual information of a table of two by two. Draws and scenes are sometimes
equally many, most moves go along both axes but not all, and in one case nothing is mixed: 0 log 0.

Lesson: day92_rt1/3_experiments.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.slips import Slip, close, name_slip, parts, plain, seen

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 3: Parallel or autoregressive action tokens?"
NAMES = ("mixed", "nats")
LEAST = 0.005  # metres: half a step of the expert's lattice
BOTH = "Only moves with |x| > least and |y| > least have a diagonal; the others are left out of both counts."
OWN = "apples[n] belongs to scene n: moves are (draws, scenes, 2), so sign(x * y) is (draws, scenes)."
TURN = "Turn every scene so that its apples lie on the diagonal (+, +): sign(x) and apples * sign(y)."
NATS = "sum of p(s, t) log(p(s, t) / (p(s) p(t))) over the four corners; natural logarithm; 0 log 0 is 0."


def draw_mixing(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """(D, N): as many draws as scenes; many draws; a policy that never mixes."""
    n = int(rng.integers(9, 14))
    if hidden:
        return [_case(rng, n, n, 0.5, 0.7), _case(rng, 1, 60, 0.05), _case(rng, 40, 5, 0.0), _case(rng, 30, 7, 1.0)]
    return [_case(rng, n, n, 0.3, 0.65), _case(rng, 8, 25, 0.45, 0.4), _case(rng, 12, 6, 0.0)]


def _case(rng: np.random.Generator, D: int, N: int, mixed: float, right: float = 0.55) -> Case:
    """Moves of which this part points at the cups; more go to the right than to the left."""
    apples = np.where(np.arange(N) % 3 == 0, -1, 1)
    x = np.where(rng.random((D, N)) < right, 1, -1)
    wrong = rng.random((D, N)) < mixed
    if 0 < mixed < 1:
        wrong[:, 0] |= rng.random(D) < 0.8  # one scene is worse, and has fewer moves that count: see below
    y = np.where(wrong, -1, 1) * x * apples
    moves = np.stack([x, y], -1) * rng.uniform(1.5, 4, (D, N, 2)) * LEAST
    still = rng.random((D, N, 2)) < 0.12
    still[1:, 0] |= rng.random((max(D - 1, 0), 2)) < 0.4
    moves = np.where(still, moves * 0.2 * rng.random((D, N, 2)), moves)
    return {"moves": moves.astype(np.float32), "apples": apples.astype(np.int64), "least": np.array(LEAST, np.float32)}


def probe_mixing(mixing: Any, case: Case) -> Record:
    """The two numbers that ``mixing(moves, apples, least)`` returns."""
    if not callable(mixing):
        raise NotYet(f"Expected the function mixing, got a {type(mixing).__name__}.", "Give the check the function itself.")
    moves, apples = case["moves"].copy(), case["apples"].copy()
    found = parts(mixing(moves, apples, float(case["least"])), NAMES)
    if not (np.array_equal(moves, case["moves"]) and np.array_equal(apples, case["apples"])):
        raise NotYet("mixing changes its inputs in place.", "Make new arrays: turned = moves[..., 1] * apples.")
    return {name: plain(value, (), name) for name, value in zip(NAMES, found, strict=True)}


def judge_mixing(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    mixed, nats = (seen(record, name) for name in NAMES)
    x, y = np.moveaxis(case["moves"].astype(np.float64), -1, 0)  # (D, N) each
    both = (np.abs(x) > case["least"]) & (np.abs(y) > case["least"])
    wrong = np.sign(x * y) != case["apples"]
    name_slip("mixed", mixed, wrong[both].mean(), _slips_mixed(case, x, y, both, wrong), BOTH)
    turned = y * case["apples"]
    right = information(_corners(x[both], turned[both]))
    if abs(nats - right) > 1e-4:
        name_slip("nats", nats, right, _slips_nats(x, y, turned, both), NATS)


def _corners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(2, 2): the part of the moves in each corner."""
    table = np.array([[(((x < 0) == s) & ((y < 0) == t)).sum() for t in (False, True)] for s in (False, True)])
    return table / max(table.sum(), 1)


def information(p: np.ndarray) -> float:
    """Mutual information in nats of a table of probabilities (2, 2)."""
    product = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return float((p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, product, 1))).sum())


def _slips_mixed(case: Case, x: np.ndarray, y: np.ndarray, both: np.ndarray, wrong: np.ndarray) -> list[Slip]:
    least, apples = case["least"], case["apples"]
    per_scene = [wrong[:, n][both[:, n]].mean() for n in range(len(apples)) if both[:, n].any()]
    slips = [
        Slip((~wrong)[both].mean(), "This is the part that points at the apples.", "Mixed: sign(x * y) != apples."),
        Slip(wrong.mean(), "Moves along one axis alone, or none, count too.", BOTH),
        Slip((wrong & both).mean(), "Divided by all draws, not by those that have a diagonal.", BOTH),
        Slip((wrong & both).sum(), "This is a number of moves, not a part of them.", BOTH),
        Slip(np.mean(per_scene), "Every scene counts the same, however few of its moves count.", "One mean over all moves."),
        Slip((x * y < 0)[both].mean(), "Every scene is taken to have its apples on the diagonal (+, +).", OWN),
        Slip(_part(wrong, (np.abs(x) > least) | (np.abs(y) > least)), "A move along one axis is enough here.", BOTH),
        Slip(_part(wrong, (x > least) & (y > least)), "Negative moves are left out: the sizes count, |x| and |y|.", BOTH),
        Slip(100 * wrong[both].mean(), "These are per cent.", "A part: from 0 to 1."),
    ]
    if len(x) == len(apples):
        other = np.sign(x * y) != apples[:, None]
        slips.append(Slip(other[both].mean(), "Draws and scenes are exchanged: apples[n] met draw n.", OWN))
    return slips


def _part(wrong: np.ndarray, which: np.ndarray) -> float:
    return float(wrong[which].mean()) if which.any() else np.nan


def _slips_nats(x: np.ndarray, y: np.ndarray, turned: np.ndarray, both: np.ndarray) -> list[Slip]:
    p = _corners(x[both], turned[both])
    full = information(p)
    rate = p[0, 1] + p[1, 0]
    parts_of_p = np.where(p > 0, p, 1)
    entropy = float(-(p * np.log(parts_of_p)).sum())
    halves = -sum(float((m * np.log(np.where(m > 0, m, 1))).sum()) for m in (p.sum(0), p.sum(1)))
    half = -sum(r * np.log(r) for r in (rate, 1 - rate) if r > 0)
    slips = [
        Slip(full / np.log(2), "These are bits.", "Nats: the natural logarithm."),
        Slip(information(_corners(x[both], y[both])), "The scenes are not turned: both diagonals fall together.", TURN),
        Slip(entropy, "This is the entropy of the corners: how unsure, not how much x says about y.", NATS),
        Slip(halves, "This is the sum of the two entropies; the joint one has to go.", NATS),
        Slip(np.log(2) - half, "This takes + and - to be equally frequent: only then is it ln 2 - H(mixed).", NATS),
        Slip(half, "This is the entropy of the mixing rate.", NATS),
        Slip(-full, "The sign is wrong: x never makes y less certain on average.", NATS),
        Slip(information(_corners(x.ravel(), turned.ravel())), "Moves along one axis alone, or none, are in it.", BOTH),
        Slip(np.log(2), "This is what the expert's diagonal costs, not what these draws show."),
        Slip(_from_even(p), "The table is compared with four equal corners, not with its own margins.", NATS),
    ]
    return [slip for slip in slips if not close(slip.value, full)]


def _from_even(p: np.ndarray) -> float:
    return float((p * np.log(np.where(p > 0, 4 * p, 1))).sum())


HINTS = (("could not be broadcast|must match the size", OWN), ("has no attribute 'sign'", "They are arrays: np.sign(x)."))
MIXING = Exercise("mixing", LESSON, draw_mixing, probe_mixing, judge_mixing, HINTS)


def check_mixing(mixing: Any, seed: int | None = None) -> Check:
    """Try a learner's ``mixing(moves, apples, least)`` on random draws and name the first mistake, if any."""
    return MIXING.check(mixing, seed)

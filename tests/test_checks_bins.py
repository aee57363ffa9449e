"""The bins check accepts right answers of any style, and gives every known mistake its own message."""

import math

import numpy as np
import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.actions import ActionDim, ActionSpace, ActionTokenizer
from course_lib.classroom.checks.bins import BINS, check_bins

RIGHT, WRONG, right, wrong = answers()


@right
class Textbook:
    """The ground for most of the mistakes below."""

    def __init__(self, low, high, bins=256, rounding="nearest"):
        self.low, self.high, self.bins, self.rounding = low, high, bins, rounding

    def level(self, action):
        return (action.clamp(self.low, self.high) - self.low) / (self.high - self.low) * (self.bins - 1)

    def whole(self, level):
        return level.round() if self.rounding == "nearest" else level.floor()

    def encode(self, action):
        if action.isnan().any():
            raise ValueError("NaN")
        return self.whole(self.level(action)).long()

    def decode(self, tokens):
        return self.low + tokens / (self.bins - 1) * (self.high - self.low)

    def largest_error_mm(self):
        step = 1000 * (self.high - self.low) / (self.bins - 1)
        return step / 2 if self.rounding == "nearest" else step


@right
class ByTheStep(Textbook):
    """Steps instead of ranges, + 0.5 and cut, 32-bit tokens, double precision."""

    def encode(self, action):
        if not torch.equal(action, action.nan_to_num(0, posinf=math.inf, neginf=-math.inf)):
            raise ValueError("an action is not a number")
        step = (self.high - self.low) / (self.bins - 1)
        level = ((action.double() - self.low) / step).clip(0, self.bins - 1)
        return (level + 0.5 * (self.rounding == "nearest")).int()

    def decode(self, tokens):
        return torch.lerp(
            torch.tensor(self.low).double(), torch.tensor(self.high).double(), tokens.double() / (self.bins - 1)
        )

    def largest_error_mm(self):
        return torch.tensor((self.high - self.low) / (self.bins - 1) * {"nearest": 500, "floor": 1000}[self.rounding])


@right
class OneByOne(Textbook):
    """Python numbers in a loop."""

    def one(self, number):
        if math.isnan(number):
            raise ValueError("NaN")
        level = (min(max(number, self.low), self.high) - self.low) / (self.high - self.low) * (self.bins - 1)
        return round(level) if self.rounding == "nearest" else math.floor(level)

    def encode(self, action):
        return torch.tensor([self.one(number) for number in action.flatten().tolist()]).reshape(action.shape)

    def decode(self, tokens):
        return torch.linspace(self.low, self.high, self.bins)[tokens]


@right
class NearestNeighbour(Textbook):
    """A table of the levels, and a search in it."""

    def encode(self, action):
        if torch.isnan(action).any():
            raise ValueError("NaN")
        table = torch.linspace(self.low, self.high, self.bins, dtype=torch.float64)
        held = action.double().clamp(self.low, self.high)
        if self.rounding == "nearest":
            return (held[..., None] - table).abs().argmin(-1)
        return torch.searchsorted(table, held, right=True) - 1


@right
class TheLibrarysInside(Textbook):
    def encode(self, action):
        space = ActionSpace((ActionDim("x", self.low, self.high, "m"),))
        return ActionTokenizer(space, self.bins, self.rounding).encode(action[..., None])[..., 0]


LEVELS = {  # name: (how a level is made, message)
    "TimesBins": (lambda s, a: (a.clamp(s.low, s.high) - s.low) / (s.high - s.low) * s.bins, "is divided into"),
    "FromOne": (lambda s, a: Textbook.level(s, a) + 1, "counted from 1"),
    "Backwards": (lambda s, a: s.bins - 1 - Textbook.level(s, a), "run backwards"),
    "ForgetsLow": (lambda s, a: (a / (s.high - s.low)).clamp(0, 1) * (s.bins - 1), "The range of the actions is not used"),
    "NoClamp": (lambda s, a: (a - s.low) / (s.high - s.low) * (s.bins - 1), "Beyond the range, tokens should stay"),
    "HalfTheLevels": (lambda s, a: Textbook.level(s, a) / 2, "should become the token"),
}
for name, (level, message) in LEVELS.items():
    wrong(message)(type(name, (Textbook,), {"level": level}))

WHOLES = {
    "AlwaysCut": (lambda s, level: level.floor(), 'With rounding "nearest" the levels are cut off'),
    "AlwaysRounded": (lambda s, level: level.round(), 'With rounding "floor" the levels are rounded'),
    "RoundedUp": (lambda s, level: level.ceil(), "always rounded up"),
}
for name, (whole, message) in WHOLES.items():
    wrong(message)(type(name, (Textbook,), {"whole": whole}))

BACKS = {
    "Middles": (lambda s, t: s.low + (t + 0.5) / s.bins * (s.high - s.low), "the middles of 256 equal bins"),
    "BackByBins": (lambda s, t: s.low + t / s.bins * (s.high - s.low), "decode divides by the number of levels"),
    "HalfAStep": (lambda s, t: s.low + (t + 0.5) / (s.bins - 1) * (s.high - s.low), "decode adds half a step"),
    "BackWithoutLow": (lambda s, t: t / (s.bins - 1) * (s.high - s.low), "decode does not add low"),
    "BackToParts": (lambda s, t: t / (s.bins - 1), "decode gives parts of the range"),
    "BackBackwards": (lambda s, t: s.high - t / (s.bins - 1) * (s.high - s.low), "decode runs backwards"),
    "BackWhole": (lambda s, t: (s.low + t * (s.high - s.low) / (s.bins - 1)).long(), "numbers with decimals"),
    "BackCut": (lambda s, t: s.low + t // (s.bins - 1) * (s.high - s.low), "What decode makes of number"),
    "BackNothing": (lambda s, t: None, "decode returns nothing"),
    "BackAsList": (lambda s, t: t.tolist(), "decode should return a tensor"),
}
for name, (decode, message) in BACKS.items():
    wrong(message)(type(name, (Textbook,), {"decode": decode}))

ERRORS = {
    "InMetres": (lambda s: Textbook.largest_error_mm(s) / 1000, "is in metres"),
    "AlwaysHalf": (lambda s: 500 * (s.high - s.low) / (s.bins - 1), '"floor" is that of the other way'),
    "AlwaysWhole": (lambda s: 1000 * (s.high - s.low) / (s.bins - 1), '"nearest" is that of the other way'),
    "WholeRange": (lambda s: Textbook.largest_error_mm(s) * (s.bins - 1), "this is the range, not one step"),
    "StepByBins": (lambda s: Textbook.largest_error_mm(s) * (s.bins - 1) / s.bins, "The step is divided by"),
    "AverageError": (lambda s: Textbook.largest_error_mm(s) / 2, "the average size of the error"),
    "SeedsNumber": (lambda s: 0.4, 'The largest error for "nearest", in mm, should be'),
    "NoError": (lambda s: None, "largest_error_mm() returns nothing"),
}
for name, (largest, message) in ERRORS.items():
    wrong(message)(type(name, (Textbook,), {"largest_error_mm": largest}))


@wrong("no integer can hold an infinity")
class ClampsTooLate(Textbook):
    def encode(self, action):
        level = (action - self.low) / (self.high - self.low) * (self.bins - 1)
        if action.isnan().any():
            raise ValueError("NaN")
        held = torch.where(level.isinf(), -1, self.whole(level))
        return held.long().clamp(0, self.bins - 1)


@wrong("NaN (not a number) became the token")
class TakesNaN(Textbook):
    def encode(self, action):
        return self.whole(self.level(action.nan_to_num(posinf=math.inf, neginf=-math.inf))).long()


@wrong("Tokens are integers")
class FloatTokens(Textbook):
    def encode(self, action):
        return super().encode(action).float()


@wrong("encode returns nothing")
class ForgetsReturn(Textbook):
    def encode(self, action):
        super().encode(action)


@wrong("encode should return a tensor of the actions' shape")
class Flattens(Textbook):
    def encode(self, action):
        return super().encode(action).flatten()[:1]


@wrong("encode changes the actions in place")
class InPlace(Textbook):
    def encode(self, action):
        tokens = super().encode(action)
        action.clamp_(self.low, self.high).sub_(self.low)
        return tokens


@wrong("There is still a stub", "not attempted")
class NotAttempted(Textbook):
    def encode(self, action):
        raise NotImplementedError


@wrong("AttributeError", "error in your code")
class AnotherName(Textbook):
    encode = property()


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(BINS, RIGHT[name], seeds=6)


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(BINS, *about) for about in WRONG.values()])


def test_the_class_itself_is_asked_for_and_the_courses_own_is_no_answer():
    assert "Give it the class" in check_bins(Textbook(-1.0, 1.0)).hint and "Expected the class" in check_bins(3).message
    assert "course's own" in check_bins(ActionTokenizer).message


def test_what_long_makes_of_infinity_is_named():
    class LongFirst(Textbook):
        def encode(self, action):
            if action.isnan().any():
                raise ValueError("NaN")
            level = (action - self.low) / (self.high - self.low) * (self.bins - 1)
            return self.whole(level).long().clamp(0, self.bins - 1)

    found = check_bins(LongFirst, 0)
    infinite = LongFirst(-1.0, 1.0).encode(torch.tensor([math.inf, -math.inf])).tolist()
    assert found.passed == (infinite == [255, 0])  # what an integer makes of infinity differs between machines
    assert found.passed or f"became the tokens {infinite}" in found.message


def test_a_number_on_the_border_of_two_levels_may_become_either():
    case = BINS.draw(np.random.default_rng(0), False)[0]
    level = np.arange(40) + 0.5
    case["inside"] = (-1 + level / 255 * 2).astype(np.float32)
    BINS.judge(case, BINS.probe(Textbook, case))
    BINS.judge(case, BINS.probe(OneByOne, case))


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(BINS, Textbook)

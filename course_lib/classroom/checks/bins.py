"""The check of the bins exercise: numbers to tokens and back, rounded or cut off, and the largest error in millimetres.

The oracle is arithmetic in double precision. Where a number lies on the border of two levels up to float32's rounding,
both tokens are right. Inputs are treacherous: beyond the range, infinite, NaN, exactly at the ends, ranges that are not
symmetric.

Lesson: day92_rt1/2_implementation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, finite, number
from course_lib.classroom.checks.slips import Slip, name_slip

LESSON = "notebooks/day92_rt1/2_implementation.ipynb, part Actions become tokens"
WAYS = ("nearest", "floor")
BORDER = 1e-3  # of a level: so near to the border of two, float32 may fall on either side
LEVEL = "Where in the range is the number, from 0 to 1? Times how many steps? Then round or cut off; the integer comes last."
BACK = "decode undoes encode: token 0 is low, token bins - 1 is high, the others at equal steps between."
STEP = "One step is (high - low) / (bins - 1). How far from the next level can a number be, rounded? Cut off? 1 m = 1000 mm."
STRAY = "Bring every number into the range before it becomes an integer: action.clamp(low, high)."


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_bins(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Ranges and numbers of levels; shapes of the actions."""
    low = float(rng.uniform(-2, -0.1))
    if hidden:  # RT-1's arm, our robot's arm, an odd number of levels, two levels, RT-1's own unit test
        ranges = [
            (-1, 1, 256, (4, 6)),
            (-0.05, 0.05, 256, (50,)),
            (low, 0.3, 101, (2, 3, 5)),
            (0, 5, 2, (9,)),
            (-1, 1, 10, (3,)),
        ]
    else:
        ranges = [
            (-1, 1, 256, (40,)),
            (low, low + rng.uniform(0.5, 3), int(rng.integers(20, 200)), (3, 5)),
            (1, 4, 16, (2, 1, 4)),
        ]
    return [_case(rng, *each) for each in ranges]


def _case(rng: np.random.Generator, low: float | int, high: float | int, bins: int, shape: tuple[int, ...]) -> Case:
    low, high = np.float32(low), np.float32(high)
    width = high - low
    return {
        "low": np.array(low),
        "high": np.array(high),
        "bins": np.array(bins),
        "inside": rng.uniform(low, high, shape).astype(np.float32),
        "ends": np.array([low, high], np.float32),
        "beyond": np.array([high + width * 0.01, low - width * 0.01, high + 9 * width, low - 9 * width], np.float32),
        "infinite": np.array([np.inf, -np.inf], np.float32),
        "tokens": rng.integers(0, bins, (4, 3)),
    }


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_bins(Bins: Any, case: Case) -> Record:
    """Build both kinds of bins; note tokens, decoded numbers and the errors they promise."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    record: Record = {}
    for way in WAYS:
        bins = _build(Bins, float(case["low"]), float(case["high"]), int(case["bins"]), way)
        for name in ("inside", "ends", "beyond", "infinite"):
            action = torch.from_numpy(case[name].copy())
            record[f"{name}_{way}"] = _tokens(bins.encode(action), action, case[name])
        record[f"error_{way}"] = np.array(number(bins.largest_error_mm(), "largest_error_mm()"), np.float32)
        tokens = torch.from_numpy(case["tokens"].copy())
        record[f"decoded_{way}"] = _numbers(bins.decode(tokens), tokens)
        record[f"nan_{way}"] = _tokens_of_nan(bins, torch.tensor([float(case["low"]), float("nan")]))
    return record


def _build(Bins: Any, *settings: Any) -> Any:
    if not isinstance(Bins, type):
        raise NotYet(f"Expected the class Bins, got a {type(Bins).__name__}.", "Give it the class: Bins, not Bins(...).")
    if any(base.__module__.startswith("course_lib.") for base in Bins.__mro__):
        raise NotYet("This is the course's own tokenizer.", "Write yours.")
    return Bins(*settings)


def _tokens(tokens: Any, action: Any, given: np.ndarray) -> np.ndarray:
    """What encode returned, as int64. Raises NotYet for something else than integers of the actions' shape."""
    import torch  # noqa: PLC0415

    if not np.array_equal(action.numpy(), given):
        raise NotYet(
            "encode changes the actions in place.", "clamp_ and -= write into the caller's tensor: use clamp and -."
        )
    if tokens is None:
        raise NotYet("encode returns nothing.", "Is a return missing?")
    if not isinstance(tokens, torch.Tensor) or tokens.shape != action.shape:
        what = tuple(tokens.shape) if isinstance(tokens, torch.Tensor) else f"a {type(tokens).__name__}"
        raise NotYet(f"encode should return a tensor of the actions' shape {tuple(action.shape)}, got {what}.")
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise NotYet(
            f"Tokens are integers, got {tokens.dtype}.", "floor and round leave a float tensor: .long() at the end."
        )
    return tokens.detach().numpy().astype(np.int64)


def _numbers(decoded: Any, tokens: Any) -> np.ndarray:
    import torch  # noqa: PLC0415

    if decoded is None:
        raise NotYet("decode returns nothing.", "Is a return missing?")
    if not isinstance(decoded, torch.Tensor) or decoded.shape != tokens.shape:
        what = tuple(decoded.shape) if isinstance(decoded, torch.Tensor) else f"a {type(decoded).__name__}"
        raise NotYet(f"decode should return a tensor of the tokens' shape {tuple(tokens.shape)}, got {what}.")
    if not decoded.is_floating_point():
        raise NotYet(f"Decoded actions are numbers with decimals, got {decoded.dtype}.", "Is there a // or a .long()?")
    return decoded.detach().numpy().astype(np.float32)


def _tokens_of_nan(bins: Any, action: Any) -> np.ndarray:
    """(was NaN refused?, the token it became), as int64."""
    try:
        tokens = bins.encode(action)
    except ValueError:
        return np.array([1, 0])
    return np.array([0, int(tokens[1])])


# --- the verdict: arithmetic on the record -----------------------------------------------------------------------------


def judge_bins(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    low, high, bins = float(case["low"]), float(case["high"]), int(case["bins"])
    for way in WAYS:
        found = {n: array(record, f"{n}_{way}", case[n].shape, np.int64) for n in ("inside", "ends", "beyond", "infinite")}
        _judge_inside(case["inside"].astype(np.float64), found["inside"], (low, high, bins), way)
        if list(found["ends"]) not in ([0, bins - 1], [0, bins - 2] if way == "floor" else [0, bins - 1]):
            raise NotYet(f"The ends of the range should become 0 and {bins - 1}, got {found['ends'].tolist()}.", LEVEL)
        last = bins - 1
        if not set(found["beyond"][::2]) <= {last, found["ends"][1]} or found["beyond"][1::2].any():
            raise NotYet(
                f"Beyond the range, tokens should stay at 0 and {last}; "
                f"a bit above, a bit below, far above, far below gave {found['beyond'].tolist()}.", STRAY)  # fmt: skip
        if found["infinite"][1] != 0 or found["infinite"][0] not in (last, found["ends"][1]):
            raise NotYet(
                f"+infinity and -infinity became the tokens {found['infinite'].tolist()}: no integer "
                "can hold an infinity, so .long() makes anything of it.", STRAY)  # fmt: skip
    _judge_back(case, record, (low, high, bins))
    for way in WAYS:
        refused, token = array(record, f"nan_{way}", (2,), np.int64)
        if refused != 1:
            raise NotYet(
                f"NaN (not a number) became the token {token}, without a word: the arm would move there.",
                "if action.isnan().any(): raise ValueError(...). NaN slips through clamp.",
            )
    step = 1000 * (high - low) / (bins - 1)
    for way, right in zip(WAYS, (step / 2, step), strict=True):
        name_slip(
            f'The largest error for "{way}", in mm,',
            finite(record, f"error_{way}", (), "largest_error_mm() gives"),
            right,
            _error_slips(way, step, bins),
            STEP,
        )


def _level(action: np.ndarray, low: float, high: float, last: int) -> np.ndarray:
    return (np.clip(action, low, high) - low) / (high - low) * last


def _either(level: np.ndarray, cut: Callable, last: int) -> list[np.ndarray]:
    """The tokens of numbers a little below and a little above."""
    return [np.clip(cut(level + shift), 0, last).astype(np.int64) for shift in (-BORDER, BORDER)]


def _judge_inside(action: np.ndarray, got: np.ndarray, spec: tuple[float, float, int], way: str) -> None:
    """Tokens of numbers within the range; the usual mistakes are recognised by the tokens they give."""
    low, high, bins = spec
    last = bins - 1

    def fits(level: np.ndarray, cut: Callable, top: int = last) -> bool:
        below, above = _either(level, cut, top)
        return bool(((got == below) | (got == above)).all())

    cuts = {"nearest": np.rint, "floor": np.floor}
    other = WAYS[way == "nearest"]
    level = _level(action, low, high, last)
    if fits(level, cuts[way]):
        return
    if fits(level, cuts[other]):
        said = "cut off" if way == "nearest" else "rounded"
        raise NotYet(
            f'With rounding "{way}" the levels are {said}.', "nearest: .round(). floor: .floor(), as RT-1's release."
        )
    if fits(level, np.ceil):
        raise NotYet("The levels are always rounded up.", "nearest: .round(). floor: .floor().")
    for cut in (cuts[way], cuts[other]):
        if fits(_level(action, low, high, bins), cut) or fits(_level(action, low, high, bins), cut, bins):
            raise NotYet(f"The range is divided into {bins} steps: {bins} levels have {last} steps between them.", LEVEL)
        if fits(_level(action, low, high, last) + 1, cut, bins):
            raise NotYet("The tokens are counted from 1.", "Token 0 is low, token bins - 1 is high.")
        if fits(last - level, cut):
            raise NotYet("The levels run backwards: high becomes 0.", LEVEL)
        if fits(np.clip(action / (high - low), 0, 1) * last, cut) or fits((np.clip(action, -1, 1) + 1) / 2 * last, cut):
            raise NotYet("The range of the actions is not used as it should: subtract low, divide by high - low.", LEVEL)
    place = np.unravel_index(np.argmax(np.abs(got - level)), got.shape)
    raise NotYet(
        f'{action[place]:.4g} in the range {low:.4g} ... {high:.4g} with {bins} levels should become the token '
        f'{int(cuts[way](level[place]))} for "{way}", got {got[place]}.', LEVEL)  # fmt: skip


def _judge_back(case: Case, record: Record, spec: tuple[float, float, int]) -> None:
    low, high, bins = spec
    tokens, width = case["tokens"], high - low
    slips = [
        Slip(
            low + (tokens + 0.5) / bins * width, "decode gives the middles of 256 equal bins, and encode uses levels.", BACK
        ),
        Slip(low + tokens / bins * width, "decode divides by the number of levels: the last one never reaches high.", BACK),
        Slip(low + (tokens + 0.5) / (bins - 1) * width, "decode adds half a step.", BACK),
        Slip(tokens / (bins - 1) * width, "decode does not add low: every number is shifted.", BACK),
        Slip(tokens / (bins - 1), "decode gives parts of the range, 0 ... 1, not the actions.", BACK),
        Slip(2 * tokens / (bins - 1) - 1, "decode gives -1 ... 1 whatever the range is.", BACK),
        Slip(high - tokens / (bins - 1) * width, "decode runs backwards: token 0 becomes high.", BACK),
    ]
    for way in WAYS:
        got = finite(record, f"decoded_{way}", tokens.shape, "decode gives")
        name_slip("What decode makes", got.ravel(), (low + tokens / (bins - 1) * width).ravel(), _flat(slips), BACK)


def _flat(slips: list[Slip]) -> list[Slip]:
    return [slip._replace(value=slip.value.ravel()) for slip in slips]


def _error_slips(way: str, step: float, bins: int) -> list[Slip]:
    right, other = (step / 2, step) if way == "nearest" else (step, step / 2)
    halves = {"nearest": "Rounding goes to the nearer of two levels: at most half a step.",
              "floor": "Cut off, a number just below the next level loses nearly a whole step."}  # fmt: skip
    return [
        Slip(other, f'The largest error for "{way}" is that of the other way.', halves[way]),
        Slip(right / 1000, f'The largest error for "{way}" is in metres.', "1 m = 1000 mm."),
        Slip(right / 10, f'The largest error for "{way}" is in centimetres.', "1 m = 1000 mm."),
        Slip(right * (bins - 1) / bins, f"The step is divided by {bins}: {bins} levels have {bins - 1} steps.", STEP),
        Slip(right * (bins - 1), f'For "{way}" this is the range, not one step of it.', STEP),
        Slip(step / 4, "This is the average size of the error of rounding, not the largest.", STEP),
        Slip(-right, "An error's size is not negative.", STEP),
    ]


HINTS = (
    ("has no attribute 'encode'|has no attribute 'decode'|has no attribute 'largest", "Keep the names of the stub."),
    ("positional argument", "Bins(low, high, bins, rounding); encode(action); decode(tokens); largest_error_mm()."),
)
BINS = Exercise("Bins", LESSON, draw_bins, probe_bins, judge_bins, HINTS)


def check_bins(Bins: Any, seed: int | None = None) -> Check:
    """Try a learner's ``Bins(low, high, bins, rounding)`` on random ranges and name the first mistake, if any."""
    return BINS.check(Bins, seed)

"""The check of the FiLM exercise: y = (1 + scale(z)) * x + shift(z), the identity at the start.

The oracle is arithmetic. A FiLM is a straight line in x whose slope and height depend on the image and the channel only
and are straight lines in z; these are properties of the outputs, so any style of writing it passes, whatever its
parameters are called. Sizes are chosen to be treacherous: in the first case B = C = H = W, where every wrong
broadcasting runs without an error and is only visible in the numbers.

Lesson: day92_rt1/2_implementation.
"""

import re
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import finite
from course_lib.classroom.checks.layers import LAYER_HINTS, build, check_registered, run

LESSON = "notebooks/day92_rt1/2_implementation.ipynb, part FiLM"
FAR = 8.0  # a z this many times larger: a line goes on, a tanh or sigmoid has flattened
BROADCAST = "Print scale.shape. One number per image and channel must become (B, C, 1, 1): see [:, :, None, None]."


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_film(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random inputs. Sizes (B, C, H, W, Z): all equal first, then all different, then one image as the robot sends it."""
    n = int(rng.integers(4, 8))
    if hidden:  # sizes of the paper's network, and a picture of one pixel
        sizes = [(n, n, n, n, 2 * n + 1), (2, 24, 9, 9, 512), (1, 40, 1, 1, 16), (3, 5, 2, 8, 6)]
    else:
        b, c, h, w = rng.permutation([2, 3, 5, 7])
        sizes = [(n, n, n, n, 2 * n + 1), (b, c, h, w, 11), (1, 4, 6, 5, 9)]
    return [_case(rng, *map(int, size)) for size in sizes]


def _case(rng: np.random.Generator, B: int, C: int, H: int, W: int, Z: int) -> Case:
    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "x": normal(B, C, H, W),
        "z": normal(B, Z),
        "other": normal(B, Z),  # other instructions
        "weight": normal(B, C, H, W),  # how much each output counts in the loss, for gradients
        "seed": rng.integers(2**31, size=()),
        "alone": np.array(not B == C == H == W),  # also one image at a time?
    }


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_film(FiLM: Any, case: Case) -> Record:
    """Build a FiLM, run it as it starts and with random parameters, and note outputs and gradients.

    ``ones`` and ``zeros`` are the outputs for x = 1 and x = 0, so ones - zeros is the slope and zeros the height; they
    are taken for four instructions: z, other, 2 z - other and 8 z.
    """
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    x, z, other = (torch.from_numpy(case[name].copy()) for name in ("x", "z", "other"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(case["seed"]))
        film = build("FiLM", FiLM, x.shape[1], z.shape[1])
        record = {f"start_{name}": _run(film, here, z) for name, here in _plain_pictures(x).items()}
        record["start_y"] = _run(film, x, z)
        check_registered(film)
        record["start_learns"] = torch.tensor([any(flag for flag in _gradients(film, x, z, case)[1])])
        with torch.no_grad():
            for p in film.parameters():
                p.normal_(0, 1 / p.shape[-1] ** 0.5 if p.ndim > 1 else 0.5)
        record |= {"y": _run(film, x, z), "again": _run(film, x, z)}
        for name, here in _plain_pictures(x).items():
            record[name] = torch.stack([_run(film, here, t) for t in (z, other, 2 * z - other, FAR * z)])
        record["x_grad"], flags = _gradients(film, x, z, case)
        record |= _parameters(film, x, z, flags)
        if case["alone"]:
            record["singly"] = torch.cat([_run(film, x[i : i + 1], z[i : i + 1]) for i in range(len(x))])
    return {name: value.detach().numpy() for name, value in record.items()}


def _run(film: Any, x: Any, z: Any) -> Any:
    return run(film, x, z, BROADCAST)


def _plain_pictures(x: Any) -> dict[str, Any]:
    return {"ones": x * 0 + 1, "zeros": x * 0}


def _gradients(film: Any, x: Any, z: Any, case: Case) -> tuple[Any, list[bool]]:
    """The gradient of sum(weight * y) for x, and for each parameter whether any gradient reaches it."""
    import torch  # noqa: PLC0415

    film.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    with torch.enable_grad():
        y = film(x, z.clone())
        loss = (torch.from_numpy(case["weight"]) * y).sum()
        if loss.requires_grad:
            loss.backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in film.parameters()]
    return (torch.zeros_like(x) if x.grad is None else x.grad), reached


def _parameters(film: Any, x: Any, z: Any, reached: list[bool]) -> dict[str, Any]:
    """For each parameter: its name, whether it moves the slope, moves the height, and gets a gradient."""
    import torch  # noqa: PLC0415

    def slope_and_height() -> tuple[Any, Any]:
        one, zero = (_run(film, here, z) for here in _plain_pictures(x).values())
        return one - zero, zero

    before, moves = slope_and_height(), []
    for _, p in film.named_parameters():
        kept = p.detach().clone()
        with torch.no_grad():
            p.add_(torch.randn_like(p))
            after = slope_and_height()
            p.copy_(kept)
        moves.append([bool((a - b).abs().max() > 1e-4) for a, b in zip(after, before, strict=True)])
    names = "\n".join(name for name, _ in film.named_parameters())
    table = [[*pair, flag] for pair, flag in zip(moves, reached, strict=True)]
    return {"names": torch.tensor(list(names.encode()), dtype=torch.uint8), "moves": torch.tensor(table)}


# --- the verdict: arithmetic on the record -----------------------------------------------------------------------------


def judge_film(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    x = case["x"]
    seen = {
        name: finite(record, name, x.shape, "The output has")
        for name in ("start_ones", "start_zeros", "start_y", "y", "again", "x_grad")
    }
    seen |= {name: finite(record, name, (4, *x.shape), "The output has") for name in ("ones", "zeros")}
    _judge_start(x, seen["start_y"], seen["start_ones"] - seen["start_zeros"], seen["start_zeros"])
    if not _close(seen["y"], seen["again"]):
        raise NotYet("Two calls with the same input give two answers.", "FiLM has no dropout and no noise.")
    slope, height = seen["ones"] - seen["zeros"], seen["zeros"]  # (4, B, C, H, W)
    if _close(seen["y"], x):
        raise NotYet(
            "FiLM returns x, whatever its parameters are.", "forward computes scale and shift from z, and uses both."
        )
    _judge_layout(slope[0], height[0])
    _judge_use_of_z(slope, height)
    _judge_straight_in_x(x, seen["y"], slope[0], height[0])
    if case["alone"] and not _close(finite(record, "singly", x.shape, "The output has"), seen["y"]):
        raise NotYet("The result for one image depends on the other images of the batch.", "Row b of z belongs to image b.")
    _judge_straight_in_z(slope, height)
    _judge_learning(record, seen["x_grad"], slope[0] * case["weight"])


def _close(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-3) -> bool:
    return bool(np.abs(a - b).max() <= tolerance * (1 + np.abs(b).max()))


def _judge_start(x: np.ndarray, y: np.ndarray, slope: np.ndarray, height: np.ndarray) -> None:
    """As built, FiLM is the identity; the usual ways to miss that have names."""
    if _close(y, x, 1e-5):
        return
    zero = "Begin weights and biases at zero: nn.init.zeros_."
    if _close(y, 0 * x, 1e-5):
        raise NotYet("At the start FiLM returns only zeros: the picture is lost.", "Multiply by (1 + scale), not by scale.")
    if _close(y, 0 * x + 1, 1e-5):
        raise NotYet("At the start FiLM returns only ones.", "The 1 + belongs to the scale, not to the shift.")
    if _close(np.sort(y, axis=None), np.sort(x, axis=None), 1e-5):
        raise NotYet("The numbers of x come out in other places.", "Are two axes exchanged by a view, permute or transpose?")
    _judge_straight_in_x(x, y, slope, height)
    flat = np.ptp(slope) < 1e-4
    if flat and np.isclose(slope.mean() % 1, 0.5, atol=1e-4):
        raise NotYet(
            f"At the start FiLM multiplies by {slope.mean():.1f}: a sigmoid makes 0.5 of a zero.",
            "The scale is the output of the Linear layer itself, with nothing around it.",
        )
    if flat and not _close(slope, 0 * slope + 1):
        raise NotYet(
            f"At the start FiLM multiplies by {slope.mean():.3g} instead of 1.",
            "(1 + scale) is 1 when the scale layer, weight and bias, begins at zero.",
        )
    if flat:
        raise NotYet("At the start the shift is not zero.", f"The shift layer needs it too. {zero}")
    if abs(slope.mean()) < 0.5:
        raise NotYet(
            "The 1 + is missing: at the start FiLM multiplies by small random numbers, so the picture fades.",
            f"Multiply by (1 + scale). {zero}",
        )
    what = "the scale is" if _close(height, 0 * height, 1e-5) else "scale and shift are"
    raise NotYet(f"At the start FiLM must change nothing, but in a new FiLM {what} random.", zero)


def _varies(field: np.ndarray) -> list[bool]:
    """Along which of the axes image, channel, row, column does the field change?"""
    return [bool(np.ptp(field, axis=axis).max() > 1e-3 * (1 + np.abs(field).max())) for axis in range(4)]


def _judge_layout(slope: np.ndarray, height: np.ndarray) -> None:
    """Within one image and channel, every pixel gets the same scale and the same shift."""
    for name, field in (("scale", slope), ("shift", height)):
        image, channel, row, column = _varies(field)
        if not (row or column):
            continue
        if row and column and not image and not channel:
            raise NotYet(f"The (B, C) table of the {name} is laid over rows and columns of the picture.", BROADCAST)
        if not channel and not (row and column):
            lines, axis = ("column", "last") if column else ("row", "third")
            raise NotYet(
                f"Every {lines} of the picture gets its own {name}, every channel the same.",
                f"Channels are the second axis here, (B, C, H, W); yours are taken to be the {axis}. {BROADCAST}",
            )
        raise NotYet(f"The pixels of one channel get different {name}s.", BROADCAST)


def _judge_use_of_z(slope: np.ndarray, height: np.ndarray) -> None:
    """Scale and shift are there, come from z, from each image's own z, and differ between channels."""
    fields = {"scale": slope - 1, "shift": height}
    for (name, field), other in zip(fields.items(), ("shift", "scale"), strict=True):
        if _close(field, 0 * field):
            raise NotYet(f"There is a {other} but no {name}.", "y = (1 + scale) * x + shift: both come from z.")
    ignoring = [name for name, field in fields.items() if _close(field[0], field[1])]
    if ignoring:
        who = "The output is" if len(ignoring) == 2 else f"The {ignoring[0]} is"
        raise NotYet(f"{who} the same for another instruction.", "Is z used? scale = self.to_scale(z).")
    images, channels = slope.shape[1], slope.shape[2]
    for name, field in fields.items():
        image, channel, _, _ = _varies(field[0])
        if images > 1 and not image:
            raise NotYet(f"All images of the batch get the same {name}.", "Row b of z belongs to image b: no z[0], no mean.")
        if channels > 1 and not channel:
            raise NotYet(f"All channels get the same {name}.", "FiLM has one per channel: a Linear with C outputs.")


def _judge_straight_in_x(x: np.ndarray, y: np.ndarray, slope: np.ndarray, height: np.ndarray) -> None:
    if not _close(y, slope * x + height):
        negative = " No output is negative: is there a ReLU?" if y.min() >= 0 else ""
        raise NotYet(
            f"For a fixed z, y is not a straight line in x.{negative}",
            "FiLM only multiplies and adds: no activation, no normalisation, no second use of x.",
        )


def _judge_straight_in_z(slope: np.ndarray, height: np.ndarray) -> None:
    """Scale and shift are Linear layers: f(2 z - other) = 2 f(z) - f(other)."""
    for name, field in (("scale", slope - 1), ("shift", height)):
        if _close(field[2], 2 * field[0] - field[1], 1e-2):
            continue
        if np.abs(field[3]).max() < 1.1 < np.abs(field[0]).max() * FAR:
            raise NotYet(
                f"The {name} stays small for a very large z: it is squashed, by a tanh or a sigmoid.",
                "The layer must be able to switch a channel off or make it much louder: use the Linear layer's output.",
            )
        raise NotYet(f"The {name} is not a straight line in z.", "One Linear layer, with no ReLU or exp around it.")


def _judge_learning(record: Record, x_grad: np.ndarray, expected: np.ndarray) -> None:
    """Gradients reach the picture and the parameters; parameters are called what they are."""
    if not _close(x_grad, expected):
        raise NotYet("No (or a wrong) gradient reaches x: the layers before could not learn.", "No x.detach(), no .data.")
    names, moves, learns = (record.get(name, np.zeros(0)) for name in ("names", "moves", "start_learns"))
    if (names.dtype, moves.dtype, learns.dtype) != (np.uint8, bool, bool) or (moves.shape[1:], learns.shape) != ((3,), (1,)):
        raise NotYet("No usable list of parameters came back.")
    words = names.tobytes().decode(errors="replace").split("\n")
    for name, (slope, height, reached) in zip(words, moves.tolist(), strict=False):
        if (slope or height) and not reached:
            raise NotYet(
                f"No gradient reaches {name}, so it would never learn.",
                "Something cuts the graph: torch.no_grad(), .detach(), .data, .item() or a copy through NumPy.",
            )
        called_scale, called_shift = (bool(re.search(part, name)) for part in ("scale|gamma", "shift|beta"))
        if (slope, height) == (called_shift, called_scale) and slope != height:
            raise NotYet(
                f"{name} moves the {'scale' if slope else 'shift'}: scale and shift are swapped.",
                "It can be trained all the same, but RT-1's trained weights would land in the wrong places.",
            )
    if not learns[0]:
        raise NotYet(
            "At the start every gradient is zero: this FiLM would stay the identity for ever.",
            "Only the last layer before scale and shift begins at zero; two zero layers in a row block each other.",
        )


HINTS = (*LAYER_HINTS, ("must match the size of tensor", BROADCAST))
FILM = Exercise("FiLM", LESSON, draw_film, probe_film, judge_film, HINTS)


def check_film(FiLM: Any, seed: int | None = None) -> Check:
    """Try a learner's ``FiLM(channels, instruction_dim)`` on random inputs and name the first mistake, if any."""
    return FILM.check(FiLM, seed)

"""The check of the gaze exercise: how much of each map lies on the target's pixels, and over how many cells it spreads.

The oracle is arithmetic: a sum of products, and 2 to the power of an entropy. Inputs are treacherous: as many maps as
rows and columns; maps that do not sum to 1; cells without any attention, where 0 log 0 waits.

Lesson: day92_rt1/3_experiments.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.slips import Slip, name_slip, parts, plain, seen

LESSON = "notebooks/day92_rt1/3_experiments.ipynb, part 1: What do the eight tokens look at?"
NAMES = ("on_target", "cells")
EACH = "Divide every map by its own sum: maps / maps.sum((1, 2), keepdims=True)."
PIXELS = "The part of each cell's pixels that show the target: split (H, W) into (h, H/h, w, W/w); mean of the small axes."
BITS = "bits = -sum(p * log2(p)) over the cells of one map; cells = 2 ** bits."


def draw_gaze(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Sizes (K, h, w) and pixels per cell: all equal; all different; a map on one cell and an even one."""
    n = int(rng.integers(4, 8))
    if hidden:  # the paper's 8 maps of 9 x 9, one token alone, one pixel per cell
        return [_case(rng, 8, 9, 9, 6, 6), _case(rng, 1, 3, n, 2, 5), _case(rng, 3, n, n, 1, 1), _extremes(rng, 5, 3)]
    return [_case(rng, n, n, n, n, n), _case(rng, 3, 4, 6, 5, 2), _extremes(rng, n, n)]


def _case(rng: np.random.Generator, K: int, h: int, w: int, down: int, right: int) -> Case:
    """Maps that do not sum to 1, half of their cells empty, and a target that covers some cells in part."""
    maps = rng.gamma(0.5, size=(K, h, w)) * (rng.random((K, h, w)) < 0.5)
    maps[:, 0, -1] += 0.3  # no map is empty
    return {"maps": maps.astype(np.float32), "target": _blob(rng, h * down, w * right)}


def _extremes(rng: np.random.Generator, h: int, w: int) -> Case:
    """One map looks at one cell, one everywhere alike."""
    maps = np.zeros((2, h, w))
    maps[0, h // 2, 0] = 0.7
    maps[1] = 0.1
    target = _blob(rng, h * 4, w * 4)
    target[4 * (h // 2) : 4 * (h // 2) + 3, :3] = True
    return {"maps": maps.astype(np.float32), "target": target}


def _blob(rng: np.random.Generator, H: int, W: int) -> np.ndarray:
    """A thing as the camera sees it: an ellipse that is not as wide as it is high, off the middle."""
    y, x = np.mgrid[:H, :W]
    down, right = rng.uniform(0.25, 0.45) * H, rng.uniform(0.6, 0.75) * W
    return ((y - down) / (0.3 * H)) ** 2 + ((x - right) / (0.2 * W)) ** 2 < 1


def probe_gaze(gaze: Any, case: Case) -> Record:
    """What ``gaze(maps, target)`` says, for tensors that it may not change."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    if not callable(gaze):
        raise NotYet(f"Expected the function gaze, got a {type(gaze).__name__}.", "Give the check the function itself.")
    maps, target = (torch.from_numpy(case[name].copy()) for name in ("maps", "target"))
    found = parts(gaze(maps, target), NAMES)
    if not (np.array_equal(maps.numpy(), case["maps"]) and np.array_equal(target.numpy(), case["target"])):
        raise NotYet("gaze changes its inputs in place.", "maps /= ... writes into the caller's maps: maps = maps / ...")
    K = (len(maps),)
    return {name: plain(value, K, f"{name}, one number per map,") for name, value in zip(NAMES, found, strict=True)}


def judge_gaze(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    maps, part = case["maps"].astype(np.float64), _pooled(case)
    on_target, cells = (seen(record, name, maps.shape[:1]) for name in NAMES)
    each = maps / maps.sum((1, 2), keepdims=True)
    right = (each * part).sum((1, 2))
    bits = _bits(each)
    if np.allclose(on_target, 2**bits, rtol=1e-3) and np.allclose(cells, right, rtol=1e-3):
        raise NotYet("The two results are in the other order.", "return on_target, cells")
    name_slip("on_target", on_target, right, _slips_on_target(case, maps, part), PIXELS)
    name_slip("cells", cells, 2**bits, _slips_cells(maps, each, bits), BITS)


def _pooled(case: Case) -> np.ndarray:
    """(h, w): the part of each cell's pixels that show the target."""
    h, w = case["maps"].shape[1:]
    H, W = case["target"].shape
    return case["target"].reshape(h, H // h, w, W // w).mean((1, 3))


def _bits(p: np.ndarray) -> np.ndarray:
    return -(p * np.log2(np.where(p > 0, p, 1))).sum((1, 2))


def _slips_on_target(case: Case, maps: np.ndarray, part: np.ndarray) -> list[Slip]:
    each, target = maps / maps.sum((1, 2), keepdims=True), case["target"]
    flat = maps.reshape(len(maps), -1)
    down, right = target.shape[0] // part.shape[0], target.shape[1] // part.shape[1]
    tiled = np.tile(each, (1, down, right)) / (down * right)
    smooth = _smooth(each, target.shape)
    slips = [
        Slip((smooth * target).sum((1, 2)) / smooth.sum((1, 2)), "The map was enlarged with smooth edges (bilinear).",
             "Pretty to look at, but attention leaks into the next cells: a cell shares its own evenly, mode='nearest'."),
        Slip((maps * part).sum((1, 2)), "The maps of v1.0 do not sum to 1, and these do not either.", EACH),
        Slip((maps / maps.sum() * part).sum((1, 2)), "All maps together were divided by one sum.", EACH),
        Slip((maps / maps.max((1, 2), keepdims=True) * part).sum((1, 2)), "Each map was divided by its maximum.", EACH),
        Slip((each * part).mean((1, 2)), "on_target is divided by the number of cells: a mean where a sum belongs.",
             "The maps are parts of a whole already: sum over the cells of each map."),
        Slip((each * (part > 0)).sum((1, 2)), "A cell with one pixel of the target counts in full.", PIXELS),
        Slip((each * (part >= 0.5)).sum((1, 2)), "Cells count in full or not at all, by their majority.", PIXELS),
        Slip((tiled * target).sum((1, 2)), "The map was tiled over the picture: every tile shows the whole map.",
             "Each cell becomes a block of equal pixels: repeat each row and column, not the map (np.kron, repeat)."),
        Slip(part.ravel()[flat.argmax(1)], "Only the cell with the most attention was looked at.", "Sum over all cells."),
        Slip(np.full(len(maps), target.mean()), "This is the target's part of the picture: what an even gaze would give.",
             "Weigh each cell's part with the map's attention there."),
        Slip(1 - (each * part).sum((1, 2)), "This is the part that is not on the target."),
        Slip((each * part).sum((1, 2)) / max(part.sum(), 1e-9), "on_target is divided by the target's size.",
             "Asked is the part of all attention; dividing by the size afterwards makes 'times its fair share'."),
    ]  # fmt: skip
    if part.shape[0] == part.shape[1]:
        slips.append(Slip((each * part.T).sum((1, 2)), "Rows and columns are exchanged between map and picture."))
    return slips


def _smooth(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Maps enlarged as torch's interpolate(mode="bilinear") does it."""
    for axis, length in zip((1, 2), size, strict=True):
        n = maps.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)
        before = at.astype(int)
        part = (at - before).reshape([-1 if i == axis else 1 for i in range(3)])
        after = np.minimum(before + 1, n - 1)
        maps = maps.take(before, axis) * (1 - part) + maps.take(after, axis) * part
    return maps


def _slips_cells(maps: np.ndarray, each: np.ndarray, bits: np.ndarray) -> list[Slip]:
    mean = each.mean(0, keepdims=True)
    nats = bits * np.log(2)
    logarithm = "log2 goes with 2 **, log with exp: 2 ** bits = exp(nats)."
    return [
        Slip(bits, "cells is still the entropy, in bits.", BITS),
        Slip(nats, "cells is still the entropy, in nats (the natural logarithm).", BITS),
        Slip(2**nats, "The entropy is in nats, but 2 was raised to it.", logarithm),
        Slip(np.exp(bits), "The entropy is in bits, but e was raised to it.", logarithm),
        Slip(2**-bits, "The minus of the entropy is missing: cells is below 1.", BITS),
        Slip(2 ** _bits(maps), "The entropy is of maps that do not sum to 1.", EACH),
        Slip(np.full(len(bits), 2 ** _bits(mean)[0]), "This is the width of the mean map, the same for all tokens.",
             "Eight narrow gazes at eight places make one wide mean: take the entropy of each map."),
        Slip(np.full(len(bits), (2**bits).mean()), "All tokens have the same number: the mean was taken already."),
        Slip((each > 0).sum((1, 2)), "Every cell with any attention counts as one.", BITS),
        Slip(1 / (each**2).sum((1, 2)), "1 / sum(p ** 2) is a width too, but not the entropy's.", BITS),
        Slip(2 ** (bits / each[0].size), "The entropy was averaged over the cells instead of summed.", BITS),
        Slip(bits / np.log2(each[0].size), "This is the entropy as a part of the largest possible one.", BITS),
    ]  # fmt: skip


HINTS = (
    ("must match the size|could not be broadcast", PIXELS),
    ("numpy.ndarray' object has no", "maps and target are tensors; np.asarray(maps) makes an array of one."),
    ("unexpected keyword argument 'axis'|invalid combination", "They are tensors: maps.sum((1, 2), keepdim=True)."),
)
GAZE = Exercise("gaze", LESSON, draw_gaze, probe_gaze, judge_gaze, HINTS)


def check_gaze(gaze: Any, seed: int | None = None) -> Check:
    """Try a learner's ``gaze(maps, target)`` on random inputs and name the first mistake, if any."""
    return GAZE.check(gaze, seed)

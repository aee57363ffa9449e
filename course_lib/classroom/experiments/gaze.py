"""What TokenLearner's maps look at, in numbers: target, distractors and gripper; how wide, how different, how obedient.

Always the same scenes and first frames, so that policies can be compared. A number is ``[mean over the scenes, its standard
error]``. A map says where a token's *average* is taken, on features that have looked around already (each cell of the map
sees far beyond itself): attention is a hint at what a policy uses, no proof.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.classroom.attention_trace import MAPS, attention_shares
from course_lib.interfaces import Policy
from course_lib.world.render import render, segment
from course_lib.world.scenes import OBJECTS, scene
from course_lib.world.tasks import PHRASES, Goals, Task, draw_tasks, say, target_place

PHRASE = PHRASES["pick"][1]  # "pick up the {a}"
LABELS = OBJECTS + 5  # of segment(): table, objects, gripper, cabinet and its drawers
NUMBERS = {
    "on_target": "part of all attention on the named object",
    "on_distractors": "on the other objects, all together",
    "on_gripper": "on the gripper",
    "target_area": "what an even gaze would spend on the named object",
    "on_target_if_other_named": "part on the same object when the sentence names another one",
    "best_token_on_target": "part on the named object of the token that looks at it most",
    "cells": "cells that a token's gaze is spread over: 2 to the power of its entropy in bits",
    "diversity": "how far apart two tokens' maps are: 0 the same, 1 nothing in common (total variation)",
    "change": "how far a token's map moves when the sentence names another object (total variation)",
}


def gaze(
    policy: Policy, tasks: Sequence[Task], scene: Callable = scene, *, scenes: int = 64, seed: int = 0
) -> dict[str, list[float]]:
    """NUMBERS for a policy in ``scenes`` scenes of picking tasks, each seen with two sentences: the first frame."""
    seeds = torch.arange(seed, seed + scenes)
    goals = Goals.of([tasks[i] for i in draw_tasks(seeds, tuple(tasks)).tolist()])
    state = scene(seeds, goals, OBJECTS)
    place = target_place(state, goals.kind)  # (N,)
    other = (place + 1) % OBJECTS
    images, pixels = render(state).numpy(), segment(state).numpy()
    rows = torch.arange(scenes)
    named, instead = (_maps(policy, images, state.kind[rows, k].tolist()) for k in (place, other))
    looks = [_shares(maps, pixels) for maps in (named, instead, np.ones_like(named[:, :1]) / named[0, 0].size)]
    return _numbers(named, instead, looks, place.numpy())


def _maps(policy: Policy, images: np.ndarray, kinds: list[int]) -> Float[np.ndarray, "N K h w"]:
    trace: dict[str, Tensor] = {}
    policy.reset()
    policy.act({"image": images, "instruction": [say(PHRASE, kind) for kind in kinds]}, trace=trace)
    policy.reset()
    maps = trace[MAPS].float().cpu().numpy()
    return maps / maps.sum((2, 3), keepdims=True)  # v1.0's and the look-alikes' maps do not sum to 1


def _shares(maps: Float[np.ndarray, "N K h w"], pixels: Int[np.ndarray, "N H W"]) -> Float[np.ndarray, "N R L"]:
    return np.stack([attention_shares(one, seen, LABELS) for one, seen in zip(maps, pixels, strict=True)])


def _numbers(named: np.ndarray, instead: np.ndarray, looks: list[np.ndarray], place: np.ndarray) -> dict[str, list[float]]:
    rows, target, gripper = np.arange(len(place)), 1 + place, 1 + OBJECTS
    mine, theirs, even = looks  # (N, 1 + K, L): row 0 for all tokens together
    objects = mine[:, 0, 1:gripper].sum(1)
    flat = named.reshape(*named.shape[:2], -1)  # (N, K, h w)
    bits = -(flat * np.log2(np.maximum(flat, 1e-12))).sum(-1)
    each = {
        "on_target": mine[rows, 0, target],
        "on_distractors": objects - mine[rows, 0, target],
        "on_gripper": mine[:, 0, gripper],
        "target_area": even[rows, 0, target],
        "on_target_if_other_named": theirs[rows, 0, target],
        "best_token_on_target": mine[rows, 1:, target].max(1),
        "cells": (2**bits).mean(1),
        "diversity": np.mean([_apart(flat[:, i], flat[:, j]) for i, j in combinations(range(flat.shape[1]), 2)], 0),
        "change": _apart(flat, instead.reshape(flat.shape)).mean(1),
    }
    return {name: [_rounded(x.mean()), _rounded(x.std(ddof=1) / len(x) ** 0.5)] for name, x in each.items()}


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Total variation: the part of the attention that would have to move to turn one map into the other."""
    return np.abs(a - b).sum(-1) / 2


def _rounded(x: np.floating) -> float:
    return round(float(x), 5)

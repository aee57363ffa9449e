"""A rollout with TokenLearner's maps kept: what the robot saw, where each token looked, and the same in words.

``watch`` lets a policy drive a table and yields one ``Frame`` per step; the widget, the static picture and the analysis in
day92_rt1/3_experiments all read from these frames. Tokens are numbered from 1 in everything that people read.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from course_lib.interfaces import Policy
from course_lib.world.objects import NAMES
from course_lib.world.tasks import Task, find_task

MAPS = "token_learner/maps"  # the name under which TokenLearner leaves its maps in a trace
TOUCHED = 0.05  # part of a cell's pixels that must show a thing for the cell to count as looking at it
PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)


@dataclass(frozen=True)
class Frame:
    """One step, before its action: the camera's picture, the K maps, and where they lie."""

    instruction: str  # what the policy heard
    labels: list[str]  # the table, each object, the gripper, parts of a cabinet: the columns of ``shares``
    image: UInt8[np.ndarray, "H W 3"]
    maps: Float[np.ndarray, "K h w"]  # each sums to 1
    shares: Float[np.ndarray, "R L"]  # row 0 all tokens together, then one per token; a column per label; rows sum to 1
    words: list[str]  # one sentence per row of ``shares``
    scene: str  # what the picture shows, for those who do not see it
    model_ms: float  # time that the policy took
    success: bool
    over: bool  # the episode ends with this frame

    @property
    def things(self) -> list[str]:
        """The objects among the labels."""
        return self.labels[1 : self.labels.index("gripper")]


def free_task(sentence: str) -> Task:
    """The task that a sentence asks for; one without a goal (kind -1) if it names no object that the world has."""
    try:
        return find_task(sentence)
    except ValueError:
        return Task(-1, " ".join(sentence.split()))


def watch(policy: Policy, env, *, task: Task | None, scene: int, kinds: list[str] | None, steps: int) -> Iterator[Frame]:
    """Drive ``env`` (a TabletopEnv) from the start of ``scene`` for at most ``steps`` actions; stop at success.

    ``kinds`` lays exactly these objects on the table (None: the scene's own). Raises ValueError, before the first frame,
    when the task needs an object that is not there, for an instruction that the policy cannot read, and for a policy
    without TokenLearner's maps.
    """
    options = {"task": task} | ({} if kinds is None else {"kinds": kinds})
    observation, info = env.reset(seed=scene, options=options)
    policy.reset()
    over = False
    for step in range(steps + 1):
        trace, start = {}, time.perf_counter()
        action = policy.act(observation, trace=trace)
        took = 1e3 * (time.perf_counter() - start)
        over = over or step == steps
        yield _frame(env, observation, trace, info, took, over)
        if over:
            return
        observation, _, terminated, truncated, info = env.step(action)
        over = bool(terminated or truncated or info["success"])


def _frame(env, observation: dict, trace: dict, info: dict, took: float, over: bool) -> Frame:
    if MAPS not in trace:
        raise ValueError(
            f"Expected TokenLearner's maps in trace[{MAPS!r}] after policy.act(observation, trace=trace); got the names "
            f"{sorted(trace)}. Try a policy with a TokenLearner that fills its trace."
        )
    maps = np.asarray(trace[MAPS][0].detach().float().cpu())
    maps = maps / maps.sum((1, 2), keepdims=True)  # v1.0's sigmoid maps do not sum to 1
    pixels, labels = np.asarray(env.segmentation()), list(env.labels)
    shares = attention_shares(maps, pixels, len(labels))
    held = info.get("held", -1)
    return Frame(
        instruction=observation["instruction"],
        labels=labels,
        image=np.asarray(observation["image"]),
        maps=maps,
        shares=shares,
        words=describe_tokens(maps, shares, labels),
        scene=describe_scene(pixels, labels, NAMES[held] if held >= 0 else ""),
        model_ms=took,
        success=bool(info["success"]),
        over=over,
    )


def attention_shares(
    maps: Float[np.ndarray, "K h w"], pixels: Int[np.ndarray, "H W"], labels: int
) -> Float[np.ndarray, "R L"]:
    """How much of the attention is on each label: row 0 for the mean of the maps, then one row per map.

    A cell that shows part of an object or of the gripper counts for these (in proportion to their pixels), any other
    cell for the table, label 0: a cell is coarse, and a token that looks at the apple's cell looks at the apple.
    """
    K, h, w = maps.shape
    H, W = pixels.shape
    cell = (np.arange(H) * h // H)[:, None] * w + np.arange(W) * w // W  # (H, W): the cell of each pixel
    count = np.zeros((h * w, labels))
    np.add.at(count, (cell, pixels), 1)
    things = count[:, 1:].sum(1)
    count[things > TOUCHED * count.sum(1), 0] = 0
    count /= count.sum(1, keepdims=True)
    each = maps.reshape(K, h * w) @ count  # (K, L)
    return np.concatenate([each.mean(0, keepdims=True), each]).astype(np.float32)


def describe_tokens(maps: Float[np.ndarray, "K h w"], shares: Float[np.ndarray, "R L"], labels: list[str]) -> list[str]:
    """One sentence for all tokens together, then one per token."""
    named = ["empty table", *labels[1:]]
    sentences = [f"All {len(maps)} tokens together: {_two_largest(shares[0], named)}."]
    for number, (row, one) in enumerate(zip(shares[1:], maps, strict=True), start=1):
        y, x = np.unravel_index(one.argmax(), one.shape)
        place = _place((y + 0.5) / one.shape[0], (x + 0.5) / one.shape[1])
        sentences.append(f"Token {number}: {_two_largest(row, named)}; most {place} ({one.max():.0%} in one cell).")
    return sentences


def describe_scene(pixels: Int[np.ndarray, "H W"], labels: list[str], held: str = "") -> str:
    """What lies where: "apple in the lower left, cup in the middle, gripper at the top"."""
    parts = []
    for label, name in enumerate(labels):
        rows, columns = np.nonzero(pixels == label)
        if label and len(rows):
            place = _place((rows.mean() + 0.5) / pixels.shape[0], (columns.mean() + 0.5) / pixels.shape[1])
            parts.append(f"{name} {'held by the gripper' if name == held else place}")
    return ", ".join(parts) or "an empty table"


def _two_largest(row: np.ndarray, names: list[str]) -> str:
    first, second = np.argsort(-row, kind="stable")[:2]
    also = f", {row[second]:.0%} on the {names[second]}" if row[second] >= 0.1 else ""
    return f"{row[first]:.0%} on the {names[first]}{also}"


def _place(down: float, right: float) -> str:
    """The ninth of the picture, in words; both arguments from 0 to 1."""
    return PLACES[min(int(3 * down), 2)][min(int(3 * right), 2)]

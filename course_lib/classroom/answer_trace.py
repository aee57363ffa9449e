"""What RT-2 wrote, taken apart: plan, action tokens with their probabilities, and the action in words; and a rollout of it.

``converse`` lets a policy drive a table and yields one ``Answer`` per step; the widget of day93_rt2/2_implementation and
its static picture read from these.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from course_lib.actions import ActionSpace
from course_lib.classroom.attention_trace import PLACES, describe_scene
from course_lib.datasets.questions import read_location
from course_lib.rt2 import RT2
from course_lib.world.objects import NAMES
from course_lib.world.tasks import Task

WAYS = {  # a number of the course's robot: what it does above zero, and below
    "arm_x": ("right", "left"), "arm_y": ("away", "back"), "arm_z": ("up", "down"),
    "base_x": ("base right", "base left"), "base_y": ("base away", "base back"),
}  # fmt: skip
GRIP = 0.5  # a gripper command above this closes, below minus this opens (``tabletop``)
STILL = 0.51  # of a bin: a smaller command moves nothing (``tabletop``)


@dataclass(frozen=True)
class Number:
    """One of the numbers of a written action."""

    name: str
    level: int  # what is written: 0 ... 255, or a class
    token: int  # its id in the model's table
    probability: float  # that the model gave it, among the tokens allowed at this place
    value: str  # what it means: "+1.2 cm"


@dataclass(frozen=True)
class Answer:
    """One step, before its action is carried out; the last one of a rollout has no action."""

    instruction: str
    image: UInt8[np.ndarray, "H W 3"]
    plan: str  # "" if the model does not plan
    numbers: list[Number]
    words: str  # the action in words
    places: list[tuple[float, float]]  # (x, y) from 0 to 1 that the plan names
    scene: str  # what the picture shows, for those who do not see it
    things: list[str]  # on the table
    model_ms: float  # time that the policy took
    judged: bool  # whether anybody can say what success is: the sentence means something here
    success: bool
    over: bool


def converse(policy: RT2, env, *, task: Task, scene: int, kinds: list[str] | None, steps: int) -> Iterator[Answer]:
    """Drive ``env`` (a TabletopEnv) from the start of ``scene`` for at most ``steps`` actions; stop at success.

    ``kinds`` lays exactly these objects on the table (None: the scene's own). Raises ValueError, before the first answer,
    for words that the policy does not know, when the task needs an object that is not there, and for a policy of another
    robot.
    """
    if policy.text.space != ActionSpace.workbook():
        raise ValueError(f"Expected a policy of the course's robot, ActionSpace.workbook(); got {policy.text.space.names}.")
    policy.tokenizer.encode(task.sentence)  # refuses unknown words before anything moves
    observation, info = env.reset(seed=scene, options={"task": task} | ({} if kinds is None else {"kinds": kinds}))
    judged, over = task.kind >= 0 or task.drawer >= 0, False
    for step in range(steps + 1):
        answer, action = _answer(policy, env, observation, info, over, judged)
        yield answer
        if over:
            return
        observation, _, terminated, truncated, info = env.step(action)
        over = bool(terminated or truncated or info["success"]) or step + 1 == steps


def _answer(policy: RT2, env, observation: dict, info: dict, over: bool, judged: bool) -> tuple[Answer, np.ndarray | None]:
    image, action, plan, numbers, took = np.asarray(observation["image"]), None, "", [], 0.0
    words = "The episode is over."
    if not over:
        trace, start = {}, time.perf_counter()
        action = policy.act(observation, trace)
        took = 1e3 * (time.perf_counter() - start)
        plan, numbers = read_answer(policy, trace)
        words = action_words(action, policy.text.space)
    labels, held = list(env.labels), info.get("held", -1)
    answer = Answer(
        instruction=observation["instruction"],
        image=image,
        plan=plan,
        numbers=numbers,
        words=words,
        places=places_in(plan),
        scene=describe_scene(env.segmentation(), labels, NAMES[held] if held >= 0 else ""),
        things=labels[1 : labels.index("gripper")],
        model_ms=took,
        judged=judged,
        success=judged and bool(info["success"]),
        over=over,
    )
    return answer, action


def read_answer(policy: RT2, trace: dict) -> tuple[str, list[Number]]:
    """The plan and the numbers in the trace of one ``policy.act(observation, trace)``."""
    tokens, marker = trace["tokens"][0].tolist(), policy.prompts.marker_ids
    begin = _after(tokens, marker) if policy.plan else 0
    plan = policy.tokenizer.decode([i for i in tokens[: max(0, begin - len(marker))] if i < len(policy.tokenizer)])
    begin += 1 if policy.vocabulary.frame else 0  # an action may stand between a start and an end token
    text = policy.text
    ids = torch.tensor(tokens[begin : begin + len(text.order)])
    at = torch.arange(len(ids))
    chances = trace["logits"][0, begin + at].float().softmax(-1)[at, ids]
    levels = [int(level) for level in trace["text"][0].split()[-len(ids) :]]
    action = text.action(torch.tensor(levels))
    rows = zip(text.order, levels, ids.tolist(), chances.tolist(), strict=True)
    return plan.strip(), [Number(text.space.names[i], n, t, p, value_words(action, text.space, i)) for i, n, t, p in rows]


def _after(tokens: Sequence[int], marker: Sequence[int]) -> int:
    """The place after the first marker."""
    n = len(marker)
    return next(i + n for i in range(len(tokens)) if list(tokens[i : i + n]) == list(marker))


def value_words(action: Float[torch.Tensor, " A"], space: ActionSpace, index: int) -> str:
    """What one number of an action means: "+1.2 cm", "−20°", "close", "go on"."""
    dim, value = space.dims[index], float(action[index])
    if dim.classes:
        return {"continue": "go on"}.get(dim.classes[int(value)], dim.classes[int(value)])
    if dim.name == "gripper":
        return grip_words(value) or "keep"
    if abs(value) < STILL * (dim.high - dim.low) / 255:
        return "0"
    size = f"{100 * abs(value):.1f} cm" if dim.unit == "m" else f"{math.degrees(abs(value)):.0f}°"
    return ("+" if value > 0 else "−") + size


def grip_words(value: float) -> str:
    """What a gripper command does: "close", "open", or "" for keeping it as it is."""
    return "close" if value > GRIP else "open" if value < -GRIP else ""


def action_words(action: np.ndarray, space: ActionSpace) -> str:
    """An action of the course's robot as a sentence: "The hand moves 1.2 cm right and 3.0 cm down, and closes."."""
    moves, turns = [], []
    for i, dim in enumerate(space.dims):
        value = float(action[i])
        if dim.classes or dim.name == "gripper" or abs(value) < STILL * (dim.high - dim.low) / 255:
            continue
        if dim.unit == "m":
            moves.append(f"{100 * abs(value):.1f} cm {WAYS[dim.name][value < 0]}")
        else:
            turns.append(f"{dim.name.replace('_', ' ')} {'−' if value < 0 else '+'}{math.degrees(abs(value)):.0f}°")
    grip = grip_words(float(action[space.index("gripper")]))
    parts = [f"moves {_listed(moves)}"] if moves else []
    parts += [f"turns ({_listed(turns)})"] if turns else []
    parts += [f"{grip}s"] if grip else []
    said = f"The hand {_listed(parts)}." if parts else "The hand stays where it is."
    return said + (" Then it stops." if action[space.index("terminate")] >= 0.5 else "")


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def places_in(text: str) -> list[tuple[float, float]]:
    """The places that an answer names, as (x, y) from 0 to 1; none if its location tokens do not come in pairs."""
    try:
        return read_location(text)
    except ValueError:  # an untrained model writes such
        return []


def place_words(x: float | int, y: float | int) -> str:
    """A place from 0 to 1 in words: "in the upper left"."""
    return PLACES[min(int(3 * y), 2)][min(int(3 * x), 2)]

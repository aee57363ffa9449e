"""The check of the token cache: the tokens of the last frames, oldest first, each frame through the trunk exactly once.

The trunk of the experiment counts its calls, and the count is part of the tokens it gives: tokens that were computed again
are other numbers. So the judge, which recomputes every window by arithmetic, sees work that was done twice in the outputs.
Sizes are treacherous: as many robots as frames as tokens.

Lesson: day92_rt1/2_implementation.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, finite
from course_lib.classroom.checks.slips import Slip, close

LESSON = "notebooks/day92_rt1/2_implementation.ipynb, part Your layers in a trained policy"
SHAPE = "Stack on a new axis for time: N robots, t frames, K tokens, D numbers."
ONCE = "Keep the tokens, not the frames: call image_tokens(frame, z) once in each step, with the new frame only."
WINDOW = "When `history` frames are there, the oldest one leaves: [:, -history:], or a deque with maxlen=history."


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_token_memory(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Sizes (N robots, K tokens, D numbers, history, steps of two episodes)."""
    n = int(rng.integers(3, 5))
    if hidden:  # RT-1's own, no memory, an episode shorter than the window
        sizes = [(2, 8, 5, 6, 16, 7), (1, 1, 3, 1, 3, 2), (n, n, n, n + 4, n, n - 1), (n, n + 1, 2, 2, 6, 4)]
    else:
        sizes = [(2, 3, 4, 6, 9, 4), (n, n, n, n, n + 2, n), (1, 5, 2, 2, 12, 2)]
    return [_case(rng, *size) for size in sizes]


def _case(rng: np.random.Generator, N: int, K: int, D: int, history: int, first: int, second: int) -> Case:
    """Two episodes with their frames and instructions, the trunk's weights, and what each of its calls adds."""

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "frames": normal(first + second, N, 3, 2, 2),
        "z": normal(2, N, 4),
        "trunk": normal(K, D, 12),
        "ear": normal(K, D, 4),
        "calls": normal(64, K, D),
        "history": np.array(history),
        "first": np.array(first),
    }


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


class Trunk:
    """image_tokens(frame, z) of the experiment: linear, plus a part that is another one in each call."""

    def __init__(self, case: Case):
        import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

        self.trunk, self.ear, self.calls = (torch.from_numpy(case[name].copy()) for name in ("trunk", "ear", "calls"))
        self.frame_shape = case["frames"].shape[1:]
        self.called = 0

    def __call__(self, frame: Any, z: Any) -> Any:
        import torch  # noqa: PLC0415

        if tuple(frame.shape) != self.frame_shape:
            raise NotYet(
                f"image_tokens was given frames of the shape {tuple(frame.shape)}; one step brings {self.frame_shape}.", ONCE
            )
        extra = self.calls[self.called % len(self.calls)]
        self.called += 1
        seen_part = torch.einsum("kdp,np->nkd", self.trunk, frame.flatten(1))
        return seen_part + torch.einsum("kdz,nz->nkd", self.ear, z) + extra


def probe_token_memory(TokenMemory: Any, case: Case) -> Record:
    """Two episodes with one memory: what each step returned, how often the trunk was called, and what is kept."""
    import torch  # noqa: PLC0415

    if not isinstance(TokenMemory, type):
        hint = "Give it the class: TokenMemory, not TokenMemory(...)."
        raise NotYet(f"Expected the class TokenMemory, got a {type(TokenMemory).__name__}.", hint)
    trunk, history, first = Trunk(case), int(case["history"]), int(case["first"])
    memory = TokenMemory(trunk, history)
    camera = torch.empty(case["frames"].shape[1:])  # a camera writes every frame to the same place
    record: Record = {}
    called, kept = [], []
    for step, frame in enumerate(case["frames"]):
        if step == first:
            kept.append(_kept(memory, set()))
            memory.reset()
        camera.copy_(torch.from_numpy(frame.copy()))
        z = torch.from_numpy(case["z"][int(step >= first)].copy())
        record[f"step_{step}"] = _tokens(memory.step(camera, z), case, step).numpy().astype(np.float32)
        called.append(trunk.called)
    record["called"], record["kept"] = np.array(called, np.int64), np.array(kept, np.int64)
    return record


def _tokens(tokens: Any, case: Case, step: int) -> Any:
    """What ``step`` returned. Raises NotYet for another shape or type than (N, t, K, D)."""
    import torch  # noqa: PLC0415

    if tokens is None:
        raise NotYet("step returns nothing.", "Is a return missing?")
    if not isinstance(tokens, torch.Tensor):
        raise NotYet(f"step should return a tensor (N, t, K, D), got a {type(tokens).__name__}.", "torch.stack(list, dim=1)")
    shape, got = _shape(case, step), tuple(tokens.shape)
    if got == shape:
        return tokens.detach()
    history, first = int(case["history"]), int(case["first"])
    if len(got) == 4 and (got[0], *got[2:]) == (shape[0], *shape[2:]) and got[1] > shape[1]:
        if step >= first:
            raise NotYet(
                "reset() does not forget: frames of the episode before are still there.", "reset empties the memory."
            )
        if got[1] <= history:
            count = f"Step {step} (counted from 0) gives {got[1]} frames, but only {step + 1} came so far"
            raise NotYet(f"{count}: the window is not filled up, it grows.", "At the first step t is 1.")
        raise NotYet(f"Step {step} gives {got[1]} frames; a history of {history} has room for no more.", WINDOW)
    if got == (shape[1], shape[0], *shape[2:]):
        raise NotYet("Robots and time are exchanged: the tokens are (t, N, K, D).", "torch.stack(list, dim=1)")
    if len(got) == 3:
        raise NotYet(f"The axis of time is missing: (N, t, K, D) has four axes, got {got}.", SHAPE)
    raise NotYet(
        f"With frame {step} (counted from 0) step should return (N, t, K, D) = {shape}, got {got}.", f"{SHAPE} {WINDOW}"
    )


def _shape(case: Case, step: int) -> tuple[int, int, int, int]:
    K, D = case["trunk"].shape[:2]
    return case["frames"].shape[1], len(_window(case, step)), K, D


def _kept(thing: Any, known: set[int]) -> int:
    """How many numbers are held by ``thing``, in attributes, lists and the like: whole storages, once each."""
    import torch  # noqa: PLC0415

    if id(thing) in known or isinstance(thing, (Trunk, str, bytes)):
        return 0
    known.add(id(thing))
    if isinstance(thing, torch.Tensor):
        storage = thing.untyped_storage()
        if storage.data_ptr() in known:
            return 0
        known.add(storage.data_ptr())
        return storage.nbytes() // thing.element_size()
    if isinstance(thing, dict):
        return sum(_kept(value, known) for value in thing.values())
    if isinstance(thing, np.ndarray):
        return thing.size
    inside = (
        thing.values()
        if isinstance(thing, dict)
        else thing
        if hasattr(thing, "__iter__")
        else getattr(thing, "__dict__", ())
    )
    return _kept(inside, known) if isinstance(inside, dict) else sum(_kept(each, known) for each in inside)


# --- the verdict: arithmetic on the record -----------------------------------------------------------------------------


def judge_token_memory(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    steps, history = len(case["frames"]), int(case["history"])
    called, kept = array(record, "called", (steps,), np.int64), array(record, "kept", (1,), np.int64)
    tokens = _every_token(case)
    for step in range(steps):
        got = finite(record, f"step_{step}", _shape(case, step), "The window has")
        right = np.stack([tokens[i] for i in _window(case, step)], 1)
        if not close(got, right):
            _name(case, step, got, tokens, called)
    if called.tolist() != list(range(1, steps + 1)):
        raise NotYet(f"The trunk was called {called[-1]} times for {steps} frames.", ONCE)
    N, (K, D) = case["frames"].shape[1], case["trunk"].shape[:2]
    if kept[0] > (2 * history + 2) * N * K * D:
        raise NotYet("Tokens are kept for ever: a robot that works all day runs out of memory.", WINDOW)


def _every_token(case: Case) -> np.ndarray:
    """(steps, N, K, D): each frame's tokens when each is encoded once, in order."""
    steps = len(case["frames"])
    z = case["z"].astype(np.float64)[(np.arange(steps) >= case["first"]).astype(int)]
    part = np.einsum(
        "kdp,snp->snkd", case["trunk"].astype(np.float64), case["frames"].reshape(steps, *case["frames"].shape[1:2], -1)
    )
    return part + np.einsum("kdz,snz->snkd", case["ear"], z) + case["calls"][:steps, None]


def _window(case: Case, step: int) -> range:
    """The frames that count at ``step``: those of its own episode, at most ``history``."""
    first = int(case["first"])
    return range(max(0 if step < first else first, step + 1 - int(case["history"])), step + 1)


def _name(case: Case, step: int, got: np.ndarray, tokens: np.ndarray, called: np.ndarray) -> None:
    """Raise NotYet for a window that is not the right one."""
    window = _window(case, step)
    for slip in _slips(case, step, tokens):
        if close(got, slip.value):
            raise NotYet(slip.mistake, slip.hint)
    if called[step] > step + 1:
        raise NotYet(f"The trunk is called too often: its calls up to each frame were {called[: step + 1].tolist()}.", ONCE)
    if called[step] < step + 1:
        calls = f"its calls up to each frame were {called[: step + 1].tolist()}"
        raise NotYet(f"The trunk is not called for every frame: {calls}.", "Once in every step.")
    for place, i in enumerate(window):
        if not close(got[:, place], tokens[i]):
            raise NotYet(
                f"At step {step} of {len(case['frames'])}, place {place} of the window does not hold frame {i}'s tokens.",
                f"Oldest first. {WINDOW}",
            )


def _slips(case: Case, step: int, tokens: np.ndarray) -> Iterator[Slip]:
    """What the usual mistakes give at this step."""
    window, history, first = _window(case, step), int(case["history"]), int(case["first"])
    start = 0 if step < first else first
    right = np.stack([tokens[i] for i in window], 1)
    yield Slip(
        right[:, ::-1], "The newest frame stands first; the decoder was trained with the oldest first.", "Append at the end."
    )
    ring = sorted(window, key=lambda i: (i - start) % history)
    yield Slip(
        np.stack([tokens[i] for i in ring], 1),
        "The window is a ring that was not turned: the oldest frame must stand first.",
        WINDOW,
    )
    yield Slip(
        np.stack([tokens[step]] * len(window), 1),
        "Every place of the window holds the newest frame.",
        "Is it one tensor, many times?",
    )
    yield Slip(np.stack([tokens[start + i] for i in range(len(window))], 1), "The window stays at the first frames.", WINDOW)
    if right.shape[0] == right.shape[1]:
        yield Slip(right.swapaxes(0, 1), "Robots and time are exchanged.", SHAPE)
    if right.shape[1] == right.shape[2]:
        yield Slip(right.swapaxes(1, 2), "Time and tokens are exchanged.", SHAPE)


HINTS = (
    ("Sizes of tensors must match|stack expects", SHAPE),
    ("no attribute 'reset'|no attribute 'step'", "Keep the names of the stub."),
    ("positional argument", "TokenMemory(image_tokens, history); step(frame, z); reset()."),
    ("NoneType", "At the first step there is nothing to join the new tokens to yet."),
)
TOKEN_MEMORY = Exercise("TokenMemory", LESSON, draw_token_memory, probe_token_memory, judge_token_memory, HINTS)


def check_token_memory(TokenMemory: Any, seed: int | None = None) -> Check:
    """Try a learner's ``TokenMemory(image_tokens, history)`` on two episodes and name the first mistake, if any."""
    return TOKEN_MEMORY.check(TokenMemory, seed)

"""Interactive pictures: AttentionWidget shows where TokenLearner looks while the robot acts on an instruction.

The browser side (``attention_frames.js``, ``attention.js``) has all frames of a rollout, so the step slider and the token
choice never wait for Python. Python is asked only for new rollouts, one frame at a time (the next one when the last one is
on the screen): a new instruction shows its first picture at once, and the kernel is never blocked for longer than a step.
Lesson: day92_rt1/2_implementation.
"""

import contextlib
import copy
import hashlib
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from IPython.display import HTML, display

from course_lib.classroom.attention_trace import Frame, free_task, watch
from course_lib.classroom.lesson_widget import script, style
from course_lib.classroom.plots import attention_figure, still_html
from course_lib.interfaces import Policy
from course_lib.world import TabletopEnv, known_instructions
from course_lib.world.objects import NAMES

STEPS, LAST_SCENE = 25, 2**31 - 1


class AttentionWidget(anywidget.AnyWidget):
    """Type an instruction, watch the robot, and see where each of TokenLearner's tokens looks.

    ``policy``: an RT1 (anything with ``act(observation, trace=...)`` that fills ``trace["token_learner/maps"]``);
    ``env``: a TabletopEnv; ``instruction``: a sentence, or None for the scene's own task; ``scene``: number of the scene;
    ``steps``: the most actions of a rollout. ``run`` starts another rollout from Python; ``frames`` is the last one.
    Raises ValueError for an instruction or a policy that cannot be used. What is typed into the widget raises nothing:
    the problem is said below the picture and the last rollout stays.
    """

    _esm = script("player", "attention_frames", "attention")
    _css = style("player", "attention")
    known = traitlets.List(traitlets.Unicode()).tag(sync=True)  # instructions to choose from
    header = traitlets.Dict().tag(sync=True)  # of the last complete rollout: instruction, scene, labels, sizes, texts
    pixels = traitlets.Bytes().tag(sync=True)  # its frames one after the other: picture uint8, then maps float32
    status = traitlets.Unicode().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)  # CSS class of the static picture that the live widget hides

    def __init__(
        self, policy: Policy, env: Any = None, *, instruction: str | None = None, scene: int = 0, steps: int = STEPS
    ):
        self._streamed = False
        super().__init__(known=known_instructions())
        self._policy, self._steps = policy, steps
        env = TabletopEnv(max_steps=steps) if env is None else env.unwrapped
        # two pairs of policy and table, so that a new rollout that cannot begin leaves the running one alone
        self._busy, self._spare = (None, env), (None, copy.deepcopy(env))
        self._lock = threading.RLock()  # JupyterLab may deliver messages beside a running cell
        self._rest: Iterator[Frame] = iter(())
        self._number = 0  # of the rollout
        self.frames: list[Frame] = []
        self.run(instruction, scene=scene)
        self.still = f"attention-still-{hashlib.sha256(self.pixels).hexdigest()[:12]}"
        self.on_msg(self._on_message)

    def run(self, instruction: str | None = None, *, scene: int | None = None) -> str:
        """Make a whole rollout and show it; returns how it ended. Without a ``scene`` the same things are on the table,
        and without an ``instruction`` the robot hears the last one, or in another scene the task of that scene."""
        with self._lock:
            self._begin(instruction, scene)
            for frame in self._rest:
                self.frames.append(frame)
            self._complete(streamed=False)
        return self.status

    def _begin(self, instruction: str | None, scene: int | None) -> None:
        """The first frame of a new rollout; nothing is changed if it cannot be made."""
        same = scene is None or (bool(self.frames) and scene == self._scene)
        if instruction is None and same:
            instruction = self.frames[0].instruction
        task = None if instruction is None else free_task(instruction)
        kinds = self.frames[0].things if same else None
        number = self._scene if scene is None else scene
        old, env = self._spare
        policy = self._copy_policy(old)
        rest = watch(policy, env, task=task, scene=number, kinds=kinds, steps=self._steps)
        first = next(rest)
        self._busy, self._spare = (policy, env), self._busy
        self._rest, self.frames, self._scene = rest, [first], number
        self._number += 1

    def _copy_policy(self, old: Policy | None) -> Policy:
        """A copy of the policy as it is now, with a memory and a training mode of its own: neither training nor acting in
        another cell disturbs it. Copying only the weights into an old copy is five times faster than copying all."""
        if isinstance(self._policy, torch.nn.Module) and isinstance(old, type(self._policy)):
            with contextlib.suppress(RuntimeError):  # parts of another shape by now: copy all
                old.load_state_dict(self._policy.state_dict())
                return old
        return copy.deepcopy(self._policy)

    def _complete(self, *, streamed: bool) -> None:
        """All frames are there: keep them where a new or reloaded page and a saved notebook find them."""
        self._streamed = streamed
        with self.hold_sync():
            self.status = _ending(self.frames)
            self.header = self._header() | {"frames": [_texts(frame) for frame in self.frames]}
            self.pixels = b"".join(_bytes(frame) for frame in self.frames)

    def _should_send_property(self, key: str, value: Any) -> bool:
        """Frames that were streamed are not sent once more: a reloaded page asks for the whole state by itself."""
        return not (self._streamed and key in ("header", "pixels")) and super()._should_send_property(key, value)

    def _header(self) -> dict[str, Any]:
        first = self.frames[0]
        asked = [i for i, name in enumerate(first.things, start=1) if name in first.instruction.lower()]
        return {
            "rollout": self._number,
            "instruction": first.instruction,
            "scene": self._scene,
            "labels": first.labels,
            "things": first.things,
            "asked": asked[0] if asked else -1,
            "image": list(first.image.shape[:2]),
            "maps": list(first.maps.shape),
        }

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: list) -> None:
        """From the browser: ``run`` (instruction, scene) or ``next`` (rollout, step)."""
        with self._lock:
            if content.get("kind") == "run":
                self._asked_to_run(content)
            elif content.get("kind") == "next" and (content.get("rollout"), content.get("step")) == (
                self._number,
                len(self.frames),
            ):  # else a newer rollout has begun, or another page was faster
                self._send_next()

    def _asked_to_run(self, content: dict[str, Any]) -> None:
        instruction, scene = content.get("instruction"), content.get("scene")
        try:
            if not isinstance(instruction, str) or not instruction.strip():
                raise ValueError("Expected an instruction, got an empty box. Try 'pick up the' and a thing on the table.")
            if type(scene) is not int or not 0 <= scene <= LAST_SCENE:
                raise ValueError(f"Expected a scene from 0 to {LAST_SCENE}, got {scene}. Try 1.")
            self._check_there(instruction, scene)
            self._begin(instruction, scene)
        except ValueError as problem:
            self.status = str(problem)
            self.send({"kind": "problem", "status": self.status})
            return
        self._send_frame()

    def _check_there(self, instruction: str, scene: int) -> None:
        """Say what is on the table when the sentence names something that is not."""
        kind, things = free_task(instruction).kind, self.frames[0].things
        if scene == self._scene and kind >= 0 and NAMES[kind] not in things:
            raise ValueError(
                f"There is no {NAMES[kind]} on this table. On it: {', '.join(things)}. "
                f"Try one of these, or press New scene for one with a {NAMES[kind]}."
            )

    def _send_next(self) -> None:
        for frame in islice(self._rest, 1):
            self.frames.append(frame)
            self._send_frame()

    def _send_frame(self) -> None:
        last = self.frames[-1]
        message = {"kind": "frame", "header": self._header(), "step": len(self.frames) - 1, "texts": _texts(last)}
        if last.over:
            message["status"] = _ending(self.frames)
        self.send(message, buffers=[_bytes(last)])
        if last.over:
            self._complete(streamed=True)

    def _ipython_display_(self, **_: Any) -> None:
        """A static picture first; the widget's own script hides it, so it shows only where no widget lives."""
        steps = sorted({0, (len(self.frames) - 1) // 2, len(self.frames) - 1})
        images, maps = (np.stack([getattr(frame, name) for frame in self.frames]) for name in ("image", "maps"))
        alt = f"TokenLearner's attention for “{self.frames[0].instruction}” over the camera's picture. " + " ".join(
            f"Step {step}: {self.frames[step].scene}. {self.frames[step].words[0]}" for step in steps
        )
        figure = attention_figure(images, maps, instruction=f"“{self.frames[0].instruction}”", steps=steps)
        caption = "Run this notebook to type instructions and move through the steps. " + _ending(self.frames)
        display(HTML(still_html(figure, alt, self.still, caption)))
        data, metadata = self._repr_mimebundle_()
        data["text/plain"] = "An interactive picture: run this notebook to use it."
        display(data, metadata=metadata, raw=True)


def _bytes(frame: Frame) -> bytes:
    return frame.image.tobytes() + frame.maps.astype("<f4").tobytes()


def _texts(frame: Frame) -> dict[str, Any]:
    shares = [[round(float(share), 3) for share in row] for row in frame.shares]
    return {"scene": frame.scene, "words": frame.words, "shares": shares, "model_ms": round(frame.model_ms, 1)}


def _ending(frames: list[Frame]) -> str:
    last, steps = frames[-1], len(frames) - 1
    if last.success:
        return f"Done after {steps} steps: {frames[0].instruction}."
    goal = any(name in frames[0].instruction.lower() for name in last.things)
    judged = "without success" if goal else "(the sentence names nothing on the table, so success is not judged)"
    return f"Stopped after {steps} steps {judged}."

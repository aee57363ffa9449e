"""AskRobot: type an instruction in English, Spanish or German, and see RT-2's plan, its tokens and the arm; or ask it.

The browser side (``ask_robot.js``) has all steps of a rollout, so its slider never waits for Python. Python is asked for new
rollouts, one step at a time, and for answers to questions about the picture that is shown. Lesson:
day93_rt2/2_implementation.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import matplotlib.pyplot as plt
import traitlets

from course_lib.classroom.answer_trace import Answer, converse, place_words, places_in
from course_lib.classroom.lesson_widget import LessonWidget, script, style
from course_lib.classroom.plots import still_html
from course_lib.classroom.table_talk import offers, table_for, task_on
from course_lib.rt2 import RT2
from course_lib.world import TabletopEnv
from course_lib.world.tasks import Task

STEPS, LAST_SCENE = 25, 2**31 - 1
ANSWER = 12  # tokens of an answer in words
QUESTIONS = ("where is the {a}", "what colour is the {a}", "what is the {a} for")


class AskRobot(LessonWidget):
    """Drive the robot with sentences and ask its model about the picture.

    ``policy``: an RT2 of the course's robot, best with ``plan=True``; ``env``: a TabletopEnv; ``instruction``: a sentence;
    ``scene``: number of the scene; ``steps``: the most actions of a rollout. ``run`` starts another rollout from Python,
    ``ask`` asks a question; ``answers`` is the last rollout. Raises ValueError for an instruction or a policy that cannot
    be used. What is typed into the widget raises nothing: the problem is said below, and the last rollout stays.
    """

    _esm = script("player", "ask_robot")
    _css = style("player", "ask_robot")
    rollout = traitlets.Dict().tag(sync=True)  # the last complete one: number, instruction, scene, texts of all steps
    pixels = traitlets.Bytes().tag(sync=True)  # its pictures one after the other, uint8
    status = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List(traitlets.Unicode()).tag(sync=True)  # forms to choose from

    def __init__(
        self,
        policy: RT2,
        env: Any = None,
        *,
        instruction: str = "recoge la fruta amarilla",
        scene: int = 0,
        steps: int = STEPS,
    ):
        super().__init__(questions=[form.format(a="…") for form in QUESTIONS])
        self._policy, self._steps = policy, steps
        self._env = TabletopEnv(max_steps=steps) if env is None else env.unwrapped
        self._lock = threading.RLock()  # JupyterLab may deliver messages beside a running cell
        self._rest: Iterator[Answer] = iter(())
        self._number = 0  # of the rollout
        self._scene = scene
        self.answers: list[Answer] = []
        self.run(instruction, scene=scene)
        self.on_msg(self._on_message)

    def run(self, instruction: str | None = None, *, scene: int | None = None) -> str:
        """Make a whole rollout and show it; returns how it ended. Without a ``scene`` the same things are on the table."""
        with self._lock:
            self._begin(instruction or self.answers[0].instruction, scene)
            self.answers += self._rest
            self._complete()
        return self.status

    def ask(self, question: str, step: int = 0) -> str:
        """The model's answer to a question about the picture of a step. Raises ValueError for words it does not know."""
        if not question.strip():
            raise ValueError("Expected a question, got an empty box. Try 'where is the' and a thing on the table.")
        if not 0 <= step < len(self.answers):
            raise ValueError(f"Expected a step from 0 to {len(self.answers) - 1}, got {step}.")
        self._policy.tokenizer.encode(question)  # names the word, and not the whole prompt, if it is unknown
        return self._policy.generate(self.answers[step].image[None], [question], steps=ANSWER)[0]

    def _begin(self, instruction: str, scene: int | None) -> None:
        """The first step of a new rollout; the old one stays if it cannot be made."""
        if not instruction.strip():
            raise ValueError("Expected an instruction, got an empty box. Try 'pick up the' and a thing on the table.")
        self._policy.tokenizer.encode(instruction)
        task, kinds, number = self._table(instruction, scene)
        rest = converse(self._policy, self._env, task=task, scene=number, kinds=kinds, steps=self._steps)
        first = next(rest)
        self._rest, self.answers, self._scene = rest, [first], number
        self._number += 1

    def _table(self, instruction: str, scene: int | None) -> tuple[Task, list[str] | None, int]:
        """What is asked for, the things on the table, and the scene's number."""
        if self.answers and scene in (None, self._scene):
            things = self.answers[0].things
            return task_on(instruction, things), things, self._scene
        number = self._scene if scene is None else scene
        return *table_for(instruction, number), number

    def _complete(self) -> None:
        """All steps are there: keep them where a new or reloaded page finds them."""
        with self.hold_sync():
            self.status = ending(self.answers)
            self.pixels = b"".join(answer.image.tobytes() for answer in self.answers)
            self.rollout = self._header() | {"steps": [_texts(answer) for answer in self.answers]}

    def _header(self) -> dict[str, Any]:
        first = self.answers[0]
        things = [*first.things]
        return {
            "number": self._number,
            "instruction": first.instruction,
            "scene": self._scene,
            "things": things,
            "offers": offers(things),
            "image": list(first.image.shape[:2]),
        }

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: list) -> None:
        """From the browser: ``run`` (instruction, scene), ``next`` (number, step) or ``ask`` (question, step)."""
        with self._lock:
            kind = content.get("kind")
            if kind == "next":
                if (content.get("number"), content.get("step")) == (self._number, len(self.answers)):
                    self._send_next()  # else a newer rollout has begun, or another page was faster
            elif kind in ("run", "ask"):
                try:
                    (self._asked_to_run if kind == "run" else self._asked)(content)
                except ValueError as problem:
                    self.send({"kind": "problem", "about": kind, "status": str(problem)})

    def _asked_to_run(self, content: dict[str, Any]) -> None:
        instruction, scene = content.get("instruction"), content.get("scene")
        if not isinstance(instruction, str):
            raise ValueError(f"Expected an instruction in words, got {instruction!r}.")
        if type(scene) is not int or not 0 <= scene <= LAST_SCENE:
            raise ValueError(f"Expected a scene from 0 to {LAST_SCENE}, got {scene}. Try 1.")
        self._begin(instruction, scene)
        self._send_step()

    def _asked(self, content: dict[str, Any]) -> None:
        question, step = content.get("question"), content.get("step")
        if not isinstance(question, str) or type(step) is not int:
            raise ValueError(f"Expected a question in words about a step, got {question!r} and {step!r}.")
        answer = self.ask(question, step)
        places = places_in(answer)
        words = ", ".join(place_words(*place) for place in places)
        self.send({"kind": "answer", "question": question, "step": step, "answer": answer, "places": places, "words": words})

    def _send_next(self) -> None:
        answer = next(self._rest, None)
        if answer is not None:
            self.answers.append(answer)
            self._send_step()

    def _send_step(self) -> None:
        last = self.answers[-1]
        message = {"kind": "step", "header": self._header(), "step": len(self.answers) - 1, "texts": _texts(last)}
        if last.over:
            message["status"] = ending(self.answers)
        self.send(message, buffers=[last.image.tobytes()])
        if last.over:
            self._complete()

    def still_html(self, css_class: str) -> str:
        """The first, middle and last picture, and what was written at the first step."""
        first, last = self.answers[0], len(self.answers) - 1
        shown = sorted({0, last // 2, last})
        figure, axes = plt.subplots(1, len(shown), figsize=(2.1 * len(shown), 2.35), squeeze=False, layout="constrained")
        plt.close(figure)
        for axis, step in zip(axes[0], shown, strict=True):
            axis.imshow(self.answers[step].image)
            axis.set_title(f"step {step}", fontsize=9)
            axis.set_axis_off()
        alt = f"“{first.instruction}”. " + " ".join(f"Step {i}: {self.answers[i].scene}." for i in shown)
        said = " ".join(str(number.level) for number in first.numbers)
        caption = (
            f"“{first.instruction}”. Plan: {first.plan or 'none'}. Action: {said}. {first.words} {ending(self.answers)} "
        )
        return still_html(figure, alt, css_class, caption + "Run this notebook to type instructions and questions.")


def ending(answers: Sequence[Answer]) -> str:
    """How a rollout ended, in a sentence."""
    last, steps = answers[-1], len(answers) - 1
    if last.success:
        return f"Done after {steps} steps: {answers[0].instruction}."
    judged = "without success" if last.judged else "(the sentence means no single thing here, so success is not judged)"
    return f"Stopped after {steps} steps {judged}."


def _texts(answer: Answer) -> dict[str, Any]:
    """A step for the browser, without its picture."""
    numbers = [asdict(number) | {"probability": round(number.probability, 4)} for number in answer.numbers]
    return {
        "plan": answer.plan,
        "numbers": numbers,
        "words": answer.words,
        "places": [list(place) for place in answer.places],
        "scene": answer.scene,
        "modelMs": round(answer.model_ms, 1),
    }


__all__ = ["AskRobot", "ending"]

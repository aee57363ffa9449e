"""rt2_tiny_web.safetensors: the tiny PaliGemma, taught from nothing by pictures and questions. No robot acts here.

It stands for the vision-language model that RT-2 begins with: the real ones learned from billions of pictures. As there,
the eyes learn first (``eyes``), then all together.
"""

import csv
import io
from pathlib import Path
from typing import Any

import torch

from course_lib.classroom.eyes import Eyes, Patches
from course_lib.datasets.web import WebPictures, blind_baseline, vocabulary
from course_lib.learn import History, Schedule, behaviour_clone, save_checkpoint
from course_lib.measure import wilson
from course_lib.measure.answers import Answers, ask_all
from course_lib.rt2 import RT2

EYES_SCHEDULE = Schedule(steps=500, lr=2e-3, warmup=50)
WEB_SCHEDULE = Schedule(steps=7000, lr=1.5e-3, warmup=200)
WEB_BATCH, WEB_QUESTIONS = 16, 16  # pictures in a step, and questions about each
TEST_BATCHES = 60  # of 16 pictures with 8 questions
ANSWERS = "rt2_web_answers.csv"


def web_pictures(split: str = "train", **options: Any) -> WebPictures:
    """The questions of the pretraining, or of its test."""
    return WebPictures(**{"batch": WEB_BATCH, "questions": WEB_QUESTIONS, "split": split, **options})


def new_vlm(seed: int = 0) -> RT2:
    """The tiny model before its first picture. Its actions are written in integer tokens, as RT-2-PaLI-X does."""
    torch.manual_seed(seed)
    return RT2.tiny(vocabulary())


def exam(policy: RT2, batches: int = TEST_BATCHES) -> Answers:
    """Its answers about pictures that no training saw."""
    web = web_pictures("test", questions=8)
    return ask_all(policy, (web(step) for step in range(batches)))


def open_eyes(policy: RT2, state: Path, schedule: Schedule = EYES_SCHEDULE) -> None:
    """Teach the eyes alone, in place; resumes from ``state``. SystemExit if interrupted."""
    torch.manual_seed(1)
    eyes = Eyes(policy.vlm.vision, policy.vlm.config.vision.width)
    patches = Patches(size=policy.vlm.config.vision.image_size)
    _finish(behaviour_clone(eyes, patches, schedule, resume=state))
    right, of = (sum(column) for column in zip(*(eyes.seen(patches(100_000 + i)) for i in range(4)), strict=True))
    print(f"eyes: {wilson(right, of)} of the things in new pictures are named right", flush=True)


def pretrain(state: Path, schedule: Schedule = WEB_SCHEDULE, look_every: int = 500) -> tuple[RT2, float]:
    """The trained model and its last loss; resumes from ``state``. SystemExit if interrupted."""
    policy = new_vlm()
    open_eyes(policy, state.with_suffix(".eyes"))

    def look(step: int, loss: float) -> None:
        if (step + 1) % look_every == 0:
            policy.eval()
            answers = exam(policy, 6)
            policy.train()
            print(f"step {step + 1}: loss {loss:.3f}, right {answers.rate()}, point {answers.rate('point')}", flush=True)

    history = behaviour_clone(policy, web_pictures(), schedule, resume=state, on_step=look)
    _finish(history)
    return policy, sum(history.losses[-200:]) / 200


def _finish(history: History) -> None:
    if not history.finished:
        raise SystemExit("Interrupted: run the same command again to go on.")


def make_rt2_tiny_web(data: Path, runs: Path) -> dict[str, Any]:
    """The checkpoint, and the table of its answers (the recipe writes it)."""
    state = runs / "rt2_tiny_web.state"
    policy, loss = pretrain(state)
    answers = exam(policy)
    save_checkpoint(policy, data / "rt2_tiny_web.safetensors", right=str(answers.rate()), steps=WEB_SCHEDULE.steps)
    for part in (state, state.with_suffix(".eyes")):
        part.unlink(missing_ok=True)
    return {"seed": 0, "result": f"right answers {answers.rate()}, pointing {answers.rate('point')}, loss {loss:.3f}",
            "files": ["rt2_tiny_web.safetensors", ANSWERS], "table": answers_table(answers)}  # fmt: skip


def answers_table(answers: Answers) -> str:
    """CSV: of each type of question and each concept pointed at: n, rate, 95% interval, and what guessing blindly gets."""
    train, test = web_pictures(), web_pictures("test", questions=8)
    blind = blind_baseline([train.text(i) for i in range(300)], [test.text(i) for i in range(TEST_BATCHES)])
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["group", "name", "n", "rate", "low", "high", "blind"])
    groups = [("type", name, answers.rate(name), f"{blind[name][1]:.4f}") for name in answers.types]
    groups += [("point", name, answers.rate("point", concept=name), "") for name in answers.concepts]
    for group, name, rate, guess in [*groups, ("all", "all", answers.rate(), "")]:
        table.writerow([group, name, rate.n, *(f"{x:.4f}" for x in rate[:3]), guess])
    return out.getvalue()

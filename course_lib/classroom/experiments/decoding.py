"""Parallel or autoregressive action tokens: two apples on one diagonal, two cups on the other, "pick up the apple".

The expert goes for either apple. RT-1 decides x and y separately, so half of what it draws points at a cup; a decoder that
says x first and then y, knowing x, need not. Both heads share trunk, data, steps and scenes. Measured are what such
a policy draws (mixing), what it reaches, how surprised it is by the expert's actions, and what a control step costs.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.classroom.experiments.clones import BATCH, DATA_APART, TABLES, TRIALS, summary
from course_lib.classroom.recipes import TEST_SEED, TRAINING_SEED
from course_lib.datasets import Episodes, Windows, record
from course_lib.interfaces import Policy
from course_lib.learn import Schedule, behaviour_clone
from course_lib.measure import rollout
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.ablations import AutoregressiveRT1
from course_lib.rt1.cached import CachedAutoregressiveRT1
from course_lib.rt1.instruction import InstructionEncoder
from course_lib.rt1.policy import arg_max, evaluating, sampling
from course_lib.world.env import TabletopVectorEnv
from course_lib.world.objects import kind_index
from course_lib.world.render import render
from course_lib.world.scenes import two_mode
from course_lib.world.tabletop import SPACE
from course_lib.world.tasks import PICK_TASKS, Goals

WORK = "course_lib.classroom.experiments.decoding:decide"
TITLE = "parallel or autoregressive action tokens, on a task with two good ways"
HEADS: dict[str, type[RT1]] = {"parallel": RT1, "autoregressive": AutoregressiveRT1}
TASKS = tuple(task for task in PICK_TASKS if task.kind == kind_index("apple"))
EPISODES, STEPS = 4000, 1200
DRAWS = 10  # first actions drawn in each scene
X, Y = SPACE.index("arm_x"), SPACE.index("arm_y")
MOVES = 0.005  # metres: half a step of the expert's lattice


@dataclass(frozen=True)
class Decision:
    """The settings of one run."""

    head: str
    seed: int
    episodes: int = EPISODES
    steps: int = STEPS
    batch: int = BATCH
    trials: int = TRIALS


def runs(seeds: int = 3) -> list[dict[str, Any]]:
    """Both heads, with ``seeds`` seeds each."""
    return [asdict(Decision(head, seed)) for seed in range(seeds) for head in HEADS]


def decide(run: dict[str, Any], report: Callable[[float], Any] = lambda part: None) -> dict[str, Any]:
    """Train one policy and test it, by arg-max and by sampling: the work of a sweep."""
    settings = Decision(**run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first = TRAINING_SEED + DATA_APART * settings.seed
    data = record(settings.episodes, TASKS, seed=first, device=device, scene=two_mode)
    words = InstructionEncoder()(data.sentences())
    batches = Windows(data, words, history=1, batch=settings.batch, seed=settings.seed)
    torch.manual_seed(settings.seed)
    policy = HEADS[settings.head](RT1Config.tiny(history=1)).to(device)
    history = behaviour_clone(
        policy, batches, Schedule(steps=settings.steps), progress=False,
        on_step=lambda step, loss: report(0.9 * (step + 1) / settings.steps) if step % 20 == 0 else None,
    )  # fmt: skip
    if not history.finished:
        raise KeyboardInterrupt
    return {"loss": round(float(np.mean(history.losses[-100:])), 4)} | tested(policy, settings.trials)


def tested(policy: RT1, trials: int = TRIALS) -> dict[str, Any]:
    """Rollouts by arg-max and by sampling, first actions in the test scenes, and held-out frames of the expert's."""
    result: dict[str, Any] = {}
    env = TabletopVectorEnv(min(TABLES, trials), tasks=TASKS, scene=two_mode)
    for name in ("arg-max", "sampled"):
        random = torch.Generator(policy.device).manual_seed(0)
        policy.pick = arg_max if name == "arg-max" else sampling(random)
        chosen = summary(rollout(policy, env, trials, seed=TEST_SEED))
        result[name] = chosen | mixing(policy, trials, 1 if name == "arg-max" else DRAWS)
    policy.pick = arg_max
    return result | surprise(policy, record(min(500, trials), TASKS, seed=TEST_SEED, scene=two_mode))


def mixing(policy: Policy, scenes: int, draws: int) -> dict[str, int]:
    """Of the first actions that move along x and y at once: how many point at the cups' diagonal."""
    seeds = torch.arange(TEST_SEED, TEST_SEED + scenes)
    goals = Goals.of([TASKS[0]] * scenes)
    state = two_mode(seeds, goals)
    images, moving, mixed = render(state).numpy(), 0, 0
    way = state.xyz[:, 0, :2] - state.xyz[:, 1, :2]  # from one apple to the other
    apples = (way[:, 0] * way[:, 1]).sign().numpy()
    for _ in range(draws):
        policy.reset()
        action = policy.act({"image": images, "instruction": TASKS[0].sentence})
        both = (np.abs(action[:, X]) > MOVES) & (np.abs(action[:, Y]) > MOVES)
        moving += int(both.sum())
        mixed += int((both & (np.sign(action[:, X] * action[:, Y]) != apples)).sum())
    policy.reset()
    return {"first_actions": moving, "mixed": mixed}


def surprise(policy: RT1, data: Episodes) -> dict[str, float]:
    """Nats per action of the expert's (lower is better; all 11 tokens together), and whole actions hit by arg-max.

    ``nats_first`` is for the first frame of each episode alone, where both ways are open.
    """
    words = InstructionEncoder()(data.sentences())
    every = torch.arange(data.frames)
    episode = torch.arange(len(data)).repeat_interleave(data.length)
    losses, hits = [], 0
    with torch.no_grad(), evaluating(policy):
        for part in every.split(500):
            images, heard = data.pictures(part), words[data.task[episode[part]]]
            actions = data.actions[part]
            losses.append(_nats(policy, images, heard, actions))
            policy.reset()
            said = policy.tokenizer.encode(torch.from_numpy(policy.act({"image": images, "instruction": heard})))
            hits += int((said == policy.tokenizer.encode(actions)).all(-1).sum())
    policy.reset()
    nats = torch.cat(losses)
    first = nats[data.start].mean()
    return {"nats": round(float(nats.mean()), 4), "nats_first": round(float(first), 4), "exact": round(hits / len(nats), 4)}


def _nats(policy: RT1, images: Tensor, heard: Tensor, actions: Tensor) -> Tensor:
    """Minus the log of the probability of each whole action, (B,); actions before are given, as in training."""
    labels = policy.tokenizer.encode(actions).to(policy.device)
    pictures = (images.to(policy.device).float() / 255).movedim(-1, 1)[:, None]  # (B, 1, 3, H, W)
    given = {"actions": actions[:, None].to(policy.device)} if isinstance(policy, AutoregressiveRT1) else {}
    logits = policy(pictures, heard.to(policy.device), **given)[:, 0]  # (B, A, V)
    return -logits.float().log_softmax(-1).gather(-1, labels[..., None])[..., 0].sum(-1).cpu()


def steps_to_time(batch: int = 1, seed: int = 0) -> dict[str, Callable[[], Any]]:
    """One control step of each way to decode, for ``measure.speed.benchmark``; the weights are random."""
    torch.manual_seed(seed)
    config = RT1Config.tiny(history=1)
    policies = [kind(config).eval() for kind in (RT1, CachedAutoregressiveRT1, AutoregressiveRT1)]
    images = np.random.default_rng(seed).integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
    seen = {"image": images, "instruction": torch.randn(batch, config.instruction_dim)}

    def step(policy: RT1, rereads: int = 0) -> Callable[[], Any]:
        pictures = torch.from_numpy(images).float().div(255).movedim(-1, 1)

        def run() -> None:
            policy.reset()
            policy.act(seen)
            with torch.inference_mode():
                for _ in range(rereads):
                    policy.image_tokens(pictures, seen["instruction"])

        return run

    parallel, cached, plain = policies
    return {
        "parallel: one pass": step(parallel),
        "autoregressive, keys and values cached": step(cached),
        "autoregressive, no cache": step(plain),
        "autoregressive, the picture read again for each token": step(plain, config.action_dims - 1),
    }

"""Policy x environment -> outcomes: one loop for every policy of the course.

It knows only ``Policy.act`` / ``reset`` and Gymnasium's vector API, so RT-1, RT-2, a scripted expert and a student's own
policy are measured in exactly the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np

from course_lib.interfaces import Policy


@dataclass(frozen=True)
class Outcomes:
    """What happened in n episodes."""

    success: np.ndarray  # bool (n,): was the task done when the episode ended?
    length: np.ndarray  # int (n,): control steps
    seed: np.ndarray  # int (n,): the episode can be replayed from it
    instruction: list[str]
    stopped: np.ndarray  # bool (n,): the policy ended the episode itself (else it ran out of time)
    held: np.ndarray  # int (n,): kind in the hand at the end, -1 for none
    target: np.ndarray  # int (n,): kind that was asked for

    def __len__(self) -> int:
        return len(self.success)


def rollout(
    policy: Policy,
    env: gymnasium.vector.VectorEnv | gymnasium.Env,
    n: int,
    seed: int = 0,
    *,
    options: dict | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Run ``n`` episodes, the i-th from the seed ``seed + i``: the same scenes for every policy.

    ``env`` is a vector environment (``gymnasium.make_vec``); its tables run side by side. ``progress(done, n)`` is called
    after each group. Raises ValueError for a single environment or n < 1.
    """
    if not isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(
            f"Expected a vector environment, got {type(env).__name__}. Try gymnasium.make_vec(id, num_envs=32)."
        )
    if n < 1:
        raise ValueError(f"Expected at least one episode, got n = {n}.")
    groups = []
    for first in range(0, n, env.num_envs):
        seeds = list(range(seed + first, seed + first + env.num_envs))  # the last group may hold a few spare tables
        groups.append(_episodes(policy, env, seeds, options))
        if progress is not None:
            progress(min(first + env.num_envs, n), n)
    joined = [np.concatenate([g[i] for g in groups])[:n] for i in range(6)]
    sentences = [s for g in groups for s in g[6]][:n]
    success, length, stopped, held, target, seeds = joined
    return Outcomes(success, length, seeds, sentences, stopped, held, target)


def _episodes(policy: Policy, env: gymnasium.vector.VectorEnv, seeds: list[int], options: dict | None) -> tuple:
    """One episode per table; a finished table keeps still until all are finished."""
    observation, info = env.reset(seed=seeds, options=options)
    policy.reset()
    N = env.num_envs
    sentences = list(observation["instruction"])
    success, stopped, over = np.zeros(N, bool), np.zeros(N, bool), np.zeros(N, bool)
    length, held, target = np.zeros(N, int), np.full(N, -1), np.array(info["target"])
    while not over.all():
        action = policy.act({"image": observation["image"], "instruction": sentences})
        observation, _, terminated, truncated, info = env.step(action)
        ended = (terminated | truncated) & ~over
        length[~over] += 1
        success[ended], held[ended] = info["success"][ended], info["held"][ended]
        stopped[ended] = terminated[ended]
        over |= ended
    return success, length, stopped, held, target, np.array(seeds), sentences

"""Policy x environment -> outcomes: one loop for every policy of the course.

It knows only ``Policy.act`` / ``reset`` and Gymnasium's vector API, so RT-1, RT-2, a scripted expert and a student's own
policy are measured in exactly the same way. What it reads from the environment's ``info`` is listed in ``outcomes``.
"""

from collections.abc import Callable

import gymnasium
import numpy as np
from tqdm.auto import tqdm

from course_lib.interfaces import Policy
from course_lib.measure.outcomes import Outcomes, Watcher, joined


def rollout(
    policy: Policy,
    env: gymnasium.vector.VectorEnv | gymnasium.Env,
    n: int,
    seed: int = 0,
    *,
    options: dict | None = None,
    film: int = 0,
    progress: bool | Callable[[int, int], None] | None = None,
) -> Outcomes:
    """Run ``n`` episodes, the i-th from the seed ``seed + i``: the same scenes for every policy.

    ``env`` is a vector environment (``gymnasium.make_vec``); its tables run side by side. ``film``: keep what the camera
    saw in the first so many episodes. ``progress``: True for a bar with the success so far, or a function that is called
    as ``progress(done, n)`` after each group. Raises ValueError for a single environment or n < 1.
    """
    if not isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(
            f"Expected a vector environment, got {type(env).__name__}. Try gymnasium.make_vec(id, num_envs=32)."
        )
    if n < 1:
        raise ValueError(f"Expected at least one episode, got n = {n}.")
    groups: list[Outcomes] = []
    with tqdm(total=n, disable=progress is not True, desc="driving", unit="episode") as bar:
        for first in range(0, n, env.num_envs):
            seeds = list(range(seed + first, seed + first + env.num_envs))  # the last group may hold a few spare tables
            wanted = min(env.num_envs, n - first)
            groups.append(_episodes(policy, env, seeds, wanted, min(max(film - first, 0), wanted), options, bar))
            if callable(progress):
                progress(first + wanted, n)
            won = sum(int(group.success.sum()) for group in groups)
            bar.set_postfix_str(f"success {won} of {first + wanted}")
    return joined(groups)


def _episodes(
    policy: Policy, env: gymnasium.vector.VectorEnv, seeds: list[int], n: int, film: int, options: dict | None, bar: tqdm
) -> Outcomes:
    """One episode per table. A finished table is looked at no more (it begins another episode) until all are finished."""
    observation, info = env.reset(seed=seeds, options=options)
    policy.reset()
    watcher = Watcher(info, env.num_envs)
    sentences = first = list(observation["instruction"])
    films = [[np.array(observation["image"][i])] for i in range(film)]
    while not watcher.over.all():
        action = policy.act({"image": observation["image"], "instruction": sentences})
        going = ~watcher.over
        observation, _, terminated, truncated, info = env.step(action)
        for i in np.flatnonzero(going[:film]):
            films[i].append(np.array(observation["image"][i]))
        ended = watcher.see(info, terminated, truncated)
        heard = zip(watcher.over, sentences, observation["instruction"], strict=True)
        sentences = [old if over else new for over, old, new in heard]  # a chain of tasks changes its sentence on the way
        bar.update(int(ended[:n].sum()))
    return watcher.outcomes(n, seeds, first, [np.stack(frames) for frames in films])

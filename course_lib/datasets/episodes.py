"""Robot episodes: recorded as states, rendered only when a batch needs the pictures.

A frame as a state is about 200 bytes, as a 64-pixel picture 12,288: so episodes are kept as states (``tape``) and drawn
on the training device, batch by batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from course_lib.datasets.tape import StateTape, join
from course_lib.world import chance
from course_lib.world.experts import expert as scripted
from course_lib.world.render import render
from course_lib.world.scenes import OBJECTS, scene
from course_lib.world.splits import TRAINING_TASKS
from course_lib.world.tabletop import SPACE, TabletopState, stack, step
from course_lib.world.tasks import Goals, Task, draw_tasks, success

Expert = Callable[[TabletopState, Goals], Tensor]
CHUNK = 4096  # episodes simulated together


@dataclass(frozen=True)
class Episodes:
    """E episodes, their F frames one after another."""

    states: StateTape  # F tables, the frame before each action: states[frames] is a TabletopState
    actions: Float[Tensor, "F A"]  # what the expert did there, in the action space's units
    start: Int[Tensor, " E"]  # first frame of each episode
    length: Int[Tensor, " E"]  # number of frames
    task: Int[Tensor, " E"]  # index into tasks
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        return len(self.length)

    @property
    def frames(self) -> int:
        """F, all frames of all episodes."""
        return len(self.actions)

    def sentences(self) -> list[str]:
        """What the policy hears, one sentence per task."""
        return [task.sentence for task in self.tasks]

    def pictures(self, frames: Int[Tensor, " B"], size: int | None = None) -> UInt8[Tensor, "B H W 3"]:
        """What the camera saw in these frames, drawn now; ``size`` pixels wide, by default 64."""
        return render(self.states[frames], size or 64)

    def take(self, which: Tensor | slice) -> "Episodes":
        """Some of the episodes, by number, mask or slice, in the order asked for: ``take(slice(100))`` for the first 100."""
        which = torch.arange(len(self), device=self.start.device)[which]
        if not len(which):
            raise ValueError("Expected at least one episode, got none.")
        length = self.length[which]
        episode = torch.arange(len(which), device=length.device).repeat_interleave(length)
        inside = torch.arange(len(episode), device=length.device) - _starts(length)[episode]
        frames = self.start[which][episode] + inside
        states = StateTape.from_states(self.states[frames], episode)
        return Episodes(states, self.actions[frames], _starts(length), length, self.task[which], self.tasks)

    def to(self, device: torch.device | str) -> "Episodes":
        """The same episodes on another device, where they will be drawn."""
        moved = (x.to(device) for x in (self.actions, self.start, self.length, self.task))
        return Episodes(self.states.to(device), *moved, self.tasks)


def record(
    n_episodes: int,
    tasks: tuple[Task, ...] = TRAINING_TASKS,
    seed: int = 0,
    device: str = "cpu",
    *,
    objects: int = OBJECTS,
    expert: Expert = scripted,
    max_steps: int = 40,
    disturbance: float = 0.15,
    scene: Callable[..., TabletopState] = scene,
) -> Episodes:
    """Let the expert solve ``n_episodes`` random scenes; episode i has the seed ``seed + i``.

    By default of all eight skills, without the combinations that ``world.splits`` holds out for tests.

    Only successful episodes are kept, as in RT-1's data; the (rare) others are replaced by further seeds.
    With probability ``disturbance`` a step is knocked off its course (arm and sometimes gripper), while the recorded
    action stays the expert's: so the data shows what to do after a slip or a missed grasp. A flawless expert never
    shows that, and a policy cloned from it goes on lifting an empty hand. The idea is DART's (Laskey et al. 2017).
    """
    if n_episodes < 1 or not 0 <= disturbance < 1:
        raise ValueError(f"Expected n_episodes >= 1 and 0 <= disturbance < 1, got {n_episodes} and {disturbance}.")
    parts, missing, first = [], n_episodes, seed
    while missing > 0:
        if first - seed > 4 * n_episodes + 64:
            raise ValueError("This expert fails in most scenes, so there is nothing to record. Try another expert or tasks.")
        seeds = torch.arange(first, first + min(CHUNK, missing), device=device)
        part = _simulate(seeds, tasks, partial(scene, objects=objects), expert, max_steps, disturbance)
        parts.append(part)
        missing, first = missing - len(part), first + len(seeds)
    return joined(parts, tasks)


def _disturbed(state: TabletopState, action: Tensor, probability: float) -> Tensor:
    """What the robot really does: now and then the arm goes astray by up to 5 cm, and the gripper does the opposite."""
    u = chance.uniform(state.seed, state.step, 30, 5)  # (N, 5)
    hit = (u[:, :1] < probability) & (action[:, -1:] == 0)  # not on the step that ends the episode
    astray = action.clone()
    astray[:, :3] = 0.1 * (u[:, 1:4] - 0.5)
    grip = SPACE.index("gripper")
    astray[:, grip] = torch.where(u[:, 4] < 0.3, -action[:, grip], action[:, grip])
    return torch.where(hit, astray, action)


def _simulate(
    seeds: Tensor, tasks: tuple[Task, ...], scene: Callable, expert: Expert, max_steps: int, disturbance: float
) -> Episodes:
    """One chunk of episodes, all tables at once; frames come out sorted by episode, then time."""
    task = draw_tasks(seeds, tasks)
    goals = Goals.of(tasks, seeds.device)[task]
    state = scene(seeds, goals)
    stop = SPACE.index("terminate")
    length, won = torch.zeros_like(seeds), torch.zeros_like(seeds, dtype=torch.bool)
    going = torch.arange(len(seeds), device=seeds.device)  # tables still at work; the finished ones cost nothing more
    states, actions, rows, times = [], [], [], []
    for t in range(max_steps):
        action = expert(state, goals[going])
        states.append(state)
        actions.append(action)
        rows.append(going)
        times.append(torch.full_like(going, t))
        state = step(state, _disturbed(state, action, disturbance))
        ended = action[:, stop] > 0
        length[going[ended]] = t + 1
        won[going[ended]] = success(state, goals[going])[ended]
        going, state = going[~ended], state[~ended]
        if not len(going):
            break
    row, keep = torch.cat(rows), won.nonzero()[:, 0]
    order = (row * max_steps + torch.cat(times)).argsort()
    order = order[won[row[order]]]
    episode = torch.arange(len(keep), device=seeds.device).repeat_interleave(length[keep])
    tape = StateTape.from_states(stack(states)[order], episode)
    return Episodes(tape, torch.cat(actions)[order], _starts(length[keep]), length[keep], task[keep], tasks)


def _starts(length: Int[Tensor, " E"]) -> Int[Tensor, " E"]:
    return length.cumsum(0) - length


def joined(parts: list[Episodes], tasks: tuple[Task, ...]) -> Episodes:
    """All the episodes of ``parts``, in order; they share their list of tasks."""
    length = torch.cat([p.length for p in parts])
    actions = torch.cat([p.actions for p in parts])
    task = torch.cat([p.task for p in parts])
    return Episodes(join([p.states for p in parts]), actions, _starts(length), length, task, tasks)

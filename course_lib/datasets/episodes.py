"""Robot episodes: recorded as states, rendered only when a batch needs the pictures.

A frame as a state is about 200 bytes, as a 64-pixel picture 12,288: so episodes are kept as states and drawn on the
training device, batch by batch. A training example is a window of T consecutive frames of one episode; it never
crosses into the next one. Windows shorter than T are padded *behind* the real frames and marked invalid, because
RT-1's window grows from position 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.world import chance
from course_lib.world.experts import pick_expert
from course_lib.world.render import render
from course_lib.world.tabletop import SPACE, TabletopState, reset, stack, step
from course_lib.world.tasks import OBJECTS, PICK_TASKS, Task, draw_kinds, draw_tasks, success

Expert = Callable[[TabletopState, Tensor], Tensor]
CHUNK = 4096  # episodes simulated together


@dataclass(frozen=True)
class Episodes:
    """E episodes, their F frames one after another."""

    states: TabletopState  # F tables: the frame before each action
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


def record(
    n_episodes: int,
    tasks: tuple[Task, ...] = PICK_TASKS,
    seed: int = 0,
    device: str = "cpu",
    *,
    objects: int = OBJECTS,
    expert: Expert = pick_expert,
    max_steps: int = 30,
    disturbance: float = 0.15,
) -> Episodes:
    """Let the expert solve ``n_episodes`` random scenes; episode i has the seed ``seed + i``.

    Only successful episodes are kept, as in RT-1's data; the (rare) others are replaced by further seeds.
    With probability ``disturbance`` a step is knocked off its course (arm and sometimes gripper), while the recorded
    action stays the expert's: so the data shows what to do after a slip or a missed grasp. A flawless expert never
    shows that, and a policy cloned from it goes on lifting an empty hand. The idea is DART's (Laskey et al. 2017).
    """
    if n_episodes < 1 or not 0 <= disturbance < 1:
        raise ValueError(f"Expected n_episodes >= 1 and 0 <= disturbance < 1, got {n_episodes} and {disturbance}.")
    parts, missing, first = [], n_episodes, seed
    while missing > 0:
        if first - seed > 4 * n_episodes + CHUNK:
            raise ValueError("This expert fails in most scenes, so there is nothing to record. Try another expert or tasks.")
        seeds = torch.arange(first, first + min(CHUNK, missing), device=device)
        part = _simulate(seeds, tasks, objects, expert, max_steps, disturbance)
        parts.append(part)
        missing, first = missing - len(part), first + len(seeds)
    return _joined(parts, tasks)


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
    seeds: Tensor, tasks: tuple[Task, ...], objects: int, expert: Expert, max_steps: int, disturbance: float
) -> Episodes:
    """One chunk of episodes, all tables at once; frames come out sorted by episode, then time."""
    task = draw_tasks(seeds, tasks)
    target = torch.tensor([t.kind for t in tasks], device=seeds.device)[task]
    state = reset(seeds, draw_kinds(seeds, target, objects))
    stop = SPACE.index("terminate")
    length = torch.zeros_like(seeds)
    won = torch.zeros_like(seeds, dtype=torch.bool)
    states, actions = [], []
    for t in range(max_steps):
        action = expert(state, target)
        states.append(state)
        actions.append(action)
        state = step(state, _disturbed(state, action, disturbance))
        ended = (action[:, stop] > 0) & (length == 0)
        length = torch.where(ended, t + 1, length)
        won |= ended & success(state, target)
        if (length > 0).all():
            break
    keep = won.nonzero()[:, 0]
    time = torch.arange(len(states), device=seeds.device)
    used = time < length[keep, None]  # (E, t)
    order = (time * len(seeds) + keep[:, None])[used]  # row in the stack of all steps
    return Episodes(stack(states)[order], torch.cat(actions)[order], _starts(length[keep]), length[keep], task[keep], tasks)


def _starts(length: Int[Tensor, " E"]) -> Int[Tensor, " E"]:
    return length.cumsum(0) - length


def _joined(parts: list[Episodes], tasks: tuple[Task, ...]) -> Episodes:
    length = torch.cat([p.length for p in parts])
    actions = torch.cat([p.actions for p in parts])
    task = torch.cat([p.task for p in parts])
    return Episodes(stack([p.states for p in parts]), actions, _starts(length), length, task, tasks)


class Windows:
    """Random windows of ``history`` frames as training batches: ``windows(step)`` always gives the same batch.

    That makes an interrupted training resume exactly: there is no position in a stream to remember.
    ``embeddings`` has one row per sentence of ``episodes.sentences()``.
    """

    def __init__(
        self,
        episodes: Episodes,
        embeddings: Float[Tensor, "tasks Z"],
        *,
        history: int = 6,
        batch: int = 32,
        size: int = 64,
        seed: int = 0,
    ):
        if len(embeddings) != len(episodes.tasks):
            raise ValueError(f"Expected one embedding per task ({len(episodes.tasks)}), got {len(embeddings)}.")
        if history < 1 or batch < 1:
            raise ValueError(f"history and batch are at least 1, got {history} and {batch}.")
        self.episodes, self.embeddings = episodes, embeddings
        self.history, self.batch, self.size, self.seed = history, batch, size, seed

    def __call__(self, step: int) -> dict[str, Tensor]:
        """images uint8 (B, T, H, W, 3) · instruction (B, Z) · actions (B, T, A) · valid bool (B, T)."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        which = torch.randint(len(self.episodes), (self.batch,), generator=random)
        return self.cut(which, torch.rand(self.batch, generator=random))

    def cut(self, which: Int[Tensor, " B"], where: Float[Tensor, " B"]) -> dict[str, Tensor]:
        """Windows of episodes ``which``, beginning at the part ``where`` (0 to 1) of the possible first frames."""
        data = self.episodes
        which, where = which.to(data.length.device), where.to(data.length.device)
        length = data.length[which]
        first = (where * ((length - self.history).clamp(min=0) + 1)).long()
        time = first[:, None] + torch.arange(self.history, device=first.device)  # (B, T)
        valid = time < length[:, None]
        frame = data.start[which, None] + torch.minimum(time, length[:, None] - 1)  # padding repeats the last frame
        pictures = render(data.states[frame.flatten()], self.size)
        return {
            "images": pictures.unflatten(0, frame.shape),
            "instruction": self.embeddings.to(first.device)[data.task[which]],
            "actions": data.actions[frame],
            "valid": valid,
        }

"""Training: one loop that shows its progress, can be interrupted and resumes to the same weights.

``batches(step)`` gives the batch of a step, always the same one, so there is no data stream to remember: a resumed run
repeats exactly what the interrupted one would have done. Several processes, started by torchrun, share each batch: see
``learn.team``. The optimiser is AdamW with a warm-up and a cosine, as small models from scratch need; RT-1's release
fine-tunes a pretrained network with plain Adam at 1e-4.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.learn.checkpoints import load_weights, read_tensors, write_tensors
from course_lib.learn.team import Team, team_of

Batches = Callable[[int], Mapping[str, Tensor]]


@dataclass
class History:
    """What a training run left behind: one loss per step, and whether it reached the end."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0  # of this process, without what a resumed run had done before
    finished: bool = False


@dataclass(frozen=True)
class Schedule:
    """Numbers of a training run."""

    steps: int
    lr: float = 2e-3  # peak
    warmup: int = 100  # steps of linear growth
    final: float = 0.02  # the cosine ends at this part of the peak
    weight_decay: float = 1e-3
    clip: float = 1.0  # largest norm of the gradient
    bf16: bool = True  # matrix products in bfloat16; sums and weights stay float32

    def __post_init__(self):
        if self.steps < 1 or self.lr <= 0 or self.warmup < 0:
            raise ValueError(f"Expected steps >= 1, lr > 0, warmup >= 0; got {self.steps}, {self.lr}, {self.warmup}.")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


def behaviour_clone(
    policy: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    resume: str | Path | None = None,
    save_every: int = 200,
    progress: bool = True,
    on_step: Callable[[int, float], Any] | None = None,
) -> History:
    """Teach ``policy`` (a Trainable) to do what the expert did: minimise ``policy.loss`` over ``schedule.steps`` batches.

    ``resume``: a file that keeps the whole state; if it exists, training goes on from there. Ctrl-C (or the notebook's
    stop button) saves it and returns the history so far, with ``finished`` False. A loss that is not finite raises
    ValueError before it can damage the weights. ``on_step(step, loss)`` is called after each step.

    Under torchrun the processes share each batch and go on together from ``resume``, the file of the last save (which all of
    them must see); Ctrl-C ends them there. Only the first one shows, calls ``on_step`` and saves.
    """
    optimizer = torch.optim.AdamW(_groups(policy, schedule.weight_decay), lr=schedule.lr, betas=(0.9, 0.98))
    history = History()
    with team_of(policy) as team:
        if resume is not None and Path(resume).exists():
            history.losses = _restore(policy, optimizer, Path(resume), schedule, team)
        if team is not None:
            team.check_same(len(history.losses), resume)
        policy.train()
        began = time.perf_counter()
        try:
            _steps(policy, optimizer, batches, schedule, history, resume, save_every, progress, on_step, team)
            history.finished = True
        except KeyboardInterrupt:
            kept = f"{'last ' if team else ''}saved in {resume}" if resume else "the policy keeps what it learned"
            tqdm.write(f"Interrupted after step {len(history.losses)}: {kept}.")
        finally:
            history.seconds = time.perf_counter() - began
            policy.eval()
            if resume is not None and (team is None or history.finished):  # a team saves only where all of it is
                _save(policy, optimizer, Path(resume), history.losses, schedule, team)
    return history


def _steps(policy, optimizer, batches, schedule, history, resume, save_every, progress, on_step, team) -> None:
    """The remaining steps, with a progress bar and a save now and then."""
    done, first = len(history.losses), team is None or team.rank == 0
    shown = {"total": schedule.steps, "initial": done, "disable": not (progress and first)}
    with tqdm(**shown, desc="training", unit="step", mininterval=0.5) as bar:
        for step in range(done, schedule.steps):
            loss = _one_step(policy, optimizer, batches(step), schedule, step, team)
            history.losses.append(loss)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if on_step is not None and first:
                on_step(step, loss)
            if resume is not None and (step + 1) % save_every == 0:
                _save(policy, optimizer, Path(resume), history.losses, schedule, team)


def _groups(policy: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: biases, norms and scales are not pulled to zero."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("This policy has no parameters to train. Are its layers assigned in __init__, and not frozen?")
    matrices = [p for p in parameters if p.ndim >= 2]
    rest = [p for p in parameters if p.ndim < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def _one_step(
    policy: nn.Module, optimizer: torch.optim.Optimizer, batch: Mapping, schedule: Schedule, step: int, team: Team | None
) -> float:
    device = next(policy.parameters()).device
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step)
    optimizer.zero_grad(set_to_none=True)
    reduced = torch.autocast(device.type, torch.bfloat16) if schedule.bf16 else contextlib.nullcontext()
    with reduced:
        loss, value = (policy.loss(batch), None) if team is None else team.loss(batch)
    value = float(loss.detach()) if value is None else value
    if not math.isfinite(value):
        raise ValueError(f"The loss is {value} at step {step}: training diverged. Try a smaller lr than {schedule.lr}.")
    loss.backward()
    norm = nn.utils.clip_grad_norm_(policy.parameters(), schedule.clip)
    if torch.isfinite(norm):  # as RT-1's release: a broken gradient changes nothing
        optimizer.step()
    return value


def _save(policy, optimizer, path: Path, losses: list[float], schedule: Schedule, team: Team | None) -> None:
    """Weights, optimiser moments, random states and losses in one file. A team's processes call it together."""
    states = random_states(next(policy.parameters()).device)
    if team is not None:
        all_states = {name: team.all_of(state) for name, state in states.items()}
        states = {f"{name}{rank or ''}": state for name, found in all_states.items() for rank, state in enumerate(found)}
        if team.rank:
            return
    tensors = {f"policy.{k}": v for k, v in policy.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    write_tensors(tensors | states, path, {"format": "course_lib training 1", "schedule": _run(policy, schedule)})


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random numbers, by the name they are saved under: "random", and "cuda" on a GPU."""
    states = {"random": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _run(policy: nn.Module, schedule: Schedule) -> str:
    """What a state must agree in: the schedule, and the policy's own ``settings`` where it has some (Distillation)."""
    return " ".join([repr(schedule), *([policy.settings] if hasattr(policy, "settings") else [])])


def _restore(policy, optimizer, path: Path, schedule: Schedule, team: Team | None) -> list[float]:
    """Put everything back; returns the losses so far. Raises ValueError if the file is of another run.

    A process whose random state is not in the file (there were fewer then, or another device) goes on with its own.
    """
    tensors, header = read_tensors(path)
    if header.get("schedule") != _run(policy, schedule):
        raise ValueError(
            f"{path.name} belongs to another run: expected {_run(policy, schedule)}, got {header.get('schedule')}. "
            "Delete it to start afresh, or resume with the schedule it was begun with."
        )
    weights = {k.removeprefix("policy."): v for k, v in tensors.items() if k.startswith("policy.")}
    load_weights(policy, weights, path.name)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    rank = "" if team is None else team.rank or ""
    if f"random{rank}" in tensors:
        torch.set_rng_state(tensors[f"random{rank}"])
    if f"cuda{rank}" in tensors and (device := next(policy.parameters()).device).type == "cuda":
        torch.cuda.set_rng_state(tensors[f"cuda{rank}"], device)
    return tensors["losses"].tolist()

"""Several processes, one training: each takes its share of every batch, and their gradients become one (DDP).

    torchrun --nproc-per-node 4 my_training.py        one machine; several: torchrun --nnodes ..., see its manual, and set
                                                      TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 if it may restart processes

``behaviour_clone`` notices that torchrun started it; nothing in the training script changes but where the policy lives
(``device()``). The numbers are those of one process with the whole batch, up to rounding: losses are weighed by what they
are means of, and BatchNorm takes its statistics from the whole batch. Every process makes the whole batch and keeps a part.
"""

import atexit
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def device() -> torch.device:
    """Where this process' policy belongs: its own GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextlib.contextmanager
def team_of(policy: nn.Module) -> Iterator["Team | None"]:
    """The team that torchrun started, with this policy in it; None if this process works alone."""
    if not dist.is_initialized() and dist.is_torchelastic_launched():
        _meet("nccl" if next(policy.parameters()).is_cuda else "gloo")
        atexit.register(dist.destroy_process_group)
    if not dist.is_initialized() or dist.get_world_size() == 1:
        yield None
        return
    norms = [module for module in policy.modules() if type(module) is nn.BatchNorm2d]
    for norm in norms:
        norm.__class__ = TeamBatchNorm
    try:
        yield Team(policy)
    finally:
        for norm in norms:
            norm.__class__ = nn.BatchNorm2d


def _meet(backend: str) -> None:
    """Join the others. torchrun's store outlives a restart, with the addresses of the dead in it (torch 2.14): on one
    machine every attempt gets a part of its own. Machines count their restarts apart: see the top of this file.
    """
    store, rank, size = next(dist.rendezvous("env://"))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)


class Team:
    """Processes with the same policy. All begin with the weights of the first, and with other dropout."""

    def __init__(self, policy: nn.Module):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = next(policy.parameters()).device
        # RT-1 has weights that never reach the output, so DDP must look which gradients will not come.
        sizes = {"find_unused_parameters": True, "broadcast_buffers": False}
        self._shared = DistributedDataParallel(_Loss(policy), **sizes)
        if self.rank:
            torch.manual_seed(torch.initial_seed() + self.rank)

    def loss(self, batch: Mapping[str, Any]) -> tuple[Float[Tensor, ""], float]:
        """What this process differentiates, and the loss of the whole batch. Raises ValueError as ``share``."""
        part = share(batch, self.rank, self.size)
        weight = weight_of(part)
        loss = self._shared(part)
        sums = torch.stack((loss.detach().double() * weight, loss.new_tensor(weight, dtype=torch.float64)))
        dist.all_reduce(sums)
        value, total = sums.tolist()
        return loss * (weight * self.size / total), value / total  # DDP averages the gradients

    def all_of(self, tensor: Tensor) -> list[Tensor]:
        """Every process' tensor, in the order of their ranks."""
        here = tensor.to(self.device)
        found = [torch.empty_like(here) for _ in range(self.size)]
        dist.all_gather(found, here)
        return [one.to(tensor.device) for one in found]

    def check_same(self, steps: int, path: Any) -> None:
        """Raises ValueError, in every process, unless all go on from the same step."""
        done = [int(one) for one in self.all_of(torch.tensor([steps]))]
        if len(set(done)) > 1:
            raise ValueError(
                f"The processes found {path} after {done} steps: it must lie where all of them see the same file."
            )


class _Loss(nn.Module):
    """DDP calls ``forward``; a policy learns by ``loss``."""

    def __init__(self, policy: nn.Module):
        super().__init__()
        self.policy = policy

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        return self.policy.loss(batch)


class TeamBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose mean and variance in training are those of the team's whole batch. (torch's own needs GPUs.)"""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        if not self.training:
            return super().forward(x)
        y = x.float()
        sums = _Sum.apply(torch.cat((y.sum((0, 2, 3)), y.new_tensor([y.numel() / y.shape[1]]))))
        count, mean = sums[-1], sums[:-1] / sums[-1]
        y = y - mean[:, None, None]
        variance = _Sum.apply(y.pow(2).sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        y = y * (self.weight * torch.rsqrt(variance + self.eps))[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's gradient is the sum of theirs: all of them used it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        slope = slope.clone()
        dist.all_reduce(slope)
        return slope


def share(batch: Mapping[str, Any], rank: int, size: int) -> dict[str, Any]:
    """The rows of a batch that belong to process ``rank`` of ``size``: neighbours, as equally many for each as can be.

    A batch has ``images``; what is as long as they are is cut with them, the rest (shares, settings) goes to everyone. Of a
    batch in ``parts`` each part is cut. Raises ValueError for fewer rows than processes and for other kinds of batches.
    """
    if "parts" in batch:
        parts = {name: share(part, rank, size) for name, part in batch["parts"].items()}
        uneven = [name for name, part in batch["parts"].items() if len(part["images"]) % size or "weights" in part]
        if uneven:
            raise ValueError(
                f"Parts whose losses are added must be as large for each of {size} processes, and without weights of their "
                f"own; {', '.join(uneven)} is not. Try batch sizes that are multiples of {size}."
            )
        return {**batch, "parts": parts}
    if "images" not in batch:
        raise ValueError(f"Only batches with images are shared among processes, got {', '.join(batch)}. Try one process.")
    rows = len(batch["images"])
    if rows < size:
        raise ValueError(f"{rows} pictures cannot be shared among {size} processes. Try larger batches, or fewer processes.")
    mine = slice(rows * rank // size, rows * (rank + 1) // size)
    return {name: value[mine] if _per_row(value, rows) else value for name, value in batch.items()}


def weight_of(batch: Mapping[str, Any]) -> float:
    """Of how much the loss of this batch is the mean: valid steps, the sum of the weights, or pictures."""
    for name in ("valid", "weights"):
        if name in batch:
            return float(torch.as_tensor(batch[name]).sum())
    return 1.0 if "parts" in batch else float(len(batch["images"]))


def _per_row(value: Any, rows: int) -> bool:
    return ((isinstance(value, Sequence) and not isinstance(value, str)) or hasattr(value, "shape")) and len(value) == rows

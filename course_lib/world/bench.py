"""How fast the world is on this machine: ``python -m course_lib.world.bench``.

Each line of the table is prepared once (sprites are made, memory is touched), then timed for a few rounds; the median
counts. On a GPU the clock waits for the work to be done.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from course_lib.world import chance
from course_lib.world.experts import expert
from course_lib.world.objects import KINDS
from course_lib.world.render import render
from course_lib.world.scenes import scene
from course_lib.world.state import DRAWER_OPEN, TabletopState
from course_lib.world.tabletop import SPACE, reset, step
from course_lib.world.tasks import ALL_TASKS, Goals, draw_tasks

FRAMES = {"cpu": 1024, "cuda": 65536}  # tables in one batch
ROUNDS = 9


def tables(N: int, objects: int, *, cabinet: bool, device: str) -> TabletopState:
    """N tables with different objects of all kinds; with a cabinet, its drawers stand open by chance."""
    seed = torch.arange(N, device=device)
    zero = torch.zeros_like(seed)
    kinds = chance.uniform(seed, zero, 90, len(KINDS)).topk(objects, 1).indices
    state = reset(seed, kinds, torch.full((N,), cabinet, device=device))
    return replace(state, drawer=chance.uniform(seed, zero, 91, 2) * DRAWER_OPEN * cabinet)


def rendering(objects: int, size: int, *, cabinet: bool = False) -> Callable[[str, int], Callable[[], int]]:
    """A benchmark that renders N frames."""

    def prepare(device: str, N: int) -> Callable[[], int]:
        state = tables(N, objects, cabinet=cabinet, device=device)
        return lambda: len(render(state, size))

    return prepare


def _skills(device: str, N: int) -> tuple[TabletopState, Goals]:
    """N fresh tables of all eight skills."""
    seed = torch.arange(N, device=device)
    goals = Goals.of(ALL_TASKS, device)[draw_tasks(seed, ALL_TASKS)]
    return scene(seed, goals), goals


def physics(device: str, N: int) -> Callable[[], int]:
    """Control steps with random commands that close, push and drop."""
    state, _ = _skills(device, N)
    low, high = (torch.from_numpy(x).to(device) for x in (SPACE.low, SPACE.high))
    u = chance.uniform(state.seed, state.step, 92, len(SPACE))
    action = low + u * (high - low)
    action[:, SPACE.index("terminate")] = 0

    def work() -> int:
        now = state
        for _ in range(5):
            now = step(now, action)
        return 5 * N

    return work


def experts(device: str, N: int) -> Callable[[], int]:
    """The experts of all skills look at the state and act, and the world follows."""
    state, goals = _skills(device, N)

    def work() -> int:
        now = state
        for _ in range(5):
            now = step(now, expert(now, goals))
        return 5 * N

    return work


# One line each: what it counts, and a function of (device, N) that makes ready and returns the work; the work returns how
# many of the counted things it did.
BENCHMARKS: dict[str, tuple[str, Callable[[str, int], Callable[[], int]]]] = {
    "render 64 px, 3 objects": ("frames/s", rendering(3, 64)),
    "render 64 px, 5 objects and cabinet": ("frames/s", rendering(5, 64, cabinet=True)),
    "render 96 px, 3 objects": ("frames/s", rendering(3, 96)),
    "render 96 px, 5 objects and cabinet": ("frames/s", rendering(5, 96, cabinet=True)),
    "physics, random commands": ("steps/s", physics),
    "physics and experts, eight skills": ("steps/s", experts),
}


def rates(work: Callable[[], int], device: str, rounds: int = ROUNDS) -> list[float]:
    """Things per second in each round, the first and cold one included."""
    out = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        done = work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        out.append(done / (time.perf_counter() - start))
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command; ``--help`` says what it takes."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.world.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch on the CPU")
    parser.add_argument("--frames", type=int, help="tables in one batch")
    parser.add_argument("--only", default="", help="lines whose name contains this")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    N = chosen.frames or FRAMES.get(chosen.device.split(":")[0], 1024)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{chosen.device}, {chosen.threads} threads of {os.cpu_count()} cores, load {load:.1f}, {N} tables in a batch")
    print(f"{'':40}{'cold':>12}{'median':>12}{'best':>12}")
    for name, (unit, prepare) in BENCHMARKS.items():
        if chosen.only in name:
            cold, *warm = rates(prepare(chosen.device, N), chosen.device)
            print(f"{name:40}{cold:12,.0f}{statistics.median(warm):12,.0f}{max(warm):12,.0f}  {unit}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

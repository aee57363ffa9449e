"""Milliseconds with their spread, beside the roofline and the control rate: benchmark(), and a command.

    python -m course_lib.measure.speed                             RT-1, the paper's size: parts, tricks, whole steps
    python -m course_lib.measure.speed --preset tiny --out speed.csv
    python -m course_lib.measure.speed course_lib.rt1:RT1          only act() of one policy
    python -m course_lib.measure.speed my_file:make_runs           your own named callables
    python -m course_lib.measure.lab                               the decoding-speed lab: RT-1 and RT-2, many sizes

This room knows no model. What is timed is a name like ``my_file:make_runs``, looked up when the command runs: either a
policy class with a ``config_class``, or a function ``make_runs(preset, device)`` that returns ``(runs, costs)``, see
``benchmark``. The default, ``course_lib.rt1.levers:levers``, is RT-1's.

Honest timing: a few calls before the clock starts; all candidates take turns in every round, so that a busy minute
hits all alike; the median and the quartiles of the rounds; on a GPU its own clock, after all work is done. Compare
ratios within one run: two runs of the same code may differ by half.
"""

import argparse
import contextlib
import csv
import importlib
import io
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from tqdm import tqdm

from course_lib.interfaces import Policy

DEFAULT = "course_lib.rt1.levers:levers"
BUDGETS_MS = {"100 ms": 100.0, "333 ms": 1000 / 3}  # RT-1: 3 Hz, of which the network may take under 100 ms
WARMUP = 3  # calls before the clock starts: caches fill, kernels are chosen
FULL = ("not enough memory", "can't allocate memory", "out of memory")  # what torch says


@runtime_checkable
class Cost(Protocol):
    """Operations and least bytes of one call, as ``policy.cost()`` counts them."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class Machine:
    """Where it was measured, and the two numbers of the roofline, measured there."""

    device: str  # cpu, cuda or mps
    name: str
    threads: int
    torch: str
    flops: dict[str, float]  # operations per second of a large matrix product, by precision
    bandwidth: float  # bytes per second of a large copy, read and written


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are in milliseconds per call."""

    name: str
    median_ms: float | None = None
    low_ms: float | None = None  # first quartile
    high_ms: float | None = None  # third quartile
    rounds: int = 0
    times_first: float | None = None  # this median divided by that of the first line
    roofline_ms: float | None = None  # the least that the counted operations and bytes could take
    roofline_part: float | None = None  # roofline_ms / median_ms: 1 is perfect
    skipped: str = ""  # why there are no numbers


def benchmark(
    runs: Mapping[str, Callable[[], Any]],
    costs: Mapping[str, tuple[Cost, str]] | None = None,
    *,
    rounds: int = 20,
    warmup: int = WARMUP,
    machine: Machine | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Time the named callables in turns. ``costs``: name -> (operations and bytes, "fp32" or "bf16"), for the roofline.

    A callable that does not fit into memory becomes a line with the reason. Ctrl-C ends the measuring and keeps what
    there is. ``progress(done, total)`` is called after each round. Raises ValueError for no runs or rounds < 1.
    """
    if not runs or rounds < 1:
        raise ValueError(f"Expected at least one named callable and one round, got {len(runs)} and rounds = {rounds}.")
    times: dict[str, list[float]] = {name: [] for name in runs}
    skipped: dict[str, str] = {}
    with contextlib.suppress(KeyboardInterrupt):
        for done in range(-warmup, rounds):
            for name in [name for name in runs if name not in skipped]:
                try:
                    taken = once(runs[name], device)
                except (RuntimeError, MemoryError) as error:
                    skipped[name] = _too_large(error)
                else:
                    times[name] += [taken] if done >= 0 else []
            if progress is not None:
                progress(done + warmup + 1, rounds + warmup)
    return _rows(times, skipped, costs or {}, machine)


def once(run: Callable[[], Any], device: str = "cpu", clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds of one call, with everything it started finished. On a GPU its own clock, else ``clock`` (seconds)."""
    if device.startswith("cuda"):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        began.record()
        run()
        ended.record()
        torch.cuda.synchronize()
        return began.elapsed_time(ended)
    wait = torch.mps.synchronize if device.startswith("mps") else lambda: None
    wait()
    began_s = clock()
    run()
    wait()
    return 1000 * (clock() - began_s)


def roofline_ms(cost: Cost, precision: str, machine: Machine) -> float:
    """The longer of two times: all operations at the machine's best rate, all bytes at its best rate."""
    return 1000 * max(cost.flops / machine.flops[precision], cost.bytes / machine.bandwidth)


def probe(device: str = "cpu", size: int | None = None, clock: Callable[[], float] = time.perf_counter) -> Machine:
    """Measure this machine: the best of a few large matrix products, and of a few large copies. About a second.

    On a busy CPU ``clock=time.process_time`` with one thread gives the rates of a core that nobody else wants.
    """
    size = size or (8192 if device.startswith("cuda") else 1024)
    flops = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.ones(size, size, dtype=dtype, device=device)
        flops[precision] = 2 * size**3 / best_seconds(lambda a=a: a @ a, device, clock=clock)
    source = torch.ones(32 * size * size, device=device)  # far larger than any cache
    target = torch.empty_like(source)
    copied = best_seconds(lambda: target.copy_(source), device, clock=clock)
    bandwidth = 2 * source.numel() * source.element_size() / copied
    return Machine(device, device_name(device), torch.get_num_threads(), torch.__version__, flops, bandwidth)


def best_of(*probes: Machine) -> Machine:
    """The highest rates of several probes: on a busy machine some of them were disturbed."""
    flops = {precision: max(p.flops[precision] for p in probes) for precision in probes[0].flops}
    return replace(probes[0], flops=flops, bandwidth=max(p.bandwidth for p in probes))


def best_seconds(run: Callable[[], Any], device: str, tries: int = 20, clock: Callable = time.perf_counter) -> float:
    """The shortest of a few calls: what the hardware can do when nothing disturbs it."""
    return min(once(run, device, clock) for _ in range(tries)) / 1000


def device_name(device: str) -> str:
    """The processor's name."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _too_large(error: Exception) -> str:
    """The reason in one line, if it is memory; any other error is a bug and goes on."""
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in FULL):
        raise error
    return f"does not fit into memory ({str(error).splitlines()[0][:100] if str(error) else 'MemoryError'})"


def _rows(
    times: Mapping[str, list[float]],
    skipped: Mapping[str, str],
    costs: Mapping[str, tuple[Cost, str]],
    machine: Machine | None,
) -> list[Row]:
    rows, first = [], None
    for name, ms in times.items():
        if name in skipped or not ms:
            rows.append(Row(name, skipped=skipped.get(name, "stopped before its first round")))
            continue
        median = statistics.median(ms)
        low, _, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else (median,) * 3
        first = first or median
        floor = roofline_ms(*costs[name], machine) if machine is not None and name in costs else None
        rows.append(Row(name, median, low, high, len(ms), median / first, floor, floor and floor / median))
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text; budgets are parts of the paper's 100 ms for the network and of a control step at 3 Hz."""
    width = max(len(row.name) for row in rows)
    budgets = "  ".join(f"{f'of {name}':>9}" for name in BUDGETS_MS)
    lines = [f"{'':{width}}  {'ms':>8}  {'quartiles':>17}  {'x first':>7}  {'roofline':>8}  {'part':>5}  {budgets}"]
    for row in rows:
        if row.median_ms is None:
            lines.append(f"{row.name:{width}}  skipped: {row.skipped}")
            continue
        spread = f"{row.low_ms:.2f} ... {row.high_ms:.2f}"
        floor = f"{row.roofline_ms:8.2f}  {row.roofline_part:5.0%}" if row.roofline_ms else f"{'':8}  {'':5}"
        parts = "  ".join(f"{row.median_ms / ms:9.0%}" for ms in BUDGETS_MS.values())
        lines.append(f"{row.name:{width}}  {row.median_ms:8.2f}  {spread:>17}  {row.times_first:7.2f}  {floor}  {parts}")
    return "\n".join(lines)


def save(rows: list[Row], machine: Machine, path: str | Path) -> None:
    """Write the table, whole or not at all: ``.json`` with the machine, anything else as CSV."""
    path = Path(path)
    if path.suffix == ".json":
        text = json.dumps({"machine": asdict(machine), "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
    else:
        text = as_csv(rows)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text)
    os.replace(beside, path)


def as_csv(rows: list[Row]) -> str:
    """One line per row, numbers with four digits."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(f.name for f in fields(Row))
    for row in rows:
        lines.writerow(f"{v:.4g}" if isinstance(v, float) else "" if v is None else v for v in asdict(row).values())
    return out.getvalue()


def find(name: str) -> Any:
    """What ``module:name`` names. Raises ValueError when there is no such module or name."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"Expected module:name, such as {DEFAULT}, got {name!r} ({error}).") from error


def runs_of(what: Any, preset: str, device: str) -> tuple[dict[str, Callable], dict[str, tuple[Cost, str]]]:
    """Named callables and their costs, from a policy class with a config, or from a function that makes them."""
    if not hasattr(what, "config_class"):
        return what(preset=preset, device=device)
    presets = what.config_class
    if not hasattr(presets, preset):
        raise ValueError(f"{presets.__name__} has no preset {preset!r}. Try paper or tiny.")
    config = getattr(presets, preset)()
    return {f"act(), {preset}": act_once(what(config).to(device).eval(), config)}, {}


def act_once(policy: Policy, config: Any) -> Callable[[], Any]:
    """One control step on a picture of noise, with the policy's memory already full."""
    batch = config.fake_batch(1)
    observation = {"image": batch["images"][0, 0].numpy(), "instruction": batch["instruction"][0].numpy()}
    policy.reset()
    for _ in range(config.history):
        policy.act(observation)
    return lambda: policy.act(observation)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.measure.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default=DEFAULT, help="module:name of a policy class or of a function (above)")
    parser.add_argument("--preset", default="paper", help="the config's size: paper (default) or tiny")
    parser.add_argument("--rounds", type=int, default=20, help="timed calls of each (default 20)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU (default: torch's choice)")
    parser.add_argument("--out", type=Path, help="also write the table: .csv or .json")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        runs, costs = runs_of(find(options.what), options.preset, options.device)
        machine = best_of(*(probe(options.device) for _ in range(2)))
        with tqdm(total=options.rounds + WARMUP, unit="round", disable=not sys.stderr.isatty()) as bar:
            kind = {"rounds": options.rounds, "machine": machine, "device": options.device}
            rows = benchmark(runs, costs, **kind, progress=lambda done, total: bar.update())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    rates = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in machine.flops.items())
    print(f"{machine.name} ({machine.device}), {machine.threads} threads, torch {machine.torch}")
    print(f"measured here: {rates}, {machine.bandwidth / 1e9:.1f} GB/s\n\n{table(rows)}")
    if options.out:
        save(rows, machine, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The decoding-speed lab: more models than fit at once, made one after the other, timed, or skipped with the reason.

    python -m course_lib.measure.lab                           everything that fits on the best device here
    python -m course_lib.measure.lab --device cpu --only "RT-2 tiny" --only "RT-1" --rounds 10 --out lab.csv

A ``Group`` is a model with several calls; ``benchmark`` times them in turns, so "x first" compares within a group: with
one pass through the same model. Which groups there are is looked up by name, as in ``measure.speed``. In a notebook:
``classroom.LabPanel``, which runs it in a process of its own (``measure.lab_process``).
"""

import argparse
import csv
import gc
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from course_lib.measure.devices import devices, memory, too_large
from course_lib.measure.speed import FULL, WARMUP, Cost, Machine, Row, benchmark, best_of, find, probe, save

GROUPS = "course_lib.classroom.speed_lab:groups"
RATES = (1, 3, 5)  # Hz: RT-2 of 55 billion weights, RT-1's control rate, RT-2 of 5 billion (RT-2, section 3.3)


@dataclass(frozen=True)
class Group:
    """Calls that share a model, which is made when their turn comes. ``costs`` as for ``benchmark``."""

    name: str
    needs: int  # bytes of memory, roughly
    make: Callable[[], Mapping[str, Callable[[], Any]]]
    costs: Mapping[str, tuple[Cost, str]] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)  # calls that this device does not know, each with the reason
    by_name: str = ""  # why it is timed only when it is asked for by its name


def time_groups(
    groups: Iterable[Group],
    *,
    device: str = "cpu",
    rounds: int = 10,
    machine: Machine | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str, int, int], Any] = lambda name, done, total: None,
    finished: Callable[[list[Row]], Any] = lambda rows: None,
) -> list[Row]:
    """Rows of all groups, each named "group: call". What does not fit is a row with the reason, and nothing breaks.

    ``stop()`` is asked after every round; when it says True, or at Ctrl-C, what was measured is kept and the other groups
    become rows that say so. ``progress(group, done, total)`` is called after every round, ``finished(rows)`` with the rows
    of each group as soon as they are known.
    """
    rows: list[Row] = []
    halted = False
    for group in groups:
        reason = "stopped before its turn" if halted or stop() else too_large(group.needs, device)
        if reason:
            rows.append(Row(group.name, skipped=reason))
            finished(rows[-1:])
            continue

        def after(done: int, total: int, name: str = group.name) -> None:
            progress(name, done, total)
            if stop():
                raise KeyboardInterrupt

        new, halted = _one(group, device, rounds, machine, after)
        rows += new
        try:
            finished(new)
            _free(device)
        except KeyboardInterrupt:  # between two groups
            halted = True
    return rows


def _one(
    group: Group, device: str, rounds: int, machine: Machine | None, after: Callable[[int, int], None]
) -> tuple[list[Row], bool]:
    """A group's rows, and whether it was interrupted."""
    try:
        runs = group.make()
    except KeyboardInterrupt:
        return [Row(group.name, skipped="stopped before its turn")], True
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in FULL):
            raise
        return [Row(group.name, skipped="does not fit into memory")], False
    rows = benchmark(runs, group.costs, rounds=rounds, machine=machine, device=device, progress=after) if runs else []
    short = any(row.rounds < rounds and (not row.skipped or "stopped" in row.skipped) for row in rows)
    rows += [Row(name, skipped=reason) for name, reason in group.cannot.items()]
    return [Row(**vars(row) | {"name": f"{group.name}: {row.name}"}) for row in rows], short


def chosen(groups: Iterable[Group], names: Iterable[str] = ()) -> tuple[list[Group], list[Row]]:
    """The groups whose names begin with one of ``names``; without names all but those that want to be asked for, which
    become rows that say why."""
    names = tuple(names)
    if names:
        return [group for group in groups if group.name.startswith(names)], []
    everything = list(groups)
    left_out = [Row(group.name, skipped=group.by_name) for group in everything if group.by_name]
    return [group for group in everything if not group.by_name], left_out


def _free(device: str) -> None:
    """What the last group held, back to the machine."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()


def hertz(row: Row) -> float | None:
    """Answers per second, one after the other."""
    return None if row.median_ms is None else 1000 / row.median_ms


def lab_table(rows: list[Row]) -> str:
    """The rows as text: time, times one pass, answers per second, which control rates that reaches, and the roofline."""
    width = max((len(row.name) for row in rows), default=4)
    heads = f"{'ms':>9}  {'quartiles':>19}  {'x first':>7}  {'Hz':>8}  {'reaches':>7}  {'floor ms':>8}  {'part':>5}"
    lines = [f"{'':{width}}  {heads}"]
    for row in rows:
        rate = hertz(row)
        if rate is None:
            lines.append(f"{row.name:{width}}  skipped: {row.skipped}")
            continue
        reached = max((r for r in RATES if rate >= r), default=0)
        says = f"{reached} Hz" if reached else "-"
        spread = f"{row.low_ms:.2f} ... {row.high_ms:.2f}"
        floor = f"{row.roofline_ms:8.3f}  {row.roofline_part:5.0%}" if row.roofline_ms else f"{'':8}  {'':5}"
        numbers = f"{row.median_ms:9.2f}  {spread:>19}  {row.times_first:7.2f}  {rate:8.1f}  {says:>7}  {floor}"
        lines.append(f"{row.name:{width}}  {numbers}")
    return "\n".join(lines)


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a CSV that ``measure.speed.save`` wrote. Raises ValueError for another table."""
    kinds = [f.name for f in fields(Row)]
    with Path(path).open(newline="") as file:
        table = csv.DictReader(file)
        if table.fieldnames != kinds:
            raise ValueError(
                f"Expected a table with the columns {', '.join(kinds)}; {Path(path).name} has {table.fieldnames}. "
                "Try one that python -m course_lib.measure.lab --out lab.csv wrote."
            )
        text = {"name", "skipped"}
        number = {name: int if name == "rounds" else float for name in kinds if name not in text}
        return [
            Row(**{name: value if name in text else number[name](value) if value else None for name, value in line.items()})
            for line in table
        ]


def machine_card(machine: Machine) -> str:
    """The device in words: its memory, and what the probe measured."""
    free, total = memory(machine.device)
    rates = ", ".join(f"{name} {flops / 1e9:,.0f} GFLOP/s" for name, flops in machine.flops.items())
    return (
        f"{machine.name} ({machine.device}), {machine.threads} threads, torch {machine.torch}; {total / 1e9:.0f} GB memory, "
        f"{free / 1e9:.0f} GB free\nmeasured here: {rates}, {machine.bandwidth / 1e9:.1f} GB/s"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.measure.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default=GROUPS, help="module:name of a function that makes groups for a device")
    parser.add_argument("--device", default=devices()[0], choices=devices(), help="where (default: the best here)")
    parser.add_argument("--only", action="append", default=[], help="only groups whose names begin so; may be repeated")
    parser.add_argument("--rounds", type=int, default=10, help="timed calls of each (default 10)")
    parser.add_argument("--out", type=Path, help="also write the table: .csv or .json")
    options = parser.parse_args(arguments)
    try:
        groups, left_out = chosen(find(options.what)(options.device), options.only)
        machine = best_of(*(probe(options.device) for _ in range(2)))
        print(f"{machine_card(machine)}\n")
        with tqdm(total=len(groups) * (options.rounds + WARMUP), disable=not sys.stderr.isatty()) as bar:
            how = {"device": options.device, "rounds": options.rounds, "machine": machine}
            rows = time_groups(groups, **how, progress=lambda name, *_: (bar.set_postfix_str(name), bar.update()))
            rows += left_out
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(lab_table(rows) if rows else f"No group's name begins with {' or '.join(map(repr, options.only))}.")
    if options.out:
        save(rows, machine, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

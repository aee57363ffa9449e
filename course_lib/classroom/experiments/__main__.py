"""The command of the experiments of both days: start, resume, keep.

    python -m course_lib.classroom.experiments                         what there is, and how far it is
    python -m course_lib.classroom.experiments scaling                 do what is missing (resumes), then keep it
    python -m course_lib.classroom.experiments decoding language       several, seed 0 of all first
    python -m course_lib.classroom.experiments scaling --workers 2     processes at a time (default: one per GPU, else core)
    python -m course_lib.classroom.experiments scaling --scheduler tcp://10.0.0.5:8786    on the workers of a Dask cluster
    python -m course_lib.classroom.experiments --keep                  only write the finished runs into data/

Ctrl-C is fine at any time: finished runs are kept, and the same command goes on.
"""

import argparse
import sys
from types import ModuleType

from course_lib.classroom.experiments import (
    attention,
    decoding,
    diversity,
    film_start,
    language,
    ratio,
    rows,
    scaling,
    transfer,
)  # fmt: skip
from course_lib.classroom.recipes import current_commit, hardware
from course_lib.learn.sweep import Run, SweepError, file_name, sweep

EXPERIMENTS: dict[str, ModuleType] = {
    "decoding": decoding,
    "language": language,
    "scaling": scaling,
    "film_start": film_start,
    "attention": attention,
    "diversity": diversity,
    "transfer": transfer,
    "ratio": ratio,
}
DAY_OF_WORK = {module.WORK: rows.day_of(module) for module in EXPERIMENTS.values()}


def plan(names: list[str], seeds: int) -> list[tuple[str, list[Run]]]:
    """What to do in which order, as (work, runs): seed by seed, each run once (experiments share some).

    Neighbours with the same work are one sweep, so that no worker waits for the end of an experiment.
    """
    out: list[tuple[str, list[Run]]] = []
    done: set[str] = set()
    for seed in range(seeds):
        for name in names:
            module = EXPERIMENTS[name]
            new = [run for run in module.runs(seeds) if run["seed"] == seed and file_name(run) not in done]
            done |= set(map(file_name, new))
            if out and out[-1][0] == module.WORK:
                out[-1][1].extend(new)
            elif new:
                out.append((module.WORK, new))
    return out


def main(arguments: list[str] | None = None) -> int:
    """Run, keep, or list."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.classroom.experiments", description=__doc__.split("\n")[0],
    )  # fmt: skip
    parser.add_argument("names", nargs="*", help=f"which experiments: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds of each setting")
    parser.add_argument("--workers", type=int, help="processes at a time")
    parser.add_argument("--scheduler", help="address of a Dask scheduler")
    parser.add_argument("--keep", action="store_true", help="only write the finished runs into data/")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in EXPERIMENTS]:
        parser.error(f"there is no experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    if asked.workers is not None and asked.workers < 1:
        parser.error(f"--workers is at least 1, got {asked.workers}")
    rows.restore()
    failed = None
    about = {"commit": current_commit(), "hardware": hardware()}
    try:
        for work, runs in plan([] if asked.keep else asked.names, asked.seeds):
            try:
                sweep(
                    work, runs, rows.folder(DAY_OF_WORK[work]), workers=asked.workers, scheduler=asked.scheduler, about=about
                )
            except SweepError as error:
                failed = error
                print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. The finished runs are kept; the same command goes on.", file=sys.stderr)
    if asked.keep or asked.names:
        rows.keep(EXPERIMENTS)
    for name, module in EXPERIMENTS.items():
        runs = module.runs(asked.seeds)
        print(f"{name:<10} {len(rows.rows_of(runs)):>3} of {len(runs)} runs kept: {module.TITLE}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

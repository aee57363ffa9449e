"""A sweep: many independent runs, one row of results each, over processes, GPUs or the machines of a Dask cluster.

A run is a dictionary of settings; ``work(run, report)`` returns a dictionary of results. Each row is a small JSON file that
is written beside and renamed, so it is there whole or not at all, and a sweep that is started again does what is missing.
Every run has a process of its own: one that fails or is killed loses itself and nothing else.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from tqdm.auto import tqdm

Run = dict[str, Any]
LOOK = 0.2  # seconds between two looks at the workers
BAR = "sweep: {percentage:3.0f}% |{bar}| {n:.2f} of {total} runs [{elapsed}, {remaining} left{postfix}]"
RETRIES = 2  # how many Dask workers a run may lose
NO_DASK = "A scheduler needs Dask, which is not installed. Try, here and on every worker: pip install distributed"


class SweepError(RuntimeError):
    """Some runs have no row; the others have theirs."""


def sweep(
    work: str,
    runs: Sequence[Run],
    folder: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    about: Run | None = None,
    progress: bool = True,
) -> list[Run]:
    """The rows of all ``runs``, in their order; runs without a row in ``folder`` are done first.

    ``work`` is "module:function"; the function gets a run and ``report(part)``, which it may call with the part done
    (0 to 1), and returns results that fit into JSON. A row is ``{"run", "result", "seconds", "date"}`` and what ``about``
    adds (such as the commit). ``workers``: processes at a time, by default one per GPU, else per core; each is given its
    own GPU. ``scheduler``: the address of a Dask scheduler, whose workers then do the runs.
    Ctrl-C stops the workers; the same call goes on. Raises SweepError at the end if runs failed, ValueError for
    repeated runs and for settings that do not fit into JSON.
    """
    folder = Path(folder)
    paths = {file_name(run): run for run in runs}
    if len(paths) < len(runs):
        raise ValueError(f"Expected runs that differ, got {len(runs)} runs of which {len(paths)} are different.")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [run for name, run in paths.items() if not (folder / name).exists()]
    gpus = torch.cuda.device_count()
    workers = (gpus or os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f"Expected at least one worker, got {workers}.")
    looks = {"bar_format": BAR, "smoothing": 0, "mininterval": 1, "disable": not progress}
    with tqdm(total=len(runs), initial=len(runs) - len(missing), **looks) as bar:
        if scheduler:
            failed = _over_dask(work, missing, folder, scheduler, about or {}, bar)
        else:
            failed = _here(work, missing, folder, min(workers, len(missing)), gpus, about or {}, bar)
    if failed:
        why = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise SweepError(f"{len(failed)} of {len(runs)} runs failed; the others have their rows in {folder}:\n{why}")
    return [read_row(folder / name, run) for name, run in paths.items()]


def file_name(run: Run) -> str:
    """The name of a run's row: readable, and different for different settings. Raises ValueError for what is not JSON."""
    try:
        text = json.dumps(run, sort_keys=True, allow_nan=False)
        again = json.loads(text)  # with its keys in order: so the order of the settings does not matter
    except (TypeError, ValueError) as error:
        raise ValueError(f"A run is a dictionary of texts, numbers, lists and None; got {run!r} ({error}).") from error
    if again != run:
        raise ValueError(f"A run must come back from JSON as it went in (no tuples, only text as keys); got {run!r}.")
    words = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(str(value) for value in again.values())).strip("-")
    return f"{words[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


def finished(runs: Sequence[Run], folder: str | Path) -> list[Run]:
    """The rows that exist already, in the order of ``runs``."""
    paths = [(Path(folder) / file_name(run), run) for run in runs]
    return [read_row(path, run) for path, run in paths if path.exists()]


def read_row(path: Path, run: Run) -> Run:
    """A row from its file. Raises ValueError if it is not this run's."""
    row = json.loads(path.read_text())
    if row["run"] != run:
        raise ValueError(f"{path} holds the row of another run: expected {run}, got {row['run']}. Delete the file.")
    return row


def write_row(row: Run, folder: str | Path) -> Path:
    """Put a row into its file, whole or not at all."""
    path = Path(folder) / file_name(row["run"])
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps(row, indent=1, allow_nan=False) + "\n")
    os.replace(beside, path)
    return path


def one_row(work: str, run: Run, about: Run, report: Callable[[float], Any] = lambda part: None) -> Run:
    """Do one run, in this process. Raises ValueError if ``work`` is not "module:function"."""
    module, _, function = work.partition(":")
    if not function:
        raise ValueError(f"Expected work as 'module:function', got {work!r}.")
    began = time.perf_counter()
    result = getattr(importlib.import_module(module), function)(run, report)
    seconds = round(time.perf_counter() - began, 1)
    return {"run": run, **about, "seconds": seconds, "date": time.strftime("%Y-%m-%d"), "result": result}


@dataclass
class _Child:
    """A worker process with its run."""

    run: Run
    process: subprocess.Popen
    log: IO[bytes]
    told: Path  # a file in which it says how far it is

    @classmethod
    def start(cls, work: str, run: Run, folder: Path, about: Run, environment: dict[str, str]) -> "_Child":
        told = folder / f".{file_name(run)}.{os.getpid()}.progress"
        log = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop()
        command = [sys.executable, "-m", "course_lib.learn.sweep", work, *map(json.dumps, (run, about))]
        process = subprocess.Popen([*command, str(folder), str(told)], stdout=log, stderr=log, env=environment)
        return cls(run, process, log, told)

    def part(self) -> float:
        """How much of the run is done, as far as it told."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return min(max(float(self.told.read_text()), 0.0), 1.0)
        return 0.0

    def stop(self) -> str:
        """End it if it still works; the last line it printed."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        self.log.close()
        self.told.unlink(missing_ok=True)
        return lines[-1] if lines else "no output"


def _environment(slot: int, workers: int, gpus: int) -> dict[str, str]:
    """A share of the cores, an own GPU, and the same modules as here."""
    cores = str(max(1, (os.cpu_count() or 1) // workers))
    own = {"OMP_NUM_THREADS": cores, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return os.environ | own | ({"CUDA_VISIBLE_DEVICES": str(slot % gpus)} if gpus else {})


def _here(work: str, runs: list[Run], folder: Path, workers: int, gpus: int, about: Run, bar: tqdm) -> dict[str, str]:
    """Do the runs in processes of this machine; returns the failed ones with the reason."""
    waiting, going, failed, done = list(runs), {}, {}, bar.n
    try:
        while waiting or going:
            free = (slot for slot in range(workers) if slot not in going)
            for slot in list(free)[: len(waiting)]:
                going[slot] = _Child.start(work, waiting.pop(0), folder, about, _environment(slot, workers, gpus))
            time.sleep(LOOK)
            for slot, child in list(going.items()):
                if child.process.poll() is not None:
                    last = going.pop(slot).stop()
                    code, name = child.process.returncode, file_name(child.run)
                    if code:
                        failed[name] = f"ended with {code} ({last})" if code > 0 else f"killed by signal {-code}"
                    done += 1
            bar.set_postfix_str(f"{len(failed)} failed" if failed else "", refresh=False)
            bar.update(done + sum(child.part() for child in going.values()) - bar.n)
    finally:
        for child in going.values():
            child.stop()
    return failed


def _over_dask(work: str, runs: list[Run], folder: Path, scheduler: str, about: Run, bar: tqdm) -> dict[str, str]:
    """Do the runs on the workers of a Dask cluster; the rows are written here."""
    failed = {}
    with _cluster(scheduler) as (client, as_completed):
        asked = {client.submit(one_row, work, run, about, pure=False, retries=RETRIES): run for run in runs}
        for future in as_completed(list(asked)):
            error = future.exception()
            if error is None:
                write_row(future.result(), folder)
            else:
                failed[file_name(asked[future])] = str(error)
            bar.update()
    return failed


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[tuple[Any, Callable]]:
    if importlib.util.find_spec("distributed") is None:
        raise ValueError(NO_DASK)
    from distributed import Client, as_completed  # noqa: PLC0415  (an optional extra)

    try:
        client = Client(scheduler, timeout=10)
    except OSError as error:
        raise ValueError(f"No Dask scheduler answers at {scheduler}. Start one: dask scheduler") from error
    with client:
        yield client, as_completed


def main(arguments: list[str]) -> None:
    """What a worker process does: WORK RUN ABOUT FOLDER TOLD."""
    work, run, about, folder, told = arguments
    path = Path(told)

    def report(part: float) -> None:
        beside = path.with_name(path.name + ".part")
        beside.write_text(f"{part:.4f}")
        os.replace(beside, path)

    write_row(one_row(work, json.loads(run), json.loads(about), report), folder)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Many submissions at once: over the cores of this machine, or over the machines of a Dask cluster.

Answers travel in batches. A batch shares one sandbox, and with it the two seconds that importing torch takes; each answer in
it still runs in a process of its own behind its own walls. What comes back are verdicts; whoever asked for them writes them
down, here, alone. A Dask worker that dies loses nothing: its batches go to another one.
"""

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from course_lib.grading import edition
from course_lib.grading.sandbox import Limits, Sandbox
from course_lib.grading.score import Question, decide
from course_lib.grading.verdicts import Verdict, from_json, to_json

SHARED = 5  # submissions in a batch; 1 is the most careful, and costs two seconds for each
PATIENCE = 10  # seconds for a scheduler to answer
RETRIES = 3  # how many workers a batch may lose
NO_DASK = "--scheduler needs Dask, which is not installed. Try, here and on every worker: pip install -e '.[fan-out]'"


def ask_everybody(
    asked: dict[str, dict[str, Question]],
    sandbox: Sandbox,
    modules: tuple[str, ...],
    *,
    jobs: int = 2,
    scheduler: str | None = None,
    shared: int = SHARED,
) -> Iterator[dict[str, dict[str, Verdict]]]:
    """Verdicts by question key, batch by batch as they come in. ``asked`` holds each student's questions by their keys.

    Raises SandboxBroken when the sandbox fails, ValueError for a worker with another version of course_lib.
    """
    about = {"limits": asdict(sandbox.limits), "unsafe": sandbox.unsafe, "modules": modules, "version": edition.version()}
    stop = threading.Event()
    here = {} if scheduler else {"stop": stop}  # an event does not travel
    with _executor(jobs, scheduler) as executor:
        waiting = [executor.submit(try_batch, batch, **about, **here) for batch in _batches(asked, jobs, shared)]
        try:
            for done in as_completed(waiting):
                yield {key: from_json(plain) for key, plain in done.result().items()}
        finally:
            stop.set()
            for future in waiting:
                future.cancel()


def _batches(asked: dict[str, dict[str, Question]], jobs: int, shared: int) -> Iterator[dict[str, dict[str, Any]]]:
    """A few students' questions at a time, as plain dictionaries; equal answers only once."""
    names, seen = list(asked), set()
    size = max(1, min(shared, len(names) // jobs))
    for start in range(0, len(names), size):
        questions = {key: question for name in names[start : start + size] for key, question in asked[name].items()}
        new = {key: asdict(question) for key, question in questions.items() if key not in seen}
        seen |= set(new)
        if new:
            yield new


def try_batch(
    batch: dict[str, dict[str, Any]],
    limits: dict[str, Any],
    unsafe: bool,
    modules: tuple[str, ...],
    version: str,
    stop: threading.Event | None = None,
) -> dict[str, dict[str, Any]]:
    """The verdicts on one batch, by question key; on whatever machine this runs. Ends early when ``stop`` is set."""
    if version != edition.version():
        raise ValueError("A worker has another version of course_lib than the grader. Update it, and start it again.")
    found = {}
    with Sandbox(Limits(**limits), unsafe=unsafe).open(modules) as room:
        for key, question in batch.items():
            if stop is not None and stop.is_set():
                break
            found[key] = to_json(decide(Question(**question), room))
    return found


@contextlib.contextmanager
def _executor(jobs: int, scheduler: str | None) -> Iterator[Executor]:
    """Threads of this process (the work is in the sandboxes), or a Dask cluster by the address of its scheduler."""
    if scheduler is None:
        with ThreadPoolExecutor(jobs) as executor:
            yield executor
        return
    if importlib.util.find_spec("distributed") is None:
        raise ValueError(NO_DASK)
    from distributed import Client  # noqa: PLC0415  (an optional extra)

    try:
        client = Client(scheduler, timeout=PATIENCE)
    except OSError as error:
        raise ValueError(f"No Dask scheduler answers at {scheduler}. Start one: dask scheduler") from error
    with client, client.get_executor(pure=False, retries=RETRIES) as executor:
        yield executor

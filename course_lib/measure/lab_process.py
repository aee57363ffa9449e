"""The decoding-speed lab in a process of its own, as a notebook needs it.

    process = LabProcess(["RT-1 tiny, 1 at once"], device="cpu", rounds=10)
    for event in process.events(): ...      # {"machine"}, {"group", "done", "total", "left_s" ...}, {"rows"}
    process.stop()                          # from anywhere: what was measured is still told, then the events end

Why not a thread of the kernel: both would share Python's one lock, and what is timed, a few hundred short calls from
Python, would wait whenever the kernel talks to the browser. A process of its own also cannot take the kernel with it when
memory runs out, gives all of its memory back, and can be ended in the middle of a long call. It is told to stop by the
end of its input, which also comes when the notebook's kernel dies: no measurement is left behind.
"""

import _thread
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from course_lib.measure.lab import GROUPS, time_groups
from course_lib.measure.speed import best_of, find, probe

Event = dict[str, Any]
EVERY = 0.5  # seconds between two messages: each takes the notebook a millisecond of a core


class LabProcess:
    """A running measurement of the groups with these names. ``what`` names the function that makes them, as in the lab."""

    def __init__(self, names: Sequence[str], *, device: str = "cpu", rounds: int = 10, what: str = GROUPS):
        if not names or rounds < 1:
            raise ValueError(f"Expected names of groups and at least one round, got {list(names)} and {rounds}.")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        command = [sys.executable, "-m", __name__, what, device, str(rounds), *names]
        where = {"PYTHONPATH": os.pathsep.join(sys.path)}  # it finds the same modules
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, text=True, env=os.environ | where, **pipes)
        self._told = False

    def events(self) -> Iterator[Event]:
        """What it says while it measures; the last is {"failed": why} if it ended otherwise than by itself or ``stop``."""
        for line in self._process.stdout:
            yield json.loads(line)
        code = self._process.wait()
        if code and not self._told:
            yield {"failed": self._reason(code)}
        self._process.stdout.close()
        self._errors.close()

    def stop(self) -> None:
        """End the measurement after the call that is running, and keep its rounds; at the second time, at once."""
        if self._told:
            self._process.kill()
            return
        self._told = True
        with contextlib.suppress(BrokenPipeError):  # it has just ended
            self._process.stdin.close()

    def _reason(self, code: int) -> str:
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        if code < 0:
            return f"The system ended it (signal {-code}): most likely its memory was full. Try a smaller group."
        return said[-1] if said else f"It ended with exit code {code}."


def measure(what: str, device: str, rounds: int, names: Sequence[str], say: Callable[[Event], Any]) -> None:
    """Time the groups with these names, in the lab's order, and ``say`` the machine, the progress, the rows."""
    groups = [group for group in find(what)(device) if group.name in names]
    missing = sorted(set(names) - {group.name for group in groups})
    if missing:
        raise ValueError(f"There is no group {missing} on {device}. python -m course_lib.measure.lab --help says more.")
    machine = best_of(*(probe(device) for _ in range(2)))
    say({"machine": asdict(machine)})
    places = {group.name: i for i, group in enumerate(groups)}
    clock = _Clock()

    def progress(name: str, done: int, total: int) -> None:
        left = clock.left(name, done, total)
        if clock.is_time() or done == total:
            say({"group": name, "place": places[name], "groups": len(groups), "done": done, "total": total, "left_s": left})

    kind = {"device": device, "rounds": rounds, "machine": machine}
    time_groups(groups, **kind, progress=progress, finished=lambda rows: say({"rows": [asdict(row) for row in rows]}))


class _Clock:
    """When to speak, and how many seconds a group has left: by its rounds so far, without the first, which is slow."""

    def __init__(self) -> None:
        self._spoke, self._name, self._began = 0.0, "", 0.0

    def left(self, name: str, done: int, total: int) -> float | None:
        """Seconds that the group still needs; None in its first round."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._began, self._first = name, now, done
        return (total - done) * (now - self._began) / (done - self._first) if done > self._first else None

    def is_time(self) -> bool:
        """Whether the last message was long enough ago."""
        now = time.monotonic()
        if now - self._spoke < EVERY:
            return False
        self._spoke = now
        return True


class _Channel:
    """Says events as JSON lines, each whole: an interrupt that comes while one is written waits until it is out."""

    def __init__(self) -> None:
        self._out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not come between the lines
        self._busy = self._wanted = False
        signal.signal(signal.SIGINT, self._interrupt)

    def say(self, event: Event) -> None:
        """Write one line; raises KeyboardInterrupt afterwards if one came meanwhile."""
        self._busy = True
        print(json.dumps(event), file=self._out, flush=True)
        self._busy = False
        if self._wanted:
            self._wanted = False
            raise KeyboardInterrupt

    def _interrupt(self, *_: Any) -> None:
        if not self._busy:
            raise KeyboardInterrupt
        self._wanted = True


def main() -> int:
    """What ``LabProcess`` starts: JSON lines on the output; the end of the input means stop."""
    what, device, rounds, *names = sys.argv[1:]
    channel = _Channel()
    threading.Thread(target=_interrupt_at_the_end_of_the_input, daemon=True).start()
    try:
        measure(what, device, int(rounds), names, channel.say)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):  # before the first group; or nobody listens any more
        return 2
    return 0


def _interrupt_at_the_end_of_the_input() -> None:
    while os.read(0, 1024):  # waits in the system, without Python's lock
        pass
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)  # also wakes a call that waits in the system
    else:
        _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main())

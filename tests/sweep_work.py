"""Runs for the tests of sweeps: quick, slow, failing, killed."""

import os
import signal
import time


def square(run, report):
    """The square of ``x``."""
    report(0.5)
    return {"square": run["x"] ** 2, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def moody(run, report):
    """Does what ``how`` says."""
    if run["how"] == "fail":
        raise ValueError("this run does not like its settings")
    if run["how"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if run["how"] == "slow":
        report(0.25)
        time.sleep(60)
    return {"how": run["how"]}


def meet(run, report):
    """Waits until the other run of the pair is there too: possible only if both work at the same time."""
    folder, me = run["folder"], run["me"]
    open(os.path.join(folder, me), "w").close()
    until = time.monotonic() + 50
    while len(os.listdir(folder)) < 2:
        if time.monotonic() > until:
            raise TimeoutError("alone")
        time.sleep(0.05)
    return {"met": True}

"""Groups for the lab's tests: calls that take a known time, models that do not fit, break, or wait to be asked for."""

import os
import signal
import time

from course_lib.measure.lab import Group


def sleeps(seconds):
    return lambda: time.sleep(seconds)


def groups(device):
    """Quick: calls of 1 and 4 ms. Endless: one of a tenth of a second. Killed: ends its process as the system would."""
    quick = {"one pass": sleeps(0.001), "8 tokens": sleeps(0.004)}
    yield Group("quick", 1, lambda: quick, cannot={"8 tokens, tf32": "another number format"})
    yield Group("endless", 1, lambda: {"call": sleeps(0.1)})
    yield Group("hangs", 1, lambda: {"call": sleeps(600)})
    yield Group("too large", 10**18, dict)
    yield Group("killed", 1, lambda: {"call": lambda: os.kill(os.getpid(), signal.SIGKILL)})
    yield Group("broken", 1, lambda: {"call": broken})
    yield Group("asked", 1, lambda: quick, by_name="compiles for a minute")


def broken():
    raise RuntimeError("shapes differ")

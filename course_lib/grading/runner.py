"""Inside bubblewrap: a warmed interpreter that answers questions one after the other, a fresh fork for each of them.

Three processes stand in a row, because importing torch takes two seconds and must not be paid for every question:

    parent    imports what the answers need, once. It never runs student code and reads nothing that student code wrote.
    minder    one for each question: leaves for new namespaces, keeps the time, ends everything, says how it ended.
    learner   the only one that runs student code, behind the inner walls (``walls``). Its report goes straight outside.

The parent talks with the grader over the socket that is its standard input; the learner has lost it before it begins.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from course_lib.grading import walls
from course_lib.grading.answer import report_on


def main() -> None:
    """Get warm, say so, then serve jobs until the socket closes; without inner walls, only one."""
    grader = socket.socket(fileno=0)
    order = json.loads(grader.recv(2**16))
    walls.close_to_others()
    for name in order["modules"]:
        with suppress(ImportError):  # the learner's own import will say so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is shared with the forks stays shared
    can_separate = order["walls"] and _can_separate()
    grader.send(json.dumps({"reusable": can_separate or not order["walls"]}).encode())
    while True:
        word, handles, _, _ = socket.recv_fds(grader, 16, 2)
        if not word:
            return
        minder = _fork(_mind, grader, *handles, order, can_separate)
        for handle in handles:
            os.close(handle)
        if os.waitpid(minder, 0)[1] != 0:
            return  # a minder that was killed may have left its learner behind: end everything


def _can_separate() -> bool:
    """May this user make namespaces here, twice (bubblewrap made the first)?"""
    return os.waitpid(_fork(walls.separate), 0)[1] == 0


def _fork(work: Callable[..., None], *arguments: object) -> int:
    """A child that does this work and nothing else; returns its number. It ends with 0, or with 1 after an error."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return child


def _mind(grader: socket.socket, job: int, report: int, order: dict, can_separate: bool) -> None:
    """Let one learner work, for so long; then say how it ended."""
    if can_separate:
        walls.separate()
    entered, entering = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    begin = time.monotonic()
    learner = _fork(_learn, job, report, entering, order, can_separate)
    os.close(entering)
    late = signal.sigtimedwait({signal.SIGCHLD}, order["seconds"]) is None
    with suppress(ProcessLookupError):
        os.kill(learner, signal.SIGKILL)  # the first process of its namespace: all the others end with it
    _, status, usage = os.wait4(learner, 0)
    with suppress(ProcessLookupError):
        os.killpg(learner, signal.SIGKILL)  # where there is no namespace
    end = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - begin, "late": late}
    end["entered"] = bool(select.select([entered], [], [], 0)[0] and os.read(entered, 1))
    grader.send(json.dumps({**end, "cpu_seconds": usage.ru_utime + usage.ru_stime}).encode())


def _learn(job: int, report: int, entering: int, order: dict, can_separate: bool) -> None:
    """Go behind the walls, then run student code; ends without giving it another turn."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    if can_separate:
        walls.cover_rooms(order["scratch_mb"], order["kept"])
    with os.fdopen(job, "rb") as file:
        block = file.read()
    walls.limit(order["memory_mb"], order["cpu_seconds"], order["file_mb"], order["processes"])
    if order["walls"]:
        walls.give_up_powers()
    os.write(entering, b"1")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the socket goes, and what student code prints goes nowhere
        os.dup2(nothing, stream)
    if report != 3:
        os.dup2(report, 3)
    os.closerange(4, 256)
    answer = report_on(block)
    while answer:
        answer = answer[os.write(3, answer) :]
    os._exit(0)


if __name__ == "__main__":
    main()
    os._exit(0)  # without the long goodbye of a process that has imported torch

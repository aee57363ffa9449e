"""Walls around student code: bubblewrap around a warm interpreter, and inner walls around each question's own process.

    bwrap [| setpriv] | python -I runner.py  ->  one fork for each question (``runner``, ``walls``)

Inside there are the interpreter and course_lib (read-only), an empty home in memory, and nothing else: no solutions, no
other submissions, no gradebook, no network, no other processes. Everything dies with the sandbox. As an ordinary user
bubblewrap makes a new user namespace; as root, the code gets a user number of its own that nobody else has.

Where a second namespace inside the first is forbidden, every question gets a bubblewrap of its own: as safe, two seconds
slower each. Not covered: memory is limited per process, and a GPU is not passed in; a hole in the kernel is a hole here.
"""

import functools
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from course_lib.grading import edition, runner
from course_lib.grading.walls import ROOMS

MISSING = (
    "Grading needs {tools}, which is not here, to keep submitted code away from this machine. On Debian or Ubuntu: "
    "apt-get install bubblewrap. Without it nothing is graded, unless you say --unsafe."
)
UNSAFE = (
    "UNSAFE: submitted code runs with your rights. It can read the solutions and every submission, change the gradebook, "
    "use the network and leave programs behind; only time, memory and file size are limited. Grade only code you trust."
)
PLAIN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
START = "import runpy, sys; sys.path.insert(0, {root!r}); runpy.run_path({script!r}, run_name='__main__')"
PATIENCE = 180  # seconds for the sandbox itself: to get warm, and beyond a question's own time limit


class SandboxBroken(RuntimeError):  # noqa: N818
    """The sandbox itself does not work: nobody's grade may suffer for that, so grading stops."""


@dataclass(frozen=True)
class Limits:
    """What one question may use."""

    seconds: float | int = 60  # on the clock; generous, because a busy machine is not the learner's fault
    cpu_seconds: int = 10  # of computing, per process
    memory_mb: int = 6000  # address space per process; torch alone takes 3300
    processes: int = 64  # threads count
    file_mb: int = 64  # each file, and the report
    scratch_mb: int = 64  # each of the writable places, which are in memory


@dataclass(frozen=True)
class Outcome:
    """What came out of the sandbox: a report (bytes from a stranger) or the reason why there is none."""

    report: bytes | None
    problem: str
    seconds: float


class Sandbox:
    """How jobs are kept in. Raises SandboxBroken where that is impossible; ``unsafe=True`` does without most walls."""

    def __init__(self, limits: Limits | None = None, *, unsafe: bool = False):
        self.limits, self.unsafe = limits or Limits(), unsafe
        needed = [] if unsafe else ["bwrap"] + (["setpriv"] if os.geteuid() == 0 else [])
        if missing := [tool for tool in needed if shutil.which(tool) is None]:
            raise SandboxBroken(MISSING.format(tools=" and ".join(missing)))
        tried = subprocess.run(self._command(["true"]), capture_output=True, text=True, check=False)
        if tried.returncode:
            raise SandboxBroken(f"The sandbox does not start here: {tried.stderr.strip() or tried.returncode}")

    def open(self, modules: tuple[str, ...] = ("torch",)) -> "Room":
        """A place for one submission's jobs, where ``modules`` are imported beforehand. Use it in a ``with`` block."""
        return Room(self, modules)

    def _command(self, inside: list[str]) -> list[str]:
        return inside if self.unsafe else ["bwrap", *self._walls(), "--", *_nobody(), *inside]

    def _walls(self) -> list[str]:
        size = str(self.limits.scratch_mb * 2**20)
        walls = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        walls += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
        if os.geteuid() == 0:  # these three are needed to become nobody inside, and are given up there
            walls += ["--cap-drop", "ALL"]
            for power in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                walls += ["--cap-add", power]
        else:
            walls += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        for name, value in {**PLAIN, "HOME": "/learner", "USER": "learner"}.items():
            walls += ["--setenv", name, value]
        room = ["--size", size, "--perms", "1777", "--tmpfs"]
        walls += [*room, "/tmp", *room, "/learner"]  # first: the checkout itself may lie below /tmp
        for folder in _parents([*_readable(), "/etc/ld.so.cache"]):
            if folder != "/tmp":
                walls += ["--perms", "0755", "--dir", folder]
        for place in _readable():
            source = str(edition.folder()) if place == str(edition.LIBRARY) else place
            link = os.path.islink(place) and place in SYSTEM  # /bin -> usr/bin; a linked .venv is shown as a folder
            walls += ["--symlink", os.readlink(place), place] if link else ["--ro-bind", source, place]
        walls += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]
        return [*walls, *room, "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/learner"]


class Room:
    """A running sandbox: it starts with its first job, again after a job that brought it down, and ends with the block."""

    def __init__(self, sandbox: Sandbox, modules: tuple[str, ...]):
        self.sandbox, self.limits, self.modules = sandbox, sandbox.limits, modules
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def run(self, job: bytes) -> Outcome:
        """Run one job (a block for ``runner``) in a process of its own and wait for its end.

        Raises SandboxBroken when the sandbox itself fails.
        """
        if self._process is None:
            self._begin()
        with tempfile.TemporaryFile() as job_in, tempfile.TemporaryFile() as out:
            job_in.write(job)
            job_in.seek(0)
            end = self._exchange([b"job"], [job_in.fileno(), out.fileno()])
            out.seek(0)
            report = out.read(self.limits.file_mb * 2**20)
        if end is None:
            self._end()
            return Outcome(None, "It brought the sandbox down. Does it use all memory?", 0.0)
        if not end["entered"]:
            self._fail("The sandbox failed before it came to the answer.")
        if not self._reusable:
            self._end()
        if end["code"] == 0 and report:
            return Outcome(report, "", end["seconds"])
        return Outcome(None, self._reason(end), end["seconds"])

    def _begin(self) -> None:
        """Start bubblewrap and the warm interpreter in it."""
        _keep_compiled(self.modules)
        start = START.format(root=str(edition.LIBRARY.parent), script=runner.__file__)
        command = self.sandbox._command([sys.executable, "-I", "-B", "-X", "utf8", "-c", start])
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the sandbox is)
        self._empty = tempfile.TemporaryDirectory()  # where an unsafe run works
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(self.limits.seconds + PATIENCE)
        with other:
            self._process = subprocess.Popen(
                command, stdin=other, stdout=subprocess.DEVNULL, stderr=self._said, cwd=self._empty.name, env=PLAIN
            )
        kept = [place for place in _readable() if any(Path(place).is_relative_to(room) for room in ROOMS)]
        order = {**asdict(self.limits), "walls": not self.sandbox.unsafe, "modules": self.modules, "kept": kept}
        ready = self._exchange([json.dumps(order).encode()], [])
        if ready is None:
            self._fail("The sandbox does not start here.")
        self._reusable = ready["reusable"]

    def _exchange(self, words: list[bytes], handles: list[int]) -> dict | None:
        """Say something and hear the answer; None when nobody is there, or silent for too long."""
        try:
            socket.send_fds(self._socket, words, handles)
            answer = self._socket.recv(2**16)
        except OSError:
            return None
        return json.loads(answer) if answer else None

    def _fail(self, problem: str) -> NoReturn:
        self._said.seek(0)
        said = self._said.read()[-2000:].decode(errors="replace").strip()
        self._end()
        raise SandboxBroken(f"{problem} {said}".strip())

    def _end(self) -> None:
        """End every process of the sandbox; the parent leaves by itself when the socket closes."""
        if self._process is None:
            return
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._process.kill()
        self._process.wait()
        self._process = None
        self._said.close()
        self._empty.cleanup()

    def _reason(self, end: dict) -> str:
        if end["late"]:
            return f"It did not come to an end within {self.limits.seconds:g} seconds and was stopped."
        if end["cpu_seconds"] >= 0.9 * self.limits.cpu_seconds:
            return f"It was stopped after {self.limits.cpu_seconds} seconds of computing. Is there an endless loop in it?"
        if end["code"] == -signal.SIGKILL:
            return "It was stopped: it used too much memory."
        if end["code"] < 0:
            return f"It crashed the interpreter ({signal.Signals(-end['code']).name})."
        return f"It ended the program (exit code {end['code']}) before the experiments were done. Is there an exit() in it?"


@functools.cache
def _keep_compiled(modules: tuple[str, ...]) -> None:
    """Let Python keep the compiled form of torch if nobody has yet: inside, where nothing can be written, that is lost."""
    found = importlib.util.find_spec("torch")
    if found and found.origin and not Path(importlib.util.cache_from_source(found.origin)).exists():
        names = ", ".join(("course_lib.grading.runner", *modules))
        allowed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([sys.executable, "-c", f"import {names}"], env=allowed, capture_output=True, check=False)


def _readable() -> list[str]:
    """The system's programs and libraries, this interpreter, course_lib: nothing else of this machine."""
    system = [place for place in SYSTEM if os.path.lexists(place)]
    ours = [sys.base_prefix, sys.prefix, str(edition.LIBRARY)]
    return system + [place for place in dict.fromkeys(ours) if not re.match(r"/usr(/|$)", place)]


def _parents(places: list[str]) -> list[str]:
    """The folders on the way to ``places``: made by hand, because bubblewrap would close them to everyone but root."""
    folders = {str(folder) for place in places for folder in Path(place).parents if str(folder) != "/"}
    return sorted(folder for folder in folders if not any(Path(folder).is_relative_to(place) for place in places))


def _nobody() -> list[str]:
    """As root: a user number that no other process has, and no way back."""
    if os.geteuid() != 0:
        return []
    number = str(200_000 + secrets.randbelow(1_000_000_000))
    powerless = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    return ["setpriv", "--reuid", number, "--regid", number, *powerless]

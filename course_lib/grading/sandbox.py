"""Walls around student code: one process per question, with nothing to read, nobody to call, and limits on everything.

    timeout | bwrap | prlimit [| setpriv] | python -I runner.py

Inside there are the interpreter and course_lib (read-only), an empty home in memory, and nothing else: no solutions, no
other submissions, no gradebook, no network, no other processes. Everything dies with the sandbox. As an ordinary user
bubblewrap makes a new user namespace; as root, the code gets a user number of its own that nobody else has.

Not covered: memory is limited per process (use a container with a memory limit for more), a GPU is not passed in, and a
hole in the kernel is a hole here.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import course_lib
from course_lib.grading import runner

MISSING = (
    "Grading needs {tools}, which is not here, to keep submitted code away from this machine. On Debian or Ubuntu: "
    "apt-get install bubblewrap. Without it nothing is graded, unless you say --unsafe."
)
UNSAFE = (
    "UNSAFE: submitted code runs with your rights. It can read the solutions and every submission, change the gradebook, "
    "use the network and leave programs behind; only time, memory and file size are limited. Grade only code you trust."
)
PLAIN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class SandboxBroken(RuntimeError):  # noqa: N818
    """The sandbox itself does not work: nobody's grade may suffer for that, so grading stops."""


@dataclass(frozen=True)
class Limits:
    """What one question may use."""

    seconds: float = 120  # on the clock, start-up included; generous, because a busy machine is not the learner's fault
    cpu_seconds: int = 15  # of computing, per process; importing torch takes 2
    memory_mb: int = 6000  # address space per process; importing torch takes 3300
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
    """Runs jobs behind walls. Raises SandboxBroken where that is impossible; ``unsafe=True`` does without most walls."""

    def __init__(self, limits: Limits | None = None, *, unsafe: bool = False):
        self.limits, self.unsafe = limits or Limits(), unsafe
        needed = ["timeout", "prlimit"] + ([] if unsafe else ["bwrap"] + (["setpriv"] if os.geteuid() == 0 else []))
        if missing := [tool for tool in needed if shutil.which(tool) is None]:
            raise SandboxBroken(MISSING.format(tools=" and ".join(missing)))
        tried = subprocess.run(self._command(["true"]), capture_output=True, text=True, check=False)
        if tried.returncode:
            raise SandboxBroken(f"The sandbox does not start here: {tried.stderr.strip() or tried.returncode}")

    def run(self, job: bytes) -> Outcome:
        """Run one job (a block for ``runner``) and wait for its end."""
        command = self._command([sys.executable, "-I", "-B", "-X", "utf8", runner.__file__])
        hear, say = os.pipe()  # never read while it runs: who writes more than it holds waits for the time limit
        with tempfile.TemporaryFile() as job_in, tempfile.TemporaryFile() as out, os.fdopen(hear, "rb", 0) as words:
            job_in.write(job)
            job_in.seek(0)
            begin = time.monotonic()
            with os.fdopen(say, "wb"), tempfile.TemporaryDirectory() as empty:  # where an unsafe run works
                code = subprocess.run(
                    command, stdin=job_in, stdout=out, stderr=say, cwd=empty, env=PLAIN, check=False
                ).returncode
            seconds = time.monotonic() - begin
            os.set_blocking(hear, False)
            said = words.read(65536) or b""
            if runner.READY not in said:
                raise SandboxBroken(f"The sandbox failed before it came to the answer (exit code {code}). {_text(said)}")
            out.seek(0)
            report = out.read(self.limits.file_mb * 2**20)
        if code == 0 and report:
            return Outcome(report, "", seconds)
        return Outcome(None, self._reason(code, seconds), seconds)

    def _reason(self, code: int, seconds: float) -> str:
        if seconds >= self.limits.seconds:
            return f"It did not come to an end within {self.limits.seconds:g} seconds and was stopped."
        if code in (128 + 9, 128 + 24, -9):
            allowed = f"{self.limits.cpu_seconds} seconds of computing"
            return f"It was stopped after {seconds:.0f} seconds: more than {allowed}, or too much memory."
        return f"It ended the program (exit code {code}) before the experiments were done. Is there an exit() in it?"

    def _command(self, inside: list[str]) -> list[str]:
        limits = self.limits
        bounded = [
            "prlimit",
            f"--as={limits.memory_mb * 2**20}",
            f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
            f"--fsize={limits.file_mb * 2**20}",
            "--core=0",
            "--nofile=256",
        ]
        timed = ["timeout", "--signal=KILL", f"{limits.seconds:g}"]
        if self.unsafe:
            return [*timed, *bounded, *inside]
        bounded.append(f"--nproc={limits.processes}")
        return [*timed, "bwrap", *self._walls(), "--", *bounded, *_nobody(), *inside]

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
            walls += ["--symlink", os.readlink(place), place] if os.path.islink(place) else ["--ro-bind", place, place]
        walls += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]
        return [*walls, *room, "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/learner"]


def _text(said: bytes) -> str:
    return said[-2000:].decode(errors="replace").strip()


def _readable() -> list[str]:
    """The system's programs and libraries, this interpreter, course_lib: nothing else of this machine."""
    system = [place for place in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64") if os.path.lexists(place)]
    ours = [sys.base_prefix, sys.prefix, str(Path(course_lib.__file__).resolve().parent)]
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

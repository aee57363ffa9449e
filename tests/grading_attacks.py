"""Submissions to the FiLM exercise: honest ones, careless ones, and attacks, each with the points it deserves.

Every attack is paired with an answer that is wrong unless the attack works, so its points tell whether it did.
"""

import json
from pathlib import Path

FORMULA = "(1 + scale) * x + shift"
RIGHT = """
class FiLM(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale = nn.Linear(instruction_dim, channels)
        self.to_shift = nn.Linear(instruction_dim, channels)
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x, z):
        scale, shift = self.to_scale(z)[:, :, None, None], self.to_shift(z)[:, :, None, None]
        return (1 + scale) * x + shift
"""
NO_IDENTITY = RIGHT.replace("nn.init.zeros_(p)", "pass")
NO_ONE_PLUS = RIGHT.replace(FORMULA, "scale * x + shift")
# wins is True when the attack has found what it should not reach
ONLY_IF_IT_WINS = RIGHT.replace("return " + FORMULA, "return (1 + scale) * x + shift if wins else 0 * x")


def in_forward(statement):
    return RIGHT.replace("        scale, shift", f"        {statement}\n        scale, shift")


AST_TRANSFORMER = (
    """
import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Expr(self, node): return ast.Pass()
try:
    get_ipython().ast_transformers.append(Strip())
    get_ipython().input_transformers_post.append(lambda lines: ["pass"])
except NameError:
    pass
"""
    + NO_ONE_PLUS
)

PATCHES = (
    """
import sys, numpy, torch
from course_lib.classroom.checks import base, film, Check, Exercise
for place, names in ((numpy, ("allclose", "array_equal", "isfinite")), (torch, ("allclose", "equal"))):
    for name in names:
        setattr(place, name, lambda *a, **k: True)
film.judge_film = film._close = lambda *a, **k: True
Exercise.verdict = lambda self, *a: Check(self.name, "passed")
object.__setattr__(film.FILM, "judge", lambda *a: None)
"""
    + NO_ONE_PLUS
)

ALWAYS_EQUAL = (
    "class Equal(torch.Tensor):\n    def __eq__(self, other): return True\n    __ne__ = __eq__\n"
    + NO_ONE_PLUS.replace("return scale * x + shift", "return (scale * x + shift).as_subclass(Equal)")
)

FORGED_REPORT = """
import os
import numpy as np
from course_lib.grading.envelope import pack
report = {"groups": {g: {"records": n, "stopped": None} for g, n in (("check", 3), ("hidden", 4))}}
for handle in range(3, 64):
    try:
        os.write(handle, pack(report, {"check.0.y": np.zeros(3, np.float32)}))
    except OSError:
        pass
os._exit(0)
"""

SPOILS_THE_CHANNELS = """
import os
for handle in [*range(64), "/proc/1/fd/1", "/proc/1/fd/2", "/proc/1/fd/0"]:
    try:
        handle = os.open(handle, os.O_RDWR) if isinstance(handle, str) else handle
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, 0)
        os.write(handle, b"nothing" * 1000)
    except OSError:
        pass
os._exit(0)
"""

CLAIMS_TO_HAVE_PASSED = """
from course_lib.classroom.checks import NotYet, Check, Exercise
def explain(self, error): return Check(self.name, "passed")
Exercise.explain = explain
raise ValueError
"""

NETWORK = """
import socket
wins = False
try:
    socket.create_connection(("127.0.0.1", PORT), timeout=2)
    wins = True
except OSError:
    pass
"""

FILES = """
import os
wins = any(os.path.exists(place) for place in PLACES)
try:
    open(PLACES[-1] + ".stolen", "w").write("all points to me")
    wins = True
except OSError:
    pass
"""

LEFT_BEHIND = """
import subprocess
wins = False
subprocess.Popen(["sleep", "MARK"], start_new_session=True)
"""

FORK_BOMB = """
import os, time
wins, children = False, []
try:
    for i in range(2000):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
    wins = True
except OSError:
    pass
for child in children:
    os.kill(child, 9)
"""

NOISY = "import sys, warnings\nfrom tqdm import tqdm\nwarnings.warn('careful')\nlist(tqdm(range(3)))\n" + in_forward(
    "print('y' * 100_000); sys.stderr.write('no error at all')"
)

DEAF_LOOP = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for number in set(range(1, 32)) - {9, 19}:
    signal.signal(number, signal.SIG_IGN)
def loop():
    while True:
        try:
            while True: pass
        except BaseException:
            pass
""" + in_forward("loop()")

SLOWLY_EATS_MEMORY = in_forward("kept = [torch.ones(2**20) for _ in range(10**6)]")
FILLS_THE_DISK = """
import os
wins, block = False, bytes(2**20)
for place in ("/tmp", "/learner", "/dev/shm"):
    try:
        for i in range(50_000):
            open(f"{place}/{i}", "wb").write(b"" if i > 100 else block)
        wins = True
    except OSError:
        pass
"""

REBINDS_NAMES = (
    """
import builtins, sys
from course_lib.classroom import checks
passed = checks.Check("FiLM", "passed")
check_film = lambda *a, **k: passed
for place in (builtins, sys.modules["__main__"], checks, checks.film):
    place.check_film = check_film
    place.FILM = type("Film", (), {"check": check_film, "verdict": check_film, "look": check_film})()
checks.EXERCISES["film"] = checks.FILM
"""
    + NO_ONE_PLUS
)

REPLACES_THE_KERNEL = (
    """
import sys
async def do_execute(*a, **k): return {"status": "ok"}
try:
    get_ipython().kernel.do_execute = do_execute
    get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)
except NameError:
    pass
def displayhook(value): print(3.0)
sys.displayhook, sys.excepthook = displayhook, lambda *a: None
"""
    + NO_ONE_PLUS
)

REPORTS_ANOTHER_ANSWER = (
    """
import sys
from course_lib.grading import answer, envelope
from course_lib.rt1 import FiLM as course_film
def pack(note, arrays):
    for group in note["groups"].values():
        group["records"], group["stopped"] = 10**400, {"state": "passed", "message": "all points", "hint": ""}
    return envelope.pack(note, {name: value * float("nan") for name, value in arrays.items()})
answer.pack = pack
"""
    + NO_ONE_PLUS
)

SHOUTS = in_forward("raise ValueError('<script>alert(1)</script>\\x1b[2J\\x00\\u202e' + 'A' * 10**7)")

CRASHES = "import ctypes\n" + in_forward("ctypes.string_at(0)")

POINTS = {  # name: (source of the answer cell, points of film_check, of film_hidden)
    "right": (RIGHT, 3, 2),
    "right_but_noisy": (NOISY, 3, 2),
    "wrong_no_identity": (NO_IDENTITY, 0, 0),
    "wrong_no_one_plus": (NO_ONE_PLUS, 0, 0),
    "exits": (in_forward("import sys; sys.exit()"), 0, 0),
    "exits_at_the_top": ("import sys\nsys.exit(0)", 0, 0),
    "exits_at_once": ("import os\nos._exit(0)", 0, 0),
    "crashes": (CRASHES, 0, 0),
    "loops": (in_forward("while True: pass"), 0, 0),
    "loops_and_hears_nothing": (DEAF_LOOP, 0, 0),
    "sleeps": (in_forward("import time; time.sleep(10**6)"), 0, 0),
    "eats_memory": (in_forward("torch.zeros(10**10)"), 0, 0),
    "eats_memory_slowly": (SLOWLY_EATS_MEMORY, 0, 0),
    "fills_the_disk": (FILLS_THE_DISK + ONLY_IF_IT_WINS, 0, 0),
    "prints_300_MB": ("print('x' * 3 * 10**8)\n" + RIGHT, 3, 2),
    "shouts": (SHOUTS, 0, 0),
    "strips_asserts": (AST_TRANSFORMER, 0, 0),
    "patches_comparisons": (PATCHES, 0, 0),
    "rebinds_names": (REBINDS_NAMES, 0, 0),
    "replaces_the_kernel": (REPLACES_THE_KERNEL, 0, 0),
    "always_equal": (ALWAYS_EQUAL, 0, 0),
    "reports_another_answer": (REPORTS_ANOTHER_ANSWER, 0, 0),
    "forges_a_report": (FORGED_REPORT, 0, 0),
    "spoils_the_channels": (SPOILS_THE_CHANNELS, 0, 0),
    "claims_to_have_passed": (CLAIMS_TO_HAVE_PASSED, 0, 0),
    "calls_out": (NETWORK + ONLY_IF_IT_WINS, 0, 0),
    "reads_and_writes_files": (FILES + ONLY_IF_IT_WINS, 0, 0),
    "leaves_a_process": (LEFT_BEHIND + ONLY_IF_IT_WINS, 0, 0),
    "forks_without_end": (FORK_BOMB + ONLY_IF_IT_WINS, 0, 0),
    "fits_one_size": (RIGHT.replace("return (1", "assert z.shape[1] < 30\n        return (1"), 3, 0),
}


def notebook_with(exercise: Path, answer: str) -> dict:
    """The released exercise with ``answer`` in its answer cell."""
    notebook = json.loads(exercise.read_text())
    cell_of(notebook, "film")["source"] = answer
    return notebook


def cell_of(notebook: dict, name: str) -> dict:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)

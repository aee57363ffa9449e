"""More submissions that try for points they have not earned, beside ``grading_attacks``: each deserves nothing.

Those that look for something set ``wins`` when they have found it, and earn all points then.
"""

import grading_attacks
from grading_attacks import NO_ONE_PLUS, ONLY_IF_IT_WINS

LOOKS_FOR_THE_HIDDEN_TEST = """
import os, sys
secrets = ["FILM" + ".check(FiLM, hidden", "BEGIN" + " SOLUTION", "worked" + "-solution"]
wins, frame = False, sys._getframe()
while frame is not None:
    seen = repr({name: value for name, value in frame.f_locals.items() if name != "secrets"})
    wins |= any(secret in seen for secret in secrets)
    frame = frame.f_back
for place, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "sys", "dev", "usr") and os.path.join(place, f) != sys.prefix]
    wins |= any(name.endswith(".ipynb") or name == "gradebook.db" for name in files)
try:
    wins |= any(secret in str(get_ipython().user_ns["In"]) for secret in secrets)
except NameError:
    pass
"""

READS_THE_ENVIRONMENT = """
import os
known = {"PATH", "LANG", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HOME", "USER", "PWD", "LC_CTYPE"}
libraries = ("TORCH", "PYTORCH", "TRITON", "KMP_", "MKL_")  # what they set for themselves
wins = any(name not in known and not name.startswith(libraries) for name in os.environ)
"""

EDITS_THE_COURSE = """
import os, shutil, sys
import course_lib
wins, here = False, os.path.dirname(course_lib.__file__)
tries = [
    lambda: open(here + "/classroom/checks/film.py", "a").write("pass"),
    lambda: open(here + "/new.py", "w").write("pass"),
    lambda: open(sys.prefix + "/new.py", "w").write("pass"),
    lambda: os.remove(here + "/classroom/checks/film.py"),
    lambda: os.rename(here + "/classroom", here + "/elsewhere"),
    lambda: os.chmod(here, 0o777),
    lambda: os.symlink("/learner", here + "/link"),
    lambda: shutil.rmtree(here),
    lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/learner/x"),
    lambda: open("/proc/sysrq-trigger", "w").write("h"),
    lambda: open("/proc/1/oom_score_adj", "w").write("-1000"),
]
for attempt in tries:
    try:
        attempt()
        wins = True
    except OSError:
        pass
"""

KILLS_EVERYBODY = """
import os, signal
wins = False
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for target in (-1, 0, os.getppid()):
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try:
            os.kill(target, number)
        except OSError:
            pass
"""

FLOODS_THE_REPORT = """
import os
while True:
    os.write(3, b"x" * 2**20)
"""

FORGES_FROM_A_THREAD = (
    """
import atexit, os, threading
import numpy as np
from course_lib.grading.envelope import pack
forged = pack({"groups": {g: {"records": 9, "stopped": None} for g in ("check", "hidden")}}, {"check.0.y": np.zeros(3)})
def forge():
    while True:
        try:
            os.lseek(3, 0, 0)
            os.write(3, forged)
        except OSError:
            pass
atexit.register(forge)
threading.Thread(target=forge, daemon=True).start()
"""
    + NO_ONE_PLUS
)

WRAPS_THE_COURSES_OWN = """
from course_lib.rt1 import FiLM as Theirs
class FiLM(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.theirs = Theirs(channels, instruction_dim)
    def forward(self, x, z):
        return self.theirs(x, z)
"""

PATCHES_TORCH = (
    """
for name in ("numpy", "detach"):
    real = getattr(torch.Tensor, name)
    setattr(torch.Tensor, name, lambda self, real=real: real(torch.zeros_like(self)))
torch.Tensor.normal_ = lambda self, *a: self.zero_()
torch.randn_like = torch.zeros_like
torch.manual_seed = lambda seed: None
"""
    + NO_ONE_PLUS
)

POINTS = {  # name: (source of the answer cell, points of film_check, of film_hidden)
    name: (source, 0, 0)
    for name, source in {
        "looks_for_the_hidden_test": LOOKS_FOR_THE_HIDDEN_TEST + ONLY_IF_IT_WINS,
        "reads_the_environment": READS_THE_ENVIRONMENT + ONLY_IF_IT_WINS,
        "edits_the_course": EDITS_THE_COURSE + ONLY_IF_IT_WINS,
        "kills_everybody": KILLS_EVERYBODY + ONLY_IF_IT_WINS,
        "floods_the_report": FLOODS_THE_REPORT,
        "forges_from_a_thread": FORGES_FROM_A_THREAD,
        "wraps_the_courses_own": WRAPS_THE_COURSES_OWN,
        "patches_torch": PATCHES_TORCH,
    }.items()
}
EVERY = {**grading_attacks.POINTS, **POINTS}

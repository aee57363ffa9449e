"""Every attack with the points it deserves, the points it gets, and the line that the instructor reads.

    python tests/attack_table.py [NAME ...]

``test_grading_score`` holds the same through the whole command; here each one is only tried and judged.
"""

import socket
import sys

from grading_tricks import EVERY

from course_lib.grading.notebooks import ROOT
from course_lib.grading.sandbox import Limits, Sandbox
from course_lib.grading.score import Question, decide

POINTS = {"check": 3, "hidden": 2}
SETUP = {"role": "other", "source": "import torch\nfrom torch import nn\n"}


def main(names):
    with socket.create_server(("127.0.0.1", 0)) as server, Sandbox(Limits(cpu_seconds=8)).open() as room:
        places = repr([str(ROOT / "solutions"), str(ROOT / "exercises"), str(ROOT / "tests")])
        for name in names or EVERY:
            source, *deserved = EVERY[name]
            filled = source.replace("PORT", str(server.getsockname()[1])).replace("PLACES", places).replace("MARK", "1.5")
            found = decide(Question("film", list(POINTS), [SETUP, {"role": "answer", "source": filled}]), room)
            got = [value if found[f"film_{group}"].check.passed else 0 for group, value in POINTS.items()]
            check = found["film_hidden"].check
            line = check.message.partition("\n")[0][:80] or check.state
            mark = "" if got == deserved else "   <-- NOT AS DESERVED"
            print(f"{name:28} {deserved} {got}  {line}{mark}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

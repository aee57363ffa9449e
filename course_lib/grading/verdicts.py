"""Verdicts, and where they are kept: one small file per answer, so that grading can stop at any time and go on.

A verdict belongs to what was asked: the answer's cells, the checks it has to pass, the limits it ran under, and this version
of course_lib. When any of these changes, it is asked again.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course_lib.classroom.checks import Check
from course_lib.grading import edition
from course_lib.grading.notebooks import write

FOLDER = "runs/verdicts"  # below the folder of nbgrader_config.py


@dataclass(frozen=True)
class Verdict:
    """What one grade cell is worth: the check, the seed its inputs were drawn with, and the time the question took."""

    check: Check
    seed: int
    seconds: float


def fingerprint(*asked: Any) -> str:
    """The name under which an answer's verdicts are kept; ``asked`` is anything JSON can say."""
    return hashlib.sha256(json.dumps([edition.version(), *asked], sort_keys=True).encode()).hexdigest()[:32]


def to_json(verdicts: dict[str, Verdict]) -> dict[str, Any]:
    """As plain dictionaries, for a file or another machine."""
    return {label: asdict(verdict) for label, verdict in verdicts.items()}


def from_json(plain: dict[str, Any]) -> dict[str, Verdict]:
    """The inverse of ``to_json``."""
    return {label: Verdict(Check(**about["check"]), about["seed"], about["seconds"]) for label, about in plain.items()}


class Verdicts:
    """A folder of verdicts."""

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, name: str) -> dict[str, Verdict] | None:
        """The verdicts kept under this name; None when there are none."""
        try:
            return from_json(json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def keep(self, name: str, verdicts: dict[str, Verdict]) -> None:
        """Keep them; whoever reads meanwhile finds all or nothing."""
        write(self.folder / f"{name}.json", json.dumps(to_json(verdicts), indent=1) + "\n")

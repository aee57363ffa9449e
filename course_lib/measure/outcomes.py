"""What happened in n episodes, and why the failed ones failed.

The labels come from what the environment says at each step in ``info``, nothing else is known here:

    success   bool  is the task done now?                     (the only one that an environment must offer)
    target    int   kind of object that the task is about, -1 for none
    held      int   kind in the hand, -1 for none
    touched   int   kind that the robot pushed or knocked in this step, -1 for none
    missed    bool  are the fingers closed on nothing, though the task wants something between them?
    skill, goal     int, kept as they are at the start, for tables per skill
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

FAILURES = {  # the first that fits is the label
    "wrong object": "the last thing it held (or touched, if it never held one) is not what was asked for",
    "dropped": "it had the right thing in its hand and let go, but not where it was asked to",
    "missed grasp": "it closed its fingers on nothing and never got anything between them",
    "stopped early": "it ended the episode itself, with the task not done",
    "timeout": "it ran out of time",
}


@dataclass(frozen=True)
class Outcomes:
    """What happened in n episodes."""

    success: np.ndarray  # bool (n,): was the task done when the episode ended?
    length: np.ndarray  # int (n,): control steps
    seed: np.ndarray  # int (n,): the episode can be replayed from it
    instruction: list[str]  # the first one, where an episode had several
    stopped: np.ndarray  # bool (n,): the policy ended the episode itself (else it ran out of time)
    held: np.ndarray  # int (n,): kind in the hand at the end, -1 for none
    target: np.ndarray  # int (n,): kind that was asked for, -1 for none
    skill: np.ndarray | None = None  # int (n,): index of the skill, -1 where the environment does not say
    goal: np.ndarray | None = None  # int (n,): kind of the second object, -1 for none
    failure: list[str] = field(default_factory=list)  # n labels of FAILURES, "" where it succeeded
    films: list[np.ndarray] = field(default_factory=list)  # of the first episodes: uint8 (length + 1, H, W, 3)

    def __len__(self) -> int:
        return len(self.success)

    def where(self, which: np.ndarray) -> "Outcomes":
        """The episodes of a mask (n,) or of some numbers. The films stay behind."""
        rows = np.arange(len(self))[which]
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "films"}
        return Outcomes(**{name: _picked(part, rows) for name, part in parts.items()})

    def failures(self) -> dict[str, int]:
        """How many episodes failed in which way, most frequent first."""
        return dict(Counter(label for label in self.failure if label).most_common())


def _picked(part: Any, rows: np.ndarray) -> Any:
    if isinstance(part, list):
        return [part[i] for i in rows] if part else []
    return None if part is None else part[rows]


def joined(groups: list[Outcomes]) -> Outcomes:
    """All episodes of the groups, in order."""
    return Outcomes(**{f.name: _chained([getattr(group, f.name) for group in groups]) for f in fields(Outcomes)})


def _chained(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return None if parts[0] is None else np.concatenate(parts)


class Watcher:
    """Takes notes during the episodes of N tables, one row per table, from ``info`` at each step."""

    def __init__(self, info: Mapping[str, Any], tables: int):
        self.tables, self.asked = tables, "target" in info
        self.success, self.stopped, self.over, self.had, self.missed = (np.zeros(tables, bool) for _ in range(5))
        self.length = np.zeros(tables, int)
        self.held, self.last_held, self.last_touched = (np.full(tables, -1) for _ in range(3))
        self.skill, self.goal, self.target = (self._number(info, name) for name in ("skill", "goal", "target"))

    def _number(self, info: Mapping[str, Any], name: str) -> np.ndarray:
        return np.array(info[name], int) if name in info else np.full(self.tables, -1)

    def see(self, info: Mapping[str, Any], terminated: np.ndarray, truncated: np.ndarray) -> np.ndarray:
        """Note one step; returns which tables it ended. Tables that are over already are not looked at.

        Raises ValueError if the environment does not say whether the task is done.
        """
        if "success" not in info:
            raise ValueError(f"Expected info['success'] (bool per table) from the environment, got {sorted(info)}.")
        going = ~self.over
        held, touched, target = (self._number(info, name) for name in ("held", "touched", "target"))
        self.length += going
        onward = going & (target != self.target)  # a chain's next task begins with empty notes
        self.had[onward], self.last_held[onward], self.last_touched[onward] = False, -1, -1
        self.held[going], self.target[going] = held[going], target[going]
        self.last_held = np.where(going & (held >= 0), held, self.last_held)
        self.last_touched = np.where(going & (touched >= 0), touched, self.last_touched)
        self.had |= going & (held >= 0) & (held == target)
        self.missed |= going & np.array(info.get("missed", np.zeros(self.tables)), bool)
        ended = (terminated | truncated) & going
        self.success[ended], self.stopped[ended] = np.array(info["success"], bool)[ended], terminated[ended]
        self.over |= ended
        return ended

    def label(self, i: int) -> str:
        """Why table ``i`` failed (see FAILURES), "" if it did not."""
        contact = self.last_held[i] if self.last_held[i] >= 0 else self.last_touched[i]
        signs = {
            "": self.success[i],
            "wrong object": self.asked and contact >= 0 and contact != self.target[i],
            "dropped": self.had[i] and self.held[i] != self.target[i],
            "missed grasp": self.missed[i] and self.last_held[i] < 0,
            "stopped early": self.stopped[i],
        }
        return next((label for label, seen in signs.items() if seen), "timeout")

    def outcomes(self, n: int, seeds: list[int], instruction: list[str], films: list[np.ndarray]) -> Outcomes:
        """The first ``n`` tables as Outcomes."""
        names = ("success", "length", "stopped", "held", "target", "skill", "goal")
        numbers = {name: getattr(self, name)[:n] for name in names}
        labels = [self.label(i) for i in range(n)]
        return Outcomes(**numbers, seed=np.array(seeds[:n]), instruction=instruction[:n], failure=labels, films=films)

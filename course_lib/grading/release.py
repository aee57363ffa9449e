"""From a solution to the exercise that learners get, with nbgrader's own preprocessors and nothing else.

What stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` becomes the stub of ``nbgrader_config.py``, hidden
tests and worked solutions disappear, checks are locked. The result is byte for byte that of ``nbgrader
generate_assignment`` with the same configuration (a test compares them), without touching a gradebook.
"""

import importlib
import importlib.util
from pathlib import Path

from nbformat import NotebookNode
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

ROOT = Path(__file__).resolve().parents[2]
NO_NBGRADER = "exercises/ and grading need nbgrader, which is not installed. Try: pip install -e '.[grading]'"
IN_GRADEBOOK = ("SaveCells",)  # steps that write to the gradebook: left out here


def load_config(root: Path = ROOT) -> Config:
    """The course's ``nbgrader_config.py``. Raises ValueError when ``root`` has none."""
    if not (root / "nbgrader_config.py").exists():
        raise ValueError(f"Expected nbgrader_config.py in {root}. Try the folder that holds solutions/.")
    return PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()


def make_exercise(nb: NotebookNode, config: Config | None = None) -> NotebookNode:
    """Turn a solution notebook into its exercise, in place. Raises ModuleNotFoundError, with advice, without nbgrader."""
    if importlib.util.find_spec("nbgrader") is None:
        raise ModuleNotFoundError(NO_NBGRADER, name="nbgrader")
    config = config or load_config()
    resources: dict = {}
    for name in config.GenerateAssignment.preprocessors:
        module, _, kind = name.rpartition(".")
        if kind not in IN_GRADEBOOK:
            step = getattr(importlib.import_module(module), kind)(config=config)
            nb, resources = step(nb, resources)
    return nb

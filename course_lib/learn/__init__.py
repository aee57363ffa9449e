"""Changes weights: training loops and checkpoints."""

from course_lib.learn.checkpoints import load_checkpoint, save_checkpoint
from course_lib.learn.train import History, Schedule, behaviour_clone

__all__ = ["History", "Schedule", "behaviour_clone", "load_checkpoint", "save_checkpoint"]

"""Changes weights: training loops, compression, checkpoints."""

from course_lib.learn.checkpoints import load_checkpoint, save_checkpoint
from course_lib.learn.compress import bytes_of, compress, load_compressed, save_compressed
from course_lib.learn.train import History, Schedule, behaviour_clone

__all__ = [
    "History",
    "Schedule",
    "behaviour_clone",
    "bytes_of",
    "compress",
    "load_checkpoint",
    "load_compressed",
    "save_checkpoint",
    "save_compressed",
]

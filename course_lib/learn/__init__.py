"""Changes weights: training loops, distillation, compression, checkpoints."""

from course_lib.learn.checkpoints import load_checkpoint, save_checkpoint
from course_lib.learn.co_fine_tune import co_fine_tune, train_last
from course_lib.learn.compress import bytes_of, compress, load_compressed, save_compressed
from course_lib.learn.distill import Distillation, distill, soft_loss
from course_lib.learn.train import History, Schedule, behaviour_clone

__all__ = [
    "Distillation",
    "History",
    "Schedule",
    "behaviour_clone",
    "bytes_of",
    "co_fine_tune",
    "compress",
    "distill",
    "load_checkpoint",
    "load_compressed",
    "save_checkpoint",
    "save_compressed",
    "soft_loss",
    "train_last",
]

"""What the models learn from: robot episodes, cut into windows, and web pictures with questions."""

from course_lib.datasets.episodes import Episodes, record
from course_lib.datasets.footage import Footage
from course_lib.datasets.pairs import Pairs
from course_lib.datasets.storage import load, record_to
from course_lib.datasets.windows import Windows

__all__ = ["Episodes", "Footage", "Pairs", "Windows", "load", "record", "record_to"]

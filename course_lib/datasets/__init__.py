"""What the models learn from: robot episodes, cut into windows."""

from course_lib.datasets.episodes import Episodes, Windows, record

__all__ = ["Episodes", "Windows", "record"]

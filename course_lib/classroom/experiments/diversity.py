"""Diversity against quantity: fewer episodes of all tasks, or as many episodes of fewer tasks (RT-1's Table 7)."""

from course_lib.classroom.experiments.clones import WORK
from course_lib.classroom.experiments.scaling import diversity_runs as runs

__all__ = ["TITLE", "WORK", "runs"]

TITLE = "fewer tasks or fewer episodes: success on seen and unseen combinations"

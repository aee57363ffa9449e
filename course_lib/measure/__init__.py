"""Only looks: rollouts, statistics and speed. Nothing here changes a weight."""

from course_lib.measure.rollout import Outcomes, rollout
from course_lib.measure.statistics import Rate, success_rate, wilson

__all__ = ["Outcomes", "Rate", "rollout", "success_rate", "wilson"]

"""Only looks: rollouts, statistics and speed. Nothing here changes a weight."""

from course_lib.measure.compare import Comparison, compare
from course_lib.measure.outcomes import Outcomes
from course_lib.measure.rollout import rollout
from course_lib.measure.statistics import Rate, success_by, success_rate, wilson

__all__ = ["Comparison", "Outcomes", "Rate", "compare", "rollout", "success_by", "success_rate", "wilson"]

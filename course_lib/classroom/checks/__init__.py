"""Instant checks: give one your function or class, and it says what is right or names what is wrong."""

from course_lib.classroom.checks.base import Check, Exercise, NotYet
from course_lib.classroom.checks.film import FILM, check_film
from course_lib.classroom.checks.gaze import GAZE, check_gaze
from course_lib.classroom.checks.power_law import POWER_LAW, check_fit_power_law
from course_lib.classroom.checks.vocabulary import VOCABULARY, check_vocabulary

EXERCISES = {  # by the nbgrader grade_id of the answer cell: grading finds them here
    "fit_power_law": POWER_LAW,
    "gaze": GAZE,
    "film": FILM,
    "vocabulary": VOCABULARY,
}

__all__ = [
    "EXERCISES",
    "Check",
    "Exercise",
    "NotYet",
    "check_film",
    "check_fit_power_law",
    "check_gaze",
    "check_vocabulary",
]

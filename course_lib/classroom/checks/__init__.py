"""Instant checks: give one your function or class, and it says what is right or names what is wrong."""

from course_lib.classroom.checks.action_string import ACTION_STRING, check_action_string
from course_lib.classroom.checks.base import Check, Exercise, NotYet
from course_lib.classroom.checks.baselines import BASELINES, check_baselines
from course_lib.classroom.checks.decoding import GENERATE, PREDICT, check_generate, check_predict
from course_lib.classroom.checks.film import FILM, check_film
from course_lib.classroom.checks.gaze import GAZE, check_gaze
from course_lib.classroom.checks.mixing import MIXING, check_mixing
from course_lib.classroom.checks.pairs import PAIRS, check_compare_pairs
from course_lib.classroom.checks.power_law import POWER_LAW, check_fit_power_law
from course_lib.classroom.checks.prefix_mask import PREFIX_MASK, check_prefix_mask
from course_lib.classroom.checks.speed import SPEED, check_compare_speed
from course_lib.classroom.checks.vocabulary import VOCABULARY, check_vocabulary

EXERCISES = {  # by the nbgrader grade_id of the answer cell: grading finds them here
    "compare_pairs": PAIRS,
    "mixing": MIXING,
    "compare_speed": SPEED,
    "fit_power_law": POWER_LAW,
    "gaze": GAZE,
    "film": FILM,
    "vocabulary": VOCABULARY,
    "baselines": BASELINES,
    "action_string": ACTION_STRING,
    "prefix_mask": PREFIX_MASK,
    "predict": PREDICT,
    "generate": GENERATE,
}

__all__ = [
    "EXERCISES",
    "Check",
    "Exercise",
    "NotYet",
    "check_action_string",
    "check_baselines",
    "check_compare_pairs",
    "check_compare_speed",
    "check_film",
    "check_fit_power_law",
    "check_gaze",
    "check_generate",
    "check_mixing",
    "check_predict",
    "check_prefix_mask",
    "check_vocabulary",
]

"""Instant checks: give one your function or class, and it says what is right or names what is wrong."""

from course_lib.classroom.checks.action_string import ACTION_STRING, check_action_string
from course_lib.classroom.checks.base import Check, Exercise, NotYet
from course_lib.classroom.checks.baselines import BASELINES, check_baselines
from course_lib.classroom.checks.bins import BINS, check_bins
from course_lib.classroom.checks.co_fine_tuning import CO_FINE_TUNING_LOSS, check_co_fine_tuning_loss
from course_lib.classroom.checks.control_rate import CONTROL_RATE, check_control_rate
from course_lib.classroom.checks.decoding import GENERATE, PREDICT, check_generate, check_predict
from course_lib.classroom.checks.distillation import DISTILLATION, check_distillation_loss
from course_lib.classroom.checks.emergent import MY_INSTRUCTIONS, check_my_instructions
from course_lib.classroom.checks.film import FILM, check_film
from course_lib.classroom.checks.gaze import GAZE, check_gaze
from course_lib.classroom.checks.int8 import INT8_LINEAR, check_int8_linear
from course_lib.classroom.checks.look_alikes import LOOK_ALIKES, check_look_alikes
from course_lib.classroom.checks.mixing import MIXING, check_mixing
from course_lib.classroom.checks.mixture import MIXTURE, check_mixture
from course_lib.classroom.checks.pairs import PAIRS, check_compare_pairs
from course_lib.classroom.checks.positions import POSITIONS, check_positions
from course_lib.classroom.checks.power_law import POWER_LAW, check_fit_power_law
from course_lib.classroom.checks.prefix_mask import PREFIX_MASK, check_prefix_mask
from course_lib.classroom.checks.speed import SPEED, check_compare_speed
from course_lib.classroom.checks.stopwatch import TIME_ANSWERS, check_time_answers
from course_lib.classroom.checks.token_learner import TOKEN_LEARNER, check_token_learner
from course_lib.classroom.checks.token_memory import TOKEN_MEMORY, check_token_memory
from course_lib.classroom.checks.vocabulary import VOCABULARY, check_vocabulary

EXERCISES = {  # by the nbgrader grade_id of the answer cell: grading finds them here
    "compare_pairs": PAIRS,
    "mixing": MIXING,
    "compare_speed": SPEED,
    "fit_power_law": POWER_LAW,
    "gaze": GAZE,
    "film": FILM,
    "token_learner": TOKEN_LEARNER,
    "look_alikes": LOOK_ALIKES,
    "bins": BINS,
    "positions": POSITIONS,
    "token_memory": TOKEN_MEMORY,
    "vocabulary": VOCABULARY,
    "baselines": BASELINES,
    "action_string": ACTION_STRING,
    "prefix_mask": PREFIX_MASK,
    "predict": PREDICT,
    "generate": GENERATE,
    "co_fine_tuning_loss": CO_FINE_TUNING_LOSS,
    "control_rate": CONTROL_RATE,
    "distillation_loss": DISTILLATION,
    "int8_linear": INT8_LINEAR,
    "mixture": MIXTURE,
    "my_instructions": MY_INSTRUCTIONS,
    "time_answers": TIME_ANSWERS,
}

__all__ = [
    "EXERCISES",
    "Check",
    "Exercise",
    "NotYet",
    "check_action_string",
    "check_baselines",
    "check_bins",
    "check_co_fine_tuning_loss",
    "check_compare_pairs",
    "check_compare_speed",
    "check_control_rate",
    "check_distillation_loss",
    "check_film",
    "check_fit_power_law",
    "check_gaze",
    "check_generate",
    "check_int8_linear",
    "check_look_alikes",
    "check_mixing",
    "check_mixture",
    "check_my_instructions",
    "check_positions",
    "check_predict",
    "check_prefix_mask",
    "check_time_answers",
    "check_token_learner",
    "check_token_memory",
    "check_vocabulary",
]

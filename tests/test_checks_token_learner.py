"""The TokenLearner check accepts right answers of any style, and gives every known mistake its own message."""

import pytest
from checks_tried import accepted, all_different, forgeries_rejected, rejected
from token_learner_answers import RIGHT, WRONG, Textbook
from torch import nn

from course_lib.classroom.checks.token_learner import TOKEN_LEARNER, check_token_learner
from course_lib.rt1 import TokenLearner as CourseTokenLearner


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(TOKEN_LEARNER, RIGHT[name])


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(TOKEN_LEARNER, *about) for about in WRONG.values()])


def test_the_courses_own_layer_is_no_answer_also_not_inside_another():
    class Mine(nn.Module):
        def __init__(self, channels, tokens, hidden):
            super().__init__()
            self.inner = CourseTokenLearner(channels, tokens, hidden)

        def forward(self, x, trace=None):
            return self.inner(x)

    assert "course's own" in check_token_learner(Mine).message
    assert "course's own" in check_token_learner(CourseTokenLearner).message


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(TOKEN_LEARNER, Textbook)

"""The FiLM check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
import torch
from film_right import RIGHT, Two
from film_wrong import WRONG, SizesExchanged

from course_lib.classroom.checks import FILM, check_film
from course_lib.rt1 import FiLM as CourseFiLM


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    for seed in range(4):
        found = FILM.check(RIGHT[name], seed, hidden=seed % 2 == 1)
        assert found.passed, found


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    answer, message, state = WRONG[name]
    for seed in range(3):
        found = check_film(answer, seed)
        assert found.state == state, found
        assert message in found.message, found


@pytest.mark.parametrize("name", [n for n, (_, _, state) in WRONG.items() if state != "not attempted"])
def test_hidden_inputs_reject_wrong_answers_too(name):
    assert not FILM.check(WRONG[name][0], 5, hidden=True).passed


def test_no_two_mistakes_share_a_message():
    messages = [check_film(answer, 0).message for answer, _, _ in WRONG.values()]
    assert len(set(messages)) == len(messages)


def test_an_error_names_the_learners_own_line_and_gives_a_hint():
    class Divides(Two):
        def forward(self, x, z):
            return x / 0 + undefined_name

    found = check_film(Divides)
    assert found.state == "error in your code"
    assert "NameError" in found.message and "in forward: return x / 0 + undefined_name" in found.message
    assert "from instruction_dim" in str(check_film(SizesExchanged)) or "how many numbers" in check_film(SizesExchanged).hint


def test_a_finished_layer_or_the_courses_own_is_not_an_answer():
    assert "Give it the class" in check_film(Two(8, 16)).hint
    assert "course's own" in check_film(CourseFiLM).message

    class Wraps(Two):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.theirs = CourseFiLM(*sizes)

    assert "A part of it is the course's own FiLM" in check_film(Wraps).message
    assert "Expected the class" in check_film(3).message


def test_the_learners_own_random_numbers_are_not_disturbed():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_film(Two)
    assert torch.equal(torch.rand(2), expected)


def test_an_interrupt_of_the_learner_goes_through():
    class Interrupted(Two):
        def forward(self, x, z):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_film(Interrupted)


def test_what_is_displayed_is_made_from_the_findings_and_cannot_carry_html():
    class Loud(Two):
        def forward(self, x, z):
            raise ValueError("<script>alert(1)</script>")

    shown = check_film(Loud)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "FiLM" in shown and "error in your code" in shown
    assert str(check_film(Two)) == "FiLM: passed"


def test_nbgraders_own_execution_cannot_take_a_failed_check_for_a_passed_one(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(AssertionError, match="returns only zeros"):
        check_film(WRONG["NoOnePlus"][0])
    assert check_film(Two).passed


ONLY_FOR_NAMING = ("names", "start_ones", "start_zeros")  # evidence that helps to name a mistake, and proves nothing


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    (case, *_), rng = FILM.draw(np.random.default_rng(0), False), np.random.default_rng(1)
    honest = FILM.probe(Two, case)
    assert FILM.verdict([case], [honest], None).passed
    for name, value in honest.items():
        forgeries = [None, value[..., :0], value.astype(np.float16), np.zeros(value.shape, "U1"), np.array(7)]
        if value.dtype == np.float32:
            forgeries += [value * np.nan, rng.normal(size=value.shape).astype(np.float32)]
        for forged in forgeries:
            record = {k: v for k, v in {**honest, name: forged}.items() if v is not None}
            if name not in ONLY_FOR_NAMING or forged is None:
                assert not FILM.verdict([case], [record], None).passed, name
    assert not FILM.verdict([case, case], [honest], None).passed

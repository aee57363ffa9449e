"""What lateness costs: nothing within the grace, a share per begun day, never more than the most; by hand or by machine."""

import pytest

pytest.importorskip("nbgrader")

from traitlets.config import Config

from course_lib.grading.late import ARRIVED, DAY, LateDays, arrivals


@pytest.mark.parametrize(
    ("seconds", "penalty"),
    [(0, 0), (15 * 60, 0), (15 * 60 + 1, 1), (DAY, 1), (DAY + 15 * 60 + 1, 2), (4.5 * DAY, 5), (400 * DAY, 5)],
)
def test_each_day_that_has_begun_costs_a_tenth_and_all_of_them_at_most_half(seconds, penalty):
    assert LateDays().late_submission_penalty("ann", 10.0, seconds) == penalty


def test_the_configuration_sets_the_rule():
    config = Config({"LateDays": {"share_per_day": 0.25, "most": 1.0, "grace_minutes": 0}})
    assert LateDays(config=config).late_submission_penalty("ann", 8.0, 1) == 2


def test_arrivals_are_read_in_any_time_zone(tmp_path):
    assert arrivals(tmp_path) == {}
    (tmp_path / ARRIVED).write_text("\ufeffstudent,arrived\nann,2026-12-01 18:00:00+01:00\nbob,2026-12-01T17:00\n")
    assert arrivals(tmp_path) == dict.fromkeys(("ann", "bob"), "2026-12-01 17:00:00 UTC")


@pytest.mark.parametrize("text", ["name,when\nann,today\n", "student,arrived\nann,some day\n", "student,arrived\nann\n"])
def test_a_table_of_arrivals_that_cannot_be_read_says_what_is_expected(tmp_path, text):
    (tmp_path / ARRIVED).write_text(text)
    with pytest.raises(ValueError, match=r"Expected .*arrived\.csv to have a first row student,arrived"):
        arrivals(tmp_path)

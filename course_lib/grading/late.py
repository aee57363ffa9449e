"""Late submissions: when each one arrived, and the rule that says what that costs.

The due date is the gradebook's (formgrader, "Manage Assignments", the pencil; or ``nbgrader db assignment add``). When a
submission arrived is the instructor's to say, in ``submissions/arrived.csv`` with the columns ``student`` and ``arrived``
(2026-12-01T18:00:00+01:00; UTC without a zone): a date inside a student's folder is the student's own. Who is not in that
file is on time.
"""

import csv
from datetime import UTC, datetime
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import LateSubmissionPlugin
from traitlets import Float

ARRIVED = "arrived.csv"
DAY = 24 * 60 * 60


class LateDays(LateSubmissionPlugin):
    """A share of the points for every day that has begun, after a short grace, up to a limit."""

    grace_minutes = Float(15, help="So late is still on time.").tag(config=True)
    share_per_day = Float(0.1, help="The share of the points that every late day costs.").tag(config=True)
    most = Float(0.5, help="The largest share that lateness costs.").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float | int, total_seconds_late: float | int) -> float:
        """The points that are taken away: nbgrader asks, and writes them into the gradebook."""
        late = total_seconds_late - 60 * self.grace_minutes
        days = -(-late // DAY) if late > 0 else 0
        return round(float(score * min(self.most, self.share_per_day * days)), 2)


def arrivals(submissions: Path) -> dict[str, str]:
    """When each student's submission arrived, as text that nbgrader reads. Raises ValueError for a table it cannot read."""
    path = submissions / ARRIVED
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    try:
        return {row["student"]: _in_utc(row["arrived"] or "") for row in rows}
    except (KeyError, ValueError) as error:
        expected = "student,arrived and rows such as ann,2026-12-01T18:00:00+01:00"
        raise ValueError(f"Expected {path} to have a first row {expected}. Got: {error}") from error


def _in_utc(text: str) -> str:
    when = datetime.fromisoformat(text.strip())
    when = when.astimezone(UTC) if when.tzinfo else when  # nbgrader itself takes +0100 for a hundred seconds
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def settle(book: Gradebook, assignment: str, rule: LateSubmissionPlugin) -> None:
    """Ask the rule again for every submission: marks given by hand since then have changed what a share of them is."""
    try:
        submissions = book.find_assignment(assignment).submissions
    except MissingEntry:
        return
    for submission in submissions:
        for notebook in submission.notebooks:
            late = submission.total_seconds_late
            penalty = rule.late_submission_penalty(submission.student.id, notebook.score, late) if late > 0 else None
            notebook.late_submission_penalty = penalty
    book.db.commit()

"""The instructor's report on a class: for each question how many passed, what went wrong most often, how long it took."""

from collections import Counter

from course_lib.grading.verdicts import Verdict

STATES = ("passed", "not yet", "error in your code", "not attempted")
COMMON = 3  # mistakes listed for a question
LONGEST = 90  # characters of a mistake


def report(by_question: dict[str, list[Verdict]]) -> str:
    """Plain text: a table with a row for each grade cell, then its commonest mistakes."""
    width = max(map(len, by_question), default=0)
    lines = [" " * width + "".join(f"{state:>20}" for state in STATES) + "   median seconds"]
    for label, verdicts in by_question.items():
        count = Counter(verdict.check.state for verdict in verdicts)
        shares = "".join(f"{count[state]:>12} ({count[state] / len(verdicts):>4.0%})" for state in STATES)
        seconds = sorted(verdict.seconds for verdict in verdicts)[len(verdicts) // 2]
        lines.append(f"{label:{width}}{shares}{seconds:>17.2f}")
    for label, verdicts in by_question.items():
        lines += [f"{label}: {number} x {words}" for words, number in mistakes(verdicts)]
    return "\n".join(lines) + "\n"


def mistakes(verdicts: list[Verdict]) -> list[tuple[str, int]]:
    """The commonest messages of checks that did not pass, with their numbers."""
    wrong = [verdict.check for verdict in verdicts if verdict.check.state in ("not yet", "error in your code")]
    words = [check.message.partition("\n")[0] or check.state for check in wrong]
    return Counter(text if len(text) <= LONGEST else text[: LONGEST - 3] + "..." for text in words).most_common(COMMON)

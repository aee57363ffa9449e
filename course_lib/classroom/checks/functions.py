"""What checks of functions share: call the learner's function, and read what it returns.

Both run beside the learner's code: they may say no (``NotYet``), never yes.
"""

import math
import operator
from typing import Any

from course_lib.classroom.checks.base import NotYet


def call(name: str, function: Any, *arguments: Any, **options: Any) -> Any:
    """``function(*arguments)``, where ``function`` must be the learner's own and must return something."""
    if not callable(function):
        raise NotYet(
            f"Expected the function {name}, got a {type(function).__name__}.",
            f"Give the check the function itself: {name}, not {name}(...).",
        )
    if str(getattr(function, "__module__", "")).startswith("course_lib."):
        raise NotYet(f"This is the course's own {name}.", "Write yours.")
    result = function(*arguments, **options)
    if result is None:
        raise NotYet(f"{name} returns nothing.", "Is a return missing?")
    return result


def whole_number(value: Any, name: str) -> int:
    """A Python, NumPy or torch number without a fraction, as an int."""
    try:
        number = operator.index(value) if not hasattr(value, "item") else value.item()
    except TypeError:
        number = value
    if isinstance(number, (int, float)) and math.isfinite(number) and number == int(number):
        return int(number)
    raise NotYet(f"{name} must be a whole number, got {value!r}.", "Is there a / where you meant // or *?")

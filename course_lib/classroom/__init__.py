"""The classroom: what learners see and touch: plots, widgets, checks.

The checks also run inside the grading sandbox, where every import costs time and trust: this file therefore imports
nothing. A heavy part's front door is named in ``_HOMES`` and loaded when asked for.
"""

_HOMES = {
    "ActionTokenSliders": "action_sliders",
    "AskRobot": "ask_robot",
    "AttentionWidget": "widgets",
    "FilmDial": "film_dial",
    "LabPanel": "lab_panel",
    "VocabularyExplorer": "vocabulary_explorer",
    "attention_figure": "plots",
    "attention_shares": "attention_trace",
    "watch": "attention_trace",
}

__all__ = [
    "ActionTokenSliders",
    "AskRobot",
    "AttentionWidget",
    "FilmDial",
    "LabPanel",
    "VocabularyExplorer",
    "attention_figure",
    "attention_shares",
    "watch",
]


def __getattr__(name: str) -> object:
    """Load a part on first use: ``from course_lib.classroom import AttentionWidget``."""
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(f"course_lib.classroom.{_HOMES[name]}"), name)
    raise AttributeError(f"course_lib.classroom has no {name!r}. There are {', '.join(__all__)}, and the folder checks.")

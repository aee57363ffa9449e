"""The classroom: what learners see and touch: plots, widgets, checks.

The checks also run inside the grading sandbox, where every import costs time and trust: this file therefore imports
nothing. Name a heavy part's front door here with a module ``__getattr__`` (loaded when asked for), not an import.
"""

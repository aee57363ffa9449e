"""Robotics Transformers: the library behind the workbook.

The loop that both days study:

    instruction --.                                    .-- web pictures + text
                  v                                    |
    image --> vision --> tokens --> transformer --> action tokens --> robot --> image ...

Rooms, each with a front door (``from course_lib.rt1 import FiLM``):
``interfaces`` ``actions`` ``attention`` (ground floor) · ``world`` · ``datasets`` · ``rt1`` · ``rt2`` ·
``learn`` (changes weights) · ``measure`` (only looks) · ``classroom`` · ``grading``.

Importing this package imports nothing heavy.
"""

"""The robot's world: a batched tabletop, its pictures, its tasks and experts.

``import course_lib.world`` registers the Gymnasium environment ``course_lib/Tabletop-v0``.
"""

from course_lib.world.env import TabletopEnv, TabletopVectorEnv, register
from course_lib.world.experts import pick_expert
from course_lib.world.render import render, segment
from course_lib.world.tabletop import TabletopState
from course_lib.world.tasks import PICK_TASKS, Task, known_instructions

__all__ = [
    "PICK_TASKS",
    "TabletopEnv",
    "TabletopState",
    "TabletopVectorEnv",
    "Task",
    "known_instructions",
    "pick_expert",
    "render",
    "segment",
]

register()

"""The robot's world: a batched tabletop, its pictures, its tasks and experts.

``import course_lib.world`` registers the Gymnasium environment ``course_lib/Tabletop-v0``.
"""

from course_lib.world.env import TabletopEnv, TabletopVectorEnv, register
from course_lib.world.experts import ExpertPolicy, expert
from course_lib.world.render import render, segment
from course_lib.world.scenes import scene
from course_lib.world.tabletop import TabletopState
from course_lib.world.tasks import ALL_TASKS, PICK_TASKS, Goals, Task, known_instructions

__all__ = [
    "ALL_TASKS",
    "PICK_TASKS",
    "ExpertPolicy",
    "Goals",
    "TabletopEnv",
    "TabletopState",
    "TabletopVectorEnv",
    "Task",
    "expert",
    "known_instructions",
    "render",
    "scene",
    "segment",
]

register()

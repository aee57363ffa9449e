"""Scripted experts: policies that may look at the state, and whose actions the models learn from.

An expert is a function of the current state only (no plan in its head), so it recovers from any situation: a missed
grasp, the wrong object in hand, a push. Its steps lie on a 1 cm lattice inside the 256 bins: with continuous steps a
small policy needed far longer to learn the same skill.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.world.tabletop import SPACE, TabletopState, tips
from course_lib.world.tasks import LIFTED, target_place

HOVER = 0.10  # height while travelling over the other objects
GRASP_AT = 0.02  # height at which the fingers close
ALIGNED = 0.018  # near enough in the plane to go straight down
LATTICE = 0.01


def _toward(delta: Tensor) -> Tensor:
    """A step along ``delta``: at most 5 cm per axis, in whole centimetres."""
    return (delta / LATTICE).round().clamp(-5, 5) * LATTICE


def pick_expert(state: TabletopState, target: Int[Tensor, " N"]) -> Float[Tensor, "N A"]:
    """The action of an expert picker for each table: float32 in the workbook's action space."""
    N = len(state)
    place = target_place(state, target)
    tip = tips(state)
    goal = state.xyz[torch.arange(N, device=tip.device), place]  # (N, 3)
    delta = goal[:, :2] - tip[:, :2]
    far = delta.abs().amax(-1)
    has_target, has_other = state.held == place, (state.held >= 0) & (state.held != place)
    missed = state.closed & (state.held < 0)
    aligned = far < ALIGNED
    action = torch.zeros(N, len(SPACE), device=tip.device)

    travel = ~has_target & ~has_other & ~missed
    height = torch.where(far < 0.05, GRASP_AT, HOVER)  # start going down over the last 5 cm
    height = torch.where(aligned, torch.full_like(height, GRASP_AT), height)
    close = travel & aligned & (tip[:, 2] < GRASP_AT + 0.01)
    move = travel & ~close
    action[:, :2] = torch.where(move[:, None], _toward(delta), action[:, :2])
    action[:, 2] = torch.where(move, _toward(height - tip[:, 2]), action[:, 2])
    action[:, 6] = _gripper_command(close | has_target)
    rise = has_target & (tip[:, 2] < LIFTED + 0.01)
    action[:, 2] = torch.where(rise, torch.full_like(tip[:, 2], 0.05), action[:, 2])
    action[:, 10] = (has_target & ~rise).float()
    return action


def _gripper_command(close: Bool[Tensor, " N"]) -> Float[Tensor, " N"]:
    return torch.where(close, 1.0, -1.0)

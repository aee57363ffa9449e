"""Distillation: a small, fast student learns from what a large teacher thinks, and not from the right answers alone.

Hinton, Vinyals, Dean 2015 (arXiv 1503.02531). Teacher's and student's logits are divided by the same temperature T: the
teacher's small probabilities, which say what is nearly right, become visible. Gradients of the softened part shrink with
1 / T^2, so it is multiplied by T^2 (their section 2). Teacher and student meet in an action's A numbers of V bins:
how each makes them is its own affair. Lesson: day93_rt2/4_deployment.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.learn.train import History, Schedule, behaviour_clone

Scores = tuple[Float[Tensor, "n A V"], Int[Tensor, "n A"]]


@runtime_checkable
class SpeaksActions(Protocol):
    """A policy whose thoughts about an action can be read: logits (n, A, V) of a batch, and its true bins (n, A).

    -inf means impossible. RT1 and RT2 have it; each reads a batch of its own format.
    """

    def action_logits(self, batch: Mapping[str, Any]) -> Scores: ...


def distill(
    teacher: Any,
    student: nn.Module,
    batches: Callable[[int], Mapping[str, Mapping[str, Any]]],
    schedule: Schedule,
    *,
    temperature: float | int = 2.0,
    hard: float | int = 0.5,
    **options: Any,
) -> History:
    """``teacher`` teaches ``student`` (both SpeaksActions) by ``Distillation``'s loss; stops and resumes as behaviour_clone.

    ``batches(step)`` has the same steps twice, ``{"student": batch, "teacher": batch}``: each in its reader's format
    (``datasets.Pairs``). The teacher is not changed. ``options``: resume, save_every, progress, on_step. Raises
    ValueError for other temperatures and shares, for policies that cannot say their logits, and for batches whose two
    halves are not the same steps.
    """
    return behaviour_clone(Distillation(teacher, student, temperature, hard), batches, schedule, **options)


class Distillation(nn.Module):
    """A student's training: ``hard`` x cross-entropy + (1 - ``hard``) x ``soft_loss``. Its weights are the student's.

    ``hard`` 1 is behaviour cloning, and the teacher is not asked; 0 is the teacher's word alone.
    """

    def __init__(self, teacher: Any, student: nn.Module, temperature: float | int = 2.0, hard: float | int = 0.5):
        super().__init__()
        if not 0 < temperature < float("inf") or not 0 <= hard <= 1:
            raise ValueError(f"Expected a temperature above 0 and hard from 0 to 1, got {temperature} and {hard}.")
        for role, policy in (("teacher", teacher), ("student", student)):
            if not isinstance(policy, SpeaksActions):
                raise ValueError(
                    f"The {role}, a {type(policy).__name__}, has no action_logits(batch) -> (logits (n, A, V), true bins "
                    "(n, A)). RT1 and RT2 have it; write it for your own policy."
                )
        self.student, self.temperature, self.hard = student, temperature, hard
        self._teacher = (teacher,)  # a tuple hides its weights: they are not to be trained, nor saved
        self.settings = f"temperature {temperature}, hard {hard}"

    def loss(self, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """The loss of a batch in two formats."""
        if not {"student", "teacher"} <= set(batch):
            raise ValueError(f"Expected a batch with the parts 'student' and 'teacher', got {', '.join(map(str, batch))}.")
        logits, labels = self.student.action_logits(batch["student"])
        told = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        if self.hard == 1:
            return told
        wanted, same = self._ask(batch["teacher"])
        wanted, same = wanted.to(logits.device), same.to(labels.device)
        if wanted.shape != logits.shape or not torch.equal(same, labels):
            raise ValueError(
                "Teacher and student must read the same steps in the same bins: their logits are "
                f"{tuple(wanted.shape)} and {tuple(logits.shape)}, and their true bins "
                f"{'agree' if same.shape == labels.shape and torch.equal(same, labels) else 'differ'}. "
                "Is one half of the batch in another order, or another action space?"
            )
        return self.hard * told + (1 - self.hard) * soft_loss(logits, wanted, self.temperature)

    def _ask(self, batch: Mapping[str, Any]) -> Scores:
        """The teacher's scores: without dropout and without a gradient."""
        teacher = self._teacher[0]
        training = isinstance(teacher, nn.Module) and teacher.training
        if training:
            teacher.eval()
        try:
            with torch.no_grad():
                return teacher.action_logits(batch)
        finally:
            if training:
                teacher.train()


def soft_loss(
    student: Float[Tensor, "*batch V"], teacher: Float[Tensor, "*batch V"], temperature: float | int
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) of logits over V, both divided by T; the mean over all else. 0 where they agree.

    From log_softmax: the logarithm of a softmax is -inf as soon as a probability is below 1e-45. What the teacher holds
    impossible (-inf) costs the student what it believes of it, no more.
    """
    wanted = (teacher.float() / temperature).log_softmax(-1)
    said = (student.float() / temperature).log_softmax(-1)
    each = wanted.exp() * (wanted - said).masked_fill(wanted == -torch.inf, 0)
    return temperature**2 * each.sum(-1).mean()

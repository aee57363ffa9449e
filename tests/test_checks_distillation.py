"""The check of the distillation loss: right losses of every style pass; the one-liners that people write have messages."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checks_tried import accepted, all_different, forgeries_rejected, rejected

from course_lib.classroom.checks.distillation import DISTILLATION
from course_lib.learn.distill import soft_loss


def told(student, target):
    return F.cross_entropy(student.flatten(0, 1), target.flatten())


def with_kl_div(student, teacher, target, temperature, hard):
    """The textbook's."""
    wanted, said = (teacher.detach() / temperature).softmax(-1), (student / temperature).log_softmax(-1)
    soft = F.kl_div(said, wanted, reduction="none").sum(-1).mean()
    return hard * told(student, target) + (1 - hard) * temperature**2 * soft


def in_log_space(student, teacher, target, temperature, hard):
    A = student.shape[1]
    with torch.no_grad():
        wanted = F.log_softmax(teacher / temperature, dim=2)
    said = F.log_softmax(student / temperature, dim=2)
    soft = F.kl_div(said, wanted, reduction="batchmean", log_target=True) / A
    return hard * F.cross_entropy(student.mT, target) + (1 - hard) * temperature**2 * soft


def in_double_with_einsum(student, teacher, target, temperature, hard):
    s, t = student.double(), teacher.detach().double()
    wanted = (t / temperature).softmax(-1)
    logs = [x / temperature - (x / temperature).logsumexp(-1, keepdim=True) for x in (t, s)]
    soft = torch.einsum("bav,bav->ba", wanted, logs[0] - logs[1]).mean()
    each = s.logsumexp(-1) - s.gather(-1, target[..., None])[..., 0]
    return (hard * each + (1 - hard) * temperature**2 * soft).mean()


def with_loops(student, teacher, target, temperature, hard):
    losses = []
    for s, t, right in zip(student.flatten(0, 1), teacher.detach().flatten(0, 1), target.flatten(), strict=True):
        wanted, said = (t / temperature).log_softmax(0), (s / temperature).log_softmax(0)
        soft = temperature**2 * (wanted.exp() * (wanted - said)).sum()
        losses.append(hard * -s.log_softmax(0)[right] + (1 - hard) * soft)
    return torch.stack(losses).mean()


def by_parts_of_the_course(student, teacher, target, temperature, hard):
    return hard * told(student, target) + (1 - hard) * soft_loss(student, teacher.detach(), temperature)


RIGHT = {f.__name__: f for f in (with_kl_div, in_log_space, in_double_with_einsum, with_loops, by_parts_of_the_course)}


def but(*, soft=None, hard_part=None, total=lambda h, told, soft, T: h * told + (1 - h) * T**2 * soft):
    """The textbook's with one part exchanged; soft(s, t, T) on logits."""

    def distillation_loss(student, teacher, target, temperature, hard):
        t = teacher.detach()
        softened = kl(t / temperature, student / temperature) if soft is None else soft(student, t, temperature)
        right = told(student, target) if hard_part is None else hard_part(student, target, temperature)
        return total(hard, right, softened, temperature)

    return distillation_loss


def kl(t, s, dim=-1):
    return F.kl_div(s.log_softmax(dim), t.softmax(dim), reduction="none").sum(-1).mean()


def reduced(reduction):
    return lambda s, t, T: F.kl_div((s / T).log_softmax(-1), (t / T).softmax(-1), reduction=reduction)


def seeds_one_line(student, teacher, target, temperature, hard):
    """A published one-liner: T on the teacher only, no T^2, the logarithm of a softmax."""
    return F.kl_div(student.softmax(-1).log(), (teacher / temperature).softmax(-1))


def cut(student, teacher, target, temperature, hard):
    return with_kl_div(student.detach(), teacher, target, temperature, hard)


def half_cut(student, teacher, target, temperature, hard):
    return hard * told(student, target) + (1 - hard) * soft_loss(student.detach(), teacher.detach(), temperature)


def into_the_teacher(student, teacher, target, temperature, hard):
    return hard * told(student, target) + (1 - hard) * soft_loss(student, teacher, temperature)


def in_place(student, teacher, target, temperature, hard):
    with torch.no_grad():
        teacher /= temperature
    return hard * told(student, target) + (1 - hard) * temperature**2 * kl(teacher, student / temperature)


def stub(*_):
    raise NotImplementedError


WRONG = {
    "no T^2": (but(total=lambda h, r, s, T: h * r + (1 - h) * s), "T^2 is missing"),
    "T": (but(total=lambda h, r, s, T: h * r + (1 - h) * T * s), "Times T, but it is T^2"),
    "over T^2": (but(total=lambda h, r, s, T: h * r + (1 - h) * s / T**2), "Divided by T^2"),
    "T^2 everywhere": (but(total=lambda h, r, s, T: T**2 * (h * r + (1 - h) * s)), "multiplies the right answers too"),
    "exchanged": (but(total=lambda h, r, s, T: (1 - h) * r + h * T**2 * s), "hard and 1 - hard are exchanged"),
    "both fully": (but(total=lambda h, r, s, T: r + T**2 * s), "hard is not used"),
    "hard fully": (but(total=lambda h, r, s, T: r + (1 - h) * T**2 * s), "The right answers count fully"),
    "soft fully": (but(total=lambda h, r, s, T: h * r + T**2 * s), "The teacher counts fully"),
    "soft only": (but(total=lambda h, r, s, T: T**2 * s), "The right answers do not count at all"),
    "hard only": (but(total=lambda h, r, s, T: r), "The teacher does not count at all"),
    "no hard part": (but(total=lambda h, r, s, T: (1 - h) * T**2 * s), "The part of the right answers is missing"),
    "no soft part": (but(total=lambda h, r, s, T: h * r), "The part of the teacher is missing"),
    "batchmean": (but(soft=reduced("batchmean")), "summed over the dimensions"),
    "mean": (but(soft=reduced("mean")), "divided by the bins too"),
    "sum": (but(soft=reduced("sum")), "a sum over all images"),
    "teacher's T": (but(soft=lambda s, t, T: kl(t / T, s)), "Only the teacher is softened"),
    "student's T": (but(soft=lambda s, t, T: kl(t, s / T)), "Only the student is softened"),
    "no T": (but(soft=lambda s, t, T: kl(t, s)), "Nothing is softened"),
    "times T": (but(soft=lambda s, t, T: kl(t * T, s * T)), "sharpens instead of softening"),
    "wrong way": (but(soft=lambda s, t, T: kl(s / T, t / T)), "KL is the wrong way round"),
    "sign": (but(soft=lambda s, t, T: -kl(t / T, s / T)), "The sign of the soft part"),
    "cross-entropy": (
        but(soft=lambda s, t, T: -((t / T).softmax(-1) * (s / T).log_softmax(-1)).sum(-1).mean()),
        "This is a cross-entropy with the teacher",
    ),
    "probabilities": (
        but(soft=lambda s, t, T: F.kl_div((s / T).softmax(-1), (t / T).softmax(-1), reduction="none").sum(-1).mean()),
        "expects their logarithms",
    ),
    "squares": (but(soft=lambda s, t, T: (s - t).square().mean()), "compares logits by their squares"),
    "other axis": (but(soft=lambda s, t, T: kl(t / T, s / T, dim=1)), "softmax runs over the dimensions"),
    "hard at T": (but(hard_part=lambda s, right, T: told(s / T, right)), "The right answers are compared at T"),
    "log of softmax": (
        but(soft=lambda s, t, T: F.kl_div((s / T).softmax(-1).log(), (t / T).softmax(-1), reduction="none").sum(-1).mean()),
        "NaN or infinite",
    ),
    "a published line": (seeds_one_line, "For these logits the loss is"),
    "cut": (cut, "No gradient reaches the student"),
    "half cut": (half_cut, "its gradient for the student is not"),
    "teacher learns": (into_the_teacher, "The teacher gets a gradient"),
    "in place": (in_place, "changed in place"),
    "per dimension": (
        but(total=lambda h, r, s, T: (h * r + (1 - h) * T**2 * s).repeat(3)),
        "The loss should have the shape ()",
    ),
    "a float": (lambda *a: float(with_kl_div(*a)), "The loss should be a tensor"),
    "nothing": (lambda *_: None, "returns nothing"),
    "stub": (stub, "There is still a stub", "not attempted"),
    "crash": (
        lambda s, t, y, T, h: F.cross_entropy(s, y[:, :1]),
        "Expected target size",
        "error in your code",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_losses_of_every_style_pass(name):
    accepted(DISTILLATION, RIGHT[name], seeds=8)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_told_its_own_mistake(name):
    rejected(DISTILLATION, *WRONG[name], seeds=6)


def test_no_two_mistakes_share_a_message():
    all_different([DISTILLATION.check(answer, 0).message for answer, *_ in WRONG.values()])


def test_forged_evidence_never_passes():
    forgeries_rejected(DISTILLATION, with_kl_div)


def test_the_gradient_of_the_oracle_is_that_of_torch():
    case = DISTILLATION.draw(np.random.default_rng(3), True)[-2]
    record = DISTILLATION.probe(in_double_with_einsum, case)
    DISTILLATION.judge(case, record)
    record["student_grad"] = record["student_grad"] * np.float32(1.01)
    with pytest.raises(Exception, match="gradient for the student"):
        DISTILLATION.judge(case, record)

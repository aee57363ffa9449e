"""The check of the distillation loss: the teacher's softened opinion and the right answer, in the right proportion.

The oracle is NumPy in double precision: T^2 KL(teacher / T || student / T) and cross-entropy, means over images and
action dimensions; value, gradient for the student, none for the teacher. Sizes are treacherous: in the first case images,
dimensions and bins are equal; in the last one the logits are those on which the logarithm of a softmax is infinite.
Source: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2. Lesson: day93_rt2/4_deployment.
"""

from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.co_fine_tuning import log_softmax
from course_lib.classroom.checks.evidence import array, same, tensor
from course_lib.classroom.checks.functions import call

LESSON = "notebooks/day93_rt2/4_deployment.ipynb, part distillation"
FORMULA = "hard * cross-entropy + (1 - hard) * T^2 * KL(teacher at T || student at T)"


# --- inputs and experiment ---------------------------------------------------------------------------------------------


def draw_distillation(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random logits: all sizes equal; other sizes; logits far apart. Hidden: RT-1's eleven times 256 as well."""
    n = int(rng.integers(4, 7))
    cases = [_opinions(rng, n, n, n), _opinions(rng, 3, 2, 7), _opinions(rng, 2, 3, 5, far=True)]
    return [*cases, _opinions(rng, 2, 11, 256), _opinions(rng, 1, 1, 3)] if hidden else cases


def _opinions(rng: np.random.Generator, B: int, A: int, V: int, far: bool = False) -> Case:
    student, teacher = 2 * rng.normal(size=(2, B, A, V))
    if far:
        student[..., 0], student[..., 1], student[..., 2] = 0, -900, 3  # a student who is very sure
        teacher[..., 1] = -900  # so is the teacher
    return {
        "student": student.astype(np.float32),
        "teacher": teacher.astype(np.float32),
        "target": rng.integers(2, V, (B, A)),
        "temperature": np.array(rng.uniform(2, 4)),
        "hard": np.array(rng.choice([0.2, 0.7]) + rng.uniform(-0.05, 0.05)),
    }


def probe_distillation(distillation_loss: Any, case: Case) -> Record:
    """The loss, its gradient for the student, and whether the teacher has one."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)

    logits = [torch.from_numpy(case[name].copy()).requires_grad_() for name in ("student", "teacher")]
    target, T, hard = torch.from_numpy(case["target"].copy()), float(case["temperature"]), float(case["hard"])
    with torch.enable_grad():
        loss = call("distillation_loss", distillation_loss, *logits, target, T, hard)
        tensor(loss, "The loss", (), "The result is one number: means over images and dimensions.")
        if loss.requires_grad:
            loss.backward()
    names = ("student", "teacher")
    if any(not np.array_equal(x.detach().numpy(), case[name]) for x, name in zip(logits, names, strict=True)):
        raise NotYet("The logits are changed in place.", "They belong to the caller: student / T, not student /= T.")
    mine, theirs = (torch.zeros_like(x) if x.grad is None else x.grad for x in logits)
    record = {"loss": loss.detach().float(), "student_grad": mine.float(), "teacher_learns": theirs.any()}
    return {name: value.numpy() for name, value in record.items()}


# --- the verdict: arithmetic -------------------------------------------------------------------------------------------


class _Parts:
    """The pieces of the right loss, and of wrong ones."""

    def __init__(self, case: Case):
        self.s, self.t = (case[name].astype(np.float64) for name in ("student", "teacher"))
        self.T, self.hard = float(case["temperature"]), float(case["hard"])
        self.B, self.A, self.V = self.s.shape
        self.truth = np.eye(self.V)[case["target"]]
        self.told = self.cross_entropy(self.s)

    def cross_entropy(self, logits: np.ndarray) -> float:
        return float(-(log_softmax(logits) * self.truth).sum(-1).mean())

    def divergence(self, t: np.ndarray | None = None, s: np.ndarray | None = None) -> float:
        """KL(t || s) of logits, without T^2; the mean over images and dimensions."""
        t, s = (log_softmax(given) for given in (self.t / self.T if t is None else t, self.s / self.T if s is None else s))
        return float((np.exp(t) * (t - s)).sum(-1).mean())

    def entropy(self) -> float:
        """The teacher's, softened: what cross-entropy has and KL has not."""
        t = log_softmax(self.t / self.T)
        return float(-(np.exp(t) * t).sum(-1).mean())

    def loss(self, soft: float | np.ndarray, told: float | np.ndarray | None = None) -> float | np.ndarray:
        """The two parts, or their gradients, put together."""
        return self.hard * (self.told if told is None else told) + (1 - self.hard) * soft

    def right(self) -> float:
        return self.loss(self.T**2 * self.divergence())

    def gradient(self) -> np.ndarray:
        """For the student: d CE = p - truth; d KL at T = (q - p) / T, times T^2."""
        soft = self.T * (np.exp(log_softmax(self.s / self.T)) - np.exp(log_softmax(self.t / self.T)))
        told = np.exp(log_softmax(self.s)) - self.truth
        return self.loss(soft, told) / (self.B * self.A)


def judge_distillation(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    shape, parts = case["student"].shape, _Parts(case)
    loss = array(record, "loss", ())
    mine, teacher_learns = array(record, "student_grad", shape), array(record, "teacher_learns", (), np.bool_)
    if not (np.isfinite(loss) and np.isfinite(mine).all()):
        raise NotYet(
            "The loss or its gradient is NaN or infinite.",
            "A probability below 1e-45 is 0 in float32, and its logarithm -inf: use log_softmax, never softmax().log().",
        )
    if not same(loss, parts.right()):
        for value, message, hint in [*_wrong_sums(parts), *_wrong_parts(parts)]:
            if same(loss, value):
                raise NotYet(message, hint)
        raise NotYet(f"For these logits the loss is {parts.right():.5g}, yours is {float(loss):.5g}.", FORMULA)
    if not mine.any():
        raise NotYet("No gradient reaches the student.", "Something cuts the graph: .item(), .detach() or torch.no_grad().")
    if not same(mine, parts.gradient()):
        raise NotYet("The loss is right, but its gradient for the student is not.", "Is a part of it cut off the graph?")
    if teacher_learns:
        raise NotYet(
            "The teacher gets a gradient: it would learn from its student.",
            "Its opinion is given: teacher.detach(), or torch.no_grad() around its part.",
        )


def _wrong_sums(p: _Parts) -> list[tuple[float, str, str]]:
    """Right parts, put together in the usual wrong ways."""
    soft, T = p.divergence(), p.T
    square = "Gradients of the soft part shrink with 1 / T^2; T^2 restores them."
    mean = "Sum over the bins, mean over images and dimensions: reduction='none', .sum(-1), .mean()."
    return [
        (p.loss(soft), "T^2 is missing: at a high temperature the teacher is hardly heard.", square),
        (p.loss(T * soft), "Times T, but it is T^2.", square),
        (p.loss(soft / T**2), "Divided by T^2, but it is times T^2.", square),
        (T**2 * p.loss(soft), "T^2 multiplies the right answers too.", "Only the softened part shrinks with T."),
        (p.hard * T**2 * soft + (1 - p.hard) * p.told, "hard and 1 - hard are exchanged.", FORMULA),
        (p.told + T**2 * soft, "hard is not used: both parts count fully.", FORMULA),
        (p.told + (1 - p.hard) * T**2 * soft, "The right answers count fully: hard is missing there.", FORMULA),
        (p.hard * p.told + T**2 * soft, "The teacher counts fully: 1 - hard is missing there.", FORMULA),
        (T**2 * soft, "The right answers do not count at all.", FORMULA),
        (p.told, "The teacher does not count at all.", FORMULA),
        ((1 - p.hard) * T**2 * soft, "The part of the right answers is missing.", FORMULA),
        (p.hard * p.told, "The part of the teacher is missing.", FORMULA),
        (p.loss(p.A * T**2 * soft), "The soft part is summed over the dimensions (reduction='batchmean' does this).", mean),
        (p.loss(T**2 * soft / p.V), "The soft part is divided by the bins too (reduction='mean' does this).", mean),
        (p.loss(p.A * p.B * T**2 * soft), "The soft part is a sum over all images.", mean),
    ]  # fmt: skip


def _wrong_parts(p: _Parts) -> list[tuple[float, str, str]]:
    """Parts that are computed in the usual wrong ways, rightly put together."""
    T2, both = p.T**2, "Both are divided by T, so that they are compared at the same softness."
    order = "F.kl_div(log of the student's, teacher's probabilities): the first argument is a logarithm."
    student, teacher = np.exp(log_softmax(p.s / p.T)), np.exp(log_softmax(p.t / p.T))
    ways = [
        (T2 * p.divergence(s=p.s), "Only the teacher is softened: the student would copy a flattened opinion.", both),
        (T2 * p.divergence(t=p.t), "Only the student is softened.", both),
        (T2 * p.divergence(p.t, p.s), "Nothing is softened: both distributions are taken at T = 1.", both),
        (T2 * p.divergence(p.t * p.T, p.s * p.T), "Multiplied by T: that sharpens instead of softening.", "logits / T."),
        (T2 * p.divergence(p.s / p.T, p.t / p.T), "KL is the wrong way round: KL(student || teacher).", order),
        (-T2 * p.divergence(), "The sign of the soft part is wrong.", "KL is never negative, and 0 where they agree."),
        (
            T2 * (p.divergence() + p.entropy()),
            "This is a cross-entropy with the teacher: not 0 when student and teacher agree.",
            "Same gradient, but KL also takes the teacher's entropy off: sum of p * (log p - log q).",
        ),
        (
            T2 * float((teacher * (np.log(np.maximum(teacher, 1e-300)) - student)).sum(-1).mean()),
            "kl_div is given the student's probabilities: it expects their logarithms.",
            order,
        ),
        (T2 * float(((p.s - p.t) ** 2).mean()), "This compares logits by their squares.", FORMULA),
    ]  # fmt: skip
    found = [(p.loss(soft), message, hint) for soft, message, hint in ways]
    if p.s.shape[1] == p.s.shape[2]:  # only then a softmax over the wrong axis has a gradient of the same shape
        t, s = (log_softmax((x / p.T).swapaxes(1, 2)) for x in (p.t, p.s))
        wrong_axis = float((np.exp(t) * (t - s)).sum(-1).mean())
        found.append((p.loss(T2 * wrong_axis), "softmax runs over the dimensions: it must run over the bins.", "dim=-1."))
    found.append(
        (p.loss(T2 * p.divergence(), p.cross_entropy(p.s / p.T)), "The right answers are compared at T.", "At T = 1.")
    )
    return found


HINTS = (
    ("Expected target size|batch_size .* match", "F.cross_entropy wants the bins on axis 1: student.mT, or flatten(0, 1)."),
)
DISTILLATION = Exercise("distillation_loss", LESSON, draw_distillation, probe_distillation, judge_distillation, HINTS)


def check_distillation_loss(distillation_loss: Any, seed: int | None = None) -> Check:
    """Try a learner's ``distillation_loss(student, teacher, target, temperature, hard)`` and name the first mistake."""
    return DISTILLATION.check(distillation_loss, seed)

"""Distillation: the loss against arithmetic, the seed's one-line version against both, and RT-2 teaching RT-1."""

import math

import numpy as np
import pytest
import small_rt1
import small_rt2
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.actions import ActionSpace
from course_lib.datasets import Pairs, record
from course_lib.learn import Distillation, Schedule, behaviour_clone, distill, soft_loss
from course_lib.rt1 import RT1
from course_lib.rt2 import RT2, PaliGemma, PaliGemmaConfig, TinyTokenizer
from course_lib.rt2.config import GemmaConfig, SigLIPConfig
from course_lib.rt2.prompts import Prompts, action_layouts
from course_lib.world.splits import training_tasks

SCHEDULE = Schedule(steps=6, lr=0.01, warmup=1, bf16=False)
REST = ("base_x", "base_y", "base_yaw")


# ---- the loss


def test_the_soft_loss_of_two_coins_is_the_hand_computed_one():
    """Teacher 3:1, student 1:1, T = 1: KL = 0.75 ln 1.5 + 0.25 ln 0.5. At T = 2 the odds are 3^(1/2):1, and T^2 is 4."""
    teacher, student = torch.tensor([math.log(3.0), 0.0]), torch.zeros(2)
    want = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_loss(student, teacher, 1).item() == pytest.approx(want, rel=1e-5)
    p = math.sqrt(3) / (1 + math.sqrt(3))
    want = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert soft_loss(student, teacher, 2).item() == pytest.approx(want, rel=1e-4)


def test_the_soft_loss_is_nothing_where_they_agree_and_equals_torchs_otherwise():
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 3, 11, generator=rng)
    assert soft_loss(teacher + 5, teacher, 3).item() == pytest.approx(0, abs=1e-5)  # a constant changes no probability
    parts = [(x / 3).log_softmax(-1).flatten(0, 1) for x in (student, teacher)]
    want = 9 * F.kl_div(*parts, reduction="batchmean", log_target=True)
    torch.testing.assert_close(soft_loss(student, teacher, 3), want)


def gradient(loss, student, teacher, temperature):
    student = student.clone().requires_grad_()
    loss(student, teacher, temperature).backward()
    return student.grad


def one_line(student, teacher, temperature):
    """Seed 003: the temperature on the teacher's side alone, the logarithm of a softmax, no T^2."""
    return F.kl_div(F.softmax(student, -1).log(), F.softmax(teacher / temperature, -1), reduction="batchmean")


def test_without_the_square_of_the_temperature_the_gradient_fades_and_with_it_it_does_not():
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 64, 16, generator=rng)
    sizes = [gradient(soft_loss, student, teacher, T).norm() for T in (1, 8, 64)]
    assert sizes[1] / sizes[0] > 0.5 and sizes[2] / sizes[1] > 0.9
    limit = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))  # Hinton's eq. 4
    torch.testing.assert_close(gradient(soft_loss, student, teacher, 1000), limit / 16 / 64, atol=1e-5, rtol=0.01)


def test_large_logits_break_the_one_line_version_and_not_this_one():
    student, teacher = torch.tensor([[0.0, -200.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    assert one_line(student, teacher, 1).isinf() and gradient(one_line, student, teacher, 1).isnan().any()
    assert soft_loss(student, teacher, 1).isfinite() and gradient(soft_loss, student, teacher, 1).isfinite().all()


def test_a_temperature_on_one_side_teaches_flatness():
    """The best student of the one-line version is as flat as the softened teacher; ours is as sharp as the teacher."""
    teacher = torch.tensor([[2.0, 0.0, 0.0, 1.0]])
    assert gradient(soft_loss, teacher, teacher, 4).abs().max() < 1e-6
    assert (
        gradient(one_line, teacher / 4, teacher, 4).abs().max() < 1e-6 < gradient(one_line, teacher, teacher, 4).abs().max()
    )


def test_what_the_teacher_holds_impossible_costs_a_finite_price():
    teacher = torch.tensor([[1.0, -torch.inf, 0.0]])
    student = torch.tensor([[1.0, 2.0, 0.0]])
    slope = gradient(soft_loss, student, teacher, 2)
    assert soft_loss(student, teacher, 2).isfinite() and slope.isfinite().all() and slope[0, 1] > 0 > slope[0, 0]
    assert soft_loss(teacher.clamp(min=-1e4), teacher, 2).item() == pytest.approx(0, abs=1e-6)


# ---- a student and its teacher


@pytest.fixture(scope="module")
def pairs():
    """64 x 64 pictures of recorded episodes, cut to the small policies' sizes."""
    data = record(4, training_tasks(), seed=1_000_000)
    words = torch.randn(len(data.sentences()), 12, generator=torch.Generator().manual_seed(0))
    return Pairs(data, words, history=3, batch=3, size=32)


def small_student():
    torch.manual_seed(0)
    return RT1(small_rt1.config())


def small_teacher(pairs, layout="integers"):
    """An untrained RT-2 that knows the words of the data."""
    torch.manual_seed(3)
    words = {word for sentence in pairs.data.sentences() for word in sentence.split()}
    tokenizer = TinyTokenizer([*words, *Prompts(TinyTokenizer(())).words])
    vocabulary = action_layouts(tokenizer, 8)[layout]
    eyes, decoder = (
        SigLIPConfig(32, 8, 24, 2, 3, 40),
        GemmaConfig(len(tokenizer) + vocabulary.added_rows, 32, 2, 4, 1, 8, 48),
    )
    vlm = small_rt2.shaken(PaliGemma(PaliGemmaConfig(eyes, decoder)))
    return RT2(vlm, tokenizer, vocabulary=vocabulary, without=REST).eval()


def test_both_read_the_same_steps(pairs):
    batch = pairs(0)
    student, teacher = small_student(), small_teacher(pairs)
    (said, labels), (wanted, same) = student.action_logits(batch["student"]), teacher.action_logits(batch["teacher"])
    n = int(batch["student"]["valid"].sum())
    assert said.shape == wanted.shape == (n, 11, 256) and torch.equal(labels, same)
    frames = batch["student"]["images"][batch["student"]["valid"]]
    assert torch.equal(frames, batch["teacher"]["images"]) and len(batch["teacher"]["instructions"]) == n


@pytest.mark.parametrize("layout", ["integers", "extend", "per dimension"])
def test_rt2s_logits_are_those_from_which_it_decodes(pairs, layout):
    """Fed with its own action, the likeliest bin of every number is the one it wrote."""
    teacher = small_teacher(pairs, layout=layout)
    steps = pairs(1)["teacher"]
    action = teacher.act({"image": steps["images"].numpy(), "instruction": steps["instructions"]})
    logits, labels = teacher.action_logits(steps | {"actions": action})
    assert torch.equal(logits.argmax(-1), labels)
    classes = [len(dim.classes) or 256 for dim in ActionSpace.workbook().dims]
    for place, name in enumerate(ActionSpace.workbook().names):
        finite = int(logits[:, place].isfinite().sum(-1).unique())
        assert finite == (1 if name in REST else classes[place])


def test_the_loss_is_the_mixture_of_both_and_the_teacher_stays_as_it_was(pairs):
    student, teacher = small_student().eval(), small_teacher(pairs).train()
    batch = pairs(0)
    losses = {hard: Distillation(teacher, student, 2, hard).loss(batch).item() for hard in (0, 0.25, 1)}
    assert losses[1] == pytest.approx(student.loss(batch["student"]).item())
    assert losses[0.25] == pytest.approx(0.25 * losses[1] + 0.75 * losses[0], rel=1e-5)
    assert teacher.training and all(p.grad is None for p in teacher.parameters())
    assert not [name for name, _ in Distillation(teacher, student).named_parameters() if not name.startswith("student.")]


def weights(policy):
    return {name: value.clone() for name, value in policy.state_dict().items()}


def test_without_the_teacher_it_is_behaviour_cloning(pairs):
    teacher, told, cloned = small_teacher(pairs), small_student(), small_student()
    torch.manual_seed(1)
    distill(teacher, told, pairs, SCHEDULE, hard=1, progress=False)
    torch.manual_seed(1)
    behaviour_clone(cloned, lambda step: pairs(step)["student"], SCHEDULE, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(told).values(), weights(cloned).values(), strict=True))


class Stop:
    def __call__(self, step, loss):
        if step == 2:
            raise KeyboardInterrupt


def test_an_interrupted_distillation_resumes_to_the_same_weights_and_only_with_its_own_temperature(pairs, tmp_path):
    teacher, state = small_teacher(pairs), tmp_path / "run.state"
    whole, broken = small_student(), small_student()
    torch.manual_seed(1)
    losses = distill(teacher, whole, pairs, SCHEDULE, progress=False).losses
    torch.manual_seed(1)
    distill(teacher, broken, pairs, SCHEDULE, progress=False, resume=state, on_step=Stop())
    with pytest.raises(ValueError, match=r"temperature 3, hard 0\.5.*got .*temperature 2\.0"):
        distill(teacher, small_student(), pairs, SCHEDULE, temperature=3, progress=False, resume=state)
    resumed = small_student()
    assert distill(teacher, resumed, pairs, SCHEDULE, progress=False, resume=state).losses == losses
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(resumed).values(), strict=True))


def test_a_student_comes_nearer_to_its_teacher(pairs):
    """With the teacher's word alone, on one batch again and again."""
    student, teacher, batch = small_student(), small_teacher(pairs), pairs(0)
    losses = distill(
        teacher, student, lambda step: batch, Schedule(steps=60, lr=0.01, bf16=False), hard=0, progress=False
    ).losses
    assert losses[-1] < 0.5 * losses[0]


# ---- doors


class Mute(nn.Module):
    """Has no action_logits."""


def test_what_cannot_be_distilled_is_explained(pairs):
    student, teacher, batch = small_student(), small_teacher(pairs), pairs(0)
    for wrong in ({"temperature": 0}, {"temperature": math.inf}, {"hard": 1.5}):
        with pytest.raises(ValueError, match="temperature above 0 and hard from 0 to 1"):
            Distillation(teacher, student, **wrong)
    with pytest.raises(ValueError, match=r"The teacher, a Mute, has no action_logits"):
        Distillation(Mute(), student)
    with pytest.raises(ValueError, match=r"The student, a Mute"):
        Distillation(teacher, Mute())
    with pytest.raises(ValueError, match="parts 'student' and 'teacher', got images"):
        Distillation(teacher, student).loss(batch["student"])
    turned = {name: part.flip(0) if torch.is_tensor(part) else part[::-1] for name, part in batch["teacher"].items()}
    with pytest.raises(ValueError, match="true bins differ"):
        Distillation(teacher, student).loss(batch | {"teacher": turned})
    with pytest.raises(ValueError, match="robot batch with one instruction per picture"):
        teacher.action_logits({"images": np.zeros((1, 32, 32, 3), np.uint8), "questions": ["pick"], "answers": ["yes"]})

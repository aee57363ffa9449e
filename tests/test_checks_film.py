"""The FiLM check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from course_lib.classroom.checks import FILM, check_film
from course_lib.rt1 import FiLM as CourseFiLM

RIGHT, WRONG = {}, {}


def right(kind):
    RIGHT[kind.__name__] = kind
    return kind


def wrong(message, state="not yet"):
    def keep(kind):
        WRONG[kind.__name__] = (kind, message, state)
        return kind

    return keep


class Two(nn.Module):
    """Two Linear layers that begin at zero: the textbook's way, and the ground for most of the mistakes below."""

    zero = ("to_scale", "to_shift")

    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale, self.to_shift = nn.Linear(instruction_dim, channels), nn.Linear(instruction_dim, channels)
        for name in self.zero:
            for p in getattr(self, name).parameters():
                nn.init.zeros_(p)

    def parts(self, z):
        return self.to_scale(z)[:, :, None, None], self.to_shift(z)[:, :, None, None]

    def forward(self, x, z):
        scale, shift = self.parts(z)
        return (1 + scale) * x + shift


right(Two)


@right
class OneLinear(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.net = nn.Linear(instruction_dim, 2 * channels)
        self.net.weight.data.zero_(), self.net.bias.data.zero_()

    def forward(self, x, z):
        a, b = rearrange(self.net(z), "B (two C) -> two B C 1 1", two=2)
        return x + a * x + b


@right
class Functional(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, channels, instruction_dim))
        self.b = nn.Parameter(torch.zeros(2, channels))

    def forward(self, x, z):
        scale, shift = (F.linear(z, w, b) for w, b in zip(self.w, self.b, strict=True))
        return torch.einsum("bchw,bc->bchw", x, 1 + scale) + shift.unflatten(1, (-1, 1, 1))


@right
class OneInTheBias(Two):
    """The 1 + as the bias of the scale layer: the same function, the same start."""

    def __init__(self, channels, instruction_dim):
        super().__init__(channels, instruction_dim)
        nn.init.ones_(self.to_scale.bias)

    def forward(self, x, z):
        scale, shift = self.parts(z)
        return scale * x + shift


@right
class Loops(Two):
    def forward(self, x, z):
        scale, shift = self.to_scale(z), self.to_shift(z)
        images = [(1 + scale[b, :, None, None]) * x[b] + shift[b, :, None, None] for b in range(len(x))]
        return torch.stack(images)


@right
class OneByOneConvolution(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.make = nn.ModuleDict({k: nn.Conv2d(instruction_dim, channels, 1) for k in ("gamma", "beta")})
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x, z):
        z = z[..., None, None]
        return torch.addcmul(x + self.make["beta"](z), self.make["gamma"](z), x)


@right
class WithoutBias(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros(instruction_dim, channels)) for _ in range(2))

    def forward(self, x, z):
        return (x.movedim(1, 3) * (1 + z @ self.a)[:, None, None] + (z @ self.b)[:, None, None]).movedim(3, 1)


@wrong("There is still a stub", "not attempted")
class NotAttempted(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        raise NotImplementedError


@wrong("line", "not attempted")
class HalfAttempted(Two):
    def forward(self, x, z):
        raise NotImplementedError


@wrong("returns only zeros")
class NoOnePlus(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return scale * x + shift


@wrong("1 + is missing")
class NoOnePlusNoZeros(NoOnePlus):
    zero = ()


@wrong("in a new FiLM scale and shift are random")
class NotTheIdentity(Two):
    zero = ()


@wrong("in a new FiLM the scale is random")
class OnlyShiftZeroed(Two):
    zero = ("to_shift",)


@wrong("the shift is not zero")
class OnlyScaleZeroed(Two):
    zero = ("to_scale",)


@wrong("returns only ones")
class OnePlusAtTheShift(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return scale * x + (1 + shift)


@wrong("multiplies by 2 instead of 1")
class OneTwice(OneInTheBias):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return (1 + scale) * x + shift


@wrong("multiplies by 1.5: a sigmoid")
class Sigmoid(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return (1 + scale.sigmoid()) * x + shift


@wrong("The scale stays small for a very large z")
class Tanh(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return (1 + scale.tanh()) * x + shift


@wrong("The scale is not a straight line in z")
class Exponential(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        return scale.exp() * x + shift


@wrong("Every column of the picture gets its own scale")
class ChannelsLast(Two):
    def parts(self, z):
        return self.to_scale(z)[:, None, None, :], self.to_shift(z)[:, None, None, :]


@wrong("Every row of the picture gets its own scale")
class OverRows(Two):
    def parts(self, z):
        return self.to_scale(z)[:, None, :, None], self.to_shift(z)[:, None, :, None]


@wrong("is laid over rows and columns")
class NoNewAxes(Two):
    def parts(self, z):
        return self.to_scale(z), self.to_shift(z)


@wrong("The pixels of one channel get different scales")
class OneNewAxis(Two):
    def parts(self, z):
        return self.to_scale(z).unsqueeze(1), self.to_shift(z).unsqueeze(1)


@wrong("The output is the same for another instruction")
class IgnoresZ(Two):
    def parts(self, z):
        return super().parts(torch.ones_like(z))


@wrong("The scale is the same for another instruction")
class ScaleIgnoresZ(Two):
    def parts(self, z):
        return self.to_scale.bias[None, :, None, None], super().parts(z)[1]


@wrong("All images of the batch get the same scale")
class FirstInstructionOnly(Two):
    def parts(self, z):
        return super().parts(z[:1])


@wrong("depends on the other images")
class RollsTheBatch(Two):
    def parts(self, z):
        return super().parts(z.roll(1, 0))


@wrong("All channels get the same scale")
class OneForAllChannels(Two):
    def __init__(self, channels, instruction_dim):
        super().__init__(1, instruction_dim)


@wrong("There is a shift but no scale")
class OnlyShift(Two):
    def forward(self, x, z):
        return x + self.parts(z)[1]


@wrong("There is a scale but no shift")
class OnlyScale(Two):
    def forward(self, x, z):
        return x + self.parts(z)[0] * x


@wrong("returns x, whatever its parameters are")
class Pretends(Two):
    def forward(self, x, z):
        return x


@wrong("changes its input in place")
class InPlace(Two):
    def forward(self, x, z):
        scale, shift = self.parts(z)
        x.data.mul_(1 + scale).add_(shift)
        return x.clone()


@wrong("No gradient reaches to_s")
class NoGradient(Two):
    def parts(self, z):
        with torch.no_grad():
            return super().parts(z)


@wrong("gradient reaches x")
class DetachedPicture(Two):
    def forward(self, x, z):
        return super().forward(x.detach(), z)


@wrong("every gradient is zero")
class TwoZeroLayers(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(instruction_dim, 8, bias=False), nn.Linear(8, 2 * channels, bias=False))
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x, z):
        scale, shift = self.net(z)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * x + shift


@wrong("The shape of x should stay")
class Flattened(Two):
    def forward(self, x, z):
        return super().forward(x, z).flatten(2)


@wrong("The number type should stay")
class Doubled(Two):
    def forward(self, x, z):
        return super().forward(x, z).double()


@wrong("hidden in a plain list")
class PlainList(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.layers = [nn.Linear(instruction_dim, channels) for _ in range(2)]
        for layer in self.layers:
            nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)

    def forward(self, x, z):
        scale, shift = (layer(z)[:, :, None, None] for layer in self.layers)
        return (1 + scale) * x + shift


@wrong("self.w is a plain tensor")
class PlainTensor(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.w = torch.zeros(2, instruction_dim, channels, requires_grad=True)

    def forward(self, x, z):
        scale, shift = (z @ self.w)[..., None, None]
        return (1 + scale) * x + shift


@wrong("parameters() is empty")
class MadeInForward(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.channels = channels

    def forward(self, x, z):
        layer = nn.Linear(z.shape[1], self.channels)
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
        return (1 + layer(z))[:, :, None, None] * x


@wrong("is not an nn.Module")
class NoModule:
    def __init__(self, channels, instruction_dim):
        self.film = Two(channels, instruction_dim)

    def __call__(self, x, z):
        return self.film(x, z)


@wrong("scale and shift are swapped")
class Swapped(Two):
    def parts(self, z):
        return super().parts(z)[::-1]


@wrong("not a straight line in x. No output is negative: is there a ReLU?")
class ReluAfter(Two):
    def forward(self, x, z):
        return super().forward(x, z).relu()


@wrong("come out in other places")
class Transposed(Two):
    def forward(self, x, z):
        return super().forward(x, z).transpose(2, 3)


@wrong("Two calls with the same input")
class Dropout(Two):
    def parts(self, z):
        return super().parts(F.dropout(z, 0.5))


@wrong("NaN or infinite")
class DividesByZero(Two):
    def parts(self, z):
        scale, shift = super().parts(z)
        return scale / scale.std() * 0, shift


@wrong("forward returns nothing")
class ForgetsReturn(Two):
    def forward(self, x, z):
        super().forward(x, z)


@wrong("mat1 and mat2 shapes", "error in your code")
class SizesExchanged(Two):
    def __init__(self, channels, instruction_dim):
        super().__init__(instruction_dim, channels)


@wrong("SystemExit", "error in your code")
class Exits(Two):
    def forward(self, x, z):
        raise SystemExit


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    for seed in range(4):
        found = FILM.check(RIGHT[name], seed, hidden=seed % 2 == 1)
        assert found.passed, found


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    answer, message, state = WRONG[name]
    for seed in range(3):
        found = check_film(answer, seed)
        assert found.state == state, found
        assert message in found.message, found


@pytest.mark.parametrize("name", [n for n, (_, _, state) in WRONG.items() if state != "not attempted"])
def test_hidden_inputs_reject_wrong_answers_too(name):
    assert not FILM.check(WRONG[name][0], 5, hidden=True).passed


def test_no_two_mistakes_share_a_message():
    messages = [check_film(answer, 0).message for answer, _, _ in WRONG.values()]
    assert len(set(messages)) == len(messages)


def test_an_error_names_the_learners_own_line_and_gives_a_hint():
    class Divides(Two):
        def forward(self, x, z):
            return x / 0 + undefined_name

    found = check_film(Divides)
    assert found.state == "error in your code"
    assert "NameError" in found.message and "in forward: return x / 0 + undefined_name" in found.message
    assert "from instruction_dim" in str(check_film(SizesExchanged)) or "how many numbers" in check_film(SizesExchanged).hint


def test_a_finished_layer_or_the_courses_own_is_not_an_answer():
    assert "Give it the class" in check_film(Two(8, 16)).hint
    assert "course's own" in check_film(CourseFiLM).message
    assert "Expected the class" in check_film(3).message


def test_the_learners_own_random_numbers_are_not_disturbed():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_film(Two)
    assert torch.equal(torch.rand(2), expected)


def test_an_interrupt_of_the_learner_goes_through():
    class Interrupted(Two):
        def forward(self, x, z):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_film(Interrupted)


def test_what_is_displayed_is_made_from_the_findings_and_cannot_carry_html():
    class Loud(Two):
        def forward(self, x, z):
            raise ValueError("<script>alert(1)</script>")

    shown = check_film(Loud)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "FiLM" in shown and "error in your code" in shown
    assert str(check_film(Two)) == "FiLM: passed"


def test_nbgraders_own_execution_cannot_take_a_failed_check_for_a_passed_one(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(AssertionError, match="returns only zeros"):
        check_film(NoOnePlus)
    assert check_film(Two).passed


ONLY_FOR_NAMING = ("names", "start_ones", "start_zeros")  # evidence that helps to name a mistake, and proves nothing


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    (case, *_), rng = FILM.draw(np.random.default_rng(0), False), np.random.default_rng(1)
    honest = FILM.probe(Two, case)
    assert FILM.verdict([case], [honest], None).passed
    for name, value in honest.items():
        forgeries = [None, value[..., :0], value.astype(np.float16), np.zeros(value.shape, "U1"), np.array(7)]
        if value.dtype == np.float32:
            forgeries += [value * np.nan, rng.normal(size=value.shape).astype(np.float32)]
        for forged in forgeries:
            record = {k: v for k, v in {**honest, name: forged}.items() if v is not None}
            if name not in ONLY_FOR_NAMING or forged is None:
                assert not FILM.verdict([case], [record], None).passed, name
    assert not FILM.verdict([case, case], [honest], None).passed

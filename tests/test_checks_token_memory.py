"""The token cache's check accepts right answers of any style, and gives every known mistake its own message."""

from collections import deque

import pytest
import torch
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.token_memory import TOKEN_MEMORY, check_token_memory
from course_lib.rt1 import RT1

RIGHT, WRONG, right, wrong = answers()


@right
class Textbook:
    """The ground for most of the mistakes below."""

    def __init__(self, image_tokens, history=6):
        self.image_tokens, self.history = image_tokens, history
        self.reset()

    def reset(self):
        self.kept = []

    def step(self, frame, z):
        self.kept = [*self.kept, self.image_tokens(frame, z)][-self.history :]
        return torch.stack(self.kept, dim=1)


@right
class Concatenated(Textbook):
    def reset(self):
        self.memory = None

    def step(self, frame, z):
        new = self.image_tokens(frame, z)[:, None]
        self.memory = new if self.memory is None else torch.cat((self.memory, new), 1)[:, -self.history :]
        return self.memory


@right
class Deque(Textbook):
    def reset(self):
        self.kept = deque(maxlen=self.history)

    def step(self, frame, z):
        self.kept.append(self.image_tokens(frame, z).numpy())
        return torch.stack([torch.as_tensor(tokens) for tokens in self.kept]).transpose(0, 1)


@right
class Ring(Textbook):
    """A buffer of fixed size, written in place and turned when it is read."""

    def reset(self):
        self.seen, self.buffer = 0, None

    def step(self, frame, z):
        new = self.image_tokens(frame, z)
        if self.buffer is None:
            self.buffer = torch.zeros(len(new), self.history, *new.shape[1:])
        self.buffer[:, self.seen % self.history] = new
        self.seen += 1
        first = max(0, self.seen - self.history)
        return self.buffer[:, [i % self.history for i in range(first, self.seen)]]


@right
class Rolled(torch.nn.Module):
    """A module whose buffer moves by one place; it returns a view of it."""

    def __init__(self, image_tokens, history):
        super().__init__()
        self.image_tokens, self.history = image_tokens, history
        self.reset()

    def reset(self):
        self.seen, self.window = 0, torch.zeros(0)

    def step(self, frame, z):
        new = self.image_tokens(frame, z)
        if not self.seen:
            self.window = new.new_zeros(len(new), self.history, *new.shape[1:])
        self.window = self.window.roll(-1, dims=1)
        self.window[:, -1] = new
        self.seen = min(self.seen + 1, self.history)
        return self.window[:, -self.seen :]


STEPS = {  # name: (what step makes of all that is kept, message)
    "NewestFirst": (lambda self, kept: torch.stack(kept[::-1], 1), "The newest frame stands first"),
    "RobotsAndTime": (lambda self, kept: torch.stack(kept), "Robots and time are exchanged: the tokens"),
    "OneAxis": (lambda self, kept: torch.cat(kept, 1), "The axis of time is missing"),
    "NewestOnly": (lambda self, kept: torch.stack([kept[-1]] * len(kept), 1), "Every place of the window holds the newest"),
    "AsList": (lambda self, kept: kept, "got a list"),
    "Nothing": (lambda self, kept: None, "step returns nothing"),
    "Mean": (lambda self, kept: torch.stack([sum(kept) / len(kept)] * len(kept), 1), "does not hold frame 0's tokens"),
    "Nan": (lambda self, kept: torch.stack(kept, 1) / 0 * 0, "NaN or infinite"),
    "Filled": (
        lambda self, kept: torch.stack([kept[0]] * (self.history - len(kept)) + kept, 1),
        "the window is not filled up",
    ),
}
for name, (make, message) in STEPS.items():

    def step(self, frame, z, make=make):
        Textbook.step(self, frame, z)
        return make(self, self.kept)

    wrong(message)(type(name, (Textbook,), {"step": step}))


@wrong("The trunk is called too often")
class Recomputes(Textbook):
    """Keeps the frames, and sends them all through the trunk at each step."""

    def step(self, frame, z):
        self.kept = [*self.kept, frame.clone()][-self.history :]
        return torch.stack([self.image_tokens(one, z) for one in self.kept], dim=1)


@wrong("image_tokens was given frames of the shape")
class RecomputesAtOnce(Textbook):
    def step(self, frame, z):
        self.kept = [*self.kept, frame.clone()][-self.history :]
        t = len(self.kept)
        return self.image_tokens(torch.cat(self.kept), z.repeat(t, 1)).unflatten(0, (t, -1)).transpose(0, 1)


@wrong("The trunk was called")
class EncodesTwice(Textbook):
    """Right numbers, but one call too many in the end."""

    def step(self, frame, z):
        window = super().step(frame, z)
        self.count = getattr(self, "count", 0) + 1
        if self.count == {6: 13, 5: 99}.get(self.history, 99):
            self.image_tokens(frame, z)
        return window


@wrong("The trunk is not called for every frame")
class FirstFrameOnly(Textbook):
    def step(self, frame, z):
        if not self.kept:
            return super().step(frame, z)
        self.kept = [*self.kept, self.kept[0] * 2][-self.history :]
        return torch.stack(self.kept, dim=1)


@wrong("has room for no more")
class NeverSlides(Textbook):
    def step(self, frame, z):
        self.kept.append(self.image_tokens(frame, z))
        return torch.stack(self.kept, dim=1)


@wrong("The window stays at the first frames")
class KeepsTheFirst(Textbook):
    def step(self, frame, z):
        self.kept = [*self.kept, self.image_tokens(frame, z)][: self.history]
        return torch.stack(self.kept, dim=1)


@wrong("The window is a ring that was not turned")
class RingNotTurned(Ring):
    def step(self, frame, z):
        super().step(frame, z)
        return self.buffer[:, : self.seen]


@wrong("reset() does not forget")
class NeverForgets(Textbook):
    def __init__(self, image_tokens, history):
        self.image_tokens, self.history, self.kept = image_tokens, history, []

    def reset(self):
        pass


@wrong("Tokens are kept for ever")
class KeepsAll(Textbook):
    def step(self, frame, z):
        self.kept.append(self.image_tokens(frame, z))
        return torch.stack(self.kept[-self.history :], dim=1)


@wrong("With frame 5 (counted from 0) step should return")
class OneTooFew(Textbook):
    def step(self, frame, z):
        self.kept = [*self.kept, self.image_tokens(frame, z)][-max(self.history - 1, 1) :]
        return torch.stack(self.kept, dim=1)


@wrong("of the window does not hold frame 9's tokens")
class HearsTheFirstSentence(Textbook):
    def step(self, frame, z):
        self.z = getattr(self, "z", z)
        return super().step(frame, self.z)


@wrong("There is still a stub", "not attempted")
class NotAttempted(Textbook):
    def step(self, frame, z):
        raise NotImplementedError


@wrong("TypeError", "error in your code")
class JoinsNothing(Textbook):
    def step(self, frame, z):
        return torch.cat((None, self.image_tokens(frame, z)), 1)


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(TOKEN_MEMORY, RIGHT[name])


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(TOKEN_MEMORY, *about) for about in WRONG.values()])


def test_the_class_itself_is_asked_for():
    assert "Give it the class" in check_token_memory(Textbook(None)).hint
    assert not check_token_memory(RT1).passed


def test_tokens_that_were_computed_again_are_seen_in_the_numbers_not_only_in_the_count():
    class HidesItsCalls(Recomputes):
        def step(self, frame, z):
            window = super().step(frame, z)
            self.image_tokens.called = self.seen = getattr(self, "seen", 0) + 1
            return window

    found = check_token_memory(HidesItsCalls, 0)
    assert found.state == "not yet" and "does not hold frame" in found.message


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(TOKEN_MEMORY, Textbook)

"""States on a tape."""

from dataclasses import fields, replace

import pytest
import torch

from course_lib.datasets.tape import StateTape, join
from course_lib.world.tabletop import SPACE, TabletopState, reset, stack, step


def played(seed, steps, objects=5):
    """One table, moved about at random: states of every step."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(-1, 12, (1, objects), generator=random)
    state = replace(reset(torch.tensor([seed]), kind), cabinet=torch.tensor([seed % 2 == 0]))
    states = []
    for _ in range(steps):
        states.append(state)
        action = (torch.rand(1, len(SPACE), generator=random) * 2 - 1) * torch.from_numpy(SPACE.high)
        action[:, -1] = 0
        state = step(state, action)
    return stack(states)


def same(a: TabletopState, b: TabletopState) -> bool:
    """Equal to the last bit, and of the same types."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(TabletopState)]
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


@pytest.fixture(scope="module")
def recorded():
    lengths = (9, 1, 20, 6)
    states = stack([played(seed, n) for seed, n in enumerate(lengths)])
    return states, torch.arange(4).repeat_interleave(torch.tensor(lengths))


def test_a_tape_gives_back_every_state_bit_for_bit(recorded):
    states, episode = recorded
    tape = StateTape.from_states(states, episode)
    assert len(tape) == 36 and same(tape[:], states)


@pytest.mark.parametrize(
    "which", [torch.tensor([35, 0, 9, 9, 10]), torch.tensor([-1, -36]), slice(8, 12), torch.arange(36) % 5 == 0]
)
def test_frames_are_picked_as_from_a_state(recorded, which):
    states, episode = recorded
    assert same(StateTape.from_states(states, episode)[which], states[which])


def test_joined_tapes_are_the_tape_of_all(recorded):
    states, episode = recorded
    cut = 10  # after the second episode
    parts = [StateTape.from_states(states[:cut], episode[:cut]), StateTape.from_states(states[cut:], episode[cut:] - 2)]
    whole = join(parts)
    assert same(whole[:], states) and whole.start.tolist() == [0, 9, 10, 30]


def test_a_tape_is_less_than_half_of_the_states():
    states = played(0, 60)
    full = sum(getattr(states, f.name).nbytes for f in fields(TabletopState))
    tape = StateTape.from_states(states, torch.zeros(60, dtype=torch.long))
    stored = sum(x.nbytes for x in [*tape.once.values(), *tape.each.values(), tape.start])
    assert tape.nbytes == stored < full / 2


def test_every_field_of_a_state_is_on_the_tape_once(recorded):
    tape = StateTape.from_states(*recorded)
    assert sorted([*tape.once, *tape.each]) == sorted(f.name for f in fields(TabletopState))


def test_an_empty_tape_is_allowed(recorded):
    states, episode = recorded
    empty = StateTape.from_states(states[:0], episode[:0])
    assert len(empty) == 0 and same(join([empty, StateTape.from_states(states, episode)])[:], states)


def test_what_should_not_change_within_an_episode_may_not(recorded):
    states, episode = recorded
    light = states.light.clone()
    light[3] += 0.1
    with pytest.raises(ValueError, match="light changes within an episode"):
        StateTape.from_states(replace(states, light=light), episode)


def test_numbers_that_do_not_fit_are_refused_not_cut(recorded):
    states, episode = recorded
    with pytest.raises(ValueError, match=r"step holds .* 40000, which does not fit torch.int16"):
        StateTape.from_states(replace(states, step=states.step.clamp(min=40_000)), episode)


@pytest.mark.parametrize("numbers", [torch.ones(36).long(), torch.zeros(35).long(), torch.arange(36) * 2, -torch.arange(36)])
def test_episode_numbers_out_of_order_are_refused(recorded, numbers):
    with pytest.raises(ValueError, match="Expected"):
        StateTape.from_states(recorded[0], numbers)


@pytest.mark.gpu
def test_a_tape_on_a_gpu_gives_the_same_states(recorded):
    tape = StateTape.from_states(*recorded)
    frames = torch.tensor([35, 0, 9])
    assert same(tape.to("cuda")[frames.cuda()].to("cpu"), tape[frames])

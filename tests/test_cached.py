"""The cached decoder says what the plain one says."""

import pytest
import small_rt1
import torch

from course_lib.rt1.ablations import AutoregressiveRT1
from course_lib.rt1.cached import CachedAutoregressiveRT1
from course_lib.rt1.policy import sampling


def pair():
    torch.manual_seed(0)
    plain = AutoregressiveRT1(small_rt1.config(history=1)).eval()
    cached = CachedAutoregressiveRT1(small_rt1.config(history=1)).eval()
    cached.load_state_dict(plain.state_dict())
    return plain, cached


def test_a_cache_changes_neither_tokens_nor_logits():
    plain, cached = pair()
    for observation in small_rt1.observations(4):
        traces = {}, {}
        actions = [policy.act(observation, trace=trace) for policy, trace in zip((plain, cached), traces, strict=True)]
        assert (actions[0] == actions[1]).all()
        assert torch.allclose(traces[0]["logits"], traces[1]["logits"], atol=1e-4)


def test_a_cache_draws_the_same_when_it_samples():
    plain, cached = pair()
    for policy in (plain, cached):
        policy.pick = sampling(torch.Generator().manual_seed(3))
    first = small_rt1.observations(1)[0]
    assert (plain.act(first) == cached.act(first)).all()


def test_later_tokens_hear_the_earlier_ones():
    _, cached = pair()
    one, other = {}, {}
    first = small_rt1.observations(1)[0]
    cached.act(first, trace=one)
    cached.pick = lambda logits: (logits.argmax(-1) + 1) % 256
    cached.act(first, trace=other)
    assert torch.equal(one["logits"][:, 0], other["logits"][:, 0])
    assert not torch.allclose(one["logits"][:, 1], other["logits"][:, 1])


def test_a_memory_of_several_frames_is_refused():
    with pytest.raises(ValueError, match="history=1"):
        CachedAutoregressiveRT1(small_rt1.config(history=3))

"""faster(): the rearranged twin of RT-2 gives the same numbers."""

import numpy as np
import pytest
import torch
from small_rt2 import config, pictures, reference, rows, shaken, small_policy, small_vlm

from course_lib.rt2 import PaliGemma, levers
from course_lib.rt2.decoding import generate
from course_lib.rt2.fast import TABLE, faster
from course_lib.rt2.weights import read_config_of, read_state


def second():
    """The kind with norms after each part, caps and windows."""
    theirs = reference(2)
    return read_state(read_config_of(theirs.config.to_dict()), theirs.state_dict())


@pytest.mark.parametrize("make", [small_vlm, lambda: small_vlm(image_sees_prompt=False), second], ids=["1", "apart", "2"])
def test_logits_and_answers_are_those_of_the_plain_network(make):
    plain = make()
    fast = faster(plain)
    images, tokens, answer, real = rows()
    with torch.no_grad():
        expected = plain(images, tokens, answer, real)
        torch.testing.assert_close(fast(images, tokens, answer, real)[real], expected[real], rtol=0, atol=2e-5)
    asked = {"prompts": tokens, "real": torch.arange(9) >= torch.tensor([0, 2, 5])[:, None], "steps": 6}
    assert torch.equal(generate(fast, images, **asked), generate(plain, images, **asked))


def test_positions_beyond_the_table_are_computed():
    plain = small_vlm()
    fast = faster(plain)
    prompt = torch.randint(3, 90, (1, TABLE - 6), generator=torch.Generator().manual_seed(0))
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(generate(fast, images, prompt, steps=6), generate(plain, images, prompt, steps=6))


def test_a_faster_policy_acts_the_same_and_the_original_stays_as_it_was():
    policy = small_policy("rt2")
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    seen = {"image": pictures(3), "instruction": "pick up the apple"}
    np.testing.assert_array_equal(faster(policy).act(seen), policy.act(seen))
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert all(parameter.requires_grad for parameter in policy.parameters())


def test_in_bfloat16_the_logits_are_nearly_the_same():
    torch.manual_seed(0)
    plain = shaken(PaliGemma(config()))
    images, tokens, answer, real = rows()
    with torch.no_grad():
        expected, half = plain(images, tokens, answer, real)[real], faster(plain, "bf16")(images, tokens, answer, real)[real]
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.05 * expected.abs().max()


def test_what_is_timed_writes_the_same_answers_in_every_way(monkeypatch):
    """The callables of the speed table, on the small model: no cache, cache, faster, transformers."""
    monkeypatch.setattr(levers, "PRESETS", {"plain": config, "tiny": lambda: config(image_sees_prompt=False)})
    monkeypatch.setattr(levers, "PROMPT", 5)
    monkeypatch.setattr(levers, "BATCHES", (2,))
    monkeypatch.setattr(levers.torch, "randint", lambda low, high, size, device: 3 + torch.arange(10).view(size))
    runs, costs = levers.levers("plain")
    exact = [run() for name, run in runs.items() if "bf16" not in name]
    assert len(exact) == 4 and all(torch.equal(answer, exact[0]) for answer in exact)
    assert not costs  # only batch 1 is compared with the roofline
    assert len(levers.levers("tiny")[0]) == 4  # transformers has no such mask
    with pytest.raises(ValueError, match="preset is 'plain' or 'tiny'"):
        levers.levers("huge")


def test_unknown_precisions_are_refused():
    with pytest.raises(ValueError, match="precision is 'fp32' or 'bf16', got 'int3'"):
        faster(small_vlm(), "int3")

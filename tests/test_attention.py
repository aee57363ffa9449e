"""Masks, counted and drawn; attention against its plain twin."""

import pytest
import torch

from course_lib.attention import (
    KVCache,
    SharedPrefix,
    attend,
    attention_mask,
    causal_mask,
    prefix_lm_mask,
    rt1_mask,
    without_padding,
)


def drawn(mask):
    return "\n".join("".join("#" if x else "." for x in row) for row in mask.tolist())


def test_causal_and_prefix_masks_are_those_of_the_drawing():
    assert drawn(causal_mask(4)) == "#...\n##..\n###.\n####"
    assert drawn(prefix_lm_mask(2, 2)) == "##..\n##..\n###.\n####"
    assert drawn(rt1_mask(2, 2, 2)) == "#.......\n##......\n##......\n##......\n#####...\n######..\n##..##..\n##..##.."


def test_rt1s_mask_has_4344_ones_and_the_jax_ports_3024():
    assert rt1_mask(6, 8, 11).sum() == 4344 == 114 * 115 // 2 - 66 * 67 // 2
    assert rt1_mask(6, 8, 11, images_see_actions=False).sum() == 3024


def test_no_action_sees_an_action_and_each_sees_all_images_up_to_its_frame():
    mask = rt1_mask(6, 8, 11)
    is_action = (torch.arange(19) >= 8).repeat(6)
    assert mask[is_action][:, is_action].sum() == 0
    assert mask[is_action].sum(1).view(6, 11).tolist() == [[8 * (t + 1)] * 11 for t in range(6)]


def test_rt1s_mask_equals_the_nested_loops_of_the_release():
    steps, images, actions = 3, 2, 3
    slow = torch.zeros(15, 15, dtype=torch.bool)
    kind = ([0] * images + [1] * actions) * steps
    for i in range(15):
        for j in range(15):
            slow[i, j] = j <= i and not (kind[i] and kind[j])
    assert torch.equal(rt1_mask(steps, images, actions), slow)


def test_blocks_see_themselves_and_what_came_before():
    mask = attention_mask(torch.tensor([True, False, True, False]))
    assert drawn(mask) == "##..\n##..\n####\n####"


@pytest.mark.parametrize("mask", [None, causal_mask(5)])
def test_traced_attention_equals_the_fused_kernel_and_its_rows_sum_to_one(mask):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    trace = {}
    plain = attend(q, k, v, mask, trace=trace)
    torch.testing.assert_close(plain, attend(q, k, v, mask), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trace["attention"].sum(-1), torch.ones(2, 4, 5))


def test_masks_of_several_rows_at_once_are_those_of_each():
    marks = torch.tensor([[False, False, True, True], [False, True, True, True]])
    assert torch.equal(attention_mask(marks), torch.stack([attention_mask(row) for row in marks]))


def test_padding_is_nobodys_key_and_no_row_is_empty():
    real = torch.tensor([False, True, True, False])
    assert drawn(without_padding(causal_mask(4), real)) == "#...\n.#..\n.##.\n.###"
    assert drawn(without_padding(causal_mask(4)[2:], real)) == ".##.\n.###"


@pytest.mark.parametrize("trace", [None, {}], ids=["fused", "plain"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rows", [1, 5])
def test_grouped_queries_equal_repeated_keys(groups, rows, trace):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4, rows, 8), *torch.randn(2, 3, groups, 5, 8)
    mask = causal_mask(5)[-rows:].repeat(3, 1, 1, 1)
    mask[1, ..., 2] = False
    mask[1, 0, :, 0] = True
    repeated = [x.repeat_interleave(4 // groups, 1) for x in (k, v)]
    slow = (q @ repeated[0].transpose(-1, -2) / 8**0.5).masked_fill(~mask, float("-inf")).softmax(-1) @ repeated[1]
    torch.testing.assert_close(attend(q, k, v, mask, trace=trace), slow, rtol=1e-5, atol=1e-6)
    if trace is not None:
        assert trace["attention"].shape == (3, 4, rows, 5)


def test_a_soft_cap_bends_scores_as_its_formula_says():
    torch.manual_seed(0)
    q, k, v = 5 * torch.randn(3, 2, 4, 5, 8)
    scores = q @ k.transpose(-1, -2) * 0.5
    slow = (2 * (scores / 2).tanh()).softmax(-1) @ v
    torch.testing.assert_close(attend(q, k, v, scale=0.5, softcap=2.0), slow, rtol=1e-5, atol=1e-5)


def test_a_cache_returns_all_that_was_put_in_and_counts_real_tokens_only():
    cache = KVCache(2, batch=2, groups=1, capacity=5, head_dim=4)
    k, v = torch.randn(2, 2, 1, 5, 4)
    assert cache.reserve(3, torch.tensor([[True] * 3, [False, True, True]])).tolist() == [[1, 2, 3], [0, 1, 2]]
    cache.append(1, k[:, :, :3], v[:, :, :3])
    assert cache.reserve(2).tolist() == [[4, 5], [3, 4]] and cache.padded
    keys, values = cache.append(1, k[:, :, 3:], v[:, :, 3:])
    assert torch.equal(keys, k) and torch.equal(values, v)
    assert cache.real.tolist() == [[True] * 5, [False] + 4 * [True]]
    assert cache.bytes == 2 * 2 * 2 * 5 * 4 * 4


def test_a_full_cache_says_how_much_room_is_needed():
    cache = KVCache(1, batch=1, groups=1, capacity=2, head_dim=4)
    with pytest.raises(ValueError, match="room for 2 positions, but 3 are needed"):
        cache.reserve(3)
    assert cache.length == 0


def test_a_shared_prefix_stands_before_each_of_its_continuations_and_keeps_gradients():
    prefix = SharedPrefix()
    k, v = torch.randn(2, 2, 1, 3, 4, requires_grad=True)
    assert torch.equal(prefix.append(0, k, v)[0], k)
    prefix.share(2)
    new = torch.randn(4, 1, 1, 4)
    keys, _ = prefix.append(0, new, new)
    assert torch.equal(keys[1], torch.cat((k[0], new[1]), 1)) and torch.equal(keys[2], torch.cat((k[1], new[2]), 1))
    assert torch.equal(torch.autograd.grad(keys.sum(), k)[0], torch.full_like(k, 2.0))

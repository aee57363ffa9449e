"""Masks, counted and drawn; attention against its plain twin."""

import pytest
import torch

from course_lib.attention import attend, attention_mask, causal_mask, prefix_lm_mask, rt1_mask


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

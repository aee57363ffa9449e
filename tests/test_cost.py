"""Costs are counted as torch counts them."""

import pytest
import torch
from small_rt1 import config
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.rt1 import RT1, RT1Config


@pytest.mark.parametrize("part", ["encoder", "token_learner", "decoder"])
@pytest.mark.parametrize("numbers", [config(), RT1Config.tiny(history=2, image_tokens=5)], ids=["small", "tiny"])
def test_the_counted_operations_are_those_that_torch_counts(numbers, part):
    policy = RT1(numbers).eval()
    channels = numbers.trunk.out_channels
    inputs = {
        "encoder": (torch.rand(1, 3, numbers.image_height, numbers.image_width), torch.randn(1, numbers.instruction_dim)),
        "token_learner": (torch.randn(1, channels, *numbers.trunk.map_size),),
        "decoder": (torch.randn(1, numbers.history, numbers.image_tokens, channels),),
    }
    module, counter = getattr(policy, part), FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(*inputs[part], **({"last_only": True} if part == "decoder" else {}))
    cost = policy.cost()[part]
    assert cost.flops == counter.get_total_flops()
    assert cost.weights == 4 * sum(p.numel() for p in module.parameters())
    assert policy.cost(weight_bytes=2)[part].weights * 2 == cost.weights

"""Costs of RT-2 are counted as torch counts them."""

import pytest
import torch
from small_rt2 import config, small_policy
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.config import GemmaConfig
from course_lib.rt2.cost import rt2_cost

SECOND = GemmaConfig(97, 32, 3, 4, 2, 8, 48, query_scale=16, post_norms=True, attention_softcap=2, final_softcap=3)


@pytest.mark.parametrize("numbers", [config(), config(image_sees_prompt=False), PaliGemmaConfig(config().vision, SECOND)])
def test_the_counted_operations_are_those_that_torch_counts(numbers):
    vlm, P, steps = PaliGemma(numbers).eval(), 5, 4
    images, prompt = torch.rand(1, 3, 16, 16), torch.randint(3, 90, (1, P))
    counts = {name: FlopCounterMode(display=False) for name in ("encoder", "prefill", "step")}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with counts["encoder"]:
            image = vlm.image_tokens(images)
        with counts["prefill"]:
            _, cache = vlm.prefill(image, prompt, torch.ones_like(prompt, dtype=torch.bool), room=steps - 1)
        for _ in range(steps - 1):
            counts["step"] = FlopCounterMode(display=False)
            with counts["step"]:
                vlm.step(torch.tensor([5]), cache)
    costs = rt2_cost(numbers, prompt=P, answer=steps)
    assert {name: cost.flops for name, cost in costs.items()} == {n: c.get_total_flops() for n, c in counts.items()}


@pytest.mark.parametrize(
    "numbers", [config(), PaliGemmaConfig.tiny(), PaliGemmaConfig.pt2_224()], ids=["small", "tiny", "3B"]
)
def test_every_weight_is_read_once(numbers):
    with torch.device("meta"):
        vlm = PaliGemma(numbers)
    costs, language = rt2_cost(numbers, weight_bytes=2), sum(p.numel() for p in vlm.language.parameters())
    assert costs["step"].weights == costs["prefill"].weights == 2 * language
    assert costs["encoder"].weights == 2 * (sum(p.numel() for p in vlm.parameters()) - language)


def test_a_policy_counts_its_own_action():
    costs = small_policy("rt2").cost(prompt=10)
    assert set(costs) == {"encoder", "prefill", "step"} and costs["step"].flops < costs["prefill"].flops

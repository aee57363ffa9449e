"""What a training step costs is what torch counts, forward and backward; memory is what torch holds."""

import math

import pytest
import torch
from small_rt1 import config as rt1_config
from small_rt2 import config as rt2_config
from small_rt2 import small_policy
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.costs import Cost
from course_lib.learn.lora import add_lora
from course_lib.measure.speed import Machine
from course_lib.measure.training_cost import hours, lora_cost, lora_weights, memory, step_cost, utilisation
from course_lib.rt1 import RT1, FiLM, RT1Config
from course_lib.rt1.cost import rt1_window_cost
from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.cost import rt2_row_cost

B = 2  # examples in a step
GPU = Machine("cuda", "a made-up GPU", 1, "", {"bf16": 1e12}, 1e9)


def conv_backward(grad_shape, x_shape, weight_shape, *rest, out_shape=None, **others):
    """Twice the forward pass, or once where one of the gradients is not asked for.

    torch 2.14's own formula counts the weights of a depthwise convolution once per pair of channels.
    """
    forward = 2 * grad_shape[0] * math.prod(weight_shape) * math.prod(grad_shape[2:])
    return forward * sum(rest[7][:2])  # the output mask: gradients of input, weight, bias


def counted(forward):
    """Operations of one pass, forward and backward, as torch counts them."""
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: conv_backward})
    with sdpa_kernel(SDPBackend.MATH):
        with counter:
            loss = forward()
        once = counter.get_total_flops()
        with counter:
            loss.backward()
    return once, once + counter.get_total_flops()


@pytest.mark.parametrize("numbers", [rt1_config(), RT1Config.tiny(history=2, image_tokens=5)], ids=["small", "tiny"])
def test_a_training_step_of_rt1_is_three_times_its_window_but_for_what_pictures_and_words_need_not_learn(numbers):
    policy, batch = RT1(numbers).train(), numbers.fake_batch(B)
    once, both = counted(lambda: policy.loss(batch))
    cost = sum(rt1_window_cost(numbers).values(), Cost(0, 0, 0))
    assert once == B * cost.flops
    frames, stem = B * numbers.history, next(m for m in policy.modules() if isinstance(m, nn.Conv2d))
    places = (numbers.trunk.image_height // numbers.trunk.stem_stride) * (
        numbers.trunk.image_width // numbers.trunk.stem_stride
    )
    films = sum(m.to_scale.weight.numel() + m.to_shift.weight.numel() for m in policy.modules() if isinstance(m, FiLM))
    assert both == step_cost(B, cost).flops - 2 * frames * (places * stem.weight.numel() + films)


def step_of_rt2(vlm, prompt, answer, questions=1):
    """What ``RT2.loss`` computes for rows without padding: the mean over all answer tokens."""
    tokens = torch.randint(3, 90, (B, questions, prompt + answer))
    marks = torch.arange(prompt + answer).expand_as(tokens) >= prompt
    pictures = torch.rand(B, 3, *[vlm.config.vision.image_size] * 2)
    states = vlm.states(pictures, tokens[..., :-1], marks[..., :-1], None)
    return vlm.language.logits(states[marks[..., 1:]]).logsumexp(-1).mean()


def first_layer(vlm):
    """Operations of the convolution that sees the pictures, for one of them."""
    conv = next(m for m in vlm.vision.modules() if isinstance(m, nn.Conv2d))
    return 2 * conv.weight.numel() * (vlm.config.vision.image_size // conv.stride[0]) ** 2


@pytest.mark.parametrize("questions", [1, 3])
def test_a_training_step_of_rt2_is_three_times_its_row_but_for_what_the_pictures_need_not_learn(questions):
    vlm, sizes = PaliGemma(rt2_config()).train(), {"prompt": 5, "answer": 4, "questions": questions}
    once, both = counted(lambda: step_of_rt2(vlm, **sizes))
    cost = sum(rt2_row_cost(vlm.config, **sizes).values(), Cost(0, 0, 0))
    assert once == B * cost.flops
    assert both == step_cost(B, cost).flops - B * first_layer(vlm)


@pytest.mark.parametrize("numbers", [rt2_config(image_sees_prompt=False), PaliGemmaConfig.tiny()], ids=["small", "tiny"])
def test_a_picture_that_does_not_see_its_questions_is_read_once_for_all_of_them(numbers):
    vlm, sizes = PaliGemma(numbers).train(), {"prompt": 5, "answer": 4, "questions": 3}
    once, both = counted(lambda: step_of_rt2(vlm, **sizes))
    cost = sum(rt2_row_cost(numbers, **sizes).values(), Cost(0, 0, 0))
    assert once == B * cost.flops
    # The last layer's one answer to the picture alone is read by nobody, so no gradient comes back to it.
    layer = vlm.language.layers[-1]
    asked = [layer.attention.query, layer.attention.output, layer.feed_forward.gate, layer.feed_forward.up]
    unread = 2 * sum(m.weight.numel() for m in [*asked, layer.feed_forward.down])
    unread += 4 * numbers.vision.image_tokens * numbers.language.heads * numbers.language.head_dim
    assert both == step_cost(B, cost).flops - B * (first_layer(vlm) + 2 * unread)


def test_frozen_layers_cost_once_below_what_learns_and_twice_above():
    vlm, sizes = PaliGemma(rt2_config()).train(), {"prompt": 5, "answer": 4}
    vlm.requires_grad_(False)
    vlm.language.layers[-1].requires_grad_(True)  # as learn.train_last(policy, 1): the shared table stays frozen
    _, both = counted(lambda: step_of_rt2(vlm, **sizes))
    parts = {name: cost.flops for name, cost in rt2_row_cost(vlm.config, **sizes).items()}
    layer, rest = parts["decoder"] // 3, parts["encoder"] + 2 * parts["decoder"] // 3
    step = step_cost(B, Cost(layer, 0, 0), passed=Cost(parts["head"], 0, 0), frozen=Cost(rest, 0, 0))
    assert both == step.flops


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_memory_is_what_torch_holds_after_a_step_of_adamw(kind):
    trained, frozen = nn.Linear(7, 5).to(kind), nn.Linear(3, 2).requires_grad_(False)
    optimizer = torch.optim.AdamW(trained.parameters())
    trained(torch.ones(1, 7, dtype=kind)).sum().backward()
    optimizer.step()
    sizes = {"trained_bytes": kind.itemsize, "frozen_bytes": 4}
    expected = memory(*(sum(p.numel() for p in m.parameters()) for m in (trained, frozen)), **sizes)
    moments = [s for state in optimizer.state.values() for name, s in state.items() if name != "step"]
    held = [[*trained.parameters(), *frozen.parameters()], [p.grad for p in trained.parameters()], moments]
    assert (expected.weights, expected.gradients, expected.moments) == tuple(sum(x.nbytes for x in xs) for xs in held)
    assert expected.total == sum(x.nbytes for xs in held for x in xs)


def test_lora_costs_what_torch_counts_and_has_as_many_weights_as_peft_makes():
    pytest.importorskip("peft")
    policy, rank, sizes = small_policy(), 2, {"prompt": 5, "answer": 4}
    layers, config = policy.layers, policy.vlm.config
    shapes = [(m.in_features, m.out_features) for m in layers.modules() if isinstance(m, nn.Linear)]
    parts, rows = rt2_row_cost(config, **sizes), config.vision.image_tokens + 5 + 4 - 1
    first = [getattr(layers[0].attention, name).weight.numel() for name in ("query", "key", "value")]
    add_lora(policy, rank)
    learning = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    lora = lora_cost(shapes, rank, rows)
    assert lora_weights(shapes, rank) == learning and lora.weights == 4 * learning
    step = step_cost(B, lora, passed=parts["decoder"] + parts["head"], frozen=parts["encoder"])
    _, both = counted(lambda: step_of_rt2(policy.vlm.train(), **sizes))
    # Below the first layer nothing learns, so its queries, keys and values hand nothing on; but in every layer the products
    # of attention hand on two gradients, weights or not.
    attention = len(layers) * 4 * config.language.heads * config.language.head_dim * rows**2
    assert both == step.flops - 2 * B * rows * (sum(first) + 3 * rank * config.language.width) + B * attention


def test_a_run_takes_the_longer_of_computing_and_moving_and_what_a_measured_step_reached_gives_it_back():
    computing, moving = Cost(10**12, 0, 0), Cost(10**9, 10**9, 10**9)
    assert hours(computing, 3600, GPU, utilisation=1.0) == pytest.approx(1)
    assert hours(moving, 3600, GPU, utilisation=0.5) == pytest.approx(4)
    reached = utilisation(computing, 2.5, GPU)
    assert reached == pytest.approx(0.4)
    assert hours(computing, 100, GPU, utilisation=reached) == pytest.approx(100 * 2.5 / 3600)


def test_a_larger_batch_reads_the_weights_once_and_updates_them_once():
    one, many = (step_cost(n, Cost(5, 100, 7), frozen=Cost(0, 10, 0)) for n in (1, 8))
    assert one.weights == many.weights == 10 * 100 + 10
    assert (many.flops, many.activations) == (8 * one.flops, 8 * one.activations)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: step_cost(0, Cost(1, 1, 1)), "at least one example, got 0"),
        (lambda: hours(Cost(1, 1, 1), 1, GPU, utilisation=40.0), "at most 1; got 40"),
        (lambda: hours(Cost(1, 1, 1), -1, GPU), "at least 0, got -1"),
        (lambda: hours(Cost(1, 1, 1), 1, GPU, precision="fp8"), "'bf16' on a made-up GPU; got 'fp8'"),
        (lambda: utilisation(Cost(1, 1, 1), 0.0, GPU), "above 0; got 0.0"),
        (lambda: memory(-1), "got -1"),
        (lambda: memory(1, trained_bytes=3), "1, 2, 4 or 8 bytes"),
        (lambda: lora_weights([(8, 4)], 4), "from 1 to 3"),
        (lambda: lora_cost([(8, 4)], 2, 0), "at least one row, got 0"),
        (lambda: rt2_row_cost(rt2_config(), answer=0), "at least 1, got 16, 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()

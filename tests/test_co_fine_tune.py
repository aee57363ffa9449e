"""learn.co_fine_tune: what is trained and what stays, and the two ways to weigh web against robot."""

import pytest
import torch
from small_rt2 import small_policy
from test_rt2_policy import robot_batch

from course_lib.datasets.mixture import Mixture
from course_lib.learn import Schedule, co_fine_tune, train_last
from course_lib.measure.answers import ask_all


def web_batch(n=2, seed=1):
    images = torch.randint(256, (n, 16, 16, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return {"images": images, "questions": [["what is red"]] * n, "answers": [["apple"]] * n}


def parts():
    return {"web": lambda step: web_batch(), "robot": lambda step: robot_batch()}


def test_the_weighted_loss_is_the_shares_times_the_losses_of_the_parts():
    policy = small_policy()
    batch = Mixture(parts(), {"web": 1, "robot": 3}, together=True)(0)
    apart = [policy.loss(web_batch()), policy.loss(robot_batch())]
    torch.testing.assert_close(policy.loss(batch), 0.25 * apart[0] + 0.75 * apart[1])


def test_both_ways_have_the_same_expected_gradient():
    """Over many steps the turns of a 1 : 3 mixture sum up to the gradient of the weighted loss."""
    policy, shares, steps = small_policy(), {"web": 1, "robot": 3}, 8

    def gradient(mixture, steps):
        policy.zero_grad()
        for step in range(steps):
            (policy.loss(mixture(step)) / steps).backward()
        return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])

    turns = Mixture(parts(), shares)
    assert [turns.turn(step) for step in range(steps)].count("web") == 2
    torch.testing.assert_close(
        gradient(turns, steps), gradient(Mixture(parts(), shares, together=True), 1), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_last_n_layers_learn_and_nothing_else_moves(layers):
    policy = small_policy()
    before = {name: p.clone() for name, p in policy.named_parameters()}
    allowed = {name for i in range(2 - layers, 2) for name in before if f"language.layers.{i}." in name}
    if layers == 0:
        with pytest.raises(ValueError, match="no parameters to train"):
            co_fine_tune(policy, Mixture(parts(), {"web": 1, "robot": 1}), Schedule(steps=2), last_layers=0, progress=False)
    else:
        co_fine_tune(policy, Mixture(parts(), {"web": 1, "robot": 1}), Schedule(steps=2), last_layers=layers, progress=False)
    moved = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert moved == allowed
    assert all(p.requires_grad for p in policy.parameters())  # all is free again


def test_a_number_of_layers_that_does_not_exist_is_refused():
    for layers in (-1, 3):
        with pytest.raises(ValueError, match="has 2 layers"):
            train_last(small_policy(), layers)
    with pytest.raises(ValueError, match="has no `layers`"):
        train_last(torch.nn.Linear(2, 2), 1)


def test_robot_only_forgets_an_answer_that_co_fine_tuning_keeps():
    policy = small_policy()
    rows = web_batch() | {"types": [["name"]] * 2, "needs_image": [[True]] * 2, "phrases": [[""]] * 2}
    schedule = Schedule(steps=40, lr=0.01, warmup=2, bf16=False)
    co_fine_tune(policy, Mixture(parts(), {"web": 1, "robot": 0}), schedule, progress=False)
    assert ask_all(policy, [rows]).rate().rate == 1
    right, weights = {}, {name: p.clone() for name, p in policy.state_dict().items()}
    for name, share in (("robot-only", 0), ("co-fine-tuned", 1)):
        policy.load_state_dict(weights)
        co_fine_tune(policy, Mixture(parts(), {"web": share, "robot": 1}), schedule, progress=False)
        right[name] = ask_all(policy, [rows]).rate().rate
    assert right == {"robot-only": 0, "co-fine-tuned": 1}


def test_several_instructions_of_a_picture_cost_what_they_cost_alone():
    policy, one = small_policy(), robot_batch(n=4)
    images = one["images"][:1]
    alone = [policy.loss({"images": images, "instructions": one["instructions"][:1], "actions": one["actions"][i : i + 1]})
             for i in range(4)]  # fmt: skip
    together = {"images": images, "instructions": [one["instructions"][:1] * 4], "actions": one["actions"][None]}
    torch.testing.assert_close(policy.loss(together), torch.stack(alone).mean())
    with pytest.raises(ValueError, match="an action for each instruction"):
        policy.loss(together | {"actions": one["actions"][None, :3]})

"""learn.lora: adapters change nothing at first, learn alone, travel in a small file, and disappear into the weights."""

import pytest
import torch
from small_rt2 import small_policy
from test_rt2_policy import robot_batch

from course_lib.learn import Schedule, co_fine_tune, load_checkpoint, save_checkpoint, train_last
from course_lib.learn.lora import NO_PEFT, add_lora, load_lora, merge_lora, save_lora
from course_lib.rt2 import RT2
from course_lib.rt2.fast import faster

pytest.importorskip("peft")


def logits(policy):
    with torch.no_grad():
        return policy.action_logits(robot_batch())[0]


def taught(rank=2, **options):
    """A policy whose adapters have learned for three steps, and its weights before."""
    policy = small_policy()
    before = {name: p.clone() for name, p in policy.named_parameters()}
    add_lora(policy, rank, **options)
    co_fine_tune(policy, lambda step: robot_batch(), Schedule(steps=3, lr=0.05, warmup=0, bf16=False), progress=False)
    return policy, before


def test_a_new_adapter_changes_nothing():
    policy = small_policy()
    wanted = logits(policy)
    add_lora(policy)
    assert torch.equal(logits(policy), wanted)


def test_only_the_adapters_learn_and_there_are_rank_times_inputs_and_outputs_of_them():
    policy = small_policy()
    linear = [m for m in policy.layers.modules() if isinstance(m, torch.nn.Linear)]
    names = add_lora(policy, 3)
    found = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    assert list(found) == names
    assert sum(p.numel() for p in found.values()) == 3 * sum(m.in_features + m.out_features for m in linear)


def test_after_training_the_weights_are_as_before_and_the_answers_are_not():
    policy, before = taught()
    plain = {name.replace(".base_layer", ""): p for name, p in policy.named_parameters() if ".lora_" not in name}
    assert plain.keys() == before.keys() and all(torch.equal(p, before[name]) for name, p in plain.items())
    assert not torch.allclose(logits(policy), logits(small_policy()), atol=1e-3)


def test_merged_it_is_a_plain_model_with_w_plus_alpha_over_rank_b_a(tmp_path):
    policy, before = taught(2, alpha=6)
    wanted = logits(policy)
    layer = policy.layers[0].attention.query
    added = 6 / 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merge_lora(policy)
    name = next(name for name in before if name.endswith("language.layers.0.attention.query.weight"))
    torch.testing.assert_close(policy.get_parameter(name), before[name] + added)
    torch.testing.assert_close(logits(policy), wanted, rtol=1e-4, atol=1e-5)
    opened = load_checkpoint(save_checkpoint(policy, tmp_path / "merged.safetensors"), RT2)
    assert torch.equal(logits(opened), logits(policy)) and all(p.requires_grad for p in policy.parameters())


def test_the_papers_choice_of_queries_and_values_is_possible():
    policy = small_policy()
    names = add_lora(policy, parts=("query", "value"))
    assert all(".query." in name or ".value." in name for name in names) and len(names) == 2 * 2 * len(policy.layers)


def test_adapters_travel_in_a_small_file(tmp_path):
    policy, _ = taught(2, alpha=6)
    file = save_lora(policy, tmp_path / "adapters.safetensors")
    other = small_policy()
    load_lora(other, file)
    assert torch.equal(logits(other), logits(policy))
    assert file.stat().st_size < save_checkpoint(small_policy(), tmp_path / "all.safetensors").stat().st_size / 2


def test_adapters_of_another_model_are_refused_and_leave_no_trace(tmp_path):
    file = save_lora(taught()[0], tmp_path / "adapters.safetensors")
    other = small_policy(hidden=40)
    names, wanted = list(other.state_dict()), logits(other)
    with pytest.raises(ValueError, match="a model with other layers"):
        load_lora(other, file)
    assert list(other.state_dict()) == names and torch.equal(logits(other), wanted)
    assert all(p.requires_grad for p in other.parameters())


def test_a_checkpoint_is_not_taken_for_adapters(tmp_path):
    file = save_checkpoint(small_policy(), tmp_path / "all.safetensors")
    with pytest.raises(ValueError, match="holds no adapters"):
        load_lora(small_policy(), file)


def test_adapters_of_a_half_precision_model_learn_in_float32():
    policy = small_policy().to(torch.bfloat16)
    add_lora(policy)
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    policy.loss(robot_batch()).backward()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 0}, "rank of at least 1"),
        ({"rank": 2.5}, "rank of at least 1, whole"),
        ({"alpha": 0}, "alpha above 0"),
        ({"parts": ("q_proj",)}, "called q_proj. There are: query"),
    ],
)
def test_bad_settings_are_refused_and_change_nothing(options, says):
    policy = small_policy()
    with pytest.raises(ValueError, match=says):
        add_lora(policy, **options)
    assert all(p.requires_grad for p in policy.parameters())


def test_what_cannot_be_done_says_what_to_try(monkeypatch):
    with pytest.raises(ValueError, match="no `layers`"):
        add_lora(torch.nn.Linear(2, 2))
    policy = small_policy()
    for call in (merge_lora, lambda p: save_lora(p, "never.safetensors")):
        with pytest.raises(ValueError, match="has no adapters"):
            call(policy)
    add_lora(policy)
    with pytest.raises(ValueError, match="adapters already"):
        add_lora(policy)
    with pytest.raises(ValueError, match="merge_lora first"):
        faster(policy)
    with pytest.raises(ValueError, match="learns in its adapters"):
        train_last(policy, 1)
    with pytest.raises(ValueError, match="save_lora for them alone"):
        save_checkpoint(policy, "never.safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install -e"):
        add_lora(small_policy())
    assert ".[lora]" in NO_PEFT

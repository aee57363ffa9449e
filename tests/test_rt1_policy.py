"""RT1 as a policy: acting, remembering, learning, and what it refuses."""

import numpy as np
import pytest
import torch
from small_rt1 import config, observations, small_policy
from torch import nn

from course_lib.interfaces import Policy, Trainable
from course_lib.rt1 import RT1, FiLM, RT1Config, TokenLearner
from course_lib.rt1.preprocess import to_unit_range


@pytest.fixture
def policy():
    return small_policy()


def test_the_paper_preset_has_35_252_128_parameters():
    with torch.device("meta"):
        policy = RT1(RT1Config.paper())
    parts = [policy.encoder, policy.token_learner, policy.decoder, policy.action_embedding]
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [15_709_784, 34_376, 19_376_384, 131_584]
    assert sum(p.numel() for p in policy.parameters() if p.requires_grad) == 35_252_128
    assert policy.config.positions == 114


def test_the_tiny_preset_fits_in_four_megabytes():
    assert sum(t.numel() * t.element_size() for t in RT1(RT1Config.tiny()).state_dict().values()) < 4e6


def test_the_dead_action_embedding_never_reaches_the_output():
    policy = RT1(config(action_embedding=True))
    policy.loss(policy.config.fake_batch()).backward()
    dead = {name for name, p in policy.named_parameters() if p.grad is None}
    assert dead == {"action_embedding.weight", "action_embedding.bias"}


def test_it_is_a_policy_and_it_can_learn(policy):
    assert isinstance(policy, Policy) and isinstance(policy, Trainable)


def test_acting_frame_by_frame_equals_running_the_whole_window(policy):
    """The token memory against its plain twin, while the window grows and after it slides."""
    frames = observations(8)
    for step, observation in enumerate(frames):
        window = frames[max(0, step - 2) : step + 1]
        images = to_unit_range(torch.stack([torch.from_numpy(o["image"]) for o in window]))[None]
        with torch.no_grad():
            logits = policy(images, torch.from_numpy(observation["instruction"])[None])[:, -1]
        trace = {}
        action = policy.act(observation, trace)
        torch.testing.assert_close(trace["logits"], logits, atol=1e-5, rtol=1e-5)
        np.testing.assert_array_equal(action, policy.tokenizer.decode(logits.argmax(-1))[0].numpy())


def test_each_control_step_encodes_one_frame_and_decodes_once(policy):
    seen = []
    policy.encoder.register_forward_hook(lambda module, inputs, output: seen.append(("encode", len(output))))
    policy.decoder.register_forward_hook(lambda module, inputs, output: seen.append(("decode", output.shape[1])))
    for observation in observations(5):
        policy.act(observation)
    assert seen == 5 * [("encode", 1), ("decode", 1)]


def test_reset_forgets_and_an_episode_repeats_exactly(policy):
    first = [policy.act(o) for o in observations(5)]
    policy.reset()
    np.testing.assert_array_equal([policy.act(o) for o in observations(5)], first)


def test_many_tables_at_once_act_as_each_alone(policy):
    tables = [observations(4, seed) for seed in range(3)]
    alone = []
    for table in tables:
        policy.reset()
        alone.append([policy.act(o) for o in table])
    policy.reset()
    for step in range(4):
        batch = {
            "image": np.stack([table[step]["image"] for table in tables]),
            "instruction": np.stack([table[step]["instruction"] for table in tables]),
        }
        together = policy.act(batch)
        assert together.shape == (3, 11) and together.dtype == np.float32
        np.testing.assert_array_equal(together, [actions[step] for actions in alone])


def test_actions_lie_in_the_action_space(policy):
    action, space = policy.act(observations(1)[0]), policy.config.action_space
    assert action.shape == (11,) and (action >= space.low).all() and (action <= space.high).all()


def test_the_instruction_is_heard(policy):
    observation, a, b = observations(1)[0], {}, {}
    policy.act(observation, a)
    policy.reset()
    policy.act(observation | {"instruction": -observation["instruction"]}, b)
    assert not torch.allclose(a["logits"], b["logits"])


def test_acting_leaves_every_parts_mode_and_statistics_alone(policy):
    policy.train()
    policy.encoder.stem_norm.eval()
    modes, before = [m.training for m in policy.modules()], {k: v.clone() for k, v in policy.state_dict().items()}
    first = policy.act(observations(1)[0])
    policy.reset()
    np.testing.assert_array_equal(policy.act(observations(1)[0]), first)  # no dropout, no batch statistics
    assert [m.training for m in policy.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in policy.state_dict().items())


def test_the_trace_holds_what_pictures_are_made_of(policy):
    trace = {}
    policy.act(observations(1)[0], trace)
    assert trace["token_learner/maps"].shape == (1, 4, 4, 4) and trace["image_tokens"].shape == (1, 4, 24)
    assert trace["logits"].shape == (1, 11, 256) and trace["decoder/layer0/attention"].shape == (1, 2, 15, 15)


def test_sentences_are_encoded_once_as_long_as_they_stay_the_same(policy):
    heard = []

    def encoder(sentences):
        heard.append(sentences)
        return torch.stack([torch.full((12,), float(len(s))) for s in sentences])

    policy.instruction_encoder = encoder
    image = observations(1)[0]["image"]
    for _ in range(3):
        policy.act({"image": image, "instruction": "pick up the banana"})
    policy.act({"image": image, "instruction": "pick up the can"})
    assert heard == [["pick up the banana"], ["pick up the can"]]
    policy.reset()
    policy.act({"image": np.stack([image, image]), "instruction": ["a", "bb"]})
    assert heard[-1] == ["a", "bb"]


def test_an_instruction_encoder_is_not_part_of_the_weights(policy):
    policy.instruction_encoder = nn.Linear(3, 12)
    assert not [name for name in policy.state_dict() if "instruction" in name]


def test_the_paper_preset_explains_which_embedding_it_needs():
    policy = RT1(config(instruction_dim=512))
    with pytest.raises(ValueError, match=r"Universal Sentence Encoder \(USE, 512 numbers\)"):
        policy.act({"image": observations(1)[0]["image"], "instruction": "pick up the apple"})


def test_the_loss_of_a_policy_that_knows_nothing_is_the_log_of_the_bins():
    policy = RT1(config())
    nn.init.zeros_(policy.decoder.output.weight)
    assert float(policy.loss(policy.config.fake_batch()).detach()) == pytest.approx(np.log(256), rel=1e-6)


def test_padded_steps_do_not_count(policy):
    batch = policy.config.fake_batch(2)
    batch["valid"][:, 2] = False
    expected = float(policy.loss(batch).detach())
    batch["actions"][:, 2] = 0
    batch["images"][:, 2] = 0  # padding stands at the end, where no valid step looks
    assert float(policy.loss(batch).detach()) == pytest.approx(expected, rel=1e-6)


def test_a_few_steps_of_training_learn_a_batch_by_heart():
    torch.manual_seed(0)
    policy = RT1(config())
    batch = policy.config.fake_batch(2)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    first = float(policy.loss(batch).detach())
    for _ in range(60):
        optimizer.zero_grad()
        policy.loss(batch).backward()
        optimizer.step()
    assert float(policy.loss(batch).detach()) < 0.1 * first


def test_every_living_weight_gets_a_gradient():
    policy = RT1(config())
    policy.loss(policy.config.fake_batch(3)).backward()
    assert not [name for name, p in policy.named_parameters() if p.grad is None]


def test_training_in_bfloat16_has_nearly_the_same_loss():
    policy = RT1(config())
    batch = policy.config.fake_batch(3)
    expected = float(policy.loss(batch).detach())
    with torch.autocast("cpu", torch.bfloat16):
        loss = policy.loss(batch)
    loss.backward()
    assert loss.dtype == torch.float32 and float(loss.detach()) == pytest.approx(expected, rel=0.02)


class LoudFiLM(FiLM):
    def forward(self, x, z):
        return super().forward(x, z) + z.mean()


class OneCell(nn.Module):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__()
        self.tokens = tokens

    def forward(self, x, trace=None):
        return x[:, :, :1, 0].expand(-1, -1, self.tokens).transpose(1, 2)


def test_a_learners_own_layers_drive_the_robot():
    policy = RT1(config(), film=LoudFiLM, token_learner=OneCell).eval()
    assert isinstance(policy.encoder.film, LoudFiLM) and not isinstance(policy.token_learner, TokenLearner)
    assert policy.act(observations(1)[0]).shape == (11,)


def test_another_number_of_tables_needs_a_reset(policy):
    first = observations(1)[0]
    policy.act(first)
    two = {"image": np.stack(2 * [first["image"]]), "instruction": first["instruction"]}
    with pytest.raises(ValueError, match=r"has 1 tables.*has 2.*reset\(\)"):
        policy.act(two)
    policy.reset()
    assert policy.act(two).shape == (2, 11)


def test_damaged_weights_are_named_and_not_acted_on(policy):
    with torch.no_grad():
        policy.decoder.output.bias[3] = float("nan")
    with pytest.raises(ValueError, match="weights are damaged"):
        policy.act(observations(1)[0])

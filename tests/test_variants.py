"""The relatives of TokenLearner and the ablations of RT-1: what makes each different."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_rt1 import config, observations
from torch import nn

from course_lib.actions import ActionSpace
from course_lib.learn.checkpoints import load_checkpoint, save_checkpoint
from course_lib.rt1 import RT1, TokenLearner
from course_lib.rt1.ablations import AutoregressiveRT1, ConcatRT1, ContinuousRT1
from course_lib.rt1.film import NoFiLM
from course_lib.rt1.policy import arg_max, sampling
from course_lib.rt1.variants import SigmoidTokens, TokenLearnerV10, TokensCompete


def observation(seed=0):
    return observations(1, seed)[0]


def cosine_of_tokens(tokens):
    unit = F.normalize(tokens, dim=-1)
    K = tokens.shape[1]
    return float((unit @ unit.transpose(1, 2)).sum((1, 2)).sub(K).div(K * (K - 1)).mean().detach())


def test_competing_tokens_hand_out_every_cell_exactly_once():
    x, trace = torch.randn(2, 16, 5, 6), {}
    tokens = TokensCompete(16, tokens=3)(x, trace)
    torch.testing.assert_close(tokens.sum(1), x.sum((2, 3)))  # the tokens sum to all cells
    torch.testing.assert_close(trace["token_learner/maps"].sum(1), torch.ones(2, 5, 6))


def test_sigmoid_tokens_begin_as_nearly_the_same_average():
    torch.manual_seed(0)
    x = torch.randn(4, 512, 9, 9)
    same, different = cosine_of_tokens(SigmoidTokens(512)(x)), cosine_of_tokens(TokenLearner(512)(x))
    assert same > 0.95 and different < 0.6
    tokens = SigmoidTokens(512)(x)
    assert F.cosine_similarity(tokens[:, 0], x.mean((2, 3))).min() > 0.95


def test_maps_of_sigmoid_tokens_sum_to_one_and_those_of_version_1_0_do_not():
    x, a, b = torch.randn(2, 16, 5, 6), {}, {}
    SigmoidTokens(16, tokens=3)(x, a)
    TokenLearnerV10(16, tokens=3)(x, b)
    torch.testing.assert_close(a["token_learner/maps"].sum((2, 3)), torch.ones(2, 3), atol=1e-4, rtol=0)
    maps = b["token_learner/maps"]
    assert maps.min() > 0 and maps.max() < 1 and maps.sum((2, 3)).min() > 1.5


def test_version_1_0_grows_with_the_picture_and_version_1_1_does_not():
    torch.manual_seed(0)
    old, new = TokenLearnerV10(16, tokens=3), TokenLearner(16, tokens=3)
    small = torch.randn(1, 16, 1, 1).expand(1, 16, 4, 4)  # the same colour everywhere
    large = small[..., :1, :1].expand(1, 16, 12, 12)
    assert old(large).norm() > 6 * old(small).norm()
    torch.testing.assert_close(new(large), new(small))


def test_version_1_0_looks_at_neighbours_and_version_1_1_at_single_cells():
    torch.manual_seed(0)
    x = torch.randn(1, 16, 7, 7)
    poked = x.clone()
    poked[:, 0, 3, 3] += 5
    change = {}
    for name, learner in {"old": TokenLearnerV10(16, tokens=3), "new": TokenLearner(16, tokens=3)}.items():
        a, b = {}, {}
        learner(x, a)
        learner(poked, b)
        ratio = b["token_learner/maps"] / a["token_learner/maps"]
        # softmax rescales all cells alike, so compare with a far corner
        change[name] = (ratio / ratio[..., :1, :1] - 1).abs().amax(1)[0] > 1e-4
    assert change["new"].sum() == 1 and change["new"][3, 3]
    assert change["old"].sum() > 9


@pytest.mark.parametrize("learner, parameters", [(TokensCompete, 4_104), (SigmoidTokens, 526_344)])
def test_the_look_alikes_have_other_numbers_of_parameters(learner, parameters):
    assert sum(p.numel() for p in learner(512).parameters()) == parameters


@pytest.mark.parametrize("learner", [TokenLearnerV10, TokensCompete, SigmoidTokens])
def test_every_relative_drives_the_robot_and_learns(learner):
    policy = RT1(config(), token_learner=learner)
    policy.loss(policy.config.fake_batch()).backward()
    assert all(p.grad is not None for p in policy.token_learner.parameters())
    assert policy.act(observation()).shape == (11,)


def heard(policy):
    """Whether another instruction changes the logits."""
    for layer in policy.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.3)
    a, b, seen = {}, {}, observation()
    policy.act(seen, a)
    policy.reset()
    policy.act(seen | {"instruction": -seen["instruction"]}, b)
    return not torch.allclose(a["logits"], b["logits"])


def test_without_film_the_policy_is_deaf_and_concatenation_lets_it_hear_again():
    assert heard(RT1(config()))
    assert not heard(RT1(config(), film=NoFiLM))
    assert heard(ConcatRT1(config()))


def test_with_concatenation_the_eyes_do_not_listen():
    policy, a, b = ConcatRT1(config()), {}, {}
    nn.init.normal_(policy.join.weight)
    seen = observation()
    policy.act(seen, a)
    policy.reset()
    policy.act(seen | {"instruction": -seen["instruction"]}, b)
    assert torch.equal(a["token_learner/maps"], b["token_learner/maps"])
    assert not torch.allclose(a["logits"], b["logits"])


def test_no_history_means_that_only_the_current_frame_counts():
    policy = RT1(config(history=1))
    alone = policy.act(observation(1))
    policy.reset()
    policy.act(observation(2))
    np.testing.assert_array_equal(policy.act(observation(1)), alone)
    assert policy.config.positions == 15


def autoregressive(**changes):
    torch.manual_seed(0)
    policy = AutoregressiveRT1(config(**changes))
    nn.init.normal_(policy.action_embedding.weight)
    for layer in policy.decoder.layers:  # so that attention is not nearly uniform
        nn.init.normal_(layer.attention.query.weight, std=0.3)
        nn.init.normal_(layer.attention.key.weight, std=0.3)
    return policy.eval()


def test_each_action_token_sees_those_before_it_and_none_after():
    policy = autoregressive()
    batch = policy.config.fake_batch(1)
    images = batch["images"].movedim(-1, -3) / 255
    with torch.no_grad():
        before = policy(images, batch["instruction"], actions=batch["actions"])
        changed = batch["actions"].clone()
        changed[0, 1, 4] = -changed[0, 1, 4] + 0.3
        after = policy(images, batch["instruction"], actions=changed)
    moved = (after - before).abs().amax(-1)[0] > 1e-6  # (T, A)
    assert not moved[0].any() and not moved[1, :5].any() and moved[1, 5:].all() and moved[2].all()


def test_rt1_never_sees_an_action_and_the_autoregressive_one_does():
    deaf = RT1(config(action_embedding=True))
    batch = deaf.config.fake_batch(1)
    deaf.loss(batch).backward()
    assert deaf.action_embedding.weight.grad is None
    policy = autoregressive()
    policy.loss(batch).backward()
    assert float(policy.action_embedding.weight.grad.abs().sum()) > 0


def test_token_by_token_acting_equals_teacher_forcing_on_ones_own_tokens():
    """Feed back what was said, in one pass over the window: the same tokens, also after the window slides."""
    numbers = ActionSpace(ActionSpace.workbook().dims[:10])  # without the class, whose unused tokens all mean class 0
    policy, frames, said = autoregressive(action_space=numbers), [], []
    words = torch.randn(1, 12)
    for step in range(5):
        picture = observation(step)["image"]
        action = policy.act({"image": picture, "instruction": words[0]})
        frames, said = [*frames, torch.from_numpy(picture)][-3:], [*said, torch.from_numpy(action)][-3:]
        images = torch.stack(frames)[None].movedim(-1, -3) / 255
        with torch.no_grad():
            logits = policy(images, words, actions=torch.stack(said)[None])[:, -1]
        np.testing.assert_array_equal(policy.tokenizer.decode(logits.argmax(-1))[0].numpy(), action)


def test_the_autoregressive_policy_asks_for_actions():
    policy = autoregressive()
    with pytest.raises(ValueError, match="actions=actions"):
        policy(torch.zeros(1, 2, 3, 32, 32), torch.zeros(1, 12))


def test_only_the_autoregressive_policy_can_say_both_or_neither():
    """Two modes, (0, 0) and (31, 31): independent numbers mix them half of the time, numbers in turn never."""
    parallel, in_turn = RT1(config(history=1)), AutoregressiveRT1(config(history=1))
    batch = parallel.config.fake_batch(2)
    batch["images"], batch["instruction"] = (
        batch["images"][:1].expand(2, -1, -1, -1, -1),
        batch["instruction"][:1].expand(2, -1),
    )
    low, high = (torch.from_numpy(getattr(parallel.config.action_space, end)) for end in ("low", "high"))
    batch["actions"] = torch.stack([low, high])[:, None]
    mixed = {}
    for policy in (parallel, in_turn):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(policy.parameters(), 5e-3)
        for _ in range(50):
            optimizer.zero_grad()
            policy.loss(batch).backward()
            optimizer.step()
        policy.eval()
        policy.pick = sampling(torch.Generator().manual_seed(0))
        many = {"image": batch["images"][0, 0][None].expand(200, -1, -1, -1), "instruction": batch["instruction"][0]}
        up = policy.act(many)[:, :2] > 0
        mixed[type(policy).__name__] = float((up[:, 0] != up[:, 1]).mean())
    assert mixed["RT1"] > 0.3 and mixed["AutoregressiveRT1"] < 0.1


def test_sampled_tokens_have_the_probabilities_of_the_logits():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(20_000, 1, 3)
    drawn = sampling(torch.Generator().manual_seed(0))(logits)
    assert drawn.shape == (20_000, 1) and torch.equal(arg_max(logits), torch.zeros(20_000, 1, dtype=torch.long))
    np.testing.assert_allclose(drawn.flatten().bincount() / 20_000, [0.5, 0.3, 0.2], atol=0.015)
    cold = sampling(torch.Generator().manual_seed(0), temperature=0.01)(logits)
    assert not cold.any()
    with pytest.raises(ValueError, match="temperature must be above 0"):
        sampling(temperature=0.0)


def test_continuous_actions_meet_two_modes_in_the_middle():
    torch.manual_seed(0)
    policy = ContinuousRT1(config(history=1))
    batch = policy.config.fake_batch(2)
    batch["images"], batch["instruction"] = (
        batch["images"][:1].expand(2, -1, -1, -1, -1),
        batch["instruction"][:1].expand(2, -1),
    )
    space = policy.config.action_space
    batch["actions"] = torch.stack([torch.from_numpy(space.low), torch.from_numpy(space.high)])[:, None]
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        policy.loss(batch).backward()
        optimizer.step()
    action = policy.eval().act({"image": batch["images"][0, 0], "instruction": batch["instruction"][0]})
    assert np.abs(action[:10] / space.high[:10]).max() < 0.2 and float(policy.loss(batch).detach()) > 0.9
    assert action[-1] in (0, 1)  # a class stays a class


@pytest.mark.parametrize("kind", [ConcatRT1, AutoregressiveRT1, ContinuousRT1])
def test_ablations_are_saved_and_loaded_as_what_they_are(kind, tmp_path):
    policy = kind(config()).eval()
    save_checkpoint(policy, tmp_path / "it.safetensors")
    loaded = load_checkpoint(tmp_path / "it.safetensors", kind)
    np.testing.assert_array_equal(loaded.act(observation()), policy.act(observation()))
    with pytest.raises(ValueError, match=kind.__name__):
        load_checkpoint(tmp_path / "it.safetensors", RT1)

"""The fast twin is the plain RT-1: the same numbers in float32, bounded errors in bfloat16, and never in its way."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from parity_recipe import all_weights, load
from small_rt1 import config, observations, small_policy
from torch import nn

import course_lib.world  # noqa: F401 - registers the tabletop
from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.measure import rollout
from course_lib.rt1 import RT1, FiLM
from course_lib.rt1.ablations import AutoregressiveRT1, ConcatRT1, ContinuousRT1
from course_lib.rt1.efficientnet import Conv, FilmEfficientNet
from course_lib.rt1.fast import FastEncoder, best_precision, faster, fold, mean_over_places


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def paper():
    """The paper's network with the weights of the comparison, and eight frames that Google's code has seen."""
    z = load("f_network")
    frames = [{"image": frame, "instruction": z["context"][0]} for frame in z["frames_u8"]]
    return RT1.from_official(all_weights()), frames


@pytest.fixture(scope="module")
def shipped():
    """The policy in data/ and what it sees in an episode."""
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1)
    env = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=1)
    seen, _ = env.reset(seed=3)
    policy.reset()
    frames = []
    for _ in range(8):
        frames.append({"image": seen["image"].copy(), "instruction": list(seen["instruction"])})
        seen, *_ = env.step(policy.act(frames[-1]))
    return policy, frames


def with_statistics(policy):
    """As after training: BatchNorm has seen something."""
    for m in policy.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.2)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return policy


def steps(policy, frames):
    """Actions and logits of an episode, through act()."""
    kept, usual = [], policy.pick

    def pick(logits):
        kept.append(logits.float())
        return usual(logits)

    policy.pick = pick
    policy.reset()
    try:
        return np.stack([policy.act(frame) for frame in frames]), torch.stack(kept)
    finally:
        policy.pick = usual


def relative(got, want):
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("which", ["paper", "shipped"])
def test_in_float32_the_fast_twin_gives_the_same_logits_and_actions(which, request):
    policy, frames = request.getfixturevalue(which)
    actions, logits = steps(policy, frames)
    fast_actions, fast_logits = steps(faster(policy, "fp32"), frames)
    assert relative(fast_logits, logits) <= 1e-4
    np.testing.assert_array_equal(fast_actions, actions)


@pytest.mark.parametrize(("which", "error", "same"), [("paper", 0.06, 0.93), ("shipped", 0.04, 0.93)])
def test_in_bfloat16_the_error_is_bounded_and_almost_all_tokens_are_the_same(which, error, same, request):
    policy, frames = request.getfixturevalue(which)
    logits = steps(policy, frames)[1]
    half = steps(faster(policy, "bf16"), frames)[1]
    agree = (half.argmax(-1) == logits.argmax(-1)).float()
    print(f"{which}: error {relative(half, logits):.1e}, {int(agree.sum())} of {agree.numel()} tokens")
    assert 1e-4 < relative(half, logits) <= error  # above: it is another precision indeed
    assert agree.mean() >= same


def test_the_original_is_not_touched():
    policy = with_statistics(small_policy())
    before = copy.deepcopy(policy.state_dict())
    frames = observations()
    fast = faster(policy, "bf16")
    fast.act(frames[0])
    after = policy.state_dict()
    assert policy._memory is None and type(policy.encoder) is FilmEfficientNet
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    mine = {p.data_ptr() for p in policy.parameters()}
    assert not mine & {p.data_ptr() for p in fast.parameters()}  # training one never changes the other


@pytest.mark.parametrize("fused", [True, False])
def test_the_encoder_equals_the_plain_one_for_several_tables_and_with_a_trace(fused):
    plain = with_statistics(small_policy()).encoder
    fast = FastEncoder(plain, fused=fused)
    images, words = torch.rand(5, 3, 32, 32), torch.randn(5, 12)
    theirs, ours = {}, {}
    want = plain(images, words, theirs)
    assert relative(fast(images, words, ours), want) <= 1e-5
    assert relative(fast(images, words), want) <= 1e-5
    assert ours.keys() == theirs.keys()
    assert all(relative(ours[name], theirs[name]) <= 1e-5 for name in theirs)


def test_the_plain_lines_do_what_the_fused_call_does_in_bfloat16():
    plain = with_statistics(small_policy()).encoder
    images, words = torch.rand(2, 3, 32, 32), torch.randn(2, 12)
    lines, call = (FastEncoder(plain, torch.bfloat16, fused=fused)(images, words) for fused in (False, True))
    assert relative(call, lines) <= 0.03


def test_it_listens_to_a_new_instruction():
    policy = small_policy()
    fast = faster(policy, "fp32")
    images = torch.rand(1, 3, 32, 32)
    for _ in range(3):
        words = torch.randn(1, 12)
        assert relative(fast.encoder(images, words), policy.encoder(images, words)) <= 1e-5


def test_folding_equals_convolution_then_norm():
    conv, norm = Conv(4, 6, 3, 2), nn.BatchNorm2d(6, eps=1e-3).eval()
    for x in (norm.running_mean, norm.weight, norm.bias):
        nn.init.normal_(x)
    nn.init.uniform_(norm.running_var, 0.1, 3)
    weight, bias = fold(conv, norm)
    x = torch.randn(2, 4, 8, 8)
    folded = nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), weight, bias, 2)
    torch.testing.assert_close(folded, norm(conv(x)), atol=1e-5, rtol=1e-5)


def test_the_mean_over_places_is_the_mean():
    x = torch.randn(3, 5, 4, 7).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mean_over_places(x), x.mean((2, 3)))


@pytest.mark.parametrize("kind", [AutoregressiveRT1, ConcatRT1, ContinuousRT1])
def test_the_variants_are_made_faster_too(kind):
    torch.manual_seed(0)
    policy, frames = with_statistics(kind(config()).eval()), observations(5)
    fast, half = faster(policy, "fp32"), faster(policy, "bf16")
    policy.reset()
    for frame in frames:
        np.testing.assert_allclose(fast.act(frame), policy.act(frame), atol=1e-5)
        assert np.isfinite(half.act(frame)).all()


def test_a_learners_own_film_is_kept():
    class Louder(FiLM):
        def forward(self, x, z):
            return 2 * super().forward(x, z)

    torch.manual_seed(0)
    policy, frames = with_statistics(RT1(config(), film=Louder).eval()), observations(3)
    assert relative(steps(faster(policy, "fp32"), frames)[1], steps(policy, frames)[1]) <= 1e-5


def test_the_sentence_encoder_is_shared():
    policy = small_policy()
    policy.instruction_encoder = ears = lambda sentences: torch.ones(len(sentences), 12)
    assert faster(policy).instruction_encoder is ears


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'fp32' or 'bf16', got 'fp8'"):
        faster(small_policy(), "fp8")
    assert best_precision(torch.device("cpu")) in {"fp32", "bf16"}
    assert best_precision(torch.device("meta")) == "fp32"


@pytest.mark.slow
def test_the_fast_policy_picks_as_well_as_the_plain_one(shipped):
    """The same scenes: only episodes that end differently can tell the two apart."""
    policy, env = shipped[0], gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=50)
    plain, fast = (rollout(p, env, 100, seed=700_000).success for p in (policy, faster(policy, "bf16")))
    assert abs(int(plain.sum()) - int(fast.sum())) <= 4
    assert (plain != fast).mean() <= 0.08

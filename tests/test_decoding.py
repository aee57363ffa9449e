"""Decoding: cached equals uncached equals transformers; filters, with logits made by hand."""

import pytest
import torch
from small_rt2 import IMAGE_TOKENS, reference, small_vlm

from course_lib.rt2.decoding import OnlyActionTokens, PlanThenAction, arg_max, generate, sampling
from course_lib.rt2.weights import read_config_of, read_state


def prompts(batch=3, length=6, seed=2):
    """Prompts of different lengths, padded on the left."""
    rng = torch.Generator().manual_seed(seed)
    real = torch.arange(length) >= torch.tensor([0, 3, 1])[:batch, None]
    return torch.rand(batch, 3, 16, 16, generator=rng), torch.randint(3, 90, (batch, length), generator=rng), real


@pytest.mark.parametrize("generation", [1, 2])
def test_token_by_token_equals_transformers_generate(generation):
    theirs = reference(generation)
    ours = read_state(read_config_of(theirs.config.to_dict()), theirs.state_dict())
    images, asked, real = prompts()
    before = [torch.zeros(int((~r).sum()), dtype=torch.long) for r in real]  # transformers pads before the image
    image = torch.full((IMAGE_TOKENS,), theirs.config.image_token_id)
    ids = torch.stack([torch.cat((b, image, p[r])) for b, p, r in zip(before, asked, real, strict=True)])
    mask = torch.stack([torch.cat((b, torch.ones(len(ids[0]) - len(b), dtype=torch.long))) for b in before])
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "output_logits": True}
    out = theirs.generate(
        input_ids=ids, pixel_values=2 * images - 1, attention_mask=mask, token_type_ids=torch.zeros_like(ids),
        return_dict_in_generate=True, **options,
    )  # fmt: skip
    trace = {}
    tokens = generate(ours, images, asked, real, steps=8, trace=trace, filters=[never_end])
    assert torch.equal(tokens, out.sequences[:, ids.shape[1] :])
    expected = torch.stack(out.logits, 1)
    expected[..., 1] = float("-inf")  # min_new_tokens forbids the end, after these logits
    torch.testing.assert_close(trace["logits"], expected, rtol=0, atol=1e-5)


def never_end(logits, tokens):
    return logits.index_fill(1, torch.tensor([1]), float("-inf"))


@pytest.mark.parametrize("sees", [True, False])
def test_with_the_cache_answers_are_those_without_it(sees):
    vlm = small_vlm(image_sees_prompt=sees)
    images, asked, real = prompts()
    traces = [{}, {}]
    answers = [
        generate(vlm, images, asked, real, steps=7, cached=cached, trace=trace)
        for cached, trace in zip((True, False), traces, strict=True)
    ]
    assert torch.equal(*answers) and traces[0]["logits"].std() > 0.1
    torch.testing.assert_close(traces[0]["logits"], traces[1]["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sees", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_with_padding_answers_as_each_alone(sees, cached):
    vlm = small_vlm(image_sees_prompt=sees)
    images, asked, real = prompts()
    together = generate(vlm, images, asked, real, steps=6, cached=cached)
    for i in range(3):
        alone = generate(vlm, images[i, None], asked[i, real[i]][None], steps=6, cached=cached)
        assert torch.equal(together[i], alone[0])


@pytest.mark.parametrize("sees", [True, False])
def test_several_prompts_about_one_image_read_it_once(sees):
    vlm = small_vlm(image_sees_prompt=sees)
    images, asked, real = prompts()
    seen = []
    vlm.vision.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    shared = generate(vlm, images[:1], asked, real, steps=6)
    assert seen == [1]
    assert torch.equal(shared, generate(vlm, images[:1].expand(3, -1, -1, -1), asked, real, steps=6))


def test_a_cached_answer_reads_image_and_prompt_once_and_then_one_token_a_step():
    vlm = small_vlm()
    images, asked, real = prompts()
    lengths = []
    vlm.language.layers[0].register_forward_hook(lambda module, inputs, output: lengths.append(output.shape[1]))
    generate(vlm, images, asked, real, steps=4)
    assert lengths == [IMAGE_TOKENS + 6, 1, 1, 1]


def test_a_row_that_has_ended_is_filled_up_and_all_ended_stops_early():
    vlm = small_vlm()
    images, asked, real = prompts()
    free = generate(vlm, images, asked, real, steps=6)
    stop = int(free[0, 2])
    ended = generate(vlm, images, asked, real, steps=6, stop=stop)
    place = free[0].tolist().index(stop)
    assert ended[0, place:].tolist() == [stop] * (ended.shape[1] - place)
    assert generate(vlm, images[:1], asked[:1], real[:1], steps=50, stop=stop).shape[1] == place + 1


def test_sampling_follows_the_probabilities_and_its_generator():
    logits = torch.log(torch.tensor([0.7, 0.2, 0.1])).expand(20_000, -1)
    drawn = sampling(torch.Generator().manual_seed(0))(logits)
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert shares.tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.015)
    assert torch.equal(drawn, sampling(torch.Generator().manual_seed(0))(logits))
    cold = torch.bincount(sampling(torch.Generator().manual_seed(0), 0.25)(logits), minlength=3) / len(drawn)
    assert cold[0] == pytest.approx(0.7**4 / (0.7**4 + 0.2**4 + 0.1**4), abs=0.01)
    assert arg_max(logits).unique().tolist() == [0]
    with pytest.raises(ValueError, match="temperature must be above 0"):
        sampling(temperature=0)


def answer_of(rule, wishes, steps):
    """What a model that always wishes the same ids (best first) writes under a filter."""
    tokens = torch.zeros(1, 0, dtype=torch.long)
    for _ in range(steps):
        logits = torch.zeros(1, 12)
        for rank, wish in enumerate(wishes):
            logits[0, wish] = 10 - rank
        tokens = torch.cat((tokens, rule(logits, tokens).argmax(-1, keepdim=True)), 1)
    return tokens[0].tolist()


def test_only_an_actions_tokens_can_be_written_each_at_its_place():
    rule = OnlyActionTokens([(3, 4), (5, 6)], end=1, vocabulary=12)
    assert answer_of(rule, wishes=[9, 6, 4, 1], steps=4) == [4, 6, 1, 1]


def test_a_filter_leaves_the_legal_logits_as_they_are():
    logits = torch.randn(2, 12)
    out = OnlyActionTokens([(3, 4)], end=1, vocabulary=12)(logits, torch.zeros(2, 0, dtype=torch.long))
    assert torch.equal(out[:, 3:5], logits[:, 3:5]) and out.isinf().sum() == 2 * 10


def test_a_plan_is_free_but_for_the_end_and_after_the_marker_comes_the_action():
    rule = PlanThenAction([8], [(3, 4), (5, 6)], end=1, vocabulary=12, limit=3)
    assert answer_of(rule, wishes=[8, 5, 3], steps=4) == [8, 3, 5, 1]
    assert answer_of(rule, wishes=[1, 9, 6, 4], steps=rule.steps + 1) == [9, 9, 9, 8, 4, 6, 1]  # the marker is forced


def test_a_marker_of_two_tokens_is_found_in_its_order_and_forced_in_full():
    rule = PlanThenAction([8, 7], [(3, 4)], end=1, vocabulary=12, limit=2)
    assert rule.since_marker(torch.tensor([[7, 8, 9, 9], [9, 8, 7, 3], [8, 7, 8, 7]])).tolist() == [-1, 1, 2]
    assert answer_of(rule, wishes=[9], steps=5) == [9, 9, 8, 7, 3]
    assert answer_of(rule, wishes=[8], steps=5) == [8, 8, 8, 7, 3]


def test_rows_of_a_batch_may_be_in_different_parts_of_their_answers():
    rule = PlanThenAction([8], [(3,), (5,)], end=1, vocabulary=12, limit=9)
    out = rule(torch.zeros(3, 12), torch.tensor([[9, 9, 9], [9, 8, 3], [8, 3, 5]]))
    assert (out > -1).sum(1).tolist() == [11, 1, 1] and out[1].argmax() == 5 and out[2].argmax() == 1


def test_impossible_requests_are_refused():
    vlm = small_vlm()
    images, asked, real = prompts()
    with pytest.raises(ValueError, match="steps >= 1"):
        generate(vlm, images, asked, real, steps=0)
    with pytest.raises(ValueError, match="so many prompts per image"):
        generate(vlm, images[:2], asked, real, steps=1)
    with pytest.raises(ValueError, match="marker of at least one token"):
        PlanThenAction([], [(3,)], end=1, vocabulary=12)


def test_damaged_weights_are_named_and_not_decoded():
    vlm = small_vlm()
    images, asked, real = prompts()
    with torch.no_grad():
        vlm.language.norm.weight[3] = float("nan")
    with pytest.raises(ValueError, match="weights are damaged"):
        generate(vlm, images, asked, real, steps=2)

"""PaliGemma against transformers', number for number; several questions at once; parameter counts as published."""

import json

import pytest
import torch
from small_rt2 import IMAGE_TOKENS, config, reference, rows, small_vlm

from course_lib.attention import prefix_lm_mask
from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.weights import read_config_of, read_state


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("generation", [1, 2])
def test_logits_equal_transformers_with_padding_and_several_lengths(generation):
    theirs = reference(generation)
    ours = read_state(read_config_of(theirs.config.to_dict()), theirs.state_dict())
    images, tokens, answer, real = rows()
    image = torch.full((3, IMAGE_TOKENS), theirs.config.image_token_id)
    marks = {
        "input_ids": torch.cat((image, tokens), 1),
        "attention_mask": torch.cat((torch.ones_like(image), real.long()), 1),
        "token_type_ids": torch.cat((torch.zeros_like(image), answer.long()), 1),  # 1: answer, causal
    }
    with torch.no_grad():
        expected = theirs(pixel_values=2 * images - 1, **marks).logits[:, IMAGE_TOKENS:]
        logits = ours(images, tokens, answer, real)
    assert expected[real].std() > 0.3
    torch.testing.assert_close(logits[real], expected[real], rtol=0, atol=1e-5)


def test_the_presets_have_the_published_numbers_of_parameters():
    """keras-hub's presets pali_gemma_3b_224 and pali_gemma2_pt_3b_224; Hugging Face's file has 64 rows more."""
    with torch.device("meta"):
        first, second = PaliGemma(PaliGemmaConfig.pt_224()), PaliGemma(PaliGemmaConfig.pt2_224())
        file = PaliGemma(PaliGemmaConfig.pt_224(257_216))
    assert parameters(first) == 2_923_335_408 and parameters(second) == 3_032_094_960
    assert parameters(file) == 2_923_466_480
    assert first.config.vision.image_tokens == 256
    gemma_2b = parameters(first.language) - (257_152 - 256_000) * 2048
    assert gemma_2b == 2_506_172_416


def test_the_tiny_preset_fits_into_sixteen_megabytes_and_has_64_image_tokens():
    tiny = PaliGemma(PaliGemmaConfig.tiny(1300))
    assert 4 * parameters(tiny) < 16e6 and tiny.config.vision.image_tokens == 64


def test_a_config_survives_json():
    for original in (PaliGemmaConfig.tiny(), PaliGemmaConfig.pt_224(), PaliGemmaConfig.pt2_224()):
        assert PaliGemmaConfig.from_dict(json.loads(json.dumps(original.to_dict()))) == original
    with pytest.raises(ValueError, match="Did you mean 'image_sees_prompt'"):
        PaliGemmaConfig.tiny(image_sees_promt=True)


@pytest.mark.parametrize("sees", [True, False])
def test_several_questions_about_an_image_are_as_each_alone(sees):
    vlm = small_vlm(image_sees_prompt=sees)
    images, tokens, answer, real = (torch.cat([x, x.flip(0)]) for x in rows())
    images = images[:2]
    with torch.no_grad():
        together = vlm(images, *(x.view(2, 3, -1) for x in (tokens, answer, real))).flatten(0, 1)
        alone = [vlm(images[i // 3, None], *(x[i, None] for x in (tokens, answer, real)))[0] for i in range(6)]
    torch.testing.assert_close(together[real], torch.stack(alone)[real], rtol=1e-5, atol=1e-5)


def test_one_pass_over_the_image_equals_its_slow_twin_with_a_mask():
    """Images that do not see the prompt: the whole sequence under one mask gives the same states."""
    vlm = small_vlm(image_sees_prompt=False)
    images, tokens, answer, real = rows()
    with torch.no_grad():
        fast = vlm.states(images, tokens, answer, real)
        slow = vlm._together(vlm.image_tokens(images), vlm.language.embed(tokens), answer, real, None)
    torch.testing.assert_close(fast[real], slow[real], rtol=1e-5, atol=1e-5)


def test_a_prompt_changes_the_image_tokens_only_where_they_may_see_it():
    images, tokens, answer, real = rows()
    for sees in (True, False):
        trace = [{}, {}]
        for text, kept in zip((tokens, tokens + 1), trace, strict=True):
            vlm = small_vlm(image_sees_prompt=sees)
            vlm._together(vlm.image_tokens(images), vlm.language.embed(text), answer, real, kept)
        states = [kept["gemma/layer1"][:, :IMAGE_TOKENS] for kept in trace]
        assert torch.equal(*states) is not sees


@pytest.mark.parametrize("sees", [True, False])
def test_no_state_knows_a_later_answer_token_or_the_padding(sees):
    vlm = small_vlm(image_sees_prompt=sees)
    images, tokens, answer, real = rows()
    with torch.no_grad():
        before = vlm(images, tokens, answer, real)
        later = tokens.clone()
        later[:, 6] = 5  # an answer token, or the last of a prompt
        later[~real] = 8
        after = vlm(images, later, answer, real)
    same = (before == after).all(-1)
    first_row = torch.tensor([True] * 6 + [False] * 3)
    assert torch.equal(same[0], first_row)
    assert torch.equal(same[1, :6], first_row[:6]) and not same[1, 6:8].any()


def test_the_whole_mask_is_the_prefix_mask_of_the_lesson():
    vlm = small_vlm()
    answer = torch.tensor([[False, False, True, True]])
    _, (mask, window) = vlm._layout(answer, torch.ones_like(answer))
    assert window is None and torch.equal(mask[0, 0], prefix_lm_mask(IMAGE_TOKENS + 2, 2))


def test_appended_rows_leave_the_old_vocabulary_as_it_was():
    vlm = small_vlm()
    images, tokens, answer, real = rows()
    with torch.no_grad():
        before = vlm(images, tokens, answer, real)
        after = vlm.grow(7, torch.Generator().manual_seed(0))(images, tokens, answer, real)
    assert after.shape[-1] == 97 + 7 == vlm.config.language.vocabulary and vlm.grow(0) is vlm
    torch.testing.assert_close(after[..., :97], before)
    assert PaliGemma(vlm.config).load_state_dict(vlm.state_dict())


def test_every_weight_gets_a_gradient():
    for sees in (True, False):
        vlm = small_vlm(image_sees_prompt=sees)
        vlm(*rows()).sum().backward()
        assert not [name for name, p in vlm.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(3, 16, 16, 3)}, r"Expected images \(B, 3, 16, 16\)"),
        ({"images": torch.zeros(3, 3, 16, 16, dtype=torch.uint8)}, "float from 0 to 1"),
        ({"tokens": torch.zeros(2, 9, dtype=torch.long)}, r"got .* \(2, 9\)"),
        ({"tokens": torch.full((3, 9), 97)}, r"Tokens are 0 \.\.\. 96 here, got 97 \.\.\. 97.*grow"),
        ({"answer": torch.zeros(3, 8, dtype=torch.bool)}, "`answer` is bool and shaped as tokens"),
        ({"real": torch.ones(3, 9)}, "`real` is bool"),
    ],
)
def test_wrong_inputs_are_refused(change, message):
    parts = dict(zip(("images", "tokens", "answer", "real"), rows(), strict=True))
    with pytest.raises(ValueError, match=message):
        small_vlm()(**parts | change)


def test_the_batch_that_a_config_makes_is_legal():
    batch = config().fake_batch(2, 3, 6)
    assert batch["tokens"].shape == (2, 3, 6) and batch["answer"][0, 0].tolist() == 3 * [False] + 3 * [True]

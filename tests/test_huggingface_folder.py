"""A folder of the real kind, written by transformers itself: weights, tokenizer and picture processor drive the robot."""

import string

import numpy as np
import pytest
import torch
from small_rt2 import pictures, reference

from course_lib.actions import ActionVocabulary, least_used
from course_lib.rt2 import RT2
from course_lib.rt2.prompts import token_counts
from course_lib.rt2.tokenizer import TextTokenizer, huggingface_processor

PIECES = ["pick", "up", "the", "apple", "action"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Gemma's kind of tokenizer with a small vocabulary, SigLIP's picture processor, PaliGemma with random weights."""
    from transformers import GemmaTokenizer, PaliGemmaProcessor, SiglipImageProcessor  # noqa: PLC0415

    letters = ["▁", "\n", *string.ascii_lowercase, *string.digits, *string.punctuation]
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters]
    merges = []
    for piece in PIECES:  # each word is put together letter by letter, with the space before it
        built = "▁"
        for letter in piece:
            merges.append((built, letter))
            built += letter
            names.append(built)
    vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)))
    pixels = SiglipImageProcessor(size={"height": 16, "width": 16})
    pixels.image_seq_length = 4
    path = tmp_path_factory.mktemp("real")
    PaliGemmaProcessor(pixels, tokenizer).save_pretrained(path)
    reference(vocabulary=1400).save_pretrained(path, max_shard_size="100KB")
    return path


@pytest.fixture(scope="module")
def policy(folder):
    tokenizer = huggingface_processor(folder).tokenizer
    taken = least_used(token_counts(tokenizer, ["pick up the apple"]), 256, keep=range(300))
    return RT2.from_huggingface(str(folder), vocabulary=ActionVocabulary.overwrite(taken))


def test_the_real_tokenizer_has_the_interface_and_the_layouts_are_asked_for(folder, policy):
    assert isinstance(policy.tokenizer, TextTokenizer)
    with pytest.raises(ValueError, match="no single token for each of the integers"):
        RT2.from_huggingface(folder)
    with pytest.raises(ValueError, match="does not fit into a checkpoint's header"):
        policy.config  # noqa: B018


def test_a_prompt_has_the_ids_that_the_real_processor_gives_it(folder, policy):
    from transformers import AutoProcessor  # noqa: PLC0415

    picture = pictures(1)[0]
    theirs = AutoProcessor.from_pretrained(folder)(images=picture, text="<image>pick up the apple", return_tensors="pt")
    assert theirs["input_ids"][0, 4:].tolist() == policy.prompts.question("pick up the apple")
    pixels = theirs["pixel_values"]
    torch.testing.assert_close(2 * policy.pictures(picture[None]) - 1, pixels, rtol=0, atol=1e-6)


def test_pictures_of_any_size_are_resized_as_the_real_processor_does(policy):
    large = pictures(2, size=40)
    assert policy.pictures(large).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="colours on the last axis"):
        policy.pictures(large[..., :2])


def test_it_acts_in_half_precision_too(folder, policy):
    half = RT2.from_huggingface(folder, dtype=torch.bfloat16, vocabulary=policy.vocabulary)
    assert half.vlm.dtype == torch.bfloat16
    assert half.act({"image": pictures(1)[0], "instruction": "pick up the apple"}).shape == (8,)


def test_it_acts_plans_and_answers(policy):
    seen = {"image": pictures(2, size=24), "instruction": "pick up the apple"}
    action = policy.act(seen)
    assert action.shape == (2, 8) and (np.abs(action) <= 1.6).all()
    policy.plan, policy.plan_tokens, trace = True, 4, {}
    assert policy.act(seen, trace).shape == (2, 8) and "action:" in trace["text"][0]
    assert all(isinstance(text, str) for text in policy.generate(seen["image"], ["pick up the apple"] * 2, steps=3))


def test_the_real_tokenizer_learns_too(policy):
    batch = {"images": pictures(2), "questions": ["the apple", "pick up"], "answers": ["yes", "no"]}
    assert torch.isfinite(policy.loss(batch))
    robot = {"images": pictures(1), "instructions": ["pick up the apple"], "actions": np.zeros((1, 8), np.float32)}
    assert policy.rows(robot).answer.sum() == 9


def test_a_folder_without_a_processor_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json"):
        huggingface_processor(tmp_path)

"""The tiny tokenizer: one token a word, the same ids always, and never a silent unknown."""

import json

import pytest
import torch

from course_lib.rt2 import TinyTokenizer
from course_lib.rt2.prompts import Prompts, action_layouts, pad_left, pad_right, token_counts
from course_lib.rt2.tokenizer import TextTokenizer

WORDS = ["what", "is", "the", "apple", "plátano", "7up-dose", "plan:", "pick", "dónde", "<loc0256>", "<loc0768>"]


@pytest.fixture
def tokenizer():
    return TinyTokenizer(WORDS)


def test_it_has_the_interface_of_the_real_one(tokenizer):
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - takes seconds to import

    assert isinstance(tokenizer, TextTokenizer)
    ours = {name for name in dir(TinyTokenizer) if not name.startswith("_")} - {"to_dict"}
    assert ours <= set(dir(PreTrainedTokenizerFast)) | {"words"}


@pytest.mark.parametrize(
    "text",
    ["what is the apple", "pick the plátano plan: pick 7up-dose", "the apple? pick, pick.", "<loc0256><loc0768>", "¿dónde?"],
)
def test_text_to_ids_to_text_changes_nothing(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_case_spaces_and_the_two_spellings_of_an_accent_do_not_matter(tokenizer):
    assert tokenizer.encode("  What IS\tthe pla\u0301tano ") == tokenizer.encode("what is the plátano")


def test_each_whole_number_is_one_token_and_an_action_has_as_many_tokens_as_numbers(tokenizer):
    ids = tokenizer.encode("1 128 124 136 121 158 111 255")
    assert len(ids) == 8 and tokenizer.decode(ids) == "1 128 124 136 121 158 111 255"


def test_ids_depend_on_the_words_alone_and_survive_json(tokenizer):
    again = TinyTokenizer([*reversed(WORDS), *WORDS])
    assert again.get_vocab() == tokenizer.get_vocab()
    assert TinyTokenizer(**json.loads(json.dumps(tokenizer.to_dict()))).get_vocab() == tokenizer.get_vocab()
    assert list(tokenizer.get_vocab())[:3] == ["<pad>", "<eos>", "<bos>"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("what is the platano", r"'platano' \(word 4 of .*\)\. Did you mean 'plátano'"),
        ("pick the pear", r"does not know 'pear' \(word 3"),
        ("pick 256", r"'256' .*whole numbers 0 \.\.\. 255"),
        ("<loc0001>", "does not know '<loc0001>'"),
        ("the ☃", "does not know '☃'"),
        ("a < b", "does not know 'a'"),
    ],
)
def test_unknown_words_are_named_with_what_may_be_meant(tokenizer, text, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(text)


def test_unknown_tokens_and_ids_are_refused(tokenizer):
    with pytest.raises(ValueError, match="no token 'pear'"):
        tokenizer.convert_tokens_to_ids(["apple", "pear"])
    with pytest.raises(ValueError, match="appended action token"):
        tokenizer.decode([len(tokenizer)])
    assert tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(["apple", "7"])) == ["apple", "7"]


def test_words_that_are_none_are_refused():
    with pytest.raises(ValueError, match="Expected single words"):
        TinyTokenizer(["two words"])
    with pytest.raises(ValueError, match="counts from 0"):
        TinyTokenizer([], integers=-1)


def test_a_row_is_bos_prompt_newline_answer_eos(tokenizer):
    prompts = Prompts(tokenizer)
    assert tokenizer.decode(prompts.question("what is the apple")) == "<bos> what is the apple\n"
    assert prompts.answer("apple")[-1] == tokenizer.eos_token_id == 1
    assert tokenizer.decode(prompts.question("pick"), skip_special_tokens=True) == "pick\n"


def test_empty_and_overlong_prompts_are_refused(tokenizer):
    prompts = Prompts(tokenizer)
    for empty in ("", " \n", None):
        with pytest.raises(ValueError, match="Expected a question or an instruction in words"):
            prompts.question(empty)
    with pytest.raises(ValueError, match="This prompt has 2002 tokens, at most 512"):
        prompts.question("pick " * 2000)
    with pytest.raises(ValueError, match="Expected an answer"):
        prompts.answer(" ")


def test_a_tokenizer_offers_the_layouts_it_has_tokens_for(tokenizer):
    layouts = action_layouts(tokenizer, 8)
    assert set(layouts) == {"extend", "overwrite", "integers", "per dimension"}
    assert tokenizer.convert_ids_to_tokens(layouts["overwrite"].rows[0][0]) == "<unused0>"
    assert tokenizer.decode(layouts["integers"].ids(torch.tensor([1, 128]))) == "1 128"
    assert layouts["extend"].rows[0][0] == layouts["per dimension"].rows[0][0] == len(tokenizer)
    assert set(action_layouts(TinyTokenizer(WORDS, integers=10, unused=5), 8)) == {"extend", "per dimension"}


def test_counting_tokens_finds_those_that_are_never_used(tokenizer):
    counts = token_counts(tokenizer, ["what is the apple", "the apple"])
    assert counts[tokenizer.encode("apple")[0]] == 2 and counts.sum() == 6


def test_rows_are_filled_up_at_their_end_or_at_their_beginning():
    assert pad_right([[5], [6, 7]], 0).tolist() == [[5, 0], [6, 7]]
    tokens, real = pad_left([[5], [6, 7]], 0)
    assert tokens.tolist() == [[0, 5], [6, 7]] and real.tolist() == [[False, True], [True, True]]

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_rt2 import WORDS, pictures

from course_lib.classroom import lesson_widget
from course_lib.classroom.vocabulary_explorer import (
    KINDS,
    STEPS,
    TITLES,
    VocabularyExplorer,
    half_and_half,
    kind_of,
    sliced_loss,
    table_gradients,
)
from course_lib.rt2 import RT2, PaliGemma, PaliGemmaConfig, TinyTokenizer
from course_lib.rt2.config import GemmaConfig, SigLIPConfig
from course_lib.rt2.prompts import Prompts, action_layouts

BASE = ("base_x", "base_y", "base_yaw")


def policy_of(layout, words=WORDS, without=BASE):
    torch.manual_seed(0)
    tokenizer = TinyTokenizer([*words, *Prompts(TinyTokenizer(())).words])
    vocabulary = action_layouts(tokenizer, 11 - len(without))[layout]
    decoder = GemmaConfig(len(tokenizer) + vocabulary.added_rows, 16, 2, 2, 1, 8, 24)
    vlm = PaliGemma(PaliGemmaConfig(SigLIPConfig(16, 8, 24, 1, 3, 40), decoder))
    return RT2(vlm, tokenizer, vocabulary=vocabulary, without=without)


@pytest.fixture(scope="module")
def robot():
    actions = torch.zeros(3, 11)
    actions[:, 0] = torch.tensor([0.05, 0.0, -0.02])
    return {"images": pictures(3), "instructions": ["pick up the apple"] * 3, "actions": actions}


@pytest.fixture(scope="module")
def web():
    return {"images": pictures(2), "questions": ["what is the apple"] * 2, "answers": ["red", "banana"]}


@pytest.fixture(scope="module")
def policies():
    return {name: policy_of(name) for name in TITLES}


@pytest.fixture(scope="module")
def explorer(policies, robot, web):
    return VocabularyExplorer(policies, robot, web)


def test_the_two_parts_of_the_gradient_are_those_of_two_separate_tables(robot):
    """The oracle unties the table: reads one leaf, says with another."""
    policy = policy_of("extend")
    learned = table_gradients(policy, robot)
    rows, language = policy.rows(robot), policy.vlm.language
    table = language.embedding.weight.detach()
    reading, saying = (table.clone().requires_grad_() for _ in range(2))
    language.embed = lambda tokens: F.embedding(tokens, reading) * language.config.width**0.5
    language.logits = lambda h: h @ saying.T
    expected = torch.autograd.grad(policy.loss(robot), (reading, saying))
    assert torch.allclose(learned.read, expected[0], atol=1e-6) and torch.allclose(learned.said, expected[1], atol=1e-6)
    assert int(learned.asked.sum()) == int(rows.answer.sum()) and learned.asked[1] == 3  # three times <eos>


def test_the_weights_are_left_as_they_were(robot):
    policy = policy_of("integers")
    before = {name: p.clone() for name, p in policy.named_parameters()}
    table_gradients(policy, robot, action_tokens_only=True)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in policy.named_parameters())
    assert not policy.vlm.language.embedding._forward_hooks


@pytest.mark.parametrize("layout", TITLES)
def test_the_whole_vocabulary_reaches_every_row_and_the_sliced_loss_only_action_tokens_and_what_was_read(layout, robot):
    policy = policy_of(layout)
    whole, sliced = table_gradients(policy, robot), table_gradients(policy, robot, action_tokens_only=True)
    assert (whole.norms()[1] > 0).all()
    action = {*policy.vocabulary.frame, *(i for row in policy.vocabulary.rows for i in row)}
    assert set(np.flatnonzero(sliced.norms()[1])) == action
    assert set(np.flatnonzero(sliced.norms()[2])) <= set(np.flatnonzero(sliced.heard))
    assert set(np.flatnonzero(sliced.asked)) <= action
    assert sliced.norms()[0][policy.tokenizer.convert_tokens_to_ids("banana")] == 0  # never read, never a choice


def test_right_answers_are_pulled_up_and_all_others_pushed_down(robot):
    """Along the states that asked: sum over positions of (p - y) h, so the gradient of a row nobody asked for is +p h."""
    policy = policy_of("extend")
    learned, rows = table_gradients(policy, robot), policy.rows(robot)
    pixels = policy.pictures(robot["images"])
    with torch.no_grad():
        states = policy.vlm.states(pixels, rows.tokens[..., :-1], rows.answer[..., :-1], rows.real[..., :-1])
        wanted = rows.answer[..., 1:]
        h, right = states[wanted], rows.tokens[..., 1:][wanted]
        p = policy.vlm.language.logits(h).softmax(-1)
    expected = (p - F.one_hot(right, p.shape[-1])).T @ h / len(h)  # all answers are equally long
    assert torch.allclose(learned.said, expected, atol=1e-6)


def test_half_and_half_is_the_gradient_of_the_mean_of_both_losses(robot, web):
    policy = policy_of("integers")
    one, other = table_gradients(policy, robot), table_gradients(policy, web)
    both = half_and_half(one, other)
    loss = (policy.loss(robot) + policy.loss(web)) / 2
    (expected,) = torch.autograd.grad(loss, policy.vlm.language.embedding.weight)
    assert torch.allclose(both.said + both.read, expected, atol=1e-6)
    assert torch.equal(both.asked, one.asked + other.asked) and torch.equal(both.heard, one.heard + other.heard)


def test_a_batch_without_actions_has_no_sliced_loss(web):
    with pytest.raises(ValueError, match=r"Expected a batch with actions, got one without\. Try"):
        sliced_loss(policy_of("extend"), web)


def test_every_row_has_its_kind():
    tokenizer = policy_of("extend").tokenizer
    kinds = [kind_of(tokenizer, i) for i in range(len(tokenizer) + 1)]
    assert set(kinds) == set(KINDS) and kinds[-1] == "new: action"
    assert (
        kinds.count("number") == kinds.count("unused") == 256 and kinds.count("special") == 4 and kinds.count("place") == 2
    )
    assert [kinds[i] for i in tokenizer.encode("apple 12 ?")] == ["word", "number", "mark"]


def test_the_browser_gets_every_number_in_order(explorer, policies, robot, web):
    at = 0
    for policy in policies.values():
        whole, asked = table_gradients(policy, robot), table_gradients(policy, web)
        steps = (whole, table_gradients(policy, robot, action_tokens_only=True), asked, half_and_half(whole, asked))
        for step in steps:
            for part in (*step.norms(), step.asked.numpy(), step.heard.numpy()):
                got = np.frombuffer(explorer.numbers, "<f4", len(part), at)
                np.testing.assert_allclose(got, part, atol=1e-7)
                at += 4 * len(part)
    assert at == len(explorer.numbers) and len(explorer.header["steps"]) == len(STEPS) == 4


def test_the_layouts_say_what_they_add(explorer, policies):
    told = {one["name"]: one for one in explorer.header["layouts"]}
    assert [told[name]["added"] for name in TITLES] == [256, 0, 0, 8 * 256 + 2]
    for name, policy in policies.items():
        assert told[name]["size"] == len(policy.vlm.language.embedding.weight)
        assert told[name]["parameters"] == told[name]["added"] * 16
        assert told[name]["all"] == sum(p.numel() for p in policy.parameters())


def test_it_begins_with_the_batchs_first_action_or_with_an_example(explorer, policies, robot, web):
    first = policies["extend"]
    assert explorer.text == first.text.encode(robot["actions"][0]) and explorer.chosen == "extend"
    assert explorer.ids == first.vocabulary.ids(first.text.levels(robot["actions"][0])).tolist()
    other = VocabularyExplorer(policies, robot, web, examples={"RT-2's": "1 128 124 136 121 158 111 255"})
    assert other.text == "1 128 124 136 121 158 111 255"


def test_what_cannot_be_compared_is_refused(policies, robot, web):
    with pytest.raises(ValueError, match=r"Expected RT2s by the names of layouts, extend.*got none"):
        VocabularyExplorer({}, robot, web)
    with pytest.raises(ValueError, match="got mine"):
        VocabularyExplorer({"mine": policies["extend"]}, robot, web)
    with pytest.raises(ValueError, match=r"'integers' has another\. Try the same words"):
        VocabularyExplorer({**policies, "integers": policy_of("integers", [*WORDS, "pear"])}, robot, web)
    with pytest.raises(ValueError, match="'integers' has another space"):
        VocabularyExplorer({**policies, "integers": policy_of("integers", without=())}, robot, web)
    with pytest.raises(ValueError, match=r"Number 2 .* must be a whole number 0 \.\.\. 255, got '256'"):
        VocabularyExplorer(policies, robot, web, examples={"wrong": "0 256 0 0 0 0 0 0"})


def test_where_no_widget_lives_a_table_stands_in(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_widget, "display", lambda what, **how: shown.append(what))
    explorer._ipython_display_()
    page = shown[0].data
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", page)[1:]]
    assert [row[0] for row in rows] == list(TITLES.values()) and f"“{explorer.text}”" in page
    assert rows[0][2:4] == ["256", "4,096"] and rows[0][4] == " ".join(map(str, explorer.ids))
    assert rows[0][5] == rows[0][1]  # every row learns


def test_the_script_leaves_the_browser_nothing_to_fetch(explorer):
    assert "import " not in explorer._esm.split("export default")[0] and "http" not in explorer._esm + str(explorer._css)

"""RT2 as a policy: acting, planning, answering, learning, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_rt2 import WORDS, pictures, small_policy

from course_lib.actions import ActionSpace, ActionVocabulary
from course_lib.interfaces import Policy, Trainable
from course_lib.learn.checkpoints import load_checkpoint, save_checkpoint
from course_lib.rt2 import RT2, RT2Config, TinyTokenizer
from course_lib.rt2.prompts import action_layouts

INSTRUCTION = "pick up the apple"


@pytest.fixture
def policy():
    return small_policy()


def robot_batch(space="workbook", n=3, seed=0, **more):
    """Noise pictures, one instruction each, legal actions."""
    rng = np.random.default_rng(seed)
    space = ActionSpace.from_plain(space)
    actions = rng.uniform(space.low, space.high, (n, len(space))).astype(np.float32)
    for i, dim in enumerate(space.dims):
        actions[:, i] = actions[:, i].round() if dim.classes else actions[:, i]
    said = ["pick up the apple", "pick up the can", "pick up the red can"][:n]
    return {"images": pictures(n), "instructions": said, "actions": actions} | more


def web_batch():
    """Two pictures with two questions each."""
    questions = [["what is the apple", "where is the can"], ["is the apple red", "what is the red banana"]]
    return {
        "images": pictures(2),
        "questions": questions,
        "answers": [["red", "<loc0256><loc0768>"], ["yes", "no"]],
    }


def learn_by_heart(policy, batch, steps=120, lr=1e-2):
    optimizer = torch.optim.Adam(policy.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        policy.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
    return float(policy.loss(batch).detach())


def test_opening_the_room_loads_no_language_library():
    code = "import sys, course_lib.rt2; print(*{'transformers', 'huggingface_hub', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_it_is_a_policy_and_it_can_learn(policy):
    assert isinstance(policy, Policy) and isinstance(policy, Trainable)


@pytest.mark.parametrize("space", ["workbook", "rt2", "official"])
def test_actions_lie_in_the_action_space(space):
    policy = small_policy(space)
    action = policy.act({"image": pictures(1)[0], "instruction": INSTRUCTION})
    assert action.dtype == np.float32 and action.shape == (len(policy.text.space),)
    assert (action >= policy.text.space.low).all() and (action <= policy.text.space.high).all()


def test_an_action_is_as_many_tokens_as_numbers_and_rt2s_has_eight():
    trace = {}
    small_policy("rt2").act({"image": pictures(1)[0], "instruction": INSTRUCTION}, trace)
    assert trace["tokens"].shape == (1, 8) and len(trace["text"][0].split()) == 8
    small_policy(without=("base_x", "base_y", "base_yaw")).act({"image": pictures(1)[0], "instruction": INSTRUCTION}, trace)
    assert trace["tokens"].shape == (1, 8)


def test_what_is_written_is_what_is_done(policy):
    trace = {}
    action = policy.act({"image": pictures(1)[0], "instruction": INSTRUCTION}, trace)
    np.testing.assert_array_equal(policy.text.decode(trace["text"][0]).numpy(), action)


def test_many_tables_at_once_act_as_each_alone(policy):
    images, said = pictures(3), ["pick up the apple", "pick up the red can", "pick"]
    together = policy.act({"image": images, "instruction": said})
    alone = [policy.act({"image": image, "instruction": text}) for image, text in zip(images, said, strict=True)]
    np.testing.assert_array_equal(together, alone)
    assert policy.act({"image": images, "instruction": INSTRUCTION}).shape == (3, 11)


def test_only_decoding_is_constrained_training_is_over_the_whole_vocabulary(policy):
    trace = {}
    policy.act({"image": pictures(1)[0], "instruction": INSTRUCTION}, trace)
    assert torch.isfinite(trace["logits"][0]).sum(-1).tolist() == [2, *[256] * 10]  # terminate has two classes
    policy.loss(robot_batch()).backward()
    gradient = policy.vlm.language.embedding.weight.grad.abs().sum(1)
    assert (gradient > 0).all()  # also rows of words are pushed down


@pytest.mark.parametrize("layout", ["extend", "overwrite", "integers", "per dimension"])
def test_every_layout_learns_a_batch_by_heart_and_then_acts_as_taught(layout):
    plain = small_policy("rt2")
    vocabulary = action_layouts(plain.tokenizer, 8)[layout]
    policy = small_policy("rt2", vocabulary=vocabulary, added=vocabulary.added_rows)
    batch = robot_batch("rt2")
    assert learn_by_heart(policy, batch) < 0.1
    done = policy.act({"image": batch["images"], "instruction": batch["instructions"]})
    np.testing.assert_allclose(done, policy.text.action(policy.text.levels(batch["actions"])), atol=1e-6)
    assert policy.config.vocabulary.layout == layout


def test_a_plan_comes_before_the_action_and_both_are_learned():
    policy = small_policy("rt2", plan=True, plan_tokens=6)
    batch = robot_batch("rt2", plans=["pick apple", "pick can", ""])
    assert learn_by_heart(policy, batch) < 0.1
    trace = {}
    done = policy.act({"image": batch["images"][:2], "instruction": batch["instructions"][:2]}, trace)
    assert [text.partition(" action: ")[0] for text in trace["text"]] == ["pick apple", "pick can"]
    np.testing.assert_allclose(done, policy.text.action(policy.text.levels(batch["actions"][:2])), atol=1e-6)
    policy.plan = False  # the third had no plan: it was taught with the other prompt
    done = policy.act({"image": batch["images"][2], "instruction": batch["instructions"][2]}, trace)
    np.testing.assert_allclose(done, policy.text.action(policy.text.levels(batch["actions"][2])), atol=1e-6)


def test_an_untrained_model_with_a_plan_still_ends_in_an_action():
    policy = small_policy("rt2", plan=True, plan_tokens=5)
    trace = {}
    action = policy.act({"image": pictures(4), "instruction": INSTRUCTION}, trace)
    assert action.shape == (4, 8) and all("action: " in text for text in trace["text"])


def test_questions_are_learned_and_answered_in_words():
    policy, batch = small_policy(), web_batch()
    assert learn_by_heart(policy, batch) < 0.1
    assert policy.generate(batch["images"], batch["questions"]) == batch["answers"]
    assert policy.generate(batch["images"], ["what is the apple", "is the apple red"]) == ["red", "yes"]


def test_the_loss_is_the_mean_over_answers_of_the_mean_over_their_tokens(policy):
    """By hand, one row at a time, with the whole logits."""
    batch = web_batch()
    found = policy.losses(batch).detach()
    rows = policy.rows(batch)
    for b, q in np.ndindex(2, 2):
        ids = policy.prompts.question(batch["questions"][b][q])
        said = policy.prompts.answer(batch["answers"][b][q])
        tokens = torch.tensor([[*ids, *said]])
        answer = torch.arange(tokens.shape[1])[None] >= len(ids)
        with torch.no_grad():
            logits = policy.vlm(policy.pictures(batch["images"][b, None]), tokens, answer)
        each = -logits.log_softmax(-1)[0, len(ids) - 1 : -1].gather(1, torch.tensor(said)[:, None])
        torch.testing.assert_close(found[b, q], each.mean(), rtol=1e-5, atol=1e-5)
    assert rows.answer.sum() == 2 + 3 + 2 + 2
    torch.testing.assert_close(policy.loss(batch).detach(), found.mean())


def test_weights_say_how_much_an_answer_counts(policy):
    batch = web_batch()
    each = policy.losses(batch).detach()
    one = policy.loss(batch | {"weights": [[0, 0], [0, 1]]}).detach()
    torch.testing.assert_close(one, each[1, 1])
    by_image = policy.loss(batch | {"weights": np.array([3.0, 1.0])}).detach()
    torch.testing.assert_close(by_image, (3 * each[0].sum() + each[1].sum()) / 8)


def test_a_token_batch_is_the_same_batch_without_the_words(policy):
    batch = web_batch()
    rows = policy.rows(batch)
    tokens = {"images": batch["images"], "tokens": rows.tokens, "answer": rows.answer}
    assert torch.equal(policy.losses(tokens), policy.losses(batch))
    first = {"images": batch["images"], "tokens": rows.tokens[:, 0], "answer": rows.answer[:, 0]}
    torch.testing.assert_close(policy.losses(first)[:, 0], policy.losses(batch)[:, 0], rtol=1e-5, atol=1e-5)


def test_the_loss_of_a_model_that_knows_nothing_is_the_log_of_the_vocabulary(policy):
    torch.nn.init.zeros_(policy.vlm.language.embedding.weight)
    expected = np.log(policy.vlm.config.language.vocabulary)
    assert float(policy.loss(web_batch()).detach()) == pytest.approx(expected, rel=1e-6)
    assert float(policy.loss(robot_batch()).detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sees", [True, False])
def test_training_in_bfloat16_has_nearly_the_same_loss(sees):
    policy = small_policy(image_sees_prompt=sees)
    expected = float(policy.loss(web_batch()).detach())
    with torch.autocast("cpu", torch.bfloat16):
        loss = policy.loss(web_batch())
    loss.backward()
    assert loss.dtype == torch.float32 and float(loss.detach()) == pytest.approx(expected, rel=0.03)


def test_a_checkpoint_holds_the_whole_policy(policy, tmp_path):
    policy.plan_tokens = 9
    path = save_checkpoint(policy, tmp_path / "rt2.safetensors")
    again = load_checkpoint(path, RT2)
    assert again.config == policy.config and again.plan_tokens == 9
    seen = {"image": pictures(1)[0], "instruction": INSTRUCTION}
    np.testing.assert_array_equal(again.act(seen), policy.act(seen))


def test_a_config_survives_json_with_every_layout(policy):
    for vocabulary in action_layouts(policy.tokenizer, 8).values():
        config = small_policy("rt2", vocabulary=vocabulary, added=vocabulary.added_rows, without=()).config
        assert RT2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="has a place for the instruction"):
        RT2Config.from_dict(policy.config.to_dict() | {"prompt": "go"})


def test_a_tiny_model_is_made_from_words_alone():
    policy = RT2.tiny(WORDS, "rt2", layout="extend", prompt="do {instruction} now")
    assert policy.vlm.config.language.vocabulary == len(policy.tokenizer) + 256
    assert policy.tokenizer.decode(policy.prompts.instruction("pick")) == "<bos> do pick now\n"
    with pytest.raises(ValueError, match="layout is one of 'extend', 'overwrite', 'integers', 'per dimension'"):
        RT2.tiny(WORDS, layout="integer")


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"image": pictures(1, size=8)[0], "instruction": INSTRUCTION}, r"shape \(1, 8, 8, 3\)\. Try rendering at 16x16"),
        ({"image": pictures(1)[0] / 255, "instruction": INSTRUCTION}, "Expected an image of uint8"),
        ({"image": pictures(1)[0], "instruction": ""}, "Expected an instruction in words, got ''"),
        ({"image": pictures(1)[0], "instruction": "pick up the pear"}, "does not know 'pear'"),
        ({"image": pictures(2), "instruction": ["pick"] * 3}, r"one per picture \(2\); got 3"),
        ({"image": pictures(1)[:0], "instruction": INSTRUCTION}, "at least one picture"),
    ],
)
def test_what_it_cannot_see_or_read_is_refused(policy, observation, message):
    with pytest.raises(ValueError, match=message):
        policy.act(observation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": [["what"], ["what"]]}, "Expected equally many questions and answers for each of 2 images"),
        ({"answers": ["yes", "no"]}, "Expected equally many questions"),
        ({"answers": [["", "no"], ["no", "no"]]}, "Expected an answer in words"),
        ({"questions": "what is the apple"}, "Expected a list of texts, got one"),
        ({"weights": [1, -1]}, "weights of at least 0"),
        ({"questions": None, "answers": None}, None),
    ],
)
def test_wrong_web_batches_are_refused(policy, change, message):
    batch = {key: value for key, value in (web_batch() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message or "A batch for RT2 has images, and either questions .* got images"):
        policy.loss(batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instructions": ["pick"]}, r"equally many images, instructions and plans, .*; got \[3, 1, 1\] and"),
        ({"actions": np.zeros((3, 8), np.float32)}, "An action here is 11 numbers"),
        ({"actions": np.full((3, 11), np.nan, np.float32)}, "is NaN"),
    ],
)
def test_wrong_robot_batches_are_refused(policy, change, message):
    with pytest.raises(ValueError, match=message):
        policy.loss(robot_batch() | change)


def test_wrong_token_batches_are_refused(policy):
    rows = policy.rows(web_batch())
    good = {"images": pictures(2), "tokens": rows.tokens, "answer": rows.answer}
    with pytest.raises(ValueError, match="begins with its prompt and has an answer"):
        policy.loss(good | {"answer": torch.zeros_like(rows.answer)})
    with pytest.raises(ValueError, match="bool answer of that shape"):
        policy.loss(good | {"answer": rows.answer.float()})
    with pytest.raises(ValueError, match=r"Tokens are 0 \.\.\. "):
        policy.loss(good | {"tokens": rows.tokens + 10_000})


def test_a_table_that_is_too_short_says_how_to_grow_it(policy):
    vocabulary = ActionVocabulary.extend(len(policy.tokenizer))
    with pytest.raises(ValueError, match=r"need .*vlm\.grow\(256\)"):
        RT2(policy.vlm, policy.tokenizer, "rt2", vocabulary=vocabulary)
    assert RT2(policy.vlm.grow(256), policy.tokenizer, "rt2", vocabulary=vocabulary).vocabulary is vocabulary


def test_without_integer_tokens_the_layout_must_be_chosen(policy):
    with pytest.raises(ValueError, match=r"no single token for each of the integers.*ActionVocabulary\.extend"):
        RT2(policy.vlm, TinyTokenizer(WORDS, integers=10))


def test_an_appended_token_in_a_text_is_shown_by_its_id():
    policy = small_policy("rt2", vocabulary=ActionVocabulary.extend(10_000, 256), added=10_000)
    assert policy._text(torch.tensor([policy.tokenizer.encode("apple")[0], 10_007, 1, 5])) == "apple <action 10007>"

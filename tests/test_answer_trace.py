"""What is made of RT-2's answers: plan, numbers, words, and a rollout."""

import numpy as np
import pytest
from talking_rt2 import first_legal, small_table, talking_policy

from course_lib.actions import ActionSpace
from course_lib.classroom.answer_trace import action_words, converse, place_words, places_in, read_answer
from course_lib.world.tasks import find_task

SPACE = ActionSpace.workbook()


def observation(instruction="pick up the apple", seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return {"image": image, "instruction": instruction}


def answer_of(policy):
    trace = {}
    action = policy.act(observation(), trace)
    return action, trace, *read_answer(policy, trace)


@pytest.mark.parametrize("layout", ["integers", "extend", "overwrite", "per dimension"])
def test_the_numbers_are_those_of_the_action_in_every_layout(layout):
    policy = talking_policy(layout)
    action, trace, plan, numbers = answer_of(policy)
    assert [n.level for n in numbers] == policy.text.levels(action).tolist()
    assert [n.name for n in numbers] == list(policy.text.names)
    assert all(n.token in trace["tokens"][0] for n in numbers)
    assert trace["text"][0].startswith(f"{plan} action:".strip()) or layout != "integers"


def test_a_probability_is_a_share_among_the_tokens_allowed_at_its_place():
    policy = talking_policy()
    _, trace, _, numbers = answer_of(policy)
    begin = trace["tokens"].shape[1] - 8
    slots = policy.vocabulary.slots(policy.text.counts)
    for place, (number, ids) in enumerate(zip(numbers, slots, strict=True)):
        allowed = trace["logits"][0, begin + place, list(ids)].exp()
        chosen = allowed[list(ids).index(number.token)]
        assert number.probability == pytest.approx(float(chosen / allowed.sum()), rel=1e-4)


def test_a_model_that_does_not_plan_has_no_plan():
    _, _, plan, numbers = answer_of(talking_policy(plan=False))
    assert plan == "" and len(numbers) == 8


def action(**numbers):
    out = np.zeros(11, np.float32)
    for name, value in numbers.items():
        out[SPACE.index(name)] = value
    return out


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "The hand stays where it is."),
        ({"arm_x": 0.0001, "arm_z": -0.0001}, "The hand stays where it is."),  # less than half a level moves nothing
        ({"arm_x": 0.012, "arm_z": -0.03}, "The hand moves 1.2 cm right and 3.0 cm down."),
        ({"arm_y": 0.05, "gripper": 1}, "The hand moves 5.0 cm away and closes."),
        ({"roll": -np.pi / 6, "gripper": -1}, "The hand turns (roll −30°) and opens."),
        ({"terminate": 1}, "The hand stays where it is. Then it stops."),
    ],
)
def test_an_action_in_words(numbers, words):
    assert action_words(action(**numbers), SPACE) == words


def test_values_are_in_centimetres_and_degrees():
    policy = talking_policy()
    policy.pick = first_legal
    _, _, _, numbers = answer_of(policy)
    said = {n.name: n.value for n in numbers}
    assert said == {
        "terminate": "go on", "arm_x": "−5.0 cm", "arm_y": "−5.0 cm", "arm_z": "−5.0 cm",
        "roll": "−45°", "pitch": "−45°", "yaw": "−45°", "gripper": "open",
    }  # fmt: skip


def test_a_rollout_shows_each_picture_before_its_action_and_ends_without_one():
    policy, env = talking_policy(), small_table()
    policy.pick = first_legal
    answers = list(converse(policy, env, task=find_task("pick up the apple"), scene=1, kinds=None, steps=3))
    assert [a.over for a in answers] == [False, False, False, True]
    assert [len(a.numbers) for a in answers] == [8, 8, 8, 0]
    assert "apple" in answers[0].things and answers[0].judged and not answers[-1].success
    assert not np.array_equal(answers[0].image, answers[-1].image)  # the arm went left and down
    observation, _ = env.reset(seed=1, options={"task": find_task("pick up the apple")})
    assert np.array_equal(answers[0].image, observation["image"])


def test_words_that_the_model_does_not_know_are_refused_before_the_table_is_laid():
    env = small_table()
    env.reset = None  # not to be called
    talk = converse(talking_policy(), env, task=find_task("pick up the apple please"), scene=0, kinds=None, steps=1)
    with pytest.raises(ValueError, match=r"does not know 'please' \(word 5 of 'pick up the apple please'\)"):
        next(talk)


def test_a_policy_of_another_robot_is_refused():
    policy = talking_policy()
    policy.text.space = ActionSpace.rt2()
    with pytest.raises(ValueError, match="Expected a policy of the course's robot"):
        next(converse(policy, small_table(), task=find_task("pick apple"), scene=0, kinds=None, steps=1))


def test_places_are_read_where_they_come_in_pairs():
    assert places_in("apple <loc0256><loc0768>") == [(0.75, 0.25)]
    assert places_in("apple") == places_in("<loc0256>") == []
    assert place_words(0.75, 0.25) == "in the upper right" and place_words(0.5, 0.99) == "at the bottom"

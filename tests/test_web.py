"""Web pictures with questions: right answers, the same batch for the same step, and never an action."""

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from web_oracle import right

from course_lib.datasets.pictures import compose, draw, in_picture, look
from course_lib.datasets.plans import TYPES, plan_of, plans_with_places
from course_lib.datasets.questions import location, read_location
from course_lib.datasets.web import WebPictures, blind_baseline, location_words, rows_of, vocabulary, words
from course_lib.world import segment
from course_lib.world.objects import KINDS, NAMES
from course_lib.world.scenes import scene
from course_lib.world.tasks import ALL_TASKS, Goals, draw_tasks, known_instructions, success
from course_lib.world.textures import SEEN_TEXTURES, TEXTURES

NUMBERS = torch.arange(160)


@pytest.fixture(scope="module")
def what():
    return compose(NUMBERS)


@pytest.fixture(scope="module")
def seen(what):
    return look(what)


@pytest.fixture(scope="module")
def texts():
    """12 batches of questions without their pictures."""
    return [WebPictures(batch=32).text(step) for step in range(12)]


def test_a_batch_has_pictures_and_eight_different_questions_each():
    batch = WebPictures(batch=6)(0)
    assert batch["images"].shape == (6, 64, 64, 3) and batch["images"].dtype == torch.uint8
    assert batch["images"].float().std((1, 2, 3)).min() > 3
    for key in ("questions", "answers", "types", "needs_image", "phrases"):
        assert [len(row) for row in batch[key]] == [8] * 6
    assert all(len(set(row)) == 8 for row in batch["questions"])


def test_a_batch_depends_on_seed_split_and_step_only_and_a_picture_not_on_its_batch():
    web = WebPictures(batch=4)
    first, again = web(3), WebPictures(batch=4)(3)
    assert torch.equal(first.pop("images"), again.pop("images")) and first == again
    alone = WebPictures(batch=1)(13)
    assert torch.equal(alone["images"][0], web(3)["images"][1]) and alone["questions"][0] == first["questions"][1]
    others = [WebPictures(batch=4, seed=1), WebPictures(batch=4, split="test")]
    assert all(not torch.equal(other(3)["images"], web(3)["images"]) for other in others)
    assert web(4)["questions"] != first["questions"]


def test_text_is_the_batch_without_its_pictures():
    web = WebPictures(batch=5, seed=2)
    whole = web(7)
    whole.pop("images")
    assert web.text(7) == whole


def test_every_answer_that_a_second_reader_understands_is_right():
    judged = Counter()
    web = WebPictures(batch=64, seed=9, split="test")
    for step in range(3):
        batch = web.text(step)
        index = torch.arange(step * 64, (step + 1) * 64)
        for seen, *rows in zip(look(compose(web._number(index))), batch["questions"], batch["answers"], strict=True):
            for question, answer in zip(*rows, strict=True):
                verdict = right(question, answer, seen.things)
                assert verdict is not False, (question, answer, [NAMES[thing.kind] for thing in seen.things])
                judged[verdict] += 1
    assert judged[True] > 0.65 * judged.total()


def test_the_second_reader_finds_a_wrong_answer(what):
    batch = WebPictures(batch=32).text(0)
    looks = look(compose(WebPictures()._number(torch.arange(32))))
    wrong = Counter()
    for seen, questions, answers in zip(looks, batch["questions"], batch["answers"], strict=True):
        for question, answer in zip(questions, answers, strict=True):
            swapped = {"yes": "no", "no": "yes", "two": "three", "red": "blue", "fruit": "tool"}.get(answer)
            swapped = "<loc0032><loc0032>" if answer.startswith("<loc") else swapped
            if swapped and right(question, answer, seen.things):
                wrong[right(question, swapped, seen.things)] += 1
    assert wrong[False] > 20 and not wrong[True]


def test_a_thing_lies_where_its_location_says(what, seen):
    """The oracle is the picture itself: what changes when the thing is taken away."""
    before, found = draw(what, 64).int(), 0
    for n, picture in enumerate(seen[:60]):
        place = int((what.state.kind[n] >= 0).nonzero()[-1, 0])
        kind = what.state.kind.clone()
        kind[n, place] = -1
        alone = replace(what[n : n + 1], state=replace(what.state[n : n + 1], kind=kind[n : n + 1]))
        changed = (draw(alone, 64)[0].int() - before[n]).abs().sum(-1) > 40
        if changed.sum() < 12:
            continue  # as good as hidden
        y, x = ((changed.nonzero().float().mean(0) + 0.5) / 64).tolist()
        number = int((what.state.kind[n, : place + 1] >= 0).sum()) - 1
        assert picture.things[number].x == pytest.approx(x, abs=0.07)
        assert picture.things[number].y == pytest.approx(y, abs=0.07)
        found += 1
    assert found > 50


def test_handles_and_things_are_where_the_robots_own_picture_shows_them():
    tasks = [ALL_TASKS[i] for i in draw_tasks(torch.arange(40), ALL_TASKS).tolist()]
    state = scene(torch.arange(40), Goals.of(tasks))
    labels, at = segment(state, 64), in_picture(state, state.xyz)
    for n in range(40):
        for k in range(3):
            mask = labels[n] == k + 1
            if mask.sum() > 20 and state.inside[n, k] < 0:
                y, x = ((mask.nonzero().float().mean(0) + 0.5) / 64).tolist()
                assert at[n, k].tolist() == pytest.approx([x, y], abs=0.06)


def test_nothing_lies_on_anything_but_what_is_inside_it(what):
    state = what.state
    for n in range(len(NUMBERS)):
        there = (state.kind[n] >= 0).nonzero()[:, 0].tolist()
        for i in there:
            for j in there:
                if i < j and state.inside[n, j] != i:
                    room = (KINDS[state.kind[n, i]].size + KINDS[state.kind[n, j]].size) / 2
                    home = state.inside[n, [i, j]].max() >= 0  # what lies in a bowl has the bowl's distances
                    assert (state.xyz[n, i] - state.xyz[n, j]).norm() >= (0 if home else room)


def test_things_are_wholly_in_the_picture(seen):
    assert all(0.05 < thing.x < 0.95 and 0.05 < thing.y < 0.95 for picture in seen for thing in picture.things)
    assert min(len(picture.things) for picture in seen) >= 1 and max(len(picture.things) for picture in seen) >= 7


def test_compositions_are_not_those_of_the_robot(what):
    tops = what.state.table % TEXTURES
    assert (tops >= SEEN_TEXTURES).float().mean() > 0.1 and tops.unique().numel() > 18
    assert (what.width < 0.4).float().mean() == pytest.approx(0.45, abs=0.12)
    assert (what.state.tilt.abs() > 1).any() and (what.state.inside >= 0).any() and what.state.cabinet.any()
    assert set(what.state.kind[what.state.kind >= 0].tolist()) == set(range(len(KINDS)))


def test_the_robot_is_out_of_the_picture_or_at_its_edge(what):
    state = replace(what.state, cabinet=torch.zeros_like(what.state.cabinet))
    gripper = segment(state, 64) == state.kind.shape[1] + 1
    assert not gripper[:, 14:50, 12:52].any() and 0 < gripper.flatten(1).any(1).float().mean() < 0.2


def test_locations_are_paligemmas_y_before_x():
    assert location(0.0, 1.0, 16) == "<loc0992><loc0032>" and location(0.26, 0.51, 16) == "<loc0544><loc0288>"
    assert location(0.5, 0.25, 1024) == "<loc0256><loc0512>" and len(set(location_words(1024))) == 1024
    for cells in (16, 32):
        ((x, y),) = read_location(location(0.3, 0.7, cells))
        assert abs(x - 0.3) <= 0.5 / cells and abs(y - 0.7) <= 0.5 / cells
    assert read_location("pick apple") == []
    with pytest.raises(ValueError, match="in pairs"):
        read_location("<loc0032>")


def test_no_question_or_answer_holds_an_action_or_a_number_in_figures(texts):
    for question, answer, *_ in rows_of(texts):
        assert not re.search(r"\d", re.sub(r"<loc\d{4}>|7up(-dose)?", "", f"{question} {answer}"))
        assert "action" not in f"{question} {answer}"


def test_plans_end_before_the_action_and_use_the_robots_grammar(texts):
    forms = r"pick .+|move .+ near .+|place .+ (?:into|onto) .+|(?:open|close) (?:left|right) drawer"
    plans = [(q, a) for q, a, type_, _ in rows_of(texts) if type_ == "plan"]
    assert len(plans) > 200 and all(re.fullmatch(forms, a) and q.endswith(" plan:") for q, a in plans)


def test_words_alone_decide_exactly_the_questions_that_are_marked_so(texts):
    answers = {}
    for question, answer, _, needs_image in rows_of(texts):
        if not needs_image:
            answers.setdefault(question, set()).add(answer)
    assert len(answers) > 150 and all(len(those) == 1 for those in answers.values())


def test_the_marked_share_of_questions_needs_the_image_and_a_blind_guess_rarely_does(texts):
    test = [WebPictures(batch=32, split="test").text(step) for step in range(6)]
    score = blind_baseline(texts, test)
    share = sum(needs for *_, needs in rows_of(test)) / len(rows_of(test))
    assert set(score) == set(TYPES) and 0.75 < share < 0.9
    assert score["point"][1] < 0.1 and score["name"][1] < 0.15 and score["symbols"][1] < 0.4
    assert max(seeing for _, seeing in score.values()) < 0.75  # "is the apple left of the cup": yes or no


def test_the_blind_baseline_gives_the_most_frequent_answer():
    def batch(*rows):
        q, a, t, n = zip(*rows, strict=True)
        return {"questions": [q], "answers": [a], "types": [t], "needs_image": [n]}

    train = batch(("a", "x", "t", True), ("a", "y", "t", True), ("a", "y", "t", True), ("b", "y", "t", False))
    test = batch(("a", "y", "t", True), ("a", "x", "t", True), ("new", "y", "t", False))
    assert blind_baseline([train], [test]) == {"t": (2 / 3, 1 / 2)}


def test_the_vocabulary_holds_every_word_and_no_dead_ones(texts):
    known = vocabulary()
    assert known == sorted(set(known)) and len(known) < 400 and set(location_words()) <= set(known)
    robot = {word for sentence in known_instructions() for word in words(sentence)}
    unused, step = set(known) - robot - set(location_words()), 0
    while unused and step < 60:  # a rare word may need a few hundred pictures
        batch = texts[step] if step < len(texts) else WebPictures(batch=32).text(step)
        used = {word for question, answer, *_ in rows_of([batch]) for word in words(f"{question} {answer}")}
        assert used <= set(known)
        unused, step = unused - used, step + 1
    assert not unused
    assert words("where is <loc0032><loc0992> plan:") == ["where", "is", "<loc0032>", "<loc0992>", "plan:"]


def test_types_can_be_left_out_and_plans_can_say_where():
    batch = WebPictures(batch=20, mix={"plan": 1, "colour": 1}, places=True).text(0)
    assert {type_ for row in batch["types"] for type_ in row} - {"name"} == {"plan", "colour"}
    plans = [answer for _, answer, type_, _ in rows_of([batch]) if type_ == "plan"]
    assert all(1 <= len(read_location(answer)) <= 2 for answer in plans)
    fine = WebPictures(batch=20, mix={"point": 1}, cells=64).text(0)
    tokens = {word for row in fine["answers"] for answer in row for word in words(answer) if word.startswith("<")}
    assert tokens <= set(location_words(64)) and len(tokens) > 30


def test_every_phrase_concept_is_pointed_at(texts):
    pointed = Counter()
    for batch in texts:
        for types, concepts in zip(batch["types"], batch["phrases"], strict=True):
            pointed.update(c for type_, c in zip(types, concepts, strict=True) if type_ == "point")
    assert min(pointed.values()) > 0.02 * pointed.total() and len(pointed) == 10


def test_the_robots_plans_hold_no_colour_and_point_at_what_the_task_means():
    tasks = [ALL_TASKS[i] for i in draw_tasks(torch.arange(60), ALL_TASKS).tolist()]
    state = scene(torch.arange(60), Goals.of(tasks))
    assert not success(state, Goals.of(tasks)).any()
    told = {word for sentence in known_instructions() for word in sentence.split()}
    for n, (task, text) in enumerate(zip(tasks, plans_with_places(tasks, state), strict=True)):
        assert set(words(plan_of(task))) <= told
        assert re.sub(r" (<loc\d{4}>){2}", "", text) == plan_of(task)
        places = read_location(text)
        assert len(places) == (task.kind >= 0) + (task.goal >= 0 or task.drawer >= 0)
        if task.kind >= 0:
            x, y = in_picture(state, state.xyz)[n, state.kind[n].tolist().index(task.kind)].clamp(0, 1).tolist()
            assert abs(places[0][0] - x) <= 1 / 32 + 1e-6 and abs(places[0][1] - y) <= 1 / 32 + 1e-6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "dev"}, "splits"),
        ({"cells": 10}, "divides 1024"),
        ({"mix": {"pointing": 1}}, "weights to"),
        ({"mix": {"point": 0}}, "weights to"),
        ({"batch": 0}, "at least 1"),
    ],
)
def test_bad_arguments_are_explained(wrong, message):
    with pytest.raises(ValueError, match=message):
        WebPictures(**wrong)


def test_a_picture_that_allows_none_of_the_types_is_asked_for_a_name():
    batch = WebPictures(batch=40, mix={"negation": 1}).text(0)
    assert {type_ for row in batch["types"] for type_ in row} == {"negation", "name"}

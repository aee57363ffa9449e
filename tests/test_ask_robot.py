"""AskRobot without a browser: what it sends, what it refuses, what stands in where no widget lives."""

import json
import re

import numpy as np
import pytest
from talking_rt2 import first_legal, small_table, talking_policy
from widget_talk import from_browser, listening

from course_lib import classroom
from course_lib.classroom import lesson_widget
from course_lib.classroom.ask_robot import AskRobot

MEANT = "recoge la fruta amarilla"


@pytest.fixture(scope="module")
def policy():
    policy = talking_policy()
    policy.pick = first_legal
    return policy


@pytest.fixture
def widget(policy):
    """A widget that keeps in ``sent`` what it sends to the browser."""
    return listening(AskRobot(policy, small_table(), instruction=MEANT, scene=1, steps=3))


def test_the_first_rollout_is_there_before_the_browser_asks(widget):
    rollout = json.loads(json.dumps(widget.rollout))  # it must fit into a message
    assert rollout["instruction"] == MEANT and "banana" in rollout["things"]
    assert len(rollout["steps"]) == len(widget.answers) == 4
    assert len(widget.pixels) == 4 * 16 * 16 * 3
    assert widget.pixels[: 16 * 16 * 3] == widget.answers[0].image.tobytes()
    first = rollout["steps"][0]
    assert first["numbers"][0]["name"] == "terminate" and len(first["numbers"]) == 8
    assert first["words"].startswith("The hand moves 5.0 cm left")
    assert widget.status == "Stopped after 3 steps without success."


def test_steps_come_one_by_one_and_end_in_the_saved_state(widget):
    before = widget.answers[0].image
    (message,) = from_browser(widget, kind="run", instruction="nimm die banane", scene=1)
    assert message["kind"] == "step" and message["step"] == 0 and "status" not in message
    assert message["header"]["instruction"] == "nimm die banane" and np.array_equal(widget.answers[0].image, before)
    number, step = message["header"]["number"], 0
    while "status" not in message:
        step += 1
        (message,) = from_browser(widget, kind="next", number=number, step=step)
        assert message["step"] == step
    assert message["status"] == widget.status and widget.rollout["instruction"] == "nimm die banane"
    assert len(widget.rollout["steps"]) == step + 1


def test_a_step_is_not_sent_twice_nor_for_an_old_rollout(widget):
    (first,) = from_browser(widget, kind="run", instruction=MEANT, scene=1)
    number = first["header"]["number"]
    assert len(from_browser(widget, kind="next", number=number, step=1)) == 1
    assert from_browser(widget, kind="next", number=number, step=1) == []
    assert from_browser(widget, kind="next", number=number - 1, step=2) == []


def test_a_new_scene_holds_what_a_foreign_sentence_means(widget):
    for scene in (5, 6):
        (message,) = from_browser(widget, kind="run", instruction="nimm das werkzeug", scene=scene)
        things = message["header"]["things"]
        assert {"scissors", "hammer", "brush", "pencil"} & set(things) and message["header"]["scene"] == scene


@pytest.mark.parametrize(
    ("instruction", "scene", "words"),
    [
        ("", 1, "empty box.*Try"),
        (None, 1, "in words, got None"),
        ("pick up the zebra", 1, r"does not know 'zebra' \(word 4 of 'pick up the zebra'\)"),
        ("recoge el martillo", 1, "Nothing on this table is “el martillo”. On it: .*banana"),
        (MEANT, -1, "Expected a scene from 0"),
        (MEANT, True, "Expected a scene from 0"),
        (MEANT, 2**40, "Expected a scene from 0"),
    ],
)
def test_what_cannot_be_run_is_said_in_words_and_the_old_rollout_stays(widget, instruction, scene, words):
    rollout, answers = widget.rollout, widget.answers
    (message,) = from_browser(widget, kind="run", instruction=instruction, scene=scene)
    assert message["kind"] == "problem" and message["about"] == "run" and re.search(words, message["status"])
    assert widget.rollout is rollout and widget.answers is answers


def test_a_running_rollout_goes_on_after_a_problem_and_a_question(widget):
    (first,) = from_browser(widget, kind="run", instruction=MEANT, scene=1)
    from_browser(widget, kind="run", instruction="pick up the zebra", scene=2)
    from_browser(widget, kind="ask", question="where is the banana", step=0)
    (second,) = from_browser(widget, kind="next", number=first["header"]["number"], step=1)
    assert second["step"] == 1 and second["header"]["number"] == first["header"]["number"]


def test_a_question_is_answered_by_the_same_model_about_the_picture_that_is_shown(widget, policy):
    (message,) = from_browser(widget, kind="ask", question="what colour is the banana", step=2)
    expected = policy.generate(widget.answers[2].image[None], ["what colour is the banana"], steps=12)[0]
    assert message["kind"] == "answer" and message["answer"] == expected and message["step"] == 2


def test_a_place_in_an_answer_is_a_cross_and_a_word(widget, policy, monkeypatch):
    monkeypatch.setattr(policy, "generate", lambda images, prompts, **_: ["<loc0032><loc0992>"])
    (message,) = from_browser(widget, kind="ask", question="where is the banana", step=0)
    assert message["places"] == [(0.96875, 0.03125)] and message["words"] == "in the upper right"


@pytest.mark.parametrize(
    ("question", "step", "words"),
    [
        ("", 0, "empty box"),
        ("where is the zebra", 0, "does not know 'zebra'"),
        ("where is the banana", 99, "Expected a step from 0 to 3, got 99"),
        ("where is the banana", None, "about a step"),
        (7, 0, "Expected a question in words"),
    ],
)
def test_a_question_that_cannot_be_asked_is_said_beside_it(widget, question, step, words):
    (message,) = from_browser(widget, kind="ask", question=question, step=step)
    assert message["kind"] == "problem" and message["about"] == "ask" and re.search(words, message["status"])


def test_what_comes_from_elsewhere_is_left_alone(widget):
    assert from_browser(widget, kind="dance") == []


def test_an_unknown_word_is_an_error_in_the_cell_that_makes_the_widget(policy):
    with pytest.raises(ValueError, match="does not know 'zebra'"):
        AskRobot(policy, small_table(), instruction="pick up the zebra")


def test_run_and_ask_from_python(widget):
    assert widget.run("pick up the banana").startswith("Stopped after 3 steps")
    assert widget.run(scene=4) and widget.rollout["scene"] == 4 and "banana" in widget.rollout["things"]
    assert isinstance(widget.ask("where is the banana", 1), str)


def test_where_no_widget_lives_a_picture_with_a_text_stands_in(widget, monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_widget, "display", lambda what, **how: shown.append((what, how)))
    widget._ipython_display_()
    (still, _), (live, how) = shown
    assert f'class="{widget.still}"' in still.data and MEANT in re.search(r'alt="([^"]+)"', still.data)[1]
    assert "Action: 0 0 0 0 0 0 0 0" in still.data and "Plan:" in still.data
    assert how["raw"] and live["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id


def test_the_script_leaves_the_browser_nothing_to_fetch(widget):
    assert "import " not in widget._esm.split("export default")[0] and "http" not in widget._esm + str(widget._css)


def test_it_stands_at_the_classrooms_front_door():
    assert classroom.AskRobot is AskRobot

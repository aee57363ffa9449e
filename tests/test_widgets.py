import copy
import re

import numpy as np
import pytest
import torch
from widget_talk import from_browser, listening

from course_lib import classroom
from course_lib.classroom import widgets
from course_lib.classroom.widgets import AttentionWidget
from course_lib.rt1 import RT1, InstructionEncoder, RT1Config, TokenLearner


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return RT1(RT1Config.tiny())


@pytest.fixture
def widget(policy):
    """A widget that keeps in ``sent`` what it sends to the browser."""
    return listening(AttentionWidget(policy, instruction="pick apple", scene=1, steps=3))


def finish(widget):
    """Ask for frames, as the browser does, until the rollout is over."""
    message = widget.sent[-1][0]
    while "status" not in message:
        (message,) = from_browser(widget, kind="next", rollout=message["header"]["rollout"], step=message["step"] + 1)
    return message


def test_the_first_rollout_is_there_before_the_browser_asks(widget):
    frames = widget.header["frames"]
    assert widget.header["instruction"] == "pick apple" and "apple" in widget.header["labels"]
    assert widget.header["labels"][widget.header["asked"]] == "apple"
    assert len(frames) == len(widget.frames) and len(frames[0]["words"]) == 9
    first = widget.pixels[: len(widget.pixels) // len(frames)]
    assert first[: 64 * 64 * 3] == widget.frames[0].image.tobytes()
    maps = np.frombuffer(first[64 * 64 * 3 :], "<f4").reshape(8, 8, 8)
    assert np.array_equal(maps, widget.frames[0].maps) and np.allclose(maps.sum((1, 2)), 1, atol=1e-5)


def test_a_new_instruction_is_answered_by_one_frame_of_the_same_scene(widget):
    before = widget.frames[0].image
    other = next(name for name in widget.header["things"] if name != "apple")
    (message,) = from_browser(widget, kind="run", instruction=f"pick {other}", scene=1)
    assert (message["kind"], message["step"], message["header"]["instruction"]) == ("frame", 0, f"pick {other}")
    assert np.array_equal(widget.frames[0].image, before) and len(widget.frames) == 1


def test_frames_come_one_by_one_and_end_in_the_saved_state(widget):
    from_browser(widget, kind="run", instruction="grab the apple", scene=1)
    last = finish(widget)
    assert last["step"] == len(widget.frames) - 1 and last["status"] == widget.status
    assert widget.header["instruction"] == "grab the apple" and len(widget.header["frames"]) == len(widget.frames)


def test_a_frame_is_not_sent_twice_nor_for_an_old_rollout(widget):
    (first,) = from_browser(widget, kind="run", instruction="pick apple", scene=1)
    number = first["header"]["rollout"]
    assert len(from_browser(widget, kind="next", rollout=number, step=1)) == 1
    assert from_browser(widget, kind="next", rollout=number, step=1) == []
    assert from_browser(widget, kind="next", rollout=number - 1, step=2) == []


def test_a_new_scene_holds_what_the_sentence_names(widget):
    for scene in (5, 6):
        (message,) = from_browser(widget, kind="run", instruction="take the hammer", scene=scene)
        assert "hammer" in message["header"]["labels"] and message["header"]["scene"] == scene


@pytest.mark.parametrize(
    "instruction, scene, words",
    [
        ("", 1, "empty box.*Try"),
        ("   ", 1, "empty box.*Try"),
        (None, 1, "empty box.*Try"),
        ("?!", 1, "no words.*Try"),
        ("pick apple", -1, "Expected a scene"),
        ("pick apple", None, "Expected a scene.*got None"),
        ("pick apple", True, "Expected a scene"),
        ("pick apple", 2**40, "Expected a scene"),
    ],
)
def test_what_cannot_be_run_is_said_in_words_and_the_old_rollout_stays(widget, instruction, scene, words):
    header, frames = widget.header, widget.frames
    (message,) = from_browser(widget, kind="run", instruction=instruction, scene=scene)
    assert message["kind"] == "problem" and re.search(words, message["status"]) and widget.status == message["status"]
    assert "Traceback" not in message["status"] and widget.header is header and widget.frames is frames


def test_an_object_that_is_not_there_is_answered_with_what_is_on_the_table(widget):
    things = widget.header["things"]
    missing = next(name for name in widgets.NAMES if name not in things)
    (message,) = from_browser(widget, kind="run", instruction=f"pick {missing}", scene=1)
    assert message["kind"] == "problem" and f"no {missing} on this table. On it: {', '.join(things)}" in message["status"]


def test_a_running_rollout_goes_on_after_a_problem(policy):
    calm, disturbed = (AttentionWidget(policy, instruction="pick apple", scene=1, steps=3) for _ in range(2))
    for widget in (calm, disturbed):
        (first,) = from_browser(listening(widget), kind="run", instruction="lift the apple", scene=1)
    from_browser(disturbed, kind="run", instruction="?!", scene=2)
    for widget in (calm, disturbed):
        widget.sent.append((first, []))
        finish(widget)
    assert calm.pixels == disturbed.pixels


def test_free_text_without_weights_names_the_remedy(policy, tmp_path):
    deaf = copy.deepcopy(policy)
    deaf.instruction_encoder = InstructionEncoder(weights=tmp_path)
    widget = AttentionWidget(deaf, instruction="pick apple", scene=1, steps=1)
    assert from_browser_status(widget, "hand me the apple") == "problem" and "make language" in widget.status


def from_browser_status(widget, instruction):
    return from_browser(listening(widget), kind="run", instruction=instruction, scene=1)[0]["kind"]


def test_the_learners_own_policy_keeps_its_memory_and_its_training_mode(policy):
    policy.reset()
    policy.train()
    widget = AttentionWidget(policy, instruction="pick apple", scene=1, steps=2)
    widget.run("lift the apple")
    assert policy._memory is None and policy.training


def test_training_the_policy_further_shows_in_the_next_rollout():
    policy = RT1(RT1Config.tiny())
    widget = AttentionWidget(policy, instruction="pick apple", scene=1, steps=1)
    before = widget.frames[0].maps
    widget.run()
    assert np.array_equal(widget.frames[0].maps, before)
    with torch.no_grad():
        policy.token_learner.output.weight.normal_()
    for _ in range(2):  # both copies
        widget.run()
        assert not np.allclose(widget.frames[0].maps, before)


def test_a_learners_own_token_learner_is_shown():
    class Corner(TokenLearner):
        def forward(self, x, trace=None):
            tokens = super().forward(x, trace)
            if trace is not None:
                maps = torch.zeros_like(trace["token_learner/maps"])
                maps[..., -1, 0] = 1
                trace["token_learner/maps"] = maps
            return tokens

    widget = AttentionWidget(RT1(RT1Config.tiny(), token_learner=Corner), scene=1, steps=1)
    assert all("most in the lower left (100% in one cell)" in words for words in widget.frames[0].words[1:])


def test_a_policy_without_maps_is_an_error_in_the_cell_that_makes_the_widget():
    class Blind:
        def reset(self): ...

        def act(self, observation, trace=None):
            return np.zeros(11, np.float32)

    with pytest.raises(ValueError, match="Expected TokenLearner's maps"):
        AttentionWidget(Blind())


def test_where_no_widget_lives_a_picture_with_a_text_stands_in(widget, monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda what, **how: shown.append((what, how)))
    widget._ipython_display_()
    (still, _), (live, how) = shown
    alt = re.search(r'alt="([^"]+)"', still.data)[1]
    assert f'class="{widget.still}"' in still.data and "pick apple" in alt and "All 8 tokens together" in alt
    assert how["raw"] and live["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert widget.still in widget.get_state()["still"]  # so the script knows which picture to hide


def test_the_script_leaves_the_browser_nothing_to_fetch(widget):
    assert "import " not in widget._esm.split("export default")[0] and "http" not in widget._esm + str(widget._css)


def test_the_classrooms_front_door_loads_its_parts_when_asked():
    assert classroom.AttentionWidget is AttentionWidget
    assert all(callable(getattr(classroom, name)) for name in classroom.__all__)
    with pytest.raises(AttributeError, match=r"no 'AttentionWidgets'\. There are .*AttentionWidget, "):
        classroom.AttentionWidgets  # noqa: B018

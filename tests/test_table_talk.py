"""Free sentences and tables: what is meant, what is missing, what could be tried."""

import random

import pytest

from course_lib.classroom.table_talk import THINGS, meanings, offers, table_for, task_on
from course_lib.world.objects import NAMES, kind_index
from course_lib.world.splits import MOVABLE, split

SENTENCES = sorted(meanings())


def test_every_emergent_pick_sentence_is_understood():
    asked = {
        r.task.sentence for name in ("spanish", "category", "sums") for r in split(name).requests if r.task.skill == "pick"
    }
    assert len(asked) > 30 and asked <= set(SENTENCES)


@pytest.mark.parametrize("scene", [0, 7])
def test_a_table_laid_for_a_sentence_has_one_thing_that_it_means(scene):
    laid = 0
    for sentence in SENTENCES:
        task, things = table_for(sentence, scene)
        if things is None:
            continue
        laid += 1
        assert len(set(things)) == THINGS and NAMES[task.kind] in things
        assert task_on(sentence, things) == task, (sentence, things)
    assert laid > 0.7 * len(SENTENCES)  # the robot cannot pick up plates, nor what it has never seen


def test_the_same_scene_is_the_same_table_and_another_one_is_not():
    tables = [table_for("recoge la fruta amarilla", scene)[1] for scene in (0, 0, 1, 2, 3)]
    assert tables[0] == tables[1] and len({tuple(t) for t in tables}) > 1


def test_a_sentence_about_several_things_is_not_judged():
    assert task_on("pick up the fruit", ["apple", "banana", "cup"]).kind == -1
    assert task_on("Pick up the  fruit.", ["apple", "sponge", "cup"]).kind == kind_index("apple")


def test_the_block_is_the_block_that_is_there():
    assert task_on("pick up the block", ["apple", "blue block"]).kind == kind_index("blue block")
    task = task_on("move apple near block", ["apple", "green block"])
    assert (task.skill, task.kind, task.goal) == ("move near", kind_index("apple"), kind_index("green block"))


@pytest.mark.parametrize("sentence", ["pick up the hammer", "recoge el martillo", "grab the tool", "move apple near hammer"])
def test_what_is_not_there_is_said_with_what_is(sentence):
    with pytest.raises(ValueError, match=r"Nothing on this table is “.*”. On it: apple, cup. Try one of these"):
        task_on(sentence, ["apple", "cup"])


def test_any_other_sentence_is_allowed_but_not_judged():
    assert task_on("give me something nice", ["apple"]).kind == -1
    assert table_for("give me something nice", 3)[1] is None
    assert table_for("open the left drawer", 3)[0].drawer == 0


def test_offers_are_sentences_that_mean_something_here():
    draw = random.Random(0)
    for _ in range(20):
        things = [NAMES[k] for k in draw.sample(sorted(MOVABLE), 4)]
        offered = offers(things)
        kinds = [task_on(sentence, things).kind for sentence in offered]
        assert 1 <= len(offered) <= 6 and len(set(offered)) == len(offered)
        assert all(kind >= 0 and NAMES[kind] in things for kind in kinds)
        assert len(set(kinds)) >= min(len(offered), 2)  # not all about one thing

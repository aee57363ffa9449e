"""The concept card: counted from both sources, and it shows a leak."""

import csv
import io
from dataclasses import replace

import pytest

from course_lib.datasets import record
from course_lib.datasets.concepts import Concept, as_csv, as_markdown, concept_card
from course_lib.datasets.web import WebPictures
from course_lib.world.lexicon import CATEGORIES, COLOURS, NUMBERS, name_of
from course_lib.world.objects import KINDS
from course_lib.world.phrases import EMERGENT
from course_lib.world.splits import training_tasks
from course_lib.world.tasks import SKILLS, UNSEEN

WEB = WebPictures(batch=32)
NEVER_TOLD = ("use", "number", "sum", "relation", "same colour", "negation", "language", "emergent set")


@pytest.fixture(scope="module")
def episodes():
    return record(300, training_tasks(), seed=0)


@pytest.fixture(scope="module")
def card(episodes):
    return {(row.group, row.concept): row for row in concept_card(WEB, episodes, steps=10)}


def test_the_card_lists_every_concept_once(card):
    assert {name for group, name in card if group == "name"} == {name_of(k) for k in range(len(KINDS))}
    for group, concepts in (("colour", COLOURS), ("category", CATEGORIES), ("number", NUMBERS), ("skill", SKILLS)):
        assert [name for group_, name in card if group_ == group] == list(concepts)
    assert [name for group, name in card if group == "emergent set"] == list(EMERGENT)


def test_the_web_shows_and_says_everything_but_three_skills(card):
    silent = {concept for (group, concept), row in card.items() if row.web_said == 0 and group != "emergent set"}
    assert silent == {"place upright", "knock over", "pick from"}
    assert all(row.web_seen is None or row.web_seen > 0 for row in card.values())


def test_the_robot_is_told_no_colour_category_use_number_relation_or_foreign_word(card):
    told = {key for key, row in card.items() if row.robot_said}
    assert not {group for group, _ in told} & set(NEVER_TOLD)
    assert {concept for group, concept in told if group == "colour"} <= {"orange"}  # the fruit
    assert {concept for group, concept in told if group == "category"} <= {"block", "plate", "card"}  # names, to the robot


def test_the_robot_sees_all_but_the_unseen_objects(card):
    hidden = {concept for (group, concept), row in card.items() if group == "name" and row.robot_seen == 0}
    assert hidden == set(UNSEEN)


def test_only_the_robot_acts(card):
    assert all(card["skill", skill].robot_said > 0 for skill in SKILLS)
    assert "never an action" in card["skill", "pick"].remark


def test_a_leak_into_the_robots_instructions_shows_on_the_card(episodes):
    tasks = (replace(episodes.tasks[0], sentence="pick up the red fruit"), *episodes.tasks[1:])
    leaky = replace(episodes, tasks=tasks, task=episodes.task * 0)
    rows = {(row.group, row.concept): row.robot_said for row in concept_card(WEB, leaky, steps=1)}
    assert rows["colour", "red"] == rows["category", "fruit"] == 300 and rows["emergent set", "colour"] == 1


def test_the_card_can_be_read_as_a_table():
    rows = [Concept("colour", "red", 5, 7, 3, 0), Concept("colour", "blue", 4, 6, None, 1, "a name")]
    lines = as_markdown(rows).splitlines()
    assert lines[2] == "| colour | red | 5 | 7 | 3 | 0 |  |" and lines[3] == "|  | blue | 4 | 6 | – | 1 | a name |"
    assert len({line.count("|") for line in lines}) == 1
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert read[1] == dict(zip(Concept._fields, ["colour", "blue", "4", "6", "", "1", "a name"], strict=True))

"""measure.answers: what counts as a right answer, and that a model is asked every question."""

import csv

import pytest
import torch

from course_lib.classroom import recipes
from course_lib.classroom.eyes import Eyes, Patches
from course_lib.classroom.web_training import answers_table, exam, new_vlm, web_pictures
from course_lib.datasets.pictures import compose, look
from course_lib.learn import Schedule, behaviour_clone, load_checkpoint
from course_lib.measure.answers import Answers, ask_all
from course_lib.rt2 import RT2
from course_lib.world.objects import KINDS


@pytest.mark.parametrize(
    ("wanted", "given", "right"),
    [
        ("apple", "apple", True),
        ("pick apple", "pick  apple", True),
        ("apple", "apple yes", False),
        ("apple", "", False),
        ("<loc0544><loc0288>", "<loc0544><loc0288>", True),
        ("<loc0544><loc0288>", "<loc0608><loc0224>", True),  # a cell below and a cell to the left
        ("<loc0544><loc0288>", "<loc0544><loc0416>", False),  # two cells to the right
        ("<loc0544><loc0288>", "<loc0544>", False),
        ("<loc0544><loc0288>", "apple <loc0544><loc0288>", False),
        ("pick apple <loc0544><loc0288>", "pick apple <loc0608><loc0288>", False),  # a plan's words must all be right
    ],
)
def test_an_answer_counts_if_its_words_are_right_or_its_place_is_at_most_a_cell_away(wanted, given, right):
    assert Answers().right(wanted, given) is right


class Parrot:
    """Knows all right answers of its batches."""

    def __init__(self, batches):
        self.known = {id(b["images"]): b["answers"] for b in batches}

    def generate(self, images, prompts, *, steps=16):
        return self.known[id(images)]


def test_a_model_that_knows_everything_is_right_everywhere_and_one_that_says_yes_is_not():
    batches = [web_pictures("test", batch=4, questions=4)(step) for step in range(2)]
    knows = ask_all(Parrot(batches), batches)
    assert len(knows.rows) == 32
    assert knows.rate(blind=True).rate == 1 and knows.rate().n == sum(row[4] for row in knows.rows)
    says_yes = Answers(rows=[(*row[:2], "yes", *row[3:]) for row in knows.rows])
    assert says_yes.rate(blind=True).rate == sum(row[1] == "yes" for row in knows.rows) / 32
    assert "point" in str(knows) and answers_table(knows).splitlines()[-1].startswith("all,all,")
    with pytest.raises(ValueError, match="No question of the types"):
        knows.rate("poetry")


def test_the_tiny_model_reads_every_question_and_learns_from_one_step():
    policy, web = new_vlm(), web_pictures(batch=2, questions=4)
    before = policy.loss(web(0))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.05)
    before.backward()
    optimizer.step()
    assert policy.loss(web(0)) < before
    assert len(ask_all(policy, [web(1)]).rows) == 8


def test_the_eyes_learn_which_thing_has_its_middle_in_which_patch():
    patches = Patches(batch=2, size=64)
    batch, seen = patches(3), look(compose(torch.arange(6, 8) + (2 << 40)))
    for i, picture in enumerate(seen):
        for kind in {thing.kind for thing in picture.things}:
            assert kind in batch["kinds"][i]
        only = picture.things[-1]
        patch = int(only.y * 8) * 8 + int(only.x * 8)
        assert batch["kinds"][i, patch] == only.kind
        assert (batch["columns"][i, patch], batch["rows"][i, patch]) == (int(only.x * 16), int(only.y * 16))
    assert (batch["kinds"] == len(KINDS)).float().mean() > 0.8
    policy = new_vlm()
    eyes = Eyes(policy.vlm.vision, 128)
    behaviour_clone(eyes, lambda step: batch, Schedule(steps=30, lr=2e-3, warmup=3), progress=False)
    right, of = eyes.seen(batch)
    assert of == sum(len({(int(t.x * 8), int(t.y * 8)) for t in picture.things}) for picture in seen)
    assert right > 0.8 * of


def test_the_shipped_model_sees_what_guessing_cannot():
    """On new pictures it answers far more of the questions that need the picture than the commonest answers would."""
    path = recipes.DATA / "rt2_tiny_web.safetensors"
    answers = exam(load_checkpoint(path, RT2), 4)
    with (recipes.DATA / "rt2_web_answers.csv").open() as file:
        table = {(row["group"], row["name"]): row for row in csv.DictReader(file)}
    recorded = table["all", "all"]
    assert answers.rate().low < float(recorded["high"]) and answers.rate().high > float(recorded["low"])
    assert answers.rate("name").low > float(table["type", "name"]["blind"]) + 0.3
    assert answers.rate("point").low > float(table["type", "point"]["blind"]) + 0.3

"""measure.answers: what counts as a right answer, and that a model is asked every question."""

import pytest
import torch

from course_lib.classroom.web_training import answers_table, new_vlm, web_pictures
from course_lib.measure.answers import Answers, ask_all


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

"""The look-alikes check accepts right answers of any style, and gives every known mistake its own message."""

import pytest
import torch
import torch.nn.functional as F
from checks_tried import accepted, all_different, answers, forgeries_rejected, rejected

from course_lib.classroom.checks.look_alikes import LOOK_ALIKES, check_look_alikes
from course_lib.rt1 import TokenLearner
from course_lib.rt1.variants import SigmoidTokens, TokensCompete

RIGHT, WRONG, right, wrong = answers()


def adds_up(x, tokens):
    return torch.allclose(tokens.sum(1), x.sum((2, 3)), rtol=1e-3, atol=1e-3 * float(x.abs().sum((2, 3)).max()))


def apart(x, tokens):
    mean = x.mean((2, 3))
    return float((tokens - mean[:, None]).square().mean().sqrt() / (x - mean[..., None, None]).square().mean().sqrt())


@right
def in_torch(x, tokens):
    """The ground for most of the mistakes below."""
    if adds_up(x, tokens):
        return "tokens compete"
    return "one average" if apart(x, tokens) < 0.05 else "token learner"


@right
def by_the_variance_between_tokens(x, tokens):
    cells = x.flatten(2)
    gap = (tokens.mean(1) - cells.sum(2) / tokens.shape[1]).abs().max() / cells.abs().mean() / cells.shape[2]
    if gap < 1e-3:
        return "tokens compete"
    return "one average" if tokens.var(1).mean() < 0.002 * cells.var(2).mean() else "token learner"


@right
def one_image_in_loops(x, tokens):
    cells, several = x[0].flatten(1).T.tolist(), tokens[0].tolist()
    C, worst, size = len(cells[0]), 0.0, 0.0
    for c in range(C):
        worst = max(worst, abs(sum(t[c] for t in several) - sum(cell[c] for cell in cells)))
        size = max(size, sum(abs(cell[c]) for cell in cells))
    if worst < 1e-3 * size:
        return "tokens compete"
    mean = [sum(cell[c] for cell in cells) / len(cells) for c in range(C)]

    def far(rows):
        return sum((row[c] - mean[c]) ** 2 for row in rows for c in range(C)) / len(rows)

    return "one average" if far(several) < 0.003 * far(cells) else "token learner"


@wrong('"token learner" of tokens that add up to the sum of all cells')
def always_right(x, tokens):
    return "token learner"


@wrong('"tokens compete" of tokens that do not add up')
def always_competing(x, tokens):
    return "tokens compete"


@wrong("spread from the mean of a picture.")
def always_average(x, tokens):
    return "one average"


@wrong("spread from the mean of a bright picture.")
def by_the_cosine(x, tokens):
    if adds_up(x, tokens):
        return "tokens compete"
    cosine = F.cosine_similarity(tokens[:, :1], tokens[:, 1:], dim=-1).mean()
    return "one average" if cosine > 0.95 else "token learner"


@wrong("spread from the mean of a flat picture.")
def by_a_fixed_distance(x, tokens):
    if adds_up(x, tokens):
        return "tokens compete"
    return "one average" if (tokens - x.mean((2, 3))[:, None]).abs().max() < 0.2 else "token learner"


@wrong("of a glaring picture's cells")
def by_a_small_fixed_distance(x, tokens):
    if adds_up(x, tokens):
        return "tokens compete"
    near = (tokens - x.mean((2, 3))[:, None]).square().mean().sqrt() < 0.05
    return "one average" if near and x.std() > 0.1 else "token learner"


@wrong("of a bright picture's cells")
def forgets_the_brightness(x, tokens):
    if adds_up(x, tokens):
        return "tokens compete"
    return "one average" if tokens.abs().mean() < 0.5 * x.abs().mean() else "token learner"


@wrong("mean of a picture's cells")
def never_average(x, tokens):
    return "tokens compete" if adds_up(x, tokens) else "token learner"


@wrong("but they also add up to all cells")
def average_first(x, tokens):
    if tokens.var(1).mean() < 0.002 * x.flatten(2).var(2).mean():
        return "one average"
    return "tokens compete" if adds_up(x, tokens) else "token learner"


@wrong("but for rounding")
def compares_floats(x, tokens):
    return (
        "tokens compete" if (tokens.sum(1) == x.sum((2, 3))).all() else in_torch(x, tokens).replace("s compete", " learner")
    )


@wrong("The answer should be one of")
def numbers(x, tokens):
    return 1


@wrong("got 'TokenLearner'")
def other_words(x, tokens):
    return "TokenLearner"


@wrong("which_layer returns nothing")
def forgets_return(x, tokens):
    in_torch(x, tokens)


@wrong("There is still a stub", "not attempted")
def not_attempted(x, tokens):
    raise NotImplementedError


@wrong("must match the size", "error in your code")
def mixes_axes(x, tokens):
    return in_torch(x, torch.cat((tokens, tokens[:, :1]), 1) - x[:, :, 0])


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    accepted(LOOK_ALIKES, RIGHT[name])


def test_every_wrong_answer_is_told_its_own_mistake():
    all_different([rejected(LOOK_ALIKES, *about) for about in WRONG.values()])


def test_the_rule_tells_the_courses_own_three_layers_apart_as_they_are_built():
    torch.manual_seed(0)
    names = {TokenLearner: "token learner", TokensCompete: "tokens compete", SigmoidTokens: "one average"}
    for mean in (0, 2):
        x = torch.randn(4, 512, 9, 9) + mean
        for kind, name in names.items():
            assert in_torch(x, kind(512)(x).detach()) == name


def test_the_function_itself_is_asked_for():
    assert "the function itself" in check_look_alikes("one average").hint


def test_forged_or_incomplete_evidence_never_passes_and_never_crashes_the_judge():
    forgeries_rejected(LOOK_ALIKES, in_torch)

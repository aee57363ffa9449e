"""Pointing, plans and translations: the questions that lead from words to places and to the robot's own grammar.

A plan is RT-2's chain of thought ("Instruction: I'm hungry. Plan: pick rxbar chocolate.") without the action: it says in
the robot's shortest form what an instruction means here. The web teaches instruction -> plan, the robot's data plan ->
action; only a model that learns from both can do all three.
"""

import torch
from torch import Tensor

from course_lib.datasets.pictures import in_picture
from course_lib.datasets.questions import Asker, Question, english, location
from course_lib.world.lexicon import GERMAN_DRAWERS, SPANISH_DRAWERS, name_of
from course_lib.world.objects import KINDS
from course_lib.world.phrases import Phrase, instructions, phrases, plan
from course_lib.world.state import TabletopState, handles
from course_lib.world.tasks import DRAWERS, Goals, Task, target_place

MIX = {  # how often each type of question is tried; rare ones need a picture that allows them
    "point": 30, "name": 13, "plan": 18, "colour": 6, "category": 5, "use": 6, "relation": 9, "symbols": 9, "count": 3,
    "translation": 4, "same colour": 9, "negation": 9, "sums": 4,
}  # fmt: skip
TYPES = tuple(MIX)
WHERE = {  # language: the question, and is and are
    "english": ("where {be} {a}", ("is", "are")),
    "spanish": ("dónde {be} {a}", ("está", "están")),
    "german": ("wo {be} {a}", ("ist", "sind")),
}
WHAT = {"spanish": "qué hay en {a}", "german": "was ist bei {a}"}
SAY, MEAN = "how do you say {a} in {language}", "what does {a} mean"
PLAN = "instruction: {a} plan:"
DRAWERS_IN = {
    "english": tuple(f"the {name}" for name in DRAWERS), "spanish": SPANISH_DRAWERS, "german": GERMAN_DRAWERS
}  # fmt: skip
LANGUAGES = tuple(WHERE)


def _foreign(kind: int, language: str) -> Phrase:
    """How a language names a kind."""
    return next(p for p in phrases() if p.concept == language and p.means == {kind})


def point(ask: Asker) -> Question | None:
    """Where the thing is that a phrase picks out, or a drawer's handle."""
    if ask.drawers and ask.draw.random() < 0.12:
        d, language = ask.draw.randrange(len(DRAWERS)), ask.draw.choice(LANGUAGES)
        text, be = WHERE[language]
        place = location(*ask.drawers[d], ask.cells)
        concept = "name" if language == "english" else language
        return Question(text.format(be=be[0], a=DRAWERS_IN[language][d]), place, "point", phrase=concept)
    found = ask.refer()
    if not found:
        return None
    i, phrase = found
    text, be = WHERE[phrase.language]
    return Question(text.format(be=be[phrase.plural], a=phrase.text), ask.at(i), "point", phrase=phrase.concept)


def translation(ask: Asker) -> Question | None:
    """Between English and Spanish or German: of words, or of a thing in the picture."""
    language = ask.draw.choice(tuple(WHAT))
    if ask.draw.random() < 0.5:
        i = ask.draw.choice(ask.bare)
        answer = _foreign(ask.kinds[i], language).text
        return Question(WHAT[language].format(a=ask.at(i)), answer, "translation", phrase=language)
    kind = ask.draw.choice(ask.kinds)
    here, there = english(kind).text, _foreign(kind, language).text
    if ask.draw.random() < 0.5:
        return Question(MEAN.format(a=there), here, "translation", False, language)
    return Question(SAY.format(a=here, language=language), there, "translation", False, language)


def plan_question(ask: Asker, places: bool = False) -> Question | None:
    """An instruction for this table, and what to do in the robot's grammar (with location tokens if ``places``)."""
    if ask.drawers and ask.draw.random() < 0.2:
        return _drawer_plan(ask, places)
    found = ask.refer()
    if not found:
        return None
    i, phrase = found
    kind = ask.kinds[i]
    if ask.draw.random() < 0.5 or KINDS[kind].word == "plate":
        return _pair_plan(ask, i, phrase, places)
    answer = plan("pick", _spot(ask, i, places))
    sentence = ask.draw.choice(instructions("pick", phrase))
    return Question(PLAN.format(a=sentence), answer, "plan", places or len(phrase.means) > 1, phrase.concept)


def _spot(ask: Asker, i: int, places: bool) -> str:
    return name_of(ask.kinds[i]) + (f" {ask.at(i)}" if places else "")


def _pair_plan(ask: Asker, i: int, phrase: Phrase, places: bool) -> Question | None:
    """Something plainly named is brought to the thing that the phrase means."""
    j = ask.one(j for j in ask.plain(range(len(ask.kinds))) if j != i and not KINDS[ask.kinds[j]].holds)
    if j is None:
        return None
    named = english(ask.kinds[j]) if phrase.language == "english" else _foreign(ask.kinds[j], phrase.language)
    word = KINDS[ask.kinds[i]].word
    into = word == "plate" or (word == "bowl" and phrase.language != "german")
    skill = "place into" if into and ask.things[j].home != i else "move near"
    sentence = ask.draw.choice(instructions(skill, named, phrase))
    answer = plan(skill, _spot(ask, j, places), _spot(ask, i, places))
    return Question(PLAN.format(a=sentence), answer, "plan", places or len(phrase.means) > 1, phrase.concept)


def _drawer_plan(ask: Asker, places: bool) -> Question:
    d, language = ask.draw.randrange(len(DRAWERS)), ask.draw.choice(LANGUAGES)
    skill = ask.draw.choice(("open drawer", "close drawer"))
    sentence = instructions(skill, language=language, drawer=d)[0]
    place = f" {location(*ask.drawers[d], ask.cells)}" if places else ""
    concept = "name" if language == "english" else language
    return Question(PLAN.format(a=sentence), plan(skill, b=DRAWERS[d]) + place, "plan", places, concept)


def plan_of(task: Task) -> str:
    """The plan for a robot's task, in its own words: no colour, number or category ("pick block")."""
    return plan(task.skill, *_said(task))


def plans_with_places(tasks: list[Task], state: TabletopState, cells: int = 16) -> list[str]:
    """The same for N tables, each name followed by the location tokens of what it means in the robot's picture now.

    Of several things of a kind it is the one that the expert takes (``tasks.target_place``).
    """
    goals = Goals.of(tasks, state.kind.device)
    places = in_picture(state, torch.cat([state.xyz, handles(state)], 1)).tolist()  # objects, then the two handles

    def tokens(kind: Tensor) -> list[str]:
        place, named = torch.zeros_like(kind), kind >= 0
        place[named] = target_place(state[named], kind[named])
        place = torch.where(goals.drawer >= 0, state.kind.shape[1] + goals.drawer, place) if kind is goals.goal else place
        return [f" {location(*row[k], cells)}" for row, k in zip(places, place.tolist(), strict=True)]

    out = []
    for task, at_a, at_b in zip(tasks, tokens(goals.kind), tokens(goals.goal), strict=True):
        a, b = _said(task)
        out.append(plan(task.skill, a and a + at_a, b and b + at_b))
    return out


def _said(task: Task) -> tuple[str, str]:
    """The robot's words for the two things of a task; "" for none."""
    b = DRAWERS[task.drawer] if task.drawer >= 0 else KINDS[task.goal].word if task.goal >= 0 else ""
    return (KINDS[task.kind].word if task.kind >= 0 else ""), b

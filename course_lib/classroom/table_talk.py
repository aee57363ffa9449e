"""What a free sentence asks for on a table, and which table would make sense of it.

The robot's own grammar ("pick up the apple") is ``world.tasks``; every phrase of the web (names, colours, categories, uses,
sums, Spanish, German) is ``world.phrases``. A sentence of neither is allowed too: then success cannot be judged.
"""

import random
from collections.abc import Sequence
from functools import cache

from course_lib.classroom.attention_trace import free_task
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.phrases import Phrase, instructions, phrases
from course_lib.world.splits import MOVABLE, SEEN_KINDS
from course_lib.world.tasks import Task

THINGS = 4  # on a table that is laid for a sentence
OFFERED = ("name", "spanish", "category", "colour", "german", "use")  # one sentence for each, where the table allows it


@cache
def meanings() -> dict[str, tuple[Phrase, ...]]:
    """Every sentence that asks to pick up what a phrase means, with its phrases."""
    found: dict[str, tuple[Phrase, ...]] = {}
    for phrase in phrases():
        for sentence in instructions("pick", phrase):
            found[sentence] = (*found.get(sentence, ()), phrase)
    return found


def plain(sentence: str) -> str:
    """Lower case, single spaces, no full stop."""
    return " ".join(sentence.lower().split()).strip(" .!?¡¿")


def task_on(sentence: str, things: Sequence[str]) -> Task:
    """What a sentence asks for on a table with these things (names of ``objects.KINDS``).

    A sentence that means no single thing there is a task without a goal (kind -1): a policy can act on it, but nobody can
    say whether it succeeded. Raises ValueError, with what is there, if the sentence means things that are not.
    """
    kinds = [kind_index(name) for name in things]
    meant = meanings().get(plain(sentence), ())
    for phrase in meant:
        for i, kind in enumerate(kinds):
            if phrase.picks_out(kind, kinds[:i] + kinds[i + 1 :]):
                return Task(kind, sentence)
    if any(not phrase.rivals.isdisjoint(kinds) for phrase in meant):
        return Task(-1, sentence)  # several things could be meant
    if meant:
        raise ValueError(_missing(meant[0].text, things))
    task = free_task(sentence)
    for kind in (task.kind, task.goal):
        if kind >= 0 and KINDS[kind].word not in {KINDS[k].word for k in kinds}:
            raise ValueError(_missing(f"the {KINDS[kind].word}", things))
    there = {KINDS[k].word: k for k in kinds}  # "the block" is the block that is there
    kind, goal = (there[KINDS[k].word] if k >= 0 else k for k in (task.kind, task.goal))
    return Task(kind, sentence, task.skill, goal, task.drawer)


def _missing(text: str, things: Sequence[str]) -> str:
    return f"Nothing on this table is “{text}”. On it: {', '.join(things)}. Try one of these, or press New scene."


def table_for(sentence: str, scene: int) -> tuple[Task, list[str] | None]:
    """A task and the things on a table on which the sentence means one of them; always the same for the same scene.

    None for the things: the scene's own will do (the world lays what the robot's own words name).
    """
    for phrase in meanings().get(plain(sentence), ()):
        draw = random.Random(f"{plain(sentence)} {scene}")
        targets = sorted(phrase.means & MOVABLE)
        if not targets or not phrase.needs <= SEEN_KINDS:
            continue
        there = dict.fromkeys([draw.choice(targets), *sorted(phrase.needs)])
        rest = sorted(SEEN_KINDS - phrase.rivals - set(there))
        kinds = [*there, *draw.sample(rest, THINGS - len(there))]
        draw.shuffle(kinds)
        return Task(next(iter(there)), sentence), [NAMES[k] for k in kinds]
    return free_task(sentence), None


def offers(things: Sequence[str]) -> list[str]:
    """Sentences to try on a table: for each kind of phrase one that picks out a thing there, in turn another thing."""
    kinds = [kind_index(name) for name in things]
    found: dict[str, int] = {}
    for concept in OFFERED:
        fits = [
            (list(found.values()).count(kind), instructions("pick", phrase)[0], kind)
            for i, kind in enumerate(kinds)
            for phrase in phrases()
            if phrase.concept == concept and kind in MOVABLE and phrase.picks_out(kind, kinds[:i] + kinds[i + 1 :])
        ]
        if fits:
            _, sentence, kind = min(fits, key=lambda fit: fit[0])  # the thing that was offered least
            found[sentence] = kind
    return list(found)

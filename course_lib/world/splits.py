"""Splits: which instruction on which table tests what, under the papers' names.

RT-1's generalisation sets (seen tasks, unseen combinations, distractors, backgrounds, here also unseen objects) use the
robot's own grammar. RT-2's emergent sets (symbols and sums, category, use, colour, same colour, negation, Spanish and
German) use phrases of which the robot's data contains not one word that matters: ``tests/test_splits.py`` proves it.

A split is a list of requests; ``split("spanish").trials(100)`` draws from them, always the same, what an environment needs:
``env.reset(seed=0, options={"task": [t.task for t in trials], "kinds": [t.kinds for t in trials]})``.
"""

import difflib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from course_lib.world.lexicon import category_of, colour_of, kinds_where
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.phrases import EMERGENT, INSTRUCTIONS, Phrase, instructions, phrases
from course_lib.world.tasks import ALL_TASKS, DRAWERS, PHRASES, UNSEEN, Task, known_instructions, say
from course_lib.world.textures import SEEN_TEXTURES, TEXTURES

RT1_SPLITS = (
    "seen",
    "unseen combinations",
    "unseen objects",
    "distractors easy",
    "distractors medium",
    "distractors hard",
    "backgrounds",
)
NAMES_OF_SPLITS = (*RT1_SPLITS, *EMERGENT)
PAIRED = ("move near", "place into", "pick from")  # skills about two things
MOVED = ("apple", "sponge", "coke can")  # what the emergent sets bring to the thing that a phrase means
SEEN_KINDS = kinds_where(lambda k: NAMES[k] not in UNSEEN)
MOVABLE = kinds_where(lambda k: NAMES[k] not in UNSEEN and KINDS[k].word != "plate")
_WORDS = [*sorted({KINDS[k].word for k in SEEN_KINDS}), *DRAWERS]


class Request(NamedTuple):
    """An instruction and what its table must hold. Names are those of ``objects.KINDS``."""

    task: Task  # the sentence, and what it means
    needs: tuple[str, ...]  # must be there: what the task is about and what the sentence mentions
    rivals: tuple[str, ...]  # what one who did not understand would confuse the target with
    others: tuple[str, ...]  # what may lie beside without changing the sentence's meaning


class Trial(NamedTuple):
    """One episode to run."""

    task: Task
    kinds: tuple[str, ...]  # everything on the table
    texture: int  # of the table top, for ``textures.table_number``


@dataclass(frozen=True)
class Split:
    """A named test set."""

    name: str
    requests: tuple[Request, ...]
    objects: int = 4  # on each table
    rivals: int = 0  # of them, at most
    textures: tuple[int, ...] = tuple(range(SEEN_TEXTURES))

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every instruction of the split, once."""
        return tuple(dict.fromkeys(request.task.sentence for request in self.requests))

    def trials(self, n: int, seed: int = 0, skills: tuple[str, ...] | None = None) -> list[Trial]:
        """``n`` trials that go evenly through the requests (of some ``skills`` only); the same for the same seed.

        Trial i does not depend on ``n``. Raises ValueError for fewer than one trial, or skills that the split lacks.
        """
        have = sorted({request.task.skill for request in self.requests})
        requests = [r for r in self.requests if skills is None or r.task.skill in skills]
        if n < 1 or not requests:
            raise ValueError(f"Expected n >= 1 and skills among {have}, got {n} and {skills}.")
        out = []
        for i in range(n):
            turn, place = divmod(i, len(requests))
            if place == 0:
                order = random.Random(f"{self.name} {seed} {turn}").sample(requests, len(requests))
            out.append(self._trial(order[place], random.Random(f"{self.name} {seed} trial {i}")))
        return out

    def _trial(self, request: Request, draw: random.Random) -> Trial:
        kinds = list(request.needs)
        kinds += draw.sample(request.rivals, min(self.rivals, len(request.rivals), max(0, self.objects - len(kinds))))
        rest = [name for name in request.others if name not in kinds]
        kinds += draw.sample(rest, max(0, self.objects - len(kinds)))
        draw.shuffle(kinds)
        return Trial(request.task, tuple(kinds), draw.choice(self.textures))


def held_out(task: Task) -> bool:
    """Whether the robot's data leaves this pair of words out: about one in five, by a fixed rule.

    The rule looks at words, not kinds ("block" is one word), so that a held-out sentence is never heard in training; each
    word still occurs in both places of every skill.
    """
    if task.skill not in PAIRED:
        return False
    b = DRAWERS[task.drawer] if task.drawer >= 0 else KINDS[task.goal].word
    return (_WORDS.index(KINDS[task.kind].word) + 2 * _WORDS.index(b)) % 5 == 0


@cache
def training_tasks() -> tuple[Task, ...]:
    """What the robot's data is recorded for: all tasks but the held-out combinations."""
    return tuple(task for task in ALL_TASKS if not held_out(task))


TRAINING_TASKS = training_tasks()


def _names(kinds) -> tuple[str, ...]:
    return tuple(NAMES[k] for k in sorted(kinds))


def _in_the_grammar(task: Task) -> Request:
    """A request in the robot's own words; no other thing on the table has the same word."""
    named = [k for k in (task.kind, task.goal) if k >= 0]
    words = {KINDS[k].word for k in named}
    others = {k for k in SEEN_KINDS if KINDS[k].word not in words}
    target = task.kind
    alike = {
        k for k in others
        if target >= 0 and (KINDS[k].category == KINDS[target].category or colour_of(k) == colour_of(target) != "")
    }  # fmt: skip
    return Request(task, _names(named), _names(alike), _names(others))


def _unseen_objects() -> list[Task]:
    """RT-1's single-object skills and "move near" with kinds that no robot episode shows."""
    out = []
    for name in UNSEEN:
        k = kind_index(name)
        out += [Task(k, say(p, k), "pick") for p in PHRASES["pick"]]
        for mate in MOVED:
            m = kind_index(mate)
            out += [Task(a, say(p, a, b), "move near", b) for p in PHRASES["move near"] for a, b in ((k, m), (m, k))]
    return out


def _for_skill(phrase: Phrase, skill: str, mover: int = -1) -> list[Request]:
    """The phrase's instruction for every kind that it can mean, with a table on which it means just that."""
    if skill == "place into" and not _is_home(phrase):
        return []
    out = []
    for k in sorted(phrase.means & (MOVABLE if skill == "pick" else SEEN_KINDS) - {mover}):
        mentioned = phrase.needs | ({mover} if mover >= 0 else set()) | {k}
        named = _mover_phrase(mover, phrase.language) if mover >= 0 else None
        if mover >= 0 and not (phrase.picks_out(k, mentioned - {k}) and named.picks_out(mover, mentioned - {mover})):
            continue
        if not mentioned <= SEEN_KINDS:
            continue
        sentence = instructions(skill, named or phrase, phrase if named else None)[0]
        task = Task(mover, sentence, skill, k) if named else Task(k, sentence, skill)
        rest = SEEN_KINDS - phrase.means - phrase.unsure - mentioned
        same = {other for other in rest if category_of(other) == category_of(k) != ""}
        out.append(Request(task, _names(mentioned), _names(same), _names(rest)))
    return out


def _is_home(phrase: Phrase) -> bool:
    """Whether one can put a thing there: plates, and the bowl where the language has a word for "in" that is not English."""
    words = {KINDS[k].word if KINDS[k].holds else "" for k in phrase.means}
    return words == {"plate"} or (words == {"bowl"} and phrase.language == "spanish")


@cache
def _mover_phrase(kind: int, language: str) -> Phrase:
    """How the language names a kind."""
    concept = "name" if language == "english" else language
    return next(p for p in phrases() if p.concept == concept and p.means == {kind})


def _drawer_requests(language: str) -> list[Request]:
    if language == "english":
        return []
    out = []
    for skill in ("open drawer", "close drawer"):
        for drawer in range(len(DRAWERS)):
            sentence = instructions(skill, language=language, drawer=drawer)[0]
            out.append(Request(Task(-1, sentence, skill, drawer=drawer), (), (), _names(SEEN_KINDS)))
    return out


def _emergent(concept: str) -> tuple[Request, ...]:
    """Every instruction that needs the concept and shares no tell-tale word with the robot's own."""
    language = concept if concept in INSTRUCTIONS else "english"
    out = _drawer_requests(language)
    for phrase in phrases():
        if phrase.concept == concept and not _leaks(phrase):
            out += _for_skill(phrase, "pick")
            for mover in map(kind_index, MOVED):
                out += _for_skill(phrase, "move near", mover)
                out += _for_skill(phrase, "place into", mover)
    return tuple(out)


@cache
def robot_words() -> frozenset[str]:
    """Every word of the robot's own instructions."""
    return frozenset(word for sentence in known_instructions() for word in sentence.split())


def _leaks(phrase: Phrase) -> bool:
    """Whether the robot's data gives the phrase away: "orange" is also a fruit's name, "der hammer" also English."""
    if phrase.language != "english":
        return not robot_words().isdisjoint(phrase.text.split())
    return phrase.concept == "colour" and "orange" in phrase.text.split()


_RIVALS = {"symbols": 2, "sums": 2, "colour": 1, "same colour": 2, "negation": 0}


@cache
def split(name: str) -> Split:
    """The split of this name (one of NAMES_OF_SPLITS). Raises ValueError with near names."""
    if name in EMERGENT:
        return Split(name, _emergent(name), rivals=_RIVALS.get(name, 0))
    makers: dict[str, Callable[[], list[Task] | tuple[Task, ...]]] = {
        "unseen combinations": lambda: [task for task in ALL_TASKS if held_out(task)],
        "unseen objects": _unseen_objects,
    }
    if name not in NAMES_OF_SPLITS:
        near = difflib.get_close_matches(name, NAMES_OF_SPLITS, 2, 0.4)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are {', '.join(NAMES_OF_SPLITS)}."
        raise ValueError(f"No split is called {name!r}. {hint}")
    tasks = makers.get(name, training_tasks)()
    requests = tuple(map(_in_the_grammar, tasks))
    objects, rivals = {"easy": (4, 0), "medium": (8, 0), "hard": (8, 4)}.get(name.rsplit(maxsplit=1)[-1], (3, 0))
    textures = tuple(range(SEEN_TEXTURES, TEXTURES)) if name == "backgrounds" else tuple(range(SEEN_TEXTURES))
    return Split(name, requests, objects, rivals, textures)


@cache
def emergent_instructions() -> tuple[str, ...]:
    """Every sentence of RT-2's emergent sets, once (a table of sentence embeddings can be built from it)."""
    return tuple(dict.fromkeys(sentence for name in EMERGENT for sentence in split(name).sentences))

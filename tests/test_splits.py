"""The named test sets: what each sentence means, what its table holds, and that the robot's data gives nothing away."""

import re

import pytest
import torch

from course_lib.world import TabletopVectorEnv, known_instructions
from course_lib.world.env import options_of
from course_lib.world.experts import expert
from course_lib.world.lexicon import COLOURS, GERMAN, NUMBERS, SPANISH, USES, contracted, in_german, in_spanish
from course_lib.world.objects import KINDS, NAMES, kind_index
from course_lib.world.phrases import EMERGENT, Phrase, instructions, phrases, plan
from course_lib.world.scenes import scene
from course_lib.world.splits import NAMES_OF_SPLITS, RT1_SPLITS, emergent_instructions, held_out, split, training_tasks
from course_lib.world.tabletop import SPACE, step
from course_lib.world.tasks import ALL_TASKS, UNSEEN, Goals, success
from course_lib.world.textures import SEEN_TEXTURES

SAID_AS_NAMES = {"orange"}  # a colour word, but in the robot's mouth the fruit: no emergent set asks for orange things
TELLING = {
    *COLOURS, *NUMBERS, *"0123456", "fruit", "vegetable", "drink", "snack", "tool", "kitchen", "thing", "same", "colour",
    "not", "number", "sum", "plus",
} - SAID_AS_NAMES  # fmt: skip
USING = {word for _, end in USES.values() for word in end.split()} - {"the", "a", "in", "from"}


def foreign_words():
    """Every word of the Spanish and German sets' sentences."""
    return {word for name in ("spanish", "german") for sentence in split(name).sentences for word in sentence.split()}


def leaks(sentences):
    """Words and phrases in robot instructions that would teach an emergent concept."""
    said = {word for sentence in sentences for word in sentence.split()}
    words = said & (TELLING | USING | foreign_words())
    emergent = {p.text for p in phrases() if p.concept in EMERGENT and p.language == "english"}
    return words | {text for text in emergent for sentence in sentences if re.search(rf"\b{text}\b", sentence)}


def test_no_emergent_phrase_colour_number_category_use_or_foreign_word_occurs_in_any_robot_instruction():
    assert leaks(known_instructions()) == set()
    assert not set(emergent_instructions()) & set(known_instructions())
    assert not SAID_AS_NAMES & {word for sentence in split("colour").sentences for word in sentence.split()}


@pytest.mark.parametrize(
    "leak",
    ["pick up the red block", "grab the fruit", "recoge la manzana", "take the three", "lift the thing to cut paper with"],
)
def test_a_leak_would_be_found(leak):
    assert leaks([*known_instructions(), leak])


def test_the_robot_never_hears_of_an_unseen_object():
    said = {word for sentence in known_instructions() for word in sentence.split()}
    assert not said & {word for name in UNSEEN for word in name.split()}


def named(trial):
    task = trial.task
    return [NAMES[k] for k in (task.kind, task.goal) if k >= 0]


@pytest.mark.parametrize("name", NAMES_OF_SPLITS)
def test_a_trial_s_table_holds_what_the_task_needs_once_and_the_task_is_still_to_be_done(name):
    trials = split(name).trials(24)
    for trial in trials:
        assert len(trial.kinds) == split(name).objects == len(set(trial.kinds)) and set(named(trial)) <= set(trial.kinds)
    goals = Goals.of([trial.task for trial in trials])
    kinds = torch.tensor([[kind_index(kind) for kind in trial.kinds] for trial in trials])
    assert success(scene(torch.arange(24), goals, kinds=kinds), goals).sum() == 0


def test_one_who_knows_what_the_sentence_means_can_do_it():
    trials = [trial for name in NAMES_OF_SPLITS for trial in split(name).trials(4)]
    goals = Goals.of([trial.task for trial in trials])
    kinds = [[kind_index(kind) for kind in trial.kinds] + [-1] * (8 - len(trial.kinds)) for trial in trials]
    state, done = (
        scene(torch.arange(len(trials)), goals, kinds=torch.tensor(kinds)),
        torch.zeros(len(trials), dtype=torch.bool),
    )
    for _ in range(40):
        action = expert(state, goals)
        state = step(state, action)
        done |= (action[:, SPACE.index("terminate")] > 0) & success(state, goals)
    assert done.float().mean() > 0.95


def test_an_environment_takes_the_trials_of_any_split():
    trials = [trial for name in ("seen", "distractors hard", *EMERGENT) for trial in split(name).trials(1)]
    env = TabletopVectorEnv(len(trials), size=32)
    observation, _ = env.reset(seed=0, options=options_of(trials))
    assert list(observation["instruction"]) == [trial.task.sentence for trial in trials]
    assert env.observation_space.contains(observation)
    says = env.single_observation_space["instruction"]
    assert all(says.contains(sentence) for name in NAMES_OF_SPLITS for sentence in split(name).sentences)


def test_trials_are_always_the_same_and_do_not_depend_on_how_many_are_asked_for():
    a, b = split("spanish").trials(50, seed=3), split("spanish").trials(80, seed=3)
    assert a == b[:50] and a != split("spanish").trials(50, seed=4)


def test_trials_go_evenly_through_the_requests():
    requests = split("sums").requests
    asked = [trial.task for trial in split("sums").trials(2 * len(requests))]
    assert all(asked.count(request.task) == 2 for request in requests)


def test_trials_can_be_of_some_skills_only():
    assert {trial.task.skill for trial in split("german").trials(40, skills=("pick",))} == {"pick"}
    with pytest.raises(ValueError, match="skills among"):
        split("german").trials(1, skills=("knock over",))
    with pytest.raises(ValueError, match="n >= 1"):
        split("german").trials(0)


def on_table(trial, test):
    return [name for name in trial.kinds if test(KINDS[NAMES.index(name)])]


def answer(trial):
    """The thing that the trial's phrase means: what is picked, or what the other thing is brought to."""
    return NAMES[trial.task.goal if trial.task.goal >= 0 else trial.task.kind]


def test_symbols_and_sums_mean_the_card_that_arithmetic_says():
    for trial in split("symbols").trials(48) + split("sums").trials(60):
        numbers = [NUMBERS.index(word) for word in trial.task.sentence.split() if word in NUMBERS]
        assert answer(trial) == f"card {sum(numbers)}"
        assert len(on_table(trial, lambda kind: kind.category == "card")) >= 3  # there are other cards to be confused with


def test_a_category_a_colour_or_a_use_fits_one_thing_on_the_table_only():
    for trial in split("category").trials(43):
        noun = trial.task.sentence.split()[-1]
        assert on_table(trial, lambda kind, noun=noun: kind.category == noun) == [answer(trial)]
    for trial in split("colour").trials(139):
        colour, noun = trial.task.sentence.split()[-2:]
        fits = lambda kind, c=colour, n=noun: kind.colour == c and n in ("thing", kind.category)  # noqa: E731
        assert on_table(trial, fits) == [answer(trial)]
    for trial in split("use").trials(56):
        end = trial.task.sentence.split(" the thing to ")[1]
        uses = {end_: name for name, (_, end_) in USES.items()}
        edible = {"eat": ("fruit", "vegetable", "snack"), "drink": ("drink",)}
        if end in edible:
            assert on_table(trial, lambda kind, e=edible[end]: kind.category in e) == [answer(trial)]
        else:
            assert answer(trial) == uses[end]


def test_same_colour_means_the_one_whose_colour_is_that_of_the_named_thing():
    for trial in split("same colour").trials(182):
        match = re.search(r"the (plate|block|thing) of the same colour as the (.+)", trial.task.sentence)
        noun, like = match.groups()
        colour = KINDS[NAMES.index(like)].colour
        fits = [
            n
            for n in on_table(trial, lambda kind, c=colour: kind.colour == c)
            if n != like and noun in (*n.split(), "thing")
        ]
        assert fits == [answer(trial)] and KINDS[NAMES.index(answer(trial))].colour == colour


def test_negation_means_the_other_one_of_two():
    for trial in split("negation").trials(231):
        noun, no = re.search(r"the (\w+) that is not (.+)", trial.task.sentence).groups()
        kin = on_table(trial, lambda kind, noun=noun: kind.category == noun)
        wrong = [n for n in kin if n == no.removeprefix("the ") or n == f"{no} {noun}"]
        assert len(kin) == 2 and set(kin) - set(wrong) == {answer(trial)}


SPOKEN = {  # checked by hand, apart from the lists
    "recoge la manzana": ("pick", "apple"), "recoge el plátano": ("pick", "banana"),
    "recoge las tijeras": ("pick", "scissors"), "recoge la fruta amarilla": ("pick", "banana"),
    "recoge el bloque rojo": ("pick", "red block"), "mueve la esponja cerca del cuenco": ("move near", "bowl"),
    "pon la manzana en el plato azul": ("place into", "blue plate"), "nimm den apfel": ("pick", "apple"),
    "nimm die banane": ("pick", "banana"), "nimm den schwamm": ("pick", "sponge"),
    "nimm den roten klotz": ("pick", "red block"), "nimm die gelbe frucht": ("pick", "banana"),
    "bewege die coladose neben den löffel": ("move near", "spoon"), "nimm das rote getränk": ("pick", "coke can"),
    "lege den apfel auf den grünen teller": ("place into", "green plate"),
}  # fmt: skip


def test_spanish_and_german_sentences_are_what_a_speaker_would_say_and_mean_it():
    requests = {r.task.sentence: r.task for name in ("spanish", "german") for r in split(name).requests}
    for sentence, (skill, thing) in SPOKEN.items():
        task = requests[sentence]
        assert (task.skill, NAMES[task.goal if task.goal >= 0 else task.kind]) == (skill, thing)
    drawers = {s: (t.skill, t.drawer) for s, t in requests.items() if t.drawer >= 0}
    assert drawers["abre el cajón derecho"] == ("open drawer", 1)
    assert drawers["schließe die linke schublade"] == ("close drawer", 0)


def test_articles_and_endings_agree():
    assert [in_spanish(n, c) for n, c in (("block", "red"), ("fruit", "red"), ("thing", "green"))] == [
        "el bloque rojo", "la fruta roja", "la cosa verde"
    ]  # fmt: skip
    assert (
        in_german("plate", "red") == "der rote teller" and in_german("plate", "red", accusative=True) == "den roten teller"
    )
    assert in_german("drink", "blue", accusative=True) == "das blaue getränk" and in_german("grapes") == "die trauben"
    assert contracted("cerca de el plato") == "cerca del plato" and contracted("cerca de la taza") == "cerca de la taza"
    assert {noun.gender for noun in GERMAN.values()} == set("mfnp") and {n.gender for n in SPANISH.values()} == set("mfp")
    every = {kind.word for kind in KINDS}
    assert every <= SPANISH.keys() and every <= GERMAN.keys()


def test_what_is_the_same_word_in_english_is_in_no_foreign_set():
    assert not any("hammer" in sentence or "orange" in sentence.split() for sentence in split("german").sentences)
    assert any("martillo" in sentence for sentence in split("spanish").sentences)


def test_held_out_pairs_are_a_fifth_are_never_heard_in_training_and_use_words_known_in_both_places():
    pairs = [task for task in ALL_TASKS if task.skill in ("move near", "place into", "pick from")]
    out = [task for task in pairs if held_out(task)]
    assert 0.15 < len(out) / len(pairs) < 0.25 and len(training_tasks()) + len(out) == len(ALL_TASKS)
    assert not {task.sentence for task in out} & {task.sentence for task in training_tasks()}
    for skill in ("move near", "place into", "pick from"):
        kept = [task for task in training_tasks() if task.skill == skill]
        for place in ("kind", "goal", "drawer"):
            words = [{getattr(t, place) for t in tasks if t.skill == skill} for tasks in (pairs, kept)]
            assert words[0] == words[1]


def test_unseen_objects_are_in_that_split_only_and_only_the_backgrounds_split_has_held_out_table_tops():
    for name in NAMES_OF_SPLITS:
        for trial in split(name).trials(60):
            strange = set(trial.kinds) & set(UNSEEN)
            assert len(strange) == (name == "unseen objects") and (not strange or strange <= set(named(trial)))
            assert (trial.texture >= SEEN_TEXTURES) == (name == "backgrounds")


def test_distractors_grow_in_number_and_then_in_likeness():
    def look_alikes(name):
        count = 0
        for trial in split(name).trials(100, skills=("pick",)):
            target = KINDS[trial.task.kind]
            like = lambda k, t=target: k is not t and (k.category == t.category or k.colour == t.colour != "")  # noqa: E731
            count += len(on_table(trial, like))
        return count

    assert [split(f"distractors {level}").objects for level in ("easy", "medium", "hard")] == [4, 8, 8]
    assert look_alikes("distractors hard") > 1.5 * look_alikes("distractors medium")


def test_no_other_thing_on_the_table_has_the_name_that_the_robot_hears():
    for name in RT1_SPLITS:
        for trial in split(name).trials(80):
            words = [KINDS[NAMES.index(kind)].word for kind in trial.kinds]
            assert all(words.count(KINDS[NAMES.index(kind)].word) == 1 for kind in named(trial))


def test_a_phrase_picks_out_one_thing_or_none():
    the_fruit = next(p for p in phrases() if p.text == "the fruit")
    apple, pear, sponge = map(kind_index, ("apple", "pear", "sponge"))
    assert the_fruit.picks_out(apple, [sponge]) and not the_fruit.picks_out(apple, [pear])
    assert not the_fruit.picks_out(apple, [apple]) and not the_fruit.picks_out(sponge, [])
    other = Phrase("the fruit that is not the apple", "negation", frozenset({pear}), needs=frozenset({apple}))
    assert other.picks_out(pear, [apple]) and not other.picks_out(pear, [sponge])


def test_a_plan_is_the_robots_shortest_sentence():
    assert plan("pick", "apple") == "pick apple" and plan("open drawer", b="left drawer") == "open left drawer"
    assert plan("place into", "apple", "red plate") == "place apple onto red plate"
    assert plan("place into", "apple", "bowl") == "place apple into bowl"
    apple = next(p for p in phrases() if p.text == "the apple")
    assert instructions("pick", apple)[0] == "pick up the apple"
    assert instructions("open drawer", language="german", drawer=1) == ["öffne die rechte schublade"]


def test_an_unknown_split_suggests_near_names():
    with pytest.raises(ValueError, match="Did you mean 'spanish'"):
        split("spannish")
    with pytest.raises(ValueError, match="There are seen"):
        split("zzzz")

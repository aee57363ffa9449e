# %% [markdown]
# # Day 93 · 3: What the web gives a robot
#
# **After these 45 minutes you can** say what a vision-language model knew before it met a robot, and against which guess to
# hold that; show what it forgets when it learns only from the robot, and what co-fine-tuning keeps; and say, with
# intervals, which of that knowledge reaches the hands. Each experiment goes the same way: question, *your* prediction,
# measurement, what it means, what it does not.
#
# | time | memory | hardware |
# |---|---|---|
# | 45 minutes to work through; 2 minutes to run | 2 GB | a laptop's CPU |
#
# The room this notebook opens is `course_lib/classroom/experiments`. The short measurements run here. The long ones are read
# from `data/`, and one command each does them again, on all your cores or GPUs:
#
#     python -m course_lib.classroom.experiments transfer        (or ratio)

# %%
from pathlib import Path

import torch

from course_lib.classroom.experiments import arms, ratio, report, rows, transfer
from course_lib.learn import load_checkpoint
from course_lib.rt2 import RT2

torch.manual_seed(0)
DATA = Path("../../data")
done = {
    module.__name__.split(".")[-1]: arms.labelled(rows.rows_of(module.runs()), module.ARMS)
    for module in (transfer, ratio)
}
for module in (transfer, ratio):
    name = module.__name__.split(".")[-1]
    print(f"{name:<9}{len(done[name]):>3} of {len(module.runs()):>2} runs in data/: {module.TITLE}")

# %% [markdown]
# Where runs are missing, the cells below say so and show what there is.
#
# ## 1. What did it know before it met the robot?
#
# The tiny model learned from pictures and questions alone: names, colours, categories, uses, digits, sums, Spanish and
# German, and where things are, in PaliGemma's location tokens. No robot acts in any of it.
#
# **Question.** How many questions about *new* pictures does it answer, and how many would one answer without looking?
#
# > **Before you run.** More than one in four of these questions is "where is ...", with 256 possible places. What does it get
# > right by looking? What does one get who never looks, and always gives the commonest answer to the same question?

# %%
import csv

with (DATA / "rt2_web_answers.csv").open() as file:
    answers = list(csv.DictReader(file))
for row in answers:
    rate, low, high = (f"{float(row[k]):.0%}" for k in ("rate", "low", "high"))
    blind = f"   blind {float(row['blind']):.0%}" if row["blind"] else ""
    print(f"{row['group']:<6}{row['name']:<14}{rate:>5} [{low}, {high}], n = {row['n']:>4}{blind}")

# %% [markdown]
# Only questions that need the picture are counted. Ask it yourself: a new picture, and its own test questions.

# %%
from course_lib.classroom.web_training import web_pictures

vlm = load_checkpoint(DATA / "rt2_tiny_web.safetensors", RT2)
batch = web_pictures("test", batch=4, questions=6)(1000)
given = vlm.generate(batch["images"], batch["questions"])
for question, right, said in zip(batch["questions"][0], batch["answers"][0], given[0], strict=True):
    print(f"{question:<58} {said:<26}{'' if said == right else 'right: ' + right}")

# %%
from course_lib.classroom.plots import filmstrip

filmstrip(list(batch["images"].numpy()), "Four test pictures; the questions are about the first.")

# %% [markdown]
# ## 2. What does it forget?
#
# **Question.** The same model now learns the robot's actions. Does it still know what an apple is?
#
# > **Before you run.** 40 training steps, each on 16 pictures with 8 instructions. How many of the answers survive if all 40
# > are the robot's? And if every second one is from the web?

# %%
my_guess = {"robot-only": 0.5, "co-fine-tuned": 0.5}

# %%
from course_lib.classroom.web_training import exam
from course_lib.datasets import record
from course_lib.learn import Schedule, co_fine_tune

data = record(300, arms.tasks(), seed=123)
before = exam(vlm, 3).rate()
print("before:", before)
for name, share in {"robot-only": 0.0, "co-fine-tuned": 0.5}.items():
    policy = arms.beginning("web")
    mixture = arms.mixture(arms.Arm(web=share), data)
    co_fine_tune(policy, mixture, Schedule(steps=40, lr=1e-3, warmup=5), progress=False)
    print(f"{name}:", exam(policy, 3).rate(), "you guessed", my_guess[name])

# %% [markdown]
# Forty steps are enough to lose half of it. Nothing in the robot's loss asks for an answer in words, so nothing pulls the
# weights back that used to give one.
#
# The long runs say the same after a whole training:

# %%
for row in done["transfer"]:
    web = {name: f"{kept['right'] / kept['n']:.0%}" for name, kept in row["result"]["web"].items()}
    print(f"{row['run']['arm']:<34} seed {row['run']['seed']}: right afterwards {web}")
if not done["transfer"]:
    print(report.NOTHING)

# %% [markdown]
# ## 3. Does knowledge reach the hands?
#
# **Question.** No robot instruction ever said "fruit", "the yellow thing" or "recoge". The web taught what these mean. Will
# the robot go to the right thing?
#
# *Seen* tasks and *unseen combinations* are in the robot's own words. The nine emergent sets are not: no phrase, colour,
# number, category or foreign word of them occurs in any of the robot's instructions (`tests/test_splits.py` holds that).
#
# > **Before you run.** Four things lie on a table; one who goes to any of them is right in about a quarter of the cases. For
# > each row, guess the success on the emergent sets: from scratch, robot-only, co-fine-tuned, with a plan.

# %%
my_table = dict.fromkeys(transfer.ARMS, 0.25)

# %%
report.rates_figure(
    done["transfer"], "arm", "Success in the robot's own words", ("seen", "unseen combinations")
)

# %%
from course_lib.measure import wilson

for name in transfer.ARMS:
    some = [arms.emergent(row) for row in done["transfer"] if row["run"]["arm"] == name]
    if some:
        rate = wilson(*(sum(column) for column in zip(*some, strict=True)))
        print(f"{name:<34} all emergent sets: {rate}; you guessed {my_table[name]:.0%}")
print("" if done["transfer"] else report.NOTHING)

# %%
print(report.rates(done["transfer"], "arm", arms.SETS[2:]))

# %% [markdown]
# **The paper's numbers.** RT-2's emergent table (Table 5) rests on 190 runs a model: RT-1 17% (about 34 of 190), RT-2-PaLI-X
# 60% (109), RT-2-PaLM-E 40% (76). On *seen* tasks RT-2 does not beat RT-1 (91 to 93% against 92%): the gain is elsewhere.
# And co-fine-tuning against fine-tuning, on unseen things, backgrounds and rooms (Table 6), is +2 points at 5B (44 against
# 42) and +11 at 55B (63 against 52).
#
# **Limits.** Our web and our robot look at the same drawings; the real web shows no robot's table. Our model has 2 million
# parameters, not 55 billion, and a vocabulary of some 300 words: there is nothing to be emergent *from* but what you can
# read in `course_lib/datasets/questions.py`. That is also the point: here you can know what was taught, and where.
#
# ## 4. How much web?
#
# **Question.** RT-2's robot data made up about half (PaLI-X) or two thirds (PaLM-E) of the mixture. What if it is more, or
# less? All arms take the same number of *robot* steps; the web's come on top.

# %%
report.rates_figure(done["ratio"], "arm", "The web's share", ("seen", "colour"))

# %%
for row in done["ratio"]:
    (won, n), web = arms.emergent(row), row["result"]["web"]["all"]
    share = f"emergent {wilson(won, n).rate:.0%}, web answers {web['right'] / web['n']:.0%}"
    print(f"{row['run']['arm']:<24} seed {row['run']['seed']}: {share}")
if not done["ratio"]:
    print(report.NOTHING)

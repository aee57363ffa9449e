# %% [markdown]
# # The world: a table, eight skills, and honest tests
#
# **After this page you know** what the robot of this course can do, what its data shows and leaves out, which test sets
# exist, and how to bring data of your own.
#
# | time | memory | hardware |
# |---|---|---|
# | 10 minutes to read; under a minute to run | 1 GB | any CPU |
#
# The rooms this page opens are `course_lib/world` and `course_lib/datasets`.

# %%
import csv
from pathlib import Path

import gymnasium
from IPython.display import HTML, Markdown

from course_lib.measure import rollout, success_rate
from course_lib.world import ExpertPolicy, known_instructions

DATA = Path("../data")


def table(path, columns):
    with path.open() as file:
        rows = list(csv.DictReader(file))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return Markdown(
        "\n".join([*lines, *("| " + " | ".join(row[c] for c in columns) + " |" for row in rows)])
    )


# %% [markdown]
# ## Eight skills
#
# RT-1's robot was taught eight kinds of tasks, and ours is taught the same eight. Each row is one episode of the scripted
# expert, which may look at the true positions; a model only gets the pictures and the sentence.

# %%
from course_lib.classroom.film_export import sheet_html
from course_lib.classroom.world_card import skill_films

sheet_html(skill_films(size=96), columns=8, rows=8)

# %% [markdown]
# What is true here and what is not: the gripper grasps, carries, drops and pushes; a pushed can topples; things slide into
# drawers, lie in bowls and on plates, and ride along. Height is visible as a shadow, a shift up the picture and a larger
# drawing. There is no weight, no friction and no rolling: this is a kinematic world, made to be fast and to test what a
# policy *understands*.
#
# The robot hears a small grammar, with several phrasings of each task:

# %%
sentences = known_instructions()
print(len(sentences), "sentences, for example:")
print("\n".join("  " + sentence for sentence in sentences[:: len(sentences) // 8]))

# %% [markdown]
# Can it be done at all? The experts' success, per skill and number of objects, with 95 % intervals
# (`data/world_experts.csv`). Chains are two to four instructions, one after another.

# %%
table(
    DATA / "world_experts.csv",
    ["skill", "objects", "n", "successes", "rate", "low", "high", "median_steps"],
)

# %% [markdown]
# Try it: 100 tables at once, all skills mixed.

# %%
tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=100)
print("expert:", success_rate(rollout(ExpertPolicy(tables), tables, 100, seed=3)))

# %% [markdown]
# ## Test sets with names
#
# Generalisation is a claim about a *difference* between training and test, so each test set says what differs. The first
# seven follow RT-1's evaluation, the others RT-2's emergent skills.

# %%
from course_lib.world.splits import NAMES_OF_SPLITS, split

rows = ["| split | sentences | for example | objects |", "|---|---|---|---|"]
for name in NAMES_OF_SPLITS:
    one = split(name)
    trial = one.trials(3)[2]
    rows.append(f"| {name} | {len(one.sentences)} | {trial.task.sentence} | {len(trial.kinds)} |")
Markdown("\n".join(rows))

# %% [markdown]
# The hard sets, looked at: for each, a table and what the robot hears.

# %%
import matplotlib.pyplot as plt

from course_lib.classroom.plots import still_html
from course_lib.world.env import options_of

shown = ["distractors hard", "backgrounds", "unseen objects", "symbols", "same colour", "spanish"]
trials = [split(name).trials(3)[2] for name in shown]
env = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=len(shown), size=96)
observation, _ = env.reset(seed=5, options=options_of(trials))
figure, axes = plt.subplots(2, 3, figsize=(9, 6.6))
heard = observation["instruction"]
for axis, name, picture, words in zip(axes.flat, shown, observation["image"], heard, strict=True):
    axis.imshow(picture)
    axis.set_title(f"{name}:\n{words}", fontsize=9)
    axis.set_axis_off()
plt.close(figure)
HTML(still_html(figure, "Six tables of test sets: " + "; ".join(heard), "course-splits"))

# %% [markdown]
# ## What the data knows, and from where
#
# The robot's instructions never contain a colour, a category, a number or a foreign word (but where a thing's own name is
# one: block, plate, card, orange): it is told *block* whichever colour the block has. These concepts occur in the *web data* only: pictures from the same renderer with questions and
# answers, and never an action. So if a policy follows "move the sponge to the red plate", it has put two sources together.
# A test proves that no such phrase leaks, and this card counts every concept on both sides (`data/concepts.csv`).

# %%
with (DATA / "concepts.csv").open() as file:
    heading, *card = csv.reader(file)
short = [row for row in card if row[0] in ("colour", "category", "language", "emergent set")]
Markdown(
    "\n".join("| " + " | ".join(row) + " |" for row in [heading, ["---"] * len(heading), *short])
)

# %% [markdown]
# ## How fast
#
# Episodes are kept as states (about 160 bytes a frame) and drawn when a batch needs them. On two cores
# (`data/world_speed_cpu.csv`; `python -m course_lib.world.bench` measures your machine):

# %%
table(DATA / "world_speed_cpu.csv", ["what", "median", "lowest", "highest", "unit"])

# %% [markdown]
# ## Your own data and your own world
#
# `datasets.lerobot` writes episodes in the LeRobot layout (parquet files with pictures, the form in which real RT-1 data
# is published) and reads such folders, so that real robot data can be used for training. `world.adapter` turns any
# Gymnasium environment with pictures and `Box` actions into a world of this course.

# %%
from course_lib.datasets import record

episodes = record(20, seed=1)
print(len(episodes), "episodes,", episodes.frames, "frames,", episodes.states.nbytes, "bytes")

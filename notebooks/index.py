# %% [markdown]
# # Robotics Transformers: a hands-on workbook for RT-1 and RT-2
#
# You build the parts of RT-1, compare each with the published system number for number, and watch your layers drive a
# simulated robot. Then you see a model that talks about pictures come to speak actions: RT-2. Everything runs on a laptop's
# CPU; nothing is downloaded while you work. (Still being built: an RT-2 that drives well, and Day 93's experiments with it.)
#
# ## Day 92: RT-1
#
# | notebook | time | what you can do afterwards |
# |---|---|---|
# | [The world](world.ipynb) | 10 min | say what the robot can do, what its data shows, and which tests are fair |
# | [1 · Theory](day92_rt1/1_theory.ipynb) | 45 min | follow a picture and a sentence through RT-1, and say what it cannot say |
# | [2 · Implementation](day92_rt1/2_implementation.ipynb) | 60 min | build FiLM, TokenLearner and action tokens, drive the robot with a sentence |
# | [3 · Experiments](day92_rt1/3_experiments.ipynb) | 45 min | put numbers on attention, data, decoding and FiLM, and say how sure you are |
# | [Exercises](../exercises/day92_rt1/exercises.ipynb) | 45 min | write FiLM, TokenLearner, the bins and the mask, with checks that tell you what is wrong; read attention maps |
#
# ## Day 93: RT-2
#
# | notebook | time | what you can do afterwards |
# |---|---|---|
# | [1 · Theory](day93_rt2/1_theory.ipynb) | 45 min | say how a model that talks about pictures comes to speak actions, what it costs, and what it forgets |
# | [2 · Implementation](day93_rt2/2_implementation.ipynb) | 60 min | build PaliGemma and RT-2's loss from parts, and find seven bugs that look like working code |
# | [4 · Deployment](day93_rt2/4_deployment.ipynb) | 45 min | time a model so that the number means something, and make it fit the control loop |
# | [Exercises](../exercises/day93_rt2/exercises.ipynb) | 45 min | read RT-2's action strings, draw its mask, write with a cache, and test it with sentences of your own |
#
# ## How to work
#
# Run the cells from top to bottom with Shift + Enter. Each notebook begins with the time, the memory and the hardware it
# needs. Change anything: the notebooks are yours, and `git checkout notebooks` brings the originals back. Do the exercises in
# your own copies, in the folder `my_exercises`: `make lab` has put them there, and an update of the course never touches them.
#
# For instructors: [Running the course](running_the_course.ipynb).
#
# If this cell prints a line without an error, your installation works:

# %%
import gymnasium
import torch

from course_lib.world import known_instructions

env = gymnasium.make("course_lib/Tabletop-v0")
observation, _ = env.reset(seed=0)
device = "a GPU" if torch.cuda.is_available() else "the CPU"
print(f"Ready on {device}: the robot knows {len(known_instructions())} sentences.")

# %% [markdown]
# # Running the course: machines, hubs, and what the full size costs
#
# For instructors and labs. **After this page you know** what each part of the course needs and where it runs; how to put it
# on a JupyterHub, and what Binder cannot do; the commands for several GPUs and machines; and what training RT-1 and a
# 3-billion RT-2 at full size would cost, by a calculation that you check against your own machine.
#
# | time | memory | hardware |
# |---|---|---|
# | 15 minutes to read; about 1 minute to run | 2 GB | any |
#
# Handing out and grading have [a page of their own](../course_lib/grading/GUIDE.md).

# %%
import json
from pathlib import Path

from IPython.display import Markdown


def table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


# %% [markdown]
# ## What each part needs
#
# What a learner runs, as the head of each notebook says it, and for the exercises the README. No part needs a GPU: longer
# trainings ship with their results.

# %%
HEAD = "| time | memory | hardware |\n|---|---|---|\n|"


def needs(path):
    first = "".join(json.loads(path.read_text())["cells"][0]["source"])
    said = first.partition(HEAD)[2].partition("\n")[0]
    return said and [path.parent.name, path.stem, *said.strip(" |").split(" | ")]


# %%
pages = [p for p in sorted(Path().rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
lines = [line.strip("| ").split(" | ") for line in Path("../README.md").read_text().splitlines()]
exercises = [line for line in lines if line[0].startswith("[Day") and "Exercises" in line[0]]
rows = [*filter(None, map(needs, pages))]
rows += [
    ["", name.strip("[").partition("]")[0], f"{minutes} minutes", *rest]
    for name, _, minutes, *rest in exercises
]
table(["day", "notebook", "time", "memory", "hardware"], rows)

# %% [markdown]
# What was trained and measured for it, and what that took (`data/MANIFEST.json`). You need these commands only to make a
# file again. The machine was not idle, so a quiet one is faster.

# %%
made = json.loads(Path("../data/MANIFEST.json").read_text())
jobs = {}
for name, row in made.items():
    jobs.setdefault(row["command"], (row, []))[1].append(name)
rows = [
    [", ".join(files), f"{row['seconds'] / 60:.0f}", row["hardware"], f"`{command}`"]
    for command, (row, files) in jobs.items()
]
table(["files in data/", "minutes", "on", "command"], rows)

# %% [markdown]
# ## A laptop
#
# `make lab`, as in the [README](../README.md): git, make, Python 3.11, and about 6 GB of disk for the environment (most of it
# is torch with its GPU libraries). A GPU is used where a policy is put on one, and missed nowhere.
#
# ## A JupyterHub
#
# One environment for all, which nobody can write to; one copy of the course for each learner, at the same path in each
# home. `PYTHONPATH` joins the two, so no learner installs anything.
#
# **The image**: your hub's base image with Python 3.11 or 3.12, and in it
#
# ```
# pip install --no-cache-dir -r requirements.txt        # the course's lock, JupyterLab included
# ```
#
# Its largest part is torch; on a hub without GPUs take PyTorch's CPU build of the same version.
#
# **The copy**: what learners may see, about 17 MB, made by you and put into the image as `/opt/course.tar`:
#
# ```
# git archive -o course.tar HEAD ':!solutions' ':!tests'
# ```
#
# and unpacked whenever a server starts. What a learner changed since the release stays; a newer release replaces it in
# `notebooks/`, and never touches `my_exercises/`, where learners write:
#
# ```
# mkdir -p ~/course && cd ~/course && tar -x --keep-newer-files --warning=no-ignore-newer -f /opt/course.tar
# python -m course_lib.grading.handouts                   # makes my_exercises/, or says what is new in it
# ```
#
# **The limits**, for Zero to JupyterHub's `config.yaml` (elsewhere `c.Spawner.mem_limit` and `.cpu_limit`). Each open
# notebook is a kernel of its own, and needs what the table above says at most (measured: Day 92's theory 1.15 GB); 4 GB are
# two notebooks and JupyterLab. A container's limit on cores is not seen by torch, which would start a thread for each core
# of the host: `OMP_NUM_THREADS` tells it.
#
# ```yaml
# singleuser:
#   memory: {guarantee: 2G, limit: 4G}
#   cpu: {guarantee: 0.5, limit: 2}
#   extraEnv: {PYTHONPATH: /home/jovyan/course, OMP_NUM_THREADS: "2"}
# ```
#
# **Grading** belongs on a machine that you control, not into a learner's server: it needs `bubblewrap`, which needs user
# namespaces, and containers usually may not make any. `bwrap --ro-bind / / --unshare-all true && echo fine` says whether
# yours can; grading refuses to start without. Hand-ins are files in the homes; bring them to where the guide expects them:
#
# ```
# for home in /homes/*; do
#   install -D "$home/course/my_exercises/day92_rt1/exercises.ipynb" "submissions/$(basename "$home")/exercises.ipynb"
# done
# ```
#
# *Tried*: the copy, `PYTHONPATH` before a shared environment, the hand-out, and a lesson run there. *Not tried*: an image on
# a real hub.
#
# ## Binder
#
# [repo2docker](https://repo2docker.readthedocs.io) reads `environment.yml`, and no other file of ours. Its pip section names
# local files (`-r requirements.txt`, `-e .`), so repo2docker copies the project into the image before it installs. *Tried*:
# `jupyter-repo2docker --no-build --no-run --debug .` (version 2026.4) takes Python 3.11 and writes that Dockerfile. *Not
# tried*: building it. Open it with `?urlpath=lab/tree/notebooks/index.ipynb`, then `python -m course_lib.grading.handouts` in
# a terminal for `my_exercises/`.
#
# mybinder.org [promises](https://mybinder.readthedocs.io/en/latest/about/user-guidelines.html) 1 GB of memory and restarts a
# kernel above 2 GB; ends a session after 10 minutes without activity, and after six hours or one CPU-hour of hard work; and
# lets 100 people in at a time. So Binder is for a look: one notebook at a time, no GPU, no training, nothing kept, no
# grading. It also shows everyone the solutions. For a class take a hub.
#
# ## Several GPUs, several machines
#
# **One training over several processes.** `behaviour_clone`, `co_fine_tune` and `distill` notice that torchrun started them.
# They share each batch, so the result is that of one process; a killed worker comes back from the last save. A whole script:

# %%
import os
import sys

SCRIPT = """
import os, sys, torch
from course_lib.classroom.recipes import rt1_tiny_batches
from course_lib.learn import Schedule, behaviour_clone, save_checkpoint
from course_lib.learn.team import device
from course_lib.rt1 import RT1, RT1Config

episodes, steps, state, result = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
torch.manual_seed(0)
policy = RT1(RT1Config.tiny()).to(device())
history = behaviour_clone(policy, rt1_tiny_batches(episodes), Schedule(steps), resume=state)
if history.finished and os.environ.get("RANK", "0") == "0":
    save_checkpoint(policy, result)
"""

# %% [markdown]
# Saved as `my_training.py`, on one machine with four GPUs, and on two such machines (the same line on both; `HOST` is one of
# them, and `runs/` a folder that both see):
#
# ```
# torchrun --nproc-per-node 4 --max-restarts 3 my_training.py 40000 11000 runs/my.state runs/my.safetensors
# torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id rt1 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \
#     my_training.py 40000 11000 runs/my.state runs/my.safetensors
# ```
#
# Here two processes do two steps of it, without GPUs:

# %%
import subprocess
import tempfile

with tempfile.TemporaryDirectory() as folder:
    script, *files = (Path(folder, name) for name in ("my_training.py", "state", "rt1.safetensors"))
    script.write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*run, script, "50", "2", *files], env=hidden, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"two processes, one policy: {files[1].name}, {files[1].stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# **Many trainings, side by side.** The experiments behind the lessons are dozens of runs. On one machine each GPU (or core)
# takes the next; over Dask so do the workers of other machines. Stopped or killed, the same command goes on.
#
# ```
# python -m course_lib.classroom.experiments                                     # what there is, and how far
# python -m course_lib.classroom.experiments scaling --workers 4                 # one machine
#
# pip install -e '.[fan-out]'                                                    # several: on each of them
# dask scheduler                                                                 # on one, called HOST
# CUDA_VISIBLE_DEVICES=0 dask worker tcp://HOST:8786 --nthreads 1                # on the others, one for each GPU
# python -m course_lib.classroom.experiments scaling --scheduler tcp://HOST:8786
# ```
#
# Dask runs whatever it is sent: use it in a network that you trust, with the same version of the course everywhere.
#
# ## What the full size costs
#
# The course's models are small; its code is not. `RT1Config.paper()` and PaliGemma's 3 billion are the same classes, and
# both count the operations and bytes of their layers from the configuration alone. So the price of a full-size run can be
# calculated. What you know better than this page is yours to change:

# %%
from course_lib.measure.speed import Machine

# NVIDIA's datasheet of an A100 80 GB SXM: dense bf16 operations and bytes per second
gpu = Machine("cuda", "A100 80 GB", 0, "", {"bf16": 312e12}, 2.039e12)
UTILISATION = 0.4  # the part of that a run reaches; measure yours, as at the end of this page
PRICE = 1.0  # of one GPU-hour, in your money. 1.0 is no price: the money is then the hours

# %% [markdown]
# **Forward and backward.** An answer costs one forward pass. To learn, each layer also computes two gradients, and each
# takes as many operations as its forward pass: one for its weights, one to hand to the layer below. So training costs
# **3 × forward**; a frozen layer above a learning one 2 ×, because a gradient must still pass through; a frozen layer below
# all that learn 1 ×. That is `course_lib/measure/training_cost.py`. First RT-1, part by part, for one window of six frames:

# %%
from course_lib.costs import Cost
from course_lib.measure.training_cost import hours, lora_cost, lora_weights, memory, step_cost
from course_lib.rt1 import RT1Config
from course_lib.rt1.cost import rt1_cost, rt1_window_cost

paper = RT1Config.paper()
window = rt1_window_cost(paper, activation_bytes=2)  # weights in float32, activations in bfloat16
act, share = rt1_cost(paper), sum(part.flops for part in window.values())
rows = [
    [name, f"{act[name].flops / 1e9:.2f}", f"{part.flops / 1e9:.2f}", f"{part.flops / share:.0%}"]
    for name, part in window.items()
]
table(["part", "GFLOP in a control step", "in a training window, forward", "share"], rows)

# %% [markdown]
# Published: about 130,000 episodes, six frames, and the 424,760 steps in the released checkpoint's name. **Not published**:
# the batch size, the number of epochs, the hardware, and how long those episodes are. The public part of the data (87,212
# episodes) has 43.4 steps an episode; we take that for all, and every step as the end of one window.

# %%
EPISODES, STEPS_OF_AN_EPISODE = 130_000, 43.4
BATCH = 256  # yours to choose: RT-1's is not known

whole = sum(window.values(), Cost(0, 0, 0))
rt1_step = step_cost(BATCH, whole)
rows = []
for name, windows in (
    ("one epoch", EPISODES * STEPS_OF_AN_EPISODE),
    ("424,760 steps", 424_760 * BATCH),
):
    needed = hours(rt1_step, windows / BATCH, gpu, utilisation=UTILISATION)
    flops = windows / BATCH * rt1_step.flops
    counts = f"{windows / 1e6:.1f} M", f"{6 * windows / 1e6:.0f} M", f"{flops:.1e}"
    rows.append([name, *counts, f"{needed:,.1f}", f"{needed * PRICE:,.1f}"])
table(["", "windows", "frames", "operations", f"hours of one {gpu.name}", "price"], rows)

# %% [markdown]
# Which of the two limits is it? RT-1's eyes are an EfficientNet: few operations for each number that they read and write. So
# it is not the arithmetic that takes the time:

# %%
computing, moving = rt1_step.flops / gpu.flops["bf16"], rt1_step.bytes / gpu.bandwidth
print(f"a step of {BATCH} windows: at least {1000 * computing:.0f} ms of computing")
print(f"                         and {1000 * moving:.0f} ms of reading and writing")

# %% [markdown]
# **RT-2 with 3 billion weights.** The networks of RT-2 are not public, so this is PaliGemma's 3B at 224 pixels. Batch and
# steps are those that RT-2's paper gives for its own 3B, PaLI-3B: 128 and 300,000 (on Language-Table, in simulation). In
# co-fine-tuning a row is a robot's or a web question; 256 of its tokens are the picture, so both cost nearly the same. The
# prompt's length is yours. We compare three ways: all weights learn, as in RT-2; only the decoder's last six layers
# (`co_fine_tune(last_layers=6)`); and LoRA (Hu et al. 2021), new numbers beside all of the decoder's matrices, which rest
# (`learn.lora.add_lora`).

# %%
import torch

from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.cost import rt2_row_cost

PROMPT, ANSWER, ROWS, STEPS, RANK = 16, 9, 128, 300_000, 16  # an answer: 8 action tokens and <eos>

big = PaliGemmaConfig.pt_224()
row = rt2_row_cost(big, prompt=PROMPT, answer=ANSWER, activation_bytes=2)
with torch.device("meta"):  # shapes without numbers: nothing is allocated
    vlm = PaliGemma(big)
layers = vlm.language.layers
shapes = [(m.in_features, m.out_features) for m in layers.modules() if hasattr(m, "in_features")]
count, few = (sum(p.numel() for p in part.parameters()) for part in (vlm, layers[-6:]))


# %%
def part(cost, of):
    return Cost(*(round(of * n) for n in (cost.flops, cost.weights, cost.activations)))


eyes, decoder, head = row["encoder"], row["decoder"], row["head"]
last, below = (part(decoder, n / big.language.layers) for n in (6, big.language.layers - 6))
read = big.vision.image_tokens + PROMPT + ANSWER - 1  # tokens of a row
lora, adapters = lora_cost(shapes, RANK, read), lora_weights(shapes, RANK)
ways = {  # what learns, what a gradient passes through, what lies below all that learns
    "all weights": (count, step_cost(ROWS, eyes + decoder + head)),
    "the last 6 layers": (few, step_cost(ROWS, last, passed=head, frozen=eyes + below)),
    f"LoRA, rank {RANK}": (adapters, step_cost(ROWS, lora, passed=decoder + head, frozen=eyes)),
}

# %% [markdown]
# Memory is what is held all the time: weights, gradients and AdamW's two moments. Each weight that learns in float32 takes
# 4 + 4 + 8 = 16 bytes, a frozen one in bfloat16 only 2. Activations come on top; they grow with the batch. This course's
# loop keeps float32 weights (`Schedule(bf16=True)` only multiplies in bfloat16): the first column of memory.

# %%
rows = []
for name, (learn, step) in ways.items():
    needed = hours(step, STEPS, gpu, utilisation=UTILISATION)
    held = [
        memory(learn, (count if "LoRA" in name else count - learn), trained_bytes=a, frozen_bytes=b)
        for a, b in ((4, 4), (4, 2), (2, 2))
    ]
    sizes = [f"{one.total / 1e9:.1f}" for one in held]
    rows.append([name, f"{learn / 1e6:,.0f} M", *sizes, f"{needed:,.0f}", f"{needed * PRICE:,.0f}"])
columns = ["3B", "learn", "GB, all float32", "GB, frozen bf16", "GB, all bf16"]
table([*columns, f"hours of one {gpu.name}", "price"], rows)

# %% [markdown]
# Freezing and LoRA save memory first: gradients and moments of what does not learn. Of the decoder's *time* LoRA saves a
# third at most, the gradients of its frozen weights: one still passes through all of it. The eyes, frozen below, cost a
# third of what they did. (Pure bfloat16 training loses small updates to rounding: a floor of memory, not advice.)
#
# ## Is the calculation right?
#
# **The operations**: torch can count them while it runs, and needs no numbers for it, only shapes. Both models at full size,
# forward. Backward is compared in `tests/test_training_cost.py`, on small ones, and agrees to the last operation, with the
# gradients that pictures and sentences do not need taken off.

# %%
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.rt1 import RT1

with torch.device("meta"), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
    rt1 = RT1(paper).eval()
    frames, words = torch.rand(6, 3, 256, 320), torch.rand(6, 512)
    with FlopCounterMode(display=False) as counter:
        tokens = rt1.token_learner(rt1.encoder(frames, words))
        rt1.decoder(tokens[None])
print(f"RT-1 window: torch counts {counter.get_total_flops():,}, we {whole.flops:,}")

# %%
with torch.device("meta"), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
    said = torch.zeros(1, PROMPT + ANSWER - 1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        states = vlm.states(torch.rand(1, 3, 224, 224), said, said > 0, None)
        vlm.language.logits(states[:, -ANSWER:])
total = (eyes + decoder + head).flops
print(f"RT-2 row: torch counts {counter.get_total_flops():,}, we {total:,}")

# %% [markdown]
# **The time** is where the guess is: `UTILISATION`. So measure it. The next cells probe this machine (its best large matrix
# product, its best large copy), then train the tiny models for a few steps with the course's own loop. What counts is the
# *part* of the roofline that they reach: the longer of computing and moving, divided by the time it took.
#
# Others may want this machine too, and then seconds on the wall say little. So all of it happens on one core, and the clock
# counts what this process computes and not how long it waits (`time.process_time`). On a GPU use the wall clock.

# %%
import time
from itertools import pairwise
from statistics import median

from course_lib.learn import Schedule, behaviour_clone
from course_lib.measure.speed import best_of, probe

torch.set_num_threads(1)
here = best_of(*(probe(clock=time.process_time) for _ in range(2)))


# %%
def seconds_of_a_step(policy, batch, steps=6):
    times = []
    tick = lambda step, loss: times.append([time.process_time(), time.perf_counter()])
    behaviour_clone(policy, lambda step: batch, Schedule(steps), progress=False, on_step=tick)
    return [median(b - a for a, b in pairwise(column)) for column in zip(*times, strict=True)]


# %%
from course_lib.classroom.recipes import RT1_TINY_BATCH
from course_lib.classroom.web_training import new_vlm

tiny, small, n = RT1Config.tiny(), new_vlm(), 32
fed = {
    "images": torch.randint(256, (n, 64, 64, 3), dtype=torch.uint8),
    "instructions": ["pick up the apple"] * n,
    "actions": torch.zeros(n, 11),
}
rows = small.rows(fed)  # tokens and marks (32, 1, length), the same for all
answer = int(rows.answer[0, 0].sum())
prompt = rows.tokens.shape[-1] - answer
one_row = rt2_row_cost(small.vlm.config, prompt=prompt, answer=answer, activation_bytes=2)
one_window, size = rt1_window_cost(tiny, activation_bytes=2), RT1_TINY_BATCH

# %%
from course_lib.measure.training_cost import utilisation


def measure(name, policy, batch, size, parts):
    step = step_cost(size, sum(parts.values(), Cost(0, 0, 0)))
    took[name], wall = seconds_of_a_step(policy, batch)
    reached = utilisation(step, took[name], here)
    assert 0.001 < reached < 3, (name, reached)
    counts = f"{step.flops / 1e9:.1f}", f"{1000 * took[name]:.0f}", f"{1000 * wall:.0f}"
    rates = f"{step.flops / took[name] / 1e9:.0f}", f"{reached:.0%}"
    return [name, *counts, *rates, f"{UTILISATION / reached:.1f} ×"]


# %%
took = {}
rows = [
    measure("RT-1 tiny", RT1(tiny), tiny.fake_batch(size), size, one_window),
    measure("RT-2 tiny", small, fed, n, one_row),
]
rates = f"{here.flops['bf16'] / 1e9:.0f} GFLOP/s in bf16, {here.bandwidth / 1e9:.0f} GB/s"
print(f"one core of {here.name}: {rates}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
columns = ["", "GFLOP a step", "ms", "ms on the wall", "GFLOP/s", "of the roofline"]
table([*columns, f"slower than at {UTILISATION:.0%}"], rows)

# %% [markdown]
# The last column says how far off an estimate with the guess above is *here*, for networks this small: what the count
# leaves out is a few percent of the operations, but not of the time, and the smaller a step, the more it weighs. The
# guess is that of large language models on accelerators (PaLM reached 46% of its TPUs' arithmetic: Chowdhery et al.
# 2022). For RT-1 at full size, which reads and writes more than it computes, nobody has published one. So measure it on
# your GPU before you ask for a month of it: `RT1(paper).cuda()`, a batch of `paper.fake_batch(...)`, and
# `probe("cuda")` in these same cells.
#
# One more check, of the whole chain: this machine's seconds for a step, times the steps of the shipped RT-1 tiny, against
# what was written down when it was trained. (A training that was interrupted wrote down only its last part.)

# %%
from course_lib.classroom.recipes import RT1_TINY_SCHEDULE

recorded = made["rt1_tiny.safetensors"]
predicted = RT1_TINY_SCHEDULE.steps * took["RT-1 tiny"]
print(f"predicted {predicted / 60:.0f} minutes of one core here, for the network alone")
print(f"recorded {recorded['seconds'] / 60:.0f} minutes on {recorded['hardware']},")
print("with drawing the pictures, saving, and 4,200 test episodes")
print(f"recorded / predicted = {recorded['seconds'] / predicted:.2f}")

# %% [markdown]
# And what this page itself needed, kernel only; JupyterLab comes on top:

# %%
import resource

unit = 1 if sys.platform == "darwin" else 1024
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(f"{most / 1e9:.2f} GB at most")

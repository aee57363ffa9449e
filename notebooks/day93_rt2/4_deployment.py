# %% [markdown]
# # Day 93 · 4: Fast enough to move
#
# **After these 45 minutes you can** say what a control loop asks of a network; time a model so that the number means
# something, and hold it against the floor that bytes and operations set; answer "how many times slower is token by token?"
# for your own machine; say what int8, int4 and pruning cost and what they bring; write the loss by which a large model teaches
# a small one, and find four mistakes in one that is copied often; and spread the work over several machines.
#
# | time | memory | hardware |
# |---|---|---|
# | 45 minutes to work through; about 2 minutes to run | 2 GB | a laptop's CPU |
#
# The rooms this notebook opens are `course_lib/measure` (it only looks) and `course_lib/learn` (it changes weights).
# **Before you run** asks for a guess, **Spot it** shows something you can read that is not so. *RT-1* is Brohan et al. 2022
# ([arXiv 2212.06817](https://arxiv.org/abs/2212.06817)), *RT-2* Brohan et al. 2023
# ([arXiv 2307.15818](https://arxiv.org/abs/2307.15818)), *OpenVLA* Kim et al. 2024
# ([arXiv 2406.09246](https://arxiv.org/abs/2406.09246)). All else is measured here, while you watch.

# %%
from pathlib import Path

import torch
import torch.nn.functional as F

from course_lib.classroom.plots_rt1 import show
from course_lib.classroom.speed_lab import rt1_group, rt2_group
from course_lib.learn import bytes_of, soft_loss
from course_lib.measure import wilson
from course_lib.measure.lab import hertz, lab_table, machine_card, time_groups
from course_lib.measure.speed import best_of, probe

torch.manual_seed(0)
DATA = Path("../../data")

# %% [markdown]
# ## 1. What the control loop asks
#
# A robot at 3 Hz gets a picture every 333 ms. RT-1 gives its network under 100 ms of that and waits a fixed 280 ms from
# picture to action, so that every action comes equally late (*RT-1*, Appendix C.1).
#
# | model | answers per second | the network's time |
# |---|---|---|
# | RT-1, 35M weights | 3 | 15 ms |
# | RT-1, its numbers one after the other | – | 36 ms |
# | RT-2-PaLI-X 5B | about 5 | – |
# | RT-2-PaLI-X 55B | 1 to 3 | – |
# | RT-2-PaLM-E 12B | not reported | – |
#
# (*RT-1*, Table 13; *RT-2*, section 3.3. RT-2 ran on several TPUs in a cloud service, asked over the network.) So there are three
# lines to cross: **1, 3 and 5 Hz**.
#
# > **Spot it.** "RT-1 runs at 5 Hz, RT-2-PaLI at 1 Hz, RT-2-PaLM-E at 0.2 Hz." RT-1: 3. The 5 belong to PaLI-X 5B, the 1 to 3 to
# > the 55B, and for PaLM-E no rate was published. 0.2 is nobody's measurement.
#
# > **Before you run.** RT-1's network needs 15 ms. Why not drive at 1000 / 15 = 67 Hz? And what would 280 ms of waiting allow
# > at most, if the next picture were taken only after the action?

# %% tags=["nbval-check-output"]
print(f"by the network alone: {1000 / 15:.0f} Hz; one after the other: {1000 / 280:.1f} Hz")

# %% [markdown]
# How *often* and how *late* are two numbers. 3 Hz needs both: a network that is done, and a camera, a network cable and an arm
# that are done too. In this notebook we measure the network.
#
# ## 2. The lab
#
# A time that means something needs: a few calls before the clock starts (caches fill); all candidates **in turns**, so that a
# busy second hits all alike; the median of several rounds, and its quartiles; and on a GPU the GPU's clock, after all work is
# done. That is `course_lib.measure.speed`, in 300 lines. First, the machine: how fast are arithmetic and memory here?

# %%
here = best_of(probe("cpu"), probe("cpu"))
print(machine_card(here))

# %% [markdown]
# Two small models. RT-1 reads one picture and makes 11 numbers: in parallel, or one after the other. RT-2 reads picture and
# prompt (*one pass*; its last position gives the first token) and then sends every further token through (*one more token*).
#
# > **Before you run.** One pass of RT-2 tiny gives 1 token. How many passes' worth of time do 8 tokens take, with a cache of
# > keys and values? And without one?

# %%
my_guess = {"8 tokens": 8.0, "8 tokens, no cache": 8.0}  # times one pass

# %%
import time

groups = [rt1_group("tiny", 1, "cpu"), rt2_group("RT-2 tiny", "fp32", 1, "cpu")]
clocks = time.perf_counter(), time.process_time()
rows = time_groups(groups, rounds=7, machine=here)
wall, mine = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
print(lab_table(rows))
print(f"\nthis process had {mine / wall:.2f} of the {torch.get_num_threads()} cores it asked for")

# %%
from course_lib.classroom.plots_lab import speed_figure, speed_words

show(speed_figure(rows), speed_words(rows))

# %% [markdown]
# *x first* is the time divided by the group's first call: RT-1's parallel answer, RT-2's one pass. Keep to ratios within one
# run: the same code may take half as long again on the same machine a minute later. The last line of the table tells you why:
# if it says much less than it asked for, somebody else was computing (here, perhaps, a training), and every number in milliseconds
# is too long. Then believe ratios, and only large ones.
#
# ### Your turn
#
# All the lab has is in this panel: RT-1 in the course's and the paper's size, RT-2 tiny and in the shape of PaliGemma 3B (random
# weights: they take the same time), 1, 8 and 64 robots at once, 32, 16, 8 and 4 bits, compiled, and on a GPU tf32 and CUDA
# graphs. What does not fit into your memory says so. The measurement runs beside the notebook; **Stop** keeps what there is.

# %%
from course_lib.classroom import LabPanel

panel = LabPanel()
panel

# %% [markdown]
# Without a browser: `python -m course_lib.measure.lab --only "RT-2 tiny" --out lab.csv`.
#
# ## 3. Prefill and decode wait for different things
#
# An answer of *n* tokens is one pass and *n* − 1 steps. If that is all, the times must add up.

# %%
ms = {row.name.split(": ")[1]: row.median_ms for row in rows if row.name.startswith("RT-2")}
for n in (7, 8, 11):
    sum_of_parts = ms["one pass"] + (n - 1) * ms["one more token"]
    print(f"{n:>2} tokens: {sum_of_parts:6.1f} ms from the parts,", end=" ")
    print(f"{ms[f'{n} tokens']:6.1f} ms measured")

# %% [markdown]
# Do they, within the quartiles? The lab's single step takes its turn after some other call, with that call's numbers in the
# processor's caches. Is it cheaper in a row, as an answer needs it?

# %%
from course_lib.measure.speed import benchmark

runs = groups[1].make()
step = runs["one more token"]
row = {"alone": step, "seven in a row": lambda: [step() for _ in range(7)]}
alone, seven = benchmark({"one pass": runs["one pass"], **row}, rounds=7)[1:]
print(f"a step: {alone.median_ms:.1f} ms alone, {seven.median_ms / 7:.1f} ms in a row")

# %% [markdown]
# Now the **floor**. A machine that does *f* operations and moves *b* bytes in a second needs for a call with *F* operations and
# *B* bytes at least max(*F*/*f*, *B*/*b*): the roofline (Williams, Waterman, Patterson 2009). We count *F* and *B* from the
# configuration and have just measured *f* and *b*.
#
# > **Before you run.** Which of the two parts is limited by operations, and which by bytes: the prefill or the step? And in
# > the model of 3 billion weights?

# %%
from course_lib.rt2 import PaliGemmaConfig
from course_lib.rt2.cost import rt2_cost

shapes = {"tiny, float32": (PaliGemmaConfig.tiny(1200), 4, "fp32")}
shapes["3B, bfloat16"] = (PaliGemmaConfig.pt_224(), 2, "bf16")
for name, (config, size, precision) in shapes.items():
    for part, cost in rt2_cost(config, weight_bytes=size, activation_bytes=size).items():
        counting = 1000 * cost.flops / here.flops[precision]
        moving = 1000 * cost.bytes / here.bandwidth
        print(f"{name:<14}{part:<8} operations {counting:9.3f} ms   bytes {moving:9.3f} ms", end="")
        print(f"   {cost.flops / cost.bytes:6.1f} operations per byte")

# %%
for row in rows:
    if row.roofline_ms:
        print(f"{row.name}: {row.median_ms:.2f} ms, {row.roofline_part:.0%} of it is the floor")

# %% [markdown]
# A step does half an operation for each byte (one in bfloat16), whatever the size: it *reads*. The prefill does many with each
# byte: it *computes*. What is not floor is the price of calling: the tiny step is hundreds of small calls from Python, each with
# little to do. `faster()` makes the same numbers with fewer of them; its row above says what that brings here.
#
# A step reads the weights once, **for however many robots**. What do eight at once cost?

# %%
eight = time_groups([rt2_group("RT-2 tiny", "fp32", 8, "cpu")], rounds=3, machine=here)
many = {row.name.split(": ")[1]: row.median_ms for row in eight if row.median_ms}
for call in ("one pass", "one more token", "8 tokens"):
    gain = 8 * ms[call] / many[call]
    print(
        f"{call:<15} one robot {ms[call]:7.2f} ms, each of eight {many[call] / 8:7.2f} ms:", end=" "
    )
    print(f"{gain:.1f} times the answers per second")

# %% [markdown]
# ## 4. "Autoregressive is 7 times slower": is it?
#
# You can read that RT-2 "needs 7 forward passes where RT-1 needs 1", so it is 7 times slower. (RT-2 has eight numbers; RT-1
# eleven.) Here are the ratios, on this machine, each within one model:

# %%
first = {"RT-1": "parallel", "RT-2": "one pass"}
for row in rows:
    model, call = row.name[:4], row.name.split(": ")[1]
    if row.median_ms and ("token by" in call or "tokens" in call):
        print(f"{model}  {call:<24} {row.times_first:5.1f} x {first[model]}")
for call, guess in my_guess.items():
    print(f"{call}: you guessed {guess:.1f}, measured {ms[call] / ms['one pass']:.1f}")

# %% [markdown]
# **Without a cache** the saying is about right, but for the wrong reason: every token reads picture, prompt and all tokens before it
# again, so *n* tokens are *n* passes and a little more. No robot need do that: the cache gives the same tokens.
#
# **With a cache** it is another sum: *n* tokens take 1 + (*n* − 1) · step / pass. It is *n* only if a step costs as much as
# reading picture and prompt, and near 1 if a step is cheap beside it. **The number of tokens is not the answer, the price of a
# step is**, and that is a property of model, machine and program together. From section 3's steps in a row:

# %%
share = seven.median_ms / 7 / ms["one pass"]
print(f"a step costs {share:.2f} of a pass here. With a cache:", end=" ")
print(*(f"{n} tokens {1 + (n - 1) * share:.1f} x" for n in (7, 8, 11)), sep=", ")
print("RT-1's own ablation on its own machine (Table 13): 36 / 15 =", 36 / 15)

# %% [markdown]
# So the honest answer has three parts. *In RT-1's paper*: 2.4 times for 11 numbers. *Here*: what the cells above print.
# *In general*: with a cache, measure; do not multiply. Nor is RT-2 slow because it speaks in tokens: 55 billion weights against 35
# million is a factor of 1,600, and the tokens are the small part of it.
#
# > **Spot it.** An exercise you can find: "Measure the time for RT-2 autoregressive decoding (7 forward passes) vs RT-1 parallel
# > decoding (1 forward pass)." Somebody puts a `time.time()` around each, once. What is wrong with that? (No calls before the
# > clock starts; once; not in turns; a GPU that has only been *asked* when the clock stops; and two models that differ in
# > everything, so that their ratio says nothing about tokens. And it is eight.)
#
# ## 5. Compression: int8, int4, pruning
#
# ### int8, by hand
#
# A weight matrix has one row per output. Give each row the numbers −127 … 127 and **one scale**, so that its largest weight is
# 127 of them. A weight is then wrong by at most half a scale. One scale for the whole matrix is simpler; what does it cost?
#
# > **Before you run.** The second row's weights are a hundred times smaller than the first one's. With one scale for both, how
# > many different values are left of them?

# %% tags=["nbval-check-output"]
weight = torch.tensor([[1.0, -0.6, 0.3, 0.8], [0.010, -0.006, 0.003, 0.008]])
for name, largest in {"one scale": weight.abs().max(), "per row": weight.abs().amax(1)}.items():
    scale = (largest / 127).expand(2)[:, None]
    levels = (weight / scale).round()
    error = (scale * levels - weight).abs()
    assert (error <= scale / 2 + 1e-9).all()
    print(f"{name:<10} second row {levels[1].int().tolist()}, wrong by up to", end=" ")
    print(f"{(error[1] / weight[1].abs()).max():.1%} of a weight")

# %% [markdown]
# ### All of them, on a policy that drives
#
# `compress` makes copies of the trained RT-1 (`data/rt1_tiny.safetensors`): whole numbers in 8 bits, also with rounded inputs
# ("dynamic"), in 4 bits with a scale for 32 neighbours, and with zeros: the smallest fifth or half of each layer, or two of
# every four neighbours (a pattern that NVIDIA's GPUs since Ampere can skip).
#
# > **Before you run.** Six ways. Which are faster than float32 on this CPU? Which choose the same tokens?

# %%
my_faster = ["int8", "int4"]

# %%
from course_lib.classroom.deployment import WAYS, gaps, opened, test_steps, times

named = {way: {"policy": "RT-1 tiny", "method": way[0], "part": way[1]} for way in WAYS}
policies = {way: opened(run) for way, run in named.items()}
steps = [batch["student"] for batch in test_steps(3)]  # recorded steps that no training saw
plain = policies["float32", None]
far = {way: gaps(plain, policy, iter(steps)) for way, policy in policies.items()}
print(f"{far['int8', None]['tokens']} tokens are compared")

# %%
timed = times("RT-1 tiny", rounds=9)
print(f"{'':<15}{'bytes':>10}{'smaller':>9}{'logit error':>13}{'same tokens':>13}", end="")
print(f"{'ms':>8}{'speed':>8}")
for (how, part), policy in policies.items():
    row, gap, size = timed[how, part], far[how, part], bytes_of(policy)
    ratio = timed["float32", None].median_ms / row.median_ms
    print(f"{how + (f' {part}' if part else ''):<15}{size:>10,}", end="")
    print(f"{bytes_of(plain) / size:>8.1f}x{gap['max_logit_error']:>13.2f}", end="")
    print(f"{gap['same_tokens']:>13.1%}{row.median_ms:>8.1f}{ratio:>7.2f}x")

# %%
faster = [
    how + (f" {part}" if part else "")
    for (how, part), row in timed.items()
    if how != "float32" and row.high_ms < timed["float32", None].low_ms
]
print(
    "clearly faster than float32 here (quartiles apart):", faster or "none", "; you said", my_faster
)

# %% [markdown]
# **Smaller is not always faster.** Numbers of 8 or 4 bits must become floats before this CPU multiplies them; zeros are
# multiplied like other numbers; and the bytes that are saved matter only where bytes are what one waits for (section 3). On disk
# all of it is real. The way there and back is exact, to the last bit:

# %%
import tempfile

from course_lib.learn import load_compressed, save_compressed
from course_lib.rt1 import RT1

with tempfile.TemporaryDirectory() as folder:
    small = policies["int4", None]
    file = save_compressed(small, Path(folder) / "small.safetensors")
    again = load_compressed(file, RT1)
    print(f"{file.stat().st_size:,} bytes on disk, {bytes_of(small):,} of them numbers")
a, b = (policy.action_logits(steps[0])[0] for policy in (small, again))
assert torch.equal(a, b)

# %% [markdown]
# ### Does it still drive?
#
# Equal tokens are not success: a wrong token early in an episode leads to pictures that no training had. So the table that counts
# drives in 400 scenes, with every copy in the same ones. It takes long, and is read from `data/`:

# %%
import csv

table = DATA / "day93_compression.csv"
if table.exists():
    for row in csv.DictReader(table.open()):
        name = f"{row['policy']:<11}{row['method']:<13}{row['part']:<5}"
        rate = wilson(int(row["successes"]), int(row["n"]))
        change = f"{float(row['difference']):+.1%} (p = {float(row['p']):.2f})"
        print(f"{name}{rate}; against its own: {change}")
else:
    print("Not measured yet. The command: python -m course_lib.classroom.recipes compression")

# %% [markdown]
# **OpenVLA's numbers** (7 billion weights; *OpenVLA*, quantised inference): success on 8 tasks, 80 trials a row.
#
# | weights | success | answers per second |
# |---|---|---|
# | bfloat16 | 71.3% | about 6, on an RTX 4090 |
# | int8 | 58.1% | 1.2, on an A5000 |
# | int4 | 71.9% | 3, on an A5000 |
#
# int8 was the *slowest* and the worst, with twice the bits of int4. The authors put the loss down to the speed: a robot that
# answers at 1.2 Hz acts in another world than the one it learned in. How sure are 80 trials?

# %% tags=["nbval-check-output"]
for name, part in {"bfloat16": 0.713, "int8": 0.581, "int4": 0.719}.items():
    print(f"{name:<9} {wilson(round(80 * part), 80)}")

# %% [markdown]
# (58.1% of 80 are 46.5, so some trials must count half. Rounded to whole ones, the intervals of bfloat16 and int8 overlap.)
#
# > **Spot it.** "Quantization: INT8 or INT4 for faster inference." A claim about a *program on a machine*. The table above, and
# > yours, are two machines on which int8 is not it.
#
# ## 6. Distillation
#
# The other way to be fast: a small model learns what a large one thinks. Not only its answers, but how likely it holds the others:
# "left, or perhaps a little less left, by no means right". With temperature $T$ and soft probabilities $p_T$ =
# softmax(logits / $T$) (Hinton, Vinyals, Dean 2015, [arXiv 1503.02531](https://arxiv.org/abs/1503.02531)):
#
# $$L = \text{hard} \cdot \text{CE}(\text{right answer}, p^\text{student}_1) + (1 - \text{hard}) \cdot T^2\,
# \text{KL}(p^\text{teacher}_T \,\|\, p^\text{student}_T)$$
#
# ### Four mistakes in one line
#
# > **Spot it.** This line is in a lesson on RT-2. Before the cells below: how many mistakes do you find?

# %%
copied = """# Distill RT-2-PaLM-E → RT-2-PaLI → RT-1-sized model teacher_model = RT2_PaLM_E()
student_model = RT1() for batch in dataset: # Get teacher predictions (with temperature) with
torch.no_grad(): teacher_logits = teacher_model(batch) / temperature teacher_probs =
F.softmax(teacher_logits, dim=-1) # Train student to match student_logits = student_model(batch)
student_probs = F.softmax(student_logits, dim=-1) # KL divergence loss distill_loss = F.kl_div(
student_probs.log(), teacher_probs, reduction='batchmean' ) distill_loss.backward()
optimizer.step()"""

# %% [markdown]
# **It does nothing.** It is *one* line (broken here only to be read), and it begins with `#`.

# %% tags=["nbval-check-output"]
import ast

one_line = " ".join(copied.split())
print("statements in it:", len(ast.parse(one_line).body))

# %% [markdown]
# **Written out, it breaks on a student who is sure.** `softmax(x).log()`: a probability below 10⁻⁴⁵ is 0 in float32, its
# logarithm −∞. `log_softmax` never makes the small number.


# %% tags=["nbval-check-output"]
def copied_loss(student, teacher, T):
    said, wanted = F.softmax(student, -1), F.softmax(teacher / T, -1)
    return F.kl_div(said.log(), wanted, reduction="batchmean")


for name, loss_of in {"copied": copied_loss, "right": soft_loss}.items():
    student = torch.tensor([[0.0, -200.0, 3.0]], requires_grad=True)
    loss = loss_of(student, torch.tensor([[1.0, 2.0, 3.0]]), 1.0)
    loss.backward()
    finite = "finite" if student.grad.isfinite().all() else f"has {student.grad.isnan().sum()} NaN"
    print(f"{name:<7} loss {loss.item():.2f}, its gradient {finite}")

# %% [markdown]
# **The temperature is on one side only.** Where is such a student at rest? Where its own probabilities, at $T$ = 1, equal the
# teacher's softened ones. Let one learn until nothing moves:

# %% tags=["nbval-check-output"]
teacher = torch.tensor([[2.0, 0.0, 0.0, 1.0]])
print(f"the teacher's own: {teacher.softmax(-1)[0, 0]:.2f} for its favourite")
for name, loss_of in {"copied": copied_loss, "right": soft_loss}.items():
    student = torch.zeros_like(teacher, requires_grad=True)
    optimiser = torch.optim.SGD([student], lr=2.0)
    for _ in range(2000):
        optimiser.zero_grad()
        loss_of(student, teacher, 4.0).backward()
        optimiser.step()
    print(f"{name}: the student's is {student.softmax(-1)[0, 0].item():.2f}")

# %% [markdown]
# The copied student ends nearly undecided, for ever: it learned the flatness.
#
# **It forgets to forget.** There is no `zero_grad()`: every step adds all gradients before it. And a fourth, quieter one: its
# two models do not speak of the same thing. RT-1 answers with 11 × 256 logits, a language model with one logit per word of
# its vocabulary. `action_logits` brings both to (n, 11, 256), with −∞ where a number has fewer levels.
#
# ### Why T²
#
# > **Before you run.** The temperature goes from 1 to 8. By how much do the gradients of the soft part fall?

# %% tags=["nbval-check-output"]
rng = torch.Generator().manual_seed(0)
student, teacher = torch.randn(2, 512, 256, generator=rng)
for T in (1, 2, 4, 8, 16):
    student = student.detach().requires_grad_()
    soft_loss(student, teacher, T).backward()
    size = student.grad.norm().item()
    print(f"T = {T:>2}: with T² {size:.4f}, without {size / T**2:.6f}")

# %% [markdown]
# Without the factor the gradient falls nearly as 1 / $T^2$, and the soft part silently leaves the sum: whoever tunes $T$ tunes the
# weight of the hard part as well. With it the gradient tends to a constant: at high temperature
# $\text{student} - \text{teacher}$, logit by logit (their section 2.1). torch agrees with our loss:

# %%
T = 3.0
logs = [(x / T).log_softmax(-1) for x in (student, teacher)]
torch.testing.assert_close(
    soft_loss(student, teacher, T),
    T**2 * F.kl_div(*logs, reduction="batchmean", log_target=True),
)
print("equal to T² times torch's kl_div of two log_softmaxes")

# %% [markdown]
# ### A very short lesson
#
# Our trained RT-1 teaches a new RT-1, for 20 steps. That is no distillation yet (teacher and student are equally large, and
# 20 steps teach nobody to drive): it shows the machinery, and one measurement that is already possible. The teacher sees
# the same steps as the student; for an RT-2 teacher, `Pairs` gives both their own format.
#
# > **Before you run.** Two students, the same 20 batches: one gets the right answers only, one gets half of its loss from the
# > teacher. Whose opinion is nearer to the teacher's afterwards?

# %%
from course_lib.datasets import Windows, record
from course_lib.learn import Distillation, Schedule, behaviour_clone
from course_lib.rt1 import InstructionEncoder, RT1Config
from course_lib.world.splits import training_tasks

data = record(200, training_tasks(), seed=1_000_000)
windows = Windows(data, InstructionEncoder()(data.sentences()), batch=6)
teacher = policies["float32", None]


def lesson(step):
    """The same steps for both; an RT-1 teacher reads the student's format."""
    batch = windows(step)
    return {"student": batch, "teacher": batch}


# %%
schedule, taught = Schedule(steps=20, lr=2e-3, warmup=3), {}
for hard in (1.0, 0.5):
    torch.manual_seed(0)
    student = RT1(RT1Config.tiny())
    both = Distillation(teacher, student, temperature=2.0, hard=hard)
    behaviour_clone(both, lesson, schedule, progress=False)
    taught[f"hard = {hard}"] = student.eval()

# %%
for name, student in {"untaught": RT1(RT1Config.tiny()).eval(), **taught}.items():
    with torch.inference_mode():
        said, right = student.action_logits(steps[0])
        wanted, _ = teacher.action_logits(steps[0])
    apart = soft_loss(said, wanted, 1.0)
    loss = F.cross_entropy(said.flatten(0, 1), right.flatten())
    print(f"{name:<11} KL from the teacher {apart:.2f}, cross-entropy of new steps {loss:.2f}")

# %% [markdown]
# Both have learned something, and the order of the two is no finding: one seed, 20 steps, one batch to test on. Whether a teacher
# helps a student *drive* takes whole trainings with and without it, several seeds, and intervals. Section 1's question remains
# for the student: is it fast, *and* does it still succeed?
#
# ## 7. What reaches 3 Hz?
#
# All that was timed here with one robot:

# %%
for row in [*rows, *(row for row in timed.values() if row.name.startswith("('float32'"))]:
    if row.median_ms is not None:
        name = "RT-1 tiny: act(), its memory full" if row.name.startswith("(") else row.name
        reaches = [f"{rate} Hz" for rate in (1, 3, 5) if hertz(row) >= rate]
        within = "under" if row.median_ms < 100 else "NOT under"
        print(f"{name:<54}{hertz(row):>7.1f} Hz, {within} 100 ms; {', '.join(reaches) or 'none'}")

# %% [markdown]
# For the large one, take the floor: 8 tokens of the 3B shape in bfloat16, by bytes and operations, on a machine like this. The
# panel measures it, if your memory holds it (it keeps three times the 6 GB free):

# %%
parts = rt2_cost(PaliGemmaConfig.pt_224(), weight_bytes=2, activation_bytes=2)
floors = {
    part: max(cost.flops / here.flops["bf16"], cost.bytes / here.bandwidth)
    for part, cost in parts.items()
}
least = floors["encoder"] + floors["prefill"] + 7 * floors["step"]
print(f"3B, 8 tokens, here: at least {least:.2f} s, at most {1 / least:.2f} Hz")
for rate in (1, 3, 5):
    print(f"for {rate} Hz a machine must be {rate * least:.1f} times as fast in both")

# %% [markdown]
# In which order to try things, and what each attacks:
#
# | what | attacks | where it helps |
# |---|---|---|
# | a cache of keys and values | reading everything again | always; it changes no number |
# | `faster()`, CUDA graphs, `torch.compile` | the price of a call | small models, one robot |
# | bfloat16 | bytes and operations | where the processor has it |
# | int8, int4 | bytes | steps of large models, with a program that multiplies them directly |
# | several robots at once | bytes per robot | one server, many robots |
# | distillation, a smaller model | all of it | when success survives: measure that |
#
# ## 8. More than one machine
#
# **One training, several GPUs or machines.** `behaviour_clone`, `co_fine_tune` and `distill` notice when `torchrun` started them;
# the batch is shared out, and the loss curve is that of one process with the whole batch. What you save in `my_training.py`:
#
# ```python
# from course_lib.learn.team import device   # this process' own GPU, or the CPU
# policy = RT1(RT1Config.tiny()).to(device())
# behaviour_clone(policy, windows, Schedule(steps=11_000, lr=2e-3), resume="mine.state")
# ```
#
#     torchrun --nproc-per-node 4 my_training.py                            one machine with four GPUs
#     torchrun --nnodes 2 --nproc-per-node 4 --node-rank 0 --master-addr 10.0.0.5 --master-port 29500 my_training.py
#     torchrun --nnodes 2 --nproc-per-node 4 --node-rank 1 --master-addr 10.0.0.5 --master-port 29500 my_training.py
#
# (The second line on the machine 10.0.0.5, the third on the other.) After a kill, the same command goes on from `mine.state`.
#
# **Many trainings or evaluations.** They need not talk to each other; each is a row, and a worker that dies loses only the row
# it was at, which another takes. Here over all cores or GPUs, and then over the workers of a Dask cluster:
#
#     python -m course_lib.classroom.experiments transfer
#
#     pip install distributed                                               everywhere, and the same course
#     dask scheduler                                                        on one machine, say 10.0.0.5
#     dask worker tcp://10.0.0.5:8786 --nthreads 1                          on each of the others
#     python -m course_lib.classroom.experiments transfer --scheduler tcp://10.0.0.5:8786
#
# A Dask scheduler runs what it is sent: only in a network you trust.
#
# ## 9. Check yourself
#
# Answer aloud, then open.
#
# <details><summary>1. A step takes a tenth of a pass. How many times slower than one number in parallel are 8 tokens with a
# cache?</summary>
#
# 1 + 7 · 0.1 = 1.7 times.
# </details>
#
# <details><summary>2. int4 makes a file five times smaller and the policy no faster. Where did the time go?</summary>
#
# Into unpacking: whole numbers become floats before they are multiplied. And a tiny model never waited for its bytes.
# </details>
#
# <details><summary>3. Eight robots ask one server. Which part of an answer becomes cheaper per robot, and why?</summary>
#
# Above all the step: its weights are read once for all eight. The prefill already does many operations with each byte.
# </details>
#
# <details><summary>4. A student is trained with T on the teacher's side alone. What is it like?</summary>
#
# Undecided: its probabilities at T = 1 equal the teacher's at T.
# </details>
#
# <details><summary>5. A network answers in 15 ms, and the robot still reacts 280 ms late. Which number limits the rate?</summary>
#
# Neither alone: the rate is set by how often an answer can begin, the delay by how long one takes with camera, network and arm.
# </details>

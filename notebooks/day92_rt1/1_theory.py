# %% [markdown]
# # Day 92 · 1: How RT-1 works, and what it cannot say
#
# **After these 45 minutes you can** follow six pictures and a sentence through RT-1 and name the shape after every stage;
# say why FiLM starts as the identity, what TokenLearner's eight tokens are, what 256 levels cannot represent, who may look
# at whom, and what eleven independent numbers cannot express; and read the paper's results with the trials behind them.
#
# | time | memory | hardware |
# |---|---|---|
# | 45 minutes to read and play; about 1 minute to run | 2 GB | a laptop's CPU |
#
# The room this notebook opens is `course_lib/rt1`. What is said about RT-1 comes from its paper (Brohan et al. 2022,
# [arXiv 2212.06817](https://arxiv.org/abs/2212.06817)), marked *paper*, or from Google's released code and checkpoints
# ([robotics_transformer](https://github.com/google-research/robotics_transformer)), marked *code*. All else is measured here.
#
# Two kinds of boxes will stop you:
#
# > **Before you run.** Guess first. A guess that turns out wrong teaches more than a sentence you agree with.
#
# > **Spot it.** Something you can read about RT-1 that is not so, and the evidence.

# %%
import copy
import csv
import math
import time
from pathlib import Path

import gymnasium
import torch
from torch import nn

from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1, FiLM, RT1Config, TokenLearner

torch.manual_seed(0)
DATA = Path("../../data")

# %% [markdown]
# ## 1. The problem
#
# A robot has a camera, and somebody has said a sentence. Three times a second it must answer with a motion. RT-1 treats
# this as a language model treats the next word: pictures and a sentence go in, *action tokens* come out,
#
# $$p(\text{action}_t \mid \text{sentence},\ \text{picture}_{t-5}, \dots, \text{picture}_t),$$
#
# trained by cross-entropy on what people did with the same robot. Three wishes pull against each other: know many tasks
# (a large network, much data), obey the sentence, and answer within a third of a second. Every part below is a deal
# between them.
#
# Our own small world has the same shape: one picture, one sentence, one action, three times a second. Here are the six
# pictures that the shipped policy remembers at its sixth step.

# %%
from course_lib.classroom.plots import filmstrip

env = gymnasium.make("course_lib.world:course_lib/Tabletop-v0").unwrapped
policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1)
things = ["apple", "banana", "coke can"]
start, _ = env.reset(seed=6, options={"kinds": things, "task": "pick up the apple"})
observation, remembered = start, []
for _ in range(policy.config.history):
    remembered.append(observation["image"])
    observation, *_ = env.step(policy.act(observation))
print("the robot hears:", start["instruction"])
filmstrip(remembered, f"The policy's six newest pictures, told to {start['instruction']}.")

# %% [markdown]
# Six pictures at 3 Hz span five intervals, 1.67 seconds. That is all RT-1 knows of the past; as we shall see, it does not
# even know what it did itself.
#
# ## 2. From pixels to an action
#
# Now the real thing: `RT1Config.paper()` is RT-1 in full size, 35 million parameters. Its weights are random here, but
# shapes do not care. A `trace` collects what every stage produces.
#
# > **Before you run.** A picture of the robot's camera has 256 × 320 × 3 = 245,760 numbers. How many numbers per picture
# > reach the Transformer?

# %%
paper = RT1(RT1Config.paper()).eval()
images = torch.rand(1, 6, 3, 256, 320)  # six pictures of noise
words = nn.functional.normalize(torch.randn(1, 512), dim=-1)  # a sentence of length 1
trace = {"images": images, "instruction": words}
with torch.inference_mode():
    trace["logits"] = paper(images, words, trace)

# %% tags=["nbval-check-output"]
stages = ["images", "encoder/stem", "encoder/block2a", "encoder/block3a", "encoder/block4a"]
stages += ["encoder/block6a", "encoder/map", "image_tokens", "decoder/embedded", "logits"]
print(f"{'stage':<18}{'shape':<24}numbers per picture")
for name in stages:
    print(f"{name:<18}{tuple(trace[name].shape)!s:<24}{trace[name].numel() // 6:>10,}")

# %%
from course_lib.classroom.plots_rt1 import architecture_figure, show

show(architecture_figure(trace))

# %% [markdown]
# Read the table from the top. The picture is resized to 300 × 300 (*code*: not cut, so it is squashed a little), and every
# stride halves its side and rounds down: 300, 150, 75, 37, 18, 9. The map's 9 × 9 = 81 places become 8 tokens, so **4,096
# numbers per picture** reach the Transformer, one in 60. Its sequence has 6 × (8 + 11) = 114 positions; the paper speaks of
# 48 tokens because it counts only those of the pictures. At the end stand 11 classifications with 256 classes each.
#
# The parameter count of every part, next to the paper's, is in [2 · Implementation](2_implementation.ipynb).
#
# > **Spot it.** "RT-1 looks at 224 × 224 pixels." It is 300 × 300 (*paper* and *code*). And in a rebuilt trunk the map easily
# > gets another size: torch pads a strided convolution on both sides and so rounds *up*. torchvision's EfficientNet-B3 makes
# > 10 × 10 of 300 × 300, and Google's weights would look half a pixel to a pixel beside where they learned to look.

# %% tags=["nbval-check-output"]
from course_lib.rt1.efficientnet import Conv  # with TensorFlow's padding

halves = {
    "torch, zeros on both sides": nn.Conv2d(1, 1, 3, 2, 1),
    "RT-1, TensorFlow": Conv(1, 1, 3, 2),
}
for name, halve in halves.items():
    x, sides = torch.zeros(1, 1, 300, 300), [300]
    while len(sides) < 6:
        x = halve(x)
        sides.append(x.shape[-1])
    print(f"{name:<28}{' → '.join(map(str, sides))}")

# %% [markdown]
# > **Spot it.** A popular diagram draws an arrow from the sentence into the Transformer. But its 114 positions are 48 image
# > tokens and 66 action positions: there is no word among them. Where *does* the sentence enter? Give the same pictures and
# > another sentence, and look for the first stage that differs.
#
# > **Before you run.** This network is new. How much do its outputs change when the sentence changes?


# %%
def first_difference(model):
    """The first stage that hears another sentence, and how far the logits move."""
    one, other = {}, {}
    with torch.inference_mode():
        logits = model(images[:, :1], words, one)  # one picture is enough
        moved = (model(images[:, :1], -words, other) - logits).abs().max().item()
    stages = [name for name in one if not torch.allclose(one[name], other[name], atol=1e-5)]
    return stages[0] if stages else None, moved


first, moved = first_difference(paper)
print(f"a new RT-1: first stage that differs: {first}, logits moved by {moved}")
assert first is None and moved < 1e-4

# %%
awake = copy.deepcopy(paper)
for name, weights in awake.named_parameters():
    if ".film." in name:
        nn.init.normal_(weights, std=0.02)  # as if it had been trained a little
first, moved = first_difference(awake)
print(f"with living FiLM layers: first stage that differs: {first}, logits moved by {moved:.2g}")
assert first == "encoder/block1a"
del awake

# %% [markdown]
# A new RT-1 is deaf. And once its FiLM layers live, the sentence is in the picture from the very first
# block on. RT-1 does not look first and read later; it *looks for* something. How?
#
# ## 3. FiLM: the sentence turns the dials of the eyes
#
# The sentence becomes one vector $z$ of 512 numbers (*paper*: the Universal Sentence Encoder, frozen). After every one of
# EfficientNet's 26 blocks, and once more after the last convolution, a FiLM layer computes from $z$ one scale
# $\gamma_c$ and one shift $\beta_c$ for each channel $c$, the same at every place of the picture:
#
# $$y_c = (1 + \gamma_c(z)) \cdot x_c + \beta_c(z)$$
#
# Turn the dials yourself. The feature map is a real one: the shipped policy looks at the table of section 1. Things to find:
#
# 1. Which γ silences a channel, so that the camera no longer matters? Which turns it over?
# 2. Change the sentence. Where do the dials jump? (The small marks below the sliders are the other sentences.)
# 3. In *block 1a* the map **before** FiLM is the same for every sentence, in *block 2a* it is not. Why?

# %%
from course_lib.classroom import FilmDial
from course_lib.classroom.attention_trace import describe_scene

start, _ = env.reset(seed=6, options={"kinds": things, "task": "pick up the apple"})
picture = describe_scene(env.segmentation(), list(env.labels))
others = ["pick up the banana", "pick up the coke can"]
FilmDial(policy, start, sentences=others, scene=picture)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# γ = −1 silences: every place holds β. Below −1 the channel is turned over. And before the first FiLM nothing has heard the
# sentence yet; after it, everything has.
# </details>
#
# How much does the trained policy use its dials? A γ of 0.2 makes a channel 20% louder.

# %%
from course_lib.classroom.film_dial import listen

for heard in listen(policy, start):
    gamma = heard.scale
    print(
        f"{heard.layer:<9} {len(gamma):>3} channels: mean |γ| {abs(gamma).mean():.2f}, "
        f"largest {abs(gamma).max():.2f}"
    )

# %% [markdown]
# ### Why "1 +", and why zeros at the start?
#
# RT-1's eyes come from ImageNet (*paper*; without it, unseen tasks fall from 76% to 43%). FiLM puts 27 new layers between
# the old ones. Take RT-1's trunk without FiLM, and insert three kinds:
#
# | kind | formula | start |
# |---|---|---|
# | RT-1's | $(1 + \gamma)\,x + \beta$ | weights and biases zero: γ = β = 0 |
# | default start | $(1 + \gamma)\,x + \beta$ | what `nn.Linear` begins with |
# | no "1 +" | $\gamma\,x + \beta$ | what `nn.Linear` begins with |
#
# Two questions, layer by layer. Can two different pictures still be told apart? And are the features still those that the
# trunk had learned without FiLM?
#
# > **Before you run.** For each kind: after 26 layers, what is left of the difference of two pictures? All, half, nothing?


# %%
class DefaultStart(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.gamma = nn.Linear(instruction_dim, channels)
        self.beta = nn.Linear(instruction_dim, channels)

    def forward(self, x, z):
        return (1 + self.gamma(z))[:, :, None, None] * x + self.beta(z)[:, :, None, None]


class NoOne(DefaultStart):
    def forward(self, x, z):
        return self.gamma(z)[:, :, None, None] * x + self.beta(z)[:, :, None, None]


# %% [markdown]
# ImageNet's weights would be a download, so the trunk is a random one, made well-behaved: its BatchNorm layers measure two
# pictures of our table once, as they would in training.


# %%
def insert(film):
    """New FiLM layers of the given kind in the trunk, 26 and one more."""
    for block in trunk.blocks.values():
        block.film = film(block.project.out_channels, 512)
    trunk.film = film(512, 512)


def maps_after_each_film():
    trace = {}
    with torch.inference_mode():
        trunk(pictures, words.expand(2, -1), trace)
    return [trace[name] for name in trace if "block" in name] + [trace["encoder/map"]]


# %%
scenes = [env.reset(seed=seed)[0]["image"] for seed in (1, 2)]
pictures = torch.stack([torch.as_tensor(s) for s in scenes]).movedim(-1, 1) / 255
trunk = copy.deepcopy(paper.encoder)  # its own FiLM layers are new, so they do nothing
for layer in trunk.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.momentum = 1.0  # the next pass sets the statistics
with torch.no_grad():
    trunk.train()(pictures, words.expand(2, -1))
trunk.eval()
without_film = maps_after_each_film()
print(len(without_film), "maps, one after each FiLM layer")

# %%
apart, alike = {}, {}
for name, film in {"RT-1's": FiLM, "default start": DefaultStart, "no “1 +”": NoOne}.items():
    torch.manual_seed(0)
    insert(film)
    after = maps_after_each_film()
    apart[name] = [((y[0] - y[1]).norm() / y.norm()).item() for y in after]
    pairs = zip(without_film, after, strict=True)
    alike[name] = [((x * y).sum() / x.norm() / y.norm()).item() for x, y in pairs]  # cosine
    print(f"{name:<14} apart {apart[name][-1]:.2g}, alike {alike[name][-1]:.2f}")
assert (
    apart["no “1 +”"][-1] < 1e-5
    and alike["RT-1's"][-1] > 0.999
    and alike["default start"][-1] < 0.8
)

# %%
from course_lib.classroom.plots_rt1 import survival_figure

show(survival_figure(apart, alike))

# %% [markdown]
# - **No "1 +"**: default γ are small numbers around zero, so each layer shrinks the picture and adds its own β. After a
#   handful of layers both pictures have become the same map. The picture is gone, not only the learned features.
# - **Default start**: "1 +" keeps the pictures apart, but the features drift away from what the trunk knew, a little in
#   every layer.
# - **RT-1's**: nothing happens. Training starts with the old eyes, untouched, and moves the dials only where that helps.
#
# The two halves of RT-1's rule do different work: **"1 +" protects the picture, the zeros protect the pretraining.** (The
# random trunk stands in for ImageNet's: what is measured is how much of *any* trunk survives.)
#
# > **Spot it.** Here is a FiLM that you can copy from the web, for features (batch, …, channels). It works on word
# > sequences. On pictures (B, H, W, C) it usually crashes; with as many pictures as rows it runs, and is wrong.


# %%
def copied_film(x, gamma, beta):
    return gamma.unsqueeze(1) * x + beta.unsqueeze(1)


try:
    copied_film(torch.randn(2, 9, 9, 512), torch.randn(2, 512), torch.randn(2, 512))
except RuntimeError as error:
    print("2 pictures:", error)
x, gamma = torch.randn(9, 9, 9, 512), torch.randn(9, 512)
y = copied_film(x, gamma, torch.zeros(9, 512))
scale = y[2, 5, 0] / x[2, 5, 0]  # picture 2, row 5
print("9 pictures: runs. Row 5 of picture 2 was scaled by the sentence of picture", end=" ")
print(*[b for b in range(9) if torch.allclose(scale, gamma[b], atol=1e-3)])

# %% [markdown]
# Row 5 obeys the sentence of picture 5. A test that looks only at shapes passes; a good test uses sizes that differ, and
# sizes that agree. The check in the [exercises](../../exercises/day92_rt1/exercises.ipynb) does both.
#
# ## 4. TokenLearner: eight looks at 81 places
#
# A Transformer that read all places of six pictures would have 6 × (81 + 11) = 552 positions instead of 114, and attention
# pays for pairs.

# %% tags=["nbval-check-output"]
print(f"positions: {552 / 114:.1f} times more; pairs: {552**2 / 114**2:.1f} times more")

# %% [markdown]
# TokenLearner (Ryoo et al. 2021; RT-1 uses its version 1.1, *code*) makes eight tokens of a picture. For each token a small
# network gives each place a score; a softmax **over the places** makes weights $w_s$ that sum to 1; the token is the
# weighted mean $\sum_s w_s x_s$. In the smallest case, four places with one number each:

# %% tags=["nbval-check-output"]
places = torch.tensor([10.0, 0.0, 0.0, 2.0])
scores = torch.tensor([2.0, 0.0, 0.0, 0.0])
weights = scores.softmax(0)
print("weights", [round(w, 2) for w in weights.tolist()], "sum", round(weights.sum().item(), 4))
print("token  ", round((weights @ places).item(), 2), " plain mean", places.mean().item())

# %% [markdown]
# *Attention over space* means just that: the token is a mean, and the map says whose. Here are the eight maps of the shipped
# policy on our table. Each is scaled to its own brightest place, whose share stands above it.

# %%
from course_lib.classroom.plots import attention_figure

policy.reset()
looked = {}
policy.act(start, looked)
maps = looked["token_learner/maps"].numpy()  # (1, 8, 8, 8)
figure = attention_figure(start["image"][None], maps, instruction=f"“{start['instruction']}”")
figure.set_label(f"Eight attention maps over the picture: {picture}.")
print(
    "places with a weight above zero:", int((maps[0] > 0).sum((1, 2)).min()), "of", maps[0, 0].size
)
show(figure)

# %% [markdown]
# > **Spot it.** "TokenLearner selects the most informative image patches." Nothing is selected and nothing dropped: every
# > place has a weight above zero in every token, and the places are cells of a feature map, not patches of the image. Each
# > cell has already seen far beyond its own square.
#
# ### Four things called TokenLearner
#
# Version 1.0 of the TokenLearner paper, version 1.1, and two look-alikes you can find in tutorials. On the same random
# features, untrained:
#
# > **Before you run.** One of the four forces its eight tokens to add up to the sum of all 81 places, background included.
# > Which: the one with the softmax over places, the sigmoids, or the softmax over tokens?

# %%
from course_lib.rt1.variants import SigmoidTokens, TokenLearnerV10, TokensCompete

kinds = {
    "v1.1, softmax over places": TokenLearner,
    "v1.0, sigmoid and sum": TokenLearnerV10,
    "softmax over tokens": TokensCompete,
    "sigmoid, then divided": SigmoidTokens,
}
features, seen, made = torch.randn(16, 512, 9, 9), {}, {}
for name, kind in kinds.items():
    torch.manual_seed(0)
    looked = {}
    with torch.inference_mode():
        made[name] = kind(512)(features, looked)
    seen[name] = looked["token_learner/maps"]

# %%
print(f"{'':<27}parameters  a map sums to  weights at a place sum to  likeness of tokens")
for name, kind in kinds.items():
    parameters = sum(p.numel() for p in kind(512).parameters())
    sums, at_place = seen[name].sum((2, 3)), seen[name].sum(1)
    unit = nn.functional.normalize(made[name], dim=-1)
    likeness = ((unit @ unit.mT).sum((1, 2)).mean() - 8) / 56  # mean cosine of two tokens
    print(
        f"{name:<27}{parameters:>10,}{sums.min():>8.1f} … {sums.max():<5.1f}"
        f"{at_place.min():>12.2f} … {at_place.max():<12.2f}{likeness:.2f}"
    )

# %%
from course_lib.classroom.plots_rt1 import learners_figure

show(learners_figure({name: maps[0].numpy() for name, maps in seen.items()}))

# %% [markdown]
# - **v1.1**: every map sums to 1, maps are free to differ and to ignore places, and they do differ from the start.
# - **v1.0**: sigmoids; a map sums to about half the number of places, so tokens grow with the picture. Its authors write of
#   1.1: "uses softmax instead of sigmoid. We confirmed that this version works better in general" (scenic's code).
# - **Softmax over tokens**: the weights at each place sum to 1 *across* the tokens. So the eight tokens add up to all 81
#   places exactly: every bit of background must be taken by some token. A conservation law, not a choice of where to look.
# - **Sigmoid, then divided**: almost even everywhere, so all eight tokens begin as nearly the same average of the picture.
#
# Careful with the last column. It was measured on features with mean zero. Alike at the start is no proof of failure (v1.0
# starts alike, too), and features with a large mean make *any* weighted means alike:

# %%
for name, kind in kinds.items():
    torch.manual_seed(0)
    with torch.inference_mode():
        unit = nn.functional.normalize(kind(512)(features + 2), dim=-1)
    print(
        f"{name:<27}features of mean 2: likeness {((unit @ unit.mT).sum((1, 2)).mean() - 8) / 56:.3f}"
    )

# %% [markdown]
# What trained tokens look at, and how the kinds compare after training, is measured in [3 · Experiments](3_experiments.ipynb).
#
# ## 5. Action tokens: what 256 levels can say
#
# RT-1 moves by choosing classes. Each number of an action is clipped to its range, stretched to 0 … 255, and made an
# integer; the integer is the token. These are the eleven (*code*: the released checkpoint's specification):

# %% tags=["nbval-check-output"]
from course_lib.actions import ActionSpace, ActionTokenizer

official = ActionSpace.official()
nearest, floor = ActionTokenizer(official), ActionTokenizer(official, rounding="floor")
for dim, step in zip(official.dims, nearest.step.tolist(), strict=True):
    size = {"m": f"{1000 * step:.2f} mm", "rad": f"{math.degrees(step):.2f}°"}.get(dim.unit)
    what = " or ".join(dim.classes) or f"{dim.low:+.2f} … {dim.high:+.2f} {dim.unit}"
    print(
        f"{dim.name:<38}{what:<25}{'' if dim.classes else f'one level: {size or round(step, 5)}'}"
    )

# %% [markdown]
# The first is a mode with three classes: stop, move the arm, move the base. (Metres for positions are how the SIMPLER
# benchmark feeds these numbers to its simulator; the specification gives no unit.)
#
# > **Spot it.** "RT-1 has 7 degrees of freedom", "resolution 0.4 mm", "gripper {open, close}", "terminate {continue, stop}".
# > The table says: 11 tokens, 7.84 mm, a gripper between −1 and +1, three modes. The 0.4 mm belong to a range of ±0.05 m:
# > that is *our* robot's range, not RT-1's.
#
# RT-1's release makes the integer by cutting the decimals off (`floor`); rounding to the `nearest` is the obvious rival.
#
# > **Before you run.** The robot is told "do not move", x = 0, for ten seconds: 30 steps. Where is the arm afterwards, with
# > each rule?

# %%
from course_lib.classroom.plots_numbers import staircase_figure

wanted = torch.zeros(2001, 11)
wanted[:, 1] = torch.linspace(-0.02, 0.02, 2001)  # x, two centimetres to both sides
back = {
    f"{tokenizer.rounding}": 1000 * tokenizer.decode(tokenizer.encode(wanted))[:, 1].numpy()
    for tokenizer in (floor, nearest)
}
show(staircase_figure(1000 * wanted[:, 1].numpy(), back, "mm"))

# %% tags=["nbval-check-output"]
x = torch.zeros(100_001, 11)
x[:, 1] = torch.linspace(-1, 1, 100_001)
for tokenizer in (floor, nearest):
    error = 1000 * (tokenizer.decode(tokenizer.encode(x)) - x)[:, 1]
    mean = round(error.mean().item(), 2) + 0.0  # no "-0.0"
    still = 1000 * tokenizer.decode(tokenizer.encode(torch.zeros(11)))[1].item()
    print(
        f"{tokenizer.rounding:<8} largest error {error.abs().max():.2f} mm, mean {mean:.2f} mm;",
        end=" ",
    )
    print(f"30 x 'do not move': {30 * still:+.0f} mm")

# %% [markdown]
# Rounding halves the largest error and removes the average one. It does **not** repair zero: 256 is even, so zero lies
# between levels 127 and 128, and *do not move* still moves, only to the other side.
#
# Play: let the arm move by 2 cm and switch the rule; ask for RT-2's example string; look for a number that comes back
# exactly. Then switch to our robot: same 256 levels, a twentieth of the range.

# %%
from course_lib.classroom import ActionTokenSliders

sliders = ActionTokenSliders()
sliders

# %% [markdown]
# RT-2 (Day 93) says the same tokens as *text*: eight of the eleven numbers with spaces between them, mode first, gripper
# last. After you have moved something, this cell shows what Python sees of it:

# %%
print("tokens:", *sliders.tokens)

# %% [markdown]
# ### What is never said
#
# > **Before you run.** Take each of the 256 levels, decode it to metres, encode it again, with RT-1's rule in float32. How
# > many come back as another level?

# %% tags=["nbval-check-output"]
levels = torch.zeros(256, 11, dtype=torch.long)
levels[:, 1] = torch.arange(256)
for tokenizer in (floor, nearest):
    again = tokenizer.encode(tokenizer.decode(levels))[:, 1]
    print(f"{tokenizer.rounding:<8} {int((again != levels[:, 1]).sum())} of 256 levels change")
almost = torch.zeros(2, 11)
almost[:, 1] = torch.tensor([0.9999, 1.0])
print("floor: 0.9999 m and 1 m become", *floor.encode(almost)[:, 1].tolist())
far = torch.full((11,), 5.0)
far[0] = 1  # the mode is a class: 5 would be refused
print("five metres become", nearest.decode(nearest.encode(far))[1].item(), "m, and nobody is told")

# %% [markdown]
# So, never: zero; anything beyond the range; with `floor`, level 255 except for the exact maximum; and, since a quarter of
# the levels slip by one on the way there and back, a stored token need not survive a second encoding.
#
# Nor are the 256 levels used evenly. The central 98% of RT-1's public data lie within −0.225 … 0.178 m in x, −0.148 … 0.149
# in y, −0.232 … 0.218 in z (statistics of `fractal20220817_data`, 87,212 episodes). How many of the 256 levels is that?

# %% tags=["nbval-check-output"]
for axis, (low, high) in {"x": (-0.225, 0.178), "y": (-0.148, 0.149), "z": (-0.232, 0.218)}.items():
    used = (high - low) / 2 * 255
    finer = 1000 * (high - low) / 255
    print(f"{axis}: {used:.0f} of 256 levels carry 98% of the data;", end=" ")
    print(f"all 256 laid over this range would be {finer:.1f} mm apart")

# %% [markdown]
# Later systems (OpenVLA, FAST) do that: they set the range by the data's quantiles.
#
# > **Spot it.** You will meet this tokenizer: `((a + 1) / 2 * 255).long().clamp(0, 255)`. It makes an integer *before* it
# > clips. What does it make of a policy that has diverged?


# %%
def copied_tokenizer(a):
    return ((a + 1) / 2 * 255).long().clamp(0, 255)


broken = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0, -2.0])
print("the copied one:", copied_tokenizer(broken).tolist())
action = torch.zeros(11)
action[1] = float("nan")
try:
    nearest.encode(action)
except ValueError as error:
    print("ours:", error)

# %% [markdown]
# On most PCs the copied one answers 0, full speed backwards, to "not a number" and even to +∞, and says nothing (what an
# infinite number becomes as an integer is up to the processor). Clip first, and refuse what is no number.
#
# ## 6. The mask: who may look at whom
#
# The Transformer's sequence is six times [8 image tokens, 11 action positions]. Build its mask from two rules (*code*):
# nobody looks ahead, and **an action position looks at no action position, not even at itself**.
#
# > **Before you run.** The last action position is the 114th. How many positions may it look at?

# %% tags=["nbval-check-output"]
is_action = (torch.arange(114) % 19) >= 8
no_peeking_ahead = torch.ones(114, 114, dtype=torch.bool).tril()
mask = no_peeking_ahead & ~(is_action[:, None] & is_action[None, :])
image = ~is_action
print("ones:", int(mask.sum()))
print("images at images: ", int(mask[image][:, image].sum()))
print("actions at images:", int(mask[is_action][:, image].sum()))
print("images at past actions:", int(mask[image][:, is_action].sum()))
print("the last position sees", int(mask[113].sum()))
assert torch.equal(mask, paper.decoder.mask)  # the library's

# %%
from course_lib.classroom.plots_rt1 import mask_figure

read = paper.decoder.read_positions(6, last_only=True)
figure = mask_figure(mask, 8, 11, read)
show(figure, "Blue: looks at an image token. Orange: at an action position.")

# %% [markdown]
# Four things to see:
#
# - **Stairs.** Nobody looks ahead, not even inside a picture: its first token sees only itself.
# - **Off by one, on purpose.** The newest action is read from rows 102 … 112: the *last image token* says the first number,
#   each action position says the next one. Row 113 is computed and never read.
# - **Orange.** Image tokens look back at past action positions. Google's later JAX port closes that path (3,024 ones
#   instead of 4,344).
# - **The action positions are empty.** RT-1's code multiplies the embedding of actions by zero. A position without content
#   still carries what attention has gathered there, but RT-1 never sees what it *did*. And it is this, more than the mask,
#   that makes the eleven numbers independent: each is read one position early, where the number before it would stand.
#
# Does the mask do what it says? Six pictures' tokens go in, and then the sixth picture's tokens are exchanged:

# %%
tokens = torch.randn(1, 6, 8, 512)
changed = tokens.clone()
changed[:, 5] = torch.randn(1, 8, 512)
with torch.inference_mode():
    moved = (paper.decoder(changed) - paper.decoder(tokens)).abs().amax((0, 2, 3))
for step, m in enumerate(moved.tolist(), start=1):
    print(f"action of step {step}: logits moved by {m:.2g}")
assert moved[:5].max() < 1e-4 < moved[5]

# %% [markdown]
# > **Spot it.** A popular RT-1 in forty lines has no mask, no positions, and takes the *mean* of the Transformer's outputs
# > into eleven separate layers. What does a mean over tokens without positions know of their order?

# %%
layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
pooled = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
order = torch.randperm(8)
shuffled = tokens.clone()
shuffled[:, 5] = tokens[:, 5, order]
with torch.inference_mode():
    theirs = pooled(tokens[:, 5]).mean(1) - pooled(shuffled[:, 5]).mean(1)
    ours = (paper.decoder(tokens) - paper.decoder(shuffled))[:, -1]
print(f"the newest picture's 8 tokens shuffled: the pooled one moves by {theirs.abs().max():.0e},")
print(f"RT-1's logits by {ours.abs().max():.2g}")

# %% [markdown]
# Nothing, but for the last digits: a mean over tokens without positions is a bag. Given a history, it could not tell "the
# gripper goes down" from "the gripper comes up". (And RT-1 needs no eleven layers: one shared layer reads all eleven numbers,
# the *position* says which is meant.)
#
# ## 7. One pass, eleven numbers: what independence cannot say
#
# Since the action positions are empty, all eleven numbers come out of one pass, and each is chosen without knowing the
# others: $p(a) = p(a_1)\,p(a_2) \cdots p(a_{11})$, given pictures and sentence. Language models do otherwise: each word sees
# the words before.
#
# Suppose people drove around an obstacle, half of them to the left while turning left, half to the right while turning right.
#
# > **Before you run.** RT-1 learns this perfectly, and *samples* its action. How often does it do something no person did?

# %%
from course_lib.classroom.plots_numbers import joint_figure

people = torch.tensor([[0.5, 0.0], [0.0, 0.5]])  # rows: move left, right; columns: turn left, right
product = people.sum(1, keepdim=True) * people.sum(0, keepdim=True)
lost = (people * (people / product).clamp(min=1e-30).log()).sum().item()
print(
    f"the best product of two independent numbers is {lost:.4f} nats away; ln 2 = {math.log(2):.4f}"
)
tables = {"what people did": people.numpy(), "the best independent copy": product.numpy()}
show(joint_figure(tables, ["move left", "move right"], ["turn left", "turn right"]))

# %% [markdown]
# Half of the time, straight into the obstacle. No training repairs it: the product of the true marginals *is* the best
# product (its distance, ln 2, is what the two numbers know about each other), and the loss looks fine. With $n$ numbers that
# hang together, two ways of doing it are mixed in all but $2^{1-n}$ of the samples.
#
# "But RT-1 takes the most likely token" (*code*: arg-max). That helps when one way is more common. It is no cure:

# %%
ways = ["pass left", "pass right", "wait"]
people = torch.tensor([[0.40, 0.0], [0.0, 0.30], [0.0, 0.30]])  # columns: fast, slow
first, second = people.sum(1), people.sum(0)
chosen = int(first.argmax()), int(second.argmax())
print(f"most likely of its own: {ways[chosen[0]]} ({first.max():.0%}),", end=" ")
print(f"{['fast', 'slow'][chosen[1]]} ({second.max():.0%})")
print(f"together: done by {people[chosen]:.0%} of the people")
tables = {"what people did": people.numpy(), "independent": (first[:, None] * second).numpy()}
show(joint_figure(tables, ways, ["fast", "slow"]))

# %% [markdown]
# The most likely action of each number, put together, is an action that nobody has ever shown.
#
# So is token after token better? The paper tried (its ablation table): autoregressive RT-1 scored 85 / 71 / 67 / 65 on seen,
# unseen, distractors, backgrounds against 97 / 76 / 83 / 59, and took 36 ms instead of 15. It *can* say more; on this data it
# did not act better. What happens on a task with two ways, and at what cost in time, is measured in
# [3 · Experiments](3_experiments.ipynb).
#
# ## 8. What it learned from, and how well
#
# About 130,000 demonstrations, 744 instructions, 13 robots, 17 months (*paper*), all recorded by people, all successful:

# %% tags=["nbval-check-output"]
instructions = {
    "move an object near another": 337,
    "pick from a receptacle and place on the counter": 162,
    "pick": 130,
    "place into a receptacle": 84,
    "place upright": 8,
    "knock over": 8,
    "open a drawer": 3,
    "close a drawer": 3,
    "added for later experiments": 9,
}
print(f"{sum(instructions.values())} instructions")
for skill, n in instructions.items():
    print(f"{n:>4}  {skill}")

# %% [markdown]
# The headline is 97% on seen tasks and 76% on unseen ones. **76% of how many trials?** The paper does not print counts with
# its table, and its text gives two numbers of unseen tasks, 21 and 53. But percentages leave traces: 76% of 53 trials is
# no whole number of successes. Which $n$ could have produced *every* percentage of a column?
#
# > **Before you run.** 21 or 53?


# %% tags=["nbval-check-output"]
def possible(percentages, most=60):
    """The n for which every percentage is k / n, rounded."""
    rounded = {n: {math.floor(100 * k / n + 0.5) for k in range(n + 1)} for n in range(1, most + 1)}
    return [n for n, reachable in rounded.items() if reachable.issuperset(percentages)]


columns = {  # all cells of the paper's comparison and ablation tables
    "unseen tasks": {76, 52, 19, 43, 62, 71, 57, 67, 14},
    "distractors": {83, 43, 47, 23, 77, 60, 37, 67, 50},
    "backgrounds": {59, 35, 41, 53, 65, 47},
}
for name, cells in columns.items():
    print(f"{name:<13} possible numbers of trials: {possible(cells)}")

# %% [markdown]
# 53 is impossible. The smallest answers, 21, 30 and 17, are what we use below. They are inferred: if several runs per task
# were pooled (42, 60, 34 …), the intervals are narrower than drawn. For the seen tasks (208 of them, a weighted mean) no count
# can be recovered, so we give no interval.

# %%
from course_lib.classroom.plots_numbers import rates_figure
from course_lib.measure import wilson

successes = {
    "unseen tasks": (21, {"RT-1": 16, "Gato": 11, "BC-Z XL": 9, "BC-Z": 4}),
    "distractors": (30, {"RT-1": 25, "Gato": 13, "BC-Z XL": 7, "BC-Z": 14}),
    "backgrounds": (17, {"RT-1": 10, "Gato": 6, "BC-Z XL": 6, "BC-Z": 7}),
}
rates = {
    column: {model: wilson(k, n) for model, k in counts.items()}
    for column, (n, counts) in successes.items()
}
show(rates_figure(rates), "95% intervals (Wilson). All models were trained on RT-1's data.")

# %% [markdown]
# > **Before you run.** Look at the figure: for which of the three columns would you bet that RT-1 is really better than
# > the best of the others?


# %% tags=["nbval-check-output"]
def fisher(a, n_a, b, n_b):
    """Two-sided p: how often would chance alone part a + b successes at least as unevenly?"""

    def chance(k):
        return math.comb(n_a, k) * math.comb(n_b, a + b - k) / math.comb(n_a + n_b, a + b)

    every = [chance(k) for k in range(max(0, a + b - n_b), min(n_a, a + b) + 1)]
    return sum(p for p in every if p <= chance(a) * (1 + 1e-9))


for column, (n, counts) in successes.items():
    best = max(counts.keys() - {"RT-1"}, key=counts.get)
    p = fisher(counts["RT-1"], n, counts[best], n)
    print(f"{column:<13} RT-1 {counts['RT-1']}/{n}, {best} {counts[best]}/{n}: p = {p:.2g}")

# %% [markdown]
# With these counts only the distractor column is clearly more than chance. RT-1 may well be better everywhere; 21 trials
# cannot show it. You will measure our own policies with hundreds.
#
# > **Spot it.** Tables that circulate: "BC-Z 89 / 53, Gato 57 / 33", "unseen objects 56%", "BC-Z 120M, Gato 1.2B parameters".
# > The paper: BC-Z 72 / 19, Gato 65 / 52 (seen / unseen); there is no column of unseen objects; both were *retrained* on
# > RT-1's data, Gato with 37M parameters. The table compares architectures, not systems.
#
# > **Spot it.** "RT-1 handles novel objects." Its unseen tasks are new *combinations* of skills and objects it had seen. On
# > novel objects RT-2's paper measured RT-1 at 31% (easy) and 43% (hard). In that paper its seen tasks stand at 92%, not 97%:
# > another evaluation, so never put both into one column.
#
# ### More data, or more kinds of data?
#
# The paper removed data in two ways (its data ablation; success in %):
#
# | tasks kept | data kept | seen | unseen | distractors | backgrounds | mean of these three |
# |---|---|---|---|---|---|---|
# | 100% | 100% | 97 | 76 | 83 | 59 | 73 |
# | 100% | 51% | 71 | 52 | 39 | 59 | 50 |
# | 100% | 37% | 55 | 57 | 35 | 47 | 46 |
# | 100% | 22% | 59 | 14 | 31 | 41 | 29 |
# | **75%** | **97%** | 86 | 67 | 42 | 53 | 54 |
#
# Without a quarter of the tasks, which were 3% of the data, generalisation fell about as far (54) as without half of the data
# (50). The paper concludes that **diversity matters more than quantity**. Does success follow a power law of the data? Four
# points that go up and down (seen 59, 55, 71, 97) cannot say; [3 · Experiments](3_experiments.ipynb) measures it in our own world.
#
# ## 9. The time budget
#
# 3 Hz means a new picture every 333 ms. People do these skills in 2 to 4 seconds, and the network was given less than 100 ms
# (*paper*). RT-1's takes 15 ms. And then the robot *waits*: every action starts 280 ms after its picture was taken, the longest
# delay that had been observed, because a delay that is always the same is better than one that jitters (*paper*).

# %%
from course_lib.classroom.plots_numbers import budget_figure

spans = {
    "RT-1's network": (0, 15),
    "the same, autoregressive": (0, 36),
    "budget for the network": (0, 100),
    "fixed wait until the action starts": (0, 280),
}
show(budget_figure(spans, 1000 / 3))

# %% [markdown]
# Two tricks made it fast (*paper*): TokenLearner, 2.4 times, and remembering the tokens of the five older pictures instead of
# encoding them again, 1.7 times. How long does the full-size network take where you are? `act` encodes one new picture,
# remembers the rest, and runs the Transformer once.

# %%
fake = {
    "image": torch.randint(256, (256, 320, 3), dtype=torch.uint8).numpy(),
    "instruction": words[0],
}
paper.reset()
took = []
for _ in range(10):
    before = time.perf_counter()
    paper.act(fake)
    took.append(1000 * (time.perf_counter() - before))
best = min(took[5:])  # from the sixth on, six pictures are remembered
print(f"RT-1 in full size here: {best:.0f} ms a step, {1000 / best:.1f} steps a second")

# %% [markdown]
# A busy computer is slower. Measured with care on two quiet cores of a server, 25 times each in turn:

# %%
with open(DATA / "rt1_speed_cpu.csv") as file:
    rows = {row["name"]: float(row["median_ms"]) for row in csv.DictReader(file)}
for name, milliseconds in rows.items():
    if name.startswith("step"):
        print(f"{name:<42} {milliseconds:>4.0f} ms, {1000 / milliseconds:.1f} Hz")

# %% [markdown]
# "The release's way" is Google's own program: it runs the Transformer eleven times a step, once for each number, although
# (section 7) one pass gives the same eleven tokens (*code*).
#
# > **Spot it.** "RT-1 runs at 5 Hz." It is 3; 5 Hz is RT-2's smaller model (5B) behind a cloud service.
#
# ## 10. Check yourself
#
# Answer aloud, then open.
#
# <details><summary>1. Why does a new RT-1 ignore the sentence, and why is that good?</summary>
#
# Every FiLM starts with γ = β = 0, the identity. The pretrained eyes work from the first step, and each dial moves only as
# far as the loss pulls it.
# </details>
#
# <details><summary>2. Someone swaps the axis of TokenLearner's softmax. Which law do the tokens obey now?</summary>
#
# At every place the eight weights sum to 1, so the eight tokens add up to the sum of all places. No background can be ignored.
# </details>
#
# <details><summary>3. You use 255 levels instead of 256, rounded. What is new?</summary>
#
# 255 is odd: level 127 of 0 … 254 is exactly the middle of a symmetric range, so "do not move" does not move.
# </details>
#
# <details><summary>4. Which row of the mask says the gripper's number of the newest step, and what does it see?</summary>
#
# The gripper is number 7 of 0 … 10, read at 102 + 7 = 109, an action position: it sees the 48 image tokens.
# </details>
#
# <details><summary>5. Eleven numbers, two equally good ways that differ in all of them. How often does sampling
# independently give one of the two?</summary>
#
# Once in 2¹⁰ = 1,024 samples.
# </details>
#
# **Next**: [2 · Implementation](2_implementation.ipynb), where you write each of these parts in a few lines and drive the
# robot with them.

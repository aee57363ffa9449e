# %% [markdown]
# # Day 92 · 2: RT-1, built and driven
#
# **After this hour you can** write FiLM, TokenLearner and action tokens from nothing, account for each of RT-1's 35
# million parameters, put your own layers into a trained policy, and drive a robot with a sentence while you watch where
# the policy looks.
#
# | time | memory | hardware |
# |---|---|---|
# | 60 minutes to work through; 1 to 2 minutes to run | 2 GB | a laptop's CPU |
#
# The room this notebook opens is `course_lib/rt1`. You write each part in a small cell; the next cell compares it with
# the library's part, which is itself compared with Google's released code in `tests/test_equivalence.py`.

# %%
from pathlib import Path

import gymnasium
import torch
from torch import nn

from course_lib.actions import ActionSpace, ActionTokenizer
from course_lib.rt1 import RT1, FiLM, RT1Config, TokenLearner
from course_lib.world import ExpertPolicy  # importing the world also registers it with Gymnasium

torch.manual_seed(0)
DATA = Path("../../data")

# %% [markdown]
# ## 1. The robot and its task
#
# A robot arm looks down on a table. It gets one picture (64 × 64 pixels) and one sentence, and answers with one action,
# three times a second. It knows RT-1's eight skills: pick, move near, place upright, knock over, open and close a drawer,
# place into, pick from. The world is a Gymnasium environment, and every scene follows from its seed.

# %%
env = gymnasium.make("course_lib/Tabletop-v0").unwrapped
observation, _ = env.reset(
    seed=4, options={"kinds": ["coke can", "banana", "sponge"], "task": "pick up the banana"}
)
print("the robot hears:", observation["instruction"])
print("the robot sees: ", observation["image"].shape, observation["image"].dtype)

# %% [markdown]
# A scripted expert, which may look at the true positions, shows how it is done. Its recorded episodes are all that our
# RT-1 will learn from.

# %%
from course_lib.classroom.plots import filmstrip

expert, frames, over = ExpertPolicy(env), [observation["image"]], False
while not over:
    observation, reward, terminated, truncated, info = env.step(expert.act(observation))
    frames.append(observation["image"])
    over = terminated or truncated
assert info["success"]
filmstrip(
    frames,
    "The expert picks the banana: the gripper moves over it, goes down, closes, and lifts it.",
)

# %% [markdown]
# ## 2. Actions become tokens
#
# An action is 11 numbers: 3 for the arm's position, 3 for its rotation, the gripper, 3 for the mobile base, and one that
# says stop. RT-1 does not predict numbers; it *classifies*: each number becomes one of 256 levels. Clip to the range,
# stretch to 0 … 255, make an integer.


# %%
def to_tokens(action, low, high, bins=256):
    level = (action.clamp(low, high) - low) / (high - low) * (bins - 1)
    return level.long()  # cuts the decimals off, as RT-1's released tokenizer does


def to_action(tokens, low, high, bins=256):
    return low + tokens / (bins - 1) * (high - low)


# %% [markdown]
# Compare with the library, on RT-1's own x axis, ±1 (read as metres):

# %%
official = ActionTokenizer(ActionSpace.official(), rounding="floor")
actions = torch.zeros(10_000, 11)
actions[:, 1] = torch.empty(10_000).uniform_(
    -1.2, 1.2
)  # dimension 1 is x; some values lie outside the range
mine = to_tokens(actions[:, 1], -1.0, 1.0)
assert torch.equal(mine, official.encode(actions)[:, 1])
print("equal on 10,000 values")

# %% [markdown]
# What does the cut cost? Measure it against rounding to the nearest level.

# %% tags=["nbval-check-output"]
x = torch.linspace(-1, 1, 100_001)
for name, tokens in {
    "cut off (RT-1)": to_tokens(x, -1.0, 1.0),
    "rounded": ((x + 1) / 2 * 255).round().long(),
}.items():
    error = 1000 * (to_action(tokens, -1.0, 1.0) - x)
    mean = round(error.mean().item(), 1) + 0.0  # no "-0.0"
    print(f"{name:<15} largest error {error.abs().max():.1f} mm, mean error {mean:.1f} mm")
zero = to_action(to_tokens(torch.tensor(0.0), -1.0, 1.0), -1.0, 1.0)
print(
    f"'do not move' becomes {1000 * zero:.1f} mm; after 30 steps the arm is {30_000 * zero:.0f} mm away"
)

# %% [markdown]
# Rounding halves the largest error and removes the average one; we use it for our own robot. What it cannot repair is zero:
# 256 is an even number, so zero lies between two levels, and "do not move" still moves the arm by half a level.
#
# > **Spot it.** You can read that RT-1 resolves 0.4 mm. Its released specification says ±1 for the arm, so a step is
# > 2 / 255 = **7.84 mm**. 0.4 mm is what a range of ±0.05 m would give, and that is the range of *our* small robot:

# %% tags=["nbval-check-output"]
for name, space in {"RT-1": ActionSpace.official(), "our robot": ActionSpace.workbook()}.items():
    step = ActionTokenizer(space).step
    x_axis = next(i for i, dim in enumerate(space.dims) if dim.unit == "m")
    print(f"{name:<10} {space.dims[x_axis].name:<15} one level is {1000 * step[x_axis]:.2f} mm")

# %% [markdown]
# ## 3. FiLM: the sentence steers the picture
#
# The sentence arrives as one vector $z$. FiLM turns it into one scale and one shift for each channel:
# $y = (1 + \mathrm{scale}(z)) \cdot x + \mathrm{shift}(z)$. RT-1 puts one after each of EfficientNet's 26 blocks, and one
# more after the last convolution.


# %%
class MyFiLM(nn.Module):
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale = nn.Linear(instruction_dim, channels)
        self.to_shift = nn.Linear(instruction_dim, channels)
        for layer in (self.to_scale, self.to_shift):  # zeros: a new FiLM changes nothing
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, z):
        scale, shift = self.to_scale(z), self.to_shift(z)  # (B, C) each
        return (1 + scale)[:, :, None, None] * x + shift[:, :, None, None]


# %%
from course_lib.classroom.checks import check_film

check_film(MyFiLM)

# %%
theirs, mine = FiLM(8, 16), MyFiLM(8, 16)
for weights in theirs.parameters():
    nn.init.normal_(weights)
mine.load_state_dict(theirs.state_dict())
x, z = torch.randn(3, 8, 5, 7), torch.randn(3, 16)
print(f"largest difference from the library: {(mine(x, z) - theirs(x, z)).abs().max():.1e}")
assert torch.allclose(mine(x, z), theirs(x, z), atol=1e-6)

# %% [markdown]
# Why begin as the identity? The vision network was trained on ImageNet before; 26 layers that each change the picture a
# little would erase it. Here are two different pictures after 26 FiLMs, with two ways to begin. How different are they
# still?


# %%
class FadingFiLM(nn.Module):  # y = scale(z) * x + shift(z), with torch's default start
    def __init__(self, channels, instruction_dim):
        super().__init__()
        self.to_scale, self.to_shift = (
            nn.Linear(instruction_dim, channels),
            nn.Linear(instruction_dim, channels),
        )

    def forward(self, x, z):
        return self.to_scale(z)[:, :, None, None] * x + self.to_shift(z)[:, :, None, None]


# %%
def difference(pictures):
    return (pictures[0] - pictures[1]).square().mean().sqrt().item()


before = torch.randn(2, 64, 9, 9)
z = nn.functional.normalize(torch.randn(1, 384), dim=-1).expand(2, -1)
print(f"{'before':<16} two pictures differ by {difference(before):.3g} (root mean square)")
for name, film in {"identity (RT-1)": MyFiLM, "without the 1 +": FadingFiLM}.items():
    after = before
    for _ in range(26):
        after = film(64, 384)(after, z)
    print(f"{name:<16} after 26 layers they differ by {difference(after):.3g}")

# %% [markdown]
# Without the `1 +` nothing of the pictures is left: both have become the same constant, whatever the camera saw.
#
# ## 4. TokenLearner: 81 places become 8 tokens
#
# The last feature map of RT-1 has 9 × 9 = 81 places of 512 numbers. A transformer that reads 6 frames would get 486 image
# tokens; TokenLearner makes it 48. For each of 8 tokens a small network gives every place a score; a softmax **over the
# places** turns the scores into weights that sum to 1; the token is the weighted mean of the places. Nothing is cut out:
# each token is a soft look at the whole picture.


# %%
class MyTokenLearner(nn.Module):
    def __init__(self, channels, tokens=8, hidden=64):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.hidden = nn.Linear(channels, hidden)
        self.output = nn.Linear(hidden, tokens)
        self.gelu = nn.GELU(approximate="tanh")

    def forward(self, x, trace=None):
        cells = x.flatten(2).transpose(1, 2)  # (B, H W, C): a row of places
        scores = self.output(self.gelu(self.hidden(self.norm(cells))))  # (B, H W, K)
        maps = scores.softmax(dim=1)  # over the places
        if trace is not None:
            trace["token_learner/maps"] = maps.transpose(1, 2).unflatten(2, x.shape[2:])
        return maps.transpose(1, 2).to(x.dtype) @ cells  # (B, K, C)


# %%
theirs, mine = TokenLearner(512), MyTokenLearner(512)
mine.load_state_dict(theirs.state_dict())
x, trace = torch.randn(2, 512, 9, 9), {}
tokens = mine(x, trace)
assert torch.allclose(tokens, theirs(x), atol=1e-5)
maps = trace["token_learner/maps"]
print(
    "9 x 9 places ->",
    tuple(tokens.shape[1:]),
    "| each map sums to",
    round(maps[0, 0].sum().item(), 4),
)
print("parameters:", sum(p.numel() for p in mine.parameters()), "(the paper says 34K)")

# %% [markdown]
# > **Spot it.** A popular look-alike takes the softmax over the 8 *tokens* instead. Then the weights at each place sum to
# > 1, and the 8 tokens together are forced to add up to the sum of all places: every bit of background must be claimed by
# > some token.


# %%
def look_alike(x, conv):
    maps = conv(x).softmax(dim=1)  # over the tokens: wrong axis
    return torch.einsum("bkhw,bchw->bkc", maps, x)


wrong = look_alike(x, nn.Conv2d(512, 8, 1))
gap = (wrong.sum(1) - x.sum((2, 3))).abs().max().item()
print(
    f"look-alike: sum of the 8 tokens minus sum of the 81 places is {gap:.1e}: nothing can be ignored"
)
gap = (tokens.sum(1) - x.sum((2, 3))).abs().max().item()
print(f"TokenLearner: the same difference is {gap:.0f}: it is free to look away")

# %% [markdown]
# ## 5. The mask: who may look at whom
#
# The decoder reads 6 frames of 8 image tokens and 11 action positions: 6 × 19 = 114. It is causal, and an action position
# sees no action position, not even itself. So each of the 11 numbers is decided from the pictures alone, and all 11 come
# out of one pass.

# %% tags=["nbval-check-output"]
from course_lib.attention import rt1_mask

is_action = (torch.arange(114) % 19) >= 8
look_back = torch.ones(114, 114, dtype=torch.bool).tril()
mask = look_back & ~(is_action[:, None] & is_action[None, :])
assert torch.equal(mask, rt1_mask(6, 8, 11))
print(
    "114 x 114 mask with",
    int(mask.sum()),
    "ones; the last action positions see",
    int(mask[-1].sum()),
    "image tokens",
)

# %% [markdown]
# ## 6. Where are the 35 million parameters?
#
# RT-1 in full size, built from the library with *your* two layers, next to what the paper says. `meta` tensors have
# shapes but no memory, so this takes a second.


# %% tags=["nbval-check-output"]
def count(module):
    return sum(p.numel() for p in module.parameters())


with torch.device("meta"):
    paper = RT1(RT1Config.paper(), film=MyFiLM, token_learner=MyTokenLearner)
parts = {
    "EfficientNet-B3 with FiLM": (paper.encoder, "16M"),
    "TokenLearner": (paper.token_learner, "34K"),
    "decoder": (paper.decoder, "19M"),
    "dead action embedding": (paper.action_embedding, "-"),
    "together": (paper, "35M"),
}
for name, (part, says) in parts.items():
    print(f"{name:<26} {count(part):>11,}   in the paper: {says}")

# %% [markdown]
# The dead part is an embedding of past actions, which the released code multiplies by zero: RT-1 never sees what it did
# before. The published total counts it, so we do.
#
# ## 7. Your layers in a trained policy
#
# The same code with small numbers, `RT1Config.tiny()`, was trained on expert episodes (`data/MANIFEST.json` says how, for
# how long, and on what). Load those weights into *your* FiLM and *your* TokenLearner.

# %%
from course_lib.learn import load_checkpoint

policy = load_checkpoint(
    DATA / "rt1_tiny.safetensors", RT1, film=MyFiLM, token_learner=MyTokenLearner
)
print(
    f"{count(policy):,} parameters, {policy.config.history} frames, {policy.config.image_tokens} tokens for each"
)

# %%
observation, _ = env.reset(
    seed=4, options={"kinds": ["coke can", "banana", "sponge"], "task": "pick up the banana"}
)
policy.reset()
frames, over = [observation["image"]], False
while not over:
    observation, reward, terminated, truncated, info = env.step(policy.act(observation))
    frames.append(observation["image"])
    over = terminated or truncated
print("success" if info["success"] else "failed", "after", len(frames) - 1, "steps")
filmstrip(
    frames, f"Your RT-1 picks the banana: {'it succeeds' if info['success'] else 'it fails'}."
)

# %% [markdown]
# One episode proves little. Run 100, with other scenes, all kinds of objects and all eight skills, and look at the
# interval: it says which true success rates these 100 episodes are compatible with.

# %%
import csv

from course_lib.measure import rollout, success_rate

tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=50)
outcomes = rollout(policy, tables, n=100, seed=20_000)
rate = success_rate(outcomes)
print("your layers:", rate, "| how the others failed:", outcomes.failures())

# %% [markdown]
# The shipped result is counted skill by skill, on more episodes:

# %%
with (DATA / "rt1_tiny_success.csv").open() as file:
    rows = {row["name"]: row for row in csv.DictReader(file) if row["group"] != "object"}
for name, row in rows.items():
    low, high = float(row["low"]), float(row["high"])
    print(f"{name:<15} {float(row['rate']):6.1%}  [{low:.1%}, {high:.1%}]  n = {row['n']}")
worst = "Much worse than the shipped result: is one of your layers different?"
assert rate.high > float(rows["all"]["low"]), worst

# %% [markdown]
# One skill stands out at the bottom. Before you read on in the experiments, be a detective: choose *place coke can upright*
# in the widget below and watch the wrist in several scenes. Does it fail to grasp, or to turn, or does it turn the wrong
# way? (Where is the lid of a lying can, at 64 pixels?)
#
# ## 8. Type a sentence, watch it look
#
# The yellow veil shows where each token looks. Move the slider (or press the arrow keys), choose a token (keys 1 to 8,
# `a` for all), type another instruction. Questions to answer while you play:
#
# 1. Which tokens follow the object, which the gripper?
# 2. Same scene, another object in the sentence: which maps move?
# 3. What happens with a sentence it has never heard, such as *give me something to eat*?

# %%
from course_lib.classroom.widgets import AttentionWidget

widget = AttentionWidget(policy, instruction="pick up the banana", scene=3)
widget

# %% [markdown]
# ## 9. Train one yourself
#
# Training is one loop: record episodes, cut them into windows of 6 frames, minimise the cross-entropy of the 11 action
# tokens. Here are the first 40 steps of a new policy. Its loss begins a little above ln 256 ≈ 5.5, which is what knowing
# nothing costs (probably because RT-1 has no LayerNorm before its output, so its first guesses are too sure), and falls. The
# shipped policy took 11,000 steps. Stop with the notebook's stop button whenever you like: nothing breaks.

# %%
from course_lib.classroom.recipes import rt1_tiny_batches
from course_lib.learn import Schedule, behaviour_clone

torch.manual_seed(0)
student = RT1(RT1Config.tiny(), film=MyFiLM, token_learner=MyTokenLearner)
history = behaviour_clone(student, rt1_tiny_batches(episodes=500), Schedule(steps=40, warmup=10))
print(f"loss: {history.losses[0]:.2f} at the first step, {history.losses[-1]:.2f} at the last")
assert history.losses[-1] < 0.5 * history.losses[0]

# %% [markdown]
# Much of this first fall is easy: five of the eleven numbers never move in these eight skills (pitch, yaw and the mobile
# base), and most others stand still most of the time. Finding out *which* object is meant takes longer: of 200 test
# episodes the shipped policy solved 5 after 1,000 steps, 56 after 3,000, 114 after 4,000, 163 after 6,000.
#
# **You built** action tokens, FiLM, TokenLearner and the mask, and your layers drove the robot. Next: the exercises in
# `exercises/day92_rt1`, which check your FiLM on harder cases.

# %% [markdown]
# # Day 92 exercises: the parts of RT-1
#
# Write your answer where the cell says *your code here*, run it, then run the check below it: it tells you what is
# right, or names what is not yet. The check is the grade: what it accepts earns its points, and the grader then tries
# your code on a few more sizes. You may add cells, and change everything except the locked cells. Exercises marked
# *optional* are extras: the others fit into 45 minutes.

# %% nbgrader={"grade_id": "setup"}
import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.classroom.checks import (
    BINS,
    FILM,
    LOOK_ALIKES,
    POSITIONS,
    TOKEN_LEARNER,
    TOKEN_MEMORY,
    check_bins,
    check_film,
    check_look_alikes,
    check_positions,
    check_token_learner,
    check_token_memory,
)

_ = torch.manual_seed(0)  # the same random numbers in every run

# %% [markdown]
# ## Exercise 1: FiLM
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 10 minutes | 5 | how one sentence steers a whole vision network; why a new layer begins by doing nothing |
#
# RT-1 reads the instruction *inside* its vision network: after each block, FiLM multiplies every channel of the picture
# by one number and adds another, and both numbers come from the instruction's embedding $z$:
#
# $$y = (1 + \mathrm{scale}(z)) \cdot x + \mathrm{shift}(z)$$
#
# `scale` and `shift` are one linear layer each, from the instruction's numbers to one number per channel; every pixel
# of a channel gets the same two. As built, your FiLM must return exactly `x`, so that a vision network that was
# trained before does not notice its 26 new layers on the first day.
#
# **Your task:** write `FiLM(channels, instruction_dim)`. Names inside are yours to choose; `to_scale` and `to_shift` are
# the ones in which RT-1's trained weights come.

# %% [markdown]
# <details><summary>Hint 1: what to make in __init__</summary>
#
# Two `nn.Linear` layers, each from `instruction_dim` numbers to `channels` numbers. Store them as attributes
# (`self.to_scale = ...`), so that `parameters()` finds them.
#
# </details>
# <details><summary>Hint 2: how to begin with the identity</summary>
#
# `(1 + scale) * x + shift` is `x` when scale and shift are zero. A linear layer gives zero for every `z` when its weight
# *and* its bias are zero: look at `nn.init.zeros_`.
#
# </details>
# <details><summary>Hint 3: how one number reaches all pixels of its channel</summary>
#
# `scale` has shape `(B, C)`, the picture has `(B, C, H, W)`. Broadcasting lines shapes up from the right, so `(B, C)`
# would meet rows and columns. Give it two more axes of length 1: `scale[:, :, None, None]`.
#
# </details>


# %% nbgrader={"grade_id": "film", "solution": true}
class FiLM(nn.Module):
    """y = (1 + scale(z)) * x + shift(z): one scale and one shift per channel; the identity when it is new."""

    def __init__(self, channels: int, instruction_dim: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.to_scale = nn.Linear(instruction_dim, channels)
        self.to_shift = nn.Linear(instruction_dim, channels)
        for layer in (self.to_scale, self.to_shift):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "B C H W"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        ### BEGIN SOLUTION
        scale = self.to_scale(z)[:, :, None, None]  # (B, C, 1, 1)
        shift = self.to_shift(z)[:, :, None, None]
        return (1 + scale) * x + shift
        ### END SOLUTION


# %% nbgrader={"grade_id": "film_check", "points": 3}
check_film(FiLM)

# %% nbgrader={"grade_id": "film_hidden", "points": 2}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
FILM.check(FiLM, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your layer at work.** If your layers are called `to_scale` and `to_shift`, RT-1's trained weights fit into them. Put
# your FiLM into the policy and let it pick 50 times (no points, a few seconds):

# %%
import gymnasium

from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.measure import rollout, success_rate
from course_lib.rt1 import RT1

if check_film(FiLM).passed:
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1, film=FiLM)
    tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=25)
    print("RT-1 with your FiLM:", success_rate(rollout(policy, tables, n=50, seed=30_000)))

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The two linear layers read the instruction; `[:, :, None, None]` turns `(B, C)` into `(B, C, 1, 1)`
# so that each number meets all pixels of its own image and channel. Weight and bias begin at zero, so a new FiLM is the
# identity. It can still learn: the gradient of the scale's weight is $\sum x \cdot z$, which is not zero although the
# weight is.
#
# Why `1 +`? Without it, zero weights would multiply the picture by zero, and random weights would fade it a little more
# in each of the 26 layers until nothing is left.
#
# Common mistakes: `scale * x + shift`; zeros for the weight but not for the bias; a `tanh` around the scale, which
# then cannot switch a channel off and make another one much louder; `(B, C)` without the two extra axes, which runs without
# an error when the batch is as large as the picture is high.

# %% [markdown]
# ## Exercise 2: TokenLearner
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 10 minutes | 5 | how 81 places become 8 tokens without cutting anything out |
#
# RT-1's vision network ends with 9 × 9 = 81 cells of 512 numbers. Six frames of them would be 486 tokens for the decoder;
# TokenLearner makes 48. Each of its K tokens is a *weighted mean of all cells*, and a small network decides the weights:
#
# 1. normalise each cell over its channels (`nn.LayerNorm`),
# 2. score it: Linear to `hidden` numbers, GELU, Linear to one score for each token,
# 3. for each token, a softmax over the *places* turns its scores into weights that sum to 1,
# 4. the token is the sum of weight × cell, with the cells as they were *before* the normalisation.
#
# **Your task:** write `TokenLearner(channels, tokens, hidden)`. Names inside are yours to choose; `norm`, `hidden` and
# `output` are the ones in which RT-1's trained weights come. (`trace` is there because the policy passes it: leave it
# alone, or keep your maps in it for the attention widget.)

# %% [markdown]
# <details><summary>Hint 1: what to make in __init__</summary>
#
# `nn.LayerNorm(channels, eps=1e-6)`, `nn.Linear(channels, hidden)`, `nn.Linear(hidden, tokens)`: 34,376 numbers for
# `(512, 8, 64)`, as many as in the paper's table (34K).
#
# </details>
# <details><summary>Hint 2: from a picture to rows of cells</summary>
#
# LayerNorm and Linear work on the last axis, so the channels must stand there: `x.flatten(2).transpose(1, 2)` has the
# shape `(B, H*W, C)`. A `reshape` to that shape would run too, and mix channels with places.
#
# </details>
# <details><summary>Hint 3: which axis the softmax runs over</summary>
#
# The scores are `(B, H*W, K)`. The weights of one token must sum to 1 over the places, which are axis 1. Then
# `torch.einsum("bsk,bsc->bkc", maps, cells)` adds up the cells.
#
# </details>


# %% nbgrader={"grade_id": "token_learner", "solution": true}
class TokenLearner(nn.Module):
    """K weighted means over the cells of a picture: (B, C, H, W) -> (B, K, C)."""

    def __init__(self, channels: int, tokens: int = 8, hidden: int = 64):
        super().__init__()
        ### BEGIN SOLUTION
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.hidden = nn.Linear(channels, hidden)
        self.output = nn.Linear(hidden, tokens)
        self.gelu = nn.GELU(approximate="tanh")
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "B C H W"], trace=None) -> Float[Tensor, "B K C"]:
        ### BEGIN SOLUTION
        cells = x.flatten(2).transpose(1, 2)  # (B, H*W, C)
        scores = self.output(self.gelu(self.hidden(self.norm(cells))))  # (B, H*W, K)
        maps = scores.softmax(1)  # over the places
        return torch.einsum("bsk,bsc->bkc", maps, cells)
        ### END SOLUTION


# %% nbgrader={"grade_id": "token_learner_check", "points": 3}
check_token_learner(TokenLearner)

# %% nbgrader={"grade_id": "token_learner_hidden", "points": 2}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
TOKEN_LEARNER.check(TokenLearner, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your layer at work.** If your layers are called `norm`, `hidden` and `output`, the trained weights fit. The 50 scenes
# are those of Exercise 1: the same function must pick the same things (no points, a few seconds).

# %%
import gymnasium

from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.measure import rollout, success_rate
from course_lib.rt1 import RT1

if check_token_learner(TokenLearner).passed:
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1, token_learner=TokenLearner)
    tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=25)
    rate = success_rate(rollout(policy, tables, n=50, seed=30_000))
    print("RT-1 with your TokenLearner:", rate)

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** `flatten(2).transpose(1, 2)` lays the cells out as rows. The two Linear layers see one cell at a
# time, so a cell's score does not depend on where it lies or on its neighbours; only the softmax compares places.
# Because the weights sum to 1 over the places, each token is a mean, and its size does not grow with the picture.
#
# Why normalise for the score and not for the sum? The score should ask *what* is in a cell, not how bright it is; but the
# decoder should get the features as they are.
#
# RT-1 uses the tanh form of GELU and a LayerNorm epsilon of 1e-6. With torch's defaults ordinary tokens differ by less
# than a thousandth, and the check takes both. The bias of the last layer moves nothing at all: it adds the same to the
# scores of all places, and a softmax does not see that. It is one of the 34,376 all the same.
#
# Common mistakes: `softmax(-1)`, which runs over the tokens; `x.reshape(B, H * W, C)`; sums of the normalised cells; a
# sigmoid in place of the softmax (version 1.0); a division by the number of places after the softmax has made a mean
# already.

# %% [markdown]
# ## Exercise 2b (optional): two look-alikes
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 7 minutes | 3 | to test a layer by what must be true of its output, not by its shape |
#
# Two layers are often shown in TokenLearner's place. They have the same shapes, they train, and a test that looks at
# shapes passes all three:
#
# | answer | the layer | what is true of its tokens |
# |---|---|---|
# | `"token learner"` | a softmax over the *places* | each token is a mean of its own; cells may be left out |
# | `"tokens compete"` | a softmax over the *tokens* | the K weights at a place sum to 1: each cell is handed out once |
# | `"one average"` | a sigmoid, divided by its sum | new sigmoids are all near 0.5: each token is nearly the plain mean |
#
# **Your task:** write `which_layer(x, tokens)`. You get the cells and the tokens, and never the layer or its maps. Expect
# bright and dark pictures, and pictures with much or little contrast.

# %% [markdown]
# <details><summary>Hint 1: what a softmax over the tokens cannot change</summary>
#
# If every cell is handed out exactly once, what do the K tokens add up to? Ask this question first.
#
# </details>
# <details><summary>Hint 2: how near is near?</summary>
#
# A distance means nothing by itself. Measure the tokens' distance from the mean cell in units of the cells' own
# distance from the mean cell. For the new layers of the library, 81 cells of 512 random numbers: 0.01 for one average,
# 0.12 to 0.17 for TokenLearner. A limit of 0.05 lies between.
#
# </details>
# <details><summary>Hint 3: equal sums of floats</summary>
#
# Sums in another order round differently, so `==` fails. `torch.allclose(a, b, rtol=..., atol=...)`, with an `atol`
# that grows with the size of what was added up: `1e-3 * x.abs().sum((2, 3)).max()`.
#
# </details>


# %% nbgrader={"grade_id": "look_alikes", "solution": true}
def which_layer(x: Float[Tensor, "B C H W"], tokens: Float[Tensor, "B K C"]) -> str:
    """ "token learner", "tokens compete" or "one average": which layer made these tokens of x?"""
    ### BEGIN SOLUTION
    total, mean = x.sum((2, 3)), x.mean((2, 3))  # (B, C) each
    rounding = 1e-3 * float(x.abs().sum((2, 3)).max())
    if torch.allclose(tokens.sum(1), total, rtol=0, atol=rounding):
        return "tokens compete"
    apart = (tokens - mean[:, None]).square().mean().sqrt()
    spread = (x - mean[:, :, None, None]).square().mean().sqrt()
    return "one average" if apart < 0.05 * spread else "token learner"
    ### END SOLUTION


# %% nbgrader={"grade_id": "look_alikes_check", "points": 2}
check_look_alikes(which_layer)

# %% nbgrader={"grade_id": "look_alikes_hidden", "points": 1}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
LOOK_ALIKES.check(which_layer, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your test at work**, on the library's three layers as they are built, with RT-1's sizes (no points):

# %%
from course_lib.rt1 import token_learner, variants

if check_look_alikes(which_layer).passed:
    x = torch.randn(4, 512, 9, 9)
    for kind in (token_learner.TokenLearner, variants.TokensCompete, variants.SigmoidTokens):
        layer = kind(512)
        numbers = sum(p.numel() for p in layer.parameters())
        print(f"{kind.__name__:<14} {numbers:>7,} numbers:", which_layer(x, layer(x).detach()))

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The first test is a conservation law: weights that sum to 1 at each place hand out each cell
# once, so $\sum_k \mathrm{token}_k = \sum_s \mathrm{cell}_s$ whatever the weights are. Nothing can be left out, the
# background included: that is what is wrong with this look-alike. Its tokens are sums over about 81 / 8 cells, not
# means.
#
# The second look-alike does make means, but of everything: sigmoids near one half, divided by their sum, are nearly 1/81
# each. All tokens say the same, and K equal tokens carry no more than one. Training must first break that tie.
#
# Ask in this order: a *new* softmax over the tokens gives weights near 1/K, so its tokens are nearly alike too.
#
# Common mistakes: `==` between sums of floats; the cosine between tokens, which is above 0.99 for all three layers when
# the features have a mean of 2; a fixed distance, which calls everything an average when the picture has little
# contrast.

# %% [markdown]
# ## Exercise 3: bins
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 8 minutes | 5 | what an action token is worth in millimetres, and what must never reach a robot |
#
# RT-1 turns each number of an action into one of 256 levels: 0 is the lowest value, 255 the highest, with 255 equal
# *steps* between them. Between the levels it must decide: go to the nearest one, or cut the decimals off (as RT-1's
# released code does).
#
# **Your task:** write the three methods of `Bins`.
#
# * `encode`: clip to the range, stretch to 0 … bins − 1, round (`"nearest"`) or cut off (`"floor"`), make an integer.
#   Infinite values are clipped like all others. NaN is no number at all: raise a `ValueError`.
# * `decode`: the number that a level stands for: level 0 gives `low`, level bins − 1 gives `high`.
# * `largest_error_mm`: for numbers in metres within the range, the most that encode-then-decode can be wrong.

# %% [markdown]
# <details><summary>Hint 1: the level of a number</summary>
#
# `(action - low) / (high - low)` runs from 0 to 1. How many *steps* lie between 256 levels?
#
# </details>
# <details><summary>Hint 2: the order of things</summary>
#
# Clip first, integer last. `.long()` of an infinity or a NaN is some integer, and on most machines not one you would
# send to a robot; `.clamp` keeps NaN as it is, so ask `action.isnan().any()` before.
#
# </details>
# <details><summary>Hint 3: the largest error</summary>
#
# Draw two neighbouring levels and a number between them. Rounded, it goes to the nearer one: half a step at most. Cut
# off, it always goes to the lower one: just below the upper level, that costs nearly a whole step.
#
# </details>


# %% nbgrader={"grade_id": "bins", "solution": true}
class Bins:
    """Numbers from low to high as tokens 0 ... bins - 1, and back; rounding is "nearest" or "floor"."""

    def __init__(self, low: float, high: float, bins: int = 256, rounding: str = "nearest"):
        self.low, self.high, self.bins, self.rounding = low, high, bins, rounding

    def encode(self, action: Tensor) -> Tensor:
        """Integer tokens of the same shape. Raises ValueError for NaN."""
        ### BEGIN SOLUTION
        if action.isnan().any():
            raise ValueError("An action must be numbers, got NaN: look at what made it.")
        share = (action.clamp(self.low, self.high) - self.low) / (self.high - self.low)  # 0 ... 1
        level = share * (self.bins - 1)
        return (level.round() if self.rounding == "nearest" else level.floor()).long()
        ### END SOLUTION

    def decode(self, tokens: Tensor) -> Tensor:
        """The numbers that the tokens stand for."""
        ### BEGIN SOLUTION
        return self.low + tokens / (self.bins - 1) * (self.high - self.low)
        ### END SOLUTION

    def largest_error_mm(self) -> float:
        """The largest |decode(encode(x)) - x| for x in metres within the range, in millimetres."""
        ### BEGIN SOLUTION
        step = 1000 * (self.high - self.low) / (self.bins - 1)
        return step / 2 if self.rounding == "nearest" else step
        ### END SOLUTION


# %% nbgrader={"grade_id": "bins_check", "points": 3}
check_bins(Bins)

# %% nbgrader={"grade_id": "bins_hidden", "points": 2}
# When your work is graded, the same check runs here on other ranges.
### BEGIN HIDDEN TESTS
BINS.check(Bins, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your bins at work.** RT-1's arm moves within ±1 per step (read as metres), our small robot within ±5 cm. And what
# becomes of "do not move", sent 30 times?

# %%
if check_bins(Bins).passed:
    for robot, reach in {"RT-1": 1.0, "our robot": 0.05}.items():
        for rounding in ("nearest", "floor"):
            arm = Bins(-reach, reach, 256, rounding)
            drift = 30_000 * arm.decode(arm.encode(torch.zeros(1))).item()
            worst = arm.largest_error_mm()
            print(f"{robot:<10} {rounding:<8} worst {worst:5.2f} mm; 30 x zero: {drift:+7.1f} mm")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** 256 levels have 255 steps, so a step of RT-1's arm is 2 / 255 m = 7.84 mm. Cut off, the error
# lies between −7.84 mm and 0, with a mean of half a step to one side; rounded, between ±3.92 mm, with a mean of zero.
# (0.4 mm, which you can read in places, is a step of a range of ±0.05 m.)
#
# What rounding cannot repair is zero. 256 is even, so zero lies exactly between the levels 127 and 128: "do not move"
# moves the arm by half a step either way, and thirty of them by 118 mm.
#
# Why refuse NaN? Made into an integer without a question, it becomes whatever the machine makes of it, and a clamp
# afterwards turns that into token 0: full speed backwards. An error that stops the robot is the better outcome.
#
# Common mistakes: `* bins` instead of `* (bins - 1)`; `.long()` before `.clamp`; `.round()` left as a float; `decode`
# with the middles of 256 equal bins, which are other numbers than these levels; an error bound in metres, or that of
# the other rounding.

# %% [markdown]
# ## Exercise 4: who may look at whom
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 8 minutes | 5 | RT-1's mask, and why its outputs are read one position early |
#
# RT-1's decoder reads T steps, each with K image tokens and then A action positions: 6 × (8 + 11) = 114. The paper
# counts the 48 image tokens; the 66 action positions are there too, with zeros as input. Three rules decide who may
# look at whom:
#
# * nobody looks ahead; a position may look at itself and at what came before,
# * but an action position looks at **no** action position, not even itself,
# * and a later image token may look at past action positions.
#
# With two steps of 2 image (`i`) and 2 action (`a`) positions (rows look at columns, `#` = may look):
#
# ```
#      i i a a  i i a a
# i    # . . .  . . . .
# i    # # . .  . . . .
# a    # # . .  . . . .
# a    # # . .  . . . .
# i    # # # #  # . . .
# i    # # # #  # # . .
# a    # # . .  # # . .
# a    # # . .  # # . .
# ```
#
# Action number k of a step is predicted *one position early*, as in any model that predicts what comes next: number 0
# is read at the step's last image token, number 1 at the first action position, and so on.
#
# **Your task:** write `positions(T, K, A)`. It returns the mask, `(S, S)` with S = T · (K + A), True where row i may
# look at column j; and the positions where each step's A numbers are read, `(T, A)`.

# %% [markdown]
# <details><summary>Hint 1: which positions are actions?</summary>
#
# Position p is number `p % (K + A)` of its step. The first K of a step are image tokens.
#
# </details>
# <details><summary>Hint 2: the mask from two marks</summary>
#
# With `p = torch.arange(S)`, `p[:, None] >= p[None, :]` is "may look back". Take away the pairs where both are actions:
# `action[:, None] & action[None, :]`.
#
# </details>
# <details><summary>Hint 3: the read positions</summary>
#
# Step t begins at `t * (K + A)`. Its last image token stands K − 1 further. From there A positions in a row. In RT-1, for
# the last step: 102 … 112. Position 113 is never read.
#
# </details>


# %% nbgrader={"grade_id": "positions", "solution": true}
def positions(T: int, K: int, A: int) -> tuple[Tensor, Tensor]:
    """RT-1's mask, bool (S, S) for S = T * (K + A), and the read positions, integers (T, A)."""
    ### BEGIN SOLUTION
    p = torch.arange(T * (K + A))
    action = p % (K + A) >= K
    mask = (p[:, None] >= p[None, :]) & ~(action[:, None] & action[None, :])
    begin = torch.arange(T)[:, None] * (K + A)  # (T, 1): where each step begins
    return mask, begin + K - 1 + torch.arange(A)
    ### END SOLUTION


# %% nbgrader={"grade_id": "positions_check", "points": 3}
check_positions(positions)

# %% nbgrader={"grade_id": "positions_hidden", "points": 2}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
POSITIONS.check(positions, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your mask at work.** All 114 positions, and the last two steps enlarged:

# %%
from course_lib.classroom.plots_rt1 import mask_figure, show

picture = None
if check_positions(positions).passed:
    mask, read = (torch.as_tensor(part) for part in positions(6, 8, 11))
    picture = show(mask_figure(mask.bool(), 8, 11, read.reshape(6, 11)[-1].long()))
picture

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** One number says everything about a position: its place in its step. The mask is "causal, minus
# action looks at action": 4,344 of the 12,996 entries are True.
#
# What follows from it: every action number is decided from the pictures alone, so all 11 come out of one pass. And
# since the action positions get zeros as input, the released loop, which runs the decoder 11 times per control step,
# gets the same numbers each time.
#
# The path from a past action position to a later image token is open: what flows there is not the action, which is a
# zero, but what that position has read from the pictures. The later JAX code of RT-1-X closes it.
#
# Common mistakes: the plain causal mask; the diagonal left open for action positions; reading at the action positions
# themselves, which is one late, so that position 113 is read and 102 is not; steps of K instead of K + A.

# %% [markdown]
# ## Exercise 5 (optional): each frame once
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 8 minutes | 3 | why a policy with six frames of history need not cost six times as much |
#
# Three times a second RT-1 decides on its last six frames. Five of them it has seen before: their tokens are known. The
# paper keeps them, and calls the policy 1.7 times faster for it.
#
# **Your task:** write `TokenMemory(image_tokens, history)`. `image_tokens(frame, z)` is the expensive part, the whole
# vision network with TokenLearner, for N robots at once: it gives `(N, K, D)`. `step(frame, z)` returns the tokens of
# the last `history` frames, oldest first: `(N, t, K, D)`, where t grows from 1 to `history` and then stays. `reset()`
# begins a new episode.

# %% [markdown]
# <details><summary>Hint 1: what to keep</summary>
#
# Tokens, not frames. In each step call `image_tokens` once, with the new frame only.
#
# </details>
# <details><summary>Hint 2: a window that slides</summary>
#
# A list whose end you keep (`kept[-history:]`), or `collections.deque(maxlen=history)`. What leaves the window must
# leave the memory too: a robot works all day.
#
# </details>
# <details><summary>Hint 3: the axis of time</summary>
#
# Each frame's tokens are `(N, K, D)`; `torch.stack(kept, dim=1)` puts time between robots and tokens.
#
# </details>


# %% nbgrader={"grade_id": "token_memory", "solution": true}
class TokenMemory:
    """The tokens of the last ``history`` frames; each frame goes through ``image_tokens`` once."""

    def __init__(self, image_tokens, history: int = 6):
        self.image_tokens, self.history = image_tokens, history
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        ### BEGIN SOLUTION
        self.kept = []
        ### END SOLUTION

    def step(self, frame: Tensor, z: Tensor) -> Tensor:
        """The tokens of the frames so far, with the new one last: (N, t, K, D)."""
        ### BEGIN SOLUTION
        self.kept = [*self.kept, self.image_tokens(frame, z)][-self.history :]
        return torch.stack(self.kept, dim=1)
        ### END SOLUTION


# %% nbgrader={"grade_id": "token_memory_check", "points": 2}
check_token_memory(TokenMemory)

# %% nbgrader={"grade_id": "token_memory_hidden", "points": 1}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
TOKEN_MEMORY.check(TokenMemory, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your memory at work**, with the trained policy: the same decision as from six whole frames, in less time (no points).

# %%
import statistics
import time


def milliseconds(work, runs=20):
    work()  # once before: the first time is never like the others
    spans = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        spans.append(1000 * (time.perf_counter() - begin))
    return statistics.median(spans)


# %%
from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1

if check_token_memory(TokenMemory).passed:
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1).eval()
    frames, z = torch.rand(6, 1, 3, 64, 64), nn.functional.normalize(torch.randn(1, 384), dim=-1)
    memory = TokenMemory(policy.image_tokens, policy.config.history)
    with torch.inference_mode():
        for frame in frames:
            window = memory.step(frame, z)
        whole = frames.transpose(0, 1)  # (1, 6, 3, 64, 64)
        gap = (policy.decoder(window) - policy(whole, z)).abs().max()
        often = milliseconds(lambda: policy(whole, z))
        once = milliseconds(lambda: policy.decoder(memory.step(frames[-1], z)))
    print(f"largest difference {gap:.1e}; six frames {often:.1f} ms, one frame {once:.1f} ms")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** A list, its last `history` entries, and a `stack`. Appending at the end keeps the oldest first,
# as the decoder was trained. `image_tokens` is called with one frame, so a step costs one frame however long the
# history is.
#
# Two things to know. The tokens depend on the instruction too (FiLM!), so when the sentence changes in the middle of an
# episode, the old frames' tokens were made with the old sentence: reset, or live with five frames of echo. And only the
# *tokens* can be kept, not the decoder's keys and values: when the window slides, every frame moves to another
# position, and RT-1's positions are learned for fixed places.
#
# Common mistakes: keeping the frames and encoding all of them again; a ring buffer that is returned without being
# turned; a window filled up with copies of the first frame; a list that grows all day; `reset` that forgets to forget.

# %% [markdown]
# # Part 2: reading experiments
#
# From here on you measure. The answers are functions that turn results into numbers; then you say in words what the
# numbers mean. *In your own words* cells are marked by a person: short and exact beats long. Exercise 6 belongs to
# the 45 minutes; 7 to 9 are optional extras.

# %% nbgrader={"grade_id": "setup_experiments"}
import math

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.classroom.checks import GAZE, MIXING, PAIRS, POWER_LAW, SPEED, check_gaze
from course_lib.classroom.checks import check_compare_pairs, check_compare_speed
from course_lib.classroom.checks import check_fit_power_law, check_mixing

# %% [markdown]
# ## Exercise 6: what do the eight tokens look at?
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 9 minutes | 5, and 4 by hand | what an attention map measures, how wide it is, and what it does not prove |
#
# TokenLearner leaves one map per token: how much of its average comes from each cell of the feature map. The camera's
# picture is finer than the map: a cell covers a block of $(H/h) \times (W/w)$ pixels, and shares its attention evenly
# among them.
#
# **Your task:** write `gaze(maps, target)`. `maps` is $(K, h, w)$, not negative; `target` is true where the picture
# shows the target; $H$ is a multiple of $h$, and $W$ of $w$. Version 1.0's maps do not sum to 1, so divide each map
# by its own sum first. Return two things, each with one number per map:
#
# - `on_target`: the part of the map's attention that lies on the target's pixels;
# - `cells`: over how many cells the map is spread, $2^S$ with the entropy $S = -\sum_i p_i \log_2 p_i$ in bits. One
#   cell gives 1, an even map gives $h \cdot w$; a cell without attention adds nothing.

# %% [markdown]
# <details><summary>Hint 1: from pixels to cells</summary>
#
# What is missing is the *part* of each cell's pixels that show the target. A reshape of `(H, W)` to
# `(h, H // h, w, W // w)` puts the pixels of one cell on axes 1 and 3.
#
# </details>
# <details><summary>Hint 2: the sums</summary>
#
# `maps.sum((1, 2), keepdim=True)` is each map's own sum. Then `on_target` is a sum over the cells of attention times
# part.
#
# </details>
# <details><summary>Hint 3: 0 log 0</summary>
#
# `0 * log2(0)` is `nan` on a computer, and 0 here. `torch.where(p > 0, p, 1)` puts a 1, whose logarithm is 0, where
# it does not matter.
#
# </details>


# %% nbgrader={"grade_id": "gaze", "solution": true}
def gaze(maps: Float[Tensor, "K h w"], target: Bool[Tensor, "H W"]) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """(part of each map's attention on the target's pixels, cells that each map is spread over)."""
    ### BEGIN SOLUTION
    (_, h, w), (H, W) = maps.shape, target.shape
    part = target.float().reshape(h, H // h, w, W // w).mean((1, 3))  # (h, w)
    p = maps / maps.sum((1, 2), keepdim=True)
    bits = -(p * torch.where(p > 0, p, 1).log2()).sum((1, 2))
    return (p * part).sum((1, 2)), 2**bits
    ### END SOLUTION


# %% nbgrader={"grade_id": "gaze_check", "points": 3}
check_gaze(gaze)

# %% nbgrader={"grade_id": "gaze_hidden", "points": 2}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
GAZE.check(gaze, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work** (a few seconds). RT-1's eyes hear the sentence: the same picture twice, once with the
# target's name and once with the name of another thing on the table. How much attention lies on the same pixels?

# %%
from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1
from course_lib.world.env import TabletopEnv
from course_lib.world.objects import NAMES
from course_lib.world.tasks import PICK_TASKS


def look(policy, picture, sentence):
    """The maps (K, h, w) of the first step."""
    trace = {}
    policy.reset()
    policy.act({"image": picture, "instruction": sentence}, trace=trace)
    return trace["token_learner/maps"][0]


# %%
if check_gaze(gaze).passed:
    policy, rows = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1), []
    env = TabletopEnv(tasks=PICK_TASKS)
    for scene in range(30_000, 30_024):
        observation, info = env.reset(seed=scene)
        target = NAMES[info["target"]]
        other = next(name for name in env.labels[1:] if name != target)
        pixels = torch.from_numpy(env.segmentation() == env.labels.index(target))
        on, cells = gaze(look(policy, observation["image"], f"pick up the {target}"), pixels)
        off, _ = gaze(look(policy, observation["image"], f"pick up the {other}"), pixels)
        one = [on.mean(), off.mean(), on.max(), off.max(), pixels.float().mean(), cells.mean()]
        rows.append([float(number) for number in one])

# %%
if check_gaze(gaze).passed:
    table = np.array(rows)  # (scenes, 6)
    words = ["all tokens, target named", "... other thing named", "best token, target named"]
    words += ["... other thing named", "an even gaze", "cells, of 64", "all tokens, named - not named"]
    columns = [*table.T, table[:, 0] - table[:, 1]]
    for name, column in zip(words, columns, strict=True):
        print(f"{name:<30}{column.mean():8.3f} ± {column.std(ddof=1) / len(column) ** 0.5:.3f}")
    print(f"more on the target when it is named: {(columns[-1] > 0).sum()} of {len(table)} scenes")

# %% [markdown]
# **In your own words** (4 points, marked by a person). Does TokenLearner look at what the sentence names? Answer in
# three to six sentences: your claim with the two or three numbers that carry it; why "the best token spends a
# multiple of an even gaze on the target" is weaker evidence than it sounds; and one thing that these maps cannot tell
# you about the policy.

# %% [markdown] nbgrader={"grade_id": "gaze_words", "solution": true, "points": 4}
# Yes, in part. On the same pixels, all tokens together spend 3.5% of their attention when the thing is named and 1.8%
# when another one is; the difference, scene by scene, is 1.6 ± 0.2 points and has the same sign in all 24 scenes. An
# even gaze would give 2.5%, so naming raises the attention above its share of the picture, and naming something else
# lowers it. But the tokens are wide, about 15 of 64 cells, and most attention is elsewhere.
#
# The best token is the largest of eight numbers: it would be above an even gaze by selection alone, even if all maps
# were blind to the sentence. The comparison with the other sentence, in which the same selection is made, is the fair
# one.
#
# A map says where a token takes its average, not what is done with it; each cell of the last feature map has seen far
# beyond its own square. To show that the policy *uses* the place one would have to change the picture there and see
# the action.

# %% [markdown] tags=["worked-solution"]
# **Rubric.** One point each for: the claim, carried by the difference between the two sentences; its uncertainty (an
# error, or the number of scenes); selection of the best of eight; a limit that is right (average and not use,
# receptive field, first frame only, one policy).
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 4 | all four | "Naming the thing raises attention on its pixels by 1.6 ± 0.2 points of 100 (24 of 24 scenes), from 1.8 to 3.5%. The best token is chosen after looking, so it is high by selection. Where attention lies does not say that the action depends on it." |
# | 3 | one is missing, or a number is given without its error | "It is 3.5% when named and 1.8% when not. The best of eight is always large. We do not know if the policy uses it." |
# | 2 | two of the four, such as a comparison with numbers and a limit | "Attention on the target doubles when it is named. But maps do not prove use." |
# | 1 | one of the four; or only a comparison with the even gaze | "The target gets 3.5%, more than its 2.5% of the picture, so it looks at it." |
# | 0 | no number, or the opposite of what was measured | "The bright spot is on the apple, so the robot understands the word." |

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The reshape puts the pixels of a cell on axes of their own, their mean is the part that shows
# the target, and everything else is a sum. Enlarging the map instead (`np.kron`, `repeat_interleave`) gives the same
# after another division. The course's own `attention_shares` is more generous to things: a cell that shows a thing
# counts for the things in it, not for the table around them, because a cell is coarse.
#
# Common mistakes: tiling the map over the picture instead of enlarging its cells; counting a cell in full when one of
# its pixels is target; one sum for all maps; the entropy of the mean map, which is wide when eight narrow maps look
# at eight places; natural logarithm with `2 **`; `nan` from empty cells.

# %% [markdown]
# ## Exercise 7 (optional): a scaling law, and how sure you are
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 15 minutes | 5, and 4 by hand | weights, standard errors, and what four points can and cannot show |
#
# "The error falls as a power of the data": $\mathrm{error} = a\,(N/100)^{-b}$, a straight line between logarithms.
# Success is counted, and a size with 20 trials knows less than one with 600; so fit a *weighted* line, and say how
# sure you are.
#
# **Your task:** write `fit_power_law(sizes, successes, trials)`, which returns `a`, `b`, `b_error`, `chi2`:
#
# - for each size, $e = (\mathrm{failures} + \frac12) / (\mathrm{trials} + 1)$: the half keeps a size without failures
#   finite;
# - the line $\log e = \log a - b\,\log(N/100)$ by weighted least squares, with the weights $w =
#   1/\mathrm{variance}(\log e) = \mathrm{trials} \cdot e / (1 - e)$;
# - `a`, the error at $N = 100$; `b`; the standard error of `b` from the weights alone (not from how well the line
#   fits);
# - $\chi^2 = \sum w\,(\log e - \mathrm{line})^2$: for a true law about the number of sizes minus 2.

# %% [markdown]
# <details><summary>Hint 1: where the weights come from</summary>
#
# A rate $e$ of $n$ trials has the variance $e(1-e)/n$. A logarithm stretches small changes by $1/e$, so the variance
# of $\log e$ is $(1-e)/(n e)$. The weight is one over it.
#
# </details>
# <details><summary>Hint 2: a function that does the line</summary>
#
# `np.polyfit(x, y, 1, w=..., cov="unscaled")` multiplies the *differences* with `w` before it squares them: it wants
# the root of the weights. It returns the slope first, then the height, and their covariances.
#
# </details>
# <details><summary>Hint 3: by hand</summary>
#
# With $\bar x$ the weighted mean: slope $= \sum w (x-\bar x)(y - \bar y) / \sum w (x-\bar x)^2$, height $= \bar y -$
# slope $\cdot\, \bar x$, and the slope's variance is $1 / \sum w (x-\bar x)^2$.
#
# </details>


# %% nbgrader={"grade_id": "fit_power_law", "solution": true}
def fit_power_law(
    sizes: Int[np.ndarray, " S"], successes: Int[np.ndarray, " S"], trials: Int[np.ndarray, " S"]
) -> tuple[float, float, float, float]:
    """(a, b, standard error of b, chi2) of error = a (N / 100) ** -b."""
    ### BEGIN SOLUTION
    error = (trials - successes + 0.5) / (trials + 1)
    x, y, weight = np.log(sizes / 100), np.log(error), trials * error / (1 - error)
    (slope, height), covariance = np.polyfit(x, y, 1, w=weight**0.5, cov="unscaled")
    chi2 = (weight * (y - height - slope * x) ** 2).sum()
    return math.exp(height), -slope, covariance[0, 0] ** 0.5, chi2
    ### END SOLUTION


# %% nbgrader={"grade_id": "fit_power_law_check", "points": 3}
check_fit_power_law(fit_power_law)

# %% nbgrader={"grade_id": "fit_power_law_hidden", "points": 2}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
POWER_LAW.check(fit_power_law, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your fit at work.** RT-1's data ablation (Table 7 of the paper): 22, 37, 51 and 100% of the data. The trials are
# not printed; 14, 57, 52 and 76% are 3, 12, 11 and 16 of 21 unseen instructions, and 41, 47, 59 and 59% are 7, 8, 10
# and 10 of 17 backgrounds, as the rounding gives away. (If each was tried several times, there were a multiple of
# these trials, and the errors are smaller.) With $N$ in per cent of the data, `a` is the error at all of it. Below them
# are our own runs, as many as have been made: there $N$ counts episodes.

# %%
from course_lib.classroom.experiments import rows as kept
from course_lib.classroom.experiments import scaling

results = {
    "RT-1, unseen instructions": ([22, 37, 51, 100], [3, 12, 11, 16], [21] * 4),
    "RT-1, other backgrounds": ([22, 37, 51, 100], [7, 8, 10, 10], [17] * 4),
}
done = kept.rows_of(scaling.runs())
for test in ("seen", "unseen"):
    points = scaling.points(done, test)
    if len(points) > 1:
        totals = [(p.size, sum(p.successes), sum(p.trials)) for p in points]
        results[f"our clones, {test} tasks"] = tuple(zip(*totals, strict=True))
print(len(done), "runs of our own have been made")
if check_fit_power_law(fit_power_law).passed:
    for name, given in results.items():
        a, b, b_error, chi2 = fit_power_law(*map(np.array, given))
        print(f"{name:<28} a = {a:.3f}, b = {b:.2f} ± {b_error:.2f}", end=", ")
        print(f"chi2 = {chi2:.1f} (about {len(given[0]) - 2} expected)")

# %% [markdown]
# **In your own words** (4 points, marked by a person). Is success on unseen instructions a power law of the data? Say
# what $\chi^2$ tells you and what it cannot; compare the two exponents of RT-1, with their errors; name another law
# that these points would allow as well; and say what you would measure to decide.

# %% [markdown] nbgrader={"grade_id": "power_law_words", "solution": true, "points": 4}
# It is not refuted, and not shown either. chi2 is 1.2 where 2 is expected, so four points with 21 trials each are as
# close to the line as luck allows; with errors this large they would be close to many curves. The exponent is 0.80 ±
# 0.20: success does grow with data. For backgrounds it is 0.25 ± 0.23, hardly different from no growth at all; the
# two differ by 0.55 ± 0.30, less than two standard errors, so I cannot even say that they are different.
#
# A curve that levels off below 100%, such as an S-curve in log N, fits four points as well, and predicts something
# else for four times the data: the power law says an error of 8%. To decide I would measure sizes over several
# decades, such as 1% to 100%, with hundreds of trials and several seeds each, and look for a bend in the differences
# from the line.

# %% [markdown] tags=["worked-solution"]
# **Rubric.** One point each for: chi2 read rightly (no contradiction is not evidence *for*); the exponents compared
# with their errors; another law (logistic, a ceiling, a line in log N); a measurement that would decide (more
# decades, more trials, seeds).
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 4 | all four | "chi2 = 1.2 for 2 expected: not refuted, but 21 trials a point would not refute an S-curve either. b = 0.80 ± 0.20 against 0.25 ± 0.23 for backgrounds: less than two errors apart. More decades and hundreds of trials would tell." |
# | 3 | one of them is missing | "The fit is good but four noisy points fit a logistic too. b is 0.8 and 0.25. I would run 1% to 100% with more trials." |
# | 2 | two of the four | "chi2 is small, so it may be a power law; I would take more data points to be sure." |
# | 1 | one of the four | "More data gives less error, b = 0.8." |
# | 0 | takes the fit for a proof, or no number | "Yes: the points lie on a straight line in the log plot." |

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Taking logarithms makes the law a line and the noise uneven; the weights put that right. The
# errors come from the counts, so they do not shrink when four points happen to lie on a line, and `chi2` is left to
# say whether the line is wrong. `course_lib.measure.scaling` goes one step further: the binomial likelihood itself,
# without logarithms and without the half failure.
#
# Common mistakes: no weights; the weights instead of their roots in `polyfit`; `cov=True`, which mistakes a bad law
# for noise; fitting success; `log10` on one axis; `a` at $N = 1$, outside of everything that was measured.

# %% [markdown]
# ## Exercise 8a (optional): which decoder is faster?
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 10 minutes | 5 | how to time code that returns before its work is done, on a machine that others use too |
#
# RT-1 reads eleven action tokens from one pass; an autoregressive decoder takes eleven. How many times longer does
# that take? Three things spoil such numbers: the first calls are slow (kernels are chosen, caches fill); a GPU works
# on after the call has returned; and somebody else's program runs in the same minute.
#
# **Your task:** write `compare_speed(first, second, clock, wait, warmup, rounds)`. `first()` and `second()` start one
# step of each decoder; `wait()` returns when all started work is done; `clock()` gives seconds. Call each `warmup`
# times without measuring. Then measure `rounds` rounds; in each round both, one after the other, so that a busy
# moment hits both. Return
#
# - the median milliseconds of `first` and of `second`;
# - the median, over the rounds, of *second's time / first's time*.
#
# The check hands you a pretend device with a clock of its own: `time.time()` would tell you nothing about it.

# %% [markdown]
# <details><summary>Hint 1: one measurement</summary>
#
# `wait()`, read the clock, call, `wait()`, read the clock. The first `wait()` makes sure that nothing older is
# counted.
#
# </details>
# <details><summary>Hint 2: the rounds</summary>
#
# A loop over rounds outside; inside, measure `first`, then `second`, and keep both in a list each.
#
# </details>
# <details><summary>Hint 3: the ratio</summary>
#
# The median of the ratios is not the ratio of the medians: in each round both decoders met the same busy machine, two
# medians may come from different rounds. `statistics.median` takes the mean of the two middle ones when their number
# is even.
#
# </details>


# %% nbgrader={"grade_id": "compare_speed", "solution": true}
def compare_speed(first, second, clock, wait, warmup: int = 3, rounds: int = 20) -> tuple[float, float, float]:
    """(median ms of first, median ms of second, median of their ratio round by round)."""
    ### BEGIN SOLUTION
    for _ in range(warmup):
        first()
        second()
    ms = np.zeros((rounds, 2))
    for i in range(rounds):
        for j, run in enumerate((first, second)):
            wait()
            start = clock()
            run()
            wait()
            ms[i, j] = 1000 * (clock() - start)
    return *np.median(ms, axis=0), np.median(ms[:, 1] / ms[:, 0])
    ### END SOLUTION


# %% nbgrader={"grade_id": "compare_speed_check", "points": 3}
check_compare_speed(compare_speed)

# %% nbgrader={"grade_id": "compare_speed_hidden", "points": 2}
# When your work is graded, the same check runs here on other devices.
### BEGIN HIDDEN TESTS
SPEED.check(compare_speed, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work**, on your machine (on a CPU there is nothing to wait for; on a GPU `wait` would be
# `torch.cuda.synchronize`). In the paper: 15 ms against 36 ms, 2.4 times.

# %%
from time import perf_counter

from course_lib.classroom.experiments.decoding import steps_to_time

if check_compare_speed(compare_speed).passed:
    steps = steps_to_time()
    parallel = steps["parallel: one pass"]
    for name in ("autoregressive, keys and values cached", "autoregressive, no cache"):
        a, b, times = compare_speed(parallel, steps[name], perf_counter, lambda: None, rounds=11)
        print(f"{name}: {b:.1f} ms against {a:.1f} ms, {times:.2f} times")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Warm up, wait, clock, run, wait, clock; both in every round; medians at the end. Pairs first,
# median later: the same idea as in exercise 9, where the scene takes the place of the round.
#
# Common mistakes: no `wait()` before the second clock, which times the launch; none before the first one, which times
# what was still going on; all rounds of one decoder before those of the other; a mean, which one interrupted round
# moves; `torch.median`, which takes the lower of two middle values.

# %% [markdown]
# ## Exercise 8b (optional): two good ways, and what lies between
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 10 minutes | 4 | what a decoder that decides each number on its own cannot say, in counts and in nats |
#
# Two apples lie on one diagonal around the gripper, two cups on the other. Experts go for either apple. A policy that
# draws $x$ and $y$ independently points at a cup half of the time, although it has never seen that.
#
# **Your task:** write `mixing(moves, apples, least)`. `moves` is (draws, scenes, 2): the $x$ and $y$ of first actions
# that were drawn again and again in each scene, in metres. `apples[n]` is +1 where scene $n$ has its apples on the
# diagonal $(+,+), (-,-)$ and $-1$ where they lie on $(+,-), (-,+)$. Only moves with $|x|$ *and* $|y|$ above `least`
# count. Return
#
# - `mixed`: the part of these moves that points at the cups, $\mathrm{sign}(xy) \neq$ `apples`;
# - `nats`: the mutual information of the two signs, after turning each scene so that its apples lie on $(+,+),
#   (-,-)$: with $s = \mathrm{sign}(x)$ and $t = \mathrm{apples} \cdot \mathrm{sign}(y)$, and $p(s, t)$ the parts of
#   the moves in the four corners, $\sum p(s,t) \ln \frac{p(s,t)}{p(s)\,p(t)}$. Two independent coins give 0, the
#   experts give $\ln 2 = 0.69$.

# %% [markdown]
# <details><summary>Hint 1: which moves count</summary>
#
# `both = (np.abs(moves) > least).all(-1)` is (draws, scenes). Indexing with it, `x[both]`, leaves one long list of
# moves.
#
# </details>
# <details><summary>Hint 2: scenes</summary>
#
# `apples` is (scenes,) and lines up with the last axis of `moves[..., 1]`: multiply before you index.
#
# </details>
# <details><summary>Hint 3: the information</summary>
#
# Count the four corners, divide by their sum: a table `p` of two by two. `np.outer(p.sum(1), p.sum(0))` is what it
# would be without any connection. An empty corner adds nothing: sum only where `p > 0`.
#
# </details>


# %% nbgrader={"grade_id": "mixing", "solution": true}
def mixing(moves: Float[np.ndarray, "D N 2"], apples: Int[np.ndarray, " N"], least: float = 0.005) -> tuple[float, float]:
    """(part of the moves that points at the cups, mutual information of the signs in nats)."""
    ### BEGIN SOLUTION
    both = (np.abs(moves) > least).all(-1)  # (D, N)
    s, t = moves[..., 0][both] > 0, (moves[..., 1] * apples)[both] > 0
    p = np.array([[np.mean((s == a) & (t == b)) for b in (False, True)] for a in (False, True)])
    product = np.outer(p.sum(1), p.sum(0))
    there = p > 0
    return np.mean(s != t), (p[there] * np.log(p[there] / product[there])).sum()
    ### END SOLUTION


# %% nbgrader={"grade_id": "mixing_check", "points": 3}
check_mixing(mixing)

# %% nbgrader={"grade_id": "mixing_hidden", "points": 1}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
MIXING.check(mixing, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work.** The shipped RT-1 decodes in parallel and was never trained with two apples. Eight first
# actions drawn in each of 50 scenes; below, what clones did that were trained on this very task
# (`data/day92_decoding.csv`).

# %%
from course_lib.classroom.experiments import decoding
from course_lib.classroom.experiments import rows as kept
from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.rt1 import RT1
from course_lib.rt1.policy import sampling
from course_lib.world.render import render
from course_lib.world.scenes import two_mode
from course_lib.world.tasks import Goals

if check_mixing(mixing).passed:
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1)
    policy.pick = sampling(torch.Generator().manual_seed(0))
    state = two_mode(torch.arange(50), Goals.of([decoding.TASKS[0]] * 50))
    apples = (state.xyz[:, 0, :2] - state.xyz[:, 1, :2]).prod(1).sign().long().numpy()  # of the line between them
    seen, draws = {"image": render(state).numpy(), "instruction": "pick up the apple"}, []
    for _ in range(8):
        policy.reset()
        draws.append(policy.act(seen)[:, :2])
    print("the shipped RT-1: {:.0%} mixed, {:.2f} nats".format(*mixing(np.stack(draws), apples)))
for run in kept.rows_of(decoding.runs()):
    got, head = run["result"]["sampled"], f"{run['run']['head']}, seed {run['run']['seed']}"
    print(f"{head}: {got['mixed'] / got['first_actions']:.0%} of {got['first_actions']} first actions mixed")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Turning a scene is multiplying $y$ by its +1 or -1; then all scenes have the same table of two
# by two, and one division and one sum remain. `mixed` is what the robot suffers from; `nats` is what the decoder
# fails to say: an independent one has 0 whatever its `mixed`, and an autoregressive one can reach $\ln 2$.
#
# Common mistakes: dividing by all draws, also those that move along one axis only; not turning the scenes, so that
# both diagonals fall together and nothing seems to be known; `apples[:, None]`, which gives scene $n$'s diagonal to
# draw $n$ and fails only when draws and scenes differ in number; the entropy instead of the information; `nan` from
# an empty corner.

# %% [markdown]
# ## Exercise 9 (optional): is FiLM better than concatenation?
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 15 minutes | 5, and 4 by hand | paired comparison: most of the luck lies in the scene, so let both policies face the same ones |
#
# Policy `a` and policy `b` tried the same scenes. Scenes that both solved, or neither, say nothing about which one is
# better. What counts are `only_a` and `only_b`, the scenes that one of them solved alone.
#
# **Your task:** write `compare_pairs(a, b)` for two arrays of True and False, one entry per scene. Return four
# numbers:
#
# - `difference`: how much more often `b` succeeds, $(\mathrm{only\_b} - \mathrm{only\_a}) / n$;
# - `low` and `high`: its 95% interval after adding half a scene to each of the four counts (Agresti and Min 2005).
#   With $c = \mathrm{only\_a} + \frac12$, $d = \mathrm{only\_b} + \frac12$, $m = n + 2$ and $\delta = (d - c)/m$:
#   $\;\delta \pm 1.96 \sqrt{\left((c + d)/m - \delta^2\right)/m}$;
# - `p`, McNemar's exact test: if both were equally good, each of the `only_a + only_b` scenes would be a fair coin.
#   Twice the chance of at most the smaller count, and never more than 1.

# %% [markdown]
# <details><summary>Hint 1: counting</summary>
#
# `(a & ~b).sum()` counts the scenes that only `a` solved. (NumPy refuses to subtract truth values.)
#
# </details>
# <details><summary>Hint 2: the coin</summary>
#
# Of $k$ tosses, at most $s$ heads: `sum(math.comb(k, i) for i in range(s + 1)) / 2**k`.
#
# </details>
# <details><summary>Hint 3: the edges</summary>
#
# Equal counts: twice a tail would be more than 1. No scene that tells them apart: the sum is 1, `p` is 1, and the
# interval is still not a point, thanks to the half scenes.
#
# </details>


# %% nbgrader={"grade_id": "compare_pairs", "solution": true}
def compare_pairs(a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " n"]) -> tuple[float, float, float, float]:
    """(success of b minus success of a, low and high end of its 95% interval, McNemar's exact p)."""
    ### BEGIN SOLUTION
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    c, d, m = only_a + 0.5, only_b + 0.5, n + 2
    middle = (d - c) / m
    half = 1.96 * math.sqrt(((c + d) / m - middle**2) / m)
    k, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(k, i) for i in range(fewer + 1)) / 2**k
    return (only_b - only_a) / n, middle - half, middle + half, min(1.0, 2 * tail)
    ### END SOLUTION


# %% nbgrader={"grade_id": "compare_pairs_check", "points": 3}
check_compare_pairs(compare_pairs)

# %% nbgrader={"grade_id": "compare_pairs_hidden", "points": 2}
# When your work is graded, the same check runs here on other outcomes.
### BEGIN HIDDEN TESTS
PAIRS.check(compare_pairs, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work.** FiLM against concatenation, and the two decoders of exercise 8, for every seed that has been
# trained both ways: the same data, the same steps, the same 400 scenes.

# %%
from course_lib.classroom.experiments import decoding, language
from course_lib.classroom.experiments import rows as kept


def outcomes(rows, setting, test):
    """(value of the setting, seed) -> True or False for each scene."""
    bits = {(row["run"][setting], row["run"]["seed"]): row["result"][test]["each"] for row in rows}
    return {key: np.array(list(each)) == "1" for key, each in bits.items()}


plans = [
    ("concatenated", "FiLM", outcomes(kept.rows_of(language.runs()), "language", "seen")),
    ("parallel", "autoregressive", outcomes(kept.rows_of(decoding.runs()), "head", "sampled")),
]
for one, other, each in plans:
    seeds = sorted(seed for name, seed in each if name == one and (other, seed) in each)
    print(f"{other} against {one}: {len(seeds)} seeds measured")
    if check_compare_pairs(compare_pairs).passed:
        for seed in seeds:
            difference, low, high, p = compare_pairs(each[one, seed], each[other, seed])
            print(f"   seed {seed}: {difference:+.1%} [{low:+.1%}, {high:+.1%}], p = {p:.2g}")

# %% [markdown]
# **In your own words** (4 points, marked by a person). A colleague writes (with numbers made up for this question):
# "FiLM is better than concatenation: 8 percentage points more in the same 400 scenes, 95% interval 3 to 13, p = 0.002,
# one seed, 2,500 steps each." Say what the interval covers and what it leaves out; what the word "better" claims beyond
# the measurement; whether a second colleague, who finds p = 0.2 with 40 scenes, contradicts the first; and which runs
# you would make next. Use the numbers above where there are some.

# %% [markdown] nbgrader={"grade_id": "pairs_words", "solution": true, "points": 4}
# The interval covers the luck with the scenes: over all such scenes the difference between *these two networks* is
# plausibly 3 to 13 points. It leaves out the luck with the weights and with the training data, because there is one
# seed: another pair of networks may differ by another amount. Our own decoders show how much that can be: 18 points with
# one seed, 7 with the other, and the two intervals do not even meet.
#
# "Better" claims that it holds for trained networks in general, at any length of training. Both had the same 2,500
# steps, so the difference may be one of *speed*: concatenation may get there later. Nor is it a claim about other
# tasks or sizes.
#
# The second colleague does not contradict: with 40 scenes the interval is about three times as wide and would hold 8
# points as well as 0. A large p is not evidence for no difference. Next I would train at least three seeds both ways,
# look at the differences seed by seed, and continue both until neither improves.

# %% [markdown] tags=["worked-solution"]
# **Rubric.** One point each for: scenes are in the interval, seeds are not; same steps, so a difference in speed of
# learning (or another claim that goes too far); a large p with few scenes contradicts nothing; the next runs (several
# seeds *and* longer training, or more than one task or size).
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 4 | all four | "It covers other scenes, not other seeds. At 2,500 steps it may only be faster learning. 40 scenes give an interval that holds 0 and 8: no contradiction. I would train three seeds of both, longer." |
# | 3 | one is missing or half right | "One seed is not enough, and 2,500 steps may be too few for concatenation. 40 scenes are too few. I would repeat with more scenes." |
# | 2 | two of the four | "Only one seed, so we do not know. I would train three seeds of each." |
# | 1 | one of the four | "The interval does not contain 0, but the second result makes me doubt; one seed is little." |
# | 0 | repeats the claim, or takes p for the chance that it is wrong | "p = 0.002, so FiLM is better with 99.8% certainty." |

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Four counts, of which two matter. Without the half scenes the interval of two policies that
# never differ would be a single point, as if ten scenes could prove equality. `course_lib.measure.compare` uses
# Tango's score interval, which is the better one for few scenes and needs a search for its ends; on 400 scenes both
# agree to half a point.
#
# Common mistakes: the interval for two *different* groups of scenes, which is too wide here; tossing all scenes
# instead of those that differ; one tail; `p` above 1 for equal counts; the normal curve where nine scenes decide.

# %% [markdown]
# # Day 92 exercises: the parts of RT-1
#
# Write your answer where the cell says *your code here*, run it, then run the check below it: it tells you what is
# right, or names what is not yet. The check is the grade: what it accepts earns its points, and the grader then tries
# your code on a few more sizes. You may add cells, and change everything except the locked cells.

# %% nbgrader={"grade_id": "setup"}
import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.classroom.checks import FILM, check_film

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

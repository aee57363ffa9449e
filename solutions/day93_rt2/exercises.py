# %% [markdown]
# # Day 93 exercises: the parts of RT-2
#
# Write your answer where the cell says *your code here*, run it, then run the check below it: it tells you what is
# right, or names what is not yet. The check is the grade: what it accepts earns its points, and the grader then tries
# your code on a few more sizes. You may add cells, and change everything except the locked cells. Exercises marked
# *optional* are extras: the others fit into 45 minutes.

# %% nbgrader={"grade_id": "setup"}
import math
import re

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.attention import prefix_lm_mask as course_mask
from course_lib.classroom.checks import ACTION_STRING, check_action_string
from course_lib.classroom.checks import BASELINES, check_baselines
from course_lib.classroom.checks import GENERATE, check_generate
from course_lib.classroom.checks import PREDICT, check_predict
from course_lib.classroom.checks import PREFIX_MASK, check_prefix_mask
from course_lib.classroom.checks import VOCABULARY, check_vocabulary
from course_lib.classroom.checks.toy_decoder import ToyDecoder

_ = torch.manual_seed(0)  # the same random numbers in every run

# %% [markdown]
# ## Exercise 1: action tokens in a vocabulary
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 1 of 5 | 4 minutes | 3 | four ways to write an action with tokens, what each adds, and which two are RT-2's |
#
# A language model has one row of `width` numbers per token, in a table that reads tokens. If the tables are *tied*, the
# same one also scores the next token; if not, the output layer has a second table of the same shape. An action is `dims`
# numbers of `bins` levels each. Four layouts have been drawn for it:
#
# | layout | the action is written with | who |
# |---|---|---|
# | `"extend"` | `bins` new tokens after the text's, shared by all dimensions | many lessons on RT-2, but not RT-2 |
# | `"overwrite"` | `bins` existing tokens, which lose their meaning | RT-2-PaLM-E: 256 rare ones; OpenVLA: the last 256 |
# | `"integers"` | the tokens of the integers 0, 1, 2 ..., which keep their meaning | RT-2-PaLI-X |
# | `"per dimension"` | `dims` x `bins` new tokens, and a new start and a new end token | other lessons |
#
# **Your task:** write `vocabulary_cost`. For any layout it returns three numbers: the `rows` of the table afterwards, the
# `added_parameters` of the model, and the `share` of the rows that actions are written with (start and end included).

# %% [markdown]
# <details><summary>Hint 1: where to begin</summary>
#
# Find the number of *new* rows of each layout first. For two of them it is zero. All three answers follow from it.
#
# </details>
# <details><summary>Hint 2: from rows to parameters</summary>
#
# Each new row is `width` new weights in the table that reads. An untied output layer has a table of its own.
#
# </details>
# <details><summary>Hint 3: the share</summary>
#
# Rows that actions use, divided by all rows of the table afterwards. Overwritten and double-used rows count too: actions
# are written with them, although nothing was added.
#
# </details>


# %% nbgrader={"grade_id": "vocabulary", "solution": true}
def vocabulary_cost(layout: str, text_tokens: int, dims: int, bins: int, width: int, tied: bool) -> tuple[int, int, float]:
    """(rows of the table, parameters added to the model, share of the rows that actions are written with)."""
    ### BEGIN SOLUTION
    new = {"extend": bins, "overwrite": 0, "integers": 0, "per dimension": dims * bins + 2}[layout]
    rows = text_tokens + new
    added_parameters = new * width * (1 if tied else 2)
    used = new if new else bins
    return rows, added_parameters, used / rows
    ### END SOLUTION


# %% nbgrader={"grade_id": "vocabulary_check", "points": 2}
check_vocabulary(vocabulary_cost)

# %% nbgrader={"grade_id": "vocabulary_hidden", "points": 1}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
VOCABULARY.check(vocabulary_cost, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work** (no points): a vocabulary of 32,000 tokens and a width of 768, as in a lesson on RT-2 that
# appends 256 tokens. (32,000 is Llama-2's vocabulary; PaLI-X's size is not in RT-2's paper.)

# %%
if check_vocabulary(vocabulary_cost).passed:
    for layout in ("extend", "overwrite", "integers", "per dimension"):
        rows, added, share = vocabulary_cost(layout, 32_000, 8, 256, 768, tied=False)
        print(f"{layout:14} {rows:6,} rows, {added:9,} new parameters, {share:.2%} of the rows are the action's")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** `extend` adds `bins` rows, `per dimension` adds `dims * bins + 2`, the two of RT-2 add none: it was
# "trained without any new parameters to output text-encoded actions" (section 1 of the paper).
#
# Common mistakes: adding 256 rows for RT-2's layouts; multiplying `extend` by the number of dimensions (the place in
# the sentence says which dimension is meant, not the token); forgetting that an untied output layer grows too; dividing
# by the text's tokens alone, 256 / 32,000 instead of 256 / 32,256.

# %% [markdown]
# **Question to exercise 1** (2 minutes, 3 points, read by a person). A lesson asks: *"RT-2 with PaLI-X has 32,000 text
# tokens + 256 action bins. What fraction of the vocabulary is actions, and why does this ratio matter for training?"*
# Answer better than it asks, in three to five sentences:
#
# 1. What is wrong with the premise?
# 2. What would 256 appended rows know on the first day of training, and what do the rows know that RT-2 uses?
# 3. Which number says more than this fraction about how much of the training is spent on actions?

# %% [markdown] nbgrader={"grade_id": "why_not_append", "solution": true, "points": 3}
# RT-2 appends nothing: on PaLI-X a bin is written with the token of its integer, which the model has already, and on
# PaLM-E the 256 least used tokens get a new meaning. (32,000 is Llama-2's vocabulary; the paper gives no size for
# PaLI-X's.) Appended rows would be new numbers that no text has ever trained: they know nothing, and only robot data can
# teach them. The integers' rows have been read and written on the web, so they begin as numbers; the overwritten rows
# begin with a rare meaning that is lost. How many rows actions have says little, because rows are not trained equally
# often. What counts is the share of the *labels*: the robot's share of the batches (about 50% with PaLI-X, 66% with
# PaLM-E) times the tokens of an answer, eight for an action and another number for a question about a picture.

# %% [markdown] tags=["worked-solution"]
# **Rubric.** One point each for: the premise (RT-2 adds no token, with at least one of its two ways); what is in the rows
# (appended ones begin untrained, reused ones with what they have learned, or with a meaning that is given up); the share
# of robot examples or of action tokens in what is trained on.
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 3 | all three | "RT-2 adds nothing: PaLI-X has a token for each integer, PaLM-E overwrites 256 rare ones. New rows would be random and only robot data could teach them; the number tokens are trained already. What counts is how many of the labels are action tokens: half of the examples times eight." |
# | 2 | one is missing, or the ratio is still that of rows | "There are no new tokens, PaLI-X uses its numbers. New rows would be random. The fraction matters because 256 of 32,256 is little, so actions are rare." |
# | 1 | one of the three | "New tokens must be learned from zero, which takes long, so the fraction should be small." |
# | 0 | takes 256 / 32,256 as a fact about RT-2 and explains it | "256 / 32,256 = 0.8%. This is small, so the model must see many actions." |

# %% [markdown]
# ## Exercise 1, continued: the loss that costs no look at the picture *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 8 minutes | 3 (extra) | which loss to expect at the start, and which loss proves that anything was understood |
#
# A loss of 3 says nothing by itself. Compare it with three models that never look at the picture:
#
# - `uniform` gives every token of the vocabulary the same probability, as a new model does;
# - `frequencies` knows how often each token occurs among all labels, and says that every time;
# - `places` knows it for each place of the answer: the first number of an action is nearly always the same.
#
# A robot's actions are far from uniform (most steps do not turn, few end the episode), so both of the latter are far
# below $\ln V$. A policy has to get below the last one to prove that it sees anything.
#
# **Your task:** `labels` (N, A) holds the tokens of N answers, and $-100$ where an answer is shorter: such places are not
# scored. Return the mean cross-entropy per scored token, in nats, of the three models.

# %% [markdown]
# <details><summary>Hint 1: the uniform one</summary>
#
# Each of the $V$ tokens has the probability $1/V$, so every label costs $-\ln(1/V)$, whatever it is.
#
# </details>
# <details><summary>Hint 2: from counts to a loss</summary>
#
# A token with the share $p$ costs $-\ln p$ and is met with the share $p$: the mean is $-\sum p \ln p$ over the tokens that
# occur. `torch.unique(tokens, return_counts=True)` counts them. Take the labels of $-100$ out first.
#
# </details>
# <details><summary>Hint 3: place by place</summary>
#
# The same for each column of `labels`. Columns have different numbers of scored labels, so weigh each by its number before
# you divide by all of them.
#
# </details>


# %% nbgrader={"grade_id": "baselines", "solution": true}
def baselines(labels: Int[Tensor, "N A"], vocabulary: int) -> tuple[float, float, float]:
    """(uniform, frequencies, places): mean cross-entropy in nats of three models that never look at the picture."""
    ### BEGIN SOLUTION
    scored = labels[labels != -100]
    uniform = math.log(vocabulary)
    places = 0.0
    for column in labels.T:
        tokens = column[column != -100]
        places += entropy(tokens) * len(tokens)
    return uniform, entropy(scored), places / len(scored)


def entropy(tokens: Int[Tensor, " n"]) -> float:
    """The mean of -ln p, where p is the token's own share."""
    counts = torch.unique(tokens, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * p.log()).sum())
    ### END SOLUTION


# %% nbgrader={"grade_id": "baselines_check", "points": 2}
check_baselines(baselines)

# %% nbgrader={"grade_id": "baselines_hidden", "points": 1}
# When your work is graded, the same check runs here on other sizes.
### BEGIN HIDDEN TESTS
BASELINES.check(baselines, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your function at work** (no points, a few seconds): the actions of twenty episodes of the course's robot, in the
# vocabulary of the course's small RT-2.

# %%
from course_lib.actions import ActionSpace, ActionText
from course_lib.datasets import record
from course_lib.datasets.web import vocabulary
from course_lib.rt2 import TinyTokenizer

if check_baselines(baselines).passed:
    spell = ActionText(ActionSpace.workbook(), without=("base_x", "base_y", "base_yaw"))
    levels = spell.levels(record(20, seed=1).actions)
    uniform, frequencies, places = baselines(levels, len(TinyTokenizer(vocabulary())))
    print(f"uniform {uniform:.2f}, frequencies {frequencies:.2f}, places {places:.2f} nats per token")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** A constant guess costs $-\ln p$ for each label. With $p = 1/V$ that is $\ln V$; with the shares of
# the labels themselves it is their entropy, and no constant guess can cost less.
#
# What a new model has to expect: with all logits near zero the loss begins near $\ln V$, 12.46 for PaliGemma's vocabulary of 257,152.
# A *pretrained* model can begin higher: it may be sure of words where numbers are asked. A loss over a slice of 256
# logits begins at $\ln 256 = 5.55$ and must not be compared with it: such a model is never told that a word is wrong here.
#
# Common mistakes: `log2`; counting $-100$ as if it were a token; a plain mean over places, although answers end early;
# $0 \cdot \ln 0$, which is NaN, from `bincount`; taking the falling loss of the first steps for understanding, when only
# the frequencies were learned.

# %% [markdown]
# ## Exercise 2: read an action
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 5 minutes | 4 | the one place where a language model's text becomes a robot's motion, and why it must be strict |
#
# RT-2 answers with text: `"0 128 91 241 5 101 127 217"`. In order: terminate (0 says terminate, 1 says continue),
# three position deltas $x, y, z$, three rotation deltas, the gripper. Of the seven latter, level $n$ of $0 \ldots 255$ is
#
# $$\mathrm{low} + \frac{n}{255} \, (\mathrm{high} - \mathrm{low})$$
#
# with the ranges of RT-1's tokenizer: $\pm 1$ m, $\pm \pi/2$ rad, and $\pm 1$ for the gripper (+1 is closed).
#
# A model may also write seven numbers, or "256", or a word. A parser that returns zeros then, or clips, moves a real arm by
# mistake and tells nobody.
#
# **Your task:** return `(terminate, deltas, gripper)`: True or False, six numbers, one number. Between the numbers may be
# any white space. Everything else is malformed and raises `ValueError`:
#
# - a word that is not written with the digits 0 to 9 alone, or is above 255 (above 1 for terminate): the message shows the
#   word and its place, counted from 1;
# - not exactly eight words: the message says how many there are.

# %% [markdown]
# <details><summary>Hint 1: words first, numbers later</summary>
#
# `words = text.split()` takes any white space. Check how many there are, then each of them, and only then compute.
#
# </details>
# <details><summary>Hint 2: which words are numbers?</summary>
#
# `int` is kinder than a robot should be: it takes `"+7"`, `"-1"`, `"1_28"` and digits of other scripts.
# `re.fullmatch("[0-9]+", word)` does not.
#
# </details>
# <details><summary>Hint 3: the numbers</summary>
#
# `2 * level / 255 - 1` lies in -1 ... 1. Positions and gripper are that, rotations are that times `math.pi / 2`. Places from
# 1: `for place, word in enumerate(words, 1)`.
#
# </details>


# %% nbgrader={"grade_id": "action_string", "solution": true}
def read_action(text: str) -> tuple[bool, list[float], float]:
    """RT-2's eight numbers -> (terminate, [dx, dy, dz in m, three turns in rad], gripper). Raises ValueError."""
    ### BEGIN SOLUTION
    words = text.split()
    if len(words) != 8:
        raise ValueError(f"Expected 8 numbers, got {len(words)} in {text!r}.")
    for place, word in enumerate(words, 1):
        most = 1 if place == 1 else 255
        if not re.fullmatch("[0-9]+", word) or int(word) > most:
            raise ValueError(f"Number {place} of {text!r} must be a whole number 0 ... {most}, got {word!r}.")
    terminate, *levels = (int(word) for word in words)
    *motion, gripper = (2 * level / 255 - 1 for level in levels)
    return terminate == 0, motion[:3] + [math.pi / 2 * m for m in motion[3:]], gripper
    ### END SOLUTION


# %% nbgrader={"grade_id": "action_string_check", "points": 3}
check_action_string(read_action)

# %% nbgrader={"grade_id": "action_string_hidden", "points": 1}
# When your work is graded, the same check runs here on every level and on other malformed strings.
### BEGIN HIDDEN TESTS
ACTION_STRING.check(read_action, hidden=True)
### END HIDDEN TESTS

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Nothing is computed before everything has been looked at. `"0 128 91 241 5 101 127 217"` says:
# terminate, move by (0.004, -0.286, 0.890) m, turn by (-1.509, -0.327, -0.006) rad, gripper at 0.702.
#
# Level 128 is not quite zero: 256 levels on a symmetric range have none in the middle, 127 and 128 lie 1/255 on both sides.
#
# Common mistakes: `level / 256`, which never reaches the high end; the terminate number at the end, as in a lesson that
# prints nine; `bool("0")`, which is True; `zip`, which silently drops a ninth number; `min(level, 255)`; a bare `except`
# that returns zeros: the robot stands still, and nobody learns why.

# %% [markdown]
# ## Exercise 3: the mask of a vision-language model
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 4 minutes | 4 | prefix-LM attention in a padded batch; the two ways in which a mask fails without an error |
#
# A row is [image and prompt | answer], and rows of a batch are padded: on the right when a model is trained, on the left
# when it writes (so that all rows end together). One mask decides who looks at whom:
#
# - everybody real sees the whole prompt (the image counts as prompt);
# - an answer token also sees the answer up to itself, never further;
# - padding is nobody's key. But no position may see *nothing*: a softmax over nothing is NaN, and NaN spreads. Let padding
#   see itself, or anything.
#
# ```
# real    0 1 1 1 1 1          . . . . . .   (padding: free, but not empty)
# answer  0 0 0 1 1 1          . # # . . .   prompt
#                              . # # . . .   prompt
#   rows look at columns,      . # # # . .   answer
#   # = may look               . # # # # .   answer
#                              . # # # # #   answer
# ```
#
# **Your task:** `real` is False at padding, `answer` is True at the tokens of the answer, both bool `(B, S)`. Return the
# mask, bool `(B, S, S)`: `mask[b, i, j]` is True where, in row b, position i may look at position j.

# %% [markdown]
# <details><summary>Hint 1: three axes</summary>
#
# `answer[:, :, None]` (B, S, 1) speaks of the query i, `answer[:, None, :]` (B, 1, S) of the key j. Combined with `&` and `|`
# they become (B, S, S).
#
# </details>
# <details><summary>Hint 2: the rule as booleans</summary>
#
# A key may be looked at if it is not in the answer, *or* if query and key are both in the answer and the key is not later.
# "Not later" is `torch.ones(S, S, dtype=torch.bool).tril()`.
#
# </details>
# <details><summary>Hint 3: padding</summary>
#
# `& real[:, None, :]` takes padded keys out, for everybody. Then `| torch.eye(S, dtype=torch.bool)` gives every position at
# least itself; real positions see themselves anyway.
#
# </details>


# %% nbgrader={"grade_id": "prefix_mask", "solution": true}
def prefix_lm_mask(real: Bool[Tensor, "B S"], answer: Bool[Tensor, "B S"]) -> Bool[Tensor, "B S S"]:
    """True where position i (row) may look at position j (column)."""
    ### BEGIN SOLUTION
    S = real.shape[1]
    not_later = torch.ones(S, S, dtype=torch.bool).tril()
    query, key = answer[:, :, None], answer[:, None, :]
    mask = ~key | (query & not_later)
    return (mask & real[:, None, :]) | torch.eye(S, dtype=torch.bool)
    ### END SOLUTION


# %% nbgrader={"grade_id": "prefix_mask_check", "points": 3}
check_prefix_mask(prefix_lm_mask)

# %% nbgrader={"grade_id": "prefix_mask_hidden", "points": 1}
# When your work is graded, the same check runs here on other rows.
### BEGIN HIDDEN TESTS
PREFIX_MASK.check(prefix_lm_mask, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your mask at work** (no points): the drawing above, from your function.

# %%
if check_prefix_mask(prefix_lm_mask).passed:
    real, answer = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool(), torch.zeros(2, 6).bool()
    answer[0, 3:], answer[1, 2:4] = True, True
    for mask in prefix_lm_mask(real, answer):
        print("\n".join(" ".join("#" if seen else "." for seen in row) for row in mask), "\n")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** `~key` is the prompt (and padding, which the next line takes out): everybody may look there. The second
# half lets answers look back. Queries of the prompt cannot see answers, because `query` is False for them.
#
# The course's library says the same with two functions: `without_padding(attention_mask(answer), real)`. A widely used
# PaliGemma once had a mask of ones in fine-tuning (huggingface/transformers, issue 30918): every answer token saw the token
# that it had to predict.
#
# Common mistakes: a causal mask everywhere (it runs, and the prompt's first tokens never hear its last ones); padding as a
# key; rows without any key; positions counted from the row's start, which is right for padding on the right only; True
# for "forbidden", as some of torch's own modules want it.

# %% [markdown]
# ## Exercise 4: find the bugs *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 6 minutes | 3 (extra) | three differences between training and writing that no loss shows |
#
# This `predict` is from a lesson on RT-2, with our toy decoder put in. It runs, it returns tokens of the right shape, and the
# model behind it may be perfect. In a trial for this course, a model that had learned seven-token chains to a loss of 0.002
# wrote 45% of them without a mistake when the first bug was there, and all of them when it was not.
#
# `decoder(tokens, positions, past, mask)` returns logits `(B, S, V)` and, for each layer, keys and values. It was trained
# with positions 0, 1, 2 ... and with a prefix-LM mask; `course_mask(P, n)` makes it for P prompt tokens and n more. As
# every `nn.Module`, a new decoder is in train mode.


# %% nbgrader={"grade_id": "lessons_predict"}
def lessons_predict(decoder, prompt, steps):
    """Three bugs: which?"""
    tokens = prompt  # (B, P)
    for _ in range(steps):
        logits, _ = decoder(tokens)
        token = logits[:, -1].argmax(-1)
        tokens = torch.cat((tokens, token[:, None]), dim=1)
    return tokens[:, prompt.shape[1] :]  # (B, steps)


# %% [markdown]
# **Your task:** write `predict` without the bugs: the most likely tokens `(B, steps)` after the prompt, whole rows read again
# for each token (the next exercise makes it fast).

# %% [markdown]
# <details><summary>Hint 1: what training had</summary>
#
# Compare the call with the decoder's arguments. Two of them are never given, although the decoder was trained with both.
#
# </details>
# <details><summary>Hint 2: the mask grows</summary>
#
# Row and mask become longer in each step: with S tokens read, `course_mask(P, S - P)`. Without it the prompt sees the
# answer, which it never did in training, so already its own keys and values are others.
#
# </details>
# <details><summary>Hint 3: the third bug</summary>
#
# Call `lessons_predict` twice. Two different answers? `decoder.eval()` switches dropout off.
#
# </details>


# %% nbgrader={"grade_id": "predict", "solution": true}
def predict(decoder: ToyDecoder, prompt: Int[Tensor, "B P"], steps: int) -> Int[Tensor, "B steps"]:
    """The most likely next tokens, one after the other; every row is read again for each of them."""
    ### BEGIN SOLUTION
    decoder.eval()
    tokens, P = prompt, prompt.shape[1]
    for _ in range(steps):
        S = tokens.shape[1]
        with torch.no_grad():
            logits, _ = decoder(tokens, torch.arange(S), mask=course_mask(P, S - P))
        token = logits[:, -1].argmax(-1)
        tokens = torch.cat((tokens, token[:, None]), dim=1)
    return tokens[:, P:]
    ### END SOLUTION


# %% nbgrader={"grade_id": "predict_check", "points": 2}
check_predict(predict)

# %% nbgrader={"grade_id": "predict_hidden", "points": 1}
# When your work is graded, the same check runs here on other decoders and sizes.
### BEGIN HIDDEN TESTS
PREDICT.check(predict, hidden=True)
### END HIDDEN TESTS

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The bugs: no mask, no positions, no `eval()`. None of them raises an error, and none is in the loss,
# because the loss is computed by another function. Hence a rule: let training and writing call the same code, and test that
# teacher forcing on a written answer gives that answer back.
#
# Common mistakes: a causal mask over the prompt as well; positions that begin at 0 again after the prompt; `decoder.eval()`
# inside the loop but `train()` in a helper; returning the prompt with the answer.

# %% [markdown]
# ## Exercise 4, continued: nothing twice
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 4 of 5 | 8 minutes | 6 | why the first token is dear and the others are cheap; what must be remembered, and at which place |
#
# To write eight tokens after a prompt of 300, the loop that reads whole rows computes 300 + 301 + ... + 307 positions:
# eight times the prompt. But nothing before the newest token has changed: a key or value computed once stays as it
# was, because the prompt does not see the answer, and the answer sees no later answer. So remember them.
#
# `decoder(tokens, positions, past, mask)` takes in `past` a list with one pair `(keys, values)` for each layer, of everything
# read before, each `(B, heads, length, width of a head)`. It returns `(logits, new)`; `new` has the same form, for the tokens
# that were just read. The decoder remembers nothing by itself.
#
# **Your task:** write `generate`: the same tokens as reading whole rows, but each position goes through the decoder exactly
# once, and the whole prompt in one call for all rows. The check counts the positions that were read, and everything that goes
# through a linear layer.

# %% [markdown]
# <details><summary>Hint 1: two phases</summary>
#
# *Prefill:* read the prompt in one call; its last logits give the first token. *Steps:* read only that token, with the
# past; its logits give the next one.
#
# </details>
# <details><summary>Hint 2: where a token stands</summary>
#
# The prompt fills the positions 0 ... P - 1. The first new token stands at P, although it is the only one in its call:
# `torch.tensor([P])`, not `torch.arange(1)`.
#
# </details>
# <details><summary>Hint 3: growing the past</summary>
#
# For each layer: `torch.cat((keys, new_keys), dim=2)`, the same for values. In every step, in every layer. A mask is not
# needed: the prompt alone sees all of itself, and a newest token may see everything.
#
# </details>


# %% nbgrader={"grade_id": "generate", "solution": true}
def generate(decoder: ToyDecoder, prompt: Int[Tensor, "B P"], steps: int) -> Int[Tensor, "B steps"]:
    """The most likely next tokens; every position is read once."""
    ### BEGIN SOLUTION
    decoder.eval()
    P = prompt.shape[1]
    with torch.no_grad():
        logits, past = decoder(prompt, torch.arange(P))
        tokens = [logits[:, -1].argmax(-1)]
        for place in range(P, P + steps - 1):
            logits, new = decoder(tokens[-1][:, None], torch.tensor([place]), past)
            past = [
                (torch.cat((keys, new_keys), dim=2), torch.cat((values, new_values), dim=2))
                for (keys, values), (new_keys, new_values) in zip(past, new, strict=True)
            ]
            tokens.append(logits[:, -1].argmax(-1))
    return torch.stack(tokens, dim=1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "generate_check", "points": 4}
check_generate(generate)

# %% nbgrader={"grade_id": "generate_hidden", "points": 2}
# When your work is graded, the same check runs here on other decoders and sizes.
### BEGIN HIDDEN TESTS
GENERATE.check(generate, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your loop at work** (no points): how much of the bugged loop's answer is right, and how many positions each way computes.

# %%
if check_generate(generate).passed:
    decoder, prompt, steps = ToyDecoder(room=400), torch.randint(32, (50, 300)), 8
    right, bugged = generate(decoder, prompt, steps), lessons_predict(decoder.train(), prompt, steps)
    print(f"tokens of the lesson's predict that are right: {(right == bugged).float().mean():.0%}")
    again, once = sum(range(300, 300 + steps)), 300 + steps - 1
    print(f"positions per row: {again:,} if whole rows are read again, {once} with a cache: {again / once:.1f} times fewer")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** One call for the prompt, one call a token. The mask disappeared: while the prompt is read nothing else
# is there, and a single newest token may look at everything before it. So a cache does not only save time, it makes the
# first bug of `lessons_predict` impossible.
#
# The last token is never read: nobody asks what follows it. So `steps` tokens cost `P + steps - 1` positions.
#
# Common mistakes: `past = new`, which forgets all but the last token; `torch.arange(1)` as the position in every step;
# a cache that is filled, while whole rows are still read; one pair for all layers; `torch.cat` along the wrong axis. In
# long answers `torch.cat` copies the past in each step: the course's `KVCache` takes its memory once and fills it.

# %% nbgrader={"grade_id": "setup_second_half"}
import statistics

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.classroom.checks import CO_FINE_TUNING_LOSS, check_co_fine_tuning_loss
from course_lib.classroom.checks import CONTROL_RATE, check_control_rate
from course_lib.classroom.checks import DISTILLATION, check_distillation_loss
from course_lib.classroom.checks import INT8_LINEAR, check_int8_linear
from course_lib.classroom.checks import MIXTURE, check_mixture
from course_lib.classroom.checks import TIME_ANSWERS, check_time_answers
from course_lib.classroom.checks import MY_INSTRUCTIONS, check_my_instructions

# %% [markdown]
# ## Exercise 5: from milliseconds to Hz
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 2 of 5 | 4 minutes | 3 | why eight tokens are not eight times slower than one, and how long an action may be |
#
# RT-2 writes an action token by token. The first token is the dear one: picture and prompt have to be read for it (the
# *prefill*). Each later token is one *step*, which reads the cache. So an answer of $n$ tokens takes
# $\mathrm{first} + (n - 1) \cdot \mathrm{step}$ seconds, and the robot acts once per whole answer.
#
# **Your task:** from two measured times, that of the first token and that of the whole answer of `tokens` tokens, find
#
# 1. `step`, the seconds of one later token,
# 2. `rate`, the actions per second (Hz),
# 3. `most`, the largest number of tokens that an action may have if the robot is to act at `hertz`; 0 if not even one
#    token is ready in time.

# %% [markdown]
# <details><summary>Hint 1: the step</summary>
#
# Take the first token's time away from the whole. How many tokens have shared the rest? Not `tokens`.
#
# </details>
# <details><summary>Hint 2: the rate</summary>
#
# One action is one whole answer. Tokens per second would be a larger number, and no robot could use it.
#
# </details>
# <details><summary>Hint 3: the longest action</summary>
#
# There are `1 / hertz` seconds. The first token takes `first` of them; count how many whole steps fit into the rest
# (`math.floor`), and do not forget the first token itself. Negative numbers of tokens do not exist: `max(0, ...)`.
#
# </details>


# %% nbgrader={"grade_id": "control_rate", "solution": true}
def control_rate(first: float, whole: float, tokens: int, hertz: float) -> tuple[float, float, int]:
    """(step, rate, most): seconds of one later token, actions per second, tokens an action may have at `hertz`.

    first: seconds until the first token is written; whole: seconds until all `tokens` (at least 2) are.
    """
    ### BEGIN SOLUTION
    step = (whole - first) / (tokens - 1)
    later = int((1 / hertz - first) // step)  # whole steps in the time that the first token leaves
    return step, 1 / whole, max(0, later + 1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "control_rate_check", "points": 2}
check_control_rate(control_rate)

# %% nbgrader={"grade_id": "control_rate_hidden", "points": 1}
# When your work is graded, the same check runs here on other times.
### BEGIN HIDDEN TESTS
CONTROL_RATE.check(control_rate, hidden=True)
### END HIDDEN TESTS

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** `tokens - 1` steps have shared `whole - first` seconds. One action is one answer: `1 / whole`. Of
# the `1 / hertz` seconds, `first` are gone before anything is written; the rest holds a whole number of steps, and the
# first token counts too. Python's `//` rounds down also below zero, so that a late first token gives 0 or less, and
# `max` makes it 0.
#
# Common mistakes: `whole / tokens` (spreads the prefill over all tokens, and then more tokens seem to fit than do);
# `tokens` instead of `tokens - 1`; tokens per second instead of actions per second; rounding up; forgetting the first
# token at the end.
#
# For comparison: RT-1's own ablation took 15 ms in one parallel pass and 36 ms token by token (Table 13 of its paper), 2.4
# times as long for eleven tokens, not eleven times. RT-2's 55B model runs at 1 to 3 Hz, the 5B one at about 5 Hz.

# %% [markdown]
# ## Exercise 6: time it honestly *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 8 minutes | 3 (extra) | a stopwatch for machines that are still working when your call returns |
#
# An accelerator is given its work and the call returns at once; a clock that is stopped then has measured nothing. The
# first calls are slow (kernels are chosen, caches fill), some calls are interrupted by others, and the machine may be
# busier in the second minute than in the first.
#
# **Your task:** write `time_answers`. `write(n)` starts an answer of `n` tokens and returns at once; `sync()` waits until
# all work is done; `clock()` is the time in seconds. First `warmup` rounds that are not measured, then `rounds` measured
# ones. In each round every count of `counts` has its turn once. Return for each count the *median* of its times.
#
# The check hands you a pretend accelerator with its own clock, on which every duration is known: it judges your method,
# not this computer's mood.

# %% [markdown]
# <details><summary>Hint 1: the order of the loops</summary>
#
# The loop over rounds is the outer one, the loop over counts the inner one: then a busy minute hits all counts alike, and
# their ratio stays true.
#
# </details>
# <details><summary>Hint 2: where to wait</summary>
#
# Before the clock starts, nothing may be left to do; before it stops, everything must be done. Two `sync()` per answer.
#
# </details>
# <details><summary>Hint 3: the typical answer</summary>
#
# Keep a list of seconds for each count, `{n: [] for n in counts}`, and take `statistics.median` of each. A mean would be
# moved by a single interruption, a minimum is what the robot hardly ever gets.
#
# </details>


# %% nbgrader={"grade_id": "time_answers", "solution": true}
def time_answers(write, counts: list[int], sync, clock, warmup: int = 2, rounds: int = 7) -> dict[int, float]:
    """{n: median seconds of an answer of n tokens}, all counts in turns, after some rounds to warm up."""
    ### BEGIN SOLUTION
    times = {n: [] for n in counts}
    for i in range(warmup + rounds):
        for n in counts:
            sync()
            began = clock()
            write(n)
            sync()
            if i >= warmup:
                times[n].append(clock() - began)
    return {n: statistics.median(seconds) for n, seconds in times.items()}
    ### END SOLUTION


# %% nbgrader={"grade_id": "time_answers_check", "points": 2}
check_time_answers(time_answers)

# %% nbgrader={"grade_id": "time_answers_hidden", "points": 1}
# When your work is graded, the same check runs here with other counts, rounds and durations.
### BEGIN HIDDEN TESTS
TIME_ANSWERS.check(time_answers, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your stopwatch at work** (no points): the tiny RT-2 on this machine, with and without its cache. It is untrained here,
# which changes its words and not its speed. "Autoregressive is seven times slower", says more than one lesson: is it?

# %%
import time

from course_lib.datasets.web import vocabulary
from course_lib.rt2 import RT2
from course_lib.rt2 import generate as rt2_generate

# %%
if check_time_answers(time_answers).passed and check_control_rate(control_rate).passed:
    vlm = RT2.tiny(vocabulary()).eval().vlm
    image, prompt = torch.rand(1, 3, 64, 64), torch.randint(9, 200, (1, 12))
    for cached in (True, False):
        write = lambda n, cached=cached: rt2_generate(vlm, image, prompt, steps=n, cached=cached)
        seconds = time_answers(write, [1, 8], lambda: None, time.perf_counter, 1, 5)
        step, rate, most = control_rate(seconds[1], seconds[8], 8, hertz=3)
        print(f"{'with' if cached else 'without'} a cache: first token {1000 * seconds[1]:.0f} ms,")
        print(f"   a later one {1000 * step:.0f} ms; 8 tokens take {seconds[8] / seconds[1]:.1f} times as long as 1")
        print(f"   {rate:.1f} actions per second; at 3 Hz an action may have {most} tokens")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Rounds outside, counts inside; `sync()` before the clock starts and before it stops; the warm-up
# rounds run through the same code and are not kept; one median for each count.
#
# Common mistakes: no `sync()` after `write` (then 64 tokens take as long as 1: the time in which the call returns); none
# before the first `clock()` (the warm-up's leftovers are counted); all rounds of one count before those of the next; a
# mean, or the fastest round; the time of a single token multiplied by eight: not the same work.
#
# On a CPU there is nothing to wait for, so `sync` is an empty function; on a GPU it is `torch.cuda.synchronize`.

# %% [markdown]
# ## Exercise 7: five emergent instructions of your own
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 10 minutes | 2 + 6 | what makes an instruction a fair test of what a robot learned from the web |
#
# "Emergent" are in RT-2's paper the skills that the robot's data cannot explain: its authors sorted their instructions into
# *symbols*, *reasoning* and *persons*, and ran each five times. Now it is your turn. On our table the robot's own data
# calls things by one word each ("block", whatever its colour) and never says a colour, a number, a category, a use or a
# word of Spanish. The web data did.
#
# **Your task:** write five rows, each a concept, a sentence, the target to be lifted, and three other things on the table.
#
# * The concept is one of `symbols`, `sums`, `colour`, `category`, `use`, `same colour`, `negation`, `spanish`, `german`
#   or `other`; at least three different ones, and three different targets.
# * The sentence asks for lifting ("pick up", "grab", "lift", "take", "toma", "nimm" ...), in words that the small model
#   knows; one thing on the table fits it, the others do not.
# * It must not be in the robot's data or in the course's own test sets, nor call the target by the robot's own word, unless
#   another thing of the same word lies there too.
#
# Names of things are those of `course_lib.world.objects.NAMES`, words those of `course_lib.datasets.web.vocabulary()`.

# %% [markdown]
# <details><summary>Hint 1: an example that you may not use</summary>
#
# `("use", "grab the thing to cut paper", "scissors", ["spoon", "apple", "cup"])`: nothing in the robot's data says what
# scissors are for. It is fair, because nothing else on that table cuts paper.
#
# </details>
# <details><summary>Hint 2: things that make a test unfair</summary>
#
# A second thing that fits ("the fruit" beside two fruits). A target that any policy would take (the only thing that can be
# grasped). A sentence in which a word of the robot's data gives the target away ("take the red apple").
#
# </details>
# <details><summary>Hint 3: a harder kind</summary>
#
# Let a rival lie there that fits half of the sentence: a red block and a blue block and a red apple for "the block that is
# red". Who only understood "red", or only "block", is right half of the time.
#
# </details>


# %% nbgrader={"grade_id": "my_instructions", "solution": true}
def my_instructions() -> list[tuple[str, str, str, list[str]]]:
    """Five rows: (concept, sentence, target, three other things on the table)."""
    ### BEGIN SOLUTION
    return [
        ("use", "take the thing to wipe a table with", "sponge", ["hammer", "apple", "pear"]),
        ("sums", "grab the card with the sum of two plus three", "card 5", ["card 2", "card 3", "cup"]),
        ("colour", "lift the block that is red", "red block", ["blue block", "apple", "cup"]),
        ("spanish", "toma la lata de coca cola", "coke can", ["pepsi can", "banana", "spoon"]),
        ("negation", "lift the card that is not number two", "card 4", ["card 2", "hammer", "cup"]),
    ]
    ### END SOLUTION


# %% nbgrader={"grade_id": "my_instructions_check", "points": 1}
check_my_instructions(my_instructions)

# %% nbgrader={"grade_id": "my_instructions_hidden", "points": 1}
# When your work is graded, the same check runs here once more.
### BEGIN HIDDEN TESTS
MY_INSTRUCTIONS.check(my_instructions, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Before you run them:** for which of your five do you expect success, and why? Write it into the answer cell below now.
# Then run the next two cells. Luck would lift the right thing in at most one episode in four. RT-1 is the control: it
# has the robot's data, and a frozen encoder of sentences in front of it, but never saw the web's pictures.

# %%
import gymnasium

from course_lib.classroom.checks.emergent import plain
from course_lib.classroom.recipes import DATA
from course_lib.datasets.web import vocabulary
from course_lib.learn import load_checkpoint
from course_lib.measure import rollout, success_by
from course_lib.rt1 import RT1
from course_lib.rt2 import RT2
from course_lib.world.objects import kind_index
from course_lib.world.tasks import Task


# %%
def try_out(policy, episodes: int = 8):
    """Run each of my instructions in `episodes` episodes; print how many succeed and how the others fail."""
    rows = my_instructions()
    tasks = [Task(kind_index(target), plain(sentence), "pick") for _, sentence, target, _ in rows]
    options = {"task": tasks * episodes, "kinds": [(target, *others) for _, _, target, others in rows] * episodes}
    tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=len(options["task"]))
    found = rollout(policy, tables, n=tables.num_envs, seed=40_000, options=options)
    for sentence, rate in success_by(found, [task.sentence for task in options["task"]]).items():
        print(f"{sentence:50} {rate}")
    print("how the others failed:", found.failures())


# %%
if check_my_instructions(my_instructions).passed:
    shipped, rt1 = DATA / "rt2_tiny.safetensors", load_checkpoint(DATA / "rt1_tiny.safetensors", RT1)
    if shipped.exists():
        print("RT-2, trained on web pictures and robot episodes:")
        try_out(load_checkpoint(shipped, RT2))
    else:
        print(f"{shipped.name} is not in data/: this is an UNTRAINED RT-2, which only shows that your rows run.")
        try_out(RT2.tiny(vocabulary()).eval(), episodes=1)
    if rt1.instruction_encoder.reads_free_text:
        print("\nRT-1, trained on robot episodes alone:")
        try_out(rt1)
    else:
        print("\nRT-1 needs its language model for new sentences: `make language` installs it (84 MB).")

# %% [markdown]
# **Your report.** Three short paragraphs:
#
# 1. *Prediction* (before running): for each sentence what a model must know to understand it, and whether you expect that
#    it does.
# 2. *Result*: what the numbers say about each sentence, with their uncertainty, and against luck. If the trained
#    checkpoint is not there, say which result would make you believe in the skill, and which would not.
# 3. *Another explanation*: choose one sentence. What else than understanding could give the same number, and which one
#    further table or sentence would tell the two apart?

# %% [markdown] nbgrader={"grade_id": "emergent_report", "solution": true, "points": 6}
# *Prediction.* "The thing to wipe a table with" needs the use of a sponge, which only the web's questions speak of. The sum
# needs two number words, an addition, and a card, with no place to write the steps down: I expect no more than luck. "The
# block that is red" needs the colour and the word "block" together, because an apple is red too. The Spanish can is a
# translation; but "coca cola" is nearly the robot's own "coke can". "Not number two" needs the negation: who only hears
# "two" takes exactly the wrong card.
#
# *Result.* RT-1, my control, which never saw the web's pictures: 0, 2, 0, 6 and 3 of 8. With 8 episodes, 3 of 8 has the
# interval 14% to 69%, so only the Spanish one is surely better than luck (41% to 93%). The other way round, 0 of 8 reaches
# up to 32%: I cannot even call it worse than luck. 17 of the 29 failures are "wrong object", so it mostly grasps well, and
# the language is what is missing. I would call a skill RT-2's own where the lower end of its interval is above 25% *and*
# RT-1 does not have it. By that measure my Spanish sentence tests nothing, whatever RT-2 does.
#
# *Another explanation.* RT-1 reads sentences through a language model that was trained on text: "coca cola" lies near "coke
# can" there, no Spanish needed. I would change the sentence to "toma la bebida roja", with the same can on the same table.
# If RT-1 falls to luck and RT-2 does not, RT-2 knows Spanish; if both fall, it was the brand.

# %% [markdown] tags=["worked-solution"]
# **Rubric.** Three parts of 2 points each.
#
# *Prediction.* 2 points: says for each sentence which knowledge it needs and where that could come from (web or robot
# data). 1 point: predictions without such reasons, or for some sentences only. 0: none, or written after the run.
#
# *Result.* 2 points: rates with their number of episodes or interval, compared with luck (1 in 4, or better reasoned) or
# with RT-1, and a wrong object told from a missed grasp. 1 point: two of these three. 0: "it worked", "it failed".
#
# *Another explanation.* 2 points: a concrete rival explanation, and one test whose two outcomes tell them apart. 1 point: a
# rival without a test that could decide. 0: none, or "the model is not good enough".
#
# | points | what it takes | sample answer |
# |---|---|---|
# | 6 | all of each part | the answer above |
# | 5 | one point of one part is missing | as above, but its last paragraph ends after "no Spanish needed": a good rival, and no test that could decide |
# | 4 | two points are missing, in whichever parts | "The sponge needs a use, the sum an addition, the block a colour, the can a translation, the card a negation: only the web has these. 0, 2, 0, 6, 3 of 8 for RT-1; luck is 2 of 8, so only the Spanish one (41 to 93%) is better. Perhaps cola is a word that it knows." |
# | 3 | half of each: reasons for some sentences, n and luck without the failures, a rival without a test | "I expect the colour and use sentences to work because RT-2 has seen the web. Colour 6 of 8, use 5 of 8, sums 2 of 8, so it can do colours and uses but not sums; luck would be 2 of 8. Maybe it likes red things." |
# | 2 | one point in two parts, such as a prediction without reasons, and n with luck; or one whole part alone | "I thought that colours and uses would work, and sums not. Colours 6 of 8, uses 5 of 8, sums 2 of 8; luck would be 2 of 8." |
# | 1 | a prediction for some sentences, and nothing else that counts | "I thought that colours work and sums do not, and so it was. The model is too small for sums." |
# | 0 | no prediction, no numbers, no rival | "The robot understood most of my sentences, so RT-2 has emergent skills. The Spanish one failed because the model is too small." |
#
# Also look at the rows themselves: does each sentence mean its target and nothing else on that table? The check cannot
# know that "the thing you can eat" fits two of them. An unfair sentence that the report does not notice costs a point of
# its part. A negative result, well explained, is worth as much as a success: in RT-2's paper RT-1 got 34 of 190 and the
# larger RT-2 109 of 190 (counts recovered from its table of percentages).

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The five rows above are one of many. Common mistakes: a second thing that fits; the robot's own word
# for the target ("the red apple"); a new sentence about a new thing, so that a failure could be either's fault; five
# sentences of one concept.

# %% [markdown]
# ## Exercise 8: the co-fine-tuning loss
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 8 minutes | 5 | one loss for words and actions; what is trained, what is not; who is heard how loudly |
#
# For RT-2 an action is an answer like any other, so co-fine-tuning needs one loss only: cross-entropy over the *whole*
# vocabulary, on the answers' tokens. (Prompts are given, not learned, and filling is nothing at all.) A batch holds rows of
# both kinds: `tokens` (B, L) is prompt, answer and filling; `answer` (B, L) is True on the answer's tokens.
#
# A robot's answer has eight tokens and an end, "apple" one and an end. Were the loss averaged over tokens, the robot would
# be heard four and a half times as loudly. So: first the mean of each row over its own answer, then the weighted mean over
# the rows, with `weights` (B).
#
# **Your task:** write `co_fine_tuning_loss`. Mind what a language model's logits mean: those at place $l$ are its guess of
# the token at place $l + 1$.

# %% [markdown]
# <details><summary>Hint 1: the shift</summary>
#
# `logits[:, :-1]` belong to `tokens[:, 1:]`. The mask marks tokens, so it moves with them: `answer[:, 1:]`.
#
# </details>
# <details><summary>Hint 2: a loss for every place</summary>
#
# `F.cross_entropy(..., reduction="none")` gives one number per token. It wants the vocabulary on axis 1, so give it
# `logits[:, :-1].mT`, of the shape (B, V, L - 1).
#
# </details>
# <details><summary>Hint 3: two averages, one after the other</summary>
#
# `(each * mask).sum(1) / mask.sum(1)` is the mean of each row. Then `(rows * weights).sum() / weights.sum()`.
#
# </details>


# %% nbgrader={"grade_id": "co_fine_tuning_loss", "solution": true}
def co_fine_tuning_loss(
    logits: Float[Tensor, "B L V"], tokens: Int[Tensor, "B L"], answer: Bool[Tensor, "B L"], weights: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """The weighted mean over rows of each answer's mean cross-entropy; prompt and filling cost nothing."""
    ### BEGIN SOLUTION
    each = F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")  # (B, L - 1)
    mask = answer[:, 1:]
    rows = (each * mask).sum(1) / mask.sum(1)
    return (rows * weights).sum() / weights.sum()
    ### END SOLUTION


# %% nbgrader={"grade_id": "co_fine_tuning_loss_check", "points": 3}
check_co_fine_tuning_loss(co_fine_tuning_loss)

# %% nbgrader={"grade_id": "co_fine_tuning_loss_hidden", "points": 2}
# When your work is graded, the same check runs here on other rows.
### BEGIN HIDDEN TESTS
CO_FINE_TUNING_LOSS.check(co_fine_tuning_loss, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your loss at work** (no points): on questions about pictures it is the loss that the course's RT-2 trains with.

# %%
from course_lib.datasets.web import WebPictures, vocabulary
from course_lib.rt2 import RT2

if check_co_fine_tuning_loss(co_fine_tuning_loss).passed:
    policy, batch = RT2.tiny(vocabulary()).eval(), WebPictures(batch=6, questions=1)(0)
    batch["weights"] = torch.rand(6, 1) + 0.5
    rows = policy.rows(batch)
    with torch.no_grad():
        logits = policy.vlm(policy.pictures(batch["images"]), rows.tokens, rows.answer, rows.real)
        tokens, answer, weights = (x[:, 0] for x in (rows.tokens, rows.answer, rows.weights))
        print(f"your loss {co_fine_tuning_loss(logits[:, 0], tokens, answer, weights):.6f}")
        print(f"RT2.loss  {policy.loss(batch):.6f}")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Shift, cross-entropy for every place, mean of each row over its answer, weighted mean over the rows.
#
# Common mistakes: no shift (the model is asked for the token it has just read, and the loss falls to 0 without it having
# learned anything); a mask that does not move with the tokens; the mean over all tokens of the batch; a sum that is not
# divided by the weights' sum (twice the weights would be twice the learning rate); the softmax cut down to the 256 action
# tokens, as one of the lessons does: then nothing ever pushes the words down where an action is wanted, and RT-2 does
# that only when *decoding*; a squared distance between the written tokens and the right ones: choosing a token has no
# gradient, so it trains nothing.

# %% [markdown]
# ## Exercise 9: how much robot is in the mixture? *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 6 minutes | 3 (extra) | drawing more often and weighing more: when they are the same, and when not |
#
# RT-2's batches are about half robot data (PaLI-X) or two thirds (PaLM-E), although the web has far more examples. There
# are two ways. *Sampling*: draw each robot example `weight` times as often as a web example. *Weighing*: draw all examples
# equally often, and multiply the loss of each robot example by `weight`. In expectation both give the same gradient, with
# the same `weight`.
#
# **Your task:** write `mixture`. It returns
#
# 1. the `weight` of a robot example (a web example weighs 1) with which robot data make up `share` of all that is drawn;
# 2. the `token_share` of robot *tokens* among all tokens then, if a robot's answer has `robot_tokens` and a web answer
#    `web_tokens`: this is the share that robot data would have in a loss that is averaged over tokens.

# %% [markdown]
# <details><summary>Hint 1: write the share down</summary>
#
# The robot's examples weigh `weight * robot` together, the web's `web`. Which part of the sum is the robot's?
#
# </details>
# <details><summary>Hint 2: solve for the weight</summary>
#
# `weight * robot / (weight * robot + web) = share`. With as many robot as web examples the weight is
# `share / (1 - share)`.
#
# </details>
# <details><summary>Hint 3: the tokens</summary>
#
# Of 100 drawn examples, `100 * share` are the robot's. How many tokens do they bring, and how many do the others?
#
# </details>


# %% nbgrader={"grade_id": "mixture", "solution": true}
def mixture(share: float, robot: int, web: int, robot_tokens: int, web_tokens: int) -> tuple[float, float]:
    """(weight, token_share): what each robot example weighs for this share; what becomes of the share among tokens."""
    ### BEGIN SOLUTION
    weight = share / (1 - share) * web / robot
    drawn = share * robot_tokens, (1 - share) * web_tokens
    return weight, drawn[0] / sum(drawn)
    ### END SOLUTION


# %% nbgrader={"grade_id": "mixture_check", "points": 2}
check_mixture(mixture)

# %% nbgrader={"grade_id": "mixture_hidden", "points": 1}
# When your work is graded, the same check runs here on other amounts.
### BEGIN HIDDEN TESTS
MIXTURE.check(mixture, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your weight at work** (no points). 500 robot and 9,500 web examples, each with a gradient of one number. 2,000 batches of
# 16 show what training would see: sampling and weighing agree in the mean, but not in the noise.

# %%
if check_mixture(mixture).passed:
    weight, token_share = mixture(0.5, robot=500, web=9_500, robot_tokens=9, web_tokens=2)
    weights = torch.cat([torch.full((500,), weight), torch.ones(9_500)])
    gradient = torch.randn(10_000) + torch.cat([torch.ones(500), torch.zeros(9_500)])
    drawn = torch.multinomial(weights, 2_000 * 16, replacement=True).view(2_000, 16)
    even = torch.randint(10_000, (2_000, 16))
    ways = {
        "sampling": gradient[drawn].mean(1),
        "weighing": (weights * gradient)[even].mean(1) / weights.mean(),
        "weighing, each batch divided by its own weights": (weights * gradient)[even].sum(1) / weights[even].sum(1),
    }
    print(f"weight {weight:.3g}; all examples together: {(weights * gradient).sum() / weights.sum():.3f}")
    for name, seen in ways.items():
        print(f"{name:48} mean {seen.mean():.3f}, spread of a batch {seen.std():.3f}")
    print(f"batches without any robot example when drawn evenly: {(even >= 500).all(1).float().mean():.0%}")
    print(f"share of the robot among tokens: {token_share:.0%} (of examples: 50%)")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** `weight * robot / (weight * robot + web) = share` gives `weight = share / (1 - share) * web / robot`.
# Among tokens, the shares are multiplied by the lengths and made to sum to 1 again.
#
# In expectation, sampling gives $\sum_i \frac{w_i}{\sum_j w_j} g_i$, and weighing with one common divisor gives
# $\frac{1}{N} \sum_i w_i g_i$ divided by the mean weight: the same sum. In a finite batch they differ: drawn evenly, almost
# half of the batches of 16 hold no robot example at all ($0.95^{16} = 44\%$), and the others a very heavy one. Divided by
# each batch's own weights, the batches without a robot count as much as those with one, and the robot's share falls
# below what was asked for. That is why RT-2 (and the course) samples.
#
# Common mistakes: `share / (1 - share)` without the amounts; the ratio of the amounts the wrong way round; the number of
# robot examples that would be needed instead of a weight; a token share that stays at `share`. PaLM-E's two thirds with as
# many robot as web examples is a weight of 2.

# %% [markdown]
# ## Exercise 10: the distillation loss *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 4 of 5 | 10 minutes | 5 (extra) | how a slow teacher trains a fast student; temperature, its square, and logarithms |
#
# RT-2 is too slow for many robots; RT-1's size is not. A student of RT-1's size can learn from the teacher's whole opinion
# about each of an action's numbers, not only from the right bin. Hinton, Vinyals and Dean (2015) divide the logits of *both*
# by a temperature $T$, so that the teacher's small probabilities are heard too, and multiply that part by $T^2$, because its
# gradients shrink with $1 / T^2$:
#
# $$\mathrm{hard} \cdot \mathrm{CE}(\mathrm{target}, s) + (1 - \mathrm{hard}) \cdot T^2 \cdot
# \mathrm{KL}\big(\mathrm{softmax}(t / T) \,\|\, \mathrm{softmax}(s / T)\big)$$
#
# A lesson that you may meet puts it into one line. It has four mistakes; find them before you run it.

# %%
student = torch.tensor([[0.0, -200.0, 3.0]], requires_grad=True)
teacher = torch.tensor([[1.0, 2.0, 3.0]])
loss = F.kl_div(student.softmax(-1).log(), (teacher / 4).softmax(-1), reduction="batchmean")
loss.backward()
print(f"loss {loss.item()}, gradient {student.grad.tolist()}")

# %% [markdown]
# **Your task:** write `distillation_loss` for logits (B, A, V): B images, A numbers of an action, V bins. Both parts are
# means over images and numbers (sums over bins). No gradient goes into the teacher.

# %% [markdown]
# <details><summary>Hint 1: the part of the right answers</summary>
#
# `F.cross_entropy` wants (N, V) and (N): flatten the first two axes of logits and targets. At temperature 1.
#
# </details>
# <details><summary>Hint 2: KL without a logarithm of zero</summary>
#
# `log_softmax(x / T)` stays finite where `softmax(x / T).log()` is `-inf`. KL is the sum over the bins of
# $p \cdot (\log p - \log q)$, with the teacher's $p$ and the student's $q$.
#
# </details>
# <details><summary>Hint 3: F.kl_div and its averages</summary>
#
# `F.kl_div(log_q, p, reduction="none").sum(-1).mean()` is right for any number of axes. `"batchmean"` divides by B only,
# `"mean"` by the bins too. And the teacher is given: `teacher.detach()`.
#
# </details>


# %% nbgrader={"grade_id": "distillation_loss", "solution": true}
def distillation_loss(
    student: Float[Tensor, "B A V"],
    teacher: Float[Tensor, "B A V"],
    target: Int[Tensor, "B A"],
    temperature: float,
    hard: float,
) -> Float[Tensor, ""]:
    """hard * cross-entropy with `target` + (1 - hard) * T^2 * KL(teacher / T || student / T); means over B and A."""
    ### BEGIN SOLUTION
    told = F.cross_entropy(student.flatten(0, 1), target.flatten())
    wanted = (teacher.detach() / temperature).log_softmax(-1)
    said = (student / temperature).log_softmax(-1)
    soft = (wanted.exp() * (wanted - said)).sum(-1).mean()
    return hard * told + (1 - hard) * temperature**2 * soft
    ### END SOLUTION


# %% nbgrader={"grade_id": "distillation_loss_check", "points": 3}
check_distillation_loss(distillation_loss)

# %% nbgrader={"grade_id": "distillation_loss_hidden", "points": 2}
# When your work is graded, the same check runs here on other logits.
### BEGIN HIDDEN TESTS
DISTILLATION.check(distillation_loss, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your loss at work** (no points): how strongly the teacher pulls at each temperature, with $T^2$ and without.

# %%
if check_distillation_loss(distillation_loss).passed:
    logits, opinion = torch.randn(64, 11, 256, requires_grad=True), 3 * torch.randn(64, 11, 256)
    right = torch.randint(256, (64, 11))
    for temperature in (1.0, 2.0, 4.0, 8.0):
        loss = distillation_loss(logits, opinion, right, temperature, hard=0.0)
        (pull,) = torch.autograd.grad(loss, logits)
        print(f"T = {temperature:.0f}: gradient {pull.norm():.5f}; without T^2 {pull.norm() / temperature**2:.5f}")

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** Two parts, two means. From `log_softmax` on both sides nothing can become infinite.
#
# The one-liner's four mistakes: (1) `softmax().log()`: the probability $e^{-203}$ is 0 in float32, its logarithm $-\infty$,
# the loss infinite and the gradient NaN, and after one step so are all weights. (2) T on the teacher only: the student would
# have to *be* as flat as the softened teacher, and would doubt for ever. (3) No $T^2$: at T = 8 the teacher would be heard
# about 64 times too softly. (4) No right answers at all, so the student learns the teacher's mistakes with the rest. (It
# also asks for teacher and student to speak of the same bins: RT-2's vocabulary and RT-1's 256 bins must be brought
# together first.)
#
# Common mistakes besides: KL the wrong way round; `reduction="mean"`, which divides by the bins; a cross-entropy with the
# teacher, whose gradient is right but which is not 0 when student and teacher agree; a gradient into the teacher.

# %% [markdown]
# ## Exercise 11: a layer in 8 bits *(optional)*
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 3 of 5 | 10 minutes | 5 (extra) | what a scale is, why every output needs its own, and what is lost |
#
# Weights fit into one byte each if they are whole numbers. For every *output* of a linear layer (every row of its weight),
# choose a `scale` so that the row's largest weight, positive or negative, is 127 of it; then round:
#
# $$w_{oi} \approx \mathrm{scale}_o \cdot \mathrm{level}_{oi}, \qquad \mathrm{level}_{oi} \in \{-127, \ldots, 127\}$$
#
# No weight is off by more than half a scale. With one scale for the whole layer, a single large weight would round all small
# rows to zero.
#
# **Your task:** write `Int8Linear(linear)`. It keeps `levels` (int8, (O, I)), `scale` (float32, (O)) and the bias, if
# there is one, and nothing else: one byte per weight, four per output. `forward` takes `x` of the shape (..., I).

# %% [markdown]
# <details><summary>Hint 1: the scale</summary>
#
# `linear.weight.detach().abs().amax(1) / 127`. A row of zeros would have the scale 0, and 0 / 0 is NaN: `.clamp(min=1e-12)`
# before dividing.
#
# </details>
# <details><summary>Hint 2: the levels, and where to keep them</summary>
#
# `(weight / scale[:, None]).round().to(torch.int8)`: cutting off without `round` would be wrong by up to a whole scale.
# `self.register_buffer("levels", ...)` makes it part of `state_dict()`.
#
# </details>
# <details><summary>Hint 3: forward</summary>
#
# Multiply with the levels as floats, then scale each *output*, then add the bias:
# `F.linear(x, self.levels.to(x.dtype)) * self.scale + bias`.
#
# </details>


# %% nbgrader={"grade_id": "int8_linear", "solution": true}
class Int8Linear(nn.Module):
    """A Linear layer whose weights are int8 `levels` (O, I), with one float `scale` (O) for each output."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        ### BEGIN SOLUTION
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("levels", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        ### BEGIN SOLUTION
        y = F.linear(x, self.levels.to(x.dtype)) * self.scale
        return y if self.bias is None else y + self.bias
        ### END SOLUTION


# %% nbgrader={"grade_id": "int8_linear_check", "points": 3}
check_int8_linear(Int8Linear)

# %% nbgrader={"grade_id": "int8_linear_hidden", "points": 2}
# When your work is graded, the same check runs here on other layers.
### BEGIN HIDDEN TESTS
INT8_LINEAR.check(Int8Linear, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# **Your layer at work** (no points): the weights of all linear layers of the trained RT-1, rounded by you. Does it still pick?

# %%
import gymnasium

from course_lib.classroom.recipes import DATA
from course_lib.learn import load_checkpoint
from course_lib.measure import rollout, success_rate
from course_lib.rt1 import RT1


def kept(layer: nn.Module) -> int:
    """Bytes of a layer's numbers."""
    return sum(x.numel() * x.element_size() for x in layer.state_dict().values())


# %%
if check_int8_linear(Int8Linear).passed:
    policy = load_checkpoint(DATA / "rt1_tiny.safetensors", RT1)
    layers = [layer for layer in policy.modules() if isinstance(layer, nn.Linear)]
    small = [Int8Linear(layer) for layer in layers]
    print(f"{len(layers)} layers: {sum(map(kept, layers)):,} bytes in float32, {sum(map(kept, small)):,} in int8")
    tables = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=25)
    print("before:", success_rate(rollout(policy, tables, n=50, seed=30_000)))
    with torch.no_grad():
        for layer, rounded in zip(layers, small, strict=True):
            layer.weight.copy_(rounded.levels * rounded.scale.view(-1, 1))
    print("after: ", success_rate(rollout(policy, tables, n=50, seed=30_000)))

# %% [markdown] tags=["worked-solution"]
# **Worked solution.** The largest of each row over 127; divide, round, keep as int8; multiply, scale, add the bias. Rounding
# is wrong by at most half a level, so a weight by at most `scale / 2`.
#
# Common mistakes: `max()` without `abs()` (the largest weight is often a negative one); dividing by 128, so that the largest
# becomes +128, which wraps round to -128; one scale for the whole layer; no `.round()` (`.to(torch.int8)` cuts off); the
# scale on the inputs instead of the outputs, which is only noticed if there are not as many of both; a float copy of the
# weight kept "for safety": then the layer has grown.
#
# Fewer bytes are not more speed. The levels become floats again for every product unless the processor multiplies 8-bit
# numbers. In OpenVLA's measurements int8 ran at 1.2 Hz on an A5000 and succeeded in 58.1% of the trials instead of 71.3%,
# while int4, at 3 Hz, succeeded in 71.9%: it was hardly the rounding, but how long the robot had to wait.

# %% [markdown]
# # Day 93 exercises: the parts of RT-2
#
# Write your answer where the cell says *your code here*, run it, then run the check below it: it tells you what is
# right, or names what is not yet. The check is the grade: what it accepts earns its points, and the grader then tries
# your code on a few more sizes. You may add cells, and change everything except the locked cells. Exercises marked
# *optional* are extras: the others fit into 45 minutes.

# %% nbgrader={"grade_id": "setup"}
import torch

from course_lib.classroom.checks import VOCABULARY, check_vocabulary

_ = torch.manual_seed(0)  # the same random numbers in every run

# %% [markdown]
# ## Exercise 1: action tokens in a vocabulary
#
# | difficulty | time | points | what it teaches |
# |---|---|---|---|
# | 1 of 5 | 5 minutes | 3 | four ways to write an action with tokens, what each adds, and which two are RT-2's |
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

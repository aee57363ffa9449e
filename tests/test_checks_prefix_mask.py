"""The mask's check accepts right answers of any style, and gives every known mistake its own message."""

import numpy as np
import pytest
import torch
from learner_answers import assert_accepted, assert_all_differ, assert_forgeries_fail, assert_told, changed

from course_lib.attention import attention_mask, prefix_lm_mask, without_padding
from course_lib.classroom.checks import check_prefix_mask
from course_lib.classroom.checks.prefix_mask import PREFIX_MASK, draw_mask, rule

BASE = """
def prefix_lm_mask(real, answer):
    S = real.shape[1]
    order = torch.ones(S, S, dtype=torch.bool).tril()
    query, key = answer[:, :, None], answer[:, None, :]
    mask = ~key | (query & order)
    mask = mask & real[:, None, :]
    return mask | torch.eye(S, dtype=torch.bool)
"""
RIGHT = {
    "booleans": BASE,
    "blocks, as the course does": """
from course_lib.attention import attention_mask, prefix_lm_mask, without_padding
from course_lib.classroom.checks import check_prefix_mask
def prefix_lm_mask(real, answer):
    return without_padding(attention_mask(answer), real)
""",
    "loops": """
def prefix_lm_mask(real, answer):
    B, S = real.shape
    mask = torch.zeros(B, S, S, dtype=torch.bool)
    for b in range(B):
        for i in range(S):
            for j in range(S):
                if i == j:
                    mask[b, i, j] = True
                elif not real[b, j] or not real[b, i]:
                    continue
                elif not answer[b, j]:
                    mask[b, i, j] = True
                else:
                    mask[b, i, j] = bool(answer[b, i]) and j < i
    return mask
""",
    "where, and padding sees all": """
def prefix_lm_mask(real, answer):
    S = real.shape[1]
    i, j = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    causal = torch.where(answer[:, None, :], (j <= i)[None], True)
    mask = torch.einsum("bij,bj->bij", causal.int(), real.int()) > 0
    mask[~real] = True
    return mask
""",
    "block by block": """
def prefix_lm_mask(real, answer):
    masks = []
    for r, a in zip(real, answer):
        p = (r & ~a).nonzero()[:, 0]
        q = a.nonzero()[:, 0]
        m = torch.eye(len(r)).bool()
        m[p[:, None], p] = True
        m[q[:, None], p] = True
        m[q[:, None], q] = torch.tril(torch.ones(len(q), len(q))).bool()
        masks.append(m)
    return torch.stack(masks)
""",
}
RULE, EYE, KEYS = "~key | (query & order)", " | torch.eye(S, dtype=torch.bool)", "mask = mask & real[:, None, :]"
WRONG = {  # name: (source, message)
    "causal": (changed(BASE, RULE, "order | torch.zeros_like(key)"), "causal everywhere"),
    "everything": (changed(BASE, RULE, "torch.ones_like(order)[None]"), "Everybody sees everything"),
    "free answer": (changed(BASE, RULE, "~key | query"), "All answer tokens see one another"),
    "wrong way round": (changed(BASE, RULE, "order | query"), "It is the wrong way round"),
    "upside down": (changed(BASE, f"return mask{EYE}", "return ~mask"), "The mask is upside down"),
    "exchanged": (changed(BASE, "return mask", "return mask.transpose(1, 2)"), "Queries and keys are exchanged"),
    "not itself": (changed(BASE, "tril()", "tril(-1)", EYE, ""), "An answer token does not see itself"),
    "no prompt": (changed(BASE, RULE, "torch.where(query, key & order, ~key)"), "Answer tokens do not see the prompt"),
    "no answer": (changed(BASE, RULE, "~key | torch.zeros_like(order)"), "do not see earlier answer tokens"),
    "one early": (
        changed(
            BASE,
            "query, key = answer[:, :, None],",
            "early = torch.cat((answer[:, 1:], answer[:, -1:]), 1)\n    query, key = answer[:, :, None],",
            "answer[:, None, :]",
            "early[:, None, :]",
        ),
        "The answer begins one token too early",
    ),
    "counts from the start": (
        changed(BASE, "    query", "    answer = torch.arange(S)[None] >= (real & ~answer).sum(1, keepdim=True)\n    query"),
        "right only where padding stands on the right",
    ),
    "first row's": (
        changed(BASE, "    query", "    answer, real = answer[:1].expand_as(answer), real[:1].expand_as(real)\n    query"),
        "In row",
    ),
    "padding is seen": (changed(BASE, KEYS, ""), "Padding is seen"),
    "padding sees nothing": (changed(BASE, EYE, " & real[:, :, None]"), "see nothing: the softmax of nothing is NaN"),
    "only queries": (changed(BASE, KEYS, "mask = mask & real[:, :, None]"), "Padding is seen"),
    "one for all": (changed(BASE, f"return mask{EYE}", f"return (mask{EYE})[0]"), "There is one mask for the whole batch"),
    "heads": (
        changed(
            BASE, "return mask | torch.eye(S, dtype=torch.bool)", "return (mask | torch.eye(S, dtype=torch.bool))[:, None]"
        ),
        "an axis for heads",
    ),
    "floats": (
        changed(BASE, "return mask", "return 1.0 * mask").replace(" | torch.eye(S, dtype=torch.bool)", ""),
        "expected torch.bool",
    ),
    "to be added": (
        changed(
            BASE, f"return mask{EYE}", f"mask = mask{EYE}\n    return torch.zeros(mask.shape).masked_fill(~mask, -math.inf)"
        ),
        "a mask to be added to scores",
    ),
    "in place": (changed(BASE, "    S =", "    answer &= real & ~answer\n    S ="), "no longer what it was"),
    "NumPy": (
        changed(BASE, "torch.bool)\n", "torch.bool)\n").replace(
            "return mask | torch.eye(S, dtype=torch.bool)", "return mask.numpy()"
        ),
        "should be a tensor, got a ndarray",
    ),
    "forgets return": (changed(BASE, "return mask", "mask"), "returns nothing"),
}


def test_sizes_include_as_many_rows_as_positions_and_padding_on_every_side():
    cases = draw_mask(np.random.default_rng(0), False)
    assert cases[0]["real"].shape[0] == cases[0]["real"].shape[1]
    first, last = (np.concatenate([case["real"][:, place] for case in cases]) for place in (0, -1))
    assert not first.all() and not last.all() and cases[2]["real"].all()


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_of_every_style_pass_on_any_inputs(name):
    assert_accepted(PREFIX_MASK, RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_told_its_own_mistake(name):
    assert_told(PREFIX_MASK, *WRONG[name])


def test_no_two_mistakes_share_a_message():
    assert_all_differ(PREFIX_MASK, {name: answer[0] for name, answer in WRONG.items() if name != "only queries"})


def test_errors_and_stubs_are_told_apart_from_mistakes():
    assert_told(
        PREFIX_MASK, "def prefix_lm_mask(real, answer):\n    raise NotImplementedError", "still a stub", "not attempted"
    )
    crossed = changed(BASE, "answer[:, None, :]", "answer[:, None, 1:]")
    assert_told(PREFIX_MASK, crossed, "RuntimeError", "error in your code")


def test_the_courses_own_function_and_what_is_no_function_are_not_answers():
    assert "the course's own prefix_lm_mask" in check_prefix_mask(prefix_lm_mask).message
    assert "Give the check the function itself" in check_prefix_mask(torch.zeros(2, 2)).hint


def test_forged_or_incomplete_evidence_never_passes():
    assert_forgeries_fail(PREFIX_MASK, BASE)


def test_the_judges_rule_agrees_with_the_courses_mask_for_all_real_tokens():
    for case in draw_mask(np.random.default_rng(3), True):
        real, answer = torch.from_numpy(case["real"]), torch.from_numpy(case["answer"])
        mask = without_padding(attention_mask(answer), real).numpy()
        assert np.array_equal(mask & case["real"][:, :, None], rule(case["real"], case["answer"]) & case["real"][:, :, None])

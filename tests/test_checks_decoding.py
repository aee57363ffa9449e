"""The two decoding checks accept right loops of any style, and give every known mistake its own message."""

import numpy as np
import pytest
import torch
from learner_answers import assert_accepted, assert_all_differ, assert_forgeries_fail, assert_told, changed, define

from course_lib.attention import prefix_lm_mask
from course_lib.classroom.checks.decoding import GENERATE, PREDICT, check_generate
from course_lib.classroom.checks.plain_decoder import MISTAKES, draw_weights, logits, prefix_lm
from course_lib.classroom.checks.toy_decoder import ToyDecoder

PLAIN = """
from course_lib.attention import prefix_lm_mask

@torch.no_grad()
def predict(decoder, prompt, steps):
    decoder.eval()
    row, P = prompt, prompt.shape[1]
    for _ in range(steps):
        S = row.shape[1]
        logits, _ = decoder(row, torch.arange(S), mask=prefix_lm_mask(P, S - P))
        token = logits[:, -1].argmax(-1)
        row = torch.cat((row, token[:, None]), 1)
    return row[:, P:]
"""
CACHED = """
@torch.no_grad()
def generate(decoder, prompt, steps):
    decoder.eval()
    P = prompt.shape[1]
    logits, past = decoder(prompt, torch.arange(P))
    tokens = [logits[:, -1].argmax(-1)]
    for place in range(P, P + steps - 1):
        logits, new = decoder(tokens[-1][:, None], torch.tensor([place]), past)
        past = [(torch.cat((k, nk), 2), torch.cat((v, nv), 2)) for (k, v), (nk, nv) in zip(past, new)]
        tokens.append(logits[:, -1].argmax(-1))
    return torch.stack(tokens, 1)
"""
RIGHT_PLAIN = {
    "a growing row": PLAIN,
    "a row of full length": """
def predict(decoder, prompt, steps):
    B, P = prompt.shape
    row = torch.cat([prompt, torch.zeros(B, steps, dtype=torch.long)], dim=-1)
    i = torch.arange(P + steps)
    mask = (i[None, :] < P) | (i[None, :] <= i[:, None])
    decoder.train(False)
    for k in range(P, P + steps):
        scores = decoder(row, i, mask=mask)[0]
        row[:, k] = scores[:, k - 1].max(dim=-1).indices
    return row[:, -steps:]
""",
    "row by row, recursively": """
from course_lib.attention import attention_mask
def answer(decoder, row, P, steps):
    if steps == 0:
        return []
    S = row.shape[-1]
    with torch.inference_mode():
        logits, _ = decoder(tokens=row, positions=torch.arange(S), mask=attention_mask(torch.arange(S) >= P))
    token = int(logits[0, -1].softmax(-1).topk(1).indices)
    return [token, *answer(decoder, torch.tensor([row[0].tolist() + [token]]), P, steps - 1)]

def predict(decoder, prompt, steps):
    decoder = decoder.eval()
    return torch.tensor([answer(decoder, row[None], len(row), steps) for row in prompt], dtype=torch.int32)
""",
    "the cached loop": CACHED.replace("def generate", "def predict"),
}
RIGHT_CACHED = {
    "lists of pairs": CACHED,
    "one loop for prompt and tokens": """
def generate(decoder, prompt, steps):
    decoder.eval()
    answer, cache, read, seen = [], None, prompt, 0
    with torch.inference_mode():
        for _ in range(steps):
            S = read.shape[1]
            logits, new = decoder(read, torch.arange(seen, seen + S), cache or ())
            grow = lambda old, more: tuple(torch.cat(pair, dim=-2) for pair in zip(old, more))
            cache = new if cache is None else list(map(grow, cache, new))
            seen, read = seen + S, logits[:, -1:].argmax(-1)
            answer.append(read)
    return torch.cat(answer, 1)
""",
    "memory taken at once": """
@torch.no_grad()
def generate(decoder, prompt, steps):
    decoder.eval()
    B, P = prompt.shape
    logits, first = decoder(prompt, torch.arange(P), mask=torch.ones(P, P, dtype=torch.bool))
    rooms = [[torch.zeros(B, x.shape[1], P + steps, x.shape[3]) for x in pair] for pair in first]
    out = torch.zeros(B, steps, dtype=torch.long)
    new, start = first, 0
    for step in range(steps):
        for room, pair in zip(rooms, new):
            for x, y in zip(room, pair):
                x[:, :, start : start + y.shape[2]] = y
        start += new[0][0].shape[2]
        out[:, step] = logits[:, -1].argmax(-1)
        past = [(k[:, :, :start], v[:, :, :start]) for k, v in rooms]
        logits, new = decoder(out[:, step : step + 1], torch.tensor([start]), past, torch.ones(1, start + 1).bool())
    return out
""",
    "a class that remembers": """
class Cache:
    def __init__(self):
        self.pairs, self.length = (), 0
    def add(self, new):
        n = new[0][0].size(2)
        self.pairs = [(torch.concat([a[0], b[0]], 2), torch.concat([a[1], b[1]], 2)) for a, b in zip(self.pairs, new)] or new
        self.length += n

def generate(decoder, prompt, steps):
    decoder.eval()
    cache, out = Cache(), []
    tokens = prompt
    while len(out) < steps:
        where = torch.arange(tokens.size(1)) + cache.length
        scores, new = decoder(tokens, positions=where, past=cache.pairs)
        cache.add(new)
        tokens = scores.detach()[:, -1].argmax(dim=1, keepdim=True)
        out.append(tokens.squeeze(1))
    return torch.stack(out).T
""",
}
MASK, PLACES = "mask=prefix_lm_mask(P, S - P)", "torch.arange(S), "
WRONG_PLAIN = {  # name: (source, message)
    "the lesson's predict": (changed(PLAIN, f", {PLACES}{MASK}", ""), "tokens of the lesson's predict"),
    "no mask": (changed(PLAIN, f", {MASK}", ""), "tokens of a decoder without a mask"),
    "no positions": (changed(PLAIN, PLACES, ""), "The decoder does not know the order"),
    "causal": (changed(PLAIN, "prefix_lm_mask(P, S - P)", "torch.ones(S, S).tril().bool()"), "causal in the prompt too"),
    "no eval": (changed(PLAIN, "    decoder.eval()\n", ""), "Dropout is on"),
    "train at last": (changed(PLAIN, "decoder.eval()", "decoder.eval().train()"), "Dropout is on"),
    "first place": (changed(PLAIN, "logits[:, -1]", "logits[:, 0]"), "You take the logits after the first token"),
    "prompt too": (changed(PLAIN, "row[:, P:]", "row"), "The prompt is part of what you return"),
    "answer's places": (changed(PLAIN, PLACES, "torch.cat((torch.arange(P), torch.arange(S - P))), "), "begin again at 0"),
    "least likely": (changed(PLAIN, "argmax", "argmin"), "Already the first token differs"),
    "draws": (
        changed(PLAIN, "argmax(-1)", "softmax(-1).multinomial(1)[:, 0]"),
        "Two calls on the same prompt give two answers",
    ),
    "first row's": (changed(PLAIN, "argmax(-1)", "argmax(-1)[:1].expand(len(row))"), "All rows get the answer of the first"),
    "last token last": (changed(PLAIN, "row[:, P:]", "row[:, P - 1 : -1]"), "Your first token is one too many"),
    "one step less": (changed(PLAIN, "range(steps)", "range(steps - 1)"), "should have the shape"),
    "logits": (changed(PLAIN, "return row[:, P:]", "return row[:, P:].float()"), "expected token ids"),
    "a list": (changed(PLAIN, "row[:, P:]", "row[:, P:].tolist()"), "returns a list"),
    "in place": (changed(PLAIN, "row[:, P:]", "row[:, P:] + prompt.zero_()[:, :1]"), "writes into the prompt"),
    "never asks": (changed(PLAIN, "decoder(row", "decoder.forward(row"), "was never called"),
    "forgets return": (changed(PLAIN, "return ", ""), "returns nothing"),
}
CAT = "[(torch.cat((k, nk), 2), torch.cat((v, nv), 2)) for (k, v), (nk, nv) in zip(past, new)]"
AT = "torch.tensor([place])"
TWIN = """
    import copy
    twin = copy.deepcopy(decoder.eval())
    twin._forward_pre_hooks.clear()
    twin(prompt)"""
WRONG_CACHED = {  # name: (source, message)
    "not cached": (PLAIN.replace("def predict", "def generate"), "because whole rows came again"),
    "prompt twice": (
        changed(CACHED, "    tokens = [", "    logits, past = decoder(prompt, torch.arange(P))\n    tokens = ["),
        "because the prompt came again",
    ),
    "places from zero": (changed(CACHED, AT, "torch.arange(1)"), "as if it stood at position 0"),
    "answer from zero": (changed(CACHED, AT, "torch.tensor([place - P])"), "begin again at 0 after the prompt"),
    "one too far": (changed(CACHED, AT, "torch.tensor([place + 1])"), "one too large"),
    "one too early": (changed(CACHED, AT, "torch.tensor([place - 1])"), "one too small"),
    "no positions": (changed(CACHED, ", torch.arange(P)", "", AT, "None"), "The decoder does not know the order"),
    "no past": (changed(CACHED, f"{AT}, past", AT), "Each new token is read alone"),
    "past of the prompt": (changed(CACHED, CAT, "past"), "sees the prompt, but not the tokens written before"),
    "past replaced": (changed(CACHED, CAT, "new"), "past is replaced instead of made longer"),
    "row after row": (
        changed(CACHED, "def generate", "def one")
        + """
def generate(decoder, prompt, steps):
    return torch.cat([one(decoder, row[None], steps) for row in prompt])
""",
        "The rows were read in turn",
    ),
    "causal prompt": (
        changed(
            CACHED,
            "decoder(prompt, torch.arange(P))",
            "decoder(prompt, torch.arange(P), (), torch.ones(P, P).tril().bool())",
        ),
        "causal in the prompt too",
    ),
    "no eval": (changed(CACHED, "    decoder.eval()\n", ""), "Dropout is on"),
    "another on the side": (changed(CACHED, "    decoder.eval()", TWIN), "More was computed than was read"),
    "asks once, computes elsewhere": (
        PLAIN.replace("def predict", "def generate")
        .replace("logits, _ = decoder(", "logits, _ = decoder.forward(")
        .replace("    decoder.eval()", "    decoder.eval()\n    decoder(prompt, torch.arange(prompt.shape[1]))"),
        "was not asked for every position",
    ),
    "reads the wrong token": (
        changed(CACHED, "decoder(tokens[-1]", "decoder(tokens[0]"),
        "tokens are right, then they differ",
    ),
    "too few": (changed(CACHED, "P + steps - 1", "P + steps - 2"), "should have the shape"),
    "stacked the other way": (
        changed(CACHED, "torch.stack(tokens, 1)", "torch.stack(tokens)"),
        "Rows and steps are exchanged",
    ),
    "forgets return": (changed(CACHED, "return ", ""), "returns nothing"),
}


@pytest.mark.parametrize("name", RIGHT_PLAIN)
def test_right_loops_of_every_style_pass_on_any_decoder(name):
    assert_accepted(PREDICT, RIGHT_PLAIN[name])


@pytest.mark.parametrize("name", RIGHT_CACHED)
def test_right_cached_loops_of_every_style_pass_on_any_decoder(name):
    assert_accepted(GENERATE, RIGHT_CACHED[name])


@pytest.mark.parametrize("name", WRONG_PLAIN)
def test_a_wrong_loop_is_told_its_own_mistake(name):
    assert_told(PREDICT, *WRONG_PLAIN[name], seeds=1)


@pytest.mark.parametrize("name", WRONG_CACHED)
def test_a_wrong_cached_loop_is_told_its_own_mistake(name):
    assert_told(GENERATE, *WRONG_CACHED[name], seeds=1)


def test_no_two_mistakes_share_a_message():
    same = ("train at last",)
    assert_all_differ(PREDICT, {name: answer[0] for name, answer in WRONG_PLAIN.items() if name not in same})
    assert_all_differ(GENERATE, {name: answer[0] for name, answer in WRONG_CACHED.items()})


def test_errors_and_stubs_are_told_apart_from_mistakes():
    for exercise in (PREDICT, GENERATE):
        stub = f"def {exercise.name}(decoder, prompt, steps):\n    raise NotImplementedError"
        assert_told(exercise, stub, "still a stub", "not attempted")
    crossed = changed(CACHED, "(v, nv), 2", "(v, nv), 1")
    assert_told(GENERATE, crossed, "Sizes of tensors must match", "error in your code", seeds=1)
    assert "positions are axis 2" in check_generate(define(crossed, "generate")).hint


def test_forged_or_incomplete_evidence_never_passes():
    assert_forgeries_fail(PREDICT, PLAIN, only_for_naming=("rows",))
    assert_forgeries_fail(GENERATE, CACHED)


def test_what_was_read_cannot_be_replaced_by_what_should_have_been_read():
    case = GENERATE.draw(np.random.default_rng(0), False)[0]
    uncached = GENERATE.probe(define(PLAIN.replace("def predict", "def generate"), "generate"), case)
    honest = GENERATE.probe(define(CACHED, "generate"), case)
    assert not GENERATE.verdict([case], [uncached | {"reads": honest["reads"]}], None).passed  # computed more than was read
    assert GENERATE.verdict([case], [honest], None).passed


def test_the_learners_own_random_numbers_and_hooks_are_not_disturbed():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert check_generate(define(CACHED, "generate")).passed
    assert torch.equal(torch.rand(2), expected)
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_the_judges_decoder_is_the_toy_decoder():
    rng = np.random.default_rng(0)
    weights, tokens = draw_weights(rng, 24, 16, 32), rng.integers(24, size=(3, 9))
    decoder = ToyDecoder(24, 16).eval()
    decoder.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    found, _ = decoder(torch.from_numpy(tokens), torch.arange(9), mask=prefix_lm_mask(4, 5))
    expected = logits(weights, tokens, np.arange(9), prefix_lm(4, 9))
    assert np.allclose(found.detach().numpy(), expected, atol=1e-4)
    with pytest.raises(ValueError, match="each of 2 layers; got 1"):
        decoder(torch.from_numpy(tokens), past=[(torch.zeros(3, 2, 1, 8), torch.zeros(3, 2, 1, 8))])


def test_every_mistake_shows_in_the_first_case():
    for seed in range(3):
        case = GENERATE.draw(np.random.default_rng(seed), False)[0]
        assert case["prompt"].shape == (case["steps"], case["steps"]) and len(MISTAKES) == 12

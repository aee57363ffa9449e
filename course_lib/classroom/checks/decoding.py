"""The checks of the two decoding exercises: the next tokens one after the other, first plainly, then with a cache.

Both must give the tokens that a NumPy decoder gives (``plain_decoder``), on weights that are drawn anew each time, so that
every usual mistake gives other tokens and is known by them. The cached loop must also have asked the decoder for every
position exactly once; rows through ``nn.Linear`` layers are counted too, so a second decoder on the side is no help.
Lesson: day93_rt2/2_implementation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from course_lib.classroom.checks.base import Case, Check, Exercise, NotYet, Record
from course_lib.classroom.checks.evidence import array, tensor
from course_lib.classroom.checks.functions import call
from course_lib.classroom.checks.plain_decoder import LAYERS, MISTAKES, decode, draw_weights

LESSON = "notebooks/day93_rt2/2_implementation.ipynb, parts 5 and 7"
VOCABULARY, WIDTH, ROOM, DROPOUT = 24, 16, 32, 0.3
LEAD = 3e-3  # a winning logit leads by this much: rounding in float32 (about 1e-5) changes no token
LINEARS = 4 * LAYERS + 1  # nn.Linear layers that each position goes through once


# --- the inputs --------------------------------------------------------------------------------------------------------


def draw_decoding(rng: np.random.Generator, hidden: bool) -> list[Case]:
    """Random weights and prompts. Sizes (B, P, steps): all equal first, then different, then as small as can be."""
    n = int(rng.integers(4, 7))
    sizes = [(n, n, n), (2, 9, 3), (1, 1, 1)] if hidden else [(n, n, n), tuple(map(int, rng.permutation([2, 3, 5])))]
    cases = [_case(rng, *sizes[0], telling=True)]
    return cases + [_case(rng, *size, telling=False) for size in sizes[1:]]


def _case(rng: np.random.Generator, B: int, P: int, steps: int, *, telling: bool) -> Case:
    """A case without close calls; a ``telling`` one is redrawn until every known mistake shows in it."""
    while True:
        weights = draw_weights(rng, VOCABULARY, WIDTH, ROOM)
        prompt = rng.integers(VOCABULARY, size=(B, P))
        tokens, lead = decode(weights, prompt, steps)
        wrong = [decode(weights, prompt, steps, **how)[0] for how in MISTAKES.values()] if telling else []
        if lead > LEAD and not any(np.array_equal(tokens, other) for other in wrong):
            break
    extra = {"prompt": prompt, "steps": np.array(steps), "seed": rng.integers(2**31, size=())}
    return {**{f"weights/{name}": value for name, value in weights.items()}, **extra}


def _weights(case: Case) -> dict[str, np.ndarray]:
    return {name.removeprefix("weights/"): value for name, value in case.items() if name.startswith("weights/")}


# --- the experiment: beside the learner's code -------------------------------------------------------------------------


def probe_decoding(name: str, loop: Any, case: Case) -> Record:
    """Let the loop run twice on a decoder in train mode, and note the tokens, what was read, and how much was computed."""
    import torch  # noqa: PLC0415  (the judge, which shares this file, does without it)
    from torch.nn.modules.module import register_module_forward_pre_hook  # noqa: PLC0415

    prompt, steps = torch.from_numpy(case["prompt"].copy()), int(case["steps"])
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(case["seed"]))
        for _ in range(2):
            decoder = _decoder(case)
            reads, rows = [], [0]

            def count(module: Any, inputs: tuple, rows: list[int] = rows) -> None:
                if isinstance(module, torch.nn.Linear):
                    rows[0] += inputs[0].numel() // inputs[0].shape[-1]

            note = decoder.register_forward_pre_hook(_note(reads, len(prompt)), with_kwargs=True)
            counting = register_module_forward_pre_hook(count)
            given = prompt.clone()
            try:
                answer = call(name, loop, decoder, given, steps)
            finally:
                counting.remove(), note.remove()
            if not torch.equal(given, prompt):
                raise NotYet(f"{name} writes into the prompt it was given.", "Make new tensors with torch.cat.")
            found.append((_answer(name, answer, prompt, steps), reads, rows[0]))
    (tokens, reads, rows), (again, _, _) = found
    log = np.array(reads, np.int64).reshape(-1, 3 + len(prompt))
    return {"tokens": tokens, "again": again, "reads": log, "rows": np.array(rows, np.int64)}


def _decoder(case: Case) -> Any:
    import torch  # noqa: PLC0415

    from course_lib.classroom.checks.toy_decoder import ToyDecoder  # noqa: PLC0415

    decoder = ToyDecoder(VOCABULARY, WIDTH, room=ROOM, dropout=DROPOUT)
    decoder.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in _weights(case).items()})
    return decoder.train()


def _note(reads: list, B: int) -> Callable:
    """A hook that writes a line for every position read: [number of the call, train mode?, position, tokens of the B rows].

    Where a call reads fewer rows, -1 stands for the tokens of the others.
    """
    calls = [0]

    def note(decoder: Any, inputs: tuple, options: dict) -> None:
        given = dict(zip(("tokens", "positions", "past", "mask"), inputs, strict=False)) | options
        tokens, places = given["tokens"], given.get("positions")
        S = tokens.shape[-1]
        places = [-1] * S if places is None else places.expand(S).tolist() if places.ndim < 2 else places[0].tolist()
        for i, place in enumerate(places):
            column = tokens[:, i].tolist()[:B]
            reads.append([calls[0], decoder.training, place, *column, *[-1] * (B - len(column))])
        calls[0] += 1

    return note


def _answer(name: str, answer: Any, prompt: Any, steps: int) -> np.ndarray:
    """The loop's tokens, int64 (B, steps)."""
    import torch  # noqa: PLC0415

    B, P = prompt.shape
    if isinstance(answer, torch.Tensor) and tuple(answer.shape) == (B, P + steps):
        raise NotYet("The prompt is part of what you return.", f"Return the {steps} new tokens alone: row[:, P:].")
    if isinstance(answer, (list, tuple)):
        raise NotYet(f"{name} returns a {type(answer).__name__}, expected a tensor (B, steps).", "torch.stack(tokens, 1)")
    answer = tensor(answer, name, (B, steps), "One new token a step, for each row: (B, steps).")
    if answer.is_floating_point() or answer.dtype == torch.bool:
        raise NotYet(f"{name} returns {answer.dtype}, expected token ids: whole numbers.", "argmax gives them.")
    return answer.detach().cpu().long().numpy()


# --- the verdict: arithmetic on the record -----------------------------------------------------------------------------

NAMES = {  # of ``plain_decoder.MISTAKES``: what to say
    "no mask": (
        "These are the tokens of a decoder without a mask: earlier tokens see later ones, as they never did in training.",
        "Pass mask=prefix_lm_mask(P, S - P) with every row of S tokens that you read.",
    ),
    "no mask, no positions": (
        "These are the tokens of the lesson's predict: without a mask and without positions.",
        "Two arguments of the decoder are missing: positions and mask.",
    ),
    "no positions": (
        "The decoder does not know the order: no positions were given.",
        "positions=torch.arange(S) for a whole row; the place in the whole row for a single token.",
    ),
    "causal": (
        "Your mask is causal in the prompt too: its first tokens do not see its last ones.",
        "A prefix-LM's prompt sees all of itself: prefix_lm_mask, or no mask at all while only the prompt is read.",
    ),
    "places from zero": (
        "Every new token is read as if it stood at position 0.",
        "torch.arange(1) is 0 in every step: the first new token stands at position P, then P + 1, ...",
    ),
    "answer from zero": ("The positions begin again at 0 after the prompt.", "They go on: P, P + 1, ..."),
    "one too far": ("The positions of the new tokens are one too large.", "The prompt fills 0 ... P - 1; then comes P."),
    "one too early": (
        "The positions of the new tokens are one too small: the first shares the last place of the prompt.",
        "The prompt fills 0 ... P - 1; then comes P.",
    ),
    "nothing remembered": (
        "Each new token is read alone: it sees neither the prompt nor what was written before.",
        "Pass past=..., the keys and values of everything read so far.",
    ),
    "prompt only": (
        "Each new token sees the prompt, but not the tokens written before it.",
        "Append the new keys and values to those you have, in every layer, in every step.",
    ),
    "last only": (
        "Each new token sees only the one before it: past is replaced instead of made longer.",
        "The decoder returns the keys and values of what it just read. Put them behind the old ones with torch.cat.",
    ),
    "first place": ("You take the logits after the first token.", "What comes next stands after the last: logits[:, -1]."),
}


def _judge_tokens(case: Case, record: Record) -> None:
    """The right tokens, on a decoder without dropout."""
    prompt, steps = case["prompt"], int(case["steps"])
    tokens, again = (array(record, name, (len(prompt), steps), np.int64) for name in ("tokens", "again"))
    log, _ = _log(case, record), array(record, "rows", (), np.int64)
    if log[:, 1].any():
        raise NotYet(
            "Dropout is on while the answer is written: numbers are dropped at random.",
            "decoder.eval() before the first call.",
        )
    expected, _ = decode(_weights(case), prompt, steps)
    if np.array_equal(tokens, expected):
        if not np.array_equal(tokens, again):
            raise NotYet("Two calls on the same prompt give two answers.", "Is anything kept between calls, or drawn?")
        return
    for name, how in MISTAKES.items():
        if np.array_equal(tokens, decode(_weights(case), prompt, steps, **how)[0]):
            raise NotYet(*NAMES[name])
    if np.array_equal(tokens[:, 1:], expected[:, :-1]):
        raise NotYet("Your first token is one too many: the others come one step late.", "Return what argmax chose.")
    if len(prompt) > 1 and np.array_equal(tokens[0], expected[0]) and (tokens == tokens[0]).all():
        raise NotYet("All rows get the answer of the first prompt.", "argmax(-1) of logits[:, -1] is one token per row.")
    if len(prompt) == steps and np.array_equal(tokens, expected.T):
        raise NotYet("Rows and steps are exchanged.", "One row for each prompt, one column for each step: (B, steps).")
    if not np.array_equal(tokens, again):
        raise NotYet("Two calls on the same prompt give two answers.", "Take the most likely token: nothing is drawn.")
    right = int((tokens == expected).all(0).cumprod().sum())
    raise NotYet(
        f"The first {right} of {steps} tokens are right, then they differ." if right else "Already the first token differs.",
        "Compare, step by step: which tokens were read, at which positions, with which mask and past?",
    )


def _log(case: Case, record: Record) -> np.ndarray:
    """The lines of what was read; there must be some."""
    log = record.get("reads", np.zeros(0))
    if log.ndim != 2 or log.dtype != np.int64 or log.shape[1] != 3 + len(case["prompt"]):
        raise NotYet("No usable output of the experiment 'reads' came back.")
    if not len(log):
        raise NotYet("The decoder you were given was never called.", "decoder(tokens, ...): not decoder.forward, no copy.")
    return log


def judge_predict(case: Case, record: Record) -> None:
    """Raise ``NotYet`` for the first mistake that the record shows."""
    _judge_tokens(case, record)


def judge_generate(case: Case, record: Record) -> None:
    """The right tokens, and every position read exactly once."""
    _judge_tokens(case, record)
    prompt, steps, log = case["prompt"], int(case["steps"]), _log(case, record)
    row = np.concatenate([prompt, decode(_weights(case), prompt, steps)[0]], 1)  # (B, P + steps)
    P, needed = prompt.shape[1], prompt.shape[1] + steps - 1  # the last token need not be read
    if (log[:, 3:] < 0).any():
        raise NotYet("The rows were read in turn, one call each.", "A call reads all rows of the batch side by side.")
    times = np.array([(log[:, 2] == place).sum() for place in range(P + steps)])
    if (times[:needed] > 1).any():
        most = int(times.argmax())
        what = "the prompt" if times[P:needed].max(initial=0) <= 1 else "whole rows"
        raise NotYet(
            f"Nothing is saved: position {most} was computed {times[most]} times, because {what} came again.",
            "Read the prompt once, then give the decoder one new token a step, with the past.",
        )
    kept = log[:, 2] < P + steps
    right = kept & (log[:, 3:] == row[:, np.where(kept, log[:, 2], 0)].T).all(1)
    if not right.all() or (times[:needed] != 1).any():
        raise NotYet("The decoder was not asked for every position, in its place, with its token.", "0 ... P + steps - 2.")
    if not LINEARS * len(prompt) * needed <= int(array(record, "rows", (), np.int64)) <= LINEARS * len(prompt) * len(log):
        raise NotYet("More was computed than was read: does another decoder work on the side?", "One decoder, one loop.")
    calls = len(np.unique(log[:, 0]))
    if calls > steps + 1:
        raise NotYet(
            f"The decoder was called {calls} times for {steps} tokens: the prompt was read in pieces.",
            "All tokens of the prompt are known: one call reads them side by side.",
        )


HINTS = (
    (
        "Expected size .* but got size|Sizes of tensors must match",
        "Keys and values are (B, heads, S, D): positions are axis 2.",
    ),
    ("index out of range", "A position beyond the decoder's room, or a token that is none: print both."),
    ("past. is nothing", "past is a list with one (keys, values) for each layer."),
    ("mask|broadcast", "The mask has a row for each token that is read and a column for each position that may be seen."),
)
PREDICT = Exercise(
    "predict", LESSON, draw_decoding, lambda loop, case: probe_decoding("predict", loop, case), judge_predict, HINTS
)
GENERATE = Exercise(
    "generate", LESSON, draw_decoding, lambda loop, case: probe_decoding("generate", loop, case), judge_generate, HINTS
)


def check_predict(predict: Any, seed: int | None = None) -> Check:
    """Try a learner's ``predict(decoder, prompt, steps)`` on random decoders and prompts."""
    return PREDICT.check(predict, seed)


def check_generate(generate: Any, seed: int | None = None) -> Check:
    """Try a learner's ``generate(decoder, prompt, steps)``: the same tokens, each position computed once."""
    return GENERATE.check(generate, seed)

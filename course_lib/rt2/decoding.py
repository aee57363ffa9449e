"""Writing an answer: read image and prompt once, then one token at a time; filters decide which tokens are legal.

RT-2 (section 3.2) samples only valid action tokens when the prompt is a robot's, and the whole vocabulary otherwise: a
constraint of decoding, not of training. A filter is a function (logits, tokens so far) -> logits, as in Whisper's
decoding; several may be listed. Lessons: day93_rt2/2_implementation, day93_rt2/4_deployment.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.rt2.paligemma import PaliGemma

LogitFilter = Callable[[Float[Tensor, "R V"], Int[Tensor, "R n"]], Float[Tensor, "R V"]]
Pick = Callable[[Float[Tensor, "R V"]], Int[Tensor, " R"]]


def arg_max(logits: Float[Tensor, "R V"]) -> Int[Tensor, " R"]:
    """The most likely token (greedy decoding)."""
    return logits.argmax(-1)


def sampling(generator: torch.Generator | None = None, temperature: float | int = 1.0) -> Pick:
    """Tokens drawn with their probabilities; a lower temperature prefers the likely ones more."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}. Try arg_max for the most likely token.")

    def pick(logits: Float[Tensor, "R V"]) -> Int[Tensor, " R"]:
        probabilities = (logits.float() / temperature).softmax(-1)
        return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

    return pick


class OnlyActionTokens:
    """Place k of the answer may only hold one of ``slots[k]``; after the last place only ``end`` may follow."""

    def __init__(self, slots: Sequence[Sequence[int]], end: int, vocabulary: int):
        self.legal = torch.zeros(len(slots) + 1, vocabulary, dtype=torch.bool)
        for place, ids in enumerate([*slots, (end,)]):
            self.legal[place, list(ids)] = True

    def __call__(self, logits: Float[Tensor, "R V"], tokens: Int[Tensor, "R n"]) -> Float[Tensor, "R V"]:
        """Everything illegal at this place becomes impossible."""
        place = min(tokens.shape[1], len(self.legal) - 1)
        return logits.masked_fill(~self.legal[place].to(logits.device), float("-inf"))


class PlanThenAction:
    """Free words until ``marker`` ("action:") has been written, then only an action's tokens, row by row.

    A plan that has not ended after ``limit`` tokens is ended: the marker is forced. ``end`` cannot come before the action.
    """

    def __init__(self, marker: Sequence[int], slots: Sequence[Sequence[int]], end: int, vocabulary: int, *, limit: int = 24):
        if not marker or limit < 0:
            raise ValueError(f"A plan ends with a marker of at least one token and limit >= 0; got {list(marker)}, {limit}.")
        self.marker, self.limit, self.end = torch.tensor(list(marker)), limit, end
        self.legal = OnlyActionTokens(slots, end, vocabulary).legal

    @property
    def steps(self) -> int:
        """Tokens that surely suffice: the longest plan, the marker, the action."""
        return self.limit + len(self.marker) + len(self.legal) - 1

    def __call__(self, logits: Float[Tensor, "R V"], tokens: Int[Tensor, "R n"]) -> Float[Tensor, "R V"]:
        """Each row by where it is: in its plan, in a forced marker, or at a place of its action."""
        since = self.since_marker(tokens)
        legal = self.legal.to(logits.device)[since.clamp(0, len(self.legal) - 1)]  # (R, V)
        planning = torch.ones_like(legal[0])
        planning[self.end] = False
        forced = tokens.shape[1] - self.limit
        if forced >= 0:
            planning = torch.zeros_like(planning)
            planning[self.marker[min(forced, len(self.marker) - 1)]] = True
        return logits.masked_fill(~torch.where(since[:, None] < 0, planning, legal), float("-inf"))

    def since_marker(self, tokens: Int[Tensor, "R n"]) -> Int[Tensor, " R"]:
        """Tokens written after the first marker of each row; -1 where there is none yet."""
        n, m = tokens.shape[1], len(self.marker)
        if n < m:
            return torch.full((len(tokens),), -1, device=tokens.device)
        here = (tokens.unfold(1, m, 1) == self.marker.to(tokens.device)).all(-1)  # (R, n - m + 1)
        return torch.where(here.any(1), n - m - here.int().argmax(1), -1)


@torch.inference_mode()
def generate(
    vlm: PaliGemma,
    images: Float[Tensor, "B 3 H W"],
    prompts: Int[Tensor, "R P"],
    real: torch.Tensor | None = None,
    *,
    steps: int,
    stop: int | None = None,
    filters: Sequence[LogitFilter] = (),
    pick: Pick = arg_max,
    cached: bool = True,
    trace: dict | None = None,
) -> Int[Tensor, "R n"]:
    """Up to ``steps`` answer tokens for each prompt; a row that has written ``stop`` is filled up with it.

    R is a multiple of B: the first R / B prompts are about the first image. ``real`` is False where a prompt is padded,
    on its left. ``cached=False`` reads the whole row again for every token: the same answer, slowly, for comparison.
    With ``trace``: ``logits`` (R, n, V) after the filters.
    """
    reader = _reader(vlm, images, prompts, real, steps, cached)
    logits, tokens = reader.first(), prompts[:, :0]
    if not torch.isfinite(logits).all():
        raise ValueError("The model's output is NaN or infinite: its weights are damaged. Load them again.")
    ended, seen = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device), []
    for step in range(steps):
        for legal in filters:
            logits = legal(logits, tokens)
        seen.append(logits)
        token = pick(logits)
        if stop is not None:
            token = torch.where(ended, stop, token)
            ended |= token == stop
        tokens = torch.cat((tokens, token[:, None]), 1)
        if step + 1 == steps or (stop is not None and bool(ended.all())):
            break
        logits = reader.next(token)
    if trace is not None:
        trace["logits"] = torch.stack(seen, 1)
    return tokens


def _reader(
    vlm: PaliGemma, images: Tensor, prompts: Tensor, real: Tensor | None, steps: int, cached: bool
) -> "_Cached | _Uncached":
    """What reads the prompts and gives the logits of each next token; the door of ``generate``."""
    if steps < 1 or not len(images) or len(prompts) % len(images):
        raise ValueError(
            f"Expected steps >= 1 and so many prompts per image; got {steps}, {len(prompts)} and {len(images)}."
        )
    real = torch.ones_like(prompts, dtype=torch.bool) if real is None else real
    vlm.check(images, prompts.unflatten(0, (len(images), -1)), None, None)
    return (_Cached if cached else _Uncached)(vlm, images, prompts, real, steps)


class _Cached:
    """Logits of the next token, from keys and values that are remembered."""

    def __init__(self, vlm: PaliGemma, images: Tensor, prompts: Tensor, real: Tensor, steps: int):
        self.vlm = vlm
        self.logits, self.cache = vlm.prefill(vlm.image_tokens(images), prompts, real, room=steps - 1)

    def first(self) -> Tensor:
        return self.logits

    def next(self, token: Tensor) -> Tensor:
        return self.vlm.step(token, self.cache)


class _Uncached:
    """The slow twin: everything again for every token, the image included."""

    def __init__(self, vlm: PaliGemma, images: Tensor, prompts: Tensor, real: Tensor, steps: int):
        self.vlm, self.images, self.rows, self.real = vlm, images, prompts, real
        self.answer = torch.zeros_like(real)

    def first(self) -> Tensor:
        B = len(self.images)
        rows, answer, real = (x.unflatten(0, (B, -1)) for x in (self.rows, self.answer, self.real))
        states = self.vlm.states(self.images, rows, answer, real)
        return self.vlm.language.logits(states[:, :, -1]).flatten(0, 1)

    def next(self, token: Tensor) -> Tensor:
        new = torch.ones_like(self.real[:, :1])
        self.rows = torch.cat((self.rows, token[:, None]), 1)
        self.answer, self.real = torch.cat((self.answer, new), 1), torch.cat((self.real, new), 1)
        return self.first()

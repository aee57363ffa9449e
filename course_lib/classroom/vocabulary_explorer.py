"""VocabularyExplorer: the rows of a language model's table, which of them speak for the robot, and which of them learn.

Four layouts of action tokens (``ActionVocabulary``) beside one another: RT-2's own two (RT-2 section 3.2) and two that are
often drawn. Python takes one gradient per layout and kind of training step; text, token ids and action are turned into one
another in the browser (``vocabulary_codec.js``), and a browser test compares them with Python's.
Lesson: day93_rt2/1_theory.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import traitlets
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.classroom.lesson_widget import HERE, LessonWidget, script, style
from course_lib.rt2 import RT2
from course_lib.rt2.tokenizer import CLOSING, OPENING, SEPARATOR, SPECIAL, TinyTokenizer

TITLES = {
    "extend": "append 256",
    "overwrite": "overwrite 256 (RT-2 on PaLM-E)",
    "integers": "the integers (RT-2 on PaLI-X)",
    "per dimension": "256 for each number, a start and an end",
}
STEPS = ("robot, whole vocabulary", "robot, action tokens only", "questions (web)", "half robot, half web")
KINDS = ("special", "mark", "number", "place", "word", "unused", "new: action")


@dataclass(frozen=True)
class TableGradients:
    """One training step as the table of tokens sees it. The table is read at the input and is the output layer, too."""

    said: Float[Tensor, "V D"]  # gradient of the output layer's part: rows as things to say
    read: Float[Tensor, "V D"]  # of the input's part: rows as things that were read
    asked: Int[Tensor, " V"]  # how often each token was the right answer
    heard: Int[Tensor, " V"]  # how often each token was read

    def norms(self) -> Float[np.ndarray, "3 V"]:
        """Lengths of each row's gradient: in all, as said, as read."""
        return np.stack([part.norm(dim=-1).numpy() for part in (self.said + self.read, self.said, self.read)])


def table_gradients(policy: RT2, batch: Mapping[str, Any], *, action_tokens_only: bool = False) -> TableGradients:
    """What one step on ``batch`` (as for ``RT2.loss``) asks of each row of the table; nothing is changed.

    With ``action_tokens_only`` the cross-entropy is taken over the action tokens alone, as lessons on RT-2 often do; RT-2
    trains on the whole vocabulary and restricts only decoding. Raises ValueError for a batch that has no action then.
    """
    rows, table = policy.rows(batch), policy.vlm.language.embedding
    loss = sliced_loss if action_tokens_only else RT2.loss
    (both,) = torch.autograd.grad(loss(policy, batch), table.weight)
    cut = table.register_forward_hook(lambda module, inputs, output: output.detach())
    try:
        (said,) = torch.autograd.grad(loss(policy, batch), table.weight)
    finally:
        cut.remove()
    size = len(table.weight)
    asked = rows.tokens[..., 1:][rows.answer[..., 1:]]
    if action_tokens_only:
        asked = asked[asked != policy.tokenizer.eos_token_id]
    heard = rows.tokens[..., :-1][rows.real[..., 1:]]
    counts = (torch.bincount(ids.cpu(), minlength=size) for ids in (asked, heard))
    return TableGradients(said.cpu(), (both - said).cpu(), *counts)


def sliced_loss(policy: RT2, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
    """Cross-entropy of a robot batch over its action tokens alone: no other token is ever pushed down."""
    rows, vocabulary = policy.rows(batch), policy.vocabulary
    ids = torch.tensor(sorted({*vocabulary.frame, *(i for row in vocabulary.rows for i in row)}), device=policy.device)
    wanted = rows.answer[..., 1:] & torch.isin(rows.tokens[..., 1:], ids)
    if not wanted.any():
        raise ValueError("Expected a batch with actions, got one without. Try images, instructions and actions.")
    pixels = policy.pictures(batch["images"]).to(policy.device)
    states = policy.vlm.states(pixels, rows.tokens[..., :-1], rows.answer[..., :-1], rows.real[..., :-1])
    logits = policy.vlm.language.logits(states[wanted]).float()[:, ids]
    return F.cross_entropy(logits, torch.searchsorted(ids, rows.tokens[..., 1:][wanted]))


def half_and_half(one: TableGradients, other: TableGradients) -> TableGradients:
    """The mean of two steps' losses: half of each gradient; tokens are counted in both."""
    halves = ((a + b) / 2 for a, b in ((one.said, other.said), (one.read, other.read)))
    return TableGradients(*halves, one.asked + other.asked, one.heard + other.heard)


def kind_of(tokenizer: TinyTokenizer, token: int) -> str:
    """Which of KINDS a row of the table is."""
    if token >= len(tokenizer):
        return "new: action"
    text = tokenizer.convert_ids_to_tokens(token)
    if text in SPECIAL or text == SEPARATOR:
        return "special"
    if text in CLOSING + OPENING:
        return "mark"
    starts = {"<loc": "place", "<unused": "unused"}
    return next((kind for start, kind in starts.items() if text.startswith(start)), "number" if text.isdecimal() else "word")


class VocabularyExplorer(LessonWidget):
    """The table of tokens, row by row: what each is, what it stands for, how much a training step changes it.

    ``policies``: RT2s with the same TinyTokenizer and action space, by the name of their layout (a key of TITLES);
    ``robot`` and ``web``: a robot and a web batch for them; ``examples``: strings of numbers to begin with, by name (the
    first is shown; default: the batch's first action). ``chosen``, ``text`` and ``ids`` are what the browser shows now.
    """

    _esm = (HERE / "vocabulary_codec.js").read_text(encoding="utf-8") + script("vocabulary_explorer")
    _css = style("vocabulary_explorer")
    header = traitlets.Dict().tag(sync=True)
    numbers = traitlets.Bytes().tag(sync=True)  # per layout and step: norms (3, V), then asked and heard (2, V), float32
    chosen = traitlets.Unicode().tag(sync=True)  # a layout; ``layout`` is the name of every widget's own box
    text = traitlets.Unicode().tag(sync=True)
    ids = traitlets.List().tag(sync=True)

    def __init__(
        self,
        policies: Mapping[str, RT2],
        robot: Mapping[str, Any],
        web: Mapping[str, Any],
        *,
        examples: Mapping[str, str] | None = None,
    ):
        self.policies = dict(policies)
        _check_alike(self.policies)
        first = next(iter(self.policies.values()))
        own = first.text.encode(torch.as_tensor(robot["actions"])[0])
        self.examples = dict(examples or {"the robot's first step": own})
        levels = first.text.levels(first.text.decode(next(iter(self.examples.values()))))
        self.steps = {name: _steps(policy, robot, web) for name, policy in self.policies.items()}
        parts = [step for steps in self.steps.values() for step in steps]
        super().__init__(
            header=_header(self.policies, self.examples),
            numbers=b"".join(_bytes(step) for step in parts),
            chosen=next(iter(self.policies)),
            text=" ".join(map(str, levels.tolist())),
            ids=first.vocabulary.ids(levels).tolist(),
        )

    def still_html(self, css_class: str) -> str:
        """A table of the layouts: rows, what they add, the first example's token ids, rows with a gradient."""
        learning = (f"rows that learn: {step}" for step in STEPS[:2])
        names = ("layout", "rows", "new rows", "new numbers", "the example's ids", *learning)
        head, body = "".join(f"<th>{name}</th>" for name in names), ""
        for name, policy in self.policies.items():
            vocabulary, width = policy.vocabulary, policy.vlm.config.language.width
            ids = vocabulary.ids(policy.text.levels(policy.text.decode(self.text))).tolist()
            learn = [f"{np.count_nonzero(step.norms()[0])}" for step in self.steps[name][:2]]
            size, added = policy.vlm.config.language.vocabulary, vocabulary.added_parameters(width)
            cells = [f"{size}", f"{vocabulary.added_rows}", f"{added:,}", " ".join(map(str, ids)), *learn]
            row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            body += f'<tr><th scope="row">{html.escape(TITLES[name])}</th>{row}</tr>'
        words = f"RT-2 says “{self.text}”. Run this notebook to look at every row of the table."
        return (
            f'<figure class="{css_class}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            f"<figcaption>{html.escape(words)}</figcaption></figure>"
        )


def _check_alike(policies: Mapping[str, RT2]) -> None:
    unknown = set(policies) - set(TITLES)
    if unknown or not policies:
        raise ValueError(f"Expected RT2s by the names of layouts, {', '.join(TITLES)}; got {', '.join(policies) or 'none'}.")
    first = next(iter(policies.values()))
    for name, policy in policies.items():
        if not isinstance(policy.tokenizer, TinyTokenizer) or policy.tokenizer.words != first.tokenizer.words:
            raise ValueError(f"All layouts are compared over one TinyTokenizer; {name!r} has another. Try the same words.")
        if policy.text.space != first.text.space or policy.text.order != first.text.order:
            raise ValueError(f"All layouts write the same action; {name!r} has another space. Try the same `without`.")


def _steps(policy: RT2, robot: Mapping[str, Any], web: Mapping[str, Any]) -> Sequence[TableGradients]:
    """In the order of STEPS."""
    whole, asked = table_gradients(policy, robot), table_gradients(policy, web)
    return whole, table_gradients(policy, robot, action_tokens_only=True), asked, half_and_half(whole, asked)


def _bytes(step: TableGradients) -> bytes:
    counts = np.stack([step.asked.numpy(), step.heard.numpy()])
    return step.norms().astype("<f4").tobytes() + counts.astype("<f4").tobytes()


def _header(policies: Mapping[str, RT2], examples: Mapping[str, str]) -> dict[str, Any]:
    """All that is said in words, for the browser."""
    first = next(iter(policies.values()))
    tokenizer, space = first.tokenizer, first.text.space
    dims = [space.dims[i] for i in first.text.order]
    return {
        "tokens": [tokenizer.convert_ids_to_tokens(i).replace(SEPARATOR, "\\n") for i in range(len(tokenizer))],
        "kinds": [KINDS.index(kind_of(tokenizer, i)) for i in range(len(tokenizer))],
        "kind_names": list(KINDS),
        "bins": first.vocabulary.size,
        "width": first.vlm.config.language.width,
        "dims": [
            {"name": d.name.replace("_", " "), "low": d.low, "high": d.high, "unit": d.unit, "classes": list(d.classes)}
            for d in dims
        ],
        "layouts": [_describe(name, policy) for name, policy in policies.items()],
        "steps": list(STEPS),
        "examples": [{"name": name, "text": text} for name, text in examples.items()],
    }


def _describe(name: str, policy: RT2) -> dict[str, Any]:
    vocabulary, width = policy.vocabulary, policy.vlm.config.language.width
    return {
        "name": name,
        "title": TITLES[name],
        "size": policy.vlm.config.language.vocabulary,
        "added": vocabulary.added_rows,
        "parameters": vocabulary.added_parameters(width),
        "all": sum(p.numel() for p in policy.parameters()),
        "rows": [list(row) for row in vocabulary.rows],
        "frame": list(vocabulary.frame),
    }


__all__ = ["TableGradients", "VocabularyExplorer", "half_and_half", "kind_of", "sliced_loss", "table_gradients"]

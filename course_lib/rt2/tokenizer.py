"""Words as tokens: the tiny model's own vocabulary, with the interface of the real tokenizer.

PaliGemma's tokenizer (SentencePiece, 257,152 pieces) comes with the real weights; ``huggingface_processor`` reads it.
The tiny model knows one token per word of a list: no piece of a word has a meaning, and a word that is not on the list is
an error that says so, never a guess. Both have ``encode``, ``decode``, ``convert_tokens_to_ids``, ``bos_token_id`` ...,
so everything else here works with either. Lessons: day93_rt2/1_theory, day93_rt2/2_implementation.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

SPECIAL = ("<pad>", "<eos>", "<bos>")  # ids 0, 1, 2, as Gemma's
SEPARATOR = "\n"  # ends a prompt, as PaliGemma's processor does
CLOSING, OPENING = ".,:;?!", "¿¡"  # tokens of their own where a word carries one
_CHUNK = re.compile(r"\n|<[a-z]+\d*>|[^\s<]+|<")
_LOCATION = re.compile(r"<loc\d{4}>")


@runtime_checkable
class TextTokenizer(Protocol):
    """What RT2 asks of a tokenizer: TinyTokenizer has it, and so have transformers' tokenizers."""

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]: ...
    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str: ...
    def convert_tokens_to_ids(self, tokens: Any) -> Any: ...
    def __len__(self) -> int: ...


class TinyTokenizer:
    """One token per word of ``words``, per whole number below ``integers``, per punctuation mark.

    ``words`` may hold PaliGemma's location tokens ("<loc0512>"). ``unused`` further tokens stand for nothing, like
    Gemma's <unused0> ...: rows of the table that a layout of action tokens may overwrite. Upper case is read as lower
    case. The ids depend on the arguments alone.
    """

    def __init__(self, words: Iterable[str], *, integers: int = 256, unused: int = 256):
        self.words = tuple(sorted({_plain(word) for word in words}))
        wrong = [word for word in self.words if not word or len(_CHUNK.findall(word)) != 1 or word in SPECIAL]
        if wrong or integers < 0 or unused < 0:
            raise ValueError(f"Expected single words and counts from 0 on; got {wrong[:5]}, {integers} and {unused}.")
        self.integers, self.unused = integers, unused
        numbers = [str(n) for n in range(integers)]
        fixed = [*SPECIAL, SEPARATOR, *CLOSING, *OPENING, *numbers]
        spare = [f"<unused{n}>" for n in range(unused)]
        own = [word for word in self.words if word not in {*fixed, *spare}]
        self._tokens = (*fixed, *own, *spare)
        self._ids = {token: i for i, token in enumerate(self._tokens)}
        self.pad_token_id, self.eos_token_id, self.bos_token_id = 0, 1, 2

    def __len__(self) -> int:
        return len(self._tokens)

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make it again: what a checkpoint keeps as JSON."""
        return {"words": list(self.words), "integers": self.integers, "unused": self.unused}

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        return dict(self._ids)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Ids of a text; with ``add_special_tokens`` <bos> first. Raises ValueError that names an unknown word."""
        chunks = _CHUNK.findall(_plain(text, keep_lines=True))
        ids = [i for place, chunk in enumerate(chunks, 1) for i in self._read(chunk, place, text)]
        return [self.bos_token_id, *ids] if add_special_tokens else ids

    def _read(self, chunk: str, place: int, text: str) -> list[int]:
        """Ids of what stands between two spaces: a token as it is, or a word with punctuation around it."""
        if chunk in self._ids:
            return [self._ids[chunk]]
        word = chunk.lstrip(OPENING).rstrip(CLOSING)
        if word not in self._ids and word:
            raise ValueError(self._unknown(word, place, text))
        before = chunk[: len(chunk) - len(chunk.lstrip(OPENING))]
        after = chunk[len(before) + len(word) :]
        return [self._ids[token] for token in (*before, *([word] if word else []), *after)]

    def _unknown(self, word: str, place: int, text: str) -> str:
        near = difflib.get_close_matches(word, self.words, n=3, cutoff=0.6)
        meant = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Try words from the questions and instructions."
        if word.isdecimal():
            meant = f"It knows the whole numbers 0 ... {self.integers - 1}."
        return (
            f"This small model does not know {word!r} (word {place} of {text!r}). {meant} It knows {len(self.words)} words."
        )

    def decode(self, ids: Sequence[int] | Tensor, skip_special_tokens: bool = False) -> str:
        """The text of ids: words with spaces, punctuation and location tokens without."""
        text = ""
        for i in torch.as_tensor(ids).tolist():
            token = self.convert_ids_to_tokens(i)
            if not (skip_special_tokens and token in SPECIAL):
                text += token if _joined(text, token) else f" {token}"
        return text

    def batch_decode(self, rows: Iterable[Sequence[int] | Tensor], skip_special_tokens: bool = False) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """The id of a token, or those of several. Raises ValueError for one that does not exist."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        if tokens not in self._ids:
            raise ValueError(f"There is no token {tokens!r} among the {len(self)} of this vocabulary.")
        return self._ids[tokens]

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> str | list[str]:
        """The token of an id, or those of several. Raises ValueError for an id that does not exist."""
        if isinstance(ids, Iterable):
            return [self.convert_ids_to_tokens(int(i)) for i in ids]
        if not 0 <= ids < len(self):
            raise ValueError(f"Token ids are 0 ... {len(self) - 1}, got {ids}. Is it an appended action token?")
        return self._tokens[ids]


def huggingface_processor(folder: str | Path) -> Any:
    """The real tokenizer and picture processor of a Hugging Face folder (transformers' PaliGemmaProcessor).

    Raises ValueError if the folder has none.
    """
    from transformers import AutoProcessor  # noqa: PLC0415 - takes seconds to import, and only real weights need it

    path = Path(folder)
    if not any((path / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise ValueError(
            f"{folder} has no preprocessor_config.json, so no tokenizer can be read from it. Is the copy whole?"
        )
    return AutoProcessor.from_pretrained(path, local_files_only=True)


def _plain(text: str, *, keep_lines: bool = False) -> str:
    """Lower case, accents in one form."""
    plain = unicodedata.normalize("NFC", text).lower()
    return plain if keep_lines else plain.strip()


def _joined(text: str, token: str) -> bool:
    """Whether a token follows a text without a space."""
    after_mark = text.endswith((SEPARATOR, *OPENING)) or not text
    both_places = _LOCATION.fullmatch(token) and text.endswith(">") and _LOCATION.search(text[-9:])
    return after_mark or bool(both_places) or token == SEPARATOR or token in CLOSING

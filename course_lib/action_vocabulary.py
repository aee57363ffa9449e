"""Which tokens of a language model stand for the bins of an action: four layouts, and what each costs.

RT-2 (Brohan et al. 2023, section 3.2) adds no token: on PaLI-X, whose vocabulary has a token for each integer up to 1000,
bin k is the token of the integer k; on PaLM-E the 256 least used tokens are overwritten. Appending 256 new ones, and 256
of their own for each dimension with a start and an end, are what lessons on RT-2 often draw: both work, both cost rows.
Lessons: day93_rt2/1_theory, day93_rt2/2_implementation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class ActionVocabulary:
    """Bins (0 ... V - 1) of an action's numbers <-> token ids of a language model. Made by the four class methods."""

    layout: str  # "extend", "overwrite", "integers" or "per dimension"
    rows: tuple[tuple[int, ...], ...]  # ids by bin; one row for all dimensions, or one for each
    added_rows: int = 0  # rows that the model's table must grow by
    frame: tuple[int, ...] = ()  # a start and an end token around each action, or nothing

    def __post_init__(self):
        ids = [i for row in self.rows for i in row] + list(self.frame)
        if not ids or len({len(row) for row in self.rows}) != 1 or len(self.frame) not in (0, 2):
            raise ValueError("An action vocabulary is rows of equally many ids, with a start and an end token or neither.")
        twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
        if twice or min(ids) < 0:
            raise ValueError(f"Every bin needs its own token id from 0 on, but {(twice or sorted(ids))[:5]} cannot be.")

    @classmethod
    def extend(cls, text_vocab: int, bins: int = 256) -> "ActionVocabulary":
        """``bins`` new tokens after the text's: ids text_vocab ... text_vocab + bins - 1."""
        return cls("extend", (tuple(range(text_vocab, text_vocab + bins)),), bins)

    @classmethod
    def overwrite(cls, ids: Iterable[int]) -> "ActionVocabulary":
        """Existing tokens lose their meaning (RT-2-PaLM-E: the 256 least used; see ``least_used``)."""
        return cls("overwrite", (tuple(int(i) for i in ids),))

    @classmethod
    def integers(cls, ids: Iterable[int]) -> "ActionVocabulary":
        """The tokens of the integers 0, 1, 2 ... keep their meaning and get a second one (RT-2-PaLI-X)."""
        return cls("integers", (tuple(int(i) for i in ids),))

    @classmethod
    def per_dimension(cls, dims: int, bins: int = 256, *, first: int = 0) -> "ActionVocabulary":
        """dims x bins tokens and a start and an end token, from id ``first`` on (the size of the text's vocabulary)."""
        rows = tuple(tuple(range(first + d * bins, first + (d + 1) * bins)) for d in range(dims))
        end = first + dims * bins
        return cls("per dimension", rows, dims * bins + 2, (end, end + 1))

    @property
    def size(self) -> int:
        """V: bins of a number."""
        return len(self.rows[0])

    def added_parameters(self, width: int, *, tied: bool = True) -> int:
        """Weights that the new rows add to a model of this width; twice if the output layer has its own table."""
        return self.added_rows * width * (1 if tied else 2)

    def ids(self, bins: Int[Tensor, "*batch A"]) -> Int[Tensor, "*batch N"]:
        """Token ids of actions; N is A, or A + 2 with a start and an end."""
        self._check_dims(bins.shape[-1])
        if bins.numel() and not 0 <= int(bins.min()) <= int(bins.max()) < self.size:
            raise ValueError(f"Bins are 0 ... {self.size - 1}, got {int(bins.min())} ... {int(bins.max())}.")
        table = self._table.to(bins.device)
        ids = table[torch.arange(bins.shape[-1], device=bins.device) % len(table), bins]
        if not self.frame:
            return ids
        start, end = (ids.new_full((*ids.shape[:-1], 1), i) for i in self.frame)
        return torch.cat((start, ids, end), -1)

    def bins(self, ids: Int[Tensor, "*batch N"]) -> Int[Tensor, "*batch A"]:
        """The inverse of ``ids``. Raises ValueError that names the first token that cannot stand at its place."""
        dims = ids.shape[-1] - len(self.frame)
        self._check_dims(dims)
        found = ids[..., None] == self._places(dims).to(ids.device)  # (..., N, V)
        missing = ~found.any(-1)
        if missing.any():
            where = missing.nonzero()[0]
            place = int(where[-1])
            wanted = "an action token"
            if self.frame and place in (0, ids.shape[-1] - 1):
                wanted = f"the {'start' if place == 0 else 'end'} token"
            got = int(ids[tuple(where)])
            raise ValueError(f"Token {place + 1} of {ids.shape[-1]} must be {wanted}, but it is id {got}.")
        bins = found.int().argmax(-1)
        return bins[..., 1:-1] if self.frame else bins

    def slots(self, counts: Sequence[int]) -> list[tuple[int, ...]]:
        """The ids that may stand at each place of an action whose number d has ``counts[d]`` legal bins (the first ones)."""
        self._check_dims(len(counts))
        numbers = [self.rows[d % len(self.rows)][:count] for d, count in enumerate(counts)]
        return [(self.frame[0],), *numbers, (self.frame[1],)] if self.frame else numbers

    @cached_property
    def _table(self) -> Int[Tensor, "rows V"]:
        return torch.tensor(self.rows)

    def _places(self, dims: int) -> Int[Tensor, "N V"]:
        """What may stand at each place, by bin; a start or an end fills its row."""
        numbers = self._table[torch.arange(dims) % len(self._table)]
        if not self.frame:
            return numbers
        start, end = (torch.full((1, self.size), i) for i in self.frame)
        return torch.cat((start, numbers, end))

    def _check_dims(self, dims: int) -> None:
        if dims < 1 or (len(self.rows) > 1 and dims != len(self.rows)):
            raise ValueError(f"This vocabulary has tokens for {len(self.rows)} numbers of an action, got {dims}.")


def least_used(counts: Sequence[int] | Tensor, bins: int = 256, keep: Iterable[int] = ()) -> tuple[int, ...]:
    """The ``bins`` ids that occur least often, for ``ActionVocabulary.overwrite``: rarest first, of equals the last id.

    ``counts`` has one number per id of the vocabulary; ``keep`` are ids that must not be taken (padding, end of text).
    """
    counts = torch.as_tensor(counts).long().tolist()
    kept = set(keep)
    free = [i for i in range(len(counts)) if i not in kept]
    if len(free) < bins:
        raise ValueError(
            f"This vocabulary is too small to overwrite: {bins} tokens are needed, {len(free)} of {len(counts)} may be "
            "taken. Try ActionVocabulary.extend, or fewer bins."
        )
    return tuple(sorted(free, key=lambda i: (counts[i], -i))[:bins])

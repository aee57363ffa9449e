"""The tiny model's eyes learn to see before they meet the decoder, as PaliGemma's SigLIP did.

SigLIP learned from billions of pictures with captions. Ours is told, patch by patch, what thing has its middle there, and
where: kind, column and row. Without that the whole model stays for very long where it guesses answers without looking:
after 1,000 steps of 256 questions it pointed right in 6% [3, 10] of 158 cases, and its loss still stood at 0.9 after 1,300;
with it, in 13% [9, 20] after as many, at the lower learning rate of ``web_training``. One run of each.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.datasets.pictures import Seen, compose, draw, look
from course_lib.rt2.siglip import SigLIP
from course_lib.world.objects import KINDS

NOTHING_WEIGHT = 0.1  # of a patch without a thing: there are twenty times as many of these


class Eyes(nn.Module):
    """A SigLIP with three small heads, which are thrown away afterwards.

    ``loss`` is what ``behaviour_clone`` minimises; a batch has images uint8 (B, H, W, 3), and kinds, columns, rows, int64
    (B, K): of each of the K patches the kind whose middle is there (36: none), and the column and row, counted in
    ``cells``, of that middle, or of the patch's own.
    """

    def __init__(self, siglip: SigLIP, width: int, cells: int = 16):
        super().__init__()
        self.siglip, self.cells = siglip, cells
        self.kind = nn.Linear(width, len(KINDS) + 1)
        self.column, self.row = nn.Linear(width, cells), nn.Linear(width, cells)

    def loss(self, batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Cross-entropies of kind, column and row, the last two a quarter each."""
        features = self.siglip((batch["images"].float() / 255).movedim(-1, 1)).flatten(0, 1)
        kinds = batch["kinds"].flatten()
        weights = torch.ones(len(KINDS) + 1)
        weights[-1] = NOTHING_WEIGHT
        what = F.cross_entropy(self.kind(features).float(), kinds, weights.to(features.device))
        where = [F.cross_entropy(head(features).float(), batch[name].flatten())
                 for head, name in ((self.column, "columns"), (self.row, "rows"))]  # fmt: skip
        return what + 0.25 * sum(where)

    @torch.no_grad()
    def seen(self, batch: Mapping[str, Any]) -> tuple[int, int]:
        """Of the patches with a thing's middle: how many are named right, and how many there are."""
        features = self.siglip((batch["images"].float() / 255).movedim(-1, 1))
        there = batch["kinds"] < len(KINDS)
        right = self.kind(features)[..., :-1].argmax(-1) == batch["kinds"]
        return int((right & there).sum()), int(there.sum())


class Patches:
    """Batches for ``Eyes``: the web's pictures, patch by patch; ``patches(step)`` is always the same."""

    def __init__(self, *, batch: int = 64, size: int = 64, side: int = 8, cells: int = 16, seed: int = 1):
        self.batch, self.size, self.side, self.cells, self.seed = batch, size, side, cells, seed

    def __call__(self, step: int) -> dict[str, Tensor]:
        """A batch for ``Eyes.loss``. Pictures of the training split only, other ones than the questions are about."""
        numbers = torch.arange(step * self.batch, (step + 1) * self.batch) + (2 * self.seed << 40)
        scenes = compose(numbers)
        labels = [self._label(seen) for seen in look(scenes)]
        kinds, columns, rows = (torch.stack(column) for column in zip(*labels, strict=True))
        return {"images": draw(scenes, self.size), "kinds": kinds, "columns": columns, "rows": rows}

    def _label(self, seen: Seen) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"], Int[Tensor, " K"]]:
        side, per_patch = self.side, self.cells // self.side
        kinds = torch.full((side, side), len(KINDS))
        rows, columns = (line.clone() * per_patch for line in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
        for thing in seen.things:
            x, y = (min(max(int(v * self.cells), 0), self.cells - 1) for v in (thing.x, thing.y))
            patch = y // per_patch, x // per_patch
            kinds[patch], columns[patch], rows[patch] = thing.kind, x, y
        return kinds.flatten(), columns.flatten(), rows.flatten()

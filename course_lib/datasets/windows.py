"""Windows of T consecutive frames of one episode: what a policy with a memory learns from.

A window never crosses into the next episode. One that is longer than its episode is padded *behind* the real frames and
the padding marked invalid, because RT-1's window grows from position 0.

The last step. RT-1's release leaves the step that ``is_last`` out of the loss (``sequence_agent.py``: ``valid_mask =
~time_steps.is_last()``), because in its format (RLDS, TF-Agents) the last step of an episode is only the picture after
the last action: the action written there means nothing. ``record`` keeps no such step, its last frame carries the
expert's ``terminate``, so here every frame counts. Data that came from RLDS may have it: ``mask_last=True`` then leaves
it out as the release does. On our own episodes that would remove every ``terminate``, and the policy would never stop.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.datasets.episodes import Episodes
from course_lib.datasets.footage import Footage


class Windows:
    """Random windows of ``history`` frames as training batches: ``windows(step)`` always gives the same batch.

    That makes an interrupted training resume exactly: there is no position in a stream to remember.
    ``data``: Episodes (drawn when asked for) or Footage (stored pictures). ``embeddings`` has one row per sentence of
    ``data.sentences()``. ``size``: the pictures' width in pixels; by default 64, or as the footage is stored.
    """

    def __init__(
        self,
        data: Episodes | Footage,
        embeddings: Float[Tensor, "tasks Z"],
        *,
        history: int = 6,
        batch: int = 32,
        size: int | None = None,
        seed: int = 0,
        mask_last: bool = False,
    ):
        if len(embeddings) != len(data.sentences()):
            raise ValueError(f"Expected one embedding per task ({len(data.sentences())}), got {len(embeddings)}.")
        if history < 1 or batch < 1:
            raise ValueError(f"history and batch are at least 1, got {history} and {batch}.")
        self.data, self.embeddings = data, embeddings.to(data.length.device)
        self.history, self.batch, self.size, self.seed, self.mask_last = history, batch, size, seed, mask_last

    def __call__(self, step: int) -> dict[str, Tensor]:
        """images uint8 (B, T, H, W, 3) · instruction (B, Z) · actions (B, T, A) · valid bool (B, T)."""
        return self.cut(*self.draw(step))

    def draw(self, step: int) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
        """Which episodes a step is cut from, and where."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        which = torch.randint(len(self.data), (self.batch,), generator=random)
        return which, torch.rand(self.batch, generator=random)

    def cut(self, which: Int[Tensor, " B"], where: Float[Tensor, " B"]) -> dict[str, Tensor]:
        """Windows of episodes ``which``, beginning at the part ``where`` (0 to 1) of the possible first frames."""
        data = self.data
        which, where = which.to(data.length.device), where.to(data.length.device)
        length = data.length[which]
        first = (where * ((length - self.history).clamp(min=0) + 1)).long()
        time = first[:, None] + torch.arange(self.history, device=first.device)  # (B, T)
        valid = time < (length - int(self.mask_last))[:, None]
        frame = data.start[which, None] + torch.minimum(time, length[:, None] - 1)  # padding repeats the last frame
        return {
            "images": data.pictures(frame.flatten(), self.size).unflatten(0, frame.shape),
            "instruction": self.embeddings[data.task[which]],
            "actions": data.actions[frame],
            "valid": valid,
        }

"""TokenLearner v1.1: 81 cells of a picture become 8 tokens, by looking softly at places.

Ryoo et al. 2021; the version of RT-1 is v1.1 (``tokenizers/token_learner.py`` of google-research/robotics_transformer;
scenic's ``TokenLearnerModuleV11``: "uses softmax instead of sigmoid"). Nothing is selected or dropped: each token is a
weighted mean over all cells. Lesson: day92_rt1/2_implementation.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class TokenLearner(nn.Module):
    """K weighted means over the cells of a feature map: (B, C, H, W) -> (B, K, C).

    LayerNorm (epsilon 1e-6) over channels -> Linear to ``hidden``, GELU (tanh form) -> Linear to K -> softmax over
    the H * W places, for each of the K maps -> weighted sums of the *un-normalised* cells. With ``trace`` the maps
    are kept as ``trace["token_learner/maps"]`` (B, K, H, W); each sums to 1. 34,376 parameters for (512, 8, 64).
    """

    def __init__(self, channels: int, tokens: int = 8, hidden: int = 64):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)  # torch's default, 1e-5, is visible in the output
        self.hidden = nn.Linear(channels, hidden)
        self.output = nn.Linear(hidden, tokens)
        self.gelu = nn.GELU(approximate="tanh")
        for layer in (self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Float[Tensor, "B C H W"], trace: dict | None = None) -> Float[Tensor, "B K C"]:
        cells = rearrange(x, "B C H W -> B (H W) C")  # row by row
        scores = self.output(self.gelu(self.hidden(self.norm(cells))))  # (B, H W, K)
        maps = scores.softmax(1)  # over the places, not over the tokens
        if trace is not None:
            trace["token_learner/maps"] = rearrange(maps, "B (H W) K -> B K H W", H=x.shape[2])
        return torch.einsum("bsk,bsc->bkc", maps.to(cells.dtype), cells)

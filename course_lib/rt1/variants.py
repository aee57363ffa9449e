"""TokenLearner's relatives: v1.0 of the paper, and two look-alikes that are often written in its place.

All take (B, C, H, W) and return (B, K, C) like TokenLearner, keep ``trace["token_learner/maps"]``, and can drive the
robot: ``RT1(config, token_learner=SigmoidTokens)``. Lessons: day92_rt1/1_theory, day92_rt1/3_experiments.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class TokenLearnerV10(nn.Module):
    """v1.0: four 3 x 3 convolutions -> sigmoid -> *sum* over the places.

    Ryoo et al. 2021; scenic ``projects/token_learner/model.py:TokenLearnerModule``. Every map is between 0 and 1 at every
    place, so tokens grow with the size of the picture, and a map may be on everywhere or nowhere.
    ``hidden`` is not used; it is there so that the classes can be exchanged.
    """

    def __init__(self, channels: int, tokens: int = 8, hidden: int = 64):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        layers: list[nn.Module] = [nn.Conv2d(channels, tokens, 3, padding=1, bias=False)]
        for _ in range(3):
            layers += [nn.GELU(approximate="tanh"), nn.Conv2d(tokens, tokens, 3, padding=1, bias=False)]
        self.scores = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "B C H W"], trace: dict | None = None) -> Float[Tensor, "B K C"]:
        maps = self.scores(self.norm(x.movedim(1, -1)).movedim(-1, 1)).sigmoid()  # (B, K, H, W)
        return _sum_of_cells(maps, x, trace)


class TokensCompete(nn.Module):
    """A look-alike: one 1 x 1 convolution, softmax over the *tokens* instead of the places.

    At every cell the K weights sum to 1, so each cell is handed out exactly once and the K tokens sum to all cells:
    background included, nothing can be left out. 4,104 parameters for (512, 8).
    """

    def __init__(self, channels: int, tokens: int = 8, hidden: int = 64):
        super().__init__()
        self.scores = nn.Conv2d(channels, tokens, 1)

    def forward(self, x: Float[Tensor, "B C H W"], trace: dict | None = None) -> Float[Tensor, "B K C"]:
        return _sum_of_cells(self.scores(x).softmax(1), x, trace)


class SigmoidTokens(nn.Module):
    """A look-alike: for each token an own small network, sigmoid, then divided by the map's sum.

    A new sigmoid is near 0.5 everywhere, so all K tokens begin as nearly the same average of the picture, and the
    division keeps them there. 526,344 parameters for (512, 8): 15 times TokenLearner's.
    """

    def __init__(self, channels: int, tokens: int = 8, hidden: int = 64):
        super().__init__()
        inner = channels // 4
        self.scores = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, 1, 1)) for _ in range(tokens)
        )

    def forward(self, x: Float[Tensor, "B C H W"], trace: dict | None = None) -> Float[Tensor, "B K C"]:
        maps = torch.cat([score(x) for score in self.scores], 1).sigmoid()  # (B, K, H, W)
        return _sum_of_cells(maps / (maps.sum((2, 3), keepdim=True) + 1e-6), x, trace)


def _sum_of_cells(maps: Tensor, x: Tensor, trace: dict | None) -> Tensor:
    if trace is not None:
        trace["token_learner/maps"] = maps
    return torch.einsum("bks,bcs->bkc", rearrange(maps, "B K H W -> B K (H W)"), rearrange(x, "B C H W -> B C (H W)"))

"""FiLM: one scale and one shift per channel, read from the instruction; starts as the identity.

Perez et al. 2018, eq. 1-2, as RT-1 uses it (section 5.1; ``film_efficientnet/film_conditioning_layer.py`` of
google-research/robotics_transformer). Lesson: day92_rt1/2_implementation.
"""

from jaxtyping import Float
from torch import Tensor, nn


class FiLM(nn.Module):
    """y = (1 + scale(z)) * x + shift(z): one scale and one shift per channel.

    Both Linear layers begin at zero, kernel and bias, so a new FiLM changes nothing and pretrained vision survives
    step 0. ``x`` is (B, C, H, W) or (B, C); ``z`` is (B, Z). Raises ValueError when the channels are not on axis 1
    or the sizes differ: a FiLM that broadcasts over rows or columns instead would run and quietly be wrong.
    """

    def __init__(self, channels: int, instruction_dim: int):
        super().__init__()
        self.to_scale = nn.Linear(instruction_dim, channels)
        self.to_shift = nn.Linear(instruction_dim, channels)
        for layer in (self.to_scale, self.to_shift):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "B C *space"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C *space"]:
        self._check(x, z)
        scale, shift = self.to_scale(z), self.to_shift(z)  # (B, C) each
        one_per_channel = (*scale.shape, *(1 for _ in x.shape[2:]))  # (B, C, 1, 1)
        return (1 + scale).view(one_per_channel) * x + shift.view(one_per_channel)

    def _check(self, x: Tensor, z: Tensor) -> None:
        channels, instruction_dim = self.to_scale.out_features, self.to_scale.in_features
        if x.ndim < 2 or x.shape[1] != channels:
            raise ValueError(
                f"FiLM was built for {channels} channels on axis 1, (B, {channels}, H, W) or (B, {channels}); got x of "
                f"shape {tuple(x.shape)}. Try x.movedim(-1, 1) if the channels come last."
            )
        if z.ndim != 2 or z.shape[1] != instruction_dim or z.shape[0] != x.shape[0]:
            raise ValueError(
                f"FiLM expects one instruction of {instruction_dim} numbers per picture, z of shape ({x.shape[0]}, "
                f"{instruction_dim}); got {tuple(z.shape)}. Try repeating the instruction for every frame."
            )


class NoFiLM(nn.Module):
    """FiLM's place, left empty: the picture goes through unchanged and the instruction is not heard here."""

    def __init__(self, channels: int, instruction_dim: int):
        super().__init__()

    def forward(self, x: Float[Tensor, "B C *space"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C *space"]:
        return x

"""FilmDial: turn a FiLM layer's scale and shift by hand, on a real feature map, beside what the sentence chose.

RT-1 section 5.1; Perez et al. 2018, eq. 1-2: y = (1 + scale) * x + shift, one scale and one shift per channel. Python runs
the network once per sentence; from then on everything happens in the browser (``film_dial.js``).
Lesson: day92_rt1/1_theory.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_lib.classroom.lesson_widget import LessonWidget, script, style
from course_lib.classroom.plots import still_html
from course_lib.interfaces import Observation

# Blue below zero, orange above: told apart with any kind of colour vision. The same three colours are in film_dial.js.
COLOURS = LinearSegmentedColormap.from_list("below_above", ["#2166ac", "#f7f7f7", "#b35806"])


@dataclass(frozen=True)
class Heard:
    """One FiLM layer hearing one sentence."""

    layer: str  # "block 1a" ... "map"
    x: Float[np.ndarray, "C h w"]  # the feature map before it
    scale: Float[np.ndarray, " C"]  # y = (1 + scale) * x + shift
    shift: Float[np.ndarray, " C"]


class _Ears(nn.Module):
    """A FiLM layer that remembers what it was given."""

    def __init__(self, film: nn.Module):
        super().__init__()
        self.film = film

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        self.x, self.z, self.y = x, z, self.film(x, z)
        return self.y


def listen(policy: nn.Module, observation: Observation) -> list[Heard]:
    """What every FiLM layer of an RT1 gets and does for one picture and one sentence, from the first block to the map.

    Scale and shift are read from what the layer does to zeros and to ones, so your own FiLM is read like ours. Raises
    ValueError for a layer that is not one scale and one shift per channel.
    """
    policy = copy.deepcopy(policy)  # the learner's policy keeps its memory and its layers
    policy.reset()
    policy.encoder.film = _Ears(policy.encoder.film)
    for block in policy.encoder.blocks.values():
        block.film = _Ears(block.film)
    policy.act(observation)
    ears = {f"block {name}": block.film for name, block in policy.encoder.blocks.items()}
    return [_read(name, ear) for name, ear in (ears | {"map": policy.encoder.film}).items()]


@torch.inference_mode()
def _read(name: str, ear: _Ears) -> Heard:
    shift = ear.film(torch.zeros_like(ear.x), ear.z)
    slope = ear.film(torch.ones_like(ear.x), ear.z) - shift
    one_per_channel = all(torch.allclose(t, t[..., :1, :1].expand_as(t), atol=1e-5) for t in (shift, slope))
    if not one_per_channel or not torch.allclose(slope * ear.x + shift, ear.y, atol=1e-3):
        raise ValueError(
            f"Expected the FiLM of {name} to be one scale and one shift per channel, y = (1 + scale) * x + shift; got a "
            "layer that is not. Try check_film(YourFiLM): it names the mistake."
        )
    x, scale, shift = (t[0].float().cpu().numpy() for t in (ear.x, slope[..., 0, 0] - 1, shift[..., 0, 0]))
    return Heard(name, x, scale, shift)


class FilmDial(LessonWidget):
    """A dial for scale (γ) and shift (β) on one channel of a real feature map.

    ``policy``: an RT1; ``observation``: its picture and sentence, as a policy's ``act`` takes them; ``sentences``: others
    to compare with; ``scene``: what the picture shows, in words, for those who do not see it. The dial begins at the layer
    and channel that the sentences set most differently.
    """

    _esm = script("film_dial")
    _css = style("film_dial")
    header = traitlets.Dict().tag(sync=True)
    numbers = traitlets.Bytes().tag(sync=True)  # per sentence and layer: x, scale, shift, float32; then the picture, uint8

    def __init__(self, policy: nn.Module, observation: Observation, *, sentences: Sequence[str] = (), scene: str = ""):
        if not isinstance(observation["instruction"], str):
            raise ValueError(
                f"Expected the instruction as one sentence, got {type(observation['instruction']).__name__}. "
                "Try observation | {'instruction': 'pick up the apple'}."
            )
        said = list(dict.fromkeys((observation["instruction"], *sentences)))
        super().__init__()
        self.image = np.asarray(observation["image"])
        self.scene = scene or "the camera's picture"
        self.heard = {s: listen(policy, {**observation, "instruction": s}) for s in said}
        first = self.heard[said[0]]
        self.header = {
            "sentences": said,
            "scene": self.scene,
            "image": list(self.image.shape[:2]),
            "layers": [
                {"name": heard.layer, "shape": list(heard.x.shape), "channel": int(self.turned(i).argmax())}
                for i, heard in enumerate(first)
            ],
            "layer": int(np.argmax([self._relative(i) for i in range(len(first))])),
        }
        parts = [a for layers in self.heard.values() for one in layers for a in (one.x, one.scale, one.shift)]
        self.numbers = b"".join(a.astype("<f4").tobytes() for a in parts) + self.image.tobytes()

    def turned(self, layer: int) -> Float[np.ndarray, " C"]:
        """How differently the sentences set each channel of a layer, in the map's units; of one sentence, how far."""
        heard = [layers[layer] for layers in self.heard.values()]
        scale, shift = (np.stack([getattr(one, name) for one in heard]) for name in ("scale", "shift"))  # (sentences, C)
        spread = self._spread(layer)
        if len(heard) == 1:
            return np.abs(scale[0]) * spread + np.abs(shift[0])
        return np.ptp(scale, 0) * spread + np.ptp(shift, 0)

    def _spread(self, layer: int) -> Float[np.ndarray, " C"]:
        return np.mean([layers[layer].x.std((1, 2)) for layers in self.heard.values()], 0)

    def _relative(self, layer: int) -> float:
        """``turned`` of the layer's first choice, in parts of what the camera makes of that channel."""
        turned = self.turned(layer)
        return float(turned.max() / (self._spread(layer)[turned.argmax()] + 1e-6))

    def still_html(self, css_class: str) -> str:
        """The picture, and the dial's first channel before and after FiLM for the first sentence."""
        sentence, layers = next(iter(self.heard.items()))
        one = layers[self.header["layer"]]
        channel = self.header["layers"][self.header["layer"]]["channel"]
        scale, shift = float(one.scale[channel]), float(one.shift[channel])
        x = one.x[channel]
        y = (1 + scale) * x + shift
        alt = (
            f"FiLM after {one.layer}, channel {channel + 1}, for “{sentence}”: {self.scene}. Scale {scale:.2f} and "
            f"shift {shift:.2f} turn the mean from {x.mean():.2f} to {y.mean():.2f}, the spread from {x.std():.2f} to "
            f"{y.std():.2f}."
        )
        figure = film_figure(self.image, x, y, f"γ = {scale:.2f}, β = {shift:.2f}")
        return still_html(figure, alt, css_class, f"Run this notebook to turn the dial. Here “{sentence}” has turned it.")


def film_figure(image: Any, x: Float[np.ndarray, "h w"], y: Float[np.ndarray, "h w"], title: str) -> Figure:
    """The camera's picture, a channel before FiLM and after it, both in the same colours."""
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.3), layout="constrained")
    plt.close(figure)
    axes[0].imshow(image)
    limit = 1.5 * float(np.abs(x).max()) or 1.0
    for axis, values in zip(axes[1:], (x, y), strict=True):
        shown = axis.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit)
    for axis, name in zip(axes, ("the camera's picture", "before FiLM: x", f"after: {title}"), strict=True):
        axis.set_title(name, fontsize=9)
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.9).ax.tick_params(labelsize=8)
    return figure


__all__ = ["FilmDial", "Heard", "film_figure", "listen"]

"""ImageNet weights for the trunk, through torchvision's own ``weights=``: what RT-1's eyes started from.

RT-1 starts from EfficientNet-B3 as Keras ships it. torchvision's B3 is the same network, trained by other people:

| | Keras, and so RT-1 | torchvision | here |
|---|---|---|---|
| zeros around strided convolutions | more after than before: 9 x 9 | the same on both sides: 10 x 10 | as RT-1 |
| input | 0 ... 255, mean and std inside the network | normalised by the caller | inside; the same numbers |
| training pictures | resized (bilinear) | bicubic, 320, centre cut of 300 | resized (bilinear), not cut |
| BatchNorm's epsilon | 1e-3 | 1e-5 | 1e-3, with gamma made larger so that inference is as trained |
| BatchNorm's momentum, in torch's sense | 0.01 | 0.1 | as the config says (0.01) |

So every weight fits, and each convolution with a stride looks half a pixel to a pixel beside where it was trained to look.
The map's own 1 x 1 convolution and the FiLM layers are not part of ImageNet's network and keep their start values.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet_B3_Weights, WeightsEnum

from course_lib.rt1.efficientnet import FilmEfficientNet
from course_lib.rt1.preprocess import ImageNorm

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@torch.no_grad()
def load_imagenet(encoder: FilmEfficientNet, weights: WeightsEnum | Mapping[str, Tensor] | None = None) -> FilmEfficientNet:
    """Put ImageNet weights into ``encoder`` (returned again); its FiLM layers and last convolution stay as they are.

    ``weights``: a member of torchvision's EfficientNet_B3_Weights (None: IMAGENET1K_V1, downloaded once to torch's
    cache, 47 MB), or the state dict of an ``efficientnet_b3``. Raises ValueError when the download fails, and with a
    table of names and shapes when anything but the classifier is missing, left over or of another shape.
    """
    theirs = weights if isinstance(weights, Mapping) else download(weights or EfficientNet_B3_Weights.IMAGENET1K_V1)
    names, state = name_map(encoder), encoder.state_dict()
    misfits = _misfits(names, theirs, state)
    if misfits:
        raise ValueError(f"These weights do not fit the trunk ({len(misfits)} rows differ):\n" + "\n".join(misfits[:20]))
    for name, ours in names.items():
        state[ours].copy_(theirs[name].flatten(1) if "squeeze_excite" in ours and name.endswith("weight") else theirs[name])
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):  # (var + 1e-5) was under the root when this gamma was learned
            module.weight *= ((module.running_var + module.eps) / (module.running_var + 1e-5)).sqrt()
    encoder.normalise.load_state_dict(ImageNorm().state_dict())
    return encoder


def download(weights: WeightsEnum) -> Mapping[str, Tensor]:
    """The state dict, from torch's cache or the internet."""
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except OSError as error:  # urllib's errors are OSErrors
        raise ValueError(
            f"The ImageNet weights could not be downloaded ({error}). They are needed once: try again with a connection, "
            f"or copy {weights.url.rsplit('/', 1)[1]} into {torch.hub.get_dir()}/checkpoints from a machine that has it. "
            "Nothing else in the course needs them."
        ) from error


def name_map(encoder: FilmEfficientNet) -> dict[str, str]:
    """torchvision's names -> ours, for everything that both have."""
    names = _pair("features.0", "stem") | _pair(f"features.{_stages(encoder) + 1}", "top")
    for name, block in encoder.blocks.items():
        here, there = f"blocks.{name}", f"features.{name[:-1]}.{ord(name[-1]) - ord('a')}.block"
        shift = 1 if block.expand is not None else 0
        if shift:
            names |= _pair(f"{there}.0", f"{here}.expand")
        names |= _pair(f"{there}.{shift}", f"{here}.depthwise") | _pair(f"{there}.{shift + 2}", f"{here}.project")
        for theirs, ours in (("fc1", "reduce"), ("fc2", "expand")):
            for leaf in ("weight", "bias"):
                names[f"{there}.{shift + 1}.{theirs}.{leaf}"] = f"{here}.squeeze_excite.{ours}.{leaf}"
    return names


def _pair(theirs: str, ours: str) -> dict[str, str]:
    """A convolution and its norm."""
    return {f"{theirs}.0.weight": f"{ours}.weight"} | {f"{theirs}.1.{leaf}": f"{ours}_norm.{leaf}" for leaf in NORM}


def _stages(encoder: FilmEfficientNet) -> int:
    return max(int(name[:-1]) for name in encoder.blocks)


def _misfits(names: Mapping[str, str], theirs: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """One line per name that is absent on a side or has another number of weights."""
    have = {name: tuple(x.shape) for name, x in theirs.items() if not name.startswith("classifier.")}
    want = {name: tuple(state[ours].shape) for name, ours in names.items()}
    rows = []
    for name in sorted(have.keys() | want.keys()):
        got = have.get(name)
        if got is not None and name in names and "squeeze_excite" in names[name]:
            got = got[: 2 if name.endswith("weight") else 1]  # 1 x 1 convolutions there, Linear here
        if got != want.get(name):
            rows.append(f"  {name:<44} expected {want.get(name, 'absent')!s:>18}, got {have.get(name, 'absent')!s:>18}")
    return rows

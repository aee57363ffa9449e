"""compress(): a policy with smaller weights, as a copy; and its way to disk and back, bit for bit.

    small = compress(policy, "int4")
    save_compressed(small, "policy_int4.safetensors");  load_compressed("policy_int4.safetensors", RT1)

Post-training and without data: weights are rounded to nearest, or set to zero where they are smallest. Compressed are the
weights of Linear and convolution layers; biases, norms, embeddings stay as they are. Fewer bytes are not less time:
numbers in 8 or 4 bits must become floats again where the processor has no instruction for them, and zeros are multiplied
like other numbers. Lesson: day93_rt2/4_deployment.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from course_lib.learn.checkpoints import header_of, load_weights, opened, write_tensors
from course_lib.learn.packed import DynamicInt8Weight, Int4Weight, Int8Weight, Packed, replace_weight

FORMAT = "course_lib compressed 1"
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
PACKED: Mapping[str, Callable[..., Packed]] = {"int8": Int8Weight, "int8 dynamic": DynamicInt8Weight, "int4": Int4Weight}
PRUNED = ("magnitude", "2:4")
METHODS = (*PACKED, *PRUNED)


def compress(model: nn.Module, method: str, *, group: int = 32, part: float = 0.5, skip: Sequence[str] = ()) -> nn.Module:
    """A compressed copy of ``model``, for inference; the original is untouched.

    ``method``:

        int8           whole numbers -127 ... 127, one float32 scale per output
        int8 dynamic   the same, and Linear layers round their inputs too and multiply whole numbers
        int4           whole numbers 0 ... 15, scale and offset per ``group`` neighbours
        magnitude      the ``part`` of each layer's weights that is smallest becomes 0
        2:4            of every four neighbours in a row the two smallest become 0 (GPUs since Ampere can skip these)

    ``skip``: names of layers, or beginnings of names, that stay as they are. Raises ValueError for other methods and
    numbers, for names that are no layer's, and for a model that is compressed already.
    """
    _check(model, method, group, part)
    small = copy.deepcopy(model).eval().requires_grad_(False)
    layers = dict(_layers(small, skip))
    with torch.no_grad():
        for layer in layers.values():
            if method in PACKED:
                replace_weight(layer, PACKED[method](layer.weight, **({"group": group} if method == "int4" else {})))
            else:
                keep = keep_largest(layer.weight, part) if method == "magnitude" else keep_two_of_four(layer.weight)
                layer.weight.masked_fill_(~keep | (layer.weight == 0), 0)  # no -0: the file does not know it
    small.compression = {"method": method, "group": group, "part": part, "skip": list(skip)}
    return small


def keep_largest(weight: Float[Tensor, "O ..."], part: float) -> Bool[Tensor, "O ..."]:
    """True but for the ``part`` of the weights whose size is smallest (their number rounded, as torch's ``prune`` does)."""
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones_like(order, dtype=torch.bool)
    keep[order[: round(part * len(order))]] = False
    return keep.view(weight.shape)


def keep_two_of_four(weight: Float[Tensor, "O ..."]) -> Bool[Tensor, "O ..."]:
    """True for the two largest of every four neighbours in a row, and for what is left over at a row's end."""
    rows = weight.flatten(1)
    whole = rows.shape[1] // 4 * 4
    fours = rows[:, :whole].abs().unflatten(1, (-1, 4))
    largest_first = fours.argsort(dim=2, descending=True, stable=True)
    two = torch.zeros_like(fours, dtype=torch.bool).scatter(2, largest_first[..., :2], True)
    return F.pad(two.flatten(1), (0, rows.shape[1] - whole), value=True).view(weight.shape)


def file_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What is written to disk: the state, in which a pruned weight is one bit per place and the numbers that are left."""
    tensors = {name: value.detach() for name, value in model.state_dict().items()}
    for name in _pruned(model):
        weight = tensors.pop(name)
        tensors |= {f"{name}.bits": to_bits(weight != 0), f"{name}.values": weight[weight != 0]}
    return tensors


def bytes_of(model: nn.Module) -> int:
    """Bytes of all numbers that are written to disk: weights, scales, biases, norms; for any model, compressed or not."""
    return sum(value.numel() * value.element_size() for value in file_tensors(model).values())


def save_compressed(model: nn.Module, path: str | Path, **notes: Any) -> Path:
    """Write what ``compress`` made, with its ``config`` and the method. Raises ValueError for an ordinary model."""
    if not hasattr(model, "compression"):
        raise ValueError(f"This {type(model).__name__} is not compressed. Try save_checkpoint, or compress(model, 'int8').")
    header = header_of(model, FORMAT, notes) | {"compression": json.dumps(model.compression)}
    return write_tensors(file_tensors(model), path, header)


def load_compressed(path: str | Path, model_class: type[nn.Module], **parts: Any) -> nn.Module:
    """The compressed model of a file, in eval mode; its outputs are equal to the saved one's, bit for bit.

    ``parts`` as for ``load_checkpoint``. Raises ValueError for a file that is missing, truncated, tampered with, of another
    model, or whose tensors do not fit.
    """
    hint = "Is it an ordinary checkpoint? Then try load_checkpoint."
    tensors, header, plain = opened(path, model_class, FORMAT, hint, parts)
    model = compress(plain, **json.loads(header["compression"]))
    shapes = {name: model.get_parameter(name).shape for name in _pruned(model)}
    for name, shape in shapes.items():
        if {f"{name}.bits", f"{name}.values"} <= tensors.keys():
            tensors[name] = from_bits(tensors.pop(f"{name}.bits"), tensors.pop(f"{name}.values"), shape, name)
    load_weights(model, tensors, Path(path).name)
    return model


def to_bits(keep: Bool[Tensor, "..."]) -> UInt8[Tensor, " n"]:
    """Eight yes or no in a byte, the first in its lowest bit; the last byte is filled up with 0."""
    flat = keep.flatten()
    eights = F.pad(flat, (0, -len(flat) % 8)).view(-1, 8).to(torch.uint8)
    return (eights << torch.arange(8, dtype=torch.uint8, device=keep.device)).sum(1, dtype=torch.uint8)


def from_bits(bits: Tensor, values: Tensor, shape: torch.Size, name: str = "weight") -> Tensor:
    """The weight: ``values`` where a bit is set, in order, 0 elsewhere. Raises ValueError if their numbers do not fit."""
    keep = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device) & 1).flatten()[: shape.numel()].bool()
    if len(keep) != shape.numel() or int(keep.sum()) != len(values):
        raise ValueError(
            f"{name} {tuple(shape)} needs {shape.numel()} bits and a value for each that is set; got {len(keep)} bits, "
            f"{int(keep.sum())} set, and {len(values)} values. The file is damaged: get it again."
        )
    weight = values.new_zeros(len(keep))
    weight[keep] = values
    return weight.view(shape)


def _layers(model: nn.Module, skip: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    """The layers to compress, by name. Raises ValueError if there are none, or if a name of ``skip`` is no layer's."""
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, KINDS)}
    unknown = [name for name in skip if not any(_below(layer, name) for layer in found)]
    if unknown or not found:
        some = ", ".join([*list(found)[:6], "..."] if found else ["none"])
        raise ValueError(f"Expected names of Linear or convolution layers, got {unknown}. In this model there are: {some}")
    yield from ((name, layer) for name, layer in found.items() if not any(_below(name, part) for part in skip))


def _below(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")


def _pruned(model: nn.Module) -> list[str]:
    """Names of the weights that pruning touched."""
    how = getattr(model, "compression", {"method": ""})
    return [f"{name}.weight" for name, _ in _layers(model, how["skip"])] if how["method"] in PRUNED else []


def _check(model: nn.Module, method: str, group: int, part: float) -> None:
    """The door."""
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(map(repr, METHODS))}; got {method!r}.")
    if hasattr(model, "compression"):
        raise ValueError(f"This model is compressed already ({model.compression['method']}). Compress the original.")
    if group < 2 or not 0 < part < 1:
        raise ValueError(f"Expected groups of at least 2 and a part between 0 and 1, got {group} and {part}.")

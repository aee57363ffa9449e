"""LoRA: a large model learns in few new numbers, beside its own weights, which rest (Hu et al. 2021, arXiv 2106.09685).

    add_lora(policy, rank=16)                       every matrix W of the decoder's layers becomes W + (alpha / rank) B A
    co_fine_tune(policy, mixture, schedule)         only A and B learn
    save_lora(policy, "spoons.safetensors")         a small file; load_lora puts it onto the same model elsewhere
    merge_lora(policy)                              B A goes into W: a plain model again, as fast as before

The adapters are those of Hugging Face's peft (``pip install -e '.[lora]'``); nothing else in the course needs it. RT-2
trained all its weights. Weight, gradient and AdamW's two moments are 16 bytes a number, 47 GB for PaliGemma's 3 billion:
hence adapters. B begins at zero, so a new adapter changes nothing. Lesson: day93_rt2/2_implementation.
"""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.learn.checkpoints import check_sha256, read_tensors, write_tensors
from course_lib.learn.co_fine_tune import Layered

FORMAT = "course_lib lora 1"
NO_PEFT = "LoRA needs Hugging Face's peft, which is not installed. Try: pip install -e '.[lora]'"


def add_lora(policy: nn.Module, rank: float | int = 16, *, alpha: float | int = 32, parts: Sequence[str] = ()) -> list[str]:
    """Freeze ``policy`` and put adapters of this rank beside the Linear layers of its decoder; in place.

    ``alpha / rank`` scales what they add. ``parts``: only layers whose name ends so (``("query", "value")``, the paper's
    choice); by default all. Adapters are float32, whatever the policy is in. Returns the names of the new parameters.
    Raises ValueError for a policy without ``layers``, names that are no layer's, a rank below 1, a second adapter, and
    where peft is missing.
    """
    if importlib.util.find_spec("peft") is None:
        raise ValueError(NO_PEFT)
    if not isinstance(policy, Layered):
        raise ValueError(f"A {type(policy).__name__} has no `layers` for adapters. RT2 has.")
    if not isinstance(rank, int) or rank < 1 or not alpha > 0:
        raise ValueError(f"Expected a rank of at least 1, whole, and alpha above 0; got {rank!r} and {alpha}.")
    if any(_adapters(policy)):
        raise ValueError("This policy has adapters already. Try merge_lora(policy) first.")
    linear = [name for name, layer in policy.layers.named_modules() if isinstance(layer, nn.Linear)]
    chosen = [name for name in linear if not parts or name.rsplit(".", 1)[-1] in parts]
    unknown = sorted(set(parts) - {name.rsplit(".", 1)[-1] for name in linear})
    if unknown or not chosen:
        there = ", ".join(dict.fromkeys(name.rsplit(".", 1)[-1] for name in linear))
        raise ValueError(f"No Linear layer of the decoder is called {', '.join(unknown)}. There are: {there}.")
    policy.requires_grad_(False)
    _inject(policy.layers, chosen, rank, float(alpha))
    return [name for name, p in policy.named_parameters() if p.requires_grad]


def merge_lora(policy: nn.Module) -> None:
    """Fold the adapters into the weights, in place: the same numbers up to rounding, the names of a plain model.

    All its weights are trainable afterwards. Raises ValueError for a policy without adapters.
    """
    for _, _, layer in _with_adapters(policy):
        layer.merge()
    _take_off(policy)
    policy.requires_grad_(True)


def save_lora(policy: nn.Module, path: str | Path) -> Path:
    """Write the adapters alone, with rank and alpha: beside first, then renamed. ValueError for a policy without any."""
    layer = _with_adapters(policy)[0][2]
    rank = layer.r["default"]
    about = {"rank": rank, "alpha": layer.lora_alpha["default"], "parts": sorted({n for _, n, _ in _adapters(policy)})}
    return write_tensors(_numbers(policy), path, {"format": FORMAT, "lora": json.dumps(about)})


def load_lora(policy: nn.Module, path: str | Path) -> None:
    """Put a file's adapters onto a policy that has none, in place; it goes on learning in them.

    Raises ValueError for a file that is missing, truncated or foreign, or of a model with other layers: then the policy
    is as before.
    """
    check_sha256(path)
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{Path(path).name} holds no adapters: expected {FORMAT!r}, got {header.get('format')!r}.")
    flags = {name: p.requires_grad for name, p in policy.named_parameters()}
    about = json.loads(header["lora"])
    add_lora(policy, about["rank"], alpha=about["alpha"], parts=about["parts"])
    want = _numbers(policy)
    wrong = sorted(k for k in want.keys() | tensors.keys() if k not in want or k not in tensors or
                   want[k].shape != tensors[k].shape)  # fmt: skip
    if wrong:
        _take_off(policy)
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(flags[name])
        raise ValueError(f"{Path(path).name} is of a model with other layers: {len(wrong)} differ, such as {wrong[0]}.")
    with torch.no_grad():
        for name, value in tensors.items():
            want[name].copy_(value)


def _inject(layers: nn.Module, names: list[str], rank: int, alpha: float) -> None:
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - optional, and slow to import

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=names), layers)
    for name, parameter in layers.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()  # steps of 1e-4 are lost in bfloat16


def _adapters(policy: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name in it, layer) of every layer with an adapter."""
    for parent in policy.modules():
        for name, layer in parent.named_children():
            if hasattr(layer, "lora_A"):
                yield parent, name, layer


def _with_adapters(policy: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    found = list(_adapters(policy))
    if not found:
        raise ValueError(f"This {type(policy).__name__} has no adapters. Try add_lora(policy) or load_lora(policy, file).")
    return found


def _numbers(policy: nn.Module) -> dict[str, Tensor]:
    """The adapters' parameters, by name."""
    return {name: p for name, p in policy.named_parameters() if ".lora_" in name}


def _take_off(policy: nn.Module) -> None:
    """Put the layers back to where their adapters stand."""
    for parent, name, layer in list(_adapters(policy)):
        setattr(parent, name, layer.get_base_layer())

"""Weights saved with the config that built them; every doubt is checked before a weight is used.

A checkpoint is one safetensors file: tensors, plus the config as JSON in the header. Nothing is unpickled, so opening a
stranger's file runs no code. A file of ``data/`` has a row in ``data/MANIFEST.json``; ``load_checkpoint`` compares its
sha256 with it.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "course_lib checkpoint 1"
MANIFEST = "MANIFEST.json"


def save_checkpoint(model: nn.Module, path: str | Path, **notes: Any) -> Path:
    """Write ``model`` (with its ``config.to_dict()``) to ``path``: beside first, then renamed, so never half a file.

    Raises ValueError for a model with adapters, which no config describes (``learn.lora``).
    """
    if any(".lora_" in name for name, _ in model.named_parameters()):
        raise ValueError("This model has adapters. Try learn.lora.save_lora for them alone, or merge_lora, then save it.")
    return write_tensors(model.state_dict(), path, header_of(model, FORMAT, notes))


def header_of(model: nn.Module, form: str, notes: dict[str, Any]) -> dict[str, str]:
    """What a checkpoint says of itself: its format, the model's name and config, notes."""
    config = json.dumps(model.config.to_dict(), sort_keys=True)
    return {"format": form, "model": type(model).__name__, "config": config, "notes": json.dumps(notes, sort_keys=True)}


def write_tensors(tensors: dict[str, Tensor], path: str | Path, header: dict[str, str]) -> Path:
    """A safetensors file that appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, beside, metadata=header)
        beside.chmod(0o644)  # safetensors writes files that only their owner may read
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file. Raises ValueError for a missing, truncated or foreign file."""
    path = Path(path)
    if not path.is_file():
        others = ", ".join(sorted(p.name for p in path.parent.glob("*.safetensors"))) or "none"
        raise ValueError(f"There is no file {path}. Checkpoints in that folder: {others}.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is not a whole safetensors file ({error}); it has {path.stat().st_size} bytes. "
            "A broken download or copy does this: get the file again (git checkout, or git pull)."
        ) from error


def load_checkpoint(path: str | Path, model_class: type[nn.Module], **parts: Any) -> nn.Module:
    """Build ``model_class`` from the config in the file, with its weights, in eval mode.

    ``parts`` go to the constructor (``film=MyFiLM``), or to ``from_config`` where the class has one (RT2). Raises
    ValueError for a file that is missing, truncated, tampered with (sha256 of the manifest), of another model, or whose
    tensors do not fit, with a table of what does not.
    """
    tensors, _, model = opened(path, model_class, FORMAT, "Is it another model's file?", parts)
    load_weights(model, tensors, Path(path).name)
    return model.eval()


def opened(
    path: str | Path, model_class: type[nn.Module], form: str, hint: str, parts: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, str], nn.Module]:
    """The doors of a checkpoint: its tensors, its header, and a new model of its config; no weight is loaded yet.

    Raises ValueError for a file that is missing, truncated, tampered with, or of another format or model (with ``hint``).
    """
    check_sha256(path)
    tensors, header = read_tensors(path)
    if header.get("format") != form or header.get("model") != model_class.__name__:
        raise ValueError(
            f"Expected a {model_class.__name__} in the format {form!r}, but {Path(path).name} says "
            f"{header.get('model', 'nothing')!r} in {header.get('format', 'no format')!r}. {hint}"
        )
    config = model_class.config_class.from_dict(json.loads(header["config"]))
    # RT2 is made of parts that the config describes
    return tensors, header, getattr(model_class, "from_config", model_class)(config, **parts)


def load_weights(model: nn.Module, tensors: dict[str, Tensor], name: str = "these weights") -> None:
    """Put ``tensors`` into ``model`` if every name and shape fits; else ValueError with a table, and nothing changes."""
    want = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    have = {k: tuple(v.shape) for k, v in tensors.items()}
    wrong = sorted(k for k in want.keys() | have.keys() if want.get(k) != have.get(k))
    if wrong:
        rows = [f"  {k:<44} {want.get(k, 'absent')!s:>20} {have.get(k, 'absent')!s:>20}" for k in wrong[:12]]
        more = f"\n  ... and {len(wrong) - 12} more" if len(wrong) > 12 else ""
        table = "\n".join([f"  {'tensor':<44} {'expected':>20} {'got':>20}", *rows])
        raise ValueError(f"{name} does not fit this {type(model).__name__} ({len(wrong)} tensors differ):\n{table}{more}")
    broken = [k for k, v in tensors.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if broken:
        raise ValueError(
            f"{name} holds NaN or infinite numbers in {', '.join(broken[:5])}: a diverged training. Not loaded."
        )
    model.load_state_dict(tensors)


def sha256(path: str | Path) -> str:
    """The file's fingerprint."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: str | Path) -> None:
    """Compare with the manifest in the same folder, if there is one with a row for this file."""
    path = Path(path)
    manifest = path.parent / MANIFEST
    if not (path.is_file() and manifest.is_file()):
        return
    row = json.loads(manifest.read_text()).get(path.name)
    if row is not None and (got := sha256(path)) != row["sha256"]:
        raise ValueError(
            f"{path.name} is not the file that {MANIFEST} describes: expected sha256 {row['sha256'][:16]}..., "
            f"got {got[:16]}.... It was changed, or a rebuild is not finished. "
            f"Try `git checkout data/{path.name}`, or rebuild: {row['command']}"
        )

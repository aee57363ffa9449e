"""The real weights: a Hugging Face folder of PaliGemma or PaliGemma 2 into our names, every tensor accounted for.

Nothing is unpickled: config.json and safetensors files (one, or shards with an index) are all that is read. Names and
shapes are compared before the first number is loaded. transformers has written the same checkpoint under several
spellings ("language_model.model.layers", "model.language_model.layers", "vision_tower.vision_model.encoder", ...); all
mean the same here. Google's weights need their licence accepted on the hub once; no test of the course fetches them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from course_lib.rt2.config import GemmaConfig, PaliGemmaConfig, SigLIPConfig
from course_lib.rt2.paligemma import PaliGemma

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
PARTS = {"patches": "embeddings.patch_embedding", "places": "embeddings.position_embedding.weight", "norm": "post_layernorm"}
EYES = {
    "norm1": "layer_norm1", "norm2": "layer_norm2", "widen": "mlp.fc1", "narrow": "mlp.fc2",
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
}  # fmt: skip
GEMMA = {
    "norm1": "input_layernorm", "norm2": "post_attention_layernorm", "attention.output": "self_attn.o_proj",
    "feed_forward.gate": "mlp.gate_proj", "feed_forward.up": "mlp.up_proj", "feed_forward.down": "mlp.down_proj",
} | {name: EYES[name] for name in ("attention.query", "attention.key", "attention.value")}  # fmt: skip
GEMMA_2 = GEMMA | {
    "post1": "post_attention_layernorm", "norm2": "pre_feedforward_layernorm", "post2": "post_feedforward_layernorm"
}  # fmt: skip
SPELLINGS = (  # what a file may say -> what it means here
    (r"^model\.", ""),
    (r"^language_model\.(model\.|lm_head)", lambda m: "lm_head" if m[1] == "lm_head" else "language_model."),
    (r"^vision_tower\.vision_model\.", "vision_tower."),
)
WANTED_FILES = ("*.safetensors", "*.json", "*.model", "*.txt")  # of a hub repository


def from_huggingface(
    folder: str | Path, *, dtype: torch.dtype | None = None, device: str = "cpu", download: bool = False
) -> PaliGemma:
    """PaliGemma with the weights in ``folder``, in eval mode, in the file's precision or in ``dtype``.

    ``folder`` may also be a hub name ("google/paligemma-3b-pt-224"): then the local cache is used, and the network only
    with ``download=True``. Raises ValueError that lists what is missing, left over or of another shape.
    """
    folder = find_folder(folder, download=download)
    config = read_config(folder)
    files = _files(folder)
    shapes, spelled = _shapes(files)
    tied = shapes.pop("lm_head.weight", None)
    model, names = _empty(config, shapes, folder.name)
    wanted = {spelled[theirs]: ours for theirs, ours in names.items()}
    for file in files:
        for name, tensor in _tensors(file, wanted.keys()):
            _put(model, wanted[name], tensor.to(device=device, dtype=dtype or tensor.dtype))
    if tied is not None:
        for file in files:
            for _, head in _tensors(file, {spelled["lm_head.weight"]}):
                _check_tied(head, model)
    return model.eval()


def read_state(config: PaliGemmaConfig, tensors: Mapping[str, Tensor]) -> PaliGemma:
    """PaliGemma with the tensors of a transformers model in memory (its ``state_dict()``), in eval mode.

    Raises ValueError that lists what is missing, left over or of another shape. The tensors are shared, not copied.
    """
    found = {plain_name(name): tensor for name, tensor in tensors.items()}
    head = found.pop("lm_head.weight", None)
    model, names = _empty(config, {name: tuple(tensor.shape) for name, tensor in found.items()}, "This state")
    for theirs, ours in names.items():
        _put(model, ours, found[theirs].detach())
    if head is not None:
        _check_tied(head, model)
    return model.eval()


def _empty(config: PaliGemmaConfig, shapes: Mapping[str, tuple], where: str) -> tuple[PaliGemma, dict[str, str]]:
    """A model without memory, and their name -> our name, once every name and shape is known to fit."""
    with torch.device("meta"):
        model = PaliGemma(config)
    names = {theirs: ours for ours, theirs in tensor_names(model).items()}
    _compare({theirs: tuple(model.get_parameter(ours).shape) for theirs, ours in names.items()}, shapes, where)
    return model, names


def tensor_names(model: PaliGemma) -> dict[str, str]:
    """Our name -> Hugging Face's, of every tensor of the model."""
    second = model.config.language.post_norms
    return {name: _their_name(name, GEMMA_2 if second else GEMMA) for name, _ in model.named_parameters()}


def _their_name(name: str, gemma: Mapping[str, str]) -> str:
    part, _, rest = name.partition(".")
    if part == "projector":
        return f"multi_modal_projector.linear.{rest}"
    tower, inner = ("vision_tower", "encoder.layers") if part == "vision" else ("language_model", "layers")
    if layer := re.match(r"layers\.(\d+)\.(.+)\.(weight|bias)$", rest):
        table = EYES if part == "vision" else gemma
        return f"{tower}.{inner}.{layer[1]}.{table[layer[2]]}.{layer[3]}"
    if part == "vision":
        head, _, kind = rest.partition(".")
        return ".".join(filter(None, (tower, PARTS[head], kind)))
    return f"{tower}.{rest.replace('embedding', 'embed_tokens')}"


def plain_name(name: str) -> str:
    """A file's name for a tensor, in the one spelling used here."""
    for pattern, meaning in SPELLINGS:
        name = re.sub(pattern, meaning, name)
    return name


def find_folder(folder: str | Path, *, download: bool = False) -> Path:
    """The folder itself, or where the hub's files of that name lie. Raises ValueError that says what to try."""
    if Path(folder).is_dir():
        return Path(folder)
    name = str(folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise ValueError(
            f"There is no folder {name}. Try an existing folder with a config.json, or a hub name such as "
            '"google/paligemma-3b-pt-224".'
        )
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only who asks for the hub loads its client
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED_FILES), local_files_only=not download))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        hint = "Is the name right, its licence accepted on the hub, and are you logged in (hf auth login)?"
        hint = hint if download else "Try download=True (the 3B weights are 6 to 12 GB)."
        raise ValueError(
            f"{name} could not be had from the hub's {'server' if download else 'local cache'}. {hint}"
        ) from error


def read_config(folder: Path) -> PaliGemmaConfig:
    """PaliGemmaConfig from a folder's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json. Is it the folder of a model, unpacked?")
    return read_config_of(json.loads(path.read_text(encoding="utf-8")))


def read_config_of(plain: Mapping[str, Any]) -> PaliGemmaConfig:
    """PaliGemmaConfig from what a config.json says. What it leaves out has transformers' default."""
    text, eyes = plain.get("text_config", {}), plain.get("vision_config", {})
    kind = text.get("model_type")
    if plain.get("model_type") != "paligemma" or kind not in ("gemma", "gemma2"):
        got = f"{plain.get('model_type')!r} with {kind!r}"
        raise ValueError(f"This config describes {got}; expected 'paligemma' with 'gemma' or 'gemma2'.")
    vision = SigLIPConfig(
        image_size=eyes.get("image_size", 224),
        patch_size=eyes.get("patch_size", 14),
        width=eyes.get("hidden_size", 1152),
        layers=eyes.get("num_hidden_layers", 27),
        heads=eyes.get("num_attention_heads", 16),
        hidden=eyes.get("intermediate_size", 4304),
        eps=eyes.get("layer_norm_eps", 1e-6),
    )
    return PaliGemmaConfig(vision, _gemma(text, second=kind == "gemma2"))


def _gemma(text: Mapping[str, Any], second: bool) -> GemmaConfig:
    """The decoder's numbers; where the file is silent, those of PaliGemma 3B and of Gemma 2 2B."""
    base = text.get("rope_theta") or (text.get("rope_parameters") or {}).get("rope_theta", 10_000.0)
    extra = {}
    if second:
        extra = {
            "query_scale": text.get("query_pre_attn_scalar", 256),
            "post_norms": True,
            "attention_softcap": text.get("attn_logit_softcapping", 50.0) or 0.0,
            "final_softcap": text.get("final_logit_softcapping", 30.0) or 0.0,
            "window": text.get("sliding_window", 4096) or 0,
        }
    return GemmaConfig(
        vocabulary=text.get("vocab_size", 256_000 if second else 257_152),
        width=text.get("hidden_size", 2304 if second else 2048),
        layers=text.get("num_hidden_layers", 26 if second else 18),
        heads=text.get("num_attention_heads", 8),
        groups=text.get("num_key_value_heads", 4 if second else 1),
        head_dim=text.get("head_dim", 256),
        hidden=text.get("intermediate_size", 9216 if second else 16_384),
        rope_base=base,
        eps=text.get("rms_norm_eps", 1e-6),
        **extra,
    )


def _files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, all present."""
    if not (folder / INDEX).is_file():
        if not (folder / SINGLE).is_file():
            raise ValueError(f"{folder} has neither {SINGLE} nor {INDEX}. Try a folder that save_pretrained wrote.")
        return [folder / SINGLE]
    shards = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{INDEX} names {len(shards)} files, but {folder} lacks {', '.join(missing)}. Is the download whole?"
        )
    return [folder / name for name in shards]


def _shapes(files: list[Path]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shape of every tensor by its plain name, and the file's own spelling of that name."""
    shapes, spelled = {}, {}
    for path in files:
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 - a safetensors file is no dictionary
                if plain_name(name) in shapes:
                    raise ValueError(f"{path.name} holds {name}, which came before as {spelled[plain_name(name)]}.")
                shapes[plain_name(name)] = tuple(file.get_slice(name).get_shape())
                spelled[plain_name(name)] = name
    return shapes, spelled


def _opened(path: Path):
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise ValueError(
            f"{path.name} is not a whole safetensors file ({error}); it has {size} bytes. A file of about 130 bytes is a "
            "pointer of git-lfs: fetch the real one (git lfs pull)."
        ) from error


def _tensors(path: Path, wanted):
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118
            if name in wanted:
                yield name, file.get_tensor(name)


def _compare(want: Mapping[str, tuple], have: Mapping[str, tuple], where: str) -> None:
    """Every tensor on either side has its partner of the same shape, or ValueError with a table."""
    wrong = sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))
    if not wrong:
        return
    rows = [f"  {name:<66} {want.get(name, 'absent')!s:>16} {have.get(name, 'absent')!s:>16}" for name in wrong[:16]]
    more = [f"  ... and {len(wrong) - 16} more"] if len(wrong) > 16 else []
    missing, extra = sum(n not in have for n in wrong), sum(n not in want for n in wrong)
    raise ValueError(
        f"{where} does not fit its config.json: {missing} tensors missing, {extra} left over, "
        f"{len(wrong) - missing - extra} of another shape.\n"
        + "\n".join([f"  {'tensor':<66} {'expected':>16} {'in the file':>16}", *rows, *more])
    )


def _put(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Put the tensor itself into the place of the meta parameter: no copy."""
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor))


def _check_tied(head: Tensor, model: PaliGemma) -> None:
    """A stored output layer must be the embedding again: this model has one table for both."""
    table = model.language.embedding.weight
    if not torch.equal(head.to(table), table):
        raise ValueError("lm_head.weight differs from the embedding: this checkpoint has two tables, PaliGemma has one.")

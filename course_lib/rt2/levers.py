"""Ways to write the eight tokens of an action, as named callables to be timed together.

    python -m course_lib.measure.speed course_lib.rt2.levers:levers --preset plain

Each callable is a whole answer: picture, prompt, eight tokens. The presets: "tiny" (the course's model), "plain" (the same
without its two departures from PaliGemma, so that transformers can hold the same weights), "pt_224" (3B, random weights).
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.costs import Cost
from course_lib.rt2.config import PaliGemmaConfig, SigLIPConfig
from course_lib.rt2.cost import rt2_cost
from course_lib.rt2.decoding import generate
from course_lib.rt2.fast import faster
from course_lib.rt2.paligemma import PaliGemma
from course_lib.rt2.weights import tensor_names

PROMPT, ANSWER = 16, 8  # tokens: a short instruction, RT-2's action
BATCHES = (1, 32)
Runs = dict[str, Callable[[], Any]]


def plain() -> PaliGemmaConfig:
    """The tiny model's numbers in PaliGemma's own architecture."""
    tiny = PaliGemmaConfig.tiny(1200)
    numbers = {name: value for name, value in vars(tiny.vision).items() if name != "stem"}
    return PaliGemmaConfig(SigLIPConfig(**numbers), tiny.language)


PRESETS: Mapping[str, Callable[[], PaliGemmaConfig]] = {
    "tiny": lambda: PaliGemmaConfig.tiny(1200),
    "plain": plain,
    "pt_224": PaliGemmaConfig.pt_224,
}


def levers(preset: str = "tiny", device: str = "cpu", seed: int = 0) -> tuple[Runs, dict[str, tuple[Cost, str]]]:
    """What to time: without and with the cache, faster(), transformers' generate where it can hold the weights.

    Weights are random: they do not change the time. Raises ValueError for an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {' or '.join(map(repr, PRESETS))}, got {preset!r}.")
    torch.manual_seed(seed)
    config = PRESETS[preset]()
    vlm = PaliGemma(config).to(device).eval().requires_grad_(False)
    made = {"cached": vlm, "cached, faster(fp32)": faster(vlm), "cached, faster(bf16)": faster(vlm, "bf16")}
    twin = transformers_twin(vlm) if config.image_sees_prompt and not config.vision.stem else None
    runs: Runs = {}
    for batch in BATCHES:
        images = torch.rand(batch, 3, config.vision.image_size, config.vision.image_size, device=device)
        prompts = torch.randint(3, 1000, (batch, PROMPT), device=device)
        runs[f"batch {batch}, no cache"] = answering(vlm, images, prompts, cached=False)
        runs |= {f"batch {batch}, {name}": answering(net, images, prompts) for name, net in made.items()}
        if twin is not None:
            runs[f"batch {batch}, transformers' generate"] = lambda x=images, p=prompts: answer_of(twin, x, p)
    parts = rt2_cost(config, prompt=PROMPT, answer=ANSWER)
    whole = sum((parts["step"] for _ in range(ANSWER - 1)), parts["encoder"] + parts["prefill"])
    return runs, {name: (whole, "fp32") for name in runs if name in ("batch 1, cached", "batch 1, cached, faster(fp32)")}


def answering(vlm: PaliGemma, images: Tensor, prompts: Tensor, *, cached: bool = True) -> Callable[[], Tensor]:
    """A call that writes all answers."""
    return lambda: generate(vlm, images, prompts, steps=ANSWER, cached=cached)


def transformers_twin(vlm: PaliGemma) -> nn.Module:
    """transformers' PaliGemma with the same weights. Of a model without stem, whose image sees the prompt."""
    from transformers import PaliGemmaConfig as Config  # noqa: PLC0415 - takes seconds to import
    from transformers import PaliGemmaForConditionalGeneration  # noqa: PLC0415

    eyes, decoder = vlm.config.vision, vlm.config.language
    numbers = {
        "hidden_size": decoder.width, "intermediate_size": decoder.hidden, "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads, "num_key_value_heads": decoder.groups, "head_dim": decoder.head_dim,
        "vocab_size": decoder.vocabulary, "model_type": "gemma",
    }  # fmt: skip
    seeing = {
        "hidden_size": eyes.width, "intermediate_size": eyes.hidden, "num_hidden_layers": eyes.layers,
        "num_attention_heads": eyes.heads, "image_size": eyes.image_size, "patch_size": eyes.patch_size,
        "vision_use_head": False, "model_type": "siglip_vision_model",
    }  # fmt: skip
    last = {"image_token_index": decoder.vocabulary - 1, "projection_dim": decoder.width}
    twin = PaliGemmaForConditionalGeneration(Config(vision_config=seeing, text_config=numbers, **last)).eval()
    weights = {f"model.{theirs}": vlm.get_parameter(ours) for ours, theirs in tensor_names(vlm).items()}
    twin.load_state_dict(weights | {"lm_head.weight": vlm.language.embedding.weight})
    twin.generation_config = copy.copy(twin.generation_config)
    twin.generation_config.eos_token_id, twin.generation_config.pad_token_id = None, 0  # always all eight tokens
    return twin.to(vlm.device)


def answer_of(twin: nn.Module, images: Tensor, prompts: Tensor) -> Tensor:
    """The same answers by transformers' own generate()."""
    image = prompts.new_full((len(prompts), twin.config.text_config.num_image_tokens), twin.config.image_token_id)
    ids = torch.cat((image, prompts), 1)
    marks = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    out = twin.generate(input_ids=ids, pixel_values=2 * images - 1, max_new_tokens=ANSWER, do_sample=False, **marks)
    return out[:, ids.shape[1] :]

"""An RT-2 of a few thousand weights, transformers' PaliGemma of the same size, and something to look at."""

import os

import numpy as np
import torch

from course_lib.rt2 import RT2, PaliGemma, PaliGemmaConfig, TinyTokenizer
from course_lib.rt2.config import GemmaConfig, SigLIPConfig
from course_lib.rt2.prompts import Prompts

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the hub
IMAGE_TOKENS, VOCABULARY = 4, 97
EYES = {
    "model_type": "siglip_vision_model", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 3, "image_size": 16, "patch_size": 8, "vision_use_head": False,
}  # fmt: skip
DECODER = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 8,
    "vocab_size": VOCABULARY,
}  # fmt: skip
GENERATIONS = {  # numbers for Gemma 2 at which its caps, its window of 5 and its scale all matter
    1: {"model_type": "gemma", "num_key_value_heads": 1},
    2: {"model_type": "gemma2", "num_key_value_heads": 2, "query_pre_attn_scalar": 16, "sliding_window": 5,
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
}  # fmt: skip
WORDS = ["what", "where", "is", "the", "apple", "can", "banana", "pick", "up", "red", "yes", "no", "<loc0256>", "<loc0768>"]


def reference(generation=1, seed=0, vocabulary=VOCABULARY):
    """transformers' PaliGemma with random weights, norms and biases included."""
    from transformers import PaliGemmaConfig as Config  # noqa: PLC0415 - takes seconds to import
    from transformers import PaliGemmaForConditionalGeneration  # noqa: PLC0415

    text = DECODER | GENERATIONS[generation] | {"vocab_size": vocabulary}
    image = {"image_token_index": vocabulary - 1, "projection_dim": 32, "vocab_size": vocabulary}
    config = Config(vision_config=EYES, text_config=text, **image)
    torch.manual_seed(seed)
    model = PaliGemmaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def config(**changes):
    """16 x 16 pixels, 4 image tokens, 3 layers; no stem, and the image sees the prompt, as in PaliGemma."""
    eyes = SigLIPConfig(16, 8, 24, 2, 3, 40)
    return PaliGemmaConfig(eyes, GemmaConfig(VOCABULARY, 32, 3, 4, 1, 8, 48), **changes)


def small_vlm(seed=0, **changes):
    """A random model; its answers depend on everything before them."""
    torch.manual_seed(seed)
    return shaken(PaliGemma(config(**changes)).eval())


def shaken(model):
    """The same model with larger weights, so that nothing is nearly constant."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def small_policy(space="workbook", seed=0, **options):
    """RT-2 with an own small vocabulary over the small model."""
    torch.manual_seed(seed)
    tokenizer = TinyTokenizer([*WORDS, *Prompts(TinyTokenizer(())).words])
    eyes = SigLIPConfig(16, 8, 24, 2, 3, 40)
    rows = len(tokenizer) + options.pop("added", 0)
    decoder = GemmaConfig(rows, 32, 2, 4, 1, 8, options.pop("hidden", 48))
    vlm = PaliGemma(PaliGemmaConfig(eyes, decoder, options.pop("image_sees_prompt", True)))
    return RT2(shaken(vlm), tokenizer, space, **options).eval()


def pictures(n=2, seed=0, size=16):
    """uint8 noise (n, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def rows(batch=3, length=9, seed=1):
    """Images, tokens, answer marks and real marks of rows of three lengths, padded at the end."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 90, (batch, length), generator=rng)
    place = torch.arange(length)
    answer, real = place >= torch.tensor([4, 5, 6])[:batch, None], place < torch.tensor([9, 8, 7])[:batch, None]
    return torch.rand(batch, 3, 16, 16, generator=rng), tokens, answer & real, real

"""An RT-2 of a few thousand weights that knows every word of the course, for tests of what is made of its answers."""

import torch
from small_rt2 import shaken

from course_lib.datasets.web import vocabulary
from course_lib.rt2 import RT2, PaliGemma, PaliGemmaConfig, TinyTokenizer
from course_lib.rt2.config import GemmaConfig, SigLIPConfig
from course_lib.rt2.prompts import Prompts, action_layouts
from course_lib.world import TabletopEnv

BASE = ("base_x", "base_y", "base_yaw")


def talking_policy(layout="integers", **options):
    """Its answers are noise, but legal: a plan of at most four words, then eight numbers."""
    torch.manual_seed(0)
    tokenizer = TinyTokenizer([*vocabulary(), *Prompts(TinyTokenizer(())).words])
    actions = action_layouts(tokenizer, 8)[layout]
    decoder = GemmaConfig(len(tokenizer) + actions.added_rows, 32, 2, 4, 1, 8, 48)
    vlm = PaliGemma(PaliGemmaConfig(SigLIPConfig(16, 8, 24, 2, 3, 40), decoder))
    options = {"plan": True, "plan_tokens": 4, "without": BASE} | options
    return shaken(RT2(vlm, tokenizer, vocabulary=actions, **options)).eval()


def first_legal(logits):
    """A choice of tokens that never ends an episode: the first legal one, so level 0 for every number."""
    return torch.isfinite(logits).int().argmax(-1)


def small_table(steps=3):
    """A table seen in 16 x 16 pixels."""
    return TabletopEnv(size=16, max_steps=steps)

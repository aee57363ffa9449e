"""RT-2, part by part: SigLIP, Gemma, PaliGemma made of both, decoding, and the policy that speaks actions."""

from course_lib.rt2.config import PaliGemmaConfig, RT2Config
from course_lib.rt2.decoding import arg_max, generate, sampling
from course_lib.rt2.paligemma import PaliGemma
from course_lib.rt2.policy import RT2
from course_lib.rt2.tokenizer import TinyTokenizer

__all__ = ["RT2", "PaliGemma", "PaliGemmaConfig", "RT2Config", "TinyTokenizer", "arg_max", "generate", "sampling"]

"""What the decoding-speed lab times: RT-1 parallel and token by token, RT-2 tiny and its 3B shape, several batches and bits.

Weights are random: they change no time. The real ones of 3B need not be there. ``python -m course_lib.measure.lab``.
What torch.compile has to build first, for up to minutes, is in groups of their own that are timed when asked for by name:
``python -m course_lib.measure.lab --only compiled``.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.costs import Cost
from course_lib.learn import compress
from course_lib.measure.lab import Group
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.ablations import AutoregressiveRT1
from course_lib.rt1.cached import CachedAutoregressiveRT1
from course_lib.rt1.fast import faster as faster_rt1
from course_lib.rt1.levers import as_graph, compiled, whole_step, with_tf32
from course_lib.rt2 import PaliGemma, PaliGemmaConfig
from course_lib.rt2.cost import rt2_cost
from course_lib.rt2.decoding import generate
from course_lib.rt2.fast import faster as faster_rt2
from course_lib.rt2.levers import PROMPT

Runs = dict[str, Callable[[], Any]]
ANSWER = 8  # tokens of an action of RT-2
SHAPES = {"RT-2 tiny": lambda: PaliGemmaConfig.tiny(1200), "RT-2 3B": PaliGemmaConfig.pt_224}
BYTES = {"fp32": 4, "bf16": 2, "int8": 4, "int4": 4}  # of a weight while the model is made; 8 and 4 bits are made of float32
BATCHES = (1, 8, 64)
TF32 = ("one pass", f"{ANSWER} tokens")
ASK = "torch.compile builds its code first, for up to minutes: ask for it by name, --only compiled"
NO_TF32 = "a number format of NVIDIA's GPUs: needs --device cuda:0"
NO_COMPILER = "torch.compile needs a C++ compiler, and finds no c++, g++ or clang++ here"


def groups(device: str = "cpu") -> Iterator[Group]:
    """Everything, the small ones first."""
    for preset in ("tiny", "paper"):
        for tables in BATCHES if preset == "tiny" else (1,):
            yield rt1_group(preset, tables, device)
    for shape in SHAPES:
        for batch in BATCHES if shape == "RT-2 tiny" else (1,):
            for precision in BYTES:
                yield rt2_group(shape, precision, batch, device)
    yield compiled_group("RT-1 tiny", device)
    for shape in SHAPES:
        yield compiled_group(shape, device)


def rt1_group(preset: str, tables: int, device: str) -> Group:
    """One frame of RT-1 to its 11 tokens, on ``tables`` tables: all in one pass, or one after the other."""
    config = dataclasses.replace(getattr(RT1Config, preset)(), history=1)

    def make() -> Runs:
        image = np.random.default_rng(0).integers(
            0, 256, (tables, config.image_height, config.image_width, 3), dtype=np.uint8
        )
        seen = {"image": image, "instruction": np.zeros((tables, config.instruction_dim), np.float32)}
        torch.manual_seed(0)
        parallel = RT1(config).to(device).eval().requires_grad_(False)
        speakers = {"parallel": parallel, "parallel, faster(bf16)": faster_rt1(parallel, "bf16")}
        for name, kind in {"token by token": AutoregressiveRT1, "token by token, cached": CachedAutoregressiveRT1}.items():
            speakers[name] = kind(config).to(device).eval().requires_grad_(False)
        return {name: lambda policy=policy: _afresh(policy, seen) for name, policy in speakers.items()}

    needs = 6 * 4 * _weights(lambda: RT1(config))  # four policies, and what they think with
    return Group(f"RT-1 {preset}, {tables} at once", needs, make)


def rt2_group(shape: str, precision: str, batch: int, device: str) -> Group:
    """An answer of RT-2: first one pass over picture and prompt (which gives the first token), then token by token."""
    config = SHAPES[shape]()

    def make() -> Runs:
        vlm = random_model(config, device, torch.bfloat16 if precision == "bf16" else torch.float32)
        if precision in ("int8", "int4"):
            vlm = compress(vlm, precision)
        size = config.vision.image_size
        images = torch.rand(batch, 3, size, size, device=device).to(vlm.dtype)
        prompts = torch.randint(3, 1000, (batch, PROMPT), device=device)
        runs: Runs = {"one pass": lambda: one_pass(vlm, images, prompts), "one more token": one_more(vlm, images, prompts)}
        for tokens in (7, 8, 11) if precision == "fp32" else (ANSWER,):
            runs[f"{tokens} tokens"] = lambda n=tokens: generate(vlm, images, prompts, steps=n)
        if precision in ("fp32", "bf16"):
            runs[f"{ANSWER} tokens, no cache"] = lambda: generate(vlm, images, prompts, steps=ANSWER, cached=False)
            fast = faster_rt2(vlm, precision)
            runs[f"{ANSWER} tokens, faster()"] = lambda: generate(fast, images, prompts, steps=ANSWER)
        if on_cuda:
            runs["one more token, CUDA graph"] = as_graph(one_more(vlm, images, prompts))
        if on_cuda and precision == "fp32":
            runs |= {f"{name}, tf32": with_tf32(runs[name]) for name in TF32}
        return runs

    on_cuda = device.startswith("cuda")
    cannot = {f"{name}, tf32": NO_TF32 for name in TF32} if precision == "fp32" and not on_cuda else {}
    needs = 3 * BYTES[precision] * _weights(lambda: PaliGemma(config))
    return Group(f"{shape} {precision}, {batch} at once", needs, make, rt2_costs(config, precision, batch), cannot)


def compiled_group(model: str, device: str) -> Group:
    """The network as it is beside the code that torch.compile makes of it, in bfloat16 on a GPU and float32 elsewhere.

    RT-1: pictures to logits. RT-2: one pass, and one more token with the cache. Each is compiled at its first call, which
    is not timed.
    """
    precision = "bf16" if device.startswith("cuda") and model in SHAPES else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    config = SHAPES[model]() if model in SHAPES else RT1Config.tiny()

    def plain() -> Runs:
        if model not in SHAPES:
            return {"one pass": whole_step(RT1(config).to(device).eval().requires_grad_(False), 1)}
        vlm, size = random_model(config, device, dtype), config.vision.image_size
        images = torch.rand(1, 3, size, size, device=device).to(dtype)
        prompts = torch.randint(3, 1000, (1, PROMPT), device=device)
        return {"one pass": lambda: one_pass(vlm, images, prompts), "one more token": one_more(vlm, images, prompts)}

    def make() -> Runs:
        runs = plain()
        return runs | {f"{name}, compiled": compiled(run) for name, run in runs.items()}

    needs = 3 * BYTES[precision] * _weights(lambda: PaliGemma(config) if model in SHAPES else RT1(config))
    cannot = {} if _can_compile(device) else {"compiled": NO_COMPILER}
    name = f"compiled {model} {precision}, 1 at once"
    costs = rt2_costs(config, precision, 1) if model in SHAPES else {}
    costs |= {f"{call}, compiled": cost for call, cost in costs.items()}
    return Group(name, needs, dict if cannot else make, costs, cannot, ASK)


def _can_compile(device: str) -> bool:
    """Whether torch.compile finds what it needs: a C++ compiler; on a GPU it brings its own."""
    return device.startswith("cuda") or any(map(shutil.which, ("c++", "g++", "clang++", "cl")))


def random_model(config: PaliGemmaConfig, device: str, dtype: torch.dtype) -> PaliGemma:
    """A model of random numbers, made where it belongs: no second copy, no slow initialisation."""
    with torch.device("meta"):
        vlm = PaliGemma(config).to(dtype)
    vlm.to_empty(device=device)
    random = torch.Generator(device).manual_seed(0)
    for parameter in vlm.parameters():
        torch.nn.init.uniform_(parameter, -0.03, 0.03, generator=random)
    return vlm.eval().requires_grad_(False)


@torch.no_grad()  # not inference_mode, here and below: torch.compile cannot trace through it
def one_pass(vlm: PaliGemma, images: Tensor, prompts: Tensor) -> Tensor:
    """Picture and prompt to the scores of the first token: what every answer costs, and RT-1's whole."""
    return vlm.prefill(vlm.image_tokens(images), prompts, torch.ones_like(prompts, dtype=torch.bool), room=0)[0]


def one_more(vlm: PaliGemma, images: Tensor, prompts: Tensor) -> Callable[[], Tensor]:
    """The call for the last token of an answer, always the same place of a filled cache."""
    with torch.no_grad():
        real = torch.ones_like(prompts, dtype=torch.bool)
        _, cache = vlm.prefill(vlm.image_tokens(images), prompts, real, room=ANSWER - 1)
        for _ in range(ANSWER - 2):
            vlm.step(prompts[:, 0], cache)
    before = cache.length

    def step() -> Tensor:
        with torch.no_grad():
            cache.length = before
            return vlm.step(prompts[:, 0], cache)

    return step


def rt2_costs(config: PaliGemmaConfig, precision: str, batch: int) -> dict[str, tuple[Cost, str]]:
    """Operations and least bytes of the calls: weights once for the whole batch. None for 8 and 4 bits: layers differ."""
    if precision not in ("fp32", "bf16"):
        return {}
    number = BYTES[precision]
    parts = rt2_cost(config, prompt=PROMPT, answer=ANSWER, weight_bytes=number, activation_bytes=number)
    many = {name: Cost(batch * c.flops, c.weights, batch * c.activations) for name, c in parts.items()}
    first = many["encoder"] + many["prefill"]
    whole = sum((many["step"] for _ in range(ANSWER - 1)), first)
    named = {
        "one pass": first,
        "one more token": many["step"],
        f"{ANSWER} tokens": whole,
        f"{ANSWER} tokens, faster()": whole,
    }
    named["one more token, CUDA graph"] = many["step"]
    return {name: (cost, precision) for name, cost in named.items()}


def _afresh(policy: RT1, seen: dict[str, Any]) -> np.ndarray:
    """The first step of an episode."""
    policy.reset()
    return policy.act(seen)


def _weights(make: Callable[[], torch.nn.Module]) -> int:
    """Numbers of a model that is not made."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())

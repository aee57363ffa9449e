"""Everything that was tried to make a control step of RT-1 fast, as named callables to be timed together.

``python -m course_lib.measure.speed`` times them; data/rt1_speed_cpu.csv is such a table. Each callable is one call:
the encoder on one frame, the decoder on a full window, or a whole control step with a full memory.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.rt1.config import RT1Config
from course_lib.rt1.cost import Cost
from course_lib.rt1.efficientnet import FilmEfficientNet
from course_lib.rt1.fast import FastEncoder, HalfDecoder, faster, fold
from course_lib.rt1.policy import RT1

PRESETS: Mapping[str, Callable[[], RT1Config]] = {"paper": RT1Config.paper, "tiny": RT1Config.tiny}
BATCHES = (1, 2, 4, 8, 16, 32, 64)
Runs = dict[str, Callable[[], Any]]
Costs = dict[str, tuple[Cost, str]]  # and the precision whose peak is the roof


def levers(preset: str = "paper", device: str = "cpu", seed: int = 0) -> tuple[Runs, Costs]:
    """What to time on this device: the tricks one by one on a CPU, precisions and batches on a GPU.

    Weights are random: they do not change the time. The first callable is the bare encoder on one frame as the plain
    policy runs it. Raises ValueError for an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {' or '.join(map(repr, PRESETS))}, got {preset!r}.")
    torch.manual_seed(seed)
    policy = RT1(PRESETS[preset]()).eval().requires_grad_(False)
    if torch.device(device).type == "cuda":
        return gpu_steps(policy.to(device))
    parts = [encoders(policy, device), decoders(policy, device), steps(policy, device)]
    return {k: v for runs, _ in parts for k, v in runs.items()}, {k: v for _, costs in parts for k, v in costs.items()}


def encoders(policy: RT1, device: str) -> tuple[Runs, Costs]:
    """One frame to the feature map."""
    plain, half = policy.encoder, copy.deepcopy(policy.encoder).to(torch.bfloat16)
    made = {
        "encoder, plain": plain,
        "encoder, weights channels last": copy.deepcopy(plain).to(memory_format=torch.channels_last),
        "encoder, BatchNorm folded": folded(plain),
        "encoder, folded, in place, mean as product, FiLM kept": FastEncoder(plain, fused=False),
        "encoder, the same with fused convolutions": FastEncoder(plain),
        "encoder, plain, bf16": half,
        "encoder, the same with fused convolutions, bf16": FastEncoder(plain, torch.bfloat16),
    }
    frame = torch.rand(1, 3, policy.config.image_height, policy.config.image_width, device=device)
    words = torch.randn(1, policy.config.instruction_dim, device=device)
    runs = {
        name: quietly(net.to(device), frame, words.to(torch.bfloat16) if net is half else words)
        for name, net in made.items()
    }
    return runs, {name: part_cost(policy, ("encoder",), name) for name in made}


def decoders(policy: RT1, device: str) -> tuple[Runs, Costs]:
    """A full window to logits; reading only the newest step's 11 positions saves most of the last layer."""
    plain, half = copy.deepcopy(policy.decoder).to(device), HalfDecoder(policy.decoder).to(device)
    config = policy.config
    tokens = torch.randn(1, config.history, config.image_tokens, config.trunk.out_channels, device=device)
    cells = torch.randn(1, config.trunk.out_channels, *config.trunk.map_size, device=device)
    runs = {
        "TokenLearner": quietly(copy.deepcopy(policy.token_learner).to(device), cells),
        "decoder, all steps read": quietly(plain, tokens),
        "decoder, newest step read": quietly(plain, tokens, last_only=True),
        "decoder, newest step read, bf16": quietly(half, tokens, last_only=True),
        "decoder, first frame of an episode, bf16": quietly(half, tokens[:, :1], last_only=True),
    }
    costs = {name: part_cost(policy, ("decoder",), name) for name in runs if "newest" in name}
    return runs, costs | {"TokenLearner": part_cost(policy, ("token_learner",), "fp32")}


def steps(policy: RT1, device: str) -> tuple[Runs, Costs]:
    """A whole control step: act() as it is, faster, and without RT-1's two shortcuts."""
    plain = copy.deepcopy(policy).to(device)
    batch = policy.config.fake_batch(1)
    observation = {"image": batch["images"][0, 0].numpy(), "instruction": batch["instruction"][0].numpy()}
    window = batch["images"].to(device).movedim(-1, 2) / 255
    words = batch["instruction"].to(device)
    memory = torch.randn(1, policy.config.history, policy.config.image_tokens, policy.config.trunk.out_channels).to(device)

    def official() -> None:
        plain.image_tokens(window[:, -1], words)
        for _ in range(policy.config.action_dims):
            plain.decoder(memory)

    runs = {
        "step, no token cache: 6 frames, 1 pass": quietly(plain, window, words),
        "step, the release's way: 1 frame, 11 passes": quietly(official),
        "step, act()": acting(copy.deepcopy(plain), observation),
        "step, faster(fp32).act()": acting(faster(plain, "fp32"), observation),
        "step, faster(bf16).act()": acting(faster(plain, "bf16"), observation),
    }
    parts = ("encoder", "token_learner", "decoder")
    return runs, {name: part_cost(policy, parts, name) for name in runs if "act()" in name}


def gpu_steps(policy: RT1, batches: tuple[int, ...] = BATCHES, graphs: bool = True) -> tuple[Runs, Costs]:
    """One control step of N tables at once on a GPU: fp32, tf32, bf16, compiled, and replayed as a CUDA graph.

    Here the pictures are already on the GPU: what is timed is the network, not the bus.
    """
    fast32, fast16 = faster(policy, "fp32"), faster(policy, "bf16")
    runs, costs = {}, {}
    for tables in batches:
        plain, half = whole_step(policy, tables), whole_step(fast16, tables)
        made = {
            "fp32": plain,
            "tf32": with_tf32(plain),
            "faster fp32": whole_step(fast32, tables),
            "faster bf16": half,
            "faster bf16, compiled": compiled(whole_step(fast16, tables)),
        }
        if graphs:
            made["faster bf16, CUDA graph"] = as_graph(half)
        runs |= {f"step of {tables} tables, {name}": run for name, run in made.items()}
    parts = ("encoder", "token_learner", "decoder")
    for name in runs:  # the weights are read once for all tables: only the single table's cost is exact
        if "of 1 tables" in name:
            costs[name] = part_cost(policy, parts, name)
    return runs, costs


def whole_step(policy: RT1, tables: int) -> Callable[[], Tensor]:
    """New frames to logits with a full memory, on fixed tensors, without leaving the device."""
    config, device = policy.config, policy.device
    frames = torch.rand(tables, 3, config.image_height, config.image_width, device=device)
    words = torch.randn(tables, config.instruction_dim, device=device)
    old = torch.randn(tables, config.history - 1, config.image_tokens, config.trunk.out_channels, device=device)

    def step() -> Tensor:
        with torch.no_grad():  # not inference_mode: torch.compile cannot trace through it here
            new = policy.image_tokens(frames, words)[:, None]
            return policy.decoder(torch.cat((old, new), 1), last_only=True)

    return step


def as_graph(step: Callable[[], Tensor]) -> Callable[[], None]:
    """The same kernels, recorded once and started by one call; recorded at the first call."""
    recorded: list[torch.cuda.CUDAGraph] = []

    def replay() -> None:
        if not recorded:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            recorded.append(graph)
        recorded[0].replay()

    return replay


def compiled(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """torch.compile at the first call (a minute), then its code."""
    return torch.compile(step)


def with_tf32(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """float32 numbers whose products keep 10 bits: the setting is put back after each call."""

    def run() -> Tensor:
        with tf32():
            return step()

    return run


@contextmanager
def tf32():
    """TensorFloat-32 for matrix products and convolutions, inside."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def folded(plain: FilmEfficientNet) -> FilmEfficientNet:
    """A copy with BatchNorm inside the convolutions, and nothing else changed."""
    net = copy.deepcopy(plain)
    pairs = [(net, "stem"), (net, "top")]
    pairs += [(block, name) for block in net.blocks.values() for name in ("expand", "depthwise", "project")]
    for owner, name in pairs:
        conv = getattr(owner, name)
        if conv is not None:
            weight, bias = fold(conv, getattr(owner, f"{name}_norm"))
            conv.weight, conv.bias = (nn.Parameter(x, requires_grad=False) for x in (weight, bias))
            setattr(owner, f"{name}_norm", nn.Identity())
    return net


def acting(policy: RT1, observation: dict[str, Any]) -> Callable[[], Any]:
    """act() of a policy in the middle of an episode."""
    policy.reset()
    for _ in range(policy.config.history):
        policy.act(observation)
    return lambda: policy.act(observation)


def quietly(run: Callable[..., Any], *inputs: Any, **options: Any) -> Callable[[], Any]:
    """The call without gradients."""

    def call() -> Any:
        with torch.inference_mode():
            return run(*inputs, **options)

    return call


def part_cost(policy: RT1, parts: tuple[str, ...], name: str) -> tuple[Cost, str]:
    """Counted cost of some parts; the precision is in the callable's name."""
    precision, number = ("bf16", 2) if "bf16" in name else ("fp32", 4)
    costs = policy.cost(weight_bytes=number, activation_bytes=number)
    total = costs[parts[0]]
    for part in parts[1:]:
        total = total + costs[part]
    return total, precision

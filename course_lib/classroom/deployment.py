"""Deployment's two tables: what rounding and pruning do to the trained policies, and the speed lab on one machine.

day93_compression.csv: bytes, logits, tokens, success, time; day93_lab.csv: the lab's rows, to hold another machine's beside.

Every policy is compressed in every way, reads the same recorded steps and drives in the same scenes; the calls that are
timed take turns. ``python -m course_lib.classroom.recipes compression`` resumes after an interruption, and adds a policy as
soon as its checkpoint lies in data/.
"""

import copy
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import course_lib
import course_lib.world
from course_lib.classroom.speed_lab import ANSWER, groups
from course_lib.datasets import Pairs, record
from course_lib.learn import bytes_of, compress, load_checkpoint
from course_lib.learn.distill import SpeaksActions
from course_lib.learn.sweep import Run, sweep
from course_lib.measure import rollout, wilson
from course_lib.measure.compare import difference_interval, mcnemar
from course_lib.measure.lab import chosen, lab_table, time_groups
from course_lib.measure.speed import WARMUP, Row, benchmark, best_of, probe, save
from course_lib.rt1 import RT1, InstructionEncoder
from course_lib.rt2 import RT2
from course_lib.world.splits import training_tasks

DATA = Path(course_lib.__file__).parent.parent / "data"
TABLE, LAB = "day93_compression.csv", "day93_lab.csv"
SMALL = ("RT-1", "RT-2 tiny", "compiled RT-1 tiny", "compiled RT-2 tiny")  # of the lab: 3 billion weights take a CPU an hour
WORK = "course_lib.classroom.deployment:measure"
POLICIES: Mapping[str, tuple[str, type[nn.Module], str]] = {  # name: file, class, which half of Pairs it reads
    "RT-1 tiny": ("rt1_tiny.safetensors", RT1, "student"),
    "RT-2 tiny": ("rt2_tiny.safetensors", RT2, "teacher"),
}
WAYS: tuple[tuple[str, float | None], ...] = (  # method, and the part that is pruned
    ("float32", None), ("int8", None), ("int8 dynamic", None), ("int4", None),
    ("magnitude", 0.2), ("magnitude", 0.5), ("2:4", None),
)  # fmt: skip
EPISODES, TABLES = 400, 50  # test scenes, as many at a time
STEPS_READ = 60  # windows of six steps whose logits are compared
NUMBERS = (
    "bytes", "smaller", "max_logit_error", "mean_logit_error", "tokens", "same_tokens", "n", "successes", "success", "low",
    "high", "difference", "difference_low", "difference_high", "p", "ms", "ms_low", "ms_high", "faster",
)  # fmt: skip


def runs(policies: Mapping[str, Any] = POLICIES, folder: Path = DATA) -> list[Run]:
    """One run for each way of each policy that is there; float32 is the policy itself."""
    there = [name for name, (file, *_) in policies.items() if (folder / file).exists()]
    return [{"policy": name, "method": how, "part": part, "n": EPISODES} for name in there for how, part in WAYS]


def opened(run: Run) -> nn.Module:
    """The policy of a run, compressed as it says."""
    file, kind, _ = POLICIES[run["policy"]]
    policy = load_checkpoint(DATA / file, kind)
    if run["method"] == "float32":
        return policy
    return compress(policy, run["method"], **({"part": run["part"]} if run["part"] else {}))


def test_steps(batches: int = STEPS_READ // 4) -> Iterator[dict[str, Any]]:
    """Recorded steps of episodes that no training saw, in both policies' formats."""
    data = record(200, training_tasks(), seed=0)
    pairs = Pairs(data, InstructionEncoder()(data.sentences()), batch=4, seed=1)
    return (pairs(step) for step in range(batches))


def measure(run: Run, report: Callable[[float], Any] = lambda part: None) -> dict[str, Any]:
    """A row: bytes, distance from the policy itself in logits and tokens, and which of the test scenes it solves."""
    small, plain = opened(run), opened(run | {"method": "float32"})
    half = POLICIES[run["policy"]][2]
    row = {"bytes": bytes_of(small), **gaps(plain, small, (batch[half] for batch in test_steps()))}
    report(0.1)
    env = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=TABLES, tasks=training_tasks())
    outcomes = rollout(small, env, run["n"], seed=0, progress=lambda done, n: report(0.1 + 0.9 * done / n))
    return row | {"won": "".join("01"[int(won)] for won in outcomes.success)}


def gaps(plain: SpeaksActions, small: SpeaksActions, batches: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
    """How far ``small``'s logits are from ``plain``'s, and how many of its likeliest tokens are the same.

    Bins that a number does not have (-inf in both) are not counted.
    """
    far, count, total, same, tokens = 0.0, 0, 0.0, 0, 0
    for batch in batches:
        with torch.inference_mode():
            wanted, got = (policy.action_logits(batch)[0] for policy in (plain, small))
        error = (got - wanted)[wanted.isfinite()].abs()
        agree = wanted.argmax(-1) == got.argmax(-1)
        far, total, count = max(far, float(error.max())), total + float(error.sum()), count + error.numel()
        same, tokens = same + int(agree.sum()), tokens + agree.numel()
    return {"max_logit_error": far, "mean_logit_error": total / count, "tokens": tokens, "same_tokens": same / tokens}


def times(policy: str, rounds: int = 30) -> dict[tuple[str, float | None], Row]:
    """Milliseconds of act() for one table, all ways in turns."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = {"image": image, "instruction": "pick apple"}
    small = {(how, part): opened({"policy": policy, "method": how, "part": part}) for how, part in WAYS}
    for one in small.values():
        for _ in range(6):  # the memory fills
            one.act(seen)
    rows = benchmark({str(way): lambda one=one: one.act(copy.copy(seen)) for way, one in small.items()}, rounds=rounds)
    return dict(zip(small, rows, strict=True))


def compression_table(rows: list[Run], timed: Mapping[str, Mapping[tuple[str, float | None], Row]]) -> str:
    """CSV: one line per policy and way. ``difference`` is success minus the policy's own in the same scenes, with p."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["policy", "method", "part", *NUMBERS])
    plain = {row["run"]["policy"]: row["result"] for row in rows if row["run"]["method"] == "float32"}
    for row in rows:
        run, got = row["run"], row["result"]
        own, time = plain[run["policy"]], timed[run["policy"]][run["method"], run["part"]]
        first = timed[run["policy"]]["float32", None].median_ms
        won, rate = got["won"].count("1"), wilson(got["won"].count("1"), len(got["won"]))
        less, more = (
            sum(pair == want for pair in zip(own["won"], got["won"], strict=True)) for want in (("1", "0"), ("0", "1"))
        )
        numbers = [
            got["bytes"], own["bytes"] / got["bytes"], got["max_logit_error"], got["mean_logit_error"], got["tokens"],
            got["same_tokens"], rate.n, won, *rate[:3], (more - less) / rate.n, *difference_interval(less, more, rate.n),
            mcnemar(less, more), time.median_ms, time.low_ms, time.high_ms, first / time.median_ms,
        ]  # fmt: skip
        part = "" if run["part"] is None else run["part"]
        table.writerow([run["policy"], run["method"], part, *(f"{x:.4g}" if isinstance(x, float) else x for x in numbers)])
    return out.getvalue()


def make_compression(folder: Path) -> dict[str, Any]:
    """The table, from rows in ``folder`` and a new timing (the recipe writes it)."""
    rows = sweep(WORK, runs(), folder / "day93_compression", workers=1)
    names = list(dict.fromkeys(row["run"]["policy"] for row in rows))
    table = compression_table(rows, {name: times(name) for name in names})
    print(table)
    return {"seed": 0, "result": f"{len(WAYS)} ways of {', '.join(names)}, {EPISODES} scenes each", "files": [TABLE],
            "table": table}  # fmt: skip


def make_lab(folder: Path = DATA, names: Sequence[str] = SMALL, rounds: int = 10) -> dict[str, Any]:
    """The lab on this machine's CPU: groups whose names begin with one of ``names``. Nothing else should run meanwhile."""
    machine = best_of(*(probe("cpu") for _ in range(3)))
    todo, left_out = chosen(groups("cpu"), names)
    with tqdm(total=len(todo) * (rounds + WARMUP)) as bar:
        how = {"device": "cpu", "rounds": rounds, "machine": machine}
        rows = time_groups(todo, **how, progress=lambda name, *_: (bar.set_postfix_str(name), bar.update())) + left_out
    print(lab_table(rows))
    save(rows, machine, folder / LAB)
    first = "RT-2 tiny fp32, 1 at once: "
    passes = {row.name.removeprefix(first): row.times_first for row in rows if row.name.startswith(first)}
    said = ", ".join(f"{name} {times:.1f}" for name, times in passes.items() if times and str(ANSWER) in name)
    flops = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in machine.flops.items())
    result = f"in passes of RT-2 tiny: {said}; probe: {flops} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s"
    return {"seed": 0, "result": result, "files": [LAB]}

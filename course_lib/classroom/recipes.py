"""How each file in data/ was made: one command per file, and its row in the manifest.

    python -m course_lib.classroom.recipes                    what there is
    python -m course_lib.classroom.recipes rt1_tiny           rebuild it (resumes after an interruption)

A row says which command, at which commit, with which seed, on which hardware, in how many seconds, with which result
and sha256; ``learn.checkpoints`` refuses a file that does not match its row.
"""

import argparse
import csv
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import course_lib
import course_lib.world
from course_lib.classroom import deployment, web_training, world_card
from course_lib.datasets import Windows, record
from course_lib.learn import Schedule, behaviour_clone, save_checkpoint
from course_lib.learn.checkpoints import MANIFEST, sha256
from course_lib.measure import Outcomes, rollout, success_rate, wilson
from course_lib.measure.outcomes import FAILURES
from course_lib.measure.speed import benchmark, best_of, probe, save, table
from course_lib.rt1 import RT1, RT1Config
from course_lib.rt1.instruction import InstructionEncoder, write_table
from course_lib.rt1.levers import levers
from course_lib.world import known_instructions
from course_lib.world.objects import NAMES
from course_lib.world.splits import NAMES_OF_SPLITS, split, training_tasks
from course_lib.world.tasks import SKILLS

DATA = Path(course_lib.__file__).parent.parent / "data"
RUNS = DATA.parent / "runs"  # unfinished work; not committed

RT1_TINY_EPISODES = 40_000
RT1_TINY_SCHEDULE = Schedule(steps=11_000, lr=2e-3)
RT1_TINY_BATCH = 24  # windows of 6 frames
TRAINING_SEED, TEST_SEED = 1_000_000, 0  # episode seeds: tests use 0 ... 999,999, training data begins above


def make_instructions() -> dict[str, Any]:
    """instructions.safetensors: MiniLM's embedding of every sentence of the robot's tasks and of all test sets."""
    sentences = list(dict.fromkeys([*known_instructions(), *(s for name in NAMES_OF_SPLITS for s in split(name).sentences)]))
    write_table(sentences, DATA / "instructions.safetensors")
    return {"seed": None, "result": f"{len(sentences)} sentences", "files": ["instructions.safetensors"]}


def rt1_tiny_batches(episodes: int = RT1_TINY_EPISODES, seed: int = TRAINING_SEED) -> Windows:
    """The training batches of ``rt1_tiny``: recorded expert episodes as windows of six frames.

    Held-out combinations ("move apple near banana") are not among them: see ``world.splits``.
    """
    data = record(episodes, training_tasks(), seed)
    return Windows(data, InstructionEncoder()(data.sentences()), batch=RT1_TINY_BATCH)


def make_rt1_tiny() -> dict[str, Any]:
    """rt1_tiny.safetensors: RT1Config.tiny() cloned from the experts of all eight skills; and its success per skill."""
    torch.manual_seed(0)
    policy = RT1(RT1Config.tiny())
    env = gymnasium.make_vec("course_lib/Tabletop-v0", num_envs=50, tasks=training_tasks())

    def look(step: int, loss: float) -> None:
        if (step + 1) % 1000 == 0:
            policy.eval()
            rate = success_rate(rollout(policy, env, 200, seed=500_000))
            policy.train()
            print(f"step {step + 1}: loss {loss:.3f}, success {rate}", flush=True)

    state = RUNS / "rt1_tiny.state"
    history = behaviour_clone(policy, rt1_tiny_batches(), RT1_TINY_SCHEDULE, resume=state, on_step=look)
    if not history.finished:
        raise SystemExit("Interrupted: run the same command again to go on.")
    outcomes = rollout(policy, env, 2000, seed=TEST_SEED)
    rate = success_rate(outcomes)
    save_checkpoint(policy, DATA / "rt1_tiny.safetensors", success=str(rate), steps=RT1_TINY_SCHEDULE.steps)
    write_beside(DATA / "rt1_tiny_success.csv", success_table(outcomes))
    state.unlink(missing_ok=True)
    files = ["rt1_tiny.safetensors", "rt1_tiny_success.csv"]
    return {"seed": 0, "result": f"success on eight skills {rate}", "files": files}


def success_table(outcomes: Outcomes) -> str:
    """CSV: of each skill, each object and all: episodes, successes, rate, 95% interval, and how the others failed."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["group", "name", "n", "successes", "rate", "low", "high", *(f.replace(" ", "_") for f in FAILURES)])
    groups = [("skill", name, outcomes.skill == i) for i, name in enumerate(SKILLS)]
    groups += [("object", name, outcomes.target == kind) for kind, name in enumerate(NAMES)]
    for group, name, rows in [*groups, ("all", "all", np.ones(len(outcomes), bool))]:
        some = outcomes.where(rows)
        if not len(some):
            continue
        rate, why = wilson(int(some.success.sum()), len(some)), some.failures()
        numbers = [f"{x:.4f}" for x in rate[:3]]
        table.writerow([group, name, rate.n, int(some.success.sum()), *numbers, *(why.get(f, 0) for f in FAILURES)])
    return out.getvalue()


def make_rt1_speed(rounds: int = 25) -> dict[str, Any]:
    """rt1_speed_cpu.csv: what a control step of RT-1 (the paper's size) costs on a CPU, and every trick that was tried."""
    runs, costs = levers("paper", "cpu")
    machine = best_of(*(probe("cpu") for _ in range(3)))
    rows = benchmark(runs, costs, rounds=rounds, machine=machine)
    print(table(rows))
    save(rows, machine, DATA / "rt1_speed_cpu.csv")
    ms = {row.name: row.median_ms for row in rows}
    fast, release = ms["step, faster(bf16).act()"], ms["step, the release's way: 1 frame, 11 passes"]
    result = (
        f"one control step {fast:.0f} ms: {fast / ms['encoder, plain']:.2f} of a plain encoder pass, "
        f"{release / fast:.1f} times less than the release's way; probe: {machine.flops['fp32'] / 1e9:.0f} and "
        f"{machine.flops['bf16'] / 1e9:.0f} GFLOP/s (fp32, bf16), {machine.bandwidth / 1e9:.0f} GB/s"
    )
    return {"seed": 0, "result": result, "files": ["rt1_speed_cpu.csv"]}


def make_world() -> dict[str, Any]:
    """world_*: the experts' success, the contact sheet of the eight skills, and which data knows which concept."""
    write_beside(DATA / "world_experts.csv", world_card.expert_table())
    write_beside(DATA / "concepts.csv", world_card.concepts_table())
    beside = DATA / ".world_skills.part.png"
    world_card.skill_sheet().savefig(beside, dpi=100, metadata={"Software": None})
    os.replace(beside, DATA / "world_skills.png")
    files = ["world_experts.csv", "concepts.csv", "world_skills.png"]
    return {"seed": 0, "result": "the scripted experts and the concepts of the data", "files": files}


def make_world_speed() -> dict[str, Any]:
    """world_speed_cpu.csv: frames, steps and episodes per second on two cores."""
    table = world_card.speed_table("cpu")
    write_beside(DATA / "world_speed_cpu.csv", table)
    print(table)
    return {"seed": 0, "result": table.splitlines()[1], "files": ["world_speed_cpu.csv"]}


def make_rt2_web() -> dict[str, Any]:
    """rt2_tiny_web.safetensors: the tiny PaliGemma taught by questions about pictures; and how many it answers."""
    made = web_training.make_rt2_tiny_web(DATA, RUNS)
    write_beside(DATA / web_training.ANSWERS, made.pop("table"))
    return made


def make_compression() -> dict[str, Any]:
    """day93_compression.csv: bytes, logits, tokens, success and time of the policies in 8 and 4 bits, and pruned."""
    made = deployment.make_compression(RUNS)
    write_beside(DATA / deployment.TABLE, made.pop("table"))
    return made


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {
    "compression": make_compression,
    "instructions": make_instructions,
    "lab": deployment.make_lab,
    "rt1_tiny": make_rt1_tiny,
    "rt1_speed": make_rt1_speed,
    "rt2_web": make_rt2_web,
    "world": make_world,
    "world_speed": make_world_speed,
}


def write_beside(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text)
    os.replace(beside, path)


def hardware() -> str:
    """Device, cores and threads, for the manifest."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def add_rows(name: str, made: dict[str, Any], commit: str, seconds: float | int) -> None:
    """Put the recipe's files into data/MANIFEST.json. ``made`` may name another ``command`` and ``hardware``."""
    path = DATA / MANIFEST
    rows = json.loads(path.read_text()) if path.exists() else {}
    for file in made["files"]:
        rows[file] = {
            "command": made.get("command", f"python -m course_lib.classroom.recipes {name}"),
            "commit": commit,
            "date": time.strftime("%Y-%m-%d"),
            "hardware": made.get("hardware") or hardware(),
            "result": made["result"],
            "seconds": round(seconds),
            "seed": made["seed"],
            "sha256": sha256(DATA / file),
            "torch": torch.__version__,
        }
    write_beside(path, json.dumps(rows, indent=1, sort_keys=True) + "\n")


def current_commit() -> str:
    """The commit the code is at, with ``+`` if course_lib has uncommitted changes; "unknown" outside git."""
    git = ["git", "-C", str(DATA.parent)]

    def ask(*words: str) -> str:
        return subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit, dirty = ask("rev-parse", "--short", "HEAD"), ask("status", "--porcelain", "course_lib")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if dirty else "")


def main(arguments: list[str] | None = None) -> int:
    """Run the named recipes, or list them."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.classroom.recipes", description="Rebuild files of data/.")
    parser.add_argument("recipe", nargs="*", help=f"which files to rebuild: {', '.join(RECIPES)}")
    names = parser.parse_args(arguments).recipe
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"there is no recipe {unknown[0]!r}; there are {', '.join(RECIPES)}")
    if not names:
        print("\n".join(f"{name:<14} {make.__doc__}" for name, make in RECIPES.items()))
    for name in names:
        commit, began = current_commit(), time.perf_counter()
        made = RECIPES[name]()
        add_rows(name, made, commit, time.perf_counter() - began)
        print(f"{name}: {made['result']} ({time.perf_counter() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Google's released RT-1 weights into ours, and a command that converts a downloaded checkpoint.

    python -m course_lib.rt1.official CHECKPOINT_FOLDER OUT.safetensors

``CHECKPOINT_FOLDER`` is a model of ``trained_checkpoints/`` in google-research/robotics_transformer (rt1main,
rt1simreal, rt1multirobot): a SavedModel with its ``variables/``, or a folder with ``ckpt-....index``. Every one of the
732 actor variables (760 for multirobot) has its place, with nothing left over on either side; the rest of a training
checkpoint (1146 optimiser slots, counters) is recognised and skipped. No TensorFlow is needed.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from course_lib.rt1.config import RT1Config
from course_lib.rt1.official_names import NOT_THE_ACTOR, official_variables, plain_names, short
from course_lib.rt1.official_reader import read_checkpoint
from course_lib.rt1.policy import RT1

OURS_ALONE = "num_batches_tracked"  # torch's BatchNorm counts its updates; Keras does not. It stays 0 and is unused.
ROWS_SHOWN = 40


def from_official(variables: Mapping[str, np.ndarray], config: RT1Config | None = None) -> RT1:
    """RT-1 with Google's weights, in evaluation mode.

    ``variables``: arrays by any of the release's three spellings (see ``official_names``). ``config``: None takes
    the released shape that fits, ``RT1Config.paper()`` or ``.multirobot()``. The action embedding is loaded although it
    never reaches the output: RT-1's code multiplies it by zero (see ``RT1.action_embedding``).
    Raises ValueError with a table of names and shapes when anything is missing, left over or of another shape.
    """
    config = config or released_config(variables)
    policy = RT1(config)
    misfits = misfit_table(variables, policy)
    if misfits:
        raise ValueError(_explain(misfits, len(variables)))
    named, state = by_plain_name(variables, config), policy.state_dict()
    for row in official_variables(config):
        ours = torch.from_numpy(np.array(row.layout.ours(named[row.name]), order="C"))  # a copy: theirs stays theirs
        state[row.ours] = ours.to(state[row.ours].dtype)
    policy.load_state_dict(state)
    return policy.eval()


def released_config(variables: Mapping[str, np.ndarray]) -> RT1Config:
    """``RT1Config.multirobot()`` if the decoder's first matrix says so, else ``.paper()`` (rt1main, rt1simreal)."""
    config = RT1Config.multirobot()
    first = by_plain_name(variables, config).get("transformer/token_embedding/kernel", ())
    return config if np.shape(first) == (512, config.width) else RT1Config.paper()


def by_plain_name(variables: Mapping[str, np.ndarray], config: RT1Config) -> dict[str, np.ndarray]:
    """The actor's arrays by plain name; unknown names keep their own; what is not the actor's is skipped."""
    names = plain_names(config)
    keys = (key for key in variables if not NOT_THE_ACTOR.match(key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")))
    return {names.get(short(key), key): variables[key] for key in keys}


def misfit_table(variables: Mapping[str, np.ndarray], policy: RT1) -> list[tuple[str, str, str]]:
    """What does not fit, as rows (name, expected, got); empty when every variable has its place on both sides."""
    expected = expected_shapes(policy)
    got = {name: np.shape(array) for name, array in by_plain_name(variables, policy.config).items()}
    rows = [
        (name, str(expected.get(name, "-")), str(got.get(name, "-"))) for name in (*expected, *(set(got) - set(expected)))
    ]
    covered = {row.ours for row in official_variables(policy.config)}
    alone = [key for key in policy.state_dict() if key not in covered and not key.endswith(OURS_ALONE)]
    return [row for row in rows if row[1] != row[2]] + [(key, "-", "(only in our model)") for key in alone]


def expected_shapes(policy: RT1) -> dict[str, tuple[int, ...]]:
    """TensorFlow's shape of every variable, by plain name."""
    ours, heads = policy.state_dict(), policy.config.heads
    rows = official_variables(policy.config)
    return {row.name: tuple(row.layout.theirs(tuple(ours[row.ours].shape), heads)) for row in rows if row.ours in ours}


def _explain(misfits: list[tuple[str, str, str]], count: int) -> str:
    width = max(len(name) for name, _, _ in misfits[:ROWS_SHOWN])
    lines = [f"{name:{width}}  {expected:>20}  {got:>20}" for name, expected, got in misfits[:ROWS_SHOWN]]
    more = [f"... and {len(misfits) - ROWS_SHOWN} more"] if len(misfits) > ROWS_SHOWN else []
    return "\n".join(
        [
            f"These {count} variables do not fit RT-1: {len(misfits)} rows differ (expected and got are shapes, "
            "- is absent). Try an actor of rt1main, rt1simreal or rt1multirobot, or pass the config that fits.",
            f"{'name':{width}}  {'expected':>20}  {'got':>20}",
            *lines,
            *more,
        ]
    )


def save(policy: RT1, path: str | Path) -> None:
    """A checkpoint as ``learn.checkpoints`` writes it (weights, and the config in the header), renamed when whole."""
    path = Path(path)
    header = {"format": "course_lib checkpoint 1", "model": "RT1", "notes": "{}"}
    header["config"] = json.dumps(policy.config.to_dict(), sort_keys=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_file({key: value.contiguous() for key, value in policy.state_dict().items()}, aside, metadata=header)
    os.replace(aside, path)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.rt1.official", description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="the downloaded checkpoint: a SavedModel or a folder with ckpt-....index")
    parser.add_argument("out", help="where to write, OUT.safetensors")
    options = parser.parse_args(arguments)
    try:
        policy = from_official(read_checkpoint(options.folder))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    save(policy, options.out)
    trainable = sum(p.numel() for p in policy.parameters())
    print(f"{options.out}: {trainable:,} parameters, of which the action embedding's never reach the output.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Rows of the experiments: a file per run while they are made, two kinds of files in data/ when they are kept.

``data/day92_runs.jsonl`` holds every finished run as one line, nothing left out: a later session starts from it and does
only what is missing. Each experiment's CSV is a view of it: settings and numbers, one line per run.
"""

import csv
import io
import json
from typing import Any

from course_lib.classroom import recipes
from course_lib.learn.checkpoints import MANIFEST
from course_lib.learn.sweep import Run, file_name, finished, write_row

STORE = "day92_runs.jsonl"
WORDY = ("each", "skills", "failures")  # of a test's summary: too long for a table


def folder():
    """The rows of this checkout, one file each; not committed."""
    return recipes.RUNS / "day92"


def stored() -> list[Run]:
    """The rows that were kept in data/."""
    path = recipes.DATA / STORE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def restore() -> int:
    """Put kept rows where a sweep looks for them; returns how many there are."""
    folder().mkdir(parents=True, exist_ok=True)
    kept = stored()
    for row in kept:
        if not (folder() / file_name(row["run"])).exists():
            write_row(row, folder())
    return len(kept)


def rows_of(runs: list[Run]) -> list[Run]:
    """The kept rows of these runs, in their order; those that are not done yet are missing."""
    kept = {file_name(row["run"]): row for row in stored()}
    return [kept[name] for name in map(file_name, runs) if name in kept]


def keep(experiments: dict[str, Any]) -> dict[str, str]:
    """Write the finished rows of all ``experiments`` (name -> module) into data/, with their rows of the manifest.

    Returns for each experiment how far it is, in words.
    """
    everything: dict[str, Run] = {file_name(row["run"]): row for row in stored()}
    found = {name: finished(module.runs(), folder()) for name, module in experiments.items()}
    everything |= {file_name(row["run"]): row for rows in found.values() for row in rows}
    text = "".join(json.dumps(everything[name], sort_keys=True) + "\n" for name in sorted(everything))
    said = {name: f"{len(rows)} of {len(experiments[name].runs())} runs done" for name, rows in found.items()}
    if everything:
        recipes.write_beside(recipes.DATA / STORE, text)
        _describe(STORE, " ".join(experiments), list(everything.values()), f"{len(everything)} runs of day 92's experiments")
    for name, rows in found.items():
        if rows:
            recipes.write_beside(recipes.DATA / f"day92_{name}.csv", table(rows))
            _describe(f"day92_{name}.csv", name, rows, f"{experiments[name].TITLE}: {said[name]}")
    return said


def _describe(file: str, names: str, rows: list[Run], result: str) -> None:
    """The file's row of the manifest; commit, hardware and seconds are those of the runs."""
    command = f"python -m course_lib.classroom.experiments {names}"
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    made = {"seed": sorted({row["run"]["seed"] for row in rows}), "result": result, "files": [file]}
    about = {"command": command, "hardware": "; ".join(sorted({row["hardware"] for row in rows}))}
    recipes.add_rows(names, made | about, commits, sum(row["seconds"] for row in rows))


def table(rows: list[Run]) -> str:
    """CSV: one line per run, a column for each setting and each number (``seen.successes``, ``gaze.on_target``)."""
    flat = [{"commit": row["commit"], "seconds": row["seconds"]} | row["run"] | _flat(row["result"]) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    columns = [*(c for c in columns if c not in ("commit", "seconds")), "seconds", "commit"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _flat(result: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested numbers with dotted names; a [mean, standard error] becomes two columns."""
    out: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict) and name not in WORDY:
            out |= _flat(value, f"{before}{name}.")
        elif isinstance(value, list):
            out |= {f"{before}{name}": value[0], f"{before}{name}.se": value[1]}
        elif name == "failures":
            out[f"{before}wrong_object"] = value.get("wrong object", 0)
        elif name not in WORDY:
            out[f"{before}{name}"] = value
    return out


def has_manifest_row(file: str) -> bool:
    """Whether data/ holds this file with its row."""
    path = recipes.DATA / MANIFEST
    return path.exists() and file in json.loads(path.read_text())

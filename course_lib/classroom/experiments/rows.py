"""Rows of the experiments: a file per run while they are made, two kinds of files in data/ when they are kept.

``data/day92_runs.jsonl`` (and day 93's) holds every finished run as one line, nothing left out: a later session starts from
it and does only what is missing. Each experiment's CSV is a view of it: settings and numbers, one line per run.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from course_lib.classroom import recipes
from course_lib.learn.checkpoints import MANIFEST
from course_lib.learn.sweep import Run, file_name, finished, write_row

DAYS = ("day92", "day93")
WORDY = ("each", "skills", "failures")  # of a test's summary: too long for a table


def day_of(experiment: Any) -> str:
    """The day that an experiment (a module) belongs to: its ``DAY``, or day92."""
    return getattr(experiment, "DAY", DAYS[0])


def store(day: str = DAYS[0]) -> str:
    """The file of a day's rows in data/."""
    return f"{day}_runs.jsonl"


def folder(day: str = DAYS[0]) -> Path:
    """The rows of this checkout, one file each; not committed."""
    return recipes.RUNS / day


def stored(day: str = DAYS[0]) -> list[Run]:
    """The rows that were kept in data/."""
    path = recipes.DATA / store(day)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def restore() -> int:
    """Put kept rows where a sweep looks for them; returns how many there are."""
    kept = {day: stored(day) for day in DAYS}
    for day, rows in kept.items():
        folder(day).mkdir(parents=True, exist_ok=True)
        for row in rows:
            if not (folder(day) / file_name(row["run"])).exists():
                write_row(row, folder(day))
    return sum(map(len, kept.values()))


def rows_of(runs: list[Run]) -> list[Run]:
    """The kept rows of these runs, in their order; those that are not done yet are missing."""
    kept = {file_name(row["run"]): row for day in DAYS for row in stored(day)}
    return [kept[name] for name in map(file_name, runs) if name in kept]


def keep(experiments: dict[str, Any]) -> dict[str, str]:
    """Write the finished rows of all ``experiments`` (name -> module) into data/, with their rows of the manifest.

    Returns for each experiment how far it is, in words.
    """
    said = {}
    for day in DAYS:
        some = {name: module for name, module in experiments.items() if day_of(module) == day}
        found = {name: finished(module.runs(), folder(day)) for name, module in some.items()}
        said |= {name: f"{len(rows)} of {len(some[name].runs())} runs done" for name, rows in found.items()}
        _keep_all(day, found)
        for name, rows in found.items():
            if rows:
                recipes.write_beside(recipes.DATA / f"{day}_{name}.csv", table(rows))
                _describe(f"{day}_{name}.csv", name, rows, f"{some[name].TITLE}: {said[name]}")
    return said


def _keep_all(day: str, found: dict[str, list[Run]]) -> None:
    """Every row of a day, the ones kept before included."""
    everything = {file_name(row["run"]): row for row in stored(day)}
    everything |= {file_name(row["run"]): row for rows in found.values() for row in rows}
    if everything:
        text = "".join(json.dumps(everything[name], sort_keys=True) + "\n" for name in sorted(everything))
        recipes.write_beside(recipes.DATA / store(day), text)
        said = f"{len(everything)} runs of {day.replace('day', 'day ')}'s experiments"
        _describe(store(day), " ".join(found), list(everything.values()), said)


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

"""Episodes on disk: shards of states, pictures if asked for, and a readable header with schema version and checksums.

    folder/episodes.json                  what this is: schema, tasks, objects, one row per shard with its sha256
    folder/states-00000.safetensors       a tape of some thousand episodes, their actions and tasks
    folder/pictures-00000.safetensors     the same frames as uint8 pictures (only if asked for)

Nothing is unpickled. A file appears whole or not at all (written beside, then renamed), and the header names a shard only
after it is on the disk: so a recording that was interrupted goes on where it stopped and ends in the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from course_lib.datasets.episodes import Episodes, joined, record
from course_lib.datasets.footage import Footage, Reel
from course_lib.datasets.tape import FIELDS, ONCE, StateTape
from course_lib.world.objects import NAMES
from course_lib.world.splits import TRAINING_TASKS
from course_lib.world.tabletop import SPACE
from course_lib.world.tasks import Task

FORMAT, SCHEMA = "course_lib episodes", 1
HEADER = "episodes.json"
SHARD = 2048  # episodes: about 5 MB of states, 250 MB of 64-pixel pictures
_NAMES = {*(f"once.{f}" if f in ONCE else f"each.{f}" for f in FIELDS), "actions", "length", "task"}


def save(episodes: Episodes, folder: str | Path, *, shard: int = SHARD, pictures: int | None = None) -> Path:
    """Write episodes into a new folder; ``pictures``: also draw every frame, that many pixels wide.

    Raises ValueError if the folder already holds a dataset.
    """
    folder = Path(folder)
    if (folder / HEADER).exists():
        raise ValueError(f"{folder} already holds a dataset. Choose another folder, or delete that one first.")
    header = _new_header(episodes.tasks, pictures)
    for first in range(0, len(episodes), shard):
        part = episodes.take(slice(first, first + shard))
        header["shards"].append(_write_shard(part, folder, len(header["shards"]), pictures))
    _write_header(folder, header | {"complete": True})
    return folder


def record_to(
    folder: str | Path,
    n_episodes: int,
    tasks: tuple[Task, ...] = TRAINING_TASKS,
    seed: int = 0,
    *,
    shard: int = SHARD,
    pictures: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Path:
    """``record`` straight into a folder, ``shard`` episodes at a time; call it again to go on after an interruption.

    The files are the same, byte for byte, however often it was interrupted, and hold the same episodes as
    ``record(n_episodes, tasks, seed, **options)``. Raises ValueError if the folder holds another recording.
    """
    folder = Path(folder)
    named = {k: f"{v.__module__}.{v.__qualname__}" if callable(v) else v for k, v in sorted(options.items())}
    asked = {"episodes": n_episodes, "seed": seed, "shard": shard, "options": named}
    header = _new_header(tasks, pictures) | {"recording": asked}
    if (folder / HEADER).exists():
        header = _resumed(folder, header)
    done = sum(row["episodes"] for row in header["shards"])
    with tqdm(total=n_episodes, initial=done, disable=not progress, desc="recording", unit="episode") as bar:
        while done < n_episodes:
            start = header["shards"][-1]["next_seed"] if header["shards"] else seed
            part = record(min(shard, n_episodes - done), tasks, start, **options)
            row = _write_shard(part, folder, len(header["shards"]), pictures)
            header["shards"].append(row | {"next_seed": int(part.states[-1:].seed) + 1})
            done += len(part)
            _write_header(folder, header | {"complete": done == n_episodes})
            bar.update(len(part))
    return folder


def load(folder: str | Path, *, partial: bool = False) -> Episodes:
    """The episodes of a folder, every file compared with its checksum.

    Raises ValueError for a folder that is no dataset, is truncated or changed, was made by a newer course or for other
    objects, or whose recording is not finished (unless ``partial``).
    """
    folder = Path(folder)
    header = _read_header(folder, partial)
    tasks = tuple(Task(**task) for task in header["tasks"])
    return joined([_read_shard(folder, row, tasks) for row in header["shards"]], tasks)


def load_footage(folder: str | Path, *, partial: bool = False, check: bool = False) -> Footage:
    """The same episodes as stored pictures, which stay on the disk: only the frames of a batch are ever read.

    ``check``: compare the pictures, too, with their checksums (reads them all). Raises ValueError as ``load``, and if
    the dataset was written without pictures.
    """
    folder = Path(folder)
    header = _read_header(folder, partial)
    if header["pictures"] is None:
        raise ValueError(f"{folder} holds states but no pictures. Try load(folder), or record again with pictures=64.")
    data, parts = load(folder, partial=partial), []
    for row in header["shards"]:
        images = _tensors(_checked(folder, row["pictures"], check))["images"]
        if len(images) != row["frames"]:
            raise ValueError(f"{row['pictures']['file']} holds {len(images)} pictures, expected {row['frames']}.")
        parts.append(images)
    sentences = tuple(data.sentences())
    return Footage(Reel(parts), data.actions, data.start, data.length, data.task, sentences, SPACE)


def _new_header(tasks: tuple[Task, ...], pictures: int | None) -> dict[str, Any]:
    about = {"format": FORMAT, "schema": SCHEMA, "complete": False, "pictures": pictures, "recording": None}
    return about | {"action": list(SPACE.names), "objects": list(NAMES), "tasks": [asdict(t) for t in tasks], "shards": []}


def _write_header(folder: Path, header: dict[str, Any]) -> None:
    text = json.dumps(header, indent=1)
    write_beside(folder / HEADER, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_beside(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``path``, then give it the name: it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        beside.chmod(0o644)  # safetensors writes files that only their owner may read
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_shard(part: Episodes, folder: Path, number: int, pictures: int | None) -> dict[str, Any]:
    """Write one shard; returns its row of the header."""
    tensors = {f"once.{name}": value for name, value in part.states.once.items()}
    tensors |= {f"each.{name}": value for name, value in part.states.each.items()}
    tensors |= {"actions": part.actions, "length": part.length.int(), "task": part.task.int()}
    row: dict[str, Any] = {"episodes": len(part), "frames": part.frames}
    row["states"] = _write_tensors(tensors, folder / f"states-{number:05d}.safetensors")
    if pictures is not None:
        drawn = part.pictures(torch.arange(part.frames, device=part.start.device), pictures)
        row["pictures"] = _write_tensors({"images": drawn}, folder / f"pictures-{number:05d}.safetensors")
    return row


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """Name, size and fingerprint of the file. Its own header has one key only: with more, their order is chance."""
    plain = {name: value.contiguous().cpu() for name, value in tensors.items()}
    write_beside(path, lambda beside: save_file(plain, beside, metadata={"format": f"{FORMAT} {SCHEMA}"}))
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_header(folder: Path, partial: bool) -> dict[str, Any]:
    """The header, if it is one that this course can read."""
    path = folder / HEADER
    if not path.is_file():
        raise ValueError(f"{folder} holds no {HEADER}: it is not a dataset of this course, or its saving was interrupted.")
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable ({error}). Restore it from a copy, or record again.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is of another program: expected the format {FORMAT!r}.")
    if header.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} has schema {header.get('schema')}, this course reads {SCHEMA}. Try a newer course (git pull)."
        )
    if missing := sorted(_new_header((), None).keys() - header.keys()):
        raise ValueError(
            f"{path} lacks {', '.join(missing)}: it was changed by hand. Restore it from a copy, or record again."
        )
    for what, here in (("objects", NAMES), ("action", SPACE.names)):
        if header[what] != list(here):
            other = sorted(set(header[what]) ^ set(here)) or "in another order"
            raise ValueError(
                f"{path} was recorded with other {what} ({other}). Its numbers mean other things: record again."
            )
    if not (header["complete"] or partial):
        done, asked = sum(row["episodes"] for row in header["shards"]), header["recording"]["episodes"]
        raise ValueError(
            f"{folder} holds {done} of {asked} episodes: its recording was interrupted. Call record_to with the same "
            "arguments to go on, or load(..., partial=True) to use what is there."
        )
    return header


def _resumed(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The header of an interrupted recording, if it is the one that is asked for."""
    header = _read_header(folder, partial=True)
    keys = ("recording", "tasks", "pictures")
    other = [k for k in keys if header[k] != json.loads(json.dumps(asked[k]))]
    if other:
        was, now = ({k: h[k] if k != "tasks" else f"{len(h[k])} tasks" for k in other} for h in (header, asked))
        raise ValueError(f"{folder} holds another recording: {was}, asked for is {now}. Choose another folder.")
    return header


def _checked(folder: Path, row: dict[str, Any], fingerprint: bool = True) -> Path:
    """The path of a file that is there, has its size, and (``fingerprint``) its checksum."""
    path = folder / Path(row["file"]).name
    if not path.is_file():
        raise ValueError(f"{path.name} is missing from {folder}. Copy the folder again, or record again.")
    if (size := path.stat().st_size) != row["bytes"]:
        raise ValueError(f"{path.name} is truncated or changed: expected {row['bytes']} bytes, got {size}. Copy it again.")
    if fingerprint and (got := _sha256(path)) != row["sha256"]:
        raise ValueError(
            f"{path.name} was changed: expected sha256 {row['sha256'][:16]}..., got {got[:16]}.... Copy it again."
        )
    return path


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped into memory: read when used."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file ({error}). Copy it again, or record again.") from error


def _read_shard(folder: Path, row: dict[str, Any], tasks: tuple[Task, ...]) -> Episodes:
    tensors = _tensors(_checked(folder, row["states"]))
    if tensors.keys() != _NAMES:
        raise ValueError(f"{row['states']['file']} holds other tensors than a state has: {sorted(tensors.keys() ^ _NAMES)}.")
    length, task = tensors["length"].long(), tensors["task"].long()
    start = length.cumsum(0) - length
    once, each = ({k[5:]: v for k, v in tensors.items() if k.startswith(group)} for group in ("once.", "each."))
    return Episodes(StateTape(once, each, start), tensors["actions"], start, length, task, tasks)

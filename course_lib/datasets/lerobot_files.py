"""The files of a LeRobot dataset, read with pyarrow: tasks, rows of frames, pictures (PNG inside the rows, or video)."""

import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from course_lib.datasets import video

LEGACY_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


class Rows(NamedTuple):
    """The frames of some episodes, sorted by episode, then time; episodes are numbered anew, 0 ... E - 1."""

    episodes: list[int]  # their numbers in the dataset
    start: Int[np.ndarray, " E"]  # first frame of each
    length: Int[np.ndarray, " E"]
    action: Float[np.ndarray, "F A"]
    time: Float[np.ndarray, " F"]  # seconds since the episode began
    task: Int[np.ndarray, " E"]  # of the first frame


def arrow() -> tuple[ModuleType, ModuleType]:
    """The modules pyarrow and pyarrow.parquet, or a ValueError that says how to get them."""
    try:
        import pyarrow  # noqa: PLC0415 - an optional extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise ValueError("LeRobot's layout needs pyarrow. Try: pip install pyarrow (and av, for video).") from error
    return pyarrow, pyarrow.parquet


def read_json(path: Path) -> Any:
    """A JSON file, or a ValueError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not readable ({error}). Is {path.parent.parent} a LeRobot dataset, copied whole?"
        ) from error


def read_lines(path: Path) -> list[Any]:
    """A file with one JSON value per line."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable ({error}). Copy it again.") from error


def read_table(path: Path, columns: list[str] | None = None, episodes: Sequence[int] | None = None) -> Any:
    """A parquet file (of it, these episodes) as an Arrow table."""
    pa, pq = arrow()
    wanted = None if episodes is None else [("episode_index", "in", list(episodes))]
    try:
        return pq.ParquetFile(path).read(columns) if wanted is None else pq.read_table(path, columns=columns, filters=wanted)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a parquet file with {columns or 'rows'} ({error}). Copy it again.") from error


def read_tasks(folder: Path) -> dict[int, str]:
    """Number -> sentence."""
    lines, path = folder / "meta/tasks.jsonl", folder / "meta/tasks.parquet"
    if not path.exists() and lines.exists():
        return {row["task_index"]: row["task"] for row in read_lines(lines)}
    table = read_table(path)
    (words,) = [name for name in table.column_names if name != "task_index"] or [None]  # pandas' index: its name varies
    if words is None:
        raise ValueError(f"{path} holds numbers of tasks but no sentences. Copy it again.")
    return dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True))


def data_files(folder: Path, episodes: Sequence[int]) -> list[Path]:
    """The parquet files that may hold these episodes."""
    wanted, paths = set(episodes), sorted(folder.glob("data/*/*.parquet"))
    if not paths:
        raise ValueError(f"{folder} holds no data/*/*.parquet. Was it copied whole?")
    single = {path: re.fullmatch(r"episode_(\d+)", path.stem) for path in paths}  # v2: one episode a file
    return [path for path, name in single.items() if name is None or int(name[1]) in wanted]


def read_rows(folder: Path, action: str, episodes: Sequence[int]) -> Rows:
    """The frames of these episodes without their pictures. Raises ValueError if some are missing."""
    pa, _ = arrow()
    columns = [action, "timestamp", "frame_index", "episode_index", "task_index"]
    tables = [read_table(path, columns, episodes) for path in data_files(folder, episodes)]
    table = pa.concat_tables(tables).sort_by([("episode_index", "ascending"), ("frame_index", "ascending")])
    number, frame = (table[name].to_numpy() for name in ("episode_index", "frame_index"))
    found, start, length = np.unique(number, return_index=True, return_counts=True)
    missing = sorted(set(episodes) - set(found.tolist()))
    if missing:
        raise ValueError(f"{folder} lacks episode {missing[0]} ({len(missing)} are missing). Was it copied whole?")
    if not np.array_equal(frame, np.arange(len(frame)) - np.repeat(start, length)):
        raise ValueError(f"{folder} lacks frames: those of an episode should be numbered 0, 1, 2, ... Was it copied whole?")
    task = table["task_index"].to_numpy()[start]
    return Rows(found.tolist(), start, length, _numbers(table[action]), table["timestamp"].to_numpy(), task)


def _numbers(column: Any) -> Float[np.ndarray, "F A"]:
    """A column of lists (or of single numbers) as a matrix."""
    if column.null_count:
        raise ValueError(f"{column.null_count} actions are empty. Choose other episodes.")
    values = column.combine_chunks()
    flat = values.flatten() if hasattr(values, "flatten") and hasattr(values.type, "value_type") else values
    return flat.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)


def pictures_of(
    folder: Path, info: dict[str, Any], camera: str, rows: Rows, size: tuple[int, int], tick: Callable[[int], Any]
) -> UInt8[np.ndarray, "F H W 3"]:
    """One camera's pictures of all rows, resized to (H, W); ``tick(1)`` is called after each."""
    out, seen = np.empty((len(rows.action), *size, 3), np.uint8), np.zeros(len(rows.action), bool)
    shown = _in_videos if info["features"][camera]["dtype"] == "video" else _in_rows
    for row, picture in shown(folder, info, camera, rows):
        out[row], seen[row] = _resized(picture, size), True
        tick(1)
    if not seen.all():
        raise ValueError(f"{(~seen).sum()} of {len(seen)} frames have no picture of {camera}. Copy the dataset again.")
    return out


def _resized(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3): bilinear over the area that a pixel stands for; the aspect ratio is not kept, as in RT-1."""
    if picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _in_rows(folder: Path, info: dict[str, Any], camera: str, rows: Rows) -> Iterator[tuple[int, Image.Image]]:
    """Row and picture, out of the parquet files, some hundred rows at a time."""
    pa, pq = arrow()
    first = dict(zip(rows.episodes, rows.start.tolist(), strict=True))
    for path in data_files(folder, rows.episodes):
        try:
            for batch in pq.ParquetFile(path).iter_batches(256, columns=[camera, "episode_index", "frame_index"]):
                cells, numbers, frames = (batch[name] for name in (camera, "episode_index", "frame_index"))
                for cell, episode, frame in zip(cells, numbers.to_pylist(), frames.to_pylist(), strict=True):
                    if episode in first:
                        yield first[episode] + frame, _opened(folder, cell.as_py())
        except pa.ArrowException as error:
            raise ValueError(f"{path} is damaged ({error}). Copy it again.") from error


def _opened(folder: Path, cell: dict[str, Any]) -> Image.Image:
    """A picture that lies in the row, or in a file that the row names."""
    try:
        source = io.BytesIO(cell["bytes"]) if cell["bytes"] else folder / cell["path"]
        return Image.open(source).convert("RGB")
    except OSError as error:
        raise ValueError(f"The picture {cell['path']} cannot be read ({error}). Copy the dataset again.") from error


def _in_videos(folder: Path, info: dict[str, Any], camera: str, rows: Rows) -> Iterator[tuple[int, Image.Image]]:
    """Row and picture, out of the videos."""
    at = {e: slice(a, a + n) for e, a, n in zip(rows.episodes, rows.start, rows.length, strict=True)}
    for path, parts in _videos(folder, info, camera, rows.episodes).items():
        ordered = sorted(parts)  # as they follow one another in the file
        places = np.concatenate([np.arange(len(rows.time))[at[e]] for _, e in ordered])
        times = np.concatenate([begin + rows.time[at[e]] for begin, e in ordered])
        for row, picture in zip(places.tolist(), video.decode(path, times.tolist(), info["fps"]), strict=True):
            yield row, Image.fromarray(picture)


def _videos(folder: Path, info: dict[str, Any], camera: str, episodes: list[int]) -> dict[Path, list[tuple[float, int]]]:
    """Which video holds which of the episodes, and from which second on."""
    found: dict[Path, list[tuple[float, int]]] = defaultdict(list)
    template = info.get("video_path") or LEGACY_VIDEO
    if info["codebase_version"].startswith("v2"):
        for e in episodes:
            chunk = e // info["chunks_size"]
            found[folder / template.format(episode_chunk=chunk, video_key=camera, episode_index=e)].append((0.0, e))
        return found
    names = [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    for path in sorted(folder.glob("meta/episodes/*/*.parquet")):
        table = read_table(path, ["episode_index", *names], episodes)
        for e, chunk, file, begin in zip(*(table[c].to_pylist() for c in ["episode_index", *names]), strict=True):
            found[folder / template.format(video_key=camera, chunk_index=chunk, file_index=file)].append((begin, e))
    return found

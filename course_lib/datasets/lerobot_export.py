"""Our episodes in LeRobot's dataset layout, version 3.0, so that other programs can train on them.

    meta/info.json · stats.json · tasks.parquet · episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet               one row per frame, one row group per episode; PNG pictures inside, or
    videos/CAMERA/chunk-000/file-000.mp4          the same frames as video

The layout is described in ``docs/source/lerobot-dataset-v3.mdx`` of huggingface/lerobot; its ``datasets/utils.py`` and
``lerobot_dataset.py`` (0.4.4) say which columns are read. LeRobot has no place for an action's range, unit and classes:
they go into ``meta/course_lib.json``, which other programs do not look at. ``lerobot`` reads the layout back.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from course_lib.datasets import video
from course_lib.datasets.episodes import Episodes
from course_lib.datasets.footage import Footage
from course_lib.datasets.lerobot import EXTRA, INFO
from course_lib.datasets.lerobot_files import arrow
from course_lib.datasets.storage import write_beside
from course_lib.world.tabletop import SPACE

FILES_PER_CHUNK, MB_PER_FILE = 1000, 100  # LeRobot's own defaults
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def export_lerobot(
    data: Episodes | Footage,
    folder: str | Path,
    *,
    camera: str = "observation.images.camera",
    size: int | None = None,
    fps: float | int = 3,
    as_video: bool = False,
    episodes_per_file: int = 1000,
    progress: bool = True,
) -> Path:
    """Write episodes as a LeRobot dataset; ``size``: width of the pictures (64, or as footage is stored).

    PNG is exact; ``as_video`` is smaller, lossy, and needs PyAV. ``meta/info.json`` is written last, so an interrupted
    export is no dataset. Raises ValueError if the folder already holds one.
    """
    folder = Path(folder)
    if (folder / INFO).exists():
        raise ValueError(f"{folder} already holds a dataset. Choose another folder, or delete that one first.")
    space = data.space if isinstance(data, Footage) else SPACE
    sentences = data.sentences()
    tasks = list(dict.fromkeys(sentences[t] for t in data.task.tolist()))  # several of our tasks may share a sentence
    number = {sentence: i for i, sentence in enumerate(tasks)}
    rows: list[dict[str, Any]] = []
    files = range(0, len(data), episodes_per_file)
    with tqdm(total=len(data), disable=not progress, desc="exporting", unit="episode") as bar:
        for file, first in enumerate(files):
            wanted = range(first, min(first + episodes_per_file, len(data)))
            task = [number[sentences[data.task[e]]] for e in wanted]
            rows += _write_file(data, folder, file, wanted, task, camera, size, fps, as_video, bar)
    for row in rows:
        row["tasks"] = [tasks[row.pop("task")]]
    height, width = rows[0].pop("shape")
    for row in rows[1:]:
        row.pop("shape")
    _write_parquet(_flat_table(rows), folder / EPISODES.format(chunk_index=0, file_index=0))
    _write_parquet(_task_table(tasks), folder / "meta/tasks.parquet")
    _write_json(_pooled(rows, camera), folder / "meta/stats.json")
    _write_json([asdict(dim) for dim in space.dims], folder / EXTRA)
    shapes = {"camera": camera, "picture": [height, width, 3], "action": list(space.names), "video": as_video}
    _write_json(_info(shapes, fps, len(rows), data.frames, len(tasks)), folder / INFO)
    return folder


def _write_file(data, folder, file, wanted, task, camera, size, fps, as_video, bar) -> list[dict[str, Any]]:
    """One data file (and video): returns a row of metadata per episode."""
    pa, pq = arrow()
    where = dict(zip(("chunk_index", "file_index"), divmod(file, FILES_PER_CHUNK), strict=True))
    schema = _schema(pa, camera, data.actions.shape[1], as_video)
    rows: list[dict[str, Any]] = []
    shown: Iterator[np.ndarray] = _frames(data, wanted, size)

    def write(path: Path) -> None:
        with pq.ParquetWriter(path, schema) as writer:
            for e, t in zip(wanted, task, strict=True):
                pictures = [next(shown) for _ in range(int(data.length[e]))]
                if as_video:
                    reel.extend(pictures)
                writer.write_table(_table(pa, schema, data, e, t, camera, pictures, fps))  # a row group per episode
                rows.append(_row(data, e, t, where, camera, pictures))
                bar.update()

    reel: list[np.ndarray] = []
    write_beside(folder / DATA.format(**where), write)
    if as_video:
        path = folder / VIDEO.format(video_key=camera, **where)
        write_beside(path, lambda beside: video.encode(reel, beside, fps))
        ends = np.cumsum([0, *(row["length"] for row in rows)]) / fps
        for row, (begin, end) in zip(rows, pairwise(ends.tolist()), strict=True):
            row |= {f"videos/{camera}/{k}": v for k, v in where.items()}
            row |= {f"videos/{camera}/from_timestamp": begin, f"videos/{camera}/to_timestamp": end}
    return rows


def _frames(data: Episodes | Footage, wanted: range, size: int | None, together: int = 256) -> Iterator[np.ndarray]:
    """The pictures of these episodes, one by one, drawn ``together`` at a time (drawing a few at a time is slow)."""
    first, last = int(data.start[wanted[0]]), int(data.start[wanted[-1]] + data.length[wanted[-1]])
    for begin in range(first, last, together):
        frames = torch.arange(begin, min(begin + together, last), device=data.start.device)
        yield from data.pictures(frames, size).cpu().numpy()


def _schema(pa, camera: str, numbers: int, as_video: bool):
    """Arrow types of a data file, and what Hugging Face's ``datasets`` needs to know to show the pictures."""
    fields = [] if as_video else [(camera, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    fields += [("action", pa.list_(pa.float32(), numbers)), ("timestamp", pa.float32())]
    fields += [(name, pa.int64()) for name in COUNTERS]
    known = {} if as_video else {camera: {"_type": "Image"}}
    known["action"] = {"feature": {"dtype": "float32", "_type": "Value"}, "length": numbers, "_type": "Sequence"}
    known["timestamp"] = {"dtype": "float32", "_type": "Value"}
    known |= {name: {"dtype": "int64", "_type": "Value"} for name in COUNTERS}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": known}})})


def _table(pa, schema, data, e: int, task: int, camera: str, pictures: list[np.ndarray], fps):
    """The rows of one episode."""
    start, n = int(data.start[e]), len(pictures)
    columns = {
        "action": data.actions[start : start + n].cpu().tolist(),
        "timestamp": [t / fps for t in range(n)],
        "frame_index": list(range(n)),
        "episode_index": [e] * n,
        "index": list(range(start, start + n)),
        "task_index": [task] * n,
    }
    if camera in schema.names:
        columns[camera] = [{"bytes": _png(p), "path": f"episode-{e:06d}-frame-{t:06d}.png"} for t, p in enumerate(pictures)]
    return pa.Table.from_pydict(columns, schema)


def _png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="png")
    return out.getvalue()


def _row(data, e: int, task: int, where: dict[str, int], camera: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """What the metadata says of one episode."""
    start, n = int(data.start[e]), len(pictures)
    row = {"episode_index": e, "task": task, "length": n, "shape": pictures[0].shape[:2]}
    row |= {f"data/{k}": v for k, v in where.items()}
    row |= {"dataset_from_index": start, "dataset_to_index": start + n}
    row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    for name, values, axes in (
        ("action", data.actions[start : start + n].cpu().numpy().astype(np.float64), 0),
        (camera, np.stack(pictures) / 255, (0, 1, 2)),
    ):
        row |= {f"stats/{name}/{k}": _shaped(v, axes) for k, v in _stats(values, axes).items()}
        row[f"stats/{name}/count"] = [n]
    return row


def _stats(values: np.ndarray, axes: int | tuple[int, ...]) -> dict[str, np.ndarray]:
    return {what: getattr(values, what)(axis=axes) for what in ("min", "max", "mean", "std")}


def _shaped(value: np.ndarray, axes: int | tuple[int, ...]) -> list:
    """Numbers of a picture are per colour, as (3, 1, 1)."""
    return value.tolist() if axes == 0 else value.reshape(3, 1, 1).tolist()


def _pooled(rows: list[dict[str, Any]], camera: str) -> dict[str, dict[str, list]]:
    """Statistics of the whole from those of the episodes: means of means, and the variance within plus between."""
    out = {}
    for name in ("action", camera):
        part = {k: np.array([row[f"stats/{name}/{k}"] for row in rows]) for k in ("min", "max", "mean", "std")}
        count = np.array([row[f"stats/{name}/count"][0] for row in rows])
        weight = (count / count.sum()).reshape(-1, *(1,) * (part["mean"].ndim - 1))
        mean = (weight * part["mean"]).sum(0)
        variance = (weight * (part["std"] ** 2 + (part["mean"] - mean) ** 2)).sum(0)
        whole = {"min": part["min"].min(0), "max": part["max"].max(0), "mean": mean, "std": np.sqrt(variance)}
        out[name] = {k: v.tolist() for k, v in whole.items()} | {"count": [int(count.sum())]}
    return out


def _flat_table(rows: list[dict[str, Any]]):
    pa, _ = arrow()
    return pa.Table.from_pydict({key: [row[key] for row in rows] for key in rows[0]})


def _task_table(tasks: list[str]):
    """``task_index``, with the sentence as index of the data frame that LeRobot makes of it."""
    pa, _ = arrow()
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    types = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, (kind, numpy) in types.items()
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _info(shapes: dict[str, Any], fps, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """meta/info.json."""
    picture = {"dtype": "video" if shapes["video"] else "image", "shape": shapes["picture"]}
    picture["names"] = ["height", "width", "channels"]
    if shapes["video"]:
        height, width, _ = shapes["picture"]
        about = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv420p", "fps": fps, "channels": 3}
        picture["info"] = {f"video.{k}": v for k, v in about.items()} | {"video.is_depth_map": False, "has_audio": False}
    features = {shapes["camera"]: picture}
    features["action"] = {"dtype": "float32", "shape": [len(shapes["action"])], "names": shapes["action"]}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}
    return {
        "codebase_version": "v3.0",
        "robot_type": "course_lib tabletop",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": MB_PER_FILE,
        "video_files_size_in_mb": MB_PER_FILE,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO if shapes["video"] else None,
        "features": features,
    }


def _write_json(value: Any, path: Path) -> None:
    write_beside(path, lambda beside: beside.write_text(json.dumps(value, indent=4), encoding="utf-8"))


def _write_parquet(table: Any, path: Path) -> None:
    _, pq = arrow()
    write_beside(path, lambda beside: pq.write_table(table, beside))

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
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from course_lib.actions import ActionSpace
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
PLACE = ("chunk_index", "file_index")
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
    pa, _ = arrow()
    what = _Export(data, folder, camera, size, fps, as_video)
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(data), disable=not progress, desc="exporting", unit="episode") as bar:
        for file, first in enumerate(range(0, len(data), episodes_per_file)):
            wanted = range(first, min(first + episodes_per_file, len(data)))
            rows += what.write_file(dict(zip(PLACE, divmod(file, FILES_PER_CHUNK), strict=True)), wanted, bar)
    table = pa.Table.from_pydict({key: [row[key] for row in rows] for key in rows[0]})
    _write_parquet(table, folder / EPISODES.format(chunk_index=0, file_index=0))
    _write_parquet(_task_table(what.sentences), folder / "meta/tasks.parquet")
    _write_json(_pooled(rows, camera), folder / "meta/stats.json")
    _write_json([asdict(dim) for dim in what.space.dims], folder / EXTRA)
    _write_json(_info(what), folder / INFO)
    return folder


@dataclass(frozen=True)
class _Export:
    """What is exported, and how."""

    data: Episodes | Footage
    folder: Path
    camera: str
    size: int | None
    fps: float | int
    as_video: bool

    @property
    def space(self) -> ActionSpace:
        return self.data.space if isinstance(self.data, Footage) else SPACE

    @cached_property
    def sentences(self) -> list[str]:
        """What the robot was told, each once: several of our tasks may share a sentence."""
        all_tasks = self.data.sentences()
        return list(dict.fromkeys(all_tasks[t] for t in self.data.task.tolist()))

    @cached_property
    def numbers(self) -> list[int]:
        """For each episode, the place of its sentence in ``sentences``."""
        place, all_tasks = {sentence: i for i, sentence in enumerate(self.sentences)}, self.data.sentences()
        return [place[all_tasks[t]] for t in self.data.task.tolist()]

    @property
    def shape(self) -> list[int]:
        """(H, W, 3) of a picture."""
        return list(self.data.pictures(self.data.start[:1], self.size).shape[1:])

    def write_file(self, place: dict[str, int], wanted: range, bar: tqdm) -> list[dict[str, Any]]:
        """One data file, and one video; returns a row of metadata per episode."""
        pa, pq = arrow()
        schema = _schema(pa, self.camera, len(self.space), self.as_video)
        shown, rows, reel = _frames(self.data, wanted, self.size), [], []

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, schema) as writer:
                for e in wanted:
                    pictures = [next(shown) for _ in range(int(self.data.length[e]))]
                    reel.extend(pictures if self.as_video else ())
                    writer.write_table(_table(pa, schema, self, e, pictures))  # a row group per episode
                    rows.append(_row(self, e, place, pictures))
                    bar.update()

        write_beside(self.folder / DATA.format(**place), write)
        if self.as_video:
            path = self.folder / VIDEO.format(video_key=self.camera, **place)
            write_beside(path, lambda beside: video.encode(reel, beside, self.fps))
            ends = np.cumsum([0, *(row["length"] for row in rows)]) / self.fps
            for row, (begin, end) in zip(rows, pairwise(ends.tolist()), strict=True):
                times = {"from_timestamp": begin, "to_timestamp": end}
                row |= {f"videos/{self.camera}/{k}": v for k, v in (place | times).items()}
        return rows


def _frames(data: Episodes | Footage, wanted: range, size: int | None, together: int = 256) -> Iterator[np.ndarray]:
    """The pictures of these episodes, one by one, drawn ``together`` at a time (drawing a few at a time is slow)."""
    first, last = int(data.start[wanted[0]]), int(data.start[wanted[-1]] + data.length[wanted[-1]])
    for begin in range(first, last, together):
        frames = torch.arange(begin, min(begin + together, last), device=data.start.device)
        yield from data.pictures(frames, size).cpu().numpy()


def _schema(pa: ModuleType, camera: str, numbers: int, as_video: bool) -> Any:
    """Arrow types of a data file, and what Hugging Face's ``datasets`` needs to know to show the pictures."""
    fields = [] if as_video else [(camera, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    fields += [("action", pa.list_(pa.float32(), numbers)), ("timestamp", pa.float32())]
    fields += [(name, pa.int64()) for name in COUNTERS]
    known = {} if as_video else {camera: {"_type": "Image"}}
    known["action"] = {"feature": {"dtype": "float32", "_type": "Value"}, "length": numbers, "_type": "Sequence"}
    known["timestamp"] = {"dtype": "float32", "_type": "Value"}
    known |= {name: {"dtype": "int64", "_type": "Value"} for name in COUNTERS}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": known}})})


def _table(pa: ModuleType, schema: Any, what: _Export, e: int, pictures: list[np.ndarray]) -> Any:
    """The rows of one episode."""
    start, n = int(what.data.start[e]), len(pictures)
    columns = {
        "action": what.data.actions[start : start + n].cpu().tolist(),
        "timestamp": [t / what.fps for t in range(n)],
        "frame_index": list(range(n)),
        "episode_index": [e] * n,
        "index": list(range(start, start + n)),
        "task_index": [what.numbers[e]] * n,
    }
    if not what.as_video:
        names = (f"episode-{e:06d}-frame-{t:06d}.png" for t in range(n))
        columns[what.camera] = [{"bytes": _png(p), "path": name} for p, name in zip(pictures, names, strict=True)]
    return pa.Table.from_pydict(columns, schema)


def _png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="png")
    return out.getvalue()


def _row(what: _Export, e: int, place: dict[str, int], pictures: list[np.ndarray]) -> dict[str, Any]:
    """What the metadata says of one episode."""
    start, n = int(what.data.start[e]), len(pictures)
    row = {"episode_index": e, "tasks": [what.sentences[what.numbers[e]]], "length": n}
    row |= {f"data/{k}": v for k, v in place.items()}
    row |= {"dataset_from_index": start, "dataset_to_index": start + n}
    row |= {f"meta/episodes/{k}": 0 for k in PLACE}
    for name, values, axes in (
        ("action", what.data.actions[start : start + n].cpu().numpy().astype(np.float64), 0),
        (what.camera, np.stack(pictures) / 255, (0, 1, 2)),
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


def _task_table(tasks: list[str]) -> Any:
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


def _info(what: _Export) -> dict[str, Any]:
    """meta/info.json."""
    height, width, _ = what.shape
    picture = {"dtype": "image", "shape": what.shape, "names": ["height", "width", "channels"]}
    if what.as_video:
        about = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv420p", "fps": what.fps, "channels": 3}
        about |= {"is_depth_map": False}
        picture |= {"dtype": "video", "info": {f"video.{k}": v for k, v in about.items()} | {"has_audio": False}}
    features = {what.camera: picture}
    features["action"] = {"dtype": "float32", "shape": [len(what.space)], "names": list(what.space.names)}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}
    return {
        "codebase_version": "v3.0",
        "robot_type": "course_lib tabletop",
        "total_episodes": len(what.data),
        "total_frames": what.data.frames,
        "total_tasks": len(what.sentences),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": MB_PER_FILE,
        "video_files_size_in_mb": MB_PER_FILE,
        "fps": what.fps,
        "splits": {"train": f"0:{len(what.data)}"},
        "data_path": DATA,
        "video_path": VIDEO if what.as_video else None,
        "features": features,
    }


def _write_json(value: Any, path: Path) -> None:
    write_beside(path, lambda beside: beside.write_text(json.dumps(value, indent=4), encoding="utf-8"))


def _write_parquet(table: Any, path: Path) -> None:
    _, pq = arrow()
    write_beside(path, lambda beside: pq.write_table(table, beside))

"""Robot data of others: datasets in LeRobot's layout (versions 2.0, 2.1 and 3.0) as Footage, ready for ``Windows``.

RT-1's own data is published in this layout (``fractal20220817_data``: 7 numbers an action, 3 Hz, pictures as video).

    v3.0  data/chunk-000/file-000.parquet, many episodes a file; meta/tasks.parquet, meta/episodes/...; videos/CAMERA/...
    v2.x  data/chunk-000/episode_000000.parquet, one episode a file; meta/tasks.jsonl; videos/chunk-000/CAMERA/...

Sources: ``docs/source/lerobot-dataset-v3.mdx`` and ``datasets/v30/convert_dataset_v21_to_v30.py`` of huggingface/lerobot.

    print(look("fractal"))  # cameras, the numbers of an action with their ranges, tasks
    dims = {"arm_x": "x", "arm_y": "y", "arm_z": "z", "gripper": ("gripper", -2, 1)}  # 0 ... 1 becomes 1 ... -1
    footage = import_lerobot("fractal", size=64, space=ActionSpace.workbook(), dims=dims, episodes=range(500))
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from course_lib.actions import ActionDim, ActionSpace
from course_lib.datasets.footage import Footage
from course_lib.datasets.lerobot_files import pictures_of, read_json, read_lines, read_rows, read_tasks

INFO, EXTRA = "meta/info.json", "meta/course_lib.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
# Where a number of ours comes from: a name in the dataset; or (name, factor); or (name, factor, offset).
Source = str | tuple[str, float | int] | tuple[str, float | int, float | int]


@dataclass(frozen=True)
class RobotData:
    """What a folder in LeRobot's layout holds, by its metadata. ``print`` it before you choose."""

    folder: Path
    info: dict[str, Any]  # meta/info.json
    tasks: dict[int, str]  # number -> what the robot was told
    names: tuple[str, ...]  # of the numbers of an action
    ranges: tuple[tuple[float, float], ...]  # smallest and largest value of each, () if the dataset does not say

    @property
    def cameras(self) -> dict[str, tuple[int, int]]:
        """Name -> (height, width)."""
        return {k: _height_width(f) for k, f in self.info["features"].items() if f["dtype"] in ("image", "video")}

    def __str__(self) -> str:
        info, ranges = self.info, self.ranges or ((),) * len(self.names)
        cameras = [f"{k} {h}x{w} ({info['features'][k]['dtype']})" for k, (h, w) in self.cameras.items()]
        numbers = [f"{name} {r[0]:.3g} ... {r[1]:.3g}" if r else name for name, r in zip(self.names, ranges, strict=True)]
        tasks = list(self.tasks.values())
        return "\n".join(
            [
                f"{self.folder.name}: LeRobot {info['codebase_version']}, {info['total_episodes']} episodes, "
                f"{info['total_frames']} frames at {info['fps']} Hz, robot {info.get('robot_type')}",
                "cameras  " + " · ".join(cameras),
                f"action   {len(numbers)} numbers: " + " · ".join(numbers),
                f"tasks    {len(tasks)}: " + " · ".join(tasks[:3]) + (" · ..." if len(tasks) > 3 else ""),
            ]
        )


def look(folder: str | Path, action: str = "action") -> RobotData:
    """Read the metadata. Raises ValueError for a folder that is no LeRobot dataset, or of a version not known here."""
    folder = Path(folder)
    info = read_json(folder / INFO)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in VERSIONS:
        raise ValueError(f"{folder / INFO} says version {version}; known here are {', '.join(VERSIONS)}. Convert it first.")
    if action not in info["features"]:
        others = ", ".join(info["features"])
        raise ValueError(f"{folder} has no {action!r}. Its columns: {others}. Try action=... with one of them.")
    size = int(np.prod(info["features"][action]["shape"]))
    names = _names(info["features"][action].get("names"), size)
    return RobotData(folder, info, read_tasks(folder), names, _ranges(folder, action))


def import_lerobot(
    folder: str | Path,
    *,
    camera: str | None = None,
    size: int | tuple[int, int] | None = None,
    space: ActionSpace | None = None,
    dims: Mapping[str, Source] | None = None,
    episodes: Sequence[int] | slice | None = None,
    action: str = "action",
    progress: bool = True,
) -> Footage:
    """Episodes of a LeRobot dataset in its order, their pictures in memory (12 kB a frame at 64 pixels).

    ``episodes``: their numbers or a slice; None for all. ``action``: the column with the actions.
    ``camera``: needed if there are several. ``size``: resize the pictures (pixels, or height and width).
    ``space``: the action space that your policy speaks. None: the data's own (our exports bring theirs along; of other
    data the numbers keep their names, with the smallest and largest value as range).
    ``dims``: for each number of ``space``, where it comes from (see ``Source``); those left out stay 0. None: numbers of
    the same name. A ``terminate`` that the data does not have is set on the last frame of each episode.
    Raises ValueError where a choice is missing, and for files that are missing or damaged; warns of numbers beyond the
    range of ``space``, which would be clipped.
    """
    about = look(folder, action)
    camera = _camera(about, camera)
    total = range(about.info["total_episodes"])
    wanted = list(total if episodes is None else total[episodes] if isinstance(episodes, slice) else episodes)
    rows = read_rows(about.folder, action, wanted)
    space = _own_space(about, rows.action) if space is None else space
    actions = _translated(about, rows.action, space, dims, rows.start + rows.length - 1)
    size = about.cameras[camera] if size is None else (size, size) if isinstance(size, int) else size
    with tqdm(total=len(actions), disable=not progress, desc="reading", unit="frame") as bar:
        images = pictures_of(about.folder, about.info, camera, rows, size, bar.update)
    used = sorted(set(rows.task.tolist()))
    task = np.searchsorted(used, rows.task)
    numbers = (torch.from_numpy(x).long() for x in (rows.start, rows.length, task))
    sentences = tuple(about.tasks[t] for t in used)
    return Footage(torch.from_numpy(images), actions, *numbers, sentences, space, about.info["fps"])


def _height_width(feature: dict[str, Any]) -> tuple[int, int]:
    """The shape is (H, W, 3) or, in older data, (3, H, W); ``names`` tells."""
    a, b, c = feature["shape"]
    return (b, c) if a == 3 and c != 3 else (a, b)


def _names(names: Any, size: int) -> tuple[str, ...]:
    """Names of the numbers, from a list or the first list in a dictionary; else 0, 1, 2, ..."""
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    known = isinstance(names, list) and len(names) == size and all(isinstance(name, str) for name in names)
    return tuple(names) if known else tuple(map(str, range(size)))


def _ranges(folder: Path, action: str) -> tuple[tuple[float, float], ...]:
    """From the statistics: of the whole (v2.0, v3.0) or of each episode (v2.1)."""
    whole, each = folder / "meta/stats.json", folder / "meta/episodes_stats.jsonl"
    stats = [read_json(whole)] if whole.exists() else [r["stats"] for r in read_lines(each)] if each.exists() else []
    stats = [s[action] for s in stats if action in s]
    if not stats:
        return ()
    low, high = (np.array([np.ravel(s[k]) for s in stats]) for k in ("min", "max"))
    return tuple(zip(low.min(0).tolist(), high.max(0).tolist(), strict=True))


def _camera(about: RobotData, camera: str | None) -> str:
    names = list(about.cameras)
    if camera in names:
        return camera
    if camera is None and len(names) == 1:
        return names[0]
    raise ValueError(f"Expected camera=... with one of {names or 'no cameras at all'} in {about.folder}, got {camera!r}.")


def _own_space(about: RobotData, values: np.ndarray) -> ActionSpace:
    """The space an export brought along, or the data's names with the ranges it has."""
    extra = about.folder / EXTRA
    if extra.exists():
        return ActionSpace(tuple(ActionDim(**dim | {"classes": tuple(dim["classes"])}) for dim in read_json(extra)))
    low, high = values.min(0).tolist(), values.max(0).tolist()
    ranges = about.ranges or tuple(zip(low, high, strict=True))
    wide = [(a, b) if a < b else (a - 0.5, b + 0.5) for a, b in ranges]  # a number that never changes needs a range, too
    return ActionSpace(tuple(ActionDim(name, a, b) for name, (a, b) in zip(about.names, wide, strict=True)))


def _translated(
    about: RobotData, values: np.ndarray, space: ActionSpace, dims: Mapping[str, Source] | None, last: np.ndarray
) -> torch.Tensor:
    """The data's numbers as actions of ``space``, float32 (F, A); ``last`` are the last frames of the episodes."""
    end = _end(space)
    if dims is None:
        dims = {name: name for name in space.names if name in about.names}
        missing = [name for name in space.names if name not in dims and name != end[0]]
        if missing:
            raise ValueError(
                f"{about.folder} has no {', '.join(missing)}: its numbers are {about.names}. Say where each comes from, "
                f"dims={{{missing[0]!r}: {about.names[0]!r}, ...}}; those left out stay 0. Or space=None for the data's own."
            )
    out = np.zeros((len(values), len(space)), np.float32)
    for name, source in dims.items():
        word, factor, offset = (source, 1.0, 0.0) if isinstance(source, str) else (*source, 0.0)[:3]
        if word not in about.names:
            raise ValueError(f"{about.folder} has no number {word!r}. There are {', '.join(about.names)}.")
        out[:, space.index(name)] = values[:, about.names.index(word)] * np.float32(factor) + np.float32(offset)
    if end[0] and end[0] not in dims:
        column = space.index(end[0])
        out[:, column] = end[2]
        out[last, column] = end[1]
    _warn_of_clipping(out, space, dims)
    return space.check(out)


def _end(space: ActionSpace) -> tuple[str, int, int]:
    """The number that ends an episode, its class that does, and the first class that does not; "" if there is none."""
    for dim in space.dims:
        stops = [i for i, name in enumerate(dim.classes) if name in ("stop", "terminate")]
        if stops:
            return dim.name, stops[0], next(i for i in range(len(dim.classes)) if i not in stops)
    return "", 0, 0


def _warn_of_clipping(values: np.ndarray, space: ActionSpace, names: Mapping[str, Source]) -> None:
    """Say which numbers lie outside their range: a tokenizer would cut them off without a word."""
    wrong = []
    for name in names:
        dim, column = space.dims[space.index(name)], values[:, space.index(name)]
        outside = float(((column < dim.low - 1e-6) | (column > dim.high + 1e-6)).mean())
        if outside > 0 and not dim.classes:
            wrong.append(
                f"{name}: {outside:.1%} of {column.min():.3g} ... {column.max():.3g}, allowed {dim.low} ... {dim.high}"
            )
    if wrong:
        warnings.warn(f"Beyond the action space, so clipped: {'; '.join(wrong)}. Try (name, factor) in dims.", stacklevel=4)

"""LeRobot's dataset layout: ours out and in again, and other people's data in.

The exporter was also held against the lerobot package itself (0.4.4), which read its files and wrote files for the importer.
"""

import io
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from course_lib.actions import ActionSpace
from course_lib.datasets import Windows, record, video
from course_lib.datasets.lerobot import import_lerobot, look
from course_lib.datasets.lerobot_export import export_lerobot

CAMERA = "observation.images.camera"


@pytest.fixture(scope="module")
def episodes():
    return record(9, seed=5)


@pytest.fixture(scope="module")
def exported(episodes, tmp_path_factory):
    return export_lerobot(episodes, tmp_path_factory.mktemp("png"), size=32, episodes_per_file=4, progress=False)


def words(data):
    return [data.sentences()[t] for t in data.task.tolist()]


def test_what_is_exported_comes_back_exactly(episodes, exported):
    back = import_lerobot(exported, progress=False)
    assert torch.equal(back.images, episodes.pictures(torch.arange(episodes.frames), 32))
    assert torch.equal(back.actions, episodes.actions) and back.space == ActionSpace.workbook() and back.fps == 3
    assert torch.equal(back.start, episodes.start) and torch.equal(back.length, episodes.length)
    assert words(back) == words(episodes)


def test_imported_data_trains_as_the_episodes_it_was_made_from(episodes, exported):
    back = import_lerobot(exported, progress=False)
    stored = Windows(back, torch.eye(len(back.sentences())), batch=4, history=3)(7)
    drawn = Windows(episodes, torch.eye(len(episodes.tasks)), batch=4, history=3, size=32)(7)
    assert all(torch.equal(stored[k], drawn[k]) for k in ("images", "actions", "valid"))


def test_footage_can_be_exported_again(episodes, exported, tmp_path):
    back = import_lerobot(exported, progress=False)
    again = import_lerobot(export_lerobot(back, tmp_path, progress=False), progress=False)
    assert torch.equal(again.images, back.images) and torch.equal(again.actions, back.actions)


def test_the_files_are_those_of_version_3_0(episodes, exported):
    info = json.loads((exported / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 3
    assert info["total_episodes"] == 9 and info["total_frames"] == episodes.frames and info["splits"] == {"train": "0:9"}
    assert info["features"]["action"]["names"] == list(ActionSpace.workbook().names)
    assert info["features"][CAMERA] == {"dtype": "image", "shape": [32, 32, 3], "names": ["height", "width", "channels"]}
    files = sorted(exported.glob("data/chunk-000/*.parquet"))
    assert [f.name for f in files] == ["file-000.parquet", "file-001.parquet", "file-002.parquet"]
    assert [pq.ParquetFile(f).num_row_groups for f in files] == [4, 4, 1]  # one per episode
    table = pa.concat_tables([pq.read_table(f) for f in files])
    assert set(table.column_names) == set(info["features"])
    assert table["index"].to_pylist() == list(range(episodes.frames))
    assert table["timestamp"].to_numpy() == pytest.approx(table["frame_index"].to_numpy() / 3)
    assert table.schema.field("action").type == pa.list_(pa.float32(), 11)
    known = json.loads(pq.read_schema(files[0]).metadata[b"huggingface"])["info"]["features"]
    assert known[CAMERA] == {"_type": "Image"}


def test_the_metadata_says_where_each_episode_lies(episodes, exported):
    rows = pq.read_table(exported / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["data/file_index"] for row in rows] == [0] * 4 + [1] * 4 + [2]
    assert [row["dataset_from_index"] for row in rows] == episodes.start.tolist()
    assert [row["dataset_to_index"] - row["dataset_from_index"] for row in rows] == episodes.length.tolist()
    assert [row["tasks"] for row in rows] == [[sentence] for sentence in words(episodes)]
    tasks = pq.read_table(exported / "meta/tasks.parquet")
    assert tasks["task"].to_pylist() == list(dict.fromkeys(words(episodes)))
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_the_statistics_are_those_of_all_frames(episodes, exported):
    stats = json.loads((exported / "meta/stats.json").read_text())
    actions = episodes.actions.double().numpy()
    pictures = episodes.pictures(torch.arange(episodes.frames), 32).double().numpy() / 255
    for name, values, axes in (("action", actions, 0), (CAMERA, pictures, (0, 1, 2))):
        for what in ("min", "max", "mean", "std"):
            assert np.ravel(stats[name][what]) == pytest.approx(getattr(values, what)(axes), abs=1e-9), (name, what)
        assert stats[name]["count"] == [episodes.frames]
    assert np.shape(stats[CAMERA]["mean"]) == (3, 1, 1)


def test_video_brings_back_every_frame_at_its_place(episodes, tmp_path):
    back = import_lerobot(
        export_lerobot(episodes, tmp_path, size=32, as_video=True, episodes_per_file=4, progress=False), progress=False
    )
    true = episodes.pictures(torch.arange(episodes.frames), 32).float()
    error = (back.images[:, None].float() - true).abs().mean((2, 3, 4))  # (F, F): each frame with each
    assert (error.diagonal() < 8).all() and torch.equal(back.actions, episodes.actions)
    same = (true[:, None] - true).abs().amax((2, 3, 4)) == 0  # a robot that stands still shows the same picture twice
    assert same[torch.arange(len(true)), error.argmin(1)].float().mean() > 0.95


# ---- other people's data


def png(picture):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png")
    return {"bytes": out.getvalue(), "path": None}


def picture(episode, frame, height=24, width=32):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 7, y * 9, np.full_like(x, 60 * episode + 9 * frame)], -1).astype(np.uint8)


NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
LENGTHS = (4, 2, 5)


@pytest.fixture
def theirs(tmp_path):
    """Version 2.1 as others publish it: a file per episode, two cameras, 7 numbers, 5 Hz."""
    cameras = {
        f"observation.images.{n}": {"dtype": "image", "shape": [24, 32, 3], "names": None} for n in ("front", "wrist")
    }
    features = cameras | {"action": {"dtype": "float32", "shape": [7], "names": {"motors": NAMES}}}
    info = {"codebase_version": "v2.1", "robot_type": "arm", "fps": 5, "chunks_size": 1000, "features": features}
    info |= {"total_episodes": 3, "total_frames": sum(LENGTHS), "video_path": None}
    (tmp_path / "meta").mkdir()
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    tasks = [{"task_index": i, "task": t} for i, t in enumerate(["pick can", "open drawer"])]
    (tmp_path / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    stats = []
    for e, n in enumerate(LENGTHS):
        action = np.float32([[0.1 * (t + 1) * (d + 1) * (-1) ** e for d in range(7)] for t in range(n)])
        action[:, 6] = np.arange(n) % 2  # gripper: 0 or 1
        stats.append({"episode_index": e, "stats": {"action": {k: getattr(action, k)(0).tolist() for k in ("min", "max")}}})
        columns = {"action": action.tolist(), "timestamp": [t / 5 for t in range(n)], "frame_index": list(range(n))}
        columns |= {"episode_index": [e] * n, "index": list(range(n)), "task_index": [e % 2] * n}
        columns["observation.images.front"] = [png(picture(e, t)) for t in range(n)]
        columns["observation.images.wrist"] = [png(255 - picture(e, t)) for t in range(n)]
        pq.write_table(pa.table(columns), tmp_path / f"data/chunk-000/episode_{e:06d}.parquet")
    (tmp_path / "meta/episodes_stats.jsonl").write_text("\n".join(map(json.dumps, stats)))
    return tmp_path


def front(folder, **choices):
    return import_lerobot(folder, camera="observation.images.front", progress=False, **choices)


def test_a_look_says_what_there_is_to_choose(theirs):
    text = str(look(theirs))
    assert "LeRobot v2.1, 3 episodes, 11 frames at 5 Hz, robot arm" in text
    assert "observation.images.front 24x32 (image) · observation.images.wrist 24x32 (image)" in text
    assert "7 numbers: x -0.2 ... 0.5 · y -0.4 ... 1" in text and "2: pick can · open drawer" in text


def test_without_choices_the_numbers_stay_as_they_are(theirs):
    data = front(theirs)
    assert data.space.names == tuple(NAMES) and data.fps == 5 and data.instructions == ("pick can", "open drawer")
    assert data.length.tolist() == list(LENGTHS) and data.task.tolist() == [0, 1, 0]
    assert data.actions[:4, 1] == pytest.approx([0.2, 0.4, 0.6, 0.8]) and data.space.high[0] == pytest.approx(0.5)
    true = [picture(e, t) for e, n in enumerate(LENGTHS) for t in range(n)]
    assert np.array_equal(data.images.numpy(), np.stack(true))


def test_numbers_are_mapped_scaled_and_shifted_and_the_last_frame_says_terminate(theirs):
    dims = {"arm_x": ("x", 0.1), "arm_z": ("z", -0.01), "gripper": ("gripper", -2, 1)}
    data = front(theirs, space=ActionSpace.workbook(), dims=dims, size=16)
    raw, space = front(theirs).actions, data.space
    assert data.actions[:, space.index("arm_x")].tolist() == pytest.approx((raw[:, 0] * 0.1).tolist())
    assert data.actions[:, space.index("arm_z")].tolist() == pytest.approx((raw[:, 2] * -0.01).tolist())
    assert data.actions[:4, space.index("gripper")].tolist() == [1, -1, 1, -1]
    last = (data.start + data.length - 1).tolist()
    assert data.actions[:, -1].nonzero()[:, 0].tolist() == last
    assert (data.actions[:, space.index("arm_y")] == 0).all() and data.images.shape == (11, 16, 16, 3)


def test_rt1s_own_modes_end_with_terminate_and_move_the_arm_before(theirs):
    data = front(theirs, space=ActionSpace.official(), dims={"world_vector_x": "x"})
    mode = data.actions[:, 0].tolist()
    assert mode == [1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0]


def test_some_episodes_may_be_chosen(theirs):
    for chosen in ([2, 0], slice(0, 3, 2)):
        data = front(theirs, episodes=chosen)
        assert data.length.tolist() == [4, 5] and data.instructions == ("pick can",)
        assert np.array_equal(data.images[4].numpy(), picture(2, 0))


def test_a_stop_of_their_own_is_kept(exported, episodes):
    data = import_lerobot(exported, space=ActionSpace.workbook(), progress=False)
    assert torch.equal(data.actions, episodes.actions)


def test_choices_that_are_missing_are_listed(theirs):
    with pytest.raises(ValueError, match=r"Expected camera=... with one of \['observation.images.front', "):
        import_lerobot(theirs)
    with pytest.raises(ValueError, match=r"has no arm_x, .*its numbers are \('x', 'y', .*dims=\{'arm_x': 'x', ...\}"):
        front(theirs, space=ActionSpace.workbook())
    with pytest.raises(ValueError, match=r"has no number 'X'. There are x, y, z"):
        front(theirs, space=ActionSpace.workbook(), dims={"arm_x": "X"})
    with pytest.raises(ValueError, match="No action dimension is called 'arm'"):
        front(theirs, space=ActionSpace.workbook(), dims={"arm": "x"})
    with pytest.raises(ValueError, match=r"no 'actions'. Its columns: .*action"):
        front(theirs, action="actions")


def test_numbers_beyond_the_range_are_told_before_a_tokenizer_clips_them(theirs):
    with pytest.warns(UserWarning, match=r"arm_x: 100.0% of -0.2 ... 0.5, allowed -0.05 ... 0.05.*Try \(name, factor\)"):
        front(theirs, space=ActionSpace.workbook(), dims={"arm_x": "x"})


def test_what_is_missing_or_damaged_is_named(theirs):
    path = theirs / "data/chunk-000/episode_000001.parquet"
    whole = path.read_bytes()
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)  # the first frame is gone
    with pytest.raises(ValueError, match="lacks frames"):
        front(theirs)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"episode_000001.parquet is not a parquet file"):
        front(theirs)
    assert len(front(theirs, episodes=[0, 2])) == 2  # the others are still good
    path.unlink()
    with pytest.raises(ValueError, match=r"lacks episode 1 \(1 are missing\)"):
        front(theirs)


def test_a_picture_that_cannot_be_opened_is_named(theirs):
    path = theirs / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    cells = [{"bytes": b"no picture", "path": "frame-0.png"}, *table["observation.images.front"].to_pylist()[1:]]
    at = table.column_names.index("observation.images.front")
    pq.write_table(table.set_column(at, "observation.images.front", pa.array(cells)), path)
    with pytest.raises(ValueError, match=r"The picture frame-0.png cannot be read"):
        front(theirs)


@pytest.mark.parametrize(
    ("version", "words"), [("v1.6", "says version v1.6; known here are v2.0"), (None, "says version None")]
)
def test_other_versions_are_refused(theirs, version, words):
    info = json.loads((theirs / "meta/info.json").read_text()) | {"codebase_version": version}
    (theirs / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=words):
        look(theirs)


def test_a_folder_without_metadata_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"info.json is not readable .*Is .* a LeRobot dataset"):
        look(tmp_path)


def test_an_export_does_not_overwrite(episodes, exported):
    with pytest.raises(ValueError, match="already holds a dataset"):
        export_lerobot(episodes, exported)


def test_a_video_that_ends_early_is_noticed(tmp_path):
    frames = [picture(0, t) for t in range(4)]
    video.encode(frames, tmp_path / "a.mp4", 5)
    assert len(list(video.decode(tmp_path / "a.mp4", [0.2, 0.6], 5))) == 2
    with pytest.raises(ValueError, match=r"shows nothing at 1.000 s"):
        list(video.decode(tmp_path / "a.mp4", [0.0, 1.0], 5))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="is not a video that can be read"):
        list(video.decode(tmp_path / "b.mp4", [0.0], 5))
    with pytest.raises(ValueError, match="even height and width, got 23x32"):
        video.encode([picture(0, 0, 23)], tmp_path / "c.mp4", 5)


def test_without_the_extra_packages_the_message_says_what_to_install(theirs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match="Try: pip install av"):
        video.encode([picture(0, 0)], tmp_path / "d.mp4", 5)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="Try: pip install pyarrow"):
        front(theirs)

"""Episodes on disk."""

import json
from dataclasses import fields

import pytest
import torch

from course_lib.datasets import Episodes, Windows, record, storage
from course_lib.datasets.storage import load, load_footage, record_to, save
from course_lib.world.experts import expert
from course_lib.world.render import render
from course_lib.world.tasks import PICK_TASKS


@pytest.fixture(scope="module")
def episodes():
    return record(13, seed=5)


@pytest.fixture
def folder(episodes, tmp_path):
    return save(episodes, tmp_path / "set", shard=5)


def same(a: Episodes, b: Episodes) -> bool:
    """Equal to the last bit."""
    states = all(torch.equal(getattr(a.states[:], f.name), getattr(b.states[:], f.name)) for f in fields(a.states[:]))
    rest = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("actions", "start", "length", "task"))
    return states and rest and a.tasks == b.tasks


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, **changes):
    """Change the header of a dataset."""
    path = folder / storage.HEADER
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_loaded_is_what_was_saved(episodes, folder):
    assert sorted(files(folder)) == ["episodes.json", *(f"states-0000{i}.safetensors" for i in range(3))]
    assert same(load(folder), episodes)


def test_a_recording_on_disk_holds_the_episodes_of_a_recording_in_memory(tmp_path):
    shorter = record_to(tmp_path / "a", 11, seed=3, shard=4, progress=False, disturbance=0.3)
    assert same(load(shorter), record(11, seed=3, disturbance=0.3))


def faint(state, goals):
    """An expert that gives up at once on some tables, so that their seeds are replaced by others."""
    action = expert(state, goals)
    tired = state.seed % 3 == 0
    action[tired] = 0
    action[tired, -1] = 1
    return action


def test_failed_episodes_are_replaced_on_disk_as_in_memory(tmp_path):
    folder = record_to(tmp_path, 9, seed=1, shard=2, progress=False, expert=faint)
    assert same(load(folder), record(9, seed=1, expert=faint)) and (load(folder).states[:].seed % 3 != 0).all()


@pytest.mark.parametrize("survivors", [1, 2])
def test_an_interrupted_recording_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch, survivors):
    whole = record_to(tmp_path / "whole", 11, seed=3, shard=4, pictures=16, progress=False)
    calls = iter(range(100))

    def killed(*arguments, **options):
        if next(calls) == survivors:
            raise KeyboardInterrupt
        return record(*arguments, **options)

    monkeypatch.setattr(storage, "record", killed)
    with pytest.raises(KeyboardInterrupt):
        record_to(tmp_path / "cut", 11, seed=3, shard=4, pictures=16, progress=False)
    monkeypatch.setattr(storage, "record", record)
    with pytest.raises(ValueError, match=rf"holds {4 * survivors} of 11 episodes: its recording was interrupted"):
        load(tmp_path / "cut")
    assert len(load(tmp_path / "cut", partial=True)) == 4 * survivors
    (tmp_path / "cut" / "states-00002.safetensors").write_bytes(b"half a shard")  # what a power cut may leave
    record_to(tmp_path / "cut", 11, seed=3, shard=4, pictures=16, progress=False)
    assert files(tmp_path / "cut") == files(whole)


def test_a_finished_recording_is_left_as_it_is(tmp_path, monkeypatch):
    before = files(record_to(tmp_path, 3, seed=3, progress=False))
    monkeypatch.setattr(storage, "record", None)  # would fail if called
    assert files(record_to(tmp_path, 3, seed=3, progress=False)) == before


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"shard": 5}, {"disturbance": 0.0}, {"tasks": PICK_TASKS[:1]}, {"pictures": 16}]
)
def test_another_recording_in_the_folder_is_not_continued(tmp_path, other):
    record_to(tmp_path, 3, seed=3, shard=4, progress=False)
    with pytest.raises(ValueError, match="holds another recording"):
        record_to(tmp_path, 3, **({"seed": 3, "shard": 4} | other), progress=False)


def test_stored_pictures_are_the_drawn_ones_and_train_alike(episodes, tmp_path):
    footage = load_footage(save(episodes, tmp_path, shard=5, pictures=32), check=True)
    assert torch.equal(footage.pictures(torch.arange(footage.frames)), render(episodes.states[:], 32))
    words = torch.eye(len(episodes.tasks))
    stored, drawn = Windows(footage, words, batch=4)(0), Windows(episodes, words, batch=4, size=32)(0)
    assert all(torch.equal(stored[key], drawn[key]) for key in drawn)


def test_saving_does_not_overwrite(episodes, folder):
    with pytest.raises(ValueError, match="already holds a dataset"):
        save(episodes, folder)


def test_a_truncated_shard_is_named_with_its_size(folder):
    path = folder / "states-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"states-00001.safetensors is truncated or changed: expected \d+ bytes"):
        load(folder)


def test_one_changed_bit_is_noticed(folder):
    path = folder / "states-00002.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="was changed: expected sha256"):
        load(folder)


def test_a_missing_shard_is_named(folder):
    (folder / "states-00000.safetensors").unlink()
    with pytest.raises(ValueError, match=r"states-00000.safetensors is missing from"):
        load(folder)


def test_a_file_of_another_kind_is_refused_even_with_the_right_checksum(folder):
    path = folder / "states-00000.safetensors"
    path.write_bytes(b"PK\x03\x04 a zip file")
    rows = json.loads((folder / storage.HEADER).read_text())["shards"]
    rows[0]["states"] = {"file": path.name, "bytes": path.stat().st_size, "sha256": storage._sha256(path)}
    edit(folder, shards=rows)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "lerobot"}, "of another program"),
        ({"schema": 2}, "has schema 2, this course reads 1. Try a newer course"),
        ({"objects": ["apple"]}, "recorded with other objects"),
        ({"action": ["x", "y"]}, "recorded with other action"),
    ],
)
def test_headers_that_cannot_be_read_say_why(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_a_header_that_is_cut_off_or_incomplete_is_refused(folder):
    path = folder / storage.HEADER
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(ValueError, match="is not readable"):
        load(folder)
    header = json.loads(text)
    del header["shards"]
    path.write_text(json.dumps(header))
    with pytest.raises(ValueError, match="lacks shards"):
        load(folder)


def test_a_folder_without_a_header_or_without_pictures_says_so(folder, tmp_path):
    with pytest.raises(ValueError, match=r"holds no episodes.json"):
        load(tmp_path)
    with pytest.raises(ValueError, match="holds states but no pictures"):
        load_footage(folder)


def test_a_failed_write_leaves_no_file_behind(tmp_path):
    def broken(beside):
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        storage.write_beside(tmp_path / "x", broken)
    assert not list(tmp_path.iterdir())

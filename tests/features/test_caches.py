"""Features that runs share: whole or not at all, in one place, below a size."""

import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.cli import main
from keras_transfer.core import checks
from keras_transfer.features import caches, rows, store, writers

ROW = {"pool": ((4,), np.dtype("float32"))}


def maker(value, calls, count=3):
    def make(folder):
        calls.append(folder)
        with writers.Folder(folder) as writer:
            writer.open(ROW, rows=count)
            writer.add({"pool": np.full((count, 4), value, "float32")})
            return writer.close(about={"examples": count})

    return make


def test_made_once_and_found_after(tmp_path):
    folder, calls = kt.features.CacheFolder(tmp_path), []
    first, was_there = folder.get("k", maker(1, calls), size=48)
    again, is_there = folder.get("k", maker(2, calls), size=48)
    assert (was_there, is_there, len(calls)) == (False, True, 1)
    np.testing.assert_array_equal(first["pool"], again["pool"])
    assert [(entry.key, entry.is_finished) for entry in folder.entries()] == [("k", True)]


def test_the_lock_of_another_user_is_enough(tmp_path, monkeypatch):
    folder, calls = kt.features.CacheFolder(tmp_path), []
    folder.get("k", maker(1, calls), size=48)
    opened = pathlib.Path.open

    def refuse(self, mode="r", **options):
        if self.parent.name == caches.LOCKS and "a" in mode:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, **options)

    def refuse_time(path):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    monkeypatch.setattr(os, "utime", refuse_time)
    found, is_there = folder.get("k", maker(2, calls), size=48)
    assert is_there
    assert (found["pool"] == 1).all()


def test_what_cannot_be_removed_does_not_count_as_removed(tmp_path, monkeypatch):
    folder = kt.features.CacheFolder(tmp_path)
    folder.get("k", maker(1, []), size=48)
    with monkeypatch.context() as changed:
        changed.setattr(caches.shutil, "rmtree", lambda *_, **__: None)
        assert folder.clear() == 0
    assert folder.clear() > 0


@pytest.mark.parametrize("damage", ["no manifest", "cut off", "nonsense"])
def test_what_is_not_whole_is_made_again(damage, tmp_path):
    folder, calls = kt.features.CacheFolder(tmp_path), []
    folder.get("k", maker(1, calls), size=48)
    if damage == "no manifest":
        os.rename(tmp_path / "kept-k" / store.MANIFEST, tmp_path / "kept-k" / store.PARTIAL)
    elif damage == "cut off":
        file = next((tmp_path / "kept-k").glob("*.npy"))
        file.write_bytes(file.read_bytes()[:-1])
    else:
        (tmp_path / "kept-k" / store.MANIFEST).write_text("{")
    found, is_there = folder.get("k", maker(2, calls), size=48)
    assert not is_there
    assert (found["pool"] == 2).all()


def test_the_oldest_goes_first(tmp_path):
    folder, calls = kt.features.CacheFolder(tmp_path, max_bytes=100_000), []
    for at, key in enumerate("abc"):
        folder.get(key, maker(at, calls, count=2000), size=32_000)
        os.utime(tmp_path / f"kept-{key}" / store.MANIFEST, (at, at))
    folder.get("a", maker(9, calls), size=32_000)  # used again
    folder.get("d", maker(3, calls, count=4000), size=64_000)
    assert {entry.key for entry in folder.entries()} == {"a", "d"}
    with pytest.raises(
        checks.InputError, match="`max_bytes` must have room for the features. Given: 0 MB for 1 MB"
    ):
        folder.get("e", maker(4, calls), size=1_000_000)


def test_no_room_on_the_disk(tmp_path):
    with pytest.raises(checks.InputError, match="the disk must have room for the features"):
        kt.features.CacheFolder(tmp_path).get("k", maker(1, []), size=10**18)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    maker(1, [])(tmp_path / "mine")  # features of the user's
    folder = kt.features.CacheFolder(tmp_path)
    folder.get("k", maker(1, []), size=48)
    assert folder.clear() > 48
    assert (tmp_path / "photos" / "cat.jpg").exists()
    assert kt.features.load(tmp_path / "mine").about["examples"] == 3
    assert folder.entries() == []


def test_the_place_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path))
    assert kt.features.CacheFolder().path == tmp_path
    monkeypatch.delenv("KERAS_TRANSFER_CACHE")
    assert kt.features.CacheFolder().path == pathlib.Path.home() / ".cache" / "keras_transfer"


WAITING = """
import pathlib, time
import keras_transfer as kt
def make(folder):
    pathlib.Path(arguments[1]).touch()
    time.sleep(60)
kt.features.CacheFolder(arguments[0]).get("k", make, size=1)
"""


def test_another_process_is_waited_for_as_long_as_it_lives(tmp_path, fork):
    other = fork(WAITING, tmp_path / "cache", tmp_path / "making")
    try:
        while not (tmp_path / "making").exists():
            assert other.is_alive()
            time.sleep(0.01)
        folder, started = kt.features.CacheFolder(tmp_path / "cache"), time.perf_counter()
        with folder._locked("k", wait=False) as is_free:
            assert not is_free
        other.kill()
        folder.get("k", maker(1, []), size=48)
        assert time.perf_counter() - started < 30
    finally:
        other.kill()
        other.join()


@pytest.mark.parametrize("system", ["one call", "two calls"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_of_a_file_are_those_of_the_array(dtype, system, tmp_path, monkeypatch):
    if system == "two calls":  # Windows
        monkeypatch.delattr(os, "preadv")
    array = np.random.default_rng(0).normal(size=(11, 3, 2)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    places = [7, 0, 10, 7]
    np.testing.assert_array_equal(rows.FileRows(mapped)(places), array[places])
    np.testing.assert_array_equal(np.asarray(rows.FileRows(mapped)), array)
    for source in (tf.constant(array), rows.FileRows(mapped)):
        np.testing.assert_array_equal(rows.reader(source)(np.array(places)), array[places])


def test_a_file_that_was_removed_is_read_on(tmp_path):
    array = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", array)
    found = rows.FileRows(np.load(tmp_path / "a.npy", mmap_mode="r"))
    (tmp_path / "a.npy").unlink()
    np.testing.assert_array_equal(found([2]), array[[2]])


def test_the_command(tmp_path, capsys):
    kt.features.CacheFolder(tmp_path).get("k", maker(1, []), size=48)
    (tmp_path / "kept-half").mkdir()
    (tmp_path / "kept-half" / store.PARTIAL).touch()
    assert main.main(["cache", "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "3 rows of pool" in shown
    assert "not finished" in shown
    assert ": 2 entries in" in shown
    assert main.main(["cache", "--folder", str(tmp_path), "--clear", "--unused-days", "1"]) == 0
    assert ": 1 entry in" in capsys.readouterr().out
    assert main.main(["cache", "--folder", str(tmp_path), "--clear"]) == 0
    assert ": 0 entries in" in capsys.readouterr().out

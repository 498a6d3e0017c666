"""Rows go in batch by batch and come out whole, or not at all."""

import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.features import store, writers

SPECS = {"a": ((2, 2), np.dtype("float32")), "b": ((3,), np.dtype("float16"))}


def parts(sizes):
    rng = np.random.default_rng(0)
    return [
        {path: rng.normal(size=(n, *shape)).astype(dtype) for path, (shape, dtype) in SPECS.items()}
        for n in sizes
    ]


def whole(batches):
    return {path: np.concatenate([batch[path] for batch in batches]) for path in SPECS}


@pytest.mark.parametrize("rows", [None, 3, 12, 40], ids=str)
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_rows_in_equal_rows_out(kind, rows, tmp_path):
    """Whether the number of rows is unknown, too low, right, or too high."""
    batches = parts([4, 4, 3, 1])
    with writers.Memory() if kind == "memory" else writers.Folder(tmp_path / "out") as writer:
        writer.open(SPECS, rows=rows)
        for batch in batches:
            writer.add(batch)
        features = writer.close()
    for path, expected in whole(batches).items():
        np.testing.assert_array_equal(features[path], expected)
        assert features[path].dtype == expected.dtype


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "targets.npy").write_text("mine")
    with pytest.raises(checks.InputError, match="`to` must be an empty folder"):
        writers.Folder(tmp_path)
    assert (tmp_path / "targets.npy").read_text() == "mine"


def fill(path, **options):
    with writers.Folder(path, **options) as writer:
        writer.open(SPECS, rows=4)
        for batch in parts([4]):
            writer.add(batch)
        return writer.close(targets=np.arange(4))


def test_finished_features_are_not_overwritten_by_chance(tmp_path):
    fill(tmp_path)
    with pytest.raises(
        checks.InputError, match="which holds features. Load them with .* or pass overwrite=True"
    ):
        fill(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with writers.Folder(tmp_path, overwrite=True) as writer:
        writer.open({"c": SPECS["b"]}, rows=None)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "0-c.npy",
            "features.partial",
            "notes.txt",
        ]
        writer.add({"c": parts([2])[0]["b"]})
        assert list(writer.close()) == ["c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0-c.npy",
        "features.json",
        "notes.txt",
    ]


def test_finished_features_stay_until_new_ones_begin(tmp_path):
    fill(tmp_path)
    with pytest.raises(RuntimeError), writers.Folder(tmp_path, overwrite=True):
        raise RuntimeError
    assert len(store.load(tmp_path)["a"]) == 4


def interrupted(path, problem):
    with writers.Folder(path) as writer:
        writer.open(SPECS, rows=None)
        writer.add(parts([4])[0])
        raise problem


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
def test_what_fails_is_removed(problem, tmp_path):
    with pytest.raises(problem):
        interrupted(tmp_path / "new", problem)
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(problem):
        interrupted(tmp_path / "old", problem)
    assert list((tmp_path / "old").iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(checks.InputError, match="`to` must be a folder that can be written to"):
        writers.Folder(tmp_path / "file" / "out")


def test_layers_of_similar_paths_get_files_of_their_own(tmp_path):
    specs = {"a/b": SPECS["b"], "a_b": SPECS["b"], "x" * 300: SPECS["b"]}
    with writers.Folder(tmp_path / "out") as writer:
        writer.open(specs, rows=None)
        writer.add({path: np.full((1, 3), at, "float16") for at, path in enumerate(specs)})
        features = writer.close()
    assert [array[0, 0] for array in features.values()] == [0, 1, 2]


def test_room_in_memory_is_asked_for_at_once():
    with pytest.raises(
        checks.InputError, match="must fit into memory.*Write them to a folder with `to`"
    ):
        writers.Memory().open({"a": ((2**40,), np.dtype("float32"))}, rows=2**18)

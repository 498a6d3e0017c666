"""Features as a dict, and the folder that they are read from."""

import json
import pickle

import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.features import store, writers


def two(**rest):
    return store.Features(
        {"trunk/conv": np.ones((2, 3, 3, 4)), "trunk/pool": np.zeros((2, 4))}, **rest
    )


def test_it_reads_like_a_dict():
    features = two(levels={"P4": "trunk/conv"})
    assert list(features) == list(features.keys()) == ["trunk/conv", "trunk/pool"]
    assert len(features) == 2
    assert dict(features).keys() == features.arrays.keys()
    assert [array.shape for array in features.values()] == [
        array.shape for _, array in features.items()
    ]
    for name in ("trunk/pool", "pool", "p*l"):
        assert features[name] is features.arrays["trunk/pool"]
    assert features["P4"] is features.arrays["trunk/conv"]
    assert "P4" in features
    assert "trunk/pool" in features
    assert "P5" not in features


def test_unclear_names():
    with pytest.raises(checks.InputError, match="Close: 'trunk/pool'|Close: 'pool'"):
        two()["pol"]
    with pytest.raises(
        checks.InputError,
        match="must match one layer. Given: 'trunk/.', which matches trunk/conv, ",
    ):
        two()["trunk/*"]


def test_a_single_layer_is_an_array():
    features = store.Features({"pool": np.arange(6).reshape(2, 3)})
    np.testing.assert_array_equal(np.asarray(features), features["pool"])
    assert np.asarray(features, "float32").dtype == np.float32
    assert np.array(features) is not features["pool"]
    assert not np.shares_memory(np.array(features), features["pool"])
    with pytest.raises(
        checks.InputError, match="of one layer to be an array. Given: trunk/conv, trunk/pool"
    ):
        np.asarray(two())


def written(folder, **rest):
    with writers.Folder(folder) as writer:
        writer.open({"a/b": ((2,), np.dtype("float32"))}, rows=None)
        writer.add({"a/b": np.arange(6, dtype="float32").reshape(3, 2)})
        return writer.close(**rest)


def test_everything_comes_back(tmp_path):
    rest = {
        "files": ["x.png", "y\udcff.png", "z.png"],
        "class_names": ["c"],
        "levels": {"P2": "a/b"},
        "about": {"n": 1},
    }
    written(
        tmp_path / "out",
        targets={"age": np.array([1.0, 2.0, 3.0]), "name": np.array(["ä", "b", "c"])},
        **rest,
    )
    features = store.load(str(tmp_path / "out"))
    np.testing.assert_array_equal(features["P2"], [[0, 1], [2, 3], [4, 5]])
    assert features.targets["age"].tolist() == [1, 2, 3]
    assert features.targets["name"].tolist() == ["ä", "b", "c"]
    assert {name: getattr(features, name) for name in rest} == rest


def test_the_files_are_plain_npy(tmp_path):
    written(tmp_path / "out", targets=np.arange(3))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "0-a_b.npy"), [[0, 1], [2, 3], [4, 5]])
    assert np.load(tmp_path / "out" / "targets.npy").tolist() == [0, 1, 2]


def change(folder, **changes):
    manifest = json.loads((folder / "features.json").read_text())
    for key, value in changes.items():
        manifest[key] = value
    (folder / "features.json").write_text(json.dumps(manifest))


LAYER = {"file": "0-a_b.npy", "shape": [3, 2], "dtype": "float32"}
DAMAGE = {
    "no folder": (lambda out: out.rename(out.with_name("elsewhere")), "that `extract` finished"),
    "no manifest": (lambda out: (out / "features.json").unlink(), "that `extract` finished"),
    "no JSON": (
        lambda out: (out / "features.json").write_text("{"),
        "must be what `extract` wrote",
    ),
    "a list": (
        lambda out: (out / "features.json").write_text("[]"),
        "must be what `extract` wrote",
    ),
    "another format": (lambda out: change(out, format=99), "must be of format 1. Given: 99"),
    "no layers": (lambda out: change(out, layers=None), "must be what `extract` wrote"),
    "a file elsewhere": (
        lambda out: change(out, layers={"a": {**LAYER, "file": "../secret.npy"}}),
        "files of its own folder. Given: '../secret.npy'",
    ),
    "targets elsewhere": (
        lambda out: change(out, targets="/etc/passwd"),
        "files of its own folder",
    ),
    "another shape": (
        lambda out: change(out, layers={"a": {**LAYER, "shape": [4, 2]}}),
        r"those of its manifest. .* shape \(3, 2\)",
    ),
    "a missing array": (lambda out: (out / "0-a_b.npy").unlink(), "must be whole"),
    "a short array": (
        lambda out: (out / "0-a_b.npy").write_bytes((out / "0-a_b.npy").read_bytes()[:-4]),
        "whole",
    ),
    "objects": (
        lambda out: np.save(out / "0-a_b.npy", np.array([{}]), allow_pickle=True),
        "must be whole",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_folders(case, tmp_path):
    harm, message = DAMAGE[case]
    written(tmp_path / "out")
    (tmp_path / "secret.npy").write_bytes((tmp_path / "out" / "0-a_b.npy").read_bytes())
    harm(tmp_path / "out")
    with pytest.raises(checks.InputError, match=message) as wrong:
        store.load(tmp_path / "out")
    assert len(str(wrong.value).splitlines()) == 1


class Harm:
    """What a pickle may do: here it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_file_does_not_run(tmp_path):
    written(tmp_path / "out")
    (tmp_path / "out" / "0-a_b.npy").write_bytes(pickle.dumps(Harm(tmp_path / "harm")))
    with pytest.raises(checks.InputError, match="must be whole"):
        store.load(tmp_path / "out")
    assert not (tmp_path / "harm").exists()

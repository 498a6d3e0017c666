"""HDF5 files as data that nobody vouches for."""

import h5py
import numpy as np
import pytest

from keras_transfer.backbones.legacy import hdf5
from keras_transfer.core import checks


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.h5"


def write(path, layers, **attributes):
    """A weights file: layers as {name: {weight: array}}."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs.update(attributes)
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [one.encode() for one in weights]
            for one, array in weights.items():
                group[one] = array
    return path


def refusal(path):
    with (
        pytest.raises(checks.InputError) as caught,
        hdf5.open_file(path, argument="weights") as file,
    ):
        [saved.read() for layer in hdf5.layers(file) for saved in layer.weights]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_layers_come_in_the_order_of_the_file_and_without_those_that_have_no_weights(path):
    kernel = np.arange(6.0).reshape(2, 3)
    write(path, {"z/1": {"z/1/kernel:0": kernel}, "pool": {}, "a": {"bias": np.ones(3, "float16")}})
    with hdf5.open_file(path, argument="weights") as file:
        found = hdf5.layers(file)
        assert [(layer.name, [saved.name for saved in layer.weights]) for layer in found] == [
            ("z/1", ["z/1/kernel:0"]),
            ("a", ["bias"]),
        ]
        assert found[0].weights[0].shape == (2, 3)
        np.testing.assert_array_equal(found[0].weights[0].read(), kernel)


def test_long_lists_of_names_are_kept_in_pieces(path):
    write(path, {"a": {"k": np.ones(1)}, "b": {"k": np.ones(1)}, "c": {"k": np.ones(1)}})
    with h5py.File(path, "r+") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"c", b"a"], [b"b"]
    with hdf5.open_file(path, argument="weights") as file:
        assert [layer.name for layer in hdf5.layers(file)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, (1, None)),
        ({"keras_version": b"1.2.2", "backend": b"theano"}, (1, "theano")),
        ({"keras_version": "2.4.0", "backend": "tensorflow"}, (2, "tensorflow")),
        ({"keras_version": "3.15.1"}, (3, None)),
        ({"keras_version": "tfjs-layers 1.7.4"}, (2, None)),
    ],
)
def test_origin(path, attributes, expected):
    write(path, {}, **attributes)
    with hdf5.open_file(path, argument="weights") as file:
        assert tuple(hdf5.origin(file)) == expected


def test_a_file_without_a_list_of_layers(path):
    with h5py.File(path, "w") as file:
        file["layers/conv/vars/0"] = np.ones(3)
    with hdf5.open_file(path, argument="weights") as file:
        assert hdf5.layers(file) is None


def test_files_that_are_no_whole_hdf5_files(path, tmp_path):
    assert "`weights` must be an existing HDF5 file. Given: " in refusal(tmp_path / "absent.h5")
    path.write_bytes(b"\x89PNG" + bytes(2000))
    assert "`weights` must be a whole HDF5 file" in refusal(path)
    path.write_bytes(b"")
    assert "`weights` must be a whole HDF5 file" in refusal(path)
    write(path, {"a": {"kernel": np.random.default_rng(0).random((50, 50))}})
    path.write_bytes(path.read_bytes()[:-3000])
    assert "truncated" in refusal(path)


def test_damaged_chunks(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"a"]
        file.create_group("a").attrs["weight_names"] = [b"kernel"]
        noise = np.random.default_rng(0).integers(0, 9, (64, 64))
        data = file["a"].create_dataset("kernel", data=noise, chunks=(64, 64), compression="gzip")
        start = data.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    assert "must be a whole HDF5 file" in refusal(path)


def test_only_what_lies_in_the_file_is_read(path, tmp_path):
    secret = write(tmp_path / "secret.h5", {"a": {"kernel": np.ones(3)}})
    (tmp_path / "secret.bin").write_bytes(np.ones(3).tobytes())

    write(path, {"a": {}, "b": {"kernel": np.ones(3)}})
    with h5py.File(path, "r+") as file:
        del file["b"]
        file["b"] = h5py.ExternalLink(str(secret), "a")
    assert "'b' in" in refusal(path)
    assert "is a link to" in refusal(path)

    write(path, {"a": {"inner/kernel": np.ones(3)}})
    with h5py.File(path, "r+") as file:
        del file["a/inner"]
        file["a/inner"] = h5py.ExternalLink(str(secret), "a")
    assert "is a link to" in refusal(path)

    write(path, {"a": {"kernel": np.ones(3)}})
    with h5py.File(path, "r+") as file:
        del file["a/kernel"]
        file["a"].create_dataset(
            "kernel", (3,), "float64", external=[(str(tmp_path / "secret.bin"), 0, 24)]
        )
    assert "kept in another file" in refusal(path)

    with h5py.File(path, "r+") as file:
        del file["a/kernel"]
        layout = h5py.VirtualLayout((3,), "float64")
        layout[:] = h5py.VirtualSource(str(secret), "a/kernel", (3,))
        file["a"].create_virtual_dataset("kernel", layout)
    assert "kept in another file" in refusal(path)


def test_what_is_listed_must_be_there_and_be_numbers(path):
    write(path, {"a": {"kernel": np.ones(3)}})
    with h5py.File(path, "r+") as file:
        del file["a/kernel"]
    assert "'kernel' in" in refusal(path)
    assert "is not there" in refusal(path)
    with h5py.File(path, "r+") as file:
        file["a/kernel"] = ["text"]
    assert "of type object" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["a/kernel"]
        file.create_group("a/kernel")
    assert "'kernel' in an HDF5 file must be a dataset" in refusal(path)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [1, 2]
    assert "a text was expected" in refusal(path)

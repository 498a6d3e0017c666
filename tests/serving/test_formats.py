import os
import pathlib

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

pytestmark = pytest.mark.compiled


def error(model, path, **options):
    with pytest.raises(checks.InputError) as raised:
        kt.export(model, path, **options)
    return str(raised.value)


def listing(folder):
    return sorted(os.listdir(folder))


def test_the_model_stays_as_it_is(small, tmp_path):
    def frozen():
        made = small(kt.tasks.Classification(2, hidden=[4], dropout=0.5))
        made.get_layer("conv").trainable = False
        kt.compile(made, optimizer="sgd")
        return made

    model, twin = frozen(), frozen()
    variables = [variable.numpy() for variable in model.variables]  # the state of dropout included
    flags = [layer.trainable for layer in model.layers]
    optimizer, loss, names = model.optimizer, model.loss, [layer.name for layer in model.layers]
    kt.export(model, tmp_path / "1")
    for old, new in zip(variables, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    assert [layer.trainable for layer in model.layers] == flags
    assert not all(flags)
    assert model.compiled
    assert model.optimizer is optimizer
    assert model.loss is loss
    assert [layer.name for layer in model.layers] == names

    # And it trains on as if nothing had been.
    images, labels = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 3)), np.arange(8) % 2
    for each in (model, twin):
        keras.utils.set_random_seed(1)
        each.fit(images, labels, verbose=0)
    moved = []
    for old, ours, theirs in zip(variables, model.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        moved.append((old != ours.numpy()).any())
    assert any(moved)


def test_one_line_says_what_was_written(small, tmp_path, capfd):
    path = kt.export(small(), tmp_path / "deep" / "photos" / "1")
    out, err = capfd.readouterr()
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    assert path == tmp_path / "deep" / "photos" / "1"
    assert out == (
        f"keras_transfer: exported {path}: SavedModel with serving_default, pixels, features ({size:.1f} MB)\n"
    )
    assert err == ""
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_path_is_replaced_only_when_asked(small, tmp_path):
    model = small()
    path = kt.export(model, str(tmp_path / "1"))
    old = (path / "variables" / "variables.data-00000-of-00001").read_bytes()
    assert error(model, path) == (
        f"`path` must not exist. Given: '{path}'. Choose the next version, or set `overwrite=True`."
    )
    model.get_layer("conv").bias.assign(np.ones(4))
    kt.export(model, path, overwrite=True)
    assert (path / "variables" / "variables.data-00000-of-00001").read_bytes() != old
    assert kt.verify(path, model)["images"] == 16
    assert listing(tmp_path) == ["1"]


def test_overwrite_spares_what_is_no_export(small, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        assert error(small(), tmp_path / name, overwrite=True) == (
            f"`overwrite` replaces an earlier export only. Given: '{tmp_path / name}', which is none."
        )
    assert (tmp_path / "folder" / "precious.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


@keras.saving.register_keras_serializable("tests")
class Undecodable(kt.tasks.Classification):
    def decode(self, outputs):
        raise RuntimeError("no answer")


def test_a_crash_leaves_nothing_and_keeps_the_old(small, tmp_path):
    model = small(Undecodable(2))
    with pytest.raises(RuntimeError, match="no answer"):
        kt.export(model, tmp_path / "1")
    assert listing(tmp_path) == []
    good = small()
    path = kt.export(good, tmp_path / "1")
    with pytest.raises(RuntimeError, match="no answer"):
        kt.export(model, path, overwrite=True)
    assert listing(tmp_path) == ["1"]
    assert kt.verify(path, good)["images"] == 16


def test_unknown_suffix_lists_the_formats(small, tmp_path):
    assert error(small(), tmp_path / "photos.tensors") == (
        "`path` must be in a format that kt.export writes: a folder, which is a SavedModel. "
        f"Given: '{tmp_path / 'photos.tensors'}'. Leave out '.tensors'."
    )
    assert listing(tmp_path) == []


def test_paths_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    text = error(small(), tmp_path / "file" / "1")
    assert text.startswith("`path's parent` must be a folder that can be written to. Given: ")
    assert str(tmp_path / "file") in text
    assert error(small(), "gs://bucket/photos/1").startswith(
        "`path` must be on a local disk. Given: 'gs://bucket/"
    )
    assert not pathlib.Path("gs:").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_parent_is_refused(small, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in error(small(), tmp_path / "1")
    finally:
        tmp_path.chmod(0o700)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_models_that_cannot_be_exported(tmp_path):
    image = keras.Input((8, 8, 3))
    vector = keras.Input((5,))
    flat = keras.layers.Flatten()(image)
    two = keras.Model([image, vector], keras.layers.Concatenate()([flat, vector]), name="two")
    cases = {
        "`model` must be a keras.Model. Given: str.": "a path",
        "`model` must have one input, the image. Given: 2 inputs of 'two'.": two,
    }
    images = "`model` must take images of shape (batch, height, width, channels)."
    cases[f"{images} Given: (None, 5)."] = keras.Model(vector, keras.layers.Dense(1)(vector))
    cases[f"{images} Given: (None, 8, 8, None)."] = keras.Sequential(
        [keras.Input((8, 8, None)), keras.layers.GlobalAveragePooling2D()]
    )
    for text, model in cases.items():
        assert error(model, tmp_path / "new" / "1") == text
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    for model in (Subclassed(), unbuilt):
        assert error(model, tmp_path / "new" / "1").startswith(
            "`model` must be a functional or built sequential"
        )
    assert listing(tmp_path) == []

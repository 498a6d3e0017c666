import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones import weight_files
from keras_transfer.core import checks

backbone = kt.backbone
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8").astype("float32")


def network(*, head=True, width=4, name="own"):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(width, 3, strides=2, name=f"{name}_a")(image)
    x = keras.layers.BatchNormalization(name=f"{name}_b")(x)
    x = keras.layers.Conv2D(width, 3, name=f"{name}_c")(x)
    x = keras.layers.Dense(2, name=f"{name}_logits")(keras.layers.Flatten()(x)) if head else x
    return keras.Model(image, x, name=name)


def run(model):
    return np.asarray(model(PIXELS, training=False))


def written(model, path):
    if path.name == "old.h5":
        keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, str(path))
    elif path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    return path


@pytest.mark.parametrize("name", ["new.weights.h5", "new.keras", "old.h5"])
def test_every_format_gives_the_features_of_the_model_that_was_saved(name, tmp_path):
    original, mine = network(), network()
    file = written(original, tmp_path / name)
    found = backbone(mine, weights=file, preprocess="tf")
    assert found.source["weights"] == name
    np.testing.assert_array_equal(run(found), run(backbone(original, preprocess="tf")))
    np.testing.assert_array_equal(run(mine), run(original))


def test_an_old_file_may_lack_the_head_or_have_one_more(tmp_path, capsys):
    with_head, without = network(name="one"), network(head=False, name="two")
    bare = written(without, tmp_path / "old.h5")
    found = backbone(with_head, weights=bare, preprocess="tf")
    np.testing.assert_array_equal(run(found), run(backbone(without, preprocess="tf")))
    assert "old.h5: 8 weights of 3 layers loaded in order" in capsys.readouterr().out
    full = written(network(name="three"), tmp_path / "old.h5")
    assert backbone(without, weights=full, preprocess="tf").output.shape == (None, 5, 5, 4)


def test_weights_go_into_a_network_of_another_size(tmp_path):
    original = network(head=False)
    found = backbone(
        network(head=False),
        weights=written(original, tmp_path / "a.weights.h5"),
        preprocess="tf",
        image_size=24,
    )
    np.testing.assert_array_equal(
        run_at(found, 24), run_at(backbone(original, preprocess="tf", image_size=24), 24)
    )


def run_at(model, size):
    return np.asarray(model(np.tile(PIXELS, (1, 2, 2, 1))[:, :size, :size], training=False))


@pytest.mark.filterwarnings("ignore:Skipping")
@pytest.mark.parametrize("name", ["new.weights.h5", "old.h5"])
def test_a_file_that_does_not_fit_changes_nothing(name, tmp_path):
    model = network()
    before = run(model)
    for number, other in enumerate((network(width=5), network(head=False, width=5), short())):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(checks.InputError) as raised:
            backbone(model, weights=written(other, tmp_path / str(number) / name), preprocess="tf")
        assert "\n" not in str(raised.value)
        np.testing.assert_array_equal(run(model), before)


def short():
    """Fits, as far as it goes: an old file of it must not leave the upper part of the trunk random."""
    return keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, strides=2, name="a")]
    )


def test_what_is_missing_in_the_trunk_is_named(tmp_path):
    with pytest.raises(
        checks.InputError,
        match="must hold every layer of 'own' that the backbone needs.*without 'own_b'",
    ):
        backbone(network(), weights=written(short(), tmp_path / "old.h5"), preprocess="tf")
    lower = backbone(network(), weights=tmp_path / "old.h5", preprocess="tf", output="own_a")
    assert lower.output.shape == (None, 7, 7, 4)


def test_damaged_and_other_files(tmp_path):
    for name in ("cut.h5", "cut.weights.h5", "cut.keras"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n nothing")
        with pytest.raises(checks.InputError) as raised:
            backbone(network(), weights=tmp_path / name, preprocess="tf")
        assert "\n" not in str(raised.value)
    (tmp_path / "w.txt").touch()
    for wrong, message in [
        (tmp_path / "w.txt", "an .h5, .weights.h5 or .keras"),
        ("imagenet", "'pretrained'"),
        (3, "'pret"),
    ]:
        with pytest.raises(checks.InputError, match=message):
            weight_files.check(wrong)
    layer = keras.layers.Conv2D(2, 3)
    with pytest.raises(checks.InputError, match="must be 'pretrained' or None for a layer"):
        backbone(layer, weights=tmp_path / "cut.h5", preprocess="tf", image_size=8)

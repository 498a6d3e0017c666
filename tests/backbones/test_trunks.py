"""Finding the trunk; what becomes of it is in test_custom.py."""

import keras
import pytest

from keras_transfer import layers
from keras_transfer.backbones import trunks
from keras_transfer.core import checks


def network(*, head=True):
    image = keras.Input((16, 16, 3), name="in")
    x = keras.layers.ReLU(name="act")(keras.layers.Conv2D(4, 3, name="conv")(image))
    x = keras.layers.Conv2D(4, 3, name="conv_2")(x + 1.0)
    if head:
        x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(image, x, name="own")


def names(trunk):
    return [operation.name for operation in trunk.operations]


def test_operations_are_those_below_the_end_bottom_to_top():
    trunk = trunks.find(network())
    assert [name for name in names(trunk) if not name.startswith("add")] == [
        "conv",
        "act",
        "conv_2",
    ]
    assert trunk.end is network_end(trunk)
    assert trunk.mark is None
    assert not trunk.is_prepared


def network_end(trunk):
    return trunk.network.get_layer("conv_2").output


def test_nothing_is_said_where_nothing_is_cut(capsys):
    trunks.find(network(head=False))
    assert capsys.readouterr().out == ""


def test_several_outputs_end_where_they_part():
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, name="conv")(image)
    vector = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(
        image, {name: keras.layers.Dense(1, name=name)(vector) for name in ("age", "height")}
    )
    assert trunks.find(model).end is features


def test_the_mark_of_the_package_is_the_end():
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, name="conv")(
        layers.Preprocess("tf", name="prepare")(image)
    )
    mark = layers.Representation({"name": "x", "preprocessing": "tf"}, name="mark")
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="mask")(mark(features)))
    trunk = trunks.find(model)
    assert (names(trunk), trunk.mark, trunk.is_prepared) == (["prepare", "conv"], mark, True)
    assert trunks.find(model, output="mask").end is model.outputs[0]


def test_the_images_are_no_trunk():
    with pytest.raises(checks.InputError, match="`output` must be above the images. Given: 'in'"):
        trunks.find(network(), output="in")


def test_no_model_at_all():
    with pytest.raises(
        checks.InputError, match="`source` must be a Keras model or layer. Given: int"
    ):
        trunks.find(3, image_size=(8, 8))


def test_a_model_that_fails_on_images():
    layer = keras.layers.Dense(2, name="picky")
    layer.build((None, 8, 8, 5))
    message = r"must be callable on images \(8, 8, 3\). Given: 'picky' \(.*\). Check `image_size` and `channels`"
    with pytest.raises(checks.InputError, match=message) as raised:
        trunks.find(layer, image_size=(8, 8), channels=3)
    assert "\n" not in str(raised.value)

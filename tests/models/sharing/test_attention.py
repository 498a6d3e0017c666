import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.models.sharing import attention


def test_a_wide_open_mask_is_hard_sharing(small):
    """A sigmoid of 40 is 1.0 in float32."""
    network = small.network()
    plain = kt.build_model(network, small.tasks())
    model = kt.build_model(network, small.tasks(), sharing="attention")
    small.same_heads(model, plain)
    for name in ("kind_mask_2_conv_2", "age_mask_2_conv_2"):
        layer = model.get_layer(name)
        layer.set_weights([np.zeros(layer.kernel.shape), np.full(layer.bias.shape, 40.0)])
    for key, values in small.answers(plain).items():
        np.testing.assert_array_equal(small.answers(model)[key], values)


def test_what_a_task_carries_up_reaches_its_mask_only(small):
    model = kt.build_model(
        small.network(), small.tasks(), sharing=kt.models.Attention(["block1", "block2"], width=4)
    )
    before = small.answers(model)
    layer = model.get_layer("age_mask_1_carry")
    layer.kernel.assign(layer.kernel * 3 + 1)
    after = small.answers(model)
    np.testing.assert_array_equal(after["kind"], before["kind"])
    assert np.abs(after["age"] - before["age"]).max() > 0
    taps = {tensor._keras_history.operation.name for tensor in kt.models.shared(model)}
    assert taps == {"block1_relu", "block2_relu", "representation"}


def test_where_it_masks(small, capsys):
    kt.build_model(small.network(), small.tasks(), sharing="attention")
    assert "masks after block2_relu, the end of the trunk" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("below", "above"), [(8, 4), (37, 19), (35, 17), (17, 8), (9, 9), (71, 35), (73, 71), (7, 1)]
)
def test_pooling_gives_the_size_above(below, above):
    size, strides, padding = attention.pooling((below, below), (above, above))
    pooled = keras.layers.AveragePooling2D(size, strides, padding=padding)(
        keras.Input((below, below, 1))
    )
    assert pooled.shape == (None, above, above, 1)


def test_it_needs_maps_of_known_size(small):
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(image), name="any")
    with pytest.raises(checks.InputError, match="a map of known size"):
        kt.build_model(network, small.tasks(), sharing="attention")

import keras
import pytest

import keras_transfer as kt


def momenta(backbone):
    norms = [
        layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    return {layer.momentum for layer in norms}


def own():
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    slow = keras.layers.BatchNormalization(momentum=0.99, name="slow")(x)
    return keras.Model(image, keras.layers.BatchNormalization(momentum=0.5, name="quick")(slow))


def test_random_networks_follow_their_batches():
    random = kt.backbone("MobileNetV2", weights=None, image_size=32, alpha=0.35)
    assert momenta(random) == {0.9}
    assert momenta(kt.backbone("tiny")) == {0.95}


@pytest.mark.parametrize(("weights", "expected"), [(None, {0.9, 0.5}), ("pretrained", {0.99, 0.5})])
def test_a_model_of_the_users_own_is_not_changed(weights, expected):
    network = own()
    assert momenta(kt.backbone(network, weights=weights, preprocess="tf")) == expected
    assert momenta(network) == {0.99, 0.5}

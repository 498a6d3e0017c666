"""Layer by layer: what `tf_keras` computes, read from the `.h5` file that it wrote."""

import os

import keras
import numpy as np
import pytest

from keras_transfer.backbones.legacy import layers
from keras_transfer.backbones.legacy import model as legacy
from keras_transfer.backbones.legacy import values as legacy_values
from keras_transfer.core import checks

old = pytest.importorskip("tf_keras")
L = old.layers
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")

LAYERS = {
    "activation": lambda: L.Activation("swish"),
    "activation that is a layer": lambda: L.Activation(L.LeakyReLU(0.1)),
    "alpha dropout": lambda: L.AlphaDropout(0.2),
    "average pooling": lambda: L.AveragePooling2D(3, strides=2, padding="same"),
    "batch normalisation": lambda: L.BatchNormalization(epsilon=1e-2),
    "batch normalisation without scale": lambda: L.BatchNormalization(scale=False, axis=3),
    "batch normalisation, frozen": lambda: L.BatchNormalization(trainable=False),
    "centre crop": lambda: L.CenterCrop(5, 6),
    "convolution": lambda: L.Conv2D(4, (3, 2), strides=2, padding="same", activation="elu"),
    "convolution in groups": lambda: L.Conv2D(6, 3, groups=3),
    "convolution, dilated": lambda: L.Conv2D(4, 3, dilation_rate=2, use_bias=False),
    "cropping": lambda: L.Cropping2D(((1, 0), (2, 1))),
    "dense": lambda: L.Dense(5, activation=L.LeakyReLU(0.2)),
    "dense with L2": lambda: L.Dense(5, kernel_regularizer="l2", kernel_constraint="max_norm"),
    "depthwise": lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
    "dropout": lambda: L.Dropout(0.5, noise_shape=(None, 1, 1, 6)),
    "elu": lambda: L.ELU(0.5),
    "flatten": lambda: L.Flatten(),
    "global average pooling": lambda: L.GlobalAveragePooling2D(keepdims=True),
    "global max pooling": lambda: L.GlobalMaxPooling2D(),
    "group normalisation": lambda: L.GroupNormalization(3),
    "hard sigmoid": lambda: L.Activation("hard_sigmoid"),
    "hard sigmoid inside": lambda: L.Conv2D(4, 1, activation="hard_sigmoid"),
    "layer normalisation": lambda: L.LayerNormalization(),
    "leaky relu": lambda: L.LeakyReLU(0.1),
    "max pooling": lambda: L.MaxPooling2D(3, strides=2, padding="same"),
    "normalisation": lambda: L.Normalization(),
    "permute": lambda: L.Permute((3, 1, 2)),
    "prelu": lambda: L.PReLU(shared_axes=[1, 2]),
    "random flip": lambda: L.RandomFlip("horizontal"),
    "random rotation": lambda: L.RandomRotation(0.1),
    "random zoom": lambda: L.RandomZoom(0.1),
    "relu 6": lambda: L.ReLU(6.0, negative_slope=0.1, threshold=0.2),
    "rescaling": lambda: L.Rescaling(2.0, -1.0),
    "reshape": lambda: L.Reshape((-1, 6)),
    "resizing": lambda: L.Resizing(5, 7),
    "separable": lambda: L.SeparableConv2D(
        4, 3, padding="same", depth_multiplier=2, activation="relu"
    ),
    "softmax": lambda: L.Softmax(axis=-1),
    "spatial dropout": lambda: L.SpatialDropout2D(0.3),
    "thresholded relu": lambda: L.ThresholdedReLU(0.3),
    "transposed convolution": lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same"),
    "upsampling": lambda: L.UpSampling2D((2, 3)),
    "upsampling, bilinear": lambda: L.UpSampling2D(2, interpolation="bilinear"),
    "zero padding": lambda: L.ZeroPadding2D(((0, 1), (2, 0))),
}


def randomise(model, seed=0):
    """Every weight different from its start; variances stay positive."""
    numbers = np.random.default_rng(seed)
    model.set_weights(
        [
            numbers.uniform(0.2, 1.0, weight.shape).astype(weight.dtype)
            for weight in model.get_weights()
        ]
    )
    return model


def images(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype("float32")


def values(model, x):
    return np.asarray(model(x, training=False))


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    keras.backend.clear_session()
    old.backend.clear_session()


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path):
    inputs = old.Input((10, 11, 6))
    theirs = randomise(old.Model(inputs, LAYERS[name]()(inputs)))
    for layer in theirs.layers:
        if isinstance(layer, L.Normalization):
            layer.finalize_state()
    theirs.save(tmp_path / "old.h5")
    mine = legacy.read_h5(tmp_path / "old.h5")
    x = images(2, 10, 11, 6)
    np.testing.assert_allclose(values(mine, x), values(theirs, x), atol=1e-6, rtol=1e-6)
    assert [len(layer.trainable_weights) for layer in mine.layers] == [
        len(layer.trainable_weights) for layer in theirs.layers
    ]
    mine.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(values(again, x), values(mine, x))


@pytest.mark.parametrize(
    "name", ["Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "Dot"]
)
def test_merging_layer(name, tmp_path):
    inputs = [old.Input((6, 5, 4)), old.Input((6, 5, 4))]
    merged = (
        L.Dot(axes=(1, 1))([L.Flatten()(one) for one in inputs])
        if name == "Dot"
        else getattr(L, name)()(inputs)
    )
    theirs = old.Model(inputs, merged)
    theirs.save(tmp_path / "old.h5")
    mine = legacy.read_h5(tmp_path / "old.h5")
    x = [images(2, 6, 5, 4, seed=seed) for seed in (1, 2)]
    np.testing.assert_allclose(values(mine, x), values(theirs, x), atol=1e-6, rtol=1e-6)


def test_attention_and_embedding(tmp_path):
    inputs = old.Input((6,), dtype="int32")
    tokens = L.Embedding(9, 8)(inputs)
    theirs = randomise(old.Model(inputs, L.MultiHeadAttention(2, 4)(tokens, tokens)))
    theirs.save(tmp_path / "old.h5")
    x = np.random.default_rng(0).integers(0, 9, (2, 6))
    mine = values(legacy.read_h5(tmp_path / "old.h5"), x)
    np.testing.assert_allclose(
        mine, values(theirs, x), atol=1e-5, rtol=1e-5
    )  # sums of 4 terms of size 10


def layer(class_name, keras_version=2, **config):
    return layers.build({"class_name": class_name, "config": config}, keras_version=keras_version)


def checked_layer(class_name, **config):
    layers.check({"class_name": class_name, "config": config}, trust=False)
    return layer(class_name, **config)


def test_the_names_of_keras_1():
    made = layer(
        "Convolution2D", 1, name="conv", nb_filter=4, nb_row=3, nb_col=5, subsample=[2, 1], border_mode="same",
        dim_ordering="tf", init="he_normal", activation="relu", bias=False, W_regularizer={"name": "L1L2Regularizer",
        "l1": 0.0, "l2": 0.1}, b_regularizer=None, activity_regularizer=None, W_constraint={"name": "MaxNorm", "m": 3,
        "axis": 0}, b_constraint=None, input_dtype="float32", trainable=False,
    )  # fmt: skip
    assert (made.filters, made.kernel_size, made.strides, made.padding) == (
        4,
        (3, 5),
        (2, 1),
        "same",
    )
    assert (made.data_format, made.use_bias, made.trainable, made.name) == (
        "channels_last",
        False,
        False,
        "conv",
    )
    assert made.activation is keras.activations.relu
    assert isinstance(made.kernel_initializer, keras.initializers.HeNormal)
    assert float(made.kernel_regularizer(np.ones(3, "float32"))) == pytest.approx(0.3)
    assert made.kernel_constraint.max_value == 3

    assert layer("Dense", 1, output_dim=7, init="uniform", input_dim=3).units == 7
    assert layer("Dropout", 1, p=0.25).rate == 0.25
    assert layer(
        "MaxPooling2D", 1, pool_size=[2, 2], border_mode="valid", dim_ordering="th"
    ).data_format == ("channels_first")
    assert layer("ZeroPadding2D", 1, padding=[1, 2], dim_ordering="tf").padding == ((1, 1), (2, 2))
    assert layer("ZeroPadding2D", 1, padding=[1, 2, 3, 4], dim_ordering="tf").padding == (
        (1, 2),
        (3, 4),
    )
    assert (
        layer("BatchNormalization", 1, mode=0, axis=1, gamma_init="one", beta_init="zero").axis == 1
    )
    assert isinstance(
        layer("Merge", 1, mode="sum", concat_axis=-1, dot_axes=-1, output_shape=None),
        keras.layers.Add,
    )
    assert layer("Merge", 1, mode="concat", concat_axis=3).axis == 3


def test_other_spellings():
    assert layer("BatchNormalizationV1", axis=[3], momentum=0.9, fused=True).axis == 3
    assert layer(
        "LeakyReLU", alpha={"type": "ndarray", "value": 0.2}
    ).negative_slope == pytest.approx(0.2)
    assert layer(
        "Dropout", rate=0.1, noise_shape={"class_name": "__tuple__", "items": [None, 1]}
    ).noise_shape == (
        None,
        1,
    )
    assert layer("Activation", activation="relu6").activation is keras.activations.relu6
    assert layer(
        "Dense", units=1, dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}
    ).compute_dtype == ("float16")
    made = layer("DepthwiseConv2D", kernel_size=3, filters=None, groups=1, kernel_initializer="he_normal",
                 depthwise_initializer={"class_name": "VarianceScaling", "config": {"scale": 2, "mode": "fan_out",
                 "distribution": "normal", "seed": None, "dtype": "float32"}})  # fmt: skip
    assert made.depthwise_initializer.get_config()["distribution"] == "truncated_normal"
    assert (
        layer("Activation", keras_version=3, activation="hard_sigmoid").activation
        is keras.activations.hard_sigmoid
    )


def test_an_unknown_initialiser_is_told_and_left_out(capsys):
    made = layer(
        "Dense",
        units=1,
        kernel_initializer={"class_name": "EfficientConv2DKernelInitializer", "config": {}},
    )
    assert isinstance(made.kernel_initializer, keras.initializers.GlorotUniform)
    assert (
        "Keras 3 has no initialiser 'EfficientConv2DKernelInitializer'" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("class_name", "config", "message"),
    [
        (
            "DepthwiseConv2D",
            {"kernel_size": 3, "groups": 2},
            "must exist in Keras 3. Given: groups=2",
        ),
        ("BatchNormalization", {"mode": 2}, "must exist in Keras 3. Given: mode=2"),
        ("BatchNormalization", {"axis": [1, 2]}, "must be over one axis"),
        ("Dense", {"units": 3, "colour": "red"}, "Given: colour='red'"),
        ("Dense", {"units": -3}, "must be one that Keras 3 can make. Given: Dense 'it'"),
        (
            "Dense",
            {"units": {"class_name": "Evil", "config": {}}},
            "must be numbers, texts and lists",
        ),
        (
            "Dense",
            {"units": 3, "activation": "explode"},
            "an activation must be known. Given: 'explode'",
        ),
        (
            "Dense",
            {
                "units": 3,
                "activation": {"class_name": "function", "config": "system", "module": "os"},
            },
            "'system'",
        ),
        (
            "Dense",
            {"units": 3, "kernel_regularizer": {"class_name": "Mine", "config": {}}},
            "Given: 'Mine'",
        ),
        ("Dense", {"units": 3, "kernel_constraint": "mine"}, "Given: 'mine'"),
        (
            "Dense",
            {"units": 3, "dtype": {"config": {"name": "int8_from_float32"}}},
            "precision of a layer",
        ),
        ("Dense", {"units": 3, "dtype": ["float32"]}, "precision of a layer"),
        ("Merge", {"mode": ["sum"]}, "must be known"),
        ("TFOpLambda", {"function": ["nn.relu"]}, "must be plain arithmetic"),
    ],
)
def test_what_keras_3_cannot_do_is_refused(class_name, config, message):
    with pytest.raises(checks.InputError) as caught:
        checked_layer(class_name, name="it", **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["TFSMLayer", "TorchModuleWrapper", "StringLookup", "TextVectorization", "LSTM", "Mine"]
)
def test_layers_that_run_code_or_open_files_are_not_known(name):
    with pytest.raises(checks.InputError, match=f"must be known. Given: {name} 'it'"):
        layers.check({"class_name": name, "config": {"name": "it"}}, trust=True)


def test_every_known_layer_exists():
    for name in layers._KNOWN | set(layers._RENAMED.values()):
        assert issubclass(getattr(keras.layers, name), keras.layers.Layer)


def test_classes_and_functions_of_the_users_own():
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def cube(x):
        return x**3

    entry = {"class_name": "Twice", "config": {"name": "it", "trainable": True, "dtype": "float32"}}
    with keras.saving.custom_object_scope({"Twice": Twice, "cube": cube}):
        layers.check(entry, trust=False)
        made = layers.build(entry, keras_version=2)
        assert (type(made), made.name) == (Twice, "it")
        assert layer("Activation", activation="cube").activation is cube
        assert (
            layer("Activation", activation={"class_name": "function", "config": "cube"}).activation
            is cube
        )
        assert legacy_values.find_function("cube") is cube
    assert legacy_values.find_function("cube") is None
    with keras.saving.custom_object_scope({"os": os, "path": "text"}):
        assert legacy_values.find_layer("os") is None
        assert legacy_values.find_function("path") is None

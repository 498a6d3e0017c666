"""The user's own Keras models: the features are those of the user's own pipeline, to the bit."""

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_transfer as kt
from keras_transfer import layers, testing
from keras_transfer.backbones import custom
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers import marks

SIZE = 32
backbone = kt.backbone


def pixels(size=SIZE, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, size, size, channels), dtype="uint8")


def trunk(x, name=""):
    for number, width in enumerate((8, 12, 16), 1):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", name=f"{name}conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"{name}bn{number}")(x)
        x = keras.layers.ReLU(name=f"{name}relu{number}")(x)
    skip = keras.layers.Conv2D(16, 1, name=f"{name}skip")(x)
    return keras.layers.ReLU(name=f"{name}last")(skip + x)


def flat(size=SIZE, *, rescale=False, name="flat"):
    image = keras.Input((size, size, 3), name="picture")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(image) if rescale else image
    x = keras.layers.GlobalAveragePooling2D(name="pool")(trunk(x))
    return keras.Model(image, keras.layers.Dense(4, name="logits")(x), name=name)


def nested():
    inner_image = keras.Input((SIZE, SIZE, 3))
    inner = keras.Model(inner_image, trunk(inner_image), name="inner")
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), inner, *head], name="nested")


def sequential():
    blocks = [
        keras.layers.Conv2D(8, 3, strides=2, name=f"conv{number}", activation="relu")
        for number in (1, 2)
    ]
    head = [keras.layers.Flatten(), keras.layers.Dense(9, activation="relu"), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *blocks, *head], name="sequential")


@keras.saving.register_keras_serializable("tests_custom")
class Subclassed(keras.Model):
    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.first = keras.layers.Conv2D(width, 3, strides=2, padding="same", name="first")
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.second = keras.layers.Conv2D(width, 3, strides=2, padding="same", name="second")

    def call(self, inputs, training=None):
        return self.second(ops.relu(self.norm(self.first(inputs), training=training)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests_custom")
def halves(x):
    return x / 127.5 - 1.0


def part(model, name):
    """The user's own way to the features."""
    inner = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    return keras.Model(inner.inputs[0], inner.get_layer(name).output)


def run(model, images):
    """Eagerly: TensorFlow rearranges sums and products in the graphs of `predict`."""
    return np.asarray(model(images.astype("float32"), training=False))


def bitwise(found, expected):
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


# The contract


@pytest.mark.parametrize("make", [flat, nested, sequential])
def test_contract(make):
    testing.check_backbone(backbone(make(), preprocess="tf"))


def test_contract_of_a_subclassed_model():
    testing.check_backbone(backbone(Subclassed(name="sub"), preprocess="tf", image_size=SIZE))


# The same features


@pytest.mark.parametrize(
    ("make", "last"), [(flat, "last"), (nested, "last"), (sequential, "conv2")]
)
def test_features_are_those_of_the_users_pipeline(make, last):
    model = make()
    found = backbone(model, preprocess=halves)
    expected = run(part(model, last), halves(pixels().astype("float32")))
    bitwise(run(found, pixels()), expected)
    assert np.abs(expected).max() > 0


@pytest.mark.parametrize("module", ["mobilenet_v2", "densenet", "vgg16", "efficientnet"])
def test_keras_own_functions_are_known_by_their_mode(module):
    function = getattr(keras.applications, module).preprocess_input
    found = backbone(flat(), preprocess=function)
    assert found.source["preprocessing"] == {
        "mobilenet_v2": "tf",
        "densenet": "torch",
        "vgg16": "caffe",
    }.get(module, "inside")
    mode = found.get_layer("preprocess")
    expected = np.asarray(function(ops.convert_to_tensor(pixels().astype("float32"))))
    np.testing.assert_allclose(np.asarray(mode(pixels())), expected, rtol=1e-6, atol=1e-6)


def test_nested_equals_flat():
    model = nested()
    bitwise(
        run(backbone(model, preprocess="tf"), pixels()),
        run(backbone(model.get_layer("inner"), preprocess="tf"), pixels()),
    )


def test_layers_are_the_models_own_and_its_blocks_are_found():
    found = backbone(nested(), preprocess="tf")
    assert [block.name for block in found.blocks] == ["conv1", "conv2", "conv3", "skip"]
    assert found.blocks[0].layers == ("image", "preprocess", "conv1", "bn1", "relu1")
    assert found.levels == {"P2": "relu2", "P3": "last"}


def test_what_is_trained_in_the_backbone_is_trained_in_the_model():
    model = flat()
    found = backbone(model, preprocess="tf")
    assert {id(v) for v in found.weights} == {
        id(v) for v in model.weights if "logits" not in v.path
    }
    before = run(model, halves(pixels()))
    found.get_layer("conv1").kernel.assign(found.get_layer("conv1").kernel * 2)
    assert np.abs(run(model, halves(pixels())) - before).max() > 0


def test_save_and_load(tmp_path):
    found = backbone(nested(), preprocess=halves)
    found.save(tmp_path / "b.keras")
    again = kt.load_model(tmp_path / "b.keras")
    assert again.source == found.source == {
        "name": "nested", "weights": "pretrained", "arguments": {}, "image_size": [SIZE, SIZE],
        "preprocessing": "tests_custom>halves",
    }  # fmt: skip
    assert again.blocks == found.blocks
    bitwise(run(again, pixels()), run(found, pixels()))


def test_two_stages_of_fine_tuning():
    found = backbone(nested(), preprocess="tf")
    model = kt.build_model(found, kt.tasks.Classification(["a", "b"]))
    images = np.concatenate([pixels(seed=seed) for seed in range(8)])
    data = kt.data.from_arrays(images, np.arange(16) % 2, batch_size=4, validation=0.25, seed=0)
    before = {layer.name: layer.get_weights() for layer in found.layers}
    history = kt.fine_tune(model, data, epochs=(1, 1), unfreeze="conv3", verbose=0)
    assert len(history.history["loss"]) == 2
    moved = {
        name for name, old in before.items()
        if any((new != value).any() for new, value in zip(found.get_layer(name).get_weights(), old, strict=True))
    }  # fmt: skip
    # The best epoch's weights stay, which may be those of the first stage.
    assert moved <= {"conv3", "skip"}
    trained = {
        path.partition("/")[0]
        for path, layer in paths.leaves(model).items()
        if layer.trainable_weights
    }
    assert trained == {"conv3", "skip", "classification_logits"}


# Where it ends


def test_the_head_is_cut_off_and_that_is_said(capsys):
    assert backbone(nested(), preprocess="tf").output.shape == (None, 4, 4, 16)
    assert (
        "nested is used up to 'last'; left out above it: global_average_pooling2d"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("output", ["relu2", "inner/relu2", "relu[12]", "in*/conv2*"])
def test_output_names_a_layer(output):
    model = nested()
    found = backbone(model, preprocess=halves, output=output)
    last = "conv2" if "conv2" in output else "relu2"
    bitwise(run(found, pixels()), run(part(model, last), halves(pixels().astype("float32"))))


def test_output_names_a_nested_model_or_the_head():
    assert backbone(nested(), preprocess="tf", output="inner").output.shape == (None, 4, 4, 16)
    assert backbone(flat(), preprocess="tf", output="logits").output.shape == (None, 4)


def test_unknown_output():
    with pytest.raises(
        checks.InputError, match="`output` must match a layer. Given: 'rel2'. Close: 'relu2'"
    ):
        backbone(flat(), preprocess="tf", output="rel2")


# Preprocessing


def test_a_model_that_rescales_itself(capsys):
    model = flat(rescale=True)
    found = backbone(model)
    assert (
        "flat rescales pixels by its own layers, so nothing else does (preprocess='inside')"
        in capsys.readouterr().out
    )
    assert found.source["preprocessing"] == "inside"
    bitwise(run(found, pixels()), run(part(model, "last"), pixels()))
    backbone(model, preprocess="tf")
    assert "after preprocess='tf'" in capsys.readouterr().out


def test_a_model_that_says_nothing_is_asked():
    with pytest.raises(checks.InputError, match="`preprocess` must be given for 'flat'") as raised:
        backbone(flat())
    for mode in layers.preprocess.MODES:
        assert str(raised.value).count(repr(mode)) == 1
    assert "\n" not in str(raised.value)


def test_preprocess_by_a_layer():
    model = flat()
    found = backbone(model, preprocess=keras.layers.Rescaling(1 / 127.5, -1))
    assert found.source["preprocessing"] == "Rescaling"
    expected = run(
        part(model, "last"),
        np.asarray(keras.layers.Rescaling(1 / 127.5, -1)(pixels().astype("float32"))),
    )
    bitwise(run(found, pixels()), expected)


def test_a_layer_that_resizes_decides_what_the_network_gets():
    model = flat()
    found = backbone(model, image_size=48, preprocess=keras.layers.Resizing(SIZE, SIZE))
    assert found.input_shape == (None, 48, 48, 3)
    assert {id(v) for v in found.weights} <= {id(v) for v in model.weights}


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ("torhc", "`preprocess` must be .*Given: 'torhc'. Close: 'torch'"),
        (3, "`preprocess` must be .*Given: 3"),
        (lambda x: x / 255, "Write `@keras.saving.register_keras_serializable"),
    ],
)
def test_bad_preprocess(preprocess, message):
    with pytest.raises(checks.InputError, match=message):
        backbone(flat(), preprocess=preprocess)


@keras.saving.register_keras_serializable("tests_custom")
def with_numpy(x):
    return np.asarray(x) / 255


@keras.saving.register_keras_serializable("tests_custom")
def to_a_vector(x):
    return ops.mean(x, axis=(1, 2))


@pytest.mark.parametrize(
    ("function", "message"),
    [(with_numpy, "must take a tensor"), (to_a_vector, "must give a tensor")],
)
def test_functions_that_cannot_work(function, message):
    with pytest.raises(checks.InputError, match=message):
        backbone(flat(), preprocess=function)


def test_names_that_the_backbone_would_use():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="preprocess")(image)
    model = keras.Model(image, keras.layers.ReLU(name="image_1")(x))
    assert [layer.name for layer in backbone(model, preprocess="tf").layers] == [
        "image", "preprocess_1", "preprocess", "image_1", "representation",
    ]  # fmt: skip
    renamed = keras.Model(image, keras.layers.ReLU(name="representation")(x))
    with pytest.raises(checks.InputError, match="'representation' must be free"):
        backbone(renamed, preprocess="tf")


# Size, channels, weights


def test_another_size_makes_the_layers_again_with_the_same_weights(capsys):
    model = flat()
    found = backbone(model, preprocess=halves, image_size=48)
    larger = flat(48)
    larger.set_weights(model.get_weights())
    bitwise(run(found, pixels(48)), run(part(larger, "last"), halves(pixels(48).astype("float32"))))
    assert not {id(v) for v in found.weights} & {id(v) for v in model.weights}
    assert "flat was rebuilt for images (48, 48, 3)" in capsys.readouterr().out


def test_a_model_of_any_size_keeps_its_layers():
    model = flat(None)
    found = backbone(model, preprocess="tf", image_size=(48, 40))
    assert found.input_shape == (None, 48, 40, 3)
    assert {id(v) for v in found.weights} <= {id(v) for v in model.weights}
    assert backbone(model, preprocess="tf").source["image_size"] is None


def test_adapted_statistics_go_over_to_another_size():
    norm = keras.layers.Normalization(name="norm")
    norm.adapt(pixels().astype("float32"))
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(norm(image)))
    larger = backbone(model, preprocess="inside", image_size=48)
    expected = model.get_layer("conv")(norm(pixels(48).astype("float32")))
    np.testing.assert_allclose(run(larger, pixels(48)), np.asarray(expected), rtol=1e-6, atol=1e-6)


def test_a_dense_layer_on_the_places_of_a_map_fixes_the_size():
    with pytest.raises(
        checks.InputError, match="must leave the weights of layer 'dense.*' their shapes"
    ):
        backbone(sequential(), preprocess="tf", output="dense*", image_size=48)
    image = keras.Input((8, 8, 3))
    laid_out = keras.layers.Reshape((4, 4, 12))(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(laid_out), name="fixed")
    with pytest.raises(
        checks.InputError, match=r"must suit 'fixed', which was built for \(8, 8, 3\)"
    ):
        backbone(model, preprocess="tf", image_size=10)


def test_random_weights_leave_the_model_alone():
    model = flat()
    before = model.get_weights()
    found = backbone(model, preprocess="tf", weights=None)
    assert found.source["weights"] is None
    for one, other in zip(before, model.get_weights(), strict=True):
        bitwise(one, other)
    kernels = [one.get_layer("conv1").kernel.numpy() for one in (found, model)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


@pytest.mark.parametrize("count", [1, 2, 4])
def test_grey_pictures_give_the_features_of_their_rgb_copies(count):
    model = flat()
    grey = pixels(channels=1)
    for mode in ("tf", "torch", "caffe"):
        rgb = run(backbone(model, preprocess=mode), np.repeat(grey, 3, axis=-1))
        found = backbone(model, preprocess=mode, channels=count)
        assert (found.source["channels"], found.source["channel_mode"]) == (count, "mean")
        error = np.linalg.norm(run(found, np.repeat(grey, count, axis=-1)) - rgb) / np.linalg.norm(
            rgb
        )
        assert error < 1e-4, mode


def test_channels_that_a_model_cannot_be_given():
    grey = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)], name="grey")
    assert custom.from_model(grey, preprocess="torch").input_shape == (None, 8, 8, 1)
    with pytest.raises(
        checks.InputError, match="`channels` must be 1, which the model takes. Given: 4 for 'grey'"
    ):
        custom.from_model(grey, preprocess="tf", channels=4)
    norm = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0], name="norm")
    model = keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Conv2D(2, 3)])
    with pytest.raises(
        checks.InputError, match=r"must be 3 for a model that normalises each colour \('norm'\)"
    ):
        backbone(model, preprocess="inside", channels=1)


# Models without a graph


def test_a_subclassed_model_is_one_layer_with_the_features_of_its_call(tmp_path):
    model = Subclassed(name="sub")
    found = backbone(model, preprocess=halves, image_size=SIZE)
    expected = np.asarray(model(halves(pixels().astype("float32"))))
    np.testing.assert_allclose(run(found, pixels()), expected, rtol=1e-6, atol=1e-6)
    assert [block.name for block in found.blocks] == ["sub"]
    assert found.blocks[0].layers == ("image", "preprocess", "sub/first", "sub/norm", "sub/second")
    assert found.levels == {"P2": "sub"}
    found.save(tmp_path / "b.keras")
    bitwise(run(kt.load_model(tmp_path / "b.keras"), pixels()), run(found, pixels()))


def test_a_subclassed_model_that_was_built_says_its_size():
    model = Subclassed()
    model(np.zeros((1, 24, 20, 3), "float32"))
    assert custom.from_model(model, preprocess="tf").input_shape == (None, 24, 20, 3)
    with pytest.raises(
        checks.InputError, match="`image_size` must be given for a model without a graph"
    ):
        backbone(Subclassed(), preprocess="tf")


class Unregistered(Subclassed):
    pass


@keras.saving.register_keras_serializable("tests_custom")
class WithoutConfig(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("tests_custom")
class Several(Subclassed):
    def call(self, inputs, training=None):
        features = super().call(inputs, training=training)
        return {"features": features, "pooled": ops.mean(features, axis=(1, 2))}


def test_classes_that_could_not_be_loaded_are_refused():
    line = r"Write `@keras.saving.register_keras_serializable\('my_package'\)` above `class Unregistered`"
    with pytest.raises(checks.InputError, match=f"Unregistered of layer 'mine'.*{line}"):
        backbone(Unregistered(name="mine"), preprocess="tf", image_size=SIZE)
    with pytest.raises(
        checks.InputError, match="must be one that its config makes again: WithoutConfig"
    ):
        backbone(WithoutConfig(keras.layers.Conv2D(2, 3)), preprocess="tf", image_size=SIZE)


def test_one_of_several_outputs_of_a_subclassed_model():
    model = Several()
    assert backbone(model, preprocess="tf", image_size=SIZE, output="pooled").output.shape == (
        None,
        8,
    )
    with pytest.raises(checks.InputError, match="must give one tensor.*It gives: features, pooled"):
        backbone(model, preprocess="tf", image_size=SIZE)
    with pytest.raises(checks.InputError, match="must be a key of what the model gives"):
        backbone(model, preprocess="tf", image_size=SIZE, output="feature")
    with pytest.raises(checks.InputError, match="must be left out for a model without a graph"):
        backbone(Subclassed(), preprocess="tf", image_size=SIZE, output="first")


def test_a_sequential_model_that_was_never_built():
    model = keras.Sequential([keras.layers.Conv2D(4, 3, name="a"), keras.layers.ReLU(name="b")])
    found = backbone(model, preprocess="tf", image_size=8)
    assert [layer.name for layer in found.layers] == [
        "image",
        "preprocess",
        "a",
        "b",
        "representation",
    ]


def test_a_functional_model_with_a_call_of_its_own_is_taken_at_its_word():
    image = keras.Input((8, 8, 3))
    model = Doubled(inputs=image, outputs=keras.layers.Conv2D(4, 3, name="conv")(image))
    found = backbone(model, preprocess="inside", image_size=8)
    expected = 2 * np.asarray(model.get_layer("conv")(pixels(8).astype("float32")))
    np.testing.assert_allclose(run(found, pixels(8)), expected, rtol=1e-5)


@keras.saving.register_keras_serializable("tests_custom")
class Doubled(keras.Model):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


# Backbones and models of the package


def test_a_backbone_is_returned_or_ended_elsewhere():
    first = backbone("tiny", weights=None)
    assert backbone(first) is first
    lower = backbone(first, output="block2_relu")
    assert lower.source["blocks"] == first.source["blocks"]
    assert [layer for layer in lower.layers if isinstance(layer, layers.Preprocess)] == [
        first.get_layer("preprocess")
    ]
    bitwise(
        run(lower, pixels()),
        run(keras.Model(first.input, first.get_layer("block2_relu").output), pixels()),
    )
    with pytest.raises(
        checks.InputError, match="`preprocess` must be left out for a model that has the package's"
    ):
        backbone(first, preprocess="tf")


def test_a_backbone_for_another_size():
    first = backbone("tiny", weights=None)
    larger = backbone(first, image_size=48)
    plain = backbone("tiny", weights=None, image_size=48)
    plain.set_weights(first.get_weights())
    bitwise(run(larger, pixels(48)), run(plain, pixels(48)))
    assert larger.source == plain.source
    with pytest.raises(
        checks.InputError, match="`channels` must be 3, which the backbone takes.*Build it anew"
    ):
        backbone(first, channels=1)


def test_the_trunk_of_a_model_of_the_package():
    first = backbone("tiny", weights=None)
    model = kt.build_model(first, kt.tasks.Classification(2))
    found = backbone(model)
    assert (found.source, found.blocks) == (first.source, first.blocks)
    bitwise(run(found, pixels()), run(first, pixels()))
    pooled = backbone(model, output="classification_pool")
    assert [layer.name for layer in pooled.layers if isinstance(layer, layers.Representation)] == [
        "representation"
    ]
    assert marks.representation(pooled) is not marks.representation(model)
    bitwise(
        run(pooled, pixels()),
        np.asarray(keras.layers.GlobalAveragePooling2D()(run(first, pixels()))),
    )
    wrapped = keras.Sequential(
        [keras.Input((32, 32, 3)), first, keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    bitwise(run(backbone(wrapped), pixels()), run(first, pixels()))


# Other kinds of networks


def transformer(*, head=True):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 4, strides=4, name="patches")(image)
    x = keras.layers.Reshape((16, 8))(x)
    x = x + keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    if head:
        x = keras.layers.Dense(3, name="logits")(
            keras.layers.GlobalAveragePooling1D(name="pool")(x)
        )
    return keras.Model(image, x, name="transformer")


def test_a_transformer_ends_above_its_tokens(capsys):
    model = transformer()
    found = backbone(model, preprocess="inside")
    bitwise(run(found, pixels(16)), run(part(model, "pool"), pixels(16)))
    tokens = backbone(transformer(head=False), preprocess="inside")
    assert tokens.output.shape == (None, 8)
    assert "gives 16 vectors for each image (tokens): their mean is used" in capsys.readouterr().out


def test_a_classifier_that_keeps_its_places_until_the_end():
    """MobileNet's classifier is a convolution of the pooled map."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(trunk(image))
    x = keras.layers.Conv2D(10, 1, name="classifier")(x)
    found = backbone(keras.Model(image, keras.layers.Reshape((10,))(x)), preprocess="tf")
    assert found.output.shape == (None, 4, 4, 16)


def test_layers_of_one_name_stay_nested(capsys):
    def inner(name):
        return keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, name="conv")], name=name
        )

    model = keras.Sequential(
        [keras.Input((16, 16, 3)), inner("one"), inner("two"), keras.layers.Flatten()]
    )
    found = backbone(model, preprocess="tf")
    assert "blocks cannot be told apart within one, two" in capsys.readouterr().out
    assert [block.layers for block in found.blocks] == [
        ("image", "preprocess", "one/conv"),
        ("two/conv",),
    ]
    testing.check_backbone(found)


def test_a_lambda_is_taken_and_said(capsys, tmp_path):
    image = keras.Input((8, 8, 3))
    doubled = keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 3), name="twice")(image)
    found = backbone(
        keras.Model(image, keras.layers.Conv2D(2, 3)(doubled)), preprocess="tf", image_size=8
    )
    assert "hold Python code, of twice: loading it needs trust=True" in capsys.readouterr().out
    found.save(tmp_path / "b.keras")
    with pytest.raises(checks.InputError, match="must not carry code"):
        kt.load_model(tmp_path / "b.keras")
    bitwise(run(kt.load_model(tmp_path / "b.keras", trust=True), pixels(8)), run(found, pixels(8)))


def several_inputs():
    images = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    return keras.Model(images, keras.layers.Concatenate()(images))


def numbers():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def channels_first():
    image = keras.Input((3, 8, 8))
    return keras.Model(
        image, keras.layers.ZeroPadding2D(data_format="channels_first", name="pad")(image)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (several_inputs, "must take one batch of images"),
        (numbers, r"must take one batch of images.*takes \(None, 4\)"),
        (channels_first, "channels last. Given: channels first in 'pad'"),
    ],
)
def test_models_of_something_else(make, message):
    with pytest.raises(checks.InputError, match=message):
        backbone(make(), preprocess="tf")


# Real weights


def squeezenet():
    """SqueezeNet 1.1 without its classifier, as its paper and the file's layers have it."""
    image = keras.Input((227, 227, 3))
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(image)
    x = keras.layers.MaxPooling2D(3, 2)(x)
    for number, (squeeze, expand) in enumerate(
        [(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, 2
    ):
        x = keras.layers.Conv2D(squeeze, 1, activation="relu", name=f"fire{number}_squeeze")(x)
        sides = [
            keras.layers.Conv2D(
                expand, size, padding="same", activation="relu", name=f"fire{number}_expand{size}"
            )(x)
            for size in (1, 3)
        ]
        x = keras.layers.Concatenate(name=f"fire{number}")(sides)
        if number in (3, 5):
            x = keras.layers.MaxPooling2D(3, 2)(x)
    return keras.Model(image, x, name="squeezenet")


def photos(folder, size):
    files = sorted(pathlib.Path(folder).rglob("*.jpg"))
    return kt.data.load_images(files, size), [file.parent.name for file in files]


@pytest.mark.realdata
@pytest.mark.slow
def test_squeezenet_from_its_file(real_data):
    """The same features as after loading the file in the order of the layers, whose accuracy is measured there."""
    file = real_data / "weights" / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    found = backbone(squeezenet(), weights=file, preprocess="caffe")
    assert [block.name for block in found.blocks][:2] == ["conv1", "fire2_squeeze"]
    ordered = squeezenet()
    kt.backbones.load_by_order(ordered, file)
    images, _ = photos(real_data / "caltech24" / "test" / "crab", 227)
    bitwise(run(found, images[:4]), run(backbone(ordered, preprocess="caffe"), images[:4]))


@pytest.mark.realdata
def test_a_network_of_keras_as_a_users_own_model(real_data):
    """The same features as by its name, from the same file, on real pixels."""
    file = (
        real_data / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )
    own = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=str(file)
    )
    by_name = backbone("MobileNetV2", weights=file, alpha=0.35)
    images, _ = photos(real_data / "caltech24" / "test" / "crab", 224)
    bitwise(run(backbone(own, preprocess="tf"), images[:4]), run(by_name, images[:4]))

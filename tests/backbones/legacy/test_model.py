"""Complete `.h5` models: those that `tf_keras` and Keras 3 write, Keras 1 by hand, a real one, and hostile ones."""

import json

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import keras_transfer as kt
from keras_transfer.backbones.legacy import model as legacy
from keras_transfer.core import checks

old = pytest.importorskip("tf_keras")
L = old.layers
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "old.h5"


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    keras.backend.clear_session()
    old.backend.clear_session()


def images(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype("float32")


def randomise(model, seed=0):
    numbers = np.random.default_rng(seed)
    model.set_weights(
        [
            numbers.uniform(0.2, 1.0, weight.shape).astype(weight.dtype)
            for weight in model.get_weights()
        ]
    )
    return model


def values(model, x):
    return np.asarray(model(x, training=False))


def assert_same(model, path, x, rtol=1e-6, atol=1e-6):
    """Saves an old model, reads it, and compares what both say about `x`."""
    if path.suffix == ".h5":
        model.save(path)
    mine, expected = values(legacy.read_h5(path), x), values(model, x)
    np.testing.assert_allclose(mine, expected, atol=atol * max(1, np.abs(expected).max()))


def small_trunk(name="trunk"):
    """A functional model with a residual."""
    inputs = old.Input((8, 8, 3), name=f"{name}_image")
    x = L.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}_conv")(inputs)
    x = L.BatchNormalization(name=f"{name}_bn")(x)
    y = L.SeparableConv2D(4, 3, padding="same", activation="relu", name=f"{name}_sep")(x)
    x = L.Concatenate(name=f"{name}_concat")([L.Add(name=f"{name}_add")([x, y]), x])
    return old.Model(inputs, x, name=name)


# --- what tf_keras writes


def test_functional(path):
    assert_same(randomise(small_trunk()), path, images(2, 8, 8, 3))
    model = legacy.read_h5(path)
    assert [layer.name for layer in model.layers][:3] == ["trunk_image", "trunk_conv", "trunk_bn"]
    assert model.name == "trunk"


def test_sequential_with_and_without_input(path):
    layers = [L.Conv2D(3, 3, name="conv"), L.Flatten(), L.Dense(2, activation="softmax")]
    assert_same(old.Sequential([old.Input((6, 6, 3)), *layers]), path, images(2, 6, 6, 3))
    late = old.Sequential([L.Conv2D(3, 3), L.Flatten()])
    late(images(1, 6, 6, 3))  # the file fixes the batch at 1, the model read from it does not
    assert_same(late, path, images(2, 6, 6, 3))


def test_nested_models_with_frozen_layers_and_a_model_that_is_called_twice(path):
    trunk = small_trunk()
    trunk.get_layer("trunk_bn").trainable = False
    inputs = [old.Input((8, 8, 3), name="left"), old.Input((8, 8, 3), name="right")]
    body = old.Sequential(
        [trunk, old.Sequential([L.GlobalAveragePooling2D(), L.Dense(3, name="dense")])], name="body"
    )
    outputs = L.Subtract()([body(one) for one in inputs])
    model = randomise(old.Model(inputs, outputs))
    x = [images(2, 8, 8, 3, seed=seed) for seed in (1, 2)]
    assert_same(model, path, x)
    mine = legacy.read_h5(path)
    assert [type(layer).__name__ for layer in mine.layers] == [
        "InputLayer",
        "InputLayer",
        "Functional",
        "Subtract",
    ]
    assert not mine.get_layer("body").get_layer("trunk").get_layer("trunk_bn").trainable

    # The same file with names that say nothing: then the order decides, in which frozen layers come later.
    with h5py.File(path, "r+") as file:
        group = file["model_weights/body"]
        names = list(group.attrs["weight_names"])
        assert "trunk_bn/gamma" in names[-4]
        for at, name in enumerate(names):
            group.move(name, f"weight_{at}")
        group.attrs["weight_names"] = [f"weight_{at}".encode() for at in range(len(names))]
    np.testing.assert_array_equal(values(legacy.read_h5(path), x), values(mine, x))


def test_names_beat_order_where_they_are_known(path):
    model = randomise(small_trunk())
    expected = values(model, images(1, 8, 8, 3))
    model.save(path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/trunk_bn"]
        group.attrs["weight_names"] = list(group.attrs["weight_names"])[
            ::-1
        ]  # four vectors of one length
        weights = file["model_weights"]
        weights.attrs["layer_names"] = list(weights.attrs["layer_names"])[::-1]
    np.testing.assert_allclose(
        values(legacy.read_h5(path), images(1, 8, 8, 3)), expected, rtol=1e-6, atol=1e-6
    )


def test_a_shared_layer_and_several_outputs(path):
    inputs = old.Input((8, 8, 3))
    conv = L.Conv2D(3, 3, padding="same", name="shared")
    once = conv(inputs)
    model = old.Model(inputs, [conv(once), L.GlobalMaxPooling2D()(once)])
    model.save(path)
    x = images(2, 8, 8, 3)
    for mine, expected in zip(legacy.read_h5(path)(x), model(x), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-6)


def test_arithmetic_between_layers(path):
    inputs = old.Input((8, 8, 3))
    x = inputs / 127.5 - 1.0
    y = L.Conv2D(3, 3, padding="same")(x)
    y = (3.0 - y) * L.GlobalAveragePooling2D(keepdims=True)(y) - 2.0 * y + x + [0.5, 0.25, 0.125]
    model = old.Model(inputs, old.activations.relu(y, max_value=6.0))
    assert_same(model, path, images(2, 8, 8, 3))
    mine = legacy.read_h5(path)
    mine.save(path.with_suffix(".keras"))
    again = keras.models.load_model(path.with_suffix(".keras"))
    np.testing.assert_array_equal(
        values(again, images(2, 8, 8, 3)), values(mine, images(2, 8, 8, 3))
    )


def test_arithmetic_that_no_layer_does_is_refused(path):
    inputs = old.Input((8, 8, 3))
    old.Model(inputs, 1.0 / inputs).save(path)
    assert "must be what a layer of Keras does. Given: TFOpLambda 'tf.math.truediv" in refusal(path)
    old.Model(inputs, inputs / inputs).save(path)
    assert "of 2 tensors and 0 constants" in refusal(path)


def test_other_operations_are_refused_by_name(path):
    inputs = old.Input((8, 8, 3))
    old.Model(inputs, inputs[..., ::-1]).save(path)
    assert "must be plain arithmetic. Given: SlicingOpLambda 'tf.__operators__.getitem'" in refusal(
        path
    )


def small_efficientnet(**options):
    """One block of each stage."""
    return old.src.applications.efficientnet.EfficientNet(1.0, 0.1, 96, **options)


def small_nasnet(**options):
    """One cell between the reductions, not four."""
    sizes = {"penultimate_filters": 192, "num_blocks": 1, "stem_block_filters": 16}
    cells = {"skip_reduction": False, "filter_multiplier": 2, "default_size": 96}
    return old.src.applications.nasnet.NASNet(**sizes, **cells, **options)


def small_densenet(**options):
    return old.src.applications.densenet.DenseNet([2, 2, 2, 2], **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        old.applications.MobileNetV3Small,
        small_efficientnet,
        small_nasnet,
        old.applications.InceptionV3,
        small_densenet,
    ],
)
def test_networks_of_keras_2(make, path):
    """Also those that scale pixels, and compute with plain operations; of large ones the first of equal blocks."""
    model = make(weights=None, input_shape=(96, 96, 3), classes=5)
    assert_same(model, path, 50 + 20 * images(1, 96, 96, 3), atol=1e-5)


# --- what Keras 3 writes


def test_keras_3(path):
    inputs = keras.Input((8, 8, 3))
    body = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, kernel_regularizer="l2", activation="hard_sigmoid"),
            keras.layers.BatchNormalization(),
            keras.layers.RandomFlip(),
        ],
        name="body",
    )
    x = keras.layers.Average()([body(inputs), body(ops.multiply(inputs, 0.5))])
    model = randomise(keras.Model(inputs, ops.add(ops.subtract(1.0, x), x)))
    assert_same(model, path, images(2, 8, 8, 3))
    assert legacy.read_h5(path).get_layer("body").layers[1].kernel_regularizer.l2 == pytest.approx(
        0.01
    )


# --- Keras 1, by hand


def write_keras_1(path, layers, weights, kind="Model", **attributes):
    """A complete model as Keras 1 wrote it: layers in a row, weights {layer: [(name, array), ...]}."""
    if kind == "Model":
        before = [None, *(layer["config"]["name"] for layer in layers)]
        layers = [
            {
                **layer,
                "name": layer["config"]["name"],
                "inbound_nodes": [[[below, 0, 0]]] if below else [],
            }
            if "inbound_nodes" not in layer
            else {**layer, "name": layer["config"]["name"]}
            for layer, below in zip(layers, before, strict=False)
        ]
        ends = [[[layers[at]["name"], 0, 0]] for at in (0, -1)]
        config = {
            "name": "model_1",
            "layers": layers,
            "input_layers": ends[0],
            "output_layers": ends[1],
        }
    else:
        config = layers
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": kind, "config": config}).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer["config"]["name"].encode() for layer in layers]
        group.attrs.update(attributes)
        for layer in layers:
            part = group.create_group(layer["config"]["name"])
            arrays = weights.get(layer["config"]["name"], [])
            part.attrs["weight_names"] = [name.encode() for name, _ in arrays]
            for name, array in arrays:
                part[name] = array
    return path


def entry(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def convolution(name, filters, side, ordering="tf", **config):
    return entry(
        "Convolution2D", name, nb_filter=filters, nb_row=side, nb_col=side, subsample=[1, 1], border_mode="valid",
        dim_ordering=ordering, init="glorot_uniform", bias=True, activation="linear", W_regularizer=None,
        b_regularizer=None, activity_regularizer=None, W_constraint=None, b_constraint=None, **config,
    )  # fmt: skip


def arrays(*shapes, seed=0):
    numbers = np.random.default_rng(seed)
    return [numbers.uniform(0.1, 1.0, shape).astype("float32") for shape in shapes]


def test_keras_1_functional(path, capsys):
    kernel, bias, gamma, beta, mean, variance, weight, offset = arrays(
        (3, 3, 3, 4), (4,), (4,), (4,), (4,), (4,), (4 * 4 * 8, 2), (2,)
    )
    layers = [
        entry("InputLayer", "input_1", batch_input_shape=[None, 7, 7, 3], input_dtype="float32", sparse=False),
        entry("ZeroPadding2D", "pad", padding=[1, 0, 1, 0], dim_ordering="tf"),
        convolution("block/conv", 4, 3),
        entry("BatchNormalization", "bn", mode=0, axis=3, momentum=0.99, epsilon=1e-3, gamma_regularizer=None,
              beta_regularizer=None),
        entry("LeakyReLU", "leaky", alpha=0.1),
        entry("Activation", "sigmoid", activation="hard_sigmoid"),
        {**entry("Merge", "join", mode="concat", mode_type="raw", concat_axis=3, dot_axes=-1, output_shape=None,
                 output_shape_type="raw", arguments={}, output_mask=None, output_mask_type="raw"),
         "inbound_nodes": [[["leaky", 0, 0], ["sigmoid", 0, 0]]]},
        entry("MaxPooling2D", "pool", pool_size=[3, 3], strides=[1, 1], border_mode="valid", dim_ordering="tf"),
        entry("Flatten", "flat"),
        entry("Dropout", "drop", p=0.5),
        entry("Dense", "fc", output_dim=2, init="uniform", activation="linear", input_dim=None, bias=True,
              W_regularizer={"name": "WeightRegularizer", "l1": 0.0, "l2": 1e-4}, b_regularizer=None,
              activity_regularizer=None, W_constraint=None, b_constraint=None),
    ]  # fmt: skip
    weights = {
        "block/conv": [("block/conv_W", kernel), ("block/conv_b", bias)],
        "bn": [
            ("bn_beta", beta),
            ("bn_gamma", gamma),
            ("bn_running_mean", mean),
            ("bn_running_std", variance),
        ],
        "fc": [("fc_W", weight), ("fc_b", offset)],
    }
    write_keras_1(path, layers, weights, keras_version=b"1.2.2")
    mine = legacy.read_h5(path)

    inputs = old.Input((7, 7, 3))
    x = L.Conv2D(4, 3, name="conv")(L.ZeroPadding2D(((1, 0), (1, 0)))(inputs))
    x = L.LeakyReLU(0.1)(L.BatchNormalization(name="bn")(x))
    x = L.MaxPooling2D(3, strides=1)(L.Concatenate()([x, L.Activation("hard_sigmoid")(x)]))
    theirs = old.Model(inputs, L.Dense(2, name="fc")(L.Flatten()(x)))
    theirs.set_weights([kernel, bias, gamma, beta, mean, variance, weight, offset])
    x = images(3, 7, 7, 3)
    np.testing.assert_allclose(values(mine, x), values(theirs, x), rtol=1e-6)
    assert mine.get_layer("block_conv").built
    assert "'/' became '_' in 1 of the 11 layers' names" in capsys.readouterr().out
    assert mine.get_layer("fc").kernel_regularizer.l2 == pytest.approx(1e-4)


def test_keras_1_sequential_is_a_bare_list(path):
    kernel, bias = arrays((2, 2, 3, 4), (4,))
    layers = [convolution("conv", 4, 2, batch_input_shape=[None, 5, 5, 3], input_dtype="float32")]
    write_keras_1(path, layers, {"conv": [("conv_W", kernel), ("conv_b", bias)]}, kind="Sequential")
    x = images(1, 5, 5, 3)
    np.testing.assert_allclose(
        values(legacy.read_h5(path), x), correlated(x, kernel) + bias, atol=1e-5
    )


def correlated(x, kernel):
    """The definition: y[i, j, f] = sum over a, b, c of x[i + a, j + b, c] * kernel[a, b, c, f]."""
    rows, columns, _, filters = kernel.shape
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    result = np.zeros((len(x), height, width, filters))
    for i in range(height):
        for j in range(width):
            patch = x[:, i : i + rows, j : j + columns, :]
            result[:, i, j] = np.einsum("nabc,abcf->nf", patch, kernel)
    return result


@pytest.mark.parametrize("backend", [None, b"tensorflow", b"theano"])
def test_kernels_of_theano_are_transposed_and_turned_round_if_the_file_says_so(path, backend):
    kernel, bias = arrays(
        (3, 3, 3, 3), (3,)
    )  # (filters, channels, rows, columns): any order of axes fits
    layers = [
        entry(
            "InputLayer",
            "input_1",
            batch_input_shape=[None, 3, 6, 6],
            input_dtype="float32",
            sparse=False,
        ),
        convolution("conv", 3, 3, "th"),
    ]
    attributes = {"backend": backend} if backend else {}
    write_keras_1(path, layers, {"conv": [("conv_W", kernel), ("conv_b", bias)]}, **attributes)
    x = images(2, 3, 6, 6)
    turned = kernel[:, :, ::-1, ::-1] if backend == b"theano" else kernel
    expected = correlated(x.transpose(0, 2, 3, 1), turned.transpose(2, 3, 1, 0)) + bias
    np.testing.assert_allclose(
        values(legacy.read_h5(path), x).transpose(0, 2, 3, 1), expected, atol=1e-4
    )


# --- files that are refused


def refusal(path, **options):
    with pytest.raises(checks.InputError) as caught:
        legacy.read_h5(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def save(path, *layers, shape=(8, 8, 3)):
    old.Sequential([old.Input(shape), *layers]).save(path)
    return path


def test_damaged_files(path, tmp_path):
    save(path, L.Conv2D(4, 3))
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1000):
        path.write_bytes(content[:length])
        assert "`source` must be a whole HDF5 file" in refusal(path)
    path.write_bytes(b"PK\x03\x04" + bytes(5000))
    assert "`source` must be a whole HDF5 file" in refusal(path)
    assert "`source` must be an existing HDF5 file" in refusal(tmp_path / "absent.h5")


def test_weights_only(path):
    small_trunk().save_weights(path)
    assert "which holds weights only" in refusal(path)
    assert "pass weights= with this file" in refusal(path)
    weights = path.with_name("new.weights.h5")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(weights)
    assert "which holds weights only" in refusal(weights)


def test_code_is_not_run(path, tmp_path):
    touched = tmp_path / "touched"
    name = str(touched)

    def touch(x):
        open(name, "w").close()
        return x

    save(path, L.Lambda(lambda x: (open(name, "w").close(), x)[1], name="evil"))
    touched.unlink()
    assert "must not carry code. Given: Lambda layer 'evil'. If you trust" in refusal(path)
    assert "Stored Python bytecode is never run." in refusal(path, trust=True)
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(touch, name="evil")]).save(path)
    touched.unlink(missing_ok=True)
    assert "Lambda layer 'evil'" in refusal(path)
    assert "Stored Python bytecode is never run." in refusal(path, trust=True)
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: touch(x), output_shape=(3,))(inputs)).save(
        path
    )
    touched.unlink(missing_ok=True)
    assert "Given: a Python function" in refusal(path, trust=True)

    def hide(config):
        config["config"]["layers"][1]["config"]["activation"] = {
            "class_name": "__lambda__",
            "config": {"code": "4wE="},
        }

    edit(save(path, L.Dense(3)), hide)
    assert "Given: a Python function" in refusal(path, trust=True)
    assert not touched.exists()


def edit(path, change):
    """Changes the description of a saved model."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(config)


def test_a_lambda_with_a_registered_function_is_read_if_trusted(path):
    def cube(x, by=3):
        return x**by

    def by_name(config):
        config["config"]["layers"][1]["config"] |= {
            "function": "cube",
            "function_type": "function",
            "arguments": {"by": 2},
        }

    edit(save(path, L.Lambda(lambda x: x, name="power")), by_name)
    x = images(1, 8, 8, 3)
    with keras.saving.custom_object_scope({"cube": cube}):
        assert "pass trust=True" in refusal(path)
        np.testing.assert_allclose(values(legacy.read_h5(path, trust=True), x), x**2, rtol=1e-6)
    assert "must be registered with Keras" in refusal(path, trust=True)


def test_unknown_layers(path):
    class Twice(L.Layer):
        def call(self, x):
            return 2 * x

    class NewTwice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    save(path, Twice(name="double"))
    assert "must be known. Given: Twice 'double'. If the class is yours" in refusal(path)
    assert "must be known. Given: Twice 'double'" in refusal(path, trust=True)
    x = images(1, 8, 8, 3)
    with keras.saving.custom_object_scope({"Twice": NewTwice}):
        np.testing.assert_array_equal(values(legacy.read_h5(path), x), 2 * x)

    def rename(config):
        config["config"]["layers"][1] |= {
            "class_name": "TFSMLayer",
            "config": {"filepath": "elsewhere"},
        }

    edit(path, rename)
    assert "must be known. Given: TFSMLayer" in refusal(path, trust=True)
    edit(path, lambda config: config.update(class_name="MyModel"))
    assert "must be a functional or sequential model. Given: 'MyModel'" in refusal(path)


def test_weights_must_be_those_of_the_network(path):
    save(path, L.Conv2D(4, 3, name="one"), L.Conv2D(4, 3, name="two"))
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        kernel = weights["two/two/kernel:0"][()]
        del weights["two/two/kernel:0"]
        weights["two/two/kernel:0"] = kernel[:2]
    assert (
        "has 'two/kernel:0' of shape (2, 3, 4, 4), but kernel of 'two' has (3, 3, 4, 4)"
        in refusal(path)
    )
    with h5py.File(path, "r+") as file:
        file["model_weights/two"].attrs["weight_names"] = [b"two/bias:0"]
    assert "1 weights of 'two', which has 2" in refusal(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = [b"one"]
    assert "weights of 1 layers for 2, none of 'two'" in refusal(path)
    edit(path, lambda config: config["config"]["layers"].pop())
    edit(path, lambda config: config["config"]["layers"].pop())
    with h5py.File(path, "r+") as file:
        del file["model_weights"].attrs["layer_names"]
    assert "no list of layers" in refusal(path)


def test_layers_without_matching_names_go_by_order(path):
    model = randomise(small_trunk())
    model.save(path)
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        names = [
            name.decode() if isinstance(name, bytes) else name
            for name in weights.attrs["layer_names"]
        ]
        for at, name in enumerate(names):
            weights.move(name, f"layer_{at}")
        weights.attrs["layer_names"] = [f"layer_{at}".encode() for at in range(len(names))]
    x = images(2, 8, 8, 3)
    np.testing.assert_allclose(
        values(legacy.read_h5(path), x), values(model, x), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(config=3), "a layer without configuration"),
        (lambda c: c["config"].update(layers=[]), "without layers"),
        (lambda c: c["config"]["layers"].__setitem__(1, 7), "a layer without configuration: 7"),
        (lambda c: c["config"]["layers"][1].update(config=[]), "configuration is a list"),
        (
            lambda c: c["config"]["layers"][0]["config"].update(batch_input_shape=[None, -1, 8, 3]),
            "input shape",
        ),
        (lambda c: c["config"]["layers"][0]["config"].update(batch_input_shape="x"), "input shape"),
        (
            lambda c: c["config"]["layers"][2].update(inbound_nodes=[[["absent", 0, 0, {}]]]),
            "'trunk_bn'",
        ),
        (
            lambda c: c["config"]["layers"][2].update(inbound_nodes=[[["trunk_bn", 0, 0, {}]]]),
            "no layer makes",
        ),
        (
            lambda c: c["config"]["layers"][2].update(inbound_nodes=[[["trunk_conv", 0, 9, {}]]]),
            "no layer makes",
        ),
        (
            lambda c: c["config"]["layers"][2].update(inbound_nodes=[[["trunk_conv", -1, 0, {}]]]),
            "a reference",
        ),
        (lambda c: c["config"]["layers"][2].update(inbound_nodes=[[]]), "a call without inputs"),
        (lambda c: c["config"]["layers"][2].update(inbound_nodes=3), "without calls"),
        (
            lambda c: c["config"]["layers"][1]["config"].update(strides=[0, 0]),
            "must be one that Keras 3 can make",
        ),
        (
            lambda c: c["config"]["layers"][1]["config"].update(
                padding="valid", kernel_size=[9, 9]
            ),
            "must suit those",
        ),
        (
            lambda c: c["config"].update(output_layers=[["absent", 0, 0]]),
            "`source` must describe a Keras model",
        ),
    ],
)
def test_descriptions_that_keras_does_not_write(path, change, message):
    small_trunk().save(path)
    edit(path, change)
    assert message in refusal(path)


def test_descriptions_that_are_no_json(path):
    save(path, L.Conv2D(4, 3))
    for text, message in (
        ("{", "no JSON"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("[1]", "[1]"),
        ("7", "'7'"),
    ):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = text
        assert message in refusal(path)
    nested = {"class_name": "Dense", "config": {"units": 1}}
    for _ in range(300):
        nested = {"class_name": "Sequential", "config": {"layers": [nested]}}
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(nested)
    assert "`source` must" in refusal(path)


def test_a_model_that_does_not_say_its_shape(path):
    save(path, L.Conv2D(4, 3))
    edit(path, lambda config: config["config"].update(layers=config["config"]["layers"][1:]))
    assert "`source` must say the shape of its input" in refusal(path)


# --- a real one


@pytest.mark.realdata
def test_teachable_machine(real_data):
    """Sequential(Sequential(Model), Sequential) of Keras 2.4, against a network built anew."""
    weights = real_data / "weights"
    pixels = np.stack(
        [photo(file) for file in sorted((real_data / "pets3/images").glob("*.jpg"))[:4]]
    )
    mine = legacy.read_h5(weights / "teachable_machine_keras_model.h5")
    trunk = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3),
        alpha=0.35,
        include_top=False,
        weights=weights / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    )
    scaled = pixels / 127.5 - 1
    features = np.asarray(trunk(scaled))
    with h5py.File(weights / "teachable_machine_keras_model.h5") as file:
        dense = file["model_weights/sequential_3"]
        first, bias, second = (dense[name][()] for name in dense.attrs["weight_names"])
    scores = np.maximum(features.mean((1, 2)) @ first + bias, 0) @ second
    expected = np.exp(scores - scores.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(values(mine, scaled), expected, atol=1e-5)

    cut = kt.backbone(weights / "teachable_machine_keras_model.h5", preprocess="tf")
    named = kt.backbone(
        "MobileNetV2",
        weights=weights / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        alpha=0.35,
        image_size=224,
    )
    for backbone in (cut, named):
        np.testing.assert_allclose(values(backbone, pixels), features, atol=1e-5 * features.max())
    assert set(cut.levels) == set(named.levels)


def photo(file):
    image = keras.utils.load_img(file, target_size=(224, 224), interpolation="bilinear")
    return np.asarray(image, "float32")

"""Weight files of other names, matched layer by layer."""

import importlib.util
import pathlib

import h5py
import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.legacy import layer_order
from keras_transfer.core import checks

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples"
L = keras.layers


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.h5"


def network(*, head=True, name="mine"):
    """Two branches, batch normalisation, a nested model and a head: 6 layers with weights."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, name=f"{name}_stem", activation="relu")(inputs)
    x = L.BatchNormalization(name=f"{name}_bn")(x)
    x = L.Concatenate()(
        [
            L.Conv2D(2, 1, name=f"{name}_1x1")(x),
            L.Conv2D(2, 3, padding="same", name=f"{name}_3x3")(x),
        ]
    )
    x = keras.Sequential(
        [keras.Input((6, 6, 4)), L.SeparableConv2D(3, 3, name=f"{name}_separable")], name="inner"
    )(x)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(2, name=f"{name}_fc")(x) if head else x)


def write(path, layers, **attributes):
    """A weights file: layers as [(name, [(weight, array), ...]), ...]."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        file.attrs.update(attributes)
        for name, weights in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [one.encode() for one, _ in weights]
            for one, array in weights:
                group[one] = array
    return path


def foreign(seed=0):
    """What such a file holds: names of its own, layers without weights between the others."""
    shapes = {
        "input_1": [], "conv1/7x7": [(3, 3, 3, 4), (4,)], "relu1": [], "norm1": [(4,)] * 4,
        "inception/a": [(1, 1, 4, 2), (2,)], "inception/b": [(3, 3, 4, 2), (2,)],
        "sep": [(3, 3, 4, 1), (1, 1, 4, 3), (3,)], "classifier": [(3, 2), (2,)],
    }  # fmt: skip
    numbers = np.random.default_rng(seed)
    return [
        (
            name,
            [
                (f"p{at}", numbers.uniform(0.1, 1, shape).astype("float32"))
                for at, shape in enumerate(each)
            ],
        )
        for name, each in shapes.items()
    ]


def arrays(layers):
    return [array for _, weights in layers for _, array in weights]


def refusal(model, path, **options):
    """The error; the model must be as before."""
    before = model.get_weights()
    with pytest.raises(checks.InputError) as caught:
        layer_order.load_by_order(model, path, **options)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_go_to_the_layers_in_call_order(path):
    model, layers = network(), foreign()
    report = layer_order.load_by_order(model, write(path, layers))
    expected = dict(
        zip(
            ("stem", "bn", "1x1", "3x3", "separable", "fc"),
            (w for _, w in layers if w),
            strict=True,
        )
    )
    for name, weights in expected.items():
        layer = model.get_layer("inner").get_layer("mine_separable") if name == "separable" else (
            model.get_layer(f"mine_{name}"))  # fmt: skip
        for variable, (_, array) in zip(layer.weights, weights, strict=True):
            np.testing.assert_array_equal(variable, array)
    assert [(match.source, match.layer) for match in report.matched] == [
        ("conv1/7x7", "mine_stem"),
        ("norm1", "mine_bn"),
        ("inception/a", "mine_1x1"),
        ("inception/b", "mine_3x3"),
        ("sep", "inner/mine_separable"),
        ("classifier", "mine_fc"),
    ]
    assert report.matched[0].names == ("kernel", "bias")
    assert report.matched[0].shapes == ((3, 3, 3, 4), (4,))
    assert (report.left_over, report.missing, report.kernels) == ((), (), "as they are")
    assert str(report) == "15 weights of 6 layers loaded in order, kernels as they are"
    assert report.lines[0] == "conv1/7x7    mine_stem             kernel (3, 3, 3, 4), bias (4,)"


def test_names_of_weights_decide_within_a_layer(path):
    model, layers = network(), foreign()
    (_, norm), numbers = layers[3], [np.full(4, value, "float32") for value in (1, 2, 3, 4)]
    norm[:] = zip(
        ("n/beta:0", "n/gamma:0", "n/moving_variance:0", "n/moving_mean:0"), numbers, strict=True
    )
    layer_order.load_by_order(model, write(path, layers))
    bn = model.get_layer("mine_bn")
    assert [float(w[0]) for w in (bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance)] == [
        2,
        1,
        4,
        3,
    ]
    norm[:] = zip(("n_beta", "n_gamma", "n_running_std", "n_running_mean"), numbers, strict=True)
    layer_order.load_by_order(model, write(path, layers))
    assert [float(w[0]) for w in (bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance)] == [
        2,
        1,
        4,
        3,
    ]


def test_frozen_layers_are_loaded_alike(path):
    model, layers = network(), foreign()
    model.trainable = False
    layer_order.load_by_order(model, write(path, layers))
    for one, other in zip(model.get_weights(), arrays(layers), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_complete_model_serves_as_well(path):
    mine = network(head=False)
    keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3, name="first"), L.BatchNormalization()]
    ).save(path)
    report = layer_order.load_by_order(mine, path, head="any")
    assert report.matched[0].source == "first"
    assert report.missing == ("mine_1x1", "mine_3x3", "inner/mine_separable")
    assert "; 3 layers of the model not loaded" in str(report)
    assert report.lines[-1].split()[:2] == ["-", "inner/mine_separable"]


def test_a_head_may_be_left_over(path):
    model = network(head=False)
    write(path, foreign())
    assert "6 for 5; 'classifier' is the first that only the file has" in refusal(model, path)
    report = layer_order.load_by_order(model, path, head="any")
    assert report.left_over == ("classifier",)
    assert "; 1 layer of the file left over" in str(report)
    write(path, foreign()[:-1])
    assert "5 for 6; 'mine_fc' is the first that only the model has" in refusal(network(), path)


def test_the_first_mismatch_is_shown_side_by_side_and_nothing_is_loaded(path):
    layers = foreign()
    layers[5] = ("inception/b", [("p0", np.ones((5, 5, 4, 2))), ("p1", np.ones(2))])
    said = refusal(network(), write(path, layers))
    assert (
        "layer 4 with weights is 'mine_3x3': kernel (3, 3, 4, 2), bias (2,) | 'inception/b': p0 (5, 5, 4, 2), p1 (2,) "
        "in the file. Nothing was loaded."
    ) in said
    layers = foreign()
    layers[1][1].pop()
    said = refusal(network(), write(path, layers))
    assert (
        "layer 1 with weights is 'mine_stem': kernel (3, 3, 3, 4), bias (4,) | 'conv1/7x7': p0 (3, 3, 3, 4)"
        in said
    )


def test_equal_names_in_another_order_are_no_match(path):
    layers = [
        ("mine_1x1", [("k", np.ones((3, 3, 2, 2)))]),
        ("mine_3x3", [("k", np.ones((3, 3, 2, 2)))]),
    ]
    stack = [L.Conv2D(2, 3, use_bias=False, name=name) for name in ("mine_3x3", "mine_1x1")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *stack])
    said = refusal(model, write(path, layers))
    assert "layer 1 is 'mine_3x3' in the model, 'mine_1x1' in the file" in said


def convolutions(*sides, head=()):
    layers = [L.Conv2D(2, side, name=f"c{at}") for at, side in enumerate(sides)]
    return keras.Sequential([keras.Input((8, 8, 2)), *layers, *head])


def of_theano(kernels):
    """(rows, columns, channels, filters) to (filters, channels, rows, columns), one number at a time."""
    turned = []
    for kernel in kernels:
        rows, columns, channels, filters = kernel.shape
        new = np.zeros((filters, channels, rows, columns), "float32")
        for a, b, c, d in np.ndindex(*kernel.shape):
            new[d, c, a, b] = kernel[a, b, c, d]
        turned.append(new)
    return turned


def test_kernels_of_theano(path):
    numbers = np.random.default_rng(0)
    kernels = [numbers.random((side, side, 2, 2)).astype("float32") for side in (2, 3)]
    biases = [numbers.random(2).astype("float32") for _ in kernels]
    pairs = list(zip(of_theano(kernels), biases, strict=True))
    layers = [
        (f"t{at}", [(f"t{at}_W", kernel), (f"t{at}_b", bias)])
        for at, (kernel, bias) in enumerate(pairs)
    ]

    # The kernel of side 2 fits either way; that of side 3 says how both lie.
    model = convolutions(2, 3)
    report = layer_order.load_by_order(model, write(path, layers))
    assert report.kernels == "transposed"
    for at, kernel in enumerate(kernels):
        np.testing.assert_array_equal(model.get_layer(f"c{at}").kernel, kernel)

    report = layer_order.load_by_order(model, write(path, layers, backend=b"theano"))
    assert report.kernels == "transposed and turned round"
    for at, kernel in enumerate(kernels):
        np.testing.assert_array_equal(model.get_layer(f"c{at}").kernel, kernel[::-1, ::-1])
        np.testing.assert_array_equal(model.get_layer(f"c{at}").bias, biases[at])

    layers = [
        (f"t{at}", [("kernel:0", k), ("bias:0", b)])
        for at, (k, b) in enumerate(zip(kernels, biases, strict=True))
    ]
    report = layer_order.load_by_order(
        model, write(path, layers, backend=b"theano", keras_version=b"2.0.8")
    )
    assert report.kernels == "turned round"
    np.testing.assert_array_equal(model.get_layer("c1").kernel, kernels[1][::-1, ::-1])
    report = layer_order.load_by_order(
        model, write(path, layers, backend=b"tensorflow", keras_version=b"2.0.8")
    )
    assert report.kernels == "as they are"
    np.testing.assert_array_equal(model.get_layer("c1").kernel, kernels[1])


def test_layouts_that_cannot_be_meant_are_refused(path):
    kernel = np.random.default_rng(0).random((2, 2, 3, 3)).astype("float32")
    layers = [("t", [("t_W", kernel), ("t_b", np.ones(2, "float32"))])]
    write(
        path, layers, keras_version=b"2.1.0", backend=b"theano"
    )  # Keras 2 always wrote rows first
    assert "'c0': kernel (3, 3, 2, 2), bias (2,) | 't': t_W (2, 2, 3, 3)" in refusal(
        convolutions(3), path
    )
    layers.append(("fc", [("fc_W", np.ones((72, 4))), ("fc_b", np.ones(4))]))
    flat = convolutions(3, head=[L.Flatten(), L.Dense(4, name="fc")])
    assert "must end before the first dense layer. Given: 'fc'" in refusal(
        flat, write(path, layers)
    )
    layers[1] = ("fc", [("fc_W", np.ones((2, 4))), ("fc_b", np.ones(4))])
    pooled = convolutions(3, head=[L.GlobalAveragePooling2D(), L.Dense(4, name="fc")])
    assert layer_order.load_by_order(pooled, write(path, layers)).kernels == "transposed"


def test_files_that_cannot_be_matched(path):
    model = convolutions(3)
    model.save_weights(path.with_name("new.weights.h5"))
    assert "A .weights.h5 file of Keras 3 is loaded with model.load_weights." in refusal(
        model, path.with_name("new.weights.h5")
    )
    assert "`path` must be an existing HDF5 file" in refusal(model, path)
    path.write_bytes(b"no")
    assert "`path` must be a whole HDF5 file" in refusal(model, path)
    assert "`head` must be one of 'same', 'any'" in refusal(model, path, head="left")
    assert "`model` must be built" in refusal(keras.Sequential([L.Conv2D(2, 3)], name="late"), path)


def squeezenet():
    """The network of the example."""
    spec = importlib.util.spec_from_file_location("squeezenet_example", EXAMPLES / "squeezenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.squeezenet


@pytest.mark.realdata
@pytest.mark.slow
def test_squeezenet_of_a_user(real_data):
    """From its file, a linear probe on 8 classes of Caltech: at least 0.93 of the test images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = squeezenet()(227)
    file = real_data / "weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    report = layer_order.load_by_order(model, file)
    assert str(report) == "50 weights of 25 layers loaded in order, kernels as they are"
    backbone = kt.backbone(model, preprocess="caffe")
    caltech = real_data / "caltech24"
    classes = sorted(folder.name for folder in (caltech / "train").iterdir())[::3]

    def features(split):
        files = [file for name in classes for file in sorted((caltech / split / name).iterdir())]
        maps = backbone.predict(kt.data.load_images(files, 227), verbose=0)
        return maps.mean((1, 2)), [file.parent.name for file in files]

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    probe.fit(*features("train"))
    accuracy = probe.score(*features("test"))
    print(f"accuracy {accuracy:.3f}")
    assert accuracy >= 0.93

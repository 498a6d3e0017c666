import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import nodes, paths
from keras_transfer.training import methods

TAPS = ["block1_relu", "block2_add"]


def shift(model):
    """Moves the kernels away from where they were."""
    rng = np.random.default_rng(1)
    for path, variable in paths.variables(model).items():
        if path.endswith("kernel"):
            variable.assign(
                ops.convert_to_numpy(variable) * (1 + 0.3 * rng.normal(size=variable.shape))
            )


def maps(model, names, images):
    found = nodes.tap(model, names).predict(images, verbose=0)
    return {name: value.astype("float64") for name, value in found.items()}


def by_definition(found, expected, attention):
    total = 0.0
    for image in range(len(found)):
        for y in range(found.shape[1]):
            for x in range(found.shape[2]):
                for channel in range(found.shape[3]):
                    total += attention[channel] * (found - expected)[image, y, x, channel] ** 2
    return 0.5 * total / (len(found) * found.shape[1] * found.shape[2])


@pytest.mark.parametrize("attentive", [False, True])
def test_equals_the_definition(attentive, build, images):
    model = build(train="block1_conv")
    before = maps(model, TAPS, images)
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0, 2, value.shape[-1]) for name, value in before.items()}
    attention = weights if attentive else None
    with methods.Delta(0.5, beta=0.2, layers=TAPS, attention=attention).attached(
        model
    ) as training_model:
        shift(model)
        after = maps(model, TAPS, images)
        expected = 0.1 * np.sum(
            model.get_layer("classification_logits").get_weights()[0].astype("float64") ** 2
        )
        for name in TAPS:
            own = weights[name] if attentive else np.ones(before[name].shape[-1])
            expected += 0.5 * by_definition(after[name], before[name], own)
        training_model(images, training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-5)


def seen(training_model):
    penalty = next(layer for layer in training_model.layers if layer.name == "penalty")
    return {tensor._keras_history.operation.name for tensor in penalty.input}


def test_by_default_it_looks_at_the_levels(build):
    backbone = kt.backbone("tiny")
    for model, levels in (
        (build(), {"block2_add"}),
        (kt.build_model(backbone, kt.tasks.Classification(2)), None),
    ):
        with methods.Delta(beta=0).attached(model) as training_model:
            ends = {model.layers[0].name, model.layers[-1].name}
            assert seen(training_model) - ends == (levels or set(backbone.levels.values()))


def test_without_levels_it_looks_at_the_trunks_end():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(2, name="head")])
    values = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    with methods.Delta(1.0, beta=0).attached(model) as training_model:
        before = inner.predict(values, verbose=0)
        inner.get_layer("dense").kernel.assign_add(np.ones((3, 4)))
        expected = 0.5 * np.mean(np.sum((inner.predict(values, verbose=0) - before) ** 2, axis=-1))
        training_model(values, training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-5)


def test_a_saved_model_is_copied_too(tmp_path):
    """A copy that shared the module's variables would always be at distance 0."""
    module = tf.Module()
    module.kernel = tf.Variable(np.ones((3, 4), "float32"))
    module.__call__ = tf.function(
        lambda x: x @ module.kernel, input_signature=[tf.TensorSpec([None, 3])]
    )
    tf.saved_model.save(module, str(tmp_path / "module"))
    inputs = keras.Input((3,))
    trunk = kt.layers.SavedModelLayer(tmp_path / "module", trust=True, name="trunk")
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(trunk(inputs)))
    values = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    with methods.Delta(1.0, beta=0, layers="trunk").attached(model) as training_model:
        trunk.trainable_variables[0].assign_add(np.full((3, 4), 0.5))
        training_model(values, training=True)
        expected = 0.5 * np.mean(4 * (0.5 * values.sum(axis=1)) ** 2)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-5)


def test_at_the_pretrained_weights_there_is_no_distance(build, images):
    with methods.Delta(1.0, beta=0).attached(build(train="all")) as training_model:
        training_model(images, training=True)
        assert float(training_model.losses[0]) == 0.0


def test_maps_of_frozen_layers_are_left_out(build, images):
    """With block2 alone training, only its own map counts: that of block1 cannot move."""
    model = build()
    with methods.Delta(1.0, beta=0, layers=TAPS).attached(model) as training_model:
        before = maps(model, TAPS, images)
        shift(model)  # the frozen ones as well
        expected = by_definition(maps(model, TAPS, images)[TAPS[1]], before[TAPS[1]], np.ones(8))
        training_model(images, training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-5)


def test_a_reference_is_the_other_network(build, images):
    model, other = build(), build()
    shift(other)
    found, expected = (maps(each, TAPS, images)[TAPS[1]] for each in (model, other))
    with methods.Delta(1.0, beta=0, layers=TAPS[1]).attached(
        model, reference=other
    ) as training_model:
        training_model(images, training=True)
        value = by_definition(found, expected, np.ones(8))
        np.testing.assert_allclose(float(training_model.losses[0]), value, rtol=1e-5)


def test_it_keeps_the_maps_nearer(build, images, labels):
    distances = []
    for weight in (0.0, 10.0):
        model = build()
        before = maps(model, TAPS, images)
        with methods.Delta(weight, beta=0).attached(model) as training_model:
            training_model.fit(images, labels, epochs=10, verbose=0)
        distances.append(np.mean((maps(model, TAPS, images)[TAPS[1]] - before[TAPS[1]]) ** 2))
    assert 0 < distances[1] < 0.5 * distances[0]


def test_the_copy_is_not_part_of_the_model(build):
    model = build()
    with methods.Delta().attached(model) as training_model:
        assert training_model.count_params() == model.count_params()
        assert list(paths.variables(training_model)) == list(paths.variables(model))


def as_attention(growths):
    """A softmax of standardised growths over 5, times the number of channels."""
    growths = np.array(growths)
    scores = np.exp((growths - growths.mean()) / growths.std() / 5)
    return len(scores) * scores / scores.sum()


def test_importance_of_a_channel_is_what_the_loss_grows_by_without_it(build, images, labels):
    """A channel of the last map is removed by zeros in its row of the head's kernel, too."""
    model = build()
    model.fit(images, labels, epochs=3, verbose=0)
    attention = methods.channel_importance(model, images, labels, layers="block2_add")["block2_add"]
    whole, bias = (
        value.astype("float64") for value in model.get_layer("classification_logits").get_weights()
    )
    features = maps(model, "block2_add", images)["block2_add"].mean(axis=(1, 2))
    losses = []
    for channel in (None, *range(8)):
        kernel = whole.copy()
        if channel is not None:
            kernel[channel] = 0
        logits = features @ kernel + bias
        losses.append(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), labels]))
    np.testing.assert_allclose(attention, as_attention(np.array(losses[1:]) - losses[0]), rtol=1e-4)


def test_importance_within_a_residual(build, images, labels):
    """Two tensors cross the cut there. A channel that is not seen above has zeros in the next kernel."""
    model = build()
    before = model.get_weights()
    attention = methods.channel_importance(model, images, labels, layers="block2_relu")[
        "block2_relu"
    ]
    for value, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, unchanged)
    plain = model.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    kernel = model.get_layer("block2_end").kernel
    whole = ops.convert_to_numpy(kernel)
    growths = []
    for channel in range(8):
        changed = whole.copy()
        changed[:, :, channel] = 0
        kernel.assign(changed)
        growths.append(model.evaluate(images, labels, verbose=0, return_dict=True)["loss"] - plain)
    np.testing.assert_allclose(attention, as_attention(growths), rtol=1e-4)


def test_importances_go_into_the_penalty(build, images, labels):
    model = build()
    attention = methods.channel_importance(model, images, labels)
    regulariser = methods.Delta(attention=attention)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(regulariser))
    assert again.get_config() == regulariser.get_config()
    with again.attached(model) as training_model:
        assert np.isfinite(training_model.fit(images, labels, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "blok2*"}, "`layers` must match a layer"),
        (
            {"layers": TAPS[1], "attention": {TAPS[1]: [1.0]}},
            "must have 8 weights for 'block2_add'. Given: 1 of",
        ),
        ({"layers": TAPS[1], "attention": {"other": [1.0]}}, "none for 'block2_add'"),
    ],
)
def test_what_does_not_fit_the_model(arguments, message, build):
    with (
        pytest.raises(checks.InputError, match=message),
        methods.Delta(**arguments).attached(build()),
    ):
        pass


@pytest.mark.parametrize("arguments", [{"weight": -1}, {"beta": "1"}])
def test_bad_arguments(arguments):
    with pytest.raises(checks.InputError):
        methods.Delta(**arguments)


def test_importance_needs_a_compiled_model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="dense"), keras.layers.Dense(1, name="top")]
    )
    with pytest.raises(checks.InputError, match="compiled"):
        methods.channel_importance(model, np.ones((2, 3)), np.ones(2), layers="dense")

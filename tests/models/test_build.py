import random

import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 32, 32, 3), dtype="uint8")
LABELS = np.arange(8) % 3


def test_pixels_in_probabilities_out():
    model = kt.build_model(
        networks.small(), kt.tasks.Classification(["a", "b", "c"], hidden=[8], dropout=0.1)
    )
    probabilities = model.predict(PIXELS, verbose=0)
    assert probabilities.shape == (8, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert "accuracy" in model.fit(PIXELS, LABELS, verbose=0).history


def dropping():
    x = image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv", kernel_initializer="ones")(x)
    return kt.backbone(keras.Model(image, keras.layers.Dropout(0.5)(x)), preprocess="tf")


def test_a_seed_draws_heads_and_dropout_and_leaves_the_generator_alone():
    task = kt.tasks.Classification(3, hidden=[8], dropout=0.5)
    found = []
    for number in (1, 2, 3):
        keras.utils.set_random_seed(number)  # the weights are those of `seed` all the same
        model = kt.build_model(dropping(), task, seed=number // 3)
        found.append([*model.get_weights(), model(PIXELS.astype("float32"), training=True)])
    for one, other in zip(found[0], found[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found[0][-1] != found[2][-1]).numpy().any()

    backbone = networks.small()
    random.seed(5)
    expected = random.random()
    random.seed(5)
    kt.build_model(backbone, task, seed=0)
    assert random.random() == expected
    with pytest.raises(checks.InputError, match="`seed` must be"):
        kt.build_model(networks.small(), task, seed=-1)


def test_the_model_is_flat_and_shares_the_backbone():
    backbone = networks.small()
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    assert all(not isinstance(layer, keras.Model) for layer in model.layers)
    assert model.get_layer("block1_conv") is backbone.get_layer("block1_conv")


def test_one_task_in_a_dict_is_that_task_alone():
    keras.utils.set_random_seed(1)
    alone = kt.build_model(networks.small(), kt.tasks.Classification(3))
    keras.utils.set_random_seed(1)
    named = kt.build_model(networks.small(), {"classification": kt.tasks.Classification(3)})
    np.testing.assert_array_equal(
        alone.predict(PIXELS, verbose=0), named.predict(PIXELS, verbose=0)["classification"]
    )
    one = alone.fit(PIXELS, LABELS, epochs=2, shuffle=False, verbose=0).history["loss"]
    other = named.fit(
        PIXELS, {"classification": LABELS}, epochs=2, shuffle=False, verbose=0
    ).history["loss"]
    np.testing.assert_allclose(one, other, rtol=1e-6)


def two(balancing=None):
    keras.utils.set_random_seed(1)
    return kt.build_model(
        networks.small(),
        {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()},
        balancing=balancing,
    )


TARGETS = {"kind": LABELS, "age": np.linspace(0, 7, 8).astype("float32")}


def test_several_tasks_by_name():
    model = two()
    answers = model.predict(PIXELS, verbose=0)
    assert {name: value.shape for name, value in answers.items()} == {"kind": (8, 3), "age": (8, 1)}
    history = model.fit(PIXELS, TARGETS, verbose=0).history
    assert {"kind_accuracy", "kind_loss", "age_mae", "age_loss"} <= set(history)


def test_balancing_weighs_the_losses():
    plain = two().evaluate(PIXELS, TARGETS, verbose=0, return_dict=True)
    weighed = two({"age": 0.25}).evaluate(PIXELS, TARGETS, verbose=0, return_dict=True)
    np.testing.assert_allclose(plain["loss"], plain["kind_loss"] + plain["age_loss"], rtol=1e-5)
    np.testing.assert_allclose(
        weighed["loss"], plain["kind_loss"] + 0.25 * plain["age_loss"], rtol=1e-5
    )


def test_compile_with_data_settles_what_comes_from_targets():
    data = kt.data.from_arrays(
        PIXELS, {"kind": LABELS, "age": TARGETS["age"] * 10 + 50}, validation=0
    )
    model = kt.build_model(
        networks.small(),
        {
            "kind": kt.tasks.Classification(3, class_weights="balanced"),
            "age": kt.tasks.Regression(),
        },
    )
    with pytest.raises(checks.InputError, match="class weights must be known"):
        model.fit(data.train, shuffle=False, verbose=0)
    kt.compile(model, data=data)
    assert np.isfinite(model.fit(data.train, shuffle=False, verbose=0).history["loss"][0])
    np.testing.assert_allclose(
        float(np.asarray(kt.models.outputs(model)["age"].offset)[0]), 85, rtol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_ends_in_float32(policy):
    keras.mixed_precision.set_global_policy(policy)
    model = kt.build_model(networks.small(), kt.tasks.Classification(3))
    assert model.get_layer("block1_conv").compute_dtype == policy.removeprefix("mixed_")
    assert model.predict(PIXELS, verbose=0).dtype == np.float32
    assert np.isfinite(model.fit(PIXELS, LABELS, verbose=0).history["loss"][0])


def test_a_plain_keras_model_as_backbone():
    mine = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, name="conv")], name="mine"
    )
    model = kt.build_model(mine, kt.tasks.Classification(2))
    assert kt.models.representation(model).source == {"name": "mine"}


@pytest.mark.parametrize(
    ("task", "balancing", "message"),
    [
        ({}, None, "an empty dict"),
        (keras.layers.Dense(2, name="d"), None, "Use one of kt.tasks, or a subclass"),
        ({"a/b": kt.tasks.Classification(2)}, None, "of letters, digits"),
        ({"my task": kt.tasks.Classification(2)}, None, "of letters, digits"),
        ({"about": kt.tasks.Classification(2)}, None, "must be free"),
        ({"block1_conv": kt.tasks.Classification(2)}, None, "must be free"),
        ({"kind": kt.tasks.Classification(2)}, {"kid": 1.0}, "Close names: 'kind'"),
        ({"kind": kt.tasks.Classification(2)}, {"kind": -1.0}, "at least 0"),
        ({"kind": kt.tasks.Classification(2)}, "uncertain", "Close names: .uncertainty."),
    ],
)
def test_bad_parts(task, balancing, message):
    with pytest.raises(checks.InputError, match=message):
        kt.build_model(networks.small(), task, balancing=balancing)


def test_compile_needs_task_outputs():
    with pytest.raises(checks.InputError, match="task outputs"):
        kt.compile(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def test_images_that_do_not_fill_the_coarsest_map_are_told(capsys):
    kt.build_model(
        kt.backbone("tiny", weights=None, image_size=45), kt.tasks.Segmentation(2, width=8)
    )
    assert "45 x 45 are no multiple of the coarsest stride, 8" in capsys.readouterr().out
    kt.build_model("tiny", kt.tasks.Segmentation(2, width=8))
    assert "coarsest" not in capsys.readouterr().out

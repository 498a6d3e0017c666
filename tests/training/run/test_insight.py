"""Distances and gradient norms by block, and where a run writes them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training.run import insight


@pytest.fixture(scope="module")
def data():
    return kt.data.scenes(n=24, image_size=32, validation=0.25, batch_size=6, targets="background")


def model_of(data):
    """Of blocks with several layers."""
    keras.utils.set_random_seed(0)
    return kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names)
    )


def small_model(data):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), kt.tasks.Classification(data.class_names))


def test_distance_by_hand(data):
    model = model_of(data)
    start = {path: np.asarray(value).copy() for path, value in paths.variables(model).items()}
    kernel = paths.variables(model)["block3_1_conv/kernel"]
    kernel.assign(kernel * 3.0)
    found = insight.Insight(model, start, ["distance"]).measure()["distance"]
    mine = [path for path in start if path.startswith("block3") and "moving" not in path]
    size = np.sqrt(sum(np.square(start[path]).sum() for path in mine))
    moved = 2 * np.sqrt(np.square(start["block3_1_conv/kernel"]).sum())
    assert found.pop("block3") == pytest.approx(moved / size, rel=1e-4)
    assert set(found.values()) == {0.0}


def test_gradient_by_hand(data):
    model = model_of(data)
    kt.freeze(model, below="block4")
    (batch,) = data.ordered("train").take(1)
    found = insight.Insight(model, {}, ["gradient"]).measure(batch)["gradient"]
    assert set(found) == {"block4", "head"}
    with tf.GradientTape() as tape:
        answers = model(batch[0], training=False)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(batch[1], answers))
    variables = {path: value for path, value in paths.variables(model).items() if value.trainable}
    trained = {
        path: value
        for path, value in variables.items()
        if any(value is v for v in model.trainable_variables)
    }
    gradients = dict(
        zip(trained, tape.gradient(loss, [v.value for v in trained.values()]), strict=True)
    )
    head = [np.square(value).sum() for path, value in gradients.items() if "logits" in path]
    assert found["head"] == pytest.approx(np.sqrt(sum(head)), rel=1e-4)


def test_a_run_says_how_far_it_came(data, tmp_path):
    model = model_of(data)
    start = {path: np.asarray(value).copy() for path, value in paths.variables(model).items()}
    stages = [kt.Stage(epochs=1, train="head"), kt.Stage(epochs=2, train="block4")]
    history = kt.fine_tune(
        model, data.train, stages=stages, watch=("distance", "gradient"), verbose=0
    )
    rows = history.record["insight"]
    assert [(row["epoch"], row["stage"]) for row in rows] == [(0, 0), (1, 1), (2, 1)]
    assert (
        rows[0]["distance"]["block4"]
        == 0.0
        < rows[1]["distance"]["block4"]
        < rows[2]["distance"]["block4"]
    )
    assert set(rows[0]["gradient"]) == {"head"}
    assert set(rows[1]["gradient"]) == {"block4", "head"}
    assert rows[2]["distance"] == insight.Insight(model, start, ["distance"]).measure()["distance"]


def test_watching_changes_nothing(data):
    results = []
    for watch in ((), ("distance", "gradient")):
        model = small_model(data)
        kt.fine_tune(model, data, epochs=(1, 1), watch=watch, seed=0, verbose=0)
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_names(data):
    with pytest.raises(checks.InputError, match="`watch` must be one of"):
        kt.fine_tune(model_of(data), data, epochs=(1, 1), watch="gradients", verbose=0)


def test_a_plain_dataset_is_read_once_for_gradients(data):
    """One that shuffles anew whenever it is read is one pass further on, not one an epoch."""
    starts = []

    def images():
        starts.append(len(starts))
        yield from (tuple(part.numpy() for part in batch) for batch in data.ordered("train"))

    spec = tuple(
        tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in data.train.element_spec
    )
    found = []
    for watch in ((), ("gradient",)):
        starts.clear()
        dataset = tf.data.Dataset.from_generator(images, output_signature=spec)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(3))
        stages = [kt.Stage(epochs=3, train="head")]
        kt.fine_tune(small_model(data), dataset, stages=stages, watch=watch, verbose=0)
        found.append(len(starts))
    assert found[1] == found[0] + 1


def test_a_block_keeps_the_distance_that_an_earlier_stage_gave_it(data):
    """Blocks that stand still are not read again; what they had moved before is known all the same."""
    model = model_of(data)
    start = {path: np.asarray(value).copy() for path, value in paths.variables(model).items()}
    trains = ["head", "block4", "head"]
    stages = [kt.Stage(epochs=2, train=train, learning_rate=1e-2) for train in trains]
    watched = []
    whole = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: watched.append(
            insight.Insight(model, start, ["distance"]).measure()
        )
    )
    history = kt.fine_tune(model, data.train, stages=stages, callbacks=[whole], verbose=0)
    rows = [row["distance"] for row in history.record["insight"]]
    assert rows == [each["distance"] for each in watched]
    assert (
        rows[1]["block4"]
        == 0.0
        < rows[2]["block4"]
        < rows[3]["block4"]
        == rows[4]["block4"]
        == rows[5]["block4"]
    )
    assert rows[3]["head"] < rows[5]["head"]

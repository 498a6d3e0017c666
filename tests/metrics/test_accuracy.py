import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import data, metrics


def random_case(examples=40, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, classes, examples)
    answers = rng.dirichlet(np.ones(classes), examples).astype("float32")
    answers[::2] = (
        0.1 * answers[::2] + 0.9 * np.eye(classes, dtype="float32")[ids[::2]]
    )  # about half of them right
    return ids, answers, rng.random(examples).astype("float32")


def result(metric, targets, answers, weights=None):
    """Over two batches."""
    for part in (slice(0, 15), slice(15, None)):
        metric.update_state(
            targets[part], answers[part], None if weights is None else weights[part]
        )
    return float(metric.result())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_ids_count_as_in_keras(shape, weighted):
    ids, answers, weights = random_case()
    weights = weights if weighted else None
    expected = result(
        keras.metrics.SparseCategoricalAccuracy(), ids.reshape(shape), answers, weights
    )
    assert 0.4 < expected < 0.9
    assert result(metrics.Accuracy(), ids.reshape(shape), answers, weights) == expected


@pytest.mark.parametrize("weighted", [False, True])
def test_distributions_count_as_in_keras(weighted):
    ids, answers, weights = random_case()
    weights = weights if weighted else None
    mixed = (0.7 * np.eye(5)[ids] + 0.3 * np.eye(5)[ids[::-1]]).astype("float32")
    expected = result(keras.metrics.CategoricalAccuracy(), mixed, answers, weights)
    assert result(metrics.Accuracy(), mixed, answers, weights) == expected
    assert expected == result(
        metrics.Accuracy(), ids, answers, weights
    )  # the largest part is the example's own


def test_by_hand():
    # likeliest 0 1 1 2; targets 0, most of 1, most of 0, 2
    answers = np.array(
        [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], "float32"
    )
    targets = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.7, 0.3, 0], [0, 0, 1]], "float32")
    metric = metrics.Accuracy()
    assert float(metric(targets, answers)) == 0.75
    metric.reset_state()
    assert float(metric(targets, answers, sample_weight=np.array([1, 1, 6, 0], "float32"))) == 0.25


def test_targets_of_mixup():
    """The targets as answers are all right; where a pair has kept less than half, its partner's class is."""
    ids = np.arange(64) % 4
    batches = tf.data.Dataset.from_tensors((np.zeros((64, 2, 2, 3), "float32"), ids))
    ((_, targets),) = data.Augment(mixup=1.0).apply(batches, seed=0, classes=4)
    assert np.count_nonzero(targets) > 64
    assert float(metrics.Accuracy()(targets, targets)) == 1.0
    kept = np.mean(targets.numpy()[np.arange(64), ids] > 0.5)
    assert 0.5 < kept < 1
    assert float(metrics.Accuracy()(targets, np.eye(4)[ids])) == kept


def test_config_and_name():
    metric = metrics.Accuracy()
    assert metric.name == "accuracy"
    twin = keras.metrics.deserialize(keras.metrics.serialize(metrics.Accuracy(name="hits")))
    assert type(twin) is metrics.Accuracy
    assert twin.name == "hits"


def test_a_saved_model_has_it_again(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[metrics.Accuracy()])
    ids, answers, _ = random_case()
    before = model.evaluate(answers, ids, return_dict=True, verbose=0)
    model.save(tmp_path / "m.keras")
    assert (
        keras.saving.load_model(tmp_path / "m.keras").evaluate(
            answers, ids, return_dict=True, verbose=0
        )
        == before
    )
    assert before["accuracy"] == pytest.approx(np.mean(answers.argmax(-1) == ids))

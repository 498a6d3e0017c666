import keras
import networks
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import data, losses, models, tasks, testing
from keras_transfer.core import checks


def test_a_number_of_classes_names_them():
    assert tasks.Classification(3).class_names == ["0", "1", "2"]
    assert tasks.Classification(np.int64(2)).class_names == ["0", "1"]


def test_balanced_weights_by_hand():
    """n / (classes * count): 4 / (2 * 3) and 4 / (2 * 1); their mean over the data is 1."""
    loss = tasks.Classification(2, class_weights="balanced").loss(np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(loss.class_weights, [4 / 6, 2.0])


def test_effective_weights_are_counted():
    """E(3) = 1 + 0.999 + 0.998001 and E(1) = 1; the mean of 3 / 2.997001 and 1 / 1 over the data is 1 when scaled."""
    loss = tasks.Classification(2, class_weights="effective").loss(np.array([0, 0, 0, 1]))
    weights = np.array([1 / 2.997001, 1.0])
    np.testing.assert_allclose(
        loss.class_weights, weights * 4 / (3 * weights[0] + weights[1]), rtol=1e-9
    )


def test_weights_by_name_default_to_one():
    assert tasks.Classification(["a", "b", "c"], class_weights={"c": 3}).class_weights == [
        1.0,
        1.0,
        3.0,
    ]


def test_weights_as_an_array():
    assert tasks.Classification(2, class_weights=np.array([0.5, 2.0])).class_weights == [0.5, 2.0]


@pytest.mark.parametrize("name", ["crossentropy", "focal", "logit_adjusted"])
def test_a_loss_by_name(name):
    task = tasks.Classification(2, loss=name, class_weights="balanced", label_smoothing=0.1)
    loss = task.loss(np.array([0, 0, 0, 1]))
    assert type(loss) is losses.LOSSES[name]
    assert loss.label_smoothing == 0.1
    np.testing.assert_allclose(loss.class_weights, [4 / 6, 2.0])


def test_priors_are_counted():
    task = tasks.Classification(3, loss="logit_adjusted")
    assert task.needs_targets()
    np.testing.assert_allclose(
        task.loss(np.array([0, 0, 0, 1])).priors, [0.75, 0.25, 0.25]
    )  # none counts as one
    with pytest.raises(checks.InputError, match="before training"):
        task.loss()(np.array([0]), np.ones((1, 3), "float32") / 3)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.Focal(3.0), {"gamma": 3.0, "class_weights": [4 / 6, 2.0]}),
        (losses.LogitAdjusted(tau=2.0), {"tau": 2.0, "priors": [0.75, 0.25]}),
        (losses.LogitAdjusted([1, 1]), {"priors": [1.0, 1.0]}),
        (losses.Crossentropy(label_smoothing=0.3), {"label_smoothing": 0.3}),
    ],
)
def test_what_a_loss_of_ours_lacks_is_settled(loss, expected):
    before = loss.get_config()
    found = (
        tasks.Classification(2, loss=loss, class_weights="balanced")
        .loss(np.array([0, 0, 0, 1]))
        .get_config()
    )
    assert {name: found[name] for name in expected} == expected
    assert loss.get_config() == before


def test_a_weighing_that_the_loss_names_is_settled_too():
    task = tasks.Classification(2, loss=losses.Focal(class_weights="balanced"))
    assert task.needs_targets()
    np.testing.assert_allclose(task.loss(np.array([0, 0, 0, 1])).class_weights, [4 / 6, 2.0])


def test_a_keras_loss_is_used_as_it_is():
    loss = keras.losses.SparseCategoricalCrossentropy()
    task = tasks.Classification(2, loss=loss)
    assert task.loss(np.array([0, 1])) is loss
    assert not task.needs_targets()


@pytest.mark.parametrize(
    "loss",
    ["focal", "logit_adjusted", losses.Focal(0.5), keras.losses.SparseCategoricalCrossentropy()],
)
def test_contract_with_another_loss(loss):
    testing.check_task(
        tasks.Classification(["cat", "dog", "emu"], loss=loss), np.array([0, 2, 1, 2])
    )


def test_a_config_from_before_there_were_other_losses():
    config = {
        "classes": ["a", "b"],
        "class_weights": "balanced",
        "label_smoothing": 0.1,
        "hidden": [],
        "dropout": 0.0,
    }
    task = tasks.Classification.from_config({**config, "pooling": "avg"})
    assert type(task.loss(np.array([0, 1]))) is losses.Crossentropy
    assert task.get_config() == {**config, "pooling": "avg", "loss": "crossentropy"}


def test_decode_puts_the_best_first():
    answers = tasks.Classification(["a", "b", "c"]).decode(
        np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]], "float32")
    )
    assert answers["label"].numpy().tolist() == [b"b", b"a"]
    assert answers["classes"].numpy().tolist() == [[b"b", b"a", b"c"], [b"a", b"c", b"b"]]


def test_encode_takes_names_and_ids():
    task = tasks.Classification(["cat", "dog"])
    assert task.encode(np.array(["dog", "cat"])).tolist() == [1, 0]
    assert task.encode(np.array([1, 0])).tolist() == [1, 0]
    assert task.encode(np.eye(2)[[1, 0]]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            np.array([0, 7, 1]),
            r"`labels` must lie in \[0, 2\). Given: 7 at index 1. Set `classes=8`",
        ),
        (np.array([0, -1]), "-1 at index 1"),
        (np.array([0.5, 1.0]), "class ids"),
        (np.eye(3, dtype=int), "one-hot rows of 2. Given"),
        (np.array([[0.5, 0.5]]), "one-hot rows of 2. Given"),
        (np.array(["cat", "dgo"]), "Close names: 'dog'"),
    ],
)
def test_bad_targets(targets, message):
    with pytest.raises(checks.InputError, match=message):
        tasks.Classification(["cat", "dog"]).encode(targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "at least 2"),
        ({"classes": ["a"]}, "2 or more different names. Given: 1 names"),
        ({"classes": ["a", "b", "a"]}, "'a' twice"),
        ({"classes": ["1", 1]}, "'1' twice"),
        ({"classes": "cat"}, "a number or a list"),
        ({"classes": {"a", "b"}}, "which has an order"),
        ({"classes": 2.5}, "whole number"),
        ({"classes": 2, "class_weights": "balance"}, "'balanced'"),
        ({"classes": 2, "class_weights": [1.0]}, "2 entries"),
        ({"classes": ["a", "b"], "class_weights": {"c": 1}}, "class_weights"),
        ({"classes": 2, "loss": "focus"}, "Close names: 'focal'"),
        ({"classes": 2, "loss": "scaled_huber"}, "`loss` must be a known name"),
        ({"classes": 2, "loss": 3}, "a name or a Keras loss"),
        (
            {
                "classes": 2,
                "loss": keras.losses.SparseCategoricalCrossentropy(),
                "class_weights": "balanced",
            },
            "`class_weights` must go with a loss .* which does not know it",
        ),
        (
            {"classes": 2, "loss": losses.Focal(label_smoothing=0.1), "label_smoothing": 0.1},
            "`label_smoothing` must go with a loss .* which has its own",
        ),
        ({"classes": 2, "label_smoothing": 1.0}, "label_smoothing"),
        ({"classes": 2, "dropout": 1.0}, "dropout"),
        ({"classes": 2, "hidden": [0]}, "hidden"),
        ({"classes": 2, "pooling": "mean"}, "pooling"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        tasks.Classification(**arguments)


@pytest.mark.parametrize("named", [False, True])
def test_what_fit_logs_of_mixed_targets(named):
    """The cross-entropy with the mixture, and how often the answer is its largest part; under the usual names."""
    rng = np.random.default_rng(0)
    images, ids = rng.integers(0, 256, (48, 32, 32, 3), "uint8"), rng.integers(0, 3, 48)
    batches = tf.data.Dataset.from_tensor_slices((images, {"place": ids} if named else ids)).batch(
        16
    )
    mix, classes = data.Augment(mixup=0.4), {"place": 3} if named else 3
    task = tasks.Classification(3)
    model = models.build_model(networks.small(), {"place": task} if named else task)
    for layer in model.layers:  # so that it answers in training as it does in prediction
        layer.trainable = layer.name.endswith("_logits")
    models.compile(model, optimizer=keras.optimizers.SGD(0.0))
    history = model.fit(
        mix.apply(batches, seed=0, classes=classes), shuffle=False, verbose=0
    ).history
    hits, costs = [], []
    for pixels, targets in mix.apply(batches, seed=0, classes=classes):
        answers, targets = model.predict(pixels, verbose=0), targets["place"] if named else targets
        answers, targets = answers["place"] if named else answers, targets.numpy()
        assert np.count_nonzero(targets) > 16
        hits += (answers.argmax(-1) == targets.argmax(-1)).tolist()
        costs += (-(targets * np.log(answers)).sum(-1)).tolist()
    assert history["accuracy"] == [pytest.approx(np.mean(hits))]
    assert history["loss"] == [pytest.approx(np.mean(costs), rel=1e-4)]


def test_baseline_is_the_most_frequent_class():
    task, ids = tasks.Classification(["cat", "dog", "emu"]), np.array([0, 1, 1, 1, 1, 2, 2, 0])
    right = task.baseline(ids, np.eye(3)[ids])
    assert right == {"answer": "'dog'", "scores": {"accuracy": 0.5}, "is_beaten": True}
    assert not task.baseline(ids, np.eye(3)[[1] * 8])["is_beaten"]
    assert task.baseline(np.array([1, 1]), np.eye(3)[[0, 1]]) is None

import numpy as np
import pytest

from keras_transfer import tasks
from keras_transfer.core import checks


def test_a_number_of_classes_names_them():
    assert tasks.Classification(3).class_names == ["0", "1", "2"]
    assert tasks.Classification(np.int64(2)).class_names == ["0", "1"]


def test_balanced_weights_by_hand():
    """n / (classes * count): 4 / (2 * 3) and 4 / (2 * 1); their mean over the data is 1."""
    loss = tasks.Classification(2, class_weights="balanced").loss(np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(loss.class_weights, [4 / 6, 2.0])


def test_weights_by_name_default_to_one():
    assert tasks.Classification(["a", "b", "c"], class_weights={"c": 3}).class_weights == [1.0, 1.0, 3.0]


def test_weights_as_an_array():
    assert tasks.Classification(2, class_weights=np.array([0.5, 2.0])).class_weights == [0.5, 2.0]


def test_decode_puts_the_best_first():
    answers = tasks.Classification(["a", "b", "c"]).decode(np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]], "float32"))
    assert answers["label"].numpy().tolist() == [b"b", b"a"]
    assert answers["classes"].numpy().tolist() == [[b"b", b"a", b"c"], [b"a", b"c", b"b"]]


def test_encode_takes_names_and_ids():
    task = tasks.Classification(["cat", "dog"])
    assert task.encode(np.array(["dog", "cat"])).tolist() == [1, 0]
    assert task.encode(np.array([1, 0])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([0, 7, 1]), r"`labels` must lie in \[0, 2\). Given: 7 at index 1. Set `classes=8`"),
        (np.array([0, -1]), "-1 at index 1"),
        (np.array([0.5, 1.0]), "class ids"),
        (np.eye(2, dtype=int), "class ids"),
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
        ({"classes": ["a"]}, "at least two different names"),
        ({"classes": ["a", "b", "a"]}, "'a' twice"),
        ({"classes": "cat"}, "a number or a list"),
        ({"classes": {"a", "b"}}, "which has an order"),
        ({"classes": 2.5}, "whole number"),
        ({"classes": 2, "class_weights": "balance"}, "'balanced'"),
        ({"classes": 2, "class_weights": [1.0]}, "2 entries"),
        ({"classes": ["a", "b"], "class_weights": {"c": 1}}, "class_weights"),
        ({"classes": 2, "label_smoothing": 1.0}, "label_smoothing"),
        ({"classes": 2, "dropout": 1.0}, "dropout"),
        ({"classes": 2, "hidden": [0]}, "hidden"),
        ({"classes": 2, "pooling": "mean"}, "pooling"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        tasks.Classification(**arguments)

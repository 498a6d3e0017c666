import numpy as np
import pytest

from keras_transfer.core import labelled


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0, 1, 0.5], [False, True, True]),
        ([[0], [2]], [False, True]),
        ([[[0, 0]], [[0, 1]]], [False, True]),
        ([], []),
    ],
)
def test_rows(weights, expected):
    assert labelled.rows(np.array(weights)).tolist() == expected


def test_known_targets_keep_their_order():
    assert labelled.known(np.array([3, 0, 1]), np.array([1, 0, 1])).tolist() == [3, 1]
    targets = np.arange(3)
    assert labelled.known(targets, None) is targets


def test_masks_are_0_or_1_in_every_column():
    assert labelled.are_masks({"a": np.array([0, 1]), "b": None})
    assert not labelled.are_masks({"a": np.array([0, 1]), "b": np.array([0.5, 1])})


def test_weights_of_a_task():
    assert labelled.of_task(None, "a") is None
    assert labelled.of_task([1], "a") == [1]
    assert labelled.of_task({"b": [1]}, "a") is None

"""The contract of a loss."""

import keras
import numpy as np

from keras_transfer.testing.running import rebuild, require, run

__all__ = ["check_loss"]


def check_loss(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Checks a loss: it is the mean over the examples, weight 0 leaves one out, and its config makes it again.

    Example:
        >>> check_loss(kt.losses.Crossentropy(), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]], "float32"))
    """
    checks = (is_the_mean_of_the_examples, weight_zero_is_absence, config_makes_the_loss_again)
    run(checks, loss, y_true, y_pred)


def is_the_mean_of_the_examples(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    """Checks that a batch's loss is the mean of its examples' losses."""
    each = [float(loss(y_true[i : i + 1], y_pred[i : i + 1])) for i in range(len(y_true))]
    np.testing.assert_allclose(float(loss(y_true, y_pred)), np.mean(each), rtol=1e-5)


def weight_zero_is_absence(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Checks that an example of weight 0 counts as if it were not there, under the weighted mean."""
    again = type(loss).from_config({**loss.get_config(), "reduction": "mean_with_sample_weight"})
    weights = np.ones(len(y_true), "float32")
    weights[0] = 0
    weighted = float(again(y_true, y_pred, sample_weight=weights))
    np.testing.assert_allclose(weighted, float(again(y_true[1:], y_pred[1:])), rtol=1e-5)


def config_makes_the_loss_again(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    """Checks that a loss made from the config gives the same value."""
    again = float(rebuild(loss)(y_true, y_pred))
    expected = float(loss(y_true, y_pred))
    require(again == expected, f"{again}, not {expected}")

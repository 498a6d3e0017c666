"""Losses of a positive number for every pixel, such as a depth."""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops, saving

from keras_transfer.core import checks, lookup
from keras_transfer.losses import base

__all__ = ["DepthLoss"]

SMALL = 1e-6
SHARE = 0.85  # of the mean's square that is forgiven: 1 would not care for the scale at all (Eigen et al. 2014: 0.5)


@saving.register_keras_serializable("keras_transfer")
class DepthLoss(base.TaskLoss):
    """The sum of one or several losses of depth maps, each over the known pixels of an image.

    - "log": `sqrt(mean(d^2) - 0.85 mean(d)^2)` of the differences d of logarithms, which forgives most of an error that
      all pixels share (Eigen, Puhrsch and Fergus 2014);
    - "l1": the mean absolute difference of logarithms;
    - "gradient": the mean absolute difference between how neighbours differ in the logarithm, so that edges are met.

    Pixels that are not above 0, or not finite, are not known. An image without known pixels costs 0, and one of weight
    0 (a missing map) does not count.

    Args:
        parts: Names of the losses.

    Example:
        >>> import numpy as np
        >>> near, far = np.full((1, 2, 2, 1), 1.0), np.full((1, 2, 2, 1), np.e)
        >>> round(float(DepthLoss("l1")(near, far)), 4)
        1.0
    """

    def __init__(
        self,
        parts: str | Sequence[str] = ("log", "gradient"),
        *,
        reduction: str = "mean_with_sample_weight",
        name: str = "depth_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.parts = read_parts(parts, PARTS)

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each image.

        Args:
            y_true: Depths (batch, height, width[, 1]).
            y_pred: Positive numbers (batch, height, width, 1).
        """
        truth = base.with_channels(y_true, y_pred)
        known = ops.logical_and(truth > 0, ops.isfinite(truth))
        truth = ops.where(known, truth, ops.ones_like(truth))
        known = ops.cast(known, y_pred.dtype)
        gaps = (ops.log(ops.maximum(y_pred, SMALL)) - ops.log(truth)) * known
        total: Any = 0.0
        for part in self.parts:
            total = total + PARTS[part](gaps, known)
        return total

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "parts": self.parts}


def read_parts(parts: str | Sequence[str], known: dict) -> list[str]:
    """Returns the names of losses that are added, or raises an error.

    Args:
        parts: One name or several.
        known: All names.

    Example:
        >>> read_parts("l1", PARTS)
        ['l1']
    """
    names = [parts] if isinstance(parts, str) else list(parts)
    if not names:
        raise checks.error("`loss` must name at least one loss", given="none")
    for name in names:
        lookup.find(name, known, argument="loss")
    return names


def log(gaps: Any, known: Any) -> Any:
    """Returns the root of the scale-forgiving mean square of each image."""
    mean, square = _mean(gaps, known), _mean(ops.square(gaps), known)
    return ops.sqrt(ops.maximum(square - SHARE * ops.square(mean), 0.0) + SMALL)


def l1(gaps: Any, known: Any) -> Any:
    """Returns the mean absolute gap of each image."""
    return _mean(ops.abs(gaps), known)


def gradient(gaps: Any, known: Any) -> Any:
    """Returns the mean absolute difference of the gaps of neighbours of each image, down and across."""
    down, across = gaps[:, 1:] - gaps[:, :-1], gaps[:, :, 1:] - gaps[:, :, :-1]
    both_down, both_across = known[:, 1:] * known[:, :-1], known[:, :, 1:] * known[:, :, :-1]
    return _mean(ops.abs(down), both_down) + _mean(ops.abs(across), both_across)


# Name: its function of differences of logarithms (0 where not known) and of what is known.
PARTS: dict[str, Callable] = {"log": log, "l1": l1, "gradient": gradient}


def _mean(values: Any, known: Any) -> Any:
    axes = (1, 2, 3)
    return ops.sum(values * known, axis=axes) / ops.maximum(ops.sum(known, axis=axes), 1.0)

"""Losses of pictures against pictures, with values 0..255."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, saving

from keras_transfer.core import checks
from keras_transfer.losses import base, depth

__all__ = ["PictureLoss", "ssim"]

ADVERSARIAL = "adversarial"
WHITE = 255.0
WINDOW, SPREAD = 11, 1.5  # of the Gaussian of Wang et al. 2004
FORGIVEN = (0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2


@saving.register_keras_serializable("keras_transfer")
class PictureLoss(base.TaskLoss):
    """The sum of one or several losses of pictures, in shares of white.

    - "l1": the mean absolute difference;
    - "l2": the mean square difference;
    - "ssim": 1 - the structural similarity (Wang et al. 2004);
    - "perceptual": the mean absolute difference of what a frozen network sees in both pictures, relative to how much it
      sees (Johnson, Alahi and Li 2016). It needs `network`;
    - "adversarial": added by models of `kt.build_model` while they train, not here: a discriminator learns beside them.

    Args:
        parts: Names of the losses.
        network: For "perceptual": any Keras model from pixels 0..255 to features, such as a backbone; it does not
            train. A saved model has the loss without it: compile the loaded one again to train on.

    Example:
        >>> black, white = np.zeros((1, 4, 4, 3), "float32"), np.full((1, 4, 4, 3), 255, "float32")
        >>> float(PictureLoss("l1")(black, white))
        1.0
    """

    def __init__(
        self,
        parts: str | Sequence[str] = ("l1", "ssim"),
        *,
        network: keras.Model | None = None,
        reduction: str = "mean_with_sample_weight",
        name: str = "picture_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.parts = depth.read_parts(parts, PARTS)
        if self.parts == [ADVERSARIAL]:
            raise checks.error(
                "`loss` must have another part beside 'adversarial'",
                given=repr(parts),
                fix="For example ('l1', 'adversarial'): any sharp picture would do otherwise.",
            )
        self.network = network

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each picture.

        Args:
            y_true: Pictures (batch, height, width, channels), or without the last axis where they have one.
            y_pred: Pictures (batch, height, width, channels).
        """
        truth = base.with_channels(y_true, y_pred)
        total: Any = 0.0
        for part in self.parts:
            if part == ADVERSARIAL:
                continue
            cost = PARTS[part] or self._perceptual
            total = total + cost(truth, y_pred)
        return total

    def _perceptual(self, truth: Any, pictures: Any) -> Any:
        if self.network is None:
            raise checks.error(
                "the loss 'perceptual' needs `network`",
                given="None",
                fix="Give a backbone; a loaded model must be compiled again.",
            )
        takes, given = self.network.inputs[0].shape[1:], _as_rgb(truth).shape[1:]
        if any(side not in (None, own) for side, own in zip(takes, given, strict=True)):
            raise checks.error(
                f"`network` must take pictures of shape {tuple(given)}", given=tuple(takes)
            )
        wanted = ops.stop_gradient(self.network(_as_rgb(truth), training=False))
        seen = self.network(_as_rgb(pictures), training=False)
        axes = tuple(range(1, len(wanted.shape)))
        size = ops.mean(ops.abs(wanted), axis=axes)
        return ops.mean(ops.abs(seen - wanted), axis=axes) / (size + 1e-6)

    def get_config(self) -> dict:
        """Returns what the constructor takes, without the network."""
        return {**super().get_config(), "parts": self.parts}


def l1(truth: Any, pictures: Any) -> Any:
    """Returns the mean absolute difference of each picture."""
    return ops.mean(ops.abs(truth - pictures), axis=(1, 2, 3)) / WHITE


def l2(truth: Any, pictures: Any) -> Any:
    """Returns the mean square difference of each picture."""
    return ops.mean(ops.square((truth - pictures) / WHITE), axis=(1, 2, 3))


def structure(truth: Any, pictures: Any) -> Any:
    """Returns 1 - the structural similarity of each picture."""
    return 1.0 - ssim(truth, pictures)


# Name: its function of targets and answers; None for those that need a network.
PARTS: dict[str, Callable | None] = {
    "l1": l1,
    "l2": l2,
    "ssim": structure,
    "perceptual": None,
    ADVERSARIAL: None,
}


def ssim(truth: Any, pictures: Any) -> Any:
    """Returns the structural similarity of pairs of pictures, at most 1: the mean over places and channels.

    Of Wang et al. 2004: Gaussian windows of 11 x 11 pixels (smaller for small pictures), values 0..255.

    Args:
        truth: Pictures (batch, height, width, channels).
        pictures: Pictures of the same shape.

    Example:
        >>> picture = np.arange(3 * 16 * 16, dtype="float32").reshape(1, 16, 16, 3) % 251
        >>> round(float(ssim(picture, picture)[0]), 4)
        1.0
    """
    side = min(WINDOW, *truth.shape[1:3])
    places = np.arange(side) - (side - 1) / 2
    weights = np.exp(-(places**2) / (2 * SPREAD**2))
    weights = (weights / weights.sum()).astype("float32")
    channels = truth.shape[-1]
    kernels = [
        ops.tile(ops.reshape(ops.cast(weights, truth.dtype), shape), (1, 1, channels, 1))
        for shape in ((side, 1, 1, 1), (1, side, 1, 1))
    ]

    def average(values: Any) -> Any:
        for kernel in kernels:
            values = ops.depthwise_conv(values, kernel, padding="valid")
        return values

    mean_1, mean_2 = average(truth), average(pictures)
    variances = (
        average(truth * truth) + average(pictures * pictures) - mean_1 * mean_1 - mean_2 * mean_2
    )
    covariance = average(truth * pictures) - mean_1 * mean_2
    light, contrast = FORGIVEN
    similar = (2 * mean_1 * mean_2 + light) / (mean_1 * mean_1 + mean_2 * mean_2 + light)
    similar = similar * (2 * covariance + contrast) / (variances + contrast)
    return ops.mean(similar, axis=(1, 2, 3))


def _as_rgb(pictures: Any) -> Any:
    return ops.repeat(pictures, 3, axis=-1) if pictures.shape[-1] == 1 else pictures

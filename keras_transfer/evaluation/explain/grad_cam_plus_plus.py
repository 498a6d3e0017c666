"""Grad-CAM++."""

from typing import Any

from keras import ops

from keras_transfer.evaluation.explain import base

__all__ = ["GradCAMPlusPlus"]


class GradCAMPlusPlus(base.CAM):
    """As Grad-CAM, but places where the gradient is positive count by their share (Chattopadhay et al. 2018).

    Better than Grad-CAM where an image shows several objects of the class.

    Example:
        >>> GradCAMPlusPlus().needs_places
        True
    """

    def combine(self, features: Any, gradient: Any) -> Any:
        """See `CAM`."""
        total = ops.sum(features, axis=(1, 2), keepdims=True)
        squared = ops.square(gradient)
        below = 2 * squared + gradient * squared * total  # equation 19
        shares = squared / ops.where(below == 0, ops.ones_like(below), below)
        weights = ops.sum(shares * ops.relu(gradient), axis=(1, 2), keepdims=True)
        return ops.sum(weights * features, axis=-1)

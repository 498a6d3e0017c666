"""Grad-CAM."""

from typing import Any

from keras import ops

from keras_transfer.evaluation.explain import base

__all__ = ["GradCAM"]


class GradCAM(base.CAM):
    """The sum of the channels, each weighted by its mean gradient (Selvaraju et al. 2017).

    Example:
        >>> GradCAM().needs_places
        True
    """

    def combine(self, features: Any, gradient: Any) -> Any:
        """See `CAM`."""
        weights = ops.mean(gradient, axis=(1, 2), keepdims=True)
        return ops.sum(weights * features, axis=-1)

"""Layer-CAM."""

from typing import Any

from keras import ops

from keras_transfer.evaluation.explain import base

__all__ = ["LayerCAM"]


class LayerCAM(base.CAM):
    """Each place of a channel is weighted by its own gradient, where that is positive (Jiang et al. 2021).

    Also good at lower layers, whose maps are finer: `layer="block3*"`.

    Example:
        >>> LayerCAM().needs_places
        True
    """

    def combine(self, features: Any, gradient: Any) -> Any:
        """See `CAM`."""
        return ops.sum(ops.relu(gradient) * features, axis=-1)

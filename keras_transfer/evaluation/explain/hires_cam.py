"""HiResCAM."""

from typing import Any

from keras import ops

from keras_transfer.evaluation.explain import base

__all__ = ["HiResCAM"]


class HiResCAM(base.CAM):
    """Gradient times features at each place (Draelos and Carin 2020).

    Where one linear layer stands above the map, this is exactly what each place adds to the answer.

    Example:
        >>> HiResCAM().needs_places
        True
    """

    def combine(self, features: Any, gradient: Any) -> Any:
        """See `CAM`."""
        return ops.sum(gradient * features, axis=-1)

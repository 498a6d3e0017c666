"""Batch spectral shrinkage: the weakest directions of a batch's features are suppressed."""

import keras
from keras import ops

from keras_transfer.core import checks
from keras_transfer.training.methods import penalties

__all__ = ["BSS"]


@keras.saving.register_keras_serializable("keras_transfer")
class BSS(penalties.Regulariser):
    """Adds `weight * sum of the squares of the k smallest singular values` of each batch's feature matrix.

    From Chen, Wang, Fu, Long and Wang, "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral
    Shrinkage for Safe Transfer Learning" (2019). The matrix is (batch, channels): the trunk's features,
    averaged over the places of a map, in float32. Nothing is computed while the whole trunk is frozen.
    Under `tf.distribute` each replica takes the singular values of its own share of the batch.

    Args:
        weight: The paper's eta.
        k: How many singular values; all of them where a batch has fewer.

    Example:
        >>> BSS(k=2)
        BSS(weight=0.001, k=2)
    """

    def __init__(self, weight: float = 1e-3, k: int = 1) -> None:
        self.weight = checks.number(weight, name="weight", minimum=0)
        self.k = checks.integer(k, name="k")

    def penalty(
        self, model: keras.Model, reference: penalties.Reference
    ) -> penalties.Penalty | None:
        """Returns the sum of squares for the trunk's features."""
        if not self.weight:
            return None
        tap = penalties.trunk_end(model)
        below = penalties.variables_below(model, [tap])[0]

        def value(taps: list) -> object:
            if not any(variable.trainable for variable in below):
                return None
            features = ops.cast(taps[0], "float32")
            features = ops.mean(
                features, axis=tuple(range(1, len(features.shape) - 1))
            )  # (batch, channels)
            # From the singular values themselves: eigenvalues of the Gram matrix lose the small ones in float32.
            smallest = ops.flip(ops.svd(features, full_matrices=False, compute_uv=False))[: self.k]
            return self.weight * ops.sum(ops.square(smallest))

        return penalties.Penalty([tap], value)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {"weight": self.weight, "k": self.k}

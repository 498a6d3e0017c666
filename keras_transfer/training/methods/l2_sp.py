"""L2-SP: weight decay towards the pretrained weights."""

import keras
from keras import ops

from keras_transfer.core import checks
from keras_transfer.training.methods import penalties

__all__ = ["L2SP"]


@keras.saving.register_keras_serializable("keras_transfer")
class L2SP(penalties.Regulariser):
    """Adds `alpha/2 * sum (w - w0)**2` over the trunk's kernels and `beta/2 * sum w**2` over the head's.

    From Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks" (2018). Only kernels that train are penalised. Replaces weight decay: use one of them.
    Works under `jit_compile`; the sums are in float32 whatever the precision policy.

    Args:
        alpha: Pull of the trunk towards its pretrained weights w0; the paper's best lie from 0.001 to 0.1.
        beta: Pull of the head, which has no pretrained weights, towards zero.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(2))
        >>> with L2SP(0.01).attached(model) as training_model:
        ...     [layer.name for layer in training_model.layers][-1]
        'penalty'
    """

    def __init__(self, alpha: float = 0.01, beta: float = 0.01) -> None:
        self.alpha = checks.number(alpha, name="alpha", minimum=0)
        self.beta = checks.number(beta, name="beta", minimum=0)

    def penalty(
        self, model: keras.Model, reference: penalties.Reference
    ) -> penalties.Penalty | None:
        """Returns the two sums; they read the weights, no tensor of the graph."""
        trunk, head = penalties.kernels(model)
        # Variables, not constants: constants of a whole network would be copied into every traced graph.
        start = {
            path: keras.Variable(value, trainable=False, autocast=False)
            for path, value in (penalties.values_at(trunk, reference) if self.alpha else {}).items()
        }

        def value(_: list) -> object:
            terms = [
                0.5 * self.alpha * ops.sum(ops.square(trunk[path] - start[path]))
                for path in start
                if trunk[path].trainable
            ]
            if self.beta:
                terms += [
                    0.5 * self.beta * ops.sum(ops.square(each))
                    for each in head.values()
                    if each.trainable
                ]
            return sum(terms) if terms else None

        return penalties.Penalty([], value) if self.alpha or self.beta else None

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {"alpha": self.alpha, "beta": self.beta}

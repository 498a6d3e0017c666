"""Numbers in the unit of their labels."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import losses, metrics
from keras_transfer.core import checks
from keras_transfer.tasks import base

__all__ = ["Regression"]


@keras.saving.register_keras_serializable("keras_transfer")
class Regression(base.Task):
    """Answers with one or several numbers, in the unit of the labels.

    `kt.fine_tune` and `kt.compile(model, data=...)` take the unit from the training targets: the
    head learns standardised values, the output layer turns them back.

    Args:
        outputs: How many numbers.
        unit: Name of the unit, for reports.
        hidden: As for `Task`.
        dropout: As for `Task`.
        pooling: As for `Task`.
        level: As for `Task`.
        stop_gradient: As for `Task`.

    Example:
        >>> Regression(unit="years").units
        1
    """

    kind = "regression"
    score = "mae"
    higher_is_better = False
    has_unit = True

    def __init__(
        self,
        outputs: int = 1,
        *,
        unit: str | None = None,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pooling: str = "avg",
        level: str | None = None,
        stop_gradient: bool = False,
    ) -> None:
        super().__init__(
            hidden=hidden,
            dropout=dropout,
            pooling=pooling,
            level=level,
            stop_gradient=stop_gradient,
        )
        self.outputs = checks.integer(outputs, name="outputs")
        self.unit = unit

    @property
    def units(self) -> int:
        """How many numbers."""
        return self.outputs

    def activate(self, outputs: keras.KerasTensor) -> keras.KerasTensor:
        """Nothing: any number is an answer."""
        return outputs

    def loss(self, targets: np.ndarray | None = None) -> losses.ScaledHuber:
        """Returns the Huber loss in units of the targets' deviation."""
        return losses.ScaledHuber(scale=1.0 if targets is None else self.spread(targets)[0])

    def spread(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the deviation (1 where there is none) and the mean of each number."""
        values = self.encode(targets).astype("float64")
        deviation = values.std(axis=0)
        return np.where(deviation > 0, deviation, 1.0), values.mean(axis=0)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Returns the mean absolute error, in the labels' unit."""
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Returns float32 values of shape (examples, outputs)."""
        values = np.asarray(targets)
        if values.dtype.kind not in "iubf" or values.size != len(values) * self.outputs:
            raise checks.error(
                f"`labels` must be {self.outputs} number(s) a picture",
                given=f"{values.dtype} of shape {values.shape}",
            )
        values = values.reshape(len(values), self.outputs).astype("float32")
        if not np.isfinite(values).all():
            at = int(np.argmax(~np.isfinite(values).all(axis=1)))
            raise checks.error(
                "`labels` must be finite numbers", given=f"{values[at].tolist()} at index {at}"
            )
        return values

    def decode(self, outputs: object) -> dict:
        """Returns `value`."""
        import tensorflow as tf

        return {"value": tf.identity(outputs)}

    def measure(self, targets: np.ndarray, outputs: np.ndarray) -> dict:
        """Returns the mean absolute error, root mean squared error and R2."""
        return metrics.regression_scores(targets, outputs)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "outputs": self.outputs, "unit": self.unit}

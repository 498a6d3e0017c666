"""Validates and keeps the moving average of the weights, while the weights themselves go on training."""

import contextlib
from collections.abc import Iterator

import keras

__all__ = ["Averages"]


class Averages(keras.callbacks.Callback):
    """Puts the optimizer's moving averages into the model for validation, and takes them out again.

    Keras's own `SwapEMAWeights` swaps by adding and subtracting, which rounds: validating would change the
    training. This one copies, so it does not.

    Example:
        >>> Averages().is_used
        False
    """

    @property
    def is_used(self) -> bool:
        """Whether the optimizer keeps averages."""
        return self.model is not None and bool(getattr(self._optimizer(), "use_ema", False))

    def _optimizer(self) -> keras.optimizers.Optimizer:
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Puts the averages into the model for the block; before the first step they equal the weights."""
        if not self.is_used or not int(keras.ops.convert_to_numpy(self._optimizer().iterations)):
            yield
            return
        optimizer = self._optimizer()
        variables = optimizer._trainable_variables
        raw = [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variable, average in zip(
            variables, optimizer._model_variables_moving_average, strict=True
        ):
            variable.assign(keras.ops.convert_to_numpy(average))
        try:
            yield
        finally:
            for variable, value in zip(variables, raw, strict=True):
                variable.assign(value)

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Swaps the averages in."""
        self._block = self.in_model()
        self._block.__enter__()

    def on_test_end(self, logs: dict | None = None) -> None:
        """Swaps them out."""
        self._block.__exit__(None, None, None)

"""Callbacks of a stage: the number of its epoch, its last step, its early stopping, the model that users see."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_transfer.machine import engine
from keras_transfer.training.run import criteria

__all__ = ["EpochNumber", "Helping", "Patience", "StepLimit", "WholeModel"]


class EpochNumber(keras.callbacks.Callback):
    """Tells the data which epoch comes next: order and random changes depend on its number only.

    Args:
        counters: Objects whose `next` is the number of the next pass over the data.

    Example:
        >>> EpochNumber([]).counters
        []
    """

    def __init__(self, counters: Sequence[Any]) -> None:
        super().__init__()
        self.counters = list(counters)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the counters; the epoch's iterator is made after this."""
        for counter in self.counters:
            counter.next = epoch


class StepLimit(keras.callbacks.Callback):
    """Ends the stage after a number of steps, None for no limit.

    Example:
        >>> StepLimit(10).steps
        10
    """

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stops when the optimizer has made so many steps."""
        if self.steps is None:
            return
        engine.synchronise(self.model)
        if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) >= self.steps:
            self.model.stop_training = True


class Patience(keras.callbacks.EarlyStopping):
    """Keras's early stopping, which a resumed run goes on with; None as monitor turns it off.

    Example:
        >>> Patience("val_loss", patience=2).patience
        2
    """

    def __init__(self, monitor: str | None, **options: object) -> None:
        super().__init__(monitor=monitor or "val_loss", **options)
        self.is_used = monitor is not None
        self.resumed: dict | None = None

    def resume(self, facts: dict | None) -> None:
        """Goes on from `facts()` when training begins."""
        self.resumed = facts

    def facts(self) -> dict | None:
        """What has to survive a kill."""
        if not self.is_used:
            return None
        best = None if self.best is None or not np.isfinite(self.best) else float(self.best)
        return {"wait": self.wait, "best": best, "best_epoch": self.best_epoch}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts anew, or where the state was."""
        super().on_train_begin(logs)
        if self.resumed is not None:
            self.wait, self.best_epoch = self.resumed["wait"], self.resumed["best_epoch"]
            if self.resumed["best"] is not None:
                self.best = self.resumed["best"]
            self.resumed = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stops when there was no improvement for too long."""
        if self.is_used:
            super().on_epoch_end(epoch, logs)


class Helping(Patience):
    """Ends a stage whose epochs have stopped helping: see `early_stopping="auto"` of `kt.Stage`.

    Args:
        accuracy: The validation accuracy in the logs; None where nothing but the loss is known.
        patience: Epochs that may pass without help.
        examples: How many images the accuracy is measured on; None where unknown.

    Example:
        >>> Helping("val_accuracy", patience=3, examples=100).patience
        3
    """

    def __init__(self, accuracy: str | None, *, patience: int, examples: int | None) -> None:
        super().__init__("val_loss", mode="min", patience=patience)
        self.accuracy, self.examples = accuracy, examples
        self.highest = 0.0

    def facts(self) -> dict:
        """What has to survive a kill."""
        return {**(super().facts() or {}), "highest": self.highest}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts anew, or where the state was."""
        self.highest = 0.0 if self.resumed is None else self.resumed["highest"]
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stops when neither the accuracy nor the loss was better for too long."""
        accuracy = (logs or {}).get(self.accuracy)
        if accuracy is not None and accuracy > self.highest + self._noise():
            self.highest, self.wait = accuracy, -1  # `super` counts this epoch
        super().on_epoch_end(epoch, logs)

    def describe(self) -> str:
        """Returns why the stage was stopped."""
        reason = f"for {self.patience} epochs the validation loss was not lower"
        if self.accuracy is None:
            return reason
        return f"{reason}, and the accuracy not higher by more than its standard error ({self._noise():.3f})"

    def _noise(self) -> float:
        """The standard error of the highest accuracy."""
        return criteria.standard_error(self.highest, self.examples)


class WholeModel:
    """Lets the user's callbacks see the whole model where `fit` trains the upper part of it.

    `begin` comes before them, `end` after them: Keras gives every callback the model that it trains.

    Args:
        callbacks: The user's.
        model: The one that they are to see.

    Example:
        >>> WholeModel([], keras.Sequential()).end.model is None
        True
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model) -> None:
        self.begin = keras.callbacks.LambdaCallback(on_train_begin=self._show)
        self.end = keras.callbacks.LambdaCallback(
            on_epoch_end=self._pass_on_stop, on_train_batch_end=self._pass_on_stop
        )
        self.callbacks, self.model = keras.tree.flatten(callbacks), model

    def _show(self, logs: dict | None = None) -> None:
        if self.begin.model is not self.model:
            self.model.stop_training = False
        for callback in self.callbacks:
            callback.set_model(self.model)

    def _pass_on_stop(self, number: int, logs: dict | None = None) -> None:
        """Stops `fit` when a callback has stopped the whole model."""
        if self.model.stop_training:
            self.end.model.stop_training = True

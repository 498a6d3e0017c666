"""Callbacks that know how far a stage is: the data's pass, the last step, the patience, and what users see of it."""

from collections.abc import Sequence

import keras
import numpy as np

__all__ = ["Limit", "Passes", "Patience", "Seen"]


class Passes(keras.callbacks.Callback):
    """Tells what counts passes over the data which one comes next: an epoch's data depend on its number only.

    Args:
        counters: Objects whose `next` is the number of the next pass.

    Example:
        >>> Passes([]).counters
        []
    """

    def __init__(self, counters: Sequence[object]) -> None:
        super().__init__()
        self.counters = list(counters)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the counters; the epoch's iterator is made after this."""
        for counter in self.counters:
            counter.next = epoch


class Limit(keras.callbacks.Callback):
    """Ends the stage after a number of steps, None for no limit.

    Example:
        >>> Limit(10).steps
        10
    """

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stops when the optimizer has made so many steps."""
        if (
            self.steps is not None
            and int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) >= self.steps
        ):
            self.model.stop_training = True


class Patience(keras.callbacks.EarlyStopping):
    """Keras's early stopping, which a resumed run can take up; None as monitor for none at all.

    Example:
        >>> Patience("val_loss", patience=2).patience
        2
    """

    def __init__(self, monitor: str | None, **options: object) -> None:
        super().__init__(monitor=monitor or "val_loss", **options)
        self.is_used = monitor is not None
        self.told: dict | None = None

    def take_up(self, told: dict | None) -> None:
        """Goes on from `facts()` when training begins."""
        self.told = told

    def facts(self) -> dict | None:
        """What has to survive a kill."""
        if not self.is_used:
            return None
        best = None if self.best is None or not np.isfinite(self.best) else float(self.best)
        return {"wait": self.wait, "best": best, "best_epoch": self.best_epoch}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts anew, or where the state was."""
        super().on_train_begin(logs)
        if self.told is not None:
            self.wait, self.best_epoch = self.told["wait"], self.told["best_epoch"]
            if self.told["best"] is not None:
                self.best = self.told["best"]
            self.told = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts the epoch, if it is asked to."""
        if self.is_used:
            super().on_epoch_end(epoch, logs)


class Seen:
    """Lets the user's callbacks see the whole model where `fit` trains the upper part of it.

    `begin` comes before them, `end` after them: Keras gives every callback the model that it trains.

    Args:
        callbacks: The user's.
        model: The one that they are to see.

    Example:
        >>> Seen([], keras.Sequential()).end.model is None
        True
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model) -> None:
        self.begin = keras.callbacks.LambdaCallback(on_train_begin=self._show)
        self.end = keras.callbacks.LambdaCallback(
            on_epoch_end=self._tell, on_train_batch_end=self._tell
        )
        self.callbacks, self.model = keras.tree.flatten(callbacks), model

    def _show(self, logs: dict | None = None) -> None:
        if self.begin.model is not self.model:
            self.model.stop_training = False
        for callback in self.callbacks:
            callback.set_model(self.model)

    def _tell(self, number: int, logs: dict | None = None) -> None:
        """Hands on that training is to stop."""
        if self.model.stop_training:
            self.end.model.stop_training = True

"""Keeping the best epoch of a whole run, over all its stages."""

import os
import pathlib

import keras
import numpy as np

from keras_transfer.core import checks, files

__all__ = ["Best"]


class Best(keras.callbacks.Callback):
    """Remembers the weights of the epoch with the lowest value of `monitor`, and the log of every epoch.

    One object serves consecutive `fit` calls. With a folder, the best weights are written there
    whenever they improve, all or nothing; a full disk costs a note, not the run.

    Args:
        monitor: A key of the epoch's logs; where it is absent, the last epoch counts as best.
        folder: Where to write `best.weights.h5`, or None.

    Example:
        >>> Best("val_loss").epoch is None
        True
    """

    def __init__(self, monitor: str, *, folder: str | os.PathLike | None = None) -> None:
        super().__init__()
        self.monitor = monitor
        self.file = None if folder is None else pathlib.Path(folder) / "best.weights.h5"
        self.epoch: int | None = None
        self.value = np.inf
        self.weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps the weights if this epoch is the best so far."""
        value = (logs or {}).get(self.monitor, -np.inf)
        if value < self.value or (value == -np.inf):
            self.epoch, self.value = epoch, value
            self.weights = self.model.get_weights()
            self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        try:
            with files.replacing(self.file) as temporary:
                self.model.save_weights(temporary, overwrite=True)
        except OSError as failed:
            checks.note(f"the best weights could not be written to {self.file} ({failed}); training goes on")

    def restore(self) -> None:
        """Puts the best weights back into the model."""
        if self.weights is not None:
            self.model.set_weights(self.weights)

"""A line for every epoch, on disk at once: a killed run still tells how it went."""

import csv
import io
import os
import pathlib

import keras

from keras_transfer.core import checks

__all__ = ["Log"]


class Log(keras.callbacks.Callback):
    """Appends each epoch's logs to `log.csv`, over consecutive `fit` calls; a full disk costs a note, not the run.

    Args:
        folder: Where; an earlier log there is removed.

    Example:
        >>> Log("/tmp").file.name
        'log.csv'
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self.file = pathlib.Path(folder) / "log.csv"
        self.file.unlink(missing_ok=True)
        self.columns: list[str] | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes one line."""
        text = io.StringIO()
        writer = csv.writer(text)
        if self.columns is None:
            self.columns = sorted(logs or {})
            writer.writerow(["epoch", *self.columns])
        writer.writerow([epoch, *((logs or {}).get(name, "") for name in self.columns)])
        try:
            with self.file.open("a", encoding="utf-8", newline="") as log:
                log.write(text.getvalue())
        except OSError as failed:
            checks.note(f"epoch {epoch + 1} could not be written to {self.file} ({failed.strerror}); training goes on")

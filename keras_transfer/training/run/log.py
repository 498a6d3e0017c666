"""A line for every epoch, on disk at once: a killed run still tells how it went."""

import csv
import io
import os
import pathlib

import keras

from keras_transfer.core import checks
from keras_transfer.storage import files

__all__ = ["Log"]


class Log(keras.callbacks.Callback):
    """Appends each epoch's logs to `results.csv`, over consecutive `fit` calls; a full disk costs a note, not the run.

    Args:
        folder: Where.
        upto: The epoch at which the run goes on: what an earlier log there says of it and later ones is removed.

    Example:
        >>> Log("/tmp").file.name
        'results.csv'
    """

    def __init__(self, folder: str | os.PathLike, *, upto: int = 0) -> None:
        super().__init__()
        self.file = pathlib.Path(folder) / "results.csv"
        self.columns: list[str] | None = None
        if upto and self.file.is_file():
            self._keep(upto)
        else:
            self.file.unlink(missing_ok=True)

    def _keep(self, upto: int) -> None:
        with self.file.open(encoding="utf-8", newline="") as log:
            header, *rows = [*csv.reader(log)] or [[]]
        if not header:  # the disk was full
            self.file.unlink()
            return
        self.columns = header[1:]
        text = io.StringIO()
        csv.writer(text).writerows([header, *(row for row in rows if int(row[0]) < upto)])
        files.write_text(self.file, text.getvalue())

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
            checks.note(
                f"Epoch {epoch + 1} could not be written to {self.file} ({failed.strerror}); training goes on."
            )

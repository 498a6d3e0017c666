"""Shows how far a long pass over data is: by Keras's bar on terminals and in notebooks, by one line elsewhere.

A pass under two seconds shows nothing.
"""

import contextlib
import contextvars
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras

from keras_transfer.core import checks

__all__ = ["PATIENCE", "Progress", "auto_means", "follow", "is_interactive", "verbosity"]

PATIENCE = 2.0  # seconds before a pass shows anything
T = TypeVar("T")
_auto: contextvars.ContextVar[int | None] = contextvars.ContextVar("auto", default=None)


def is_interactive() -> bool:
    """Returns whether printed text can be drawn over: on a terminal, in a notebook (Jupyter, Colab); not in log files.

    Keras takes every Linux process for one, and writes the backspaces of its bars into log files.

    Example:
        >>> is_interactive() in (True, False)
        True
    """
    if hasattr(sys.stdout, "isatty") and sys.stdout.isatty():
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")  # a notebook's shell has one, IPython in a pipe has none


def verbosity(verbose: str | int) -> int:
    """Returns `verbose` as a number: "auto" means 1, bars, where they can be drawn, else 2, one line an epoch.

    Example:
        >>> verbosity(0), verbosity("auto") in (1, 2)
        (0, True)
    """
    if verbose != "auto":
        return int(verbose)
    chosen = _auto.get()
    if chosen is not None:
        return chosen
    return 1 if is_interactive() else 2


@contextlib.contextmanager
def auto_means(verbose: str | int) -> Iterator[None]:
    """Gives all passes within the block the verbosity of the call that they are part of.

    Example:
        >>> with auto_means(0):
        ...     verbosity("auto")
        0
    """
    token = _auto.set(verbosity(verbose))
    try:
        yield
    finally:
        _auto.reset(token)


class Progress:
    """Counts how much of a pass is done.

    Args:
        label: What is done, such as "Reading 20 images".
        total: How much there is to do, None if unknown.
        unit: What is counted.
        verbose: 0 shows nothing, 1 a bar, 2 one line at the end, "auto" a bar where it can be drawn, else the line.

    Example:
        >>> progress = Progress("Reading 2 images", total=2, unit="image")
        >>> progress.add()
        >>> progress.done
        1
    """

    def __init__(
        self,
        label: str,
        *,
        total: int | None = None,
        unit: str = "batch",
        verbose: str | int = "auto",
    ) -> None:
        self.label, self.total = label, total
        self.verbose = verbosity(verbose)
        self.done = 0
        self._start = time.monotonic()
        self._bar = keras.utils.Progbar(total, unit_name=unit)
        self._is_drawn = False

    def add(self, count: int = 1) -> None:
        """Adds what was done since the last call, and draws the bar if the pass takes long."""
        self.done += count
        if self.total is not None:  # the last part may be a smaller one
            self.done = min(self.done, self.total)
        if self.verbose != 1 or self._seconds() < PATIENCE:
            return
        if not self._is_drawn:
            checks.note(self.label)
        self._is_drawn = True
        self._bar.update(self.done, finalize=False)

    def stop(self) -> None:
        """Ends the bar's line, so that an error's message does not begin in it."""
        if self._is_drawn:
            self._bar.update(self.done, finalize=True)

    def finish(self) -> None:
        """Ends the bar's line, or prints the one line of a long pass."""
        self.stop()
        if self.verbose == 2 and self._seconds() >= PATIENCE:
            checks.note(f"{self.label} took {self._seconds():.0f} s")

    def _seconds(self) -> float:
        return time.monotonic() - self._start


def follow(
    items: Iterable[T],
    label: str,
    *,
    total: int | None = None,
    unit: str = "batch",
    each: int = 1,
    verbose: str | int = "auto",
) -> Iterator[T]:
    """Yields the items of a pass, and shows how many of them are done.

    Args:
        items: Batches, for example.
        label: As for `Progress`.
        total: As for `Progress`.
        unit: As for `Progress`.
        each: How many units an item is.
        verbose: As for `Progress`.

    Example:
        >>> list(follow([1, 2], "Counting"))
        [1, 2]
    """
    progress = Progress(label, total=total, unit=unit, verbose=verbose)
    try:
        for item in items:
            yield item
            progress.add(each)
    except BaseException:
        progress.stop()
        raise
    progress.finish()

"""Which of the processes of one run this is: the first one writes the files, and all end together."""

import os
import sys
from typing import Protocol

__all__ = ["Bond", "WorkerLostError", "are_several", "join", "leave", "stop", "writes"]


class WorkerLostError(RuntimeError):
    """Another process that trains with this one has ended, so this one cannot go on."""


class Bond(Protocol):
    """What ties processes together."""

    def say(self, word: str) -> None:
        """Tells the other processes "done" (this one has ended as it should) or "stop" (all are to end)."""


_number = 0
_bond: Bond | None = None


def join(number: int, bond: Bond | None = None) -> None:
    """Says that this process is one of several that train together.

    Args:
        number: From 0; that process writes.
        bond: Tells the other processes that this one ends.
    """
    global _number, _bond
    _number, _bond = number, bond


def writes() -> bool:
    """Returns whether this process writes the files of a run; where it trains alone it does.

    Example:
        >>> writes()
        True
    """
    return _number == 0


def are_several() -> bool:
    """Returns whether this process is one of several that train together.

    Example:
        >>> are_several()
        False
    """
    return _bond is not None


def stop() -> None:
    """Tells the other processes to end as this one does, and to keep what they have."""
    if _bond is not None:
        _bond.say("stop")


def leave(code: int) -> None:
    """Ends this process if it is one of several: waiting for threads of others, it might never end by itself."""
    if _bond is None:
        return
    if code == 0:
        _bond.say("done")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

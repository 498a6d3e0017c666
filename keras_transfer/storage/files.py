"""Writes files so that a crash or a full disk never leaves half of one."""

import contextlib
import os
import pathlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator

from keras_transfer.core import checks

__all__ = ["check_writable", "replacing", "undisturbed", "write_text"]


def check_writable(folder: str | os.PathLike, *, argument: str) -> pathlib.Path:
    """Makes `folder` if needed and returns it; raises an error if nothing can be written to it.

    Call this before the work whose results go there.

    Example:
        >>> check_writable(".", argument="run_dir").name
        ''
    """
    path = pathlib.Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as refused:
        raise checks.error(
            f"`{argument}` must be a folder that can be written to",
            given=f"{str(path)!r} ({refused.strerror})",
        ) from refused
    return path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path`, and moves it to `path` if the block succeeds, else removes it.

    The temporary name keeps the suffixes, by which Keras knows the format.

    Example:
        >>> with replacing("/tmp/doc_example.txt") as temporary:
        ...     _ = temporary.write_text("done")
        >>> pathlib.Path("/tmp/doc_example.txt").read_text()
        'done'
    """
    target = pathlib.Path(path)
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` as UTF-8, all or nothing."""
    with replacing(path) as temporary:
        # A file name that is no UTF-8 holds lone surrogates, which only an escape can show.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Delays Ctrl-C, and a handler of SIGTERM, until the block has ended; outside the main thread it does nothing.

    Example:
        >>> with undisturbed():
        ...     write_text("/tmp/doc_example.txt", "whole")
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    came: list[tuple] = []
    former: dict[int, Callable] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        handler = signal.getsignal(number)
        if callable(handler):  # not where the system ends the process, or nothing does
            former[number] = handler
            signal.signal(number, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if came:
            former[came[0][0]](*came[0])

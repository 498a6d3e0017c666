"""Notices when another worker of a run ends, and ends this one: TensorFlow would wait for it, up to forever.

Every worker keeps a connection to the first one. The system closes it when a process ends, however it ends.
"""

import atexit
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import tensorflow as tf

from keras_transfer.core import processes

__all__ = ["Watch", "explained", "start", "take_signal_back"]

GRACE = 8.0  # seconds for the main thread to end by itself
KEEPING_ALIVE = {
    "TCP_KEEPIDLE": 4,
    "TCP_KEEPINTVL": 3,
    "TCP_KEEPCNT": 3,
}  # a machine without power says nothing

_watch: "Watch | None" = None


def _is_of_tensorflow(failed: Exception) -> bool:
    return isinstance(failed, tf.errors.OpError)


class Watch:
    """Connections to other workers.

    Args:
        links: A connection by the index of the worker at its other end.
        addresses: Of all workers.
        may_be_loss: Whether an error of the engine may come from the end of another worker.
    """

    def __init__(
        self,
        links: Mapping[int, socket.socket],
        addresses: Sequence[str],
        may_be_loss: Callable[[Exception], bool] = _is_of_tensorflow,
    ) -> None:
        self.links, self.addresses = dict(links), list(addresses)
        self.may_be_loss = may_be_loss
        self.line = ""
        self.has_failed = False
        self.depth = (
            1  # of blocks in which this worker may wait for others; building a model is the first
        )
        self.is_stopping = False
        self._is_building = True
        self._ended = threading.Event()
        self._told = threading.Event()
        self._lock = threading.Lock()
        for index, link in self.links.items():
            _keep_alive(link)
            threading.Thread(target=self._listen, args=[index, link], daemon=True).start()

    def say(self, word: str, *, but: int | None = None) -> None:
        """Tells the workers at the other ends a word; see `processes.Bond`."""
        if word == "stop":
            self.is_stopping = True
            self._ended.set()
        for index, link in self.links.items():
            if index != but:
                with contextlib.suppress(OSError):
                    link.sendall(f"{word}\n".encode())

    def why(self, wait: float) -> str:
        """Returns a line that says which worker has ended, "" if none does within `wait` seconds."""
        self._ended.wait(wait)
        if self.line:
            self._told.set()
        return self.line

    def enter(self) -> None:
        """Says that this worker may wait for others from now on."""
        self.depth = 1 if self._is_building else self.depth + 1
        self._is_building = False

    def close(self) -> None:
        """Says that this worker ends as it should."""
        if not self.has_failed and not self._ended.is_set():
            self.say("done")

    def _listen(self, index: int, link: socket.socket) -> None:
        """Waits for the end of a worker."""
        with (
            link.makefile("r", encoding="ascii", errors="replace") as lines,
            contextlib.suppress(OSError),
        ):
            for line in lines:
                word = line.strip()
                if word == "done":
                    return
                if word == "stop":
                    self._stop(index)
                elif word.startswith("gone"):
                    self._lose(int(word[4:]), index)
        self._lose(index, index)

    def _stop(self, index: int) -> None:
        """Ends this process as the one that was told to stop."""
        with self._lock:
            if self._ended.is_set():
                return
            self.say("stop", but=index)
        os.kill(os.getpid(), signal.SIGTERM)
        # The main thread may be waiting for the other worker, where no signal reaches it.
        time.sleep(GRACE)
        _end(0)

    def _lose(self, lost: int, teller: int) -> None:
        """Ends this process because a worker has ended."""
        with self._lock:
            if self._ended.is_set():
                return
            whose = f"worker {lost} of {len(self.addresses)} ({self.addresses[lost]})"
            fix = "start all workers again; with a run folder and resume=True they go on"
            self.line = f"{whose} has ended, so this one ends: {fix}"
            self._ended.set()
        self.say(f"gone{lost}", but=teller)
        while not self._told.wait(GRACE):
            if self.depth:
                print(f"keras_transfer: {self.line}", file=sys.stderr)
                _end(1)
        _end_soon()  # told by the main thread, which may still wait for threads of TensorFlow when it ends


def start(
    links: Mapping[int, socket.socket],
    addresses: Sequence[str],
    index: int,
    *,
    may_be_loss: Callable[[Exception], bool] = _is_of_tensorflow,
) -> Watch:
    """Begins to watch the other workers.

    Args:
        links: As for `Watch`.
        addresses: As for `Watch`.
        index: Of this worker.
        may_be_loss: As for `Watch`.
    """
    global _watch
    _watch = watch = Watch(links, addresses, may_be_loss)
    processes.join(index, watch)
    former = sys.excepthook

    def note_failure(
        kind: type[BaseException], problem: BaseException, where: TracebackType | None
    ) -> None:
        watch.has_failed = True
        former(kind, problem, where)
        if not hasattr(sys, "ps1"):  # an interactive session goes on after an error
            _end_soon()  # JAX would wait for the others

    sys.excepthook = note_failure
    atexit.register(watch.close)
    return watch


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raises as one line what TensorFlow or JAX says in the block when another worker has ended.

    Example:
        >>> with explained():
        ...     pass
    """
    watch = _watch
    if watch is None:
        yield
        return
    if line := watch.why(0):
        raise processes.WorkerLostError(line)
    watch.enter()
    take_signal_back()  # a thread of TensorFlow takes it, at a moment of its own
    try:
        yield
    except Exception as failed:
        if not watch.may_be_loss(failed):
            raise
        if line := watch.why(GRACE):
            raise processes.WorkerLostError(line) from None
        if watch.is_stopping:
            time.sleep(GRACE)  # until the signal comes
        raise
    finally:
        watch.depth -= 1


def take_signal_back() -> None:
    """Gives SIGTERM back to whom it was for: TensorFlow takes it when machines are joined, and does nothing with it."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _keep_alive(link: socket.socket) -> None:
    link.settimeout(None)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPING_ALIVE.items():
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _end_soon() -> None:
    """Ends this process in some seconds, unless it ends by itself."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    faulthandler.dump_traceback_later(GRACE, exit=True, file=nowhere)


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

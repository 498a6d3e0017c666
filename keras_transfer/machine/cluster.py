"""The workers of a run on several machines, as the environment variable TF_CONFIG names them."""

import contextlib
import errno
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from keras_transfer.core import checks

__all__ = ["VARIABLE", "Workers", "is_given", "read"]

VARIABLE = "TF_CONFIG"
FORM = (
    'It looks like {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}, '
    "where only the index differs between workers."
)
PATIENCE = 2.0  # seconds for one answer of another worker


@dataclass(frozen=True)
class Workers:
    """All workers of a run, and which of them this process is.

    Attributes:
        addresses: "host:port" of each worker; the first is the chief, which writes files.
        index: Which of them is this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.index == 0

    @property
    def digest(self) -> bytes:
        """Tells clusters apart."""
        return hashlib.sha256(" ".join(self.addresses).encode()).hexdigest().encode()

    def check_own_address(self) -> None:
        """Raises an error if this process cannot be reached at its address."""
        with self._listening():
            pass

    def meet(self, wait: float) -> dict[int, socket.socket]:
        """Waits until all workers have started, and returns connections: of the first worker to all, of others to it.

        TensorFlow itself would wait for an hour.

        Args:
            wait: For so many seconds.

        Raises:
            InputError: If they do not come, or have another TF_CONFIG.
        """
        end = time.monotonic() + wait
        return self._receive(end) if self.is_chief else {0: self._report(end)}

    def _receive(self, end: float) -> dict[int, socket.socket]:
        """Answers the other workers, when all of them have come, whether their TF_CONFIG is this one's."""
        present: dict[int, socket.socket] = {}
        differing = None
        with self._listening() as server:
            while len(present) < self.count - 1 and differing is None:
                try:
                    server.settimeout(max(0.01, end - time.monotonic()))
                    connection = server.accept()[0]
                except TimeoutError:
                    break
                index, digest = _read_greeting(connection)
                if not digest:
                    connection.close()
                    continue
                if digest != self.digest or not 0 < index < self.count:
                    differing = index
                if index in present:  # a worker that was started again
                    present[index].close()
                present[index] = connection
        is_complete = len(present) == self.count - 1 and differing is None
        for connection in present.values():
            _send(connection, b"same" if is_complete else b"other")
        if is_complete:
            return present

        for connection in present.values():
            connection.close()
        if differing is not None:
            raise _other_cluster(f"other addresses at worker {differing}")
        missing = sorted(set(range(1, self.count)) - set(present))
        raise _not_met(", ".join(f"nothing from worker {index}" for index in missing))

    def _report(self, end: float) -> socket.socket:
        """Tells the chief that this worker has started, and waits for the others with it."""
        host, port = _split(self.addresses[0])
        while time.monotonic() < end:
            try:
                connection = socket.create_connection((host, port), timeout=PATIENCE)
            except OSError:
                time.sleep(0.2)
                continue
            _send(connection, b"%d %s\n" % (self.index, self.digest))
            answer = _read(connection, end - time.monotonic() + PATIENCE)
            if answer == b"same":
                return connection
            connection.close()
            if answer == b"other":
                given = f"not all workers came, or one has others than worker {self.index}"
                raise _other_cluster(given)
            time.sleep(0.2)
        raise _not_met(f"nothing from worker 0 at {self.addresses[0]}")

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """Holds this worker's port."""
        host, port = _split(self.addresses[self.index])
        with contextlib.ExitStack() as stack:
            try:
                family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
                server = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((host, port))
                server.listen(self.count)
            except OSError as failed:
                raise self._unusable_address(failed) from failed
            yield server

    def _unusable_address(self, failed: OSError) -> checks.InputError:
        address = self.addresses[self.index]
        why = "which is not an address of this machine"
        if failed.errno == errno.EADDRINUSE:
            why = "whose port is in use"
        elif failed.errno == errno.EACCES:
            why = "whose port only the system may use"
        return checks.error(
            f"{VARIABLE} must name an address of this machine with a free port for worker {self.index}",
            given=f"{address!r}, {why}",
            fix="Check the index and the addresses.",
        )


def is_given() -> bool:
    """Returns whether TF_CONFIG names several workers; what cannot be read is an error."""
    return bool(os.environ.get(VARIABLE, "").strip()) and read().count > 1


def read() -> Workers:
    """Reads TF_CONFIG.

    Raises:
        InputError: If it is not set, is no JSON, or does not say which worker this process is.

    Example:
        >>> os.environ[VARIABLE] = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
        >>> read().count, read().is_chief
        (2, False)
        >>> del os.environ[VARIABLE]
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        raise checks.error(f"{VARIABLE} must name the workers", given="nothing", fix=FORM)
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        addresses = [*jobs.get("chief", []), *jobs["worker"]]
        index = int(task["index"]) + (task["type"] == "worker") * len(jobs.get("chief", []))
    except json.JSONDecodeError as wrong:
        raise checks.error(f"{VARIABLE} must be JSON", given=repr(text[:80]), fix=FORM) from wrong
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        given = repr(text[:200])
        raise checks.error(
            f"{VARIABLE} must name workers and a task", given=given, fix=FORM
        ) from wrong
    for address in addresses:
        _split(address)
    if len(set(addresses)) < len(addresses):
        raise checks.error(f"{VARIABLE} must name each address once", given=", ".join(addresses))
    unknown = set(jobs) - {"chief", "worker"}
    if unknown or task["type"] not in ("chief", "worker"):
        given = ", ".join(sorted(unknown)) or repr(task["type"])
        raise checks.error(
            f"{VARIABLE} must hold workers and at most one chief", given=given, fix=FORM
        )
    if not 0 <= index < len(addresses):
        given = f"{task['index']} of {len(addresses)}"
        raise checks.error(f"{VARIABLE} must have the index of a worker", given=given, fix=FORM)
    return Workers(tuple(addresses), index)


def _split(address: object) -> tuple[str, int]:
    """Returns host and port of an address."""
    host, colon, port = str(address).rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise checks.error(
            f"{VARIABLE} must have addresses like 'host:2222'", given=repr(address), fix=FORM
        )
    return host.strip("[]"), int(port)


def _read_greeting(connection: socket.socket) -> tuple[int, bytes]:
    """Returns index and digest that another worker sent; -1 and nothing from anybody else."""
    index, _, digest = _read(connection, PATIENCE).partition(b" ")
    if not index.isdigit() or len(digest) != 64:
        return -1, b""
    return int(index), digest


def _read(connection: socket.socket, patience: float) -> bytes:
    """Returns one short line, nothing where none comes in `patience` seconds."""
    connection.settimeout(max(patience, 0.1))
    try:
        return connection.recv(128).strip()
    except OSError:
        return b""


def _send(connection: socket.socket, text: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(text)


def _other_cluster(given: str) -> checks.InputError:
    return checks.error(
        f"all workers must have the same addresses in {VARIABLE}", given=given, fix=FORM
    )


def _not_met(given: str) -> checks.InputError:
    fix = "Start all workers, with addresses that they can reach, or wait longer by `wait`."
    return checks.error(f"all workers of {VARIABLE} must start", given=given, fix=fix)

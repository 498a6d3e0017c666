"""Workers that watch one another: a lost one ends the others, one that is told to stop stops all."""

import signal
import socket
import threading
import time

import pytest
import tensorflow as tf

from keras_transfer.core import processes
from keras_transfer.machine import watching

ADDRESSES = ("a:1", "b:1", "c:1")


@pytest.fixture(autouse=True)
def ends(monkeypatch):
    """The exit codes with which the process would have ended."""
    codes = []

    def end(code):
        codes.append(code)
        watching._watch._told.set()  # the thread goes on, and has nothing more to do

    monkeypatch.setattr(watching, "GRACE", 0.1)
    monkeypatch.setattr(watching, "_end", end)
    monkeypatch.setattr(watching.faulthandler, "dump_traceback_later", lambda *a, **k: None)
    return codes


def make_link():
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        return server.accept()[0], other


@pytest.fixture
def chief(ends, monkeypatch):
    """A chief's watch, and the other ends of its two links."""
    others = set(threading.enumerate())
    pairs = {index: make_link() for index in (1, 2)}
    watch = watching.Watch({index: pair[0] for index, pair in pairs.items()}, ADDRESSES)
    monkeypatch.setattr(watching, "_watch", watch)
    yield watch, {index: pair[1] for index, pair in pairs.items()}

    # A thread that outlives its test would end the process for good when a link is closed.
    for _, theirs in pairs.values():
        theirs.close()
    for thread in set(threading.enumerate()) - others:
        thread.join(10)
        assert not thread.is_alive()
    for ours, _ in pairs.values():
        ours.close()


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_lost_worker_is_told_and_ends_all(chief, ends):
    watch, links = chief
    links[1].close()
    assert watch.why(5).startswith("worker 1 of 3 (b:1) has ended, so this one ends: start all")
    assert links[2].recv(64) == b"gone1\n"
    time.sleep(0.3)
    assert ends == []  # the main thread knows


def test_a_process_that_hangs_is_ended(chief, ends, capfd):
    _, links = chief
    links[2].sendall(b"gone1\n")
    until(lambda: ends)
    assert ends == [1]
    assert "keras_transfer: worker 1 of 3 (b:1) has ended" in capfd.readouterr().err


def test_a_process_that_waits_for_nobody_goes_on(chief, ends):
    _, links = chief
    with watching.explained():
        pass
    links[1].close()
    time.sleep(0.4)
    assert ends == []
    with pytest.raises(processes.WorkerLostError, match="worker 1 of 3"), watching.explained():
        pass


def test_a_worker_that_is_done_is_not_lost(chief, ends):
    watch, links = chief
    links[1].sendall(b"done\n")
    links[1].close()
    assert watch.why(0.4) == ""
    assert ends == []


def test_a_worker_that_is_told_to_stop_stops_all(chief, ends, monkeypatch):
    _, links = chief
    signals = []
    monkeypatch.setattr(watching.os, "kill", lambda process, number: signals.append(number))
    links[1].sendall(b"stop\ndone\n")
    until(lambda: ends)
    assert signals == [signal.SIGTERM]
    assert ends == [0]
    assert links[2].recv(64) == b"stop\n"


def test_only_the_end_of_a_worker_is_explained(chief):
    _, links = chief
    broken = tf.errors.UnavailableError(None, None, "Socket closed, and a page more")
    with pytest.raises(tf.errors.UnavailableError), watching.explained():
        raise broken
    links[1].close()
    with pytest.raises(processes.WorkerLostError, match="has ended"), watching.explained():
        raise broken


def test_a_failed_process_ends_but_not_a_session_that_goes_on(monkeypatch):
    ended = []
    monkeypatch.setattr(watching, "_end_soon", lambda: ended.append(True))
    monkeypatch.setattr(watching, "_watch", None)
    monkeypatch.setattr(watching.processes, "join", lambda index, watch: None)
    monkeypatch.setattr(watching.sys, "excepthook", lambda *failed: None)
    watch = watching.start({}, ADDRESSES, 0)
    monkeypatch.setattr(watching.sys, "ps1", ">>> ", raising=False)
    watching.sys.excepthook(ValueError, ValueError("a typo"), None)
    assert watch.has_failed
    assert not ended
    monkeypatch.delattr(watching.sys, "ps1")
    watching.sys.excepthook(ValueError, ValueError("the end"), None)
    assert ended

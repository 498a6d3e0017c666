"""TF_CONFIG: what it must be, and how workers find each other."""

import json
import socket
import threading

import pytest
from errors import told

from keras_transfer.core import checks
from keras_transfer.machine import cluster


def config(addresses, index=0, kind="worker"):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": kind, "index": index}})


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "must be JSON"),
        ("[]", "must name workers and a task"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "must name workers and a task"),
        (config(["a:1", "b:x"]), "addresses like 'host:2222'"),
        (config(["a:1", "a"]), "addresses like 'host:2222'"),
        (config(["a:1", "a:1"]), "each address once"),
        (config(["a:1", "b:1"], index=2), "the index of a worker"),
        (config(["a:1", "b:1"], kind="ps"), "workers and at most one chief"),
    ],
)
def test_a_wrong_tf_config_is_one_line(text, part, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    told(cluster.read, "TF_CONFIG", part)


def test_a_chief_is_the_first_worker(monkeypatch):
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": "worker", "index": 1}})
    )
    assert cluster.read() == cluster.Workers(("a:1", "b:1", "c:1"), 2)


def test_an_address_must_be_of_this_machine_and_free():
    elsewhere = cluster.Workers(("192.0.2.1:2222", "b:1"), 0)
    told(elsewhere.check_own_address, "'192.0.2.1:2222', which is not an address of this machine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        told(cluster.Workers((taken, "b:1"), 0).check_own_address, taken, "port is in use")


def close(links):
    for link in links.values():
        link.close()


def meet(workers, wait=20):
    """Lets all workers meet, and returns what each of them was told."""
    heard = {}

    def run(worker):
        try:
            close(worker.meet(wait))
            heard[worker.index] = "met"
        except checks.InputError as wrong:
            heard[worker.index] = str(wrong)

    threads = [threading.Thread(target=run, args=[worker]) for worker in reversed(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def test_workers_meet():
    addresses = tuple(free_ports(3))
    workers = [cluster.Workers(addresses, index) for index in range(3)]
    assert meet(workers) == {0: "met", 1: "met", 2: "met"}


def test_a_worker_with_another_port_ends_all():
    first, second, third = free_ports(3)
    heard = meet([cluster.Workers((first, second), 0), cluster.Workers((first, third), 1)])
    assert all("the same addresses in TF_CONFIG" in line for line in heard.values()), heard


def test_a_worker_that_does_not_come_is_named():
    first, second = free_ports(2)
    told(lambda: cluster.Workers((first, second), 0).meet(0.1), "nothing from worker 1")
    told(lambda: cluster.Workers((first, second), 1).meet(0.1), "nothing from worker 0 at", first)


def test_strangers_are_not_workers():
    first, second = free_ports(2)
    workers = [cluster.Workers((first, second), index) for index in range(2)]
    chief = threading.Thread(target=lambda: close(workers[0].meet(20)))
    chief.start()
    host, port = first.split(":")
    while True:
        try:
            with socket.create_connection((host, int(port))) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\n")
            break
        except ConnectionRefusedError:
            pass
    close(workers[1].meet(20))
    chief.join(20)
    assert not chief.is_alive()

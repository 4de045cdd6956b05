"""Joining a Ray cluster, and what is said of one that cannot be joined."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

from solo_rt.cluster import ray_cluster
from solo_rt.cluster.ray_cluster import Machine, RayCluster, check_address
from solo_rt.errors import UsageError


class FakeRay:
    """The library as far as it is used; `init` is what joining does."""

    def __init__(self, init=lambda: None):
        self._init = init
        self.joined = []

    def init(self, address, **_settings):
        self.joined.append(address)
        self._init()

    def nodes(self):
        resources = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}, {}]
        alive = [{"Alive": True, "Resources": one} for one in resources]
        return [*alive, {"Alive": False, "Resources": {"CPU": 99.0}}]

    def shutdown(self):
        self.joined.pop()


@pytest.fixture
def library(monkeypatch):
    """Return a function that puts a library in the place of Ray."""

    def install(fake):
        monkeypatch.setitem(sys.modules, "ray", fake)
        return fake

    return install


@pytest.fixture
def port():
    """Return a port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.7:6379", "ray://head.lab:10001", "ray://[::1]:10001"])
def test_addresses_of_clusters(address):
    check_address(address)


@pytest.mark.parametrize("address", ["", "head", "ray://head", "http://head:80", "head:", "he ad:1", "ray://a:b@c:1/x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match=r"expected auto, HOST:PORT or ray://HOST:PORT"):
        check_address(address)


def test_machines_are_those_that_are_alive(library, port):
    fake = library(FakeRay())
    cluster = RayCluster(f"127.0.0.1:{port}")
    assert cluster.machines() == [Machine(8.0, 2.0), Machine(4.0, 0.0), Machine(0.0, 0.0)]
    cluster.close()
    assert fake.joined == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'solo-rt\[ray\]'"):
        RayCluster("auto")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_refused_before_ray_tries(library, port, scheme):
    fake = library(FakeRay())
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(UsageError, match=rf"cluster {scheme}127\.0\.0\.1:{free}: cannot be reached: .*refused"):
        RayCluster(f"{scheme}127.0.0.1:{free}")
    assert fake.joined == []
    with pytest.raises(UsageError, match="cannot be reached"):
        RayCluster("127.0.0.1:70000")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("\nno cluster here\nand a long story", "no cluster here"),
        ("the server says:\nTraceback\n  a line\nOSError: full\n", "the server says: OSError: full"),
        ("the server says:", "the server says:"),
    ],
)
def test_what_ray_says_is_said_in_one_line(library, words, reason):
    def fail():
        raise ConnectionError(words)

    library(FakeRay(fail))
    with pytest.raises(UsageError) as error:
        RayCluster("auto")
    assert str(error.value) == f"cluster auto: cannot be joined: {reason}"


def test_a_failure_without_words_is_named_by_its_kind(library):
    def fail():
        raise TimeoutError

    library(FakeRay(fail))
    with pytest.raises(UsageError, match=r"cannot be joined: TimeoutError$"):
        RayCluster("auto")


def test_somebody_who_never_answers_is_given_up(library, port, monkeypatch):
    monkeypatch.setattr(ray_cluster, "JOIN_SECONDS", 0.05)
    done = threading.Event()
    library(FakeRay(done.wait))
    with pytest.raises(UsageError, match="no answer within"):
        RayCluster(f"ray://127.0.0.1:{port}")
    done.set()


def test_what_ray_would_print_onto_standard_output_is_logged(library, caplog, capsys):
    caplog.set_level(logging.INFO, "solo_rt")
    fake = library(FakeRay())
    worker = SimpleNamespace(print_to_stdstream=lambda data, ignore_prefix: print(data))
    fake._private = SimpleNamespace(worker=worker)
    RayCluster("auto").close()
    worker.print_to_stdstream({"lines": ["A worker died.\n", "Alas."], "pid": "raylet"}, ignore_prefix=False)
    assert caplog.messages == ["A worker died. Alas."]
    assert capsys.readouterr().out == ""

"""A Ray cluster of two nodes on this machine, each with one CPU, whose processes can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from children import wait_until

needs_ray = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")]
TRIES = 3  # to start a node: Ray gives up after half a minute, whatever else the machine does
LONG = 120  # seconds; what takes five on an idle machine
SETTINGS = {
    "PYTHONPATH": "",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # whatever tokens there are on this machine
    "RAY_memory_monitor_refresh_ms": "0",  # it would end workers where others have taken the memory
    # Every client gets a server of its own, whose imports take longer than Ray's half a minute on a busy machine.
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": str(LONG),
}


@contextmanager
def two_nodes():
    """Give a cluster, whose processes have ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a short name: there are sockets in it
    nodes = Nodes(folder)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()
        shutil.rmtree(folder, ignore_errors=True)


class Nodes:
    """A head and a second node. `client` is the door for those outside."""

    def __init__(self, folder):
        self._folder, self._log = folder, folder / "start.log"
        self._port, self._client = free_port(), free_port()
        self.address, self.client = f"127.0.0.1:{self._port}", f"ray://127.0.0.1:{self._client}"
        self._nodes, self._lost = [], []

    def start(self):
        """Start both, and return once all doors are open."""
        head = ["--head", "--port", self._port, "--ray-client-server-port", self._client, "--temp-dir", self._folder]
        self._start(*head, "--include-dashboard=false")
        self.complete()
        # What listens there is a process of its own, which a node does not wait for.
        wait_until(lambda: is_open(self._client), within=LONG)

    def complete(self):
        """Start the second node where it is lost."""
        self._forget_lost()
        if len(self._nodes) < 2:
            self._start("--address", self.address)

    def lose(self, number):
        """Send a signal to all that the second node is: SIGKILL, as without power; SIGSTOP, as without a network."""
        node = self._nodes.pop()
        self._lost = [node, *node.children(recursive=True)]
        for each in (signal.SIGSTOP, number):  # nobody is to see another one's end
            for process in self._lost:
                process.send_signal(each)

    def processes(self, kind):
        """Return the processes of actors of a class, by its name."""
        family = [child for node in self._nodes for child in node.children(recursive=True)]
        return [child for child in family if is_actor(child, kind)]

    def close(self):
        """End both, with all that they have started."""
        self._forget_lost()
        for node in reversed(self._nodes):
            family = node.children(recursive=True)
            node.terminate()
            node.wait(timeout=LONG)
            for child in family:
                if child.is_running():
                    child.kill()

    def _start(self, *arguments):
        command = [Path(sys.executable).with_name("ray"), "start", "--block", *arguments, "--num-cpus", 1]
        command += ["--num-gpus", 0, "--object-store-memory", 80_000_000, "--disable-usage-stats"]
        command += ["--min-worker-port", 0, "--max-worker-port", 0]
        environment = {**os.environ, **SETTINGS}
        begun = self._begun()
        for _ in range(TRIES):
            with self._log.open("a") as log:
                node = psutil.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
            self._nodes.append(node)
            wait_until(lambda node=node: self._begun() > begun or node.poll() is not None, within=LONG)
            if node.poll() is None:
                return
            self._nodes.remove(node)
        raise AssertionError(self._log.read_text())

    def _forget_lost(self):
        """End what is left of a lost node."""
        for process in self._lost:
            if process.is_running():
                process.kill()
                process.wait(timeout=LONG)
        self._lost = []

    def _begun(self):
        """Return how many nodes are there."""
        return self._log.read_text().count("runtime started") if self._log.exists() else 0


def is_actor(process, kind):
    """Return whether a process is an actor of a class."""
    try:
        return " ".join(process.cmdline()).startswith(f"ray::{kind}")
    except psutil.Error:
        return False


def is_open(port):
    """Return whether somebody listens at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port():
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

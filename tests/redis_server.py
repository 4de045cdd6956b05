"""A Redis server on this machine that can be killed and started again, with all it has said it has."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from children import wait_until

redis = pytest.importorskip("redis")
BINARY = shutil.which("redis-server")


class RedisServer:
    """What is acknowledged is on the disk. `close` ends it."""

    def __init__(self, folder: Path, *options: str) -> None:
        if BINARY is None:
            pytest.skip("there is no redis-server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        ports = (
            ["--port", "0", "--tls-port", str(self.port)]
            if "--tls-cert-file" in options
            else ["--port", str(self.port)]
        )
        disk = ["--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._command = [BINARY, "--bind", "127.0.0.1", *ports, *disk, *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and return once it listens, and has read what it had."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    close = kill

    def client(self, **options: object) -> redis.Redis:
        """Return a client for the test itself."""
        return redis.Redis("127.0.0.1", self.port, decode_responses=True, **options)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            with suppress(OSError):  # one with TLS takes it for nonsense
                probe.sendall(b"PING\r\n")
                return not probe.recv(64).startswith(b"-LOADING")
            return True

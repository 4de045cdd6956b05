"""A real RTSP camera on the loopback network, GStreamer's, that can be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
IMPORT = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"


class RtspCamera:
    """Serves `uri` in a process of its own."""

    def __init__(self, *, protocols: str, user: str, password: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._arguments = [PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(self.port), protocols]
        self._arguments += [user] * bool(user)
        self._environment = {**os.environ, "RTSP_PASSWORD": password}
        self._user = user
        self.uri = self.address(password)
        self.start()

    def address(self, password: str) -> str:
        """Return the address with a password, which may hold anything."""
        credentials = f"{self._user}:{quote(password, safe='')}@" if self._user else ""
        return f"rtsp://{credentials}127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        """Return when clients are let in."""
        self._process = subprocess.Popen(
            self._arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def rtsp_camera(*, protocols: str = "both", user: str = "", password: str = "") -> Iterator[RtspCamera]:
    """Yield a camera that is there, and take it away afterwards. Skips the test where GStreamer's server is missing."""
    try:
        subprocess.run([PYTHON, "-c", IMPORT], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"needs GStreamer's RTSP server: apt install {PACKAGES}")
    it = RtspCamera(protocols=protocols, user=user, password=password)
    try:
        yield it
    finally:
        it.kill()

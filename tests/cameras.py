"""Cameras on the loopback network: MPEG-TS over TCP, and whatever may go wrong with it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import numpy as np

RATE = 50


class Server:
    """Serves one client after another, each with `_send`."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.uri = f"tcp://127.0.0.1:{self.port}"
        self._client: socket.socket | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """Cut the connection."""
        if self._client is not None:
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def go_away(self) -> None:
        """Cut the connection and refuse new ones."""
        self._ends.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()
        self._thread.join(10)

    def come_back(self) -> None:
        """Be there again after `go_away`, at the same port."""
        self._ends.clear()
        self._socket = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ends.is_set():
            try:
                self._client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with self._client, suppress(OSError, av.FFmpegError):
                self._send(self._client)

    def _send(self, client: socket.socket) -> None:
        raise NotImplementedError


class Camera(Server):
    """A camera in real time; what it sends can be changed at any moment."""

    def __init__(self, *, sound: bool = False) -> None:
        self.sound = sound
        self.sends_pictures = True  # else it keeps the connection, and its sound goes on
        self.sends_garbage = False  # between its packets
        self.size = (64, 48)  # of the next connection
        self.pace = 1.0  # seconds that pass for each one of its clock
        self.frames: int | None = None  # of each connection, then it hangs up
        self.start = 0  # time of the first frame of a connection, in frames
        self.started = 0.0  # when that was, by time.monotonic()
        super().__init__()

    def _send(self, client: socket.socket) -> None:
        with client.makefile("wb", buffering=0) as pipe, _muxer(pipe) as container:
            video = container.add_stream("mpeg2video", rate=RATE, options={"g": "5", "bf": "0"})
            video.width, video.height = self.size
            sound = container.add_stream("mp2", rate=48000) if self.sound else None
            self.started = time.monotonic()
            index = 0
            while not self._ends.is_set() and index != self.frames:
                time.sleep(max(0.0, self.started + self.pace * index / RATE - time.monotonic()))
                if self.sends_garbage:
                    client.sendall(np.random.default_rng(index).bytes(500))
                if self.sends_pictures:
                    width, height = self.size
                    grey = np.full((height * 3 // 2, width), 16 + index % 200, np.uint8)
                    image = av.VideoFrame.from_ndarray(grey, format="yuv420p")
                    image.pts = self.start + index
                    image.time_base = Fraction(1, RATE)
                    container.mux(video.encode(image))
                if sound is not None:
                    samples = av.AudioFrame.from_ndarray(
                        np.zeros((1, 960 * 2), np.int16), format="s16", layout="stereo"
                    )
                    samples.sample_rate = 48000
                    samples.pts = (self.start + index) * 960
                    container.mux(sound.encode(samples))
                index += 1


class Player(Server):
    """Sends what is given, once in all: bytes as they are, and for a number it waits so many seconds."""

    def __init__(self, items: Iterable[bytes | float]) -> None:
        self._items = iter(items)
        super().__init__()

    def _send(self, client: socket.socket) -> None:
        for item in self._items:
            if isinstance(item, bytes):
                client.sendall(item)
            elif self._ends.wait(item):
                return


@contextmanager
def _muxer(pipe: object) -> Iterator[av.container.OutputContainer]:
    container = av.open(pipe, "w", format="mpegts", container_options={"flush_packets": "1", "muxdelay": "0"})
    try:
        yield container
    finally:
        with suppress(OSError, av.FFmpegError):
            container.close()


@contextmanager
def camera(*, sound: bool = False) -> Iterator[Camera]:
    """Yield a camera that is there, and take it away afterwards."""
    it = Camera(sound=sound)
    try:
        yield it
    finally:
        it.go_away()


@contextmanager
def player(items: Iterable[bytes | float]) -> Iterator[Player]:
    """Yield a server of bytes that is there, and take it away afterwards."""
    it = Player(items)
    try:
        yield it
    finally:
        it.go_away()

"""A page that is served, and clients that ask it: over plain sockets, as badly as they like."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from urllib.parse import urlsplit

import cv2
import numpy as np
from fakes import TINY_SPEC, FakeEngine
from found import CLASSES, found

from solo_rt.pipeline import Hooks
from solo_rt.result import Result
from solo_rt.serve import Site
from solo_rt.source import SourceInfo
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame

SPEC = replace(TINY_SPEC, classes=CLASSES)
SECONDS = 10.0  # only a failing test takes that long
TOKEN = "correct-horse-battery"


def info(*, live: bool = True, width: int = 64, height: int = 48) -> SourceInfo:
    """Return what a camera says of itself."""
    return SourceInfo(
        uri="fake",
        kind="camera",
        width=width,
        height=height,
        frame_rate=Fraction(30),
        frame_count=None,
        time_base=Fraction(1, 30),
        live=live,
    )


def grey_frame(index: int = 0, *, grey: int = 90, height: int = 48, width: int = 64) -> Frame:
    """Return a plain frame that was captured now."""
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    planes = (np.full((height, width), grey, np.uint8), chroma, chroma)
    return Frame(planes, "yuv420p", index=index, pts=index, time_base=Fraction(1, 30), captured_at=time.monotonic())


def seen(index: int = 0, *boxes: Sequence[int], **more: int) -> Result:
    """Return a result of a plain frame with rectangles on it."""
    frame = grey_frame(index, **more)
    return Result(frame, found(*boxes, size=(frame.height, frame.width)), CLASSES, stage_seconds={"infer": 0.01})


def begin(site: Site, name: str = "cam0", *, spec: ModelSpec = SPEC, live: bool = True) -> Hooks:
    """Return the hooks of a run that has begun."""
    hooks = site.hooks(name)
    assert hooks.on_start is not None
    hooks.on_start(info(live=live), FakeEngine(spec=spec))
    return hooks


@contextmanager
def site(*names: str, token: str | None = None) -> Iterator[tuple[Site, list[Hooks]]]:
    """Yield a page with sources, each of which has one result, and their hooks."""
    with Site("127.0.0.1:0", token=token) as served:
        hooks = [begin(served, name) for name in names]
        for each in hooks:
            each.on_frame(seen(0, (10, 10, 30, 30)))
        yield served, hooks


@dataclass(frozen=True)
class Answer:
    """What a server has said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


def connect(served: Site) -> socket.socket:
    """Return a connection."""
    return socket.create_connection(("127.0.0.1", served.address.port), timeout=SECONDS)


def request(served: Site, path: str = "/", *, method: str = "GET", host: str | None = None, **headers: str) -> bytes:
    """Return a request; `_` in names of headers is `-`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {served.address if host is None else host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ask(served: Site, data: bytes) -> Answer | None:
    """Return the answer to what is sent; None if the connection ends without one."""
    with connect(served) as client:
        client.sendall(data)
        return read_answer(client)


def get(served: Site, path: str, **more: str) -> Answer:
    """Return the answer to a proper request."""
    answer = ask(served, request(served, path, **more))
    assert answer is not None
    return answer


def read_answer(client: socket.socket) -> Answer | None:
    """Return what arrives until the connection ends."""
    data = b""
    try:
        while piece := client.recv(1 << 16):
            data += piece
    except ConnectionResetError:
        pass
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


def state(served: Site) -> dict[str, object]:
    """Return what the page is told."""
    answer = get(served, "/api/state", **({} if served.token is None else {"Authorization": f"Bearer {served.token}"}))
    assert answer.status == 200, answer
    return json.loads(answer.body)


def pixels(jpeg: bytes) -> np.ndarray:
    """Return a JPEG as `uint8 [H, W, 3]` RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def websocket_address(served: Site) -> str:
    """Return where the pictures of all sources are."""
    return f"ws://{urlsplit(served.url).netloc}/api/pictures"

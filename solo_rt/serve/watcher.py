"""One page that watches: the pictures of all its sources over one WebSocket.

A browser opens six connections to a server at most, so a stream per source would leave none for anything else. The page
sends objects, the only key of which is said first:

    {"look": "masks=1&conf=0.5"}        how all pictures shall be, as `Look.parse` reads it
    {"watch": "cam0", "width": 640}     send pictures of a source from now on, or in another size
    {"leave": "cam0"}                   send no more
    {"seen": "cam0"}                    one picture has arrived

and gets messages of bytes: the length of a head as two bytes, most significant first; that head, an object with
`source`, `number` and `time_s`; a JPEG. No more than IN_FLIGHT pictures of a source are on their way: a page on a slow
line sees fewer of them, and none that is old.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from anyio import fail_after
from starlette.websockets import WebSocket, WebSocketDisconnect

from solo_rt.errors import UsageError
from solo_rt.serve.look import Look
from solo_rt.serve.pictures import Pictures
from solo_rt.serve.streams import WRITE_SECONDS
from solo_rt.serve.view import View

log = logging.getLogger(__name__)

CLOSE_SECONDS = 0.2  # that a viewer may take for being told why there is no more
IN_FLIGHT = 2  # pictures of a source: one that travels while the other is acknowledged
BAD_MESSAGE, GOING_AWAY = 1008, 1001  # RFC 6455, section 7.4.1


@dataclass
class _Watched:
    """A source that the page shows."""

    width: int
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))
    under_way: int = 0  # pictures without an answer
    task: asyncio.Task[None] | None = None


class Watcher:
    """Serves one WebSocket."""

    def __init__(self, socket: WebSocket, views: Mapping[str, View], pictures: Pictures) -> None:
        self._socket, self._views, self._pictures = socket, views, pictures
        self._look = Look()
        self._watched: dict[str, _Watched] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, ending: asyncio.Event) -> None:
        """Send pictures until the page leaves, fails to take them, sends nonsense or the run ends."""
        await self._socket.accept()
        reading, ended = asyncio.create_task(self._read()), asyncio.create_task(ending.wait())
        try:
            anything: set[asyncio.Future[Any]] = {reading, ended, self._failure}
            await asyncio.wait(anything, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await self._close(GOING_AWAY, "the run has ended")
            elif self._failure.done():
                self._socket.scope["state"]["abort"]()
            else:
                await reading
        except UsageError as error:
            await self._close(BAD_MESSAGE, str(error)[:100])
        except WebSocketDisconnect:
            pass
        finally:
            tasks = [reading, ended, *(w.task for w in self._watched.values() if w.task is not None)]
            for task in tasks:
                task.cancel()
            self._failure.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, code: int, reason: str) -> None:
        try:
            with fail_after(CLOSE_SECONDS):
                await self._socket.close(code, reason)
        except (RuntimeError, WebSocketDisconnect):
            pass  # the page has left
        except TimeoutError:
            self._socket.scope["state"]["abort"]()

    async def _read(self) -> None:
        """Obey the page. Raises: UsageError for what is no message of it, WebSocketDisconnect."""
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", 1005))
            try:
                message = json.loads(received.get("text") or "")
            except (ValueError, RecursionError) as error:
                raise UsageError("expected a message of JSON") from error
            if not isinstance(message, dict) or not all(type(value) in (str, int) for value in message.values()):
                raise UsageError("expected a flat object")
            self._obey(message)

    def _obey(self, message: Mapping[str, str | int]) -> None:
        match message:
            case {"look": str(query)}:
                self._look = Look.parse(query)
                for name, watched in self._watched.items():
                    if watched.task is not None:
                        self._show(name)
            case {"watch": str(name), "width": int(width)} if name in self._views:
                width = Look.parse(f"width={width}").width or width
                watched = self._watched.setdefault(name, _Watched(width))
                if watched.task is None or watched.width != width:
                    watched.width = width
                    self._show(name)
            case {"leave": str(name)} if name in self._watched:
                task, self._watched[name].task = self._watched[name].task, None
                if task is not None:
                    task.cancel()
            case {"seen": str(name)} if name in self._watched and self._watched[name].under_way:
                self._watched[name].under_way -= 1
                self._watched[name].room.release()
            case {"watch": str(name)} | {"leave": str(name)} | {"seen": str(name)} if name not in self._views:
                pass  # of a source that is not there: the page is older than this run
            case _:
                raise UsageError("expected look, watch, leave or seen")

    def _show(self, name: str) -> None:
        """Send pictures of a source from now on, as they are wanted now."""
        watched = self._watched[name]
        if watched.task is not None:
            watched.task.cancel()
        watched.task = asyncio.create_task(self._send(name, watched))
        watched.task.add_done_callback(self._note_failure)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failure.done():
            return
        error = task.exception()
        if not isinstance(error, (TimeoutError, WebSocketDisconnect)):
            log.error("page: %s", error, exc_info=error)
        self._failure.set_result(None)

    async def _send(self, name: str, watched: _Watched) -> None:
        """Raises: TimeoutError when the page takes no more."""
        number = 0
        with self._pictures.reel(self._views[name], replace(self._look, width=watched.width)) as reel:
            while True:
                with fail_after(WRITE_SECONDS):
                    await watched.room.acquire()
                try:
                    picture = await reel.newer(number)
                    head = json.dumps({"source": name, "number": picture.number, "time_s": round(picture.time_s, 3)})
                    length = len(head).to_bytes(2, "big")
                    with fail_after(WRITE_SECONDS):
                        await self._socket.send_bytes(length + head.encode() + picture.data)
                except BaseException:
                    watched.room.release()
                    raise
                number = picture.number
                watched.under_way += 1

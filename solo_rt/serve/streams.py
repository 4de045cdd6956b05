"""Answers without an end, and how many of them there may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from anyio import fail_after
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from solo_rt.serve.guard import Refused

WRITE_SECONDS = 5.0  # that a client may take for a piece; then it is given up, by anyio's clock: until Python 3.12
# asyncio.wait_for forgets that it was cancelled where what it waits for is done at that moment.


class Seats:
    """How many may watch at once."""

    def __init__(self, most: int) -> None:
        self.taken, self._most = 0, most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a seat. Raises: Refused when there is none."""
        if self.taken >= self._most:
            raise Refused(503, f"{self._most} viewers are there already; try again later", {"retry-after": "5"})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Stream(Response):
    """An answer without an end. A client that does not take a piece in time is cut off."""

    def __init__(self, pieces: Callable[[], AsyncGenerator[bytes, None]], kind: str, seats: Seats) -> None:
        super().__init__(media_type=kind, headers={"connection": "close"})
        del self.headers["content-length"]
        self._pieces, self._seats = pieces, seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the pieces end or the client does. Raises: Refused when there are too many clients."""
        with self._seats.one():
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_leave(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    await sending
            except TimeoutError:
                scope["state"]["abort"]()
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        pieces = self._pieces()
        async with aclosing(pieces):
            async for piece in pieces:
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                with fail_after(WRITE_SECONDS):
                    await send(message)
        with fail_after(WRITE_SECONDS):
            await send({"type": "http.response.body", "body": b""})


async def _leave(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or so many seconds have passed."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()

"""HTTP connections that end when their clients are too slow to ask, or too many."""

from __future__ import annotations

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 5.0  # from the first to the last byte of the head of a request
TAKE_SECONDS = 5.0  # in which a client takes something of an answer, or is given up
MOST_CONNECTIONS = 256


class Connection(H11Protocol):
    """uvicorn's, which by itself waits for ever for the rest of a request, and for an answer to be taken.

    `scope["state"]["abort"]` ends the connection at once, with what is still to be sent: one that nobody reads from
    would stay for ever otherwise.
    """

    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None  # the next one at what has been taken of answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._look is None:
            self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Have the connection end soon while a request has begun and is not whole."""
        if self.conn.their_state is not h11.IDLE or self.transport.get_protocol() is not self:
            self._calm()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _look_again(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(TAKE_SECONDS, self._give_up, left) if left else None

    def _give_up(self, left: int) -> None:
        """End the connection if as many bytes are `left` as a while ago."""
        if self.transport.get_write_buffer_size() >= left:
            self.transport.abort()
        else:
            self._look_again()

    def _calm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

"""The live page of a run: a server on a thread of its own, which the run tells by hooks what happens."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
from contextlib import closing, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from solo_rt.errors import UsageError
from solo_rt.pipeline.running import Hooks
from solo_rt.serve.address import Address
from solo_rt.serve.app import Desk
from solo_rt.serve.connection import Connection
from solo_rt.serve.far_view import FarView
from solo_rt.serve.guard import MOST_HEAD, Guard
from solo_rt.serve.happenings import Happenings
from solo_rt.serve.pictures import Pictures
from solo_rt.serve.view import View

ANY = frozenset({"0.0.0.0", "::"})  # all addresses of this machine
MOST_MESSAGE = 4096  # bytes of a message of the page
SHORTEST_TOKEN = 16  # characters
GOODBYE_SECONDS = 0.4  # for viewers to hear that the run has ended, and to go
CLOSE_SECONDS = 1.5  # for the thread to end


class Site:
    """A page with a view per source, served from when this is made until it is closed.

    Every run is given the hooks of its view, `Pipeline(..., hooks=site.hooks("cam0"))`. What it does not need it does
    not cost: pictures are made only while somebody watches, on threads of the site.
    """

    def __init__(self, address: str | Address, *, token: str | None = None) -> None:
        """Listen on `HOST:PORT`; every host but a loopback one has a token, a new one unless given.

        Raises: UsageError if there can be no such server.
        """
        self.address = Address.parse(address) if isinstance(address, str) else address
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
            raise UsageError(f"serve: expected a token of at least {SHORTEST_TOKEN} ASCII characters")
        self.token = token or (None if self.address.is_loopback else secrets.token_urlsafe(24))
        self._listening = self.address.listen()
        self.address = Address(self.address.host, self._listening.getsockname()[1])
        self._happenings, self._views = Happenings(), dict[str, View]()
        self._pictures = Pictures()
        self._desk = Desk(self._views, self._happenings, self._pictures)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="solo-rt page", daemon=True)
        self._thread.start()
        self._has_begun.wait()

    @property
    def url(self) -> str:
        """The address of the page; where there is a token, it is opened with `?token=` and that behind it."""
        host = socket.gethostname() if self.address.host in ANY else self.address.host
        return f"http://{Address(host, self.address.port)}/"

    def hooks(self, name: str) -> Hooks:
        """Return what tells the page of the run of the source called so."""
        self._views[name] = View(name, self._happenings)
        return self._views[name].hooks()

    def far_view(self, name: str) -> FarView:
        """Return the view of a source that runs elsewhere; whoever hears of it tells it."""
        view = self._views[name] = FarView(name, self._happenings)
        return view

    def close(self) -> None:
        """Tell viewers that the run has ended, and end; at most CLOSE_SECONDS later all is over."""
        assert self._loop is not None
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._desk.ending.set)
        self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def _run(self) -> None:
        with closing(self._listening), closing(self._pictures):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        """Serve until the run is over, and a moment longer."""
        self._loop = asyncio.get_running_loop()
        self._has_begun.set()
        server = uvicorn.Server(self._config())
        serving = asyncio.create_task(server.serve(sockets=[self._listening]))
        ended = asyncio.create_task(self._desk.ending.wait())
        anything: set[asyncio.Future[Any]] = {serving, ended}
        await asyncio.wait(anything, return_when=asyncio.FIRST_COMPLETED)
        if streams := set(server.server_state.tasks):
            await asyncio.wait(streams, timeout=GOODBYE_SECONDS)
        server.should_exit = True
        await asyncio.wait({serving}, timeout=GOODBYE_SECONDS)
        for connection in list(server.server_state.connections):
            connection.transport.abort()  # nobody listens there
        await serving

    def _config(self) -> uvicorn.Config:
        names = {"localhost", self.address.host, socket.gethostname().lower(), socket.getfqdn().lower()}
        return uvicorn.Config(
            Guard(self._desk.app(), names=names - ANY, token=self.token, port=self.address.port),
            http=Connection,
            ws=WebSocketsSansIOProtocol,
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,  # JPEG does not get smaller
            h11_max_incomplete_event_size=MOST_HEAD,
            timeout_graceful_shutdown=1,
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,  # what strangers send is no news
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )

"""What the page asks for, and what answers."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Mapping
from importlib.resources import files
from secrets import token_hex

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import solo_rt
from solo_rt.errors import UsageError
from solo_rt.serve.guard import OPEN, Refused, refusal
from solo_rt.serve.happenings import Happenings
from solo_rt.serve.look import Look
from solo_rt.serve.metrics import CONTENT_TYPE, write_metrics
from solo_rt.serve.pictures import Pictures
from solo_rt.serve.streams import Seats, Stream, wait
from solo_rt.serve.view import View
from solo_rt.serve.watcher import Watcher

STATE_SECONDS = 0.5  # between two states that a listener is told
MOST_VIEWERS = 32  # pages and streams at once; and as many listeners
BOUNDARY = "solo-rt-picture"
STATIC = {  # all files there are to be had
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/tiles.js": ("tiles.js", "text/javascript; charset=utf-8"),
    "/panel.js": ("panel.js", "text/javascript; charset=utf-8"),
    "/pictures.js": ("pictures.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

log = logging.getLogger(__name__)


class Desk:
    """Answers requests about the views. Used on the loop of the page."""

    def __init__(self, views: Mapping[str, View], happenings: Happenings, pictures: Pictures) -> None:
        self.ending = asyncio.Event()  # set when the run is over
        self._views, self._happenings, self._pictures = views, happenings, pictures
        self._viewers, self._listeners = Seats(MOST_VIEWERS), Seats(MOST_VIEWERS)
        self._state, self._state_until = "", -math.inf  # and how long it will do
        self._static = {
            path: ((files("solo_rt.serve") / "page" / name).read_bytes(), kind) for path, (name, kind) in STATIC.items()
        }

    def app(self) -> Starlette:
        """Return what answers requests."""
        routes = [
            *(Route(path, self._file) for path in STATIC),
            Route("/api/state", self._tell_state),
            Route("/api/events", self._tell_events),
            Route("/api/results/{name:path}", self._tell_result),
            WebSocketRoute("/api/pictures", self._show_pictures),
            Route("/sources/{name:path}.jpg", self._show_picture),
            Route("/sources/{name:path}.mjpg", self._show_video),
            Route("/metrics", self._tell_metrics),
            Route(OPEN, self._tell_health),
        ]
        handlers = {Exception: _fail, **dict.fromkeys((HTTPException, Refused, UsageError), _refuse)}
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app

    def _describe(self) -> str:
        """Return all that is shown but pictures, as an object."""
        state = {
            "version": solo_rt.__version__,
            "is_over": self.ending.is_set(),
            "model": self._model(),
            "viewers": self._viewers.taken,
            "sources": [view.record() for view in list(self._views.values())],
        }
        return json.dumps(state, allow_nan=False)

    def _lately(self) -> str:
        """Return the same of a moment ago, which all listeners share."""
        now = time.monotonic()
        if now >= self._state_until or self.ending.is_set():
            self._state_until = now + STATE_SECONDS / 2
            self._state = self._describe()
        return self._state

    def _model(self) -> dict[str, object] | None:
        model = next((view.model for view in list(self._views.values()) if view.model is not None), None)
        if model is None:
            return None
        colours = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in model.colours)
        return {
            "name": model.spec.name,
            "backend": model.backend,
            "task": model.spec.decoder.task,
            "classes": [list(pair) for pair in zip(model.spec.classes, colours, strict=True)],
        }

    async def _file(self, request: Request) -> Response:
        content, kind = self._static[request.url.path]
        return Response(content, media_type=kind)

    async def _tell_state(self, _request: Request) -> Response:
        return _json(self._describe())

    async def _tell_events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return Stream(self._events, "text/event-stream", self._listeners)

    async def _events(self) -> AsyncGenerator[bytes, None]:
        """Yield the state now and then, and what has happened in between."""
        number = 0
        while True:
            happened = self._happenings.since(number)
            number = int(str(happened[-1]["number"])) if happened else number
            if happened:
                yield f"event: happened\ndata: {json.dumps(happened)}\n\n".encode()
            yield f"event: state\ndata: {self._lately()}\n\n".encode()
            if self.ending.is_set():
                return
            await wait(self.ending, STATE_SECONDS)

    async def _tell_result(self, request: Request) -> Response:
        view = self._view(request)
        record = await self._pictures.run(lambda: view.newest_record().encode())
        if not record:
            raise Refused(503, "there is no result yet", {"retry-after": "1"})
        return _json(record)

    async def _show_pictures(self, socket: WebSocket) -> None:
        try:
            with self._viewers.one():
                await Watcher(socket, self._views, self._pictures).serve(self.ending)
        except Refused as error:
            await socket.send_denial_response(refusal(error.status, str(error), error.headers))

    async def _show_picture(self, request: Request) -> Response:
        view, look = self._visible(request), self._look(request)
        _, result = view.newest
        if result is None:
            raise Refused(503, "there is no picture yet", {"retry-after": "1"})
        with self._viewers.one():
            return Response(await self._pictures.make(view, result, look), media_type="image/jpeg")

    async def _show_video(self, request: Request) -> Response:
        view, look, kind = (
            self._visible(request),
            self._look(request),
            f"multipart/x-mixed-replace; boundary={BOUNDARY}",
        )
        if request.method == "HEAD":
            return Response(media_type=kind)
        return Stream(lambda: self._video(view, look), kind, self._viewers)

    async def _video(self, view: View, look: Look) -> AsyncGenerator[bytes, None]:
        """Yield the parts of Motion JPEG."""
        number = 0
        with self._pictures.reel(view, look) as reel:
            while True:
                next_one = asyncio.ensure_future(reel.newer(number))
                try:
                    while not next_one.done() and not self.ending.is_set():
                        await asyncio.wait({next_one}, timeout=STATE_SECONDS)
                finally:
                    next_one.cancel()
                if self.ending.is_set():
                    return
                picture = next_one.result()
                number = picture.number
                head = f"--{BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: {len(picture.data)}\r\n\r\n"
                yield head.encode() + picture.data + b"\r\n"

    async def _tell_metrics(self, _request: Request) -> Response:
        sources = [view.record() for view in list(self._views.values())]
        text = write_metrics(sources, viewers=self._viewers.taken, pictures=self._pictures.made)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def _tell_health(self, _request: Request) -> Response:
        views = list(self._views.values())
        if any(view.is_well for view in views) or all(view.has_ended for view in views):
            return _json('{"status": "ok"}')
        return _json('{"error": "no source gives results"}', status=503)

    def _view(self, request: Request) -> View:
        view = self._views.get(request.path_params["name"])
        if view is None:
            raise Refused(404, "there is no such source")
        return view

    def _visible(self, request: Request) -> View:
        view = self._view(request)
        if not view.has_pictures:
            raise Refused(404, "it runs on another machine, from which pictures do not come")
        return view

    def _look(self, request: Request) -> Look:
        model = self._view(request).model
        return Look.parse(request.url.query, model.spec.classes if model is not None else ())


def _json(text: str | bytes, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")


async def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return refusal(error.status_code, "there is nothing at this address", error.headers)
    if isinstance(error, Refused):
        return refusal(error.status, str(error), error.headers)
    return refusal(400, str(error))


async def _fail(request: Request, error: Exception) -> Response:
    number = token_hex(4)
    log.error("page, failure %s: %s", number, error, exc_info=error)
    return refusal(500, f"failure {number}; the log of the run says more")

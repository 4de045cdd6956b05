"""Who may ask for what: checks every request before anything else sees it.

Note [Whom the page trusts]
    On a loopback address there is no token, but every web page that somebody on this machine opens in a browser can
    send requests there. So the `Host` must be a name of this machine, which an attacker's name that resolves to it
    (DNS rebinding) is not; `Origin`, where a browser sends one, must be the page itself; and `Sec-Fetch-Site` must not
    say that another site embeds us. With a token, which every other address needs, any number will do as a host: only
    names can be rebound. The token comes in a header, or once in the address of the page; a cookie takes its place
    then, one of this run that no script reads and no other site sends, so that it stays out of logs and of Referer.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from solo_rt.serve.address import is_loopback, is_number

MOST_HEAD = 8192  # bytes of a request before its body
MOST_BODY = 1 << 16  # bytes; nothing that is asked for has any
OPEN = "/healthz"  # needs no token, and says nothing but whether all is well
PICTURES = "/sources/"  # for players
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:\d{1,5})?")
SECURITY = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request is not answered."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, dict(headers or {})


def refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says in one line of JSON why there is no other; the connection ends with it."""
    text = json.dumps({"error": reason}) + "\n"
    return Response(text, status, {**(headers or {}), "connection": "close"}, "application/json")


class Guard:
    """Answers what is not allowed, and hands on the rest. Adds the headers that browsers obey."""

    def __init__(self, app: ASGIApp, *, names: Iterable[str], token: str | None, port: int) -> None:
        """`names` are the hosts, in lower case, that requests may be for."""
        self._app, self._names, self._token = app, frozenset(names), token
        self._cookie = f"solo_rt_{port}"  # cookies do not know ports, and another run may serve at another one
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_safely(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self._check(scope)
        except Refused as error:
            answer = refusal(error.status, str(error), error.headers)
        if answer is None:
            await self._app(scope, receive, send_safely)
        elif scope["type"] == "websocket":
            kind = "websocket.http.response"
            await send_safely({"type": f"{kind}.start", "status": answer.status_code, "headers": answer.raw_headers})
            await send_safely({"type": f"{kind}.body", "body": answer.body})
        else:
            await answer(scope, receive, send_safely)

    def _check(self, scope: Scope) -> Response | None:
        """Return the answer if the guard knows it. Raises: Refused."""
        headers = Headers(scope=scope)
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(_length, headers.raw)) > MOST_HEAD:
            raise Refused(431, f"expected a head of at most {MOST_HEAD} bytes")
        host = self._check_host(headers)
        _check_origin(headers, host)
        if scope["type"] == "http":
            _check_shape(scope["method"], headers)
        if self._token is None or scope["path"] == OPEN or self._knows_token(headers):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and scope["path"] == "/" and self._is_token(given):
            cookie = f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"
            # Not a redirect: behind a link on another site a strict cookie is sent only where our own page leads on.
            entry = {"refresh": "0; url=/", "set-cookie": cookie}
            return Response('<link rel="icon" href="/icon.svg">', headers=entry, media_type="text/html")
        reason = "expected the token that was printed when the run began: open /?token=..., or send it as a Bearer"
        # Players send a password only where they are asked for one in this way, which the page is not: a browser would
        # ask its user.
        kind = 'Basic realm="solo-rt"' if scope["path"].startswith(PICTURES) else "Bearer"
        raise Refused(401, reason, {"www-authenticate": kind})

    def _check_host(self, headers: Headers) -> str:
        hosts = headers.getlist("host")
        found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        name = found[1].strip("[]").lower().removesuffix(".") if found is not None else ""
        if name in self._names or is_loopback(name) or (self._token is not None and is_number(name)):
            return hosts[0].lower()
        raise Refused(403, "expected a Host that is this machine; open the address that was printed")

    def _knows_token(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._is_token(value.strip())
        if kind.lower() == "basic":  # players that know no other way: http://:TOKEN@host/...
            try:
                return self._is_token(base64.b64decode(value, validate=True).decode("latin-1").partition(":")[2])
            except (binascii.Error, ValueError):
                return False
        pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        return any(name == self._cookie and _is_same(value, self._session) for name, _, value in pairs)

    def _is_token(self, given: str) -> bool:
        return self._token is not None and _is_same(given, self._token)


def _length(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1])


def _is_same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _check_origin(headers: Headers, host: str) -> None:
    """Raise Refused for what another site than ours makes a browser ask."""
    origin = headers.get("origin")
    if origin is not None:
        try:
            parts = urlsplit(origin)
        except ValueError:  # of brackets that hold no IPv6 address
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host:
            raise Refused(403, "expected a request of the page itself, got one of another origin")
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
        raise Refused(403, "expected a request of the page itself, got one of another site")


def _check_shape(method: str, headers: Headers) -> None:
    """Raise Refused for what nothing here answers, without reading its body."""
    length = headers.get("content-length", "0")
    if len(length) > 9 or not length.isdecimal() or int(length) > MOST_BODY:
        raise Refused(413, f"expected no body, and at most {MOST_BODY} bytes of one")
    if method not in ("GET", "HEAD"):
        raise Refused(405, "expected GET or HEAD", {"allow": "GET, HEAD"})
    if length.strip("0") or "transfer-encoding" in headers:
        raise Refused(400, f"expected no body with {method}")

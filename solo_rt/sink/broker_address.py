"""Addresses of brokers: `redis://user:password@host:port/stream?maxlen=100000`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from solo_rt.errors import UsageError
from solo_rt.uri import redact, scheme

BROKERS = ("redis", "rediss")  # the second is encrypted
PORT = 6379
OPTIONS = {"maxlen": 1, "db": 0}  # whole numbers, and the least that each may be


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A Redis server and a stream on it."""

    host: str
    port: int
    stream: str
    user: str | None
    password: str | None
    is_encrypted: bool
    maxlen: int | None  # about how many entries the stream keeps; None keeps all
    db: int

    @classmethod
    def parse(cls, uri: str) -> BrokerAddress:
        """Return the parts of an address, percent signs decoded. Raises: UsageError."""
        try:
            parts = urlsplit(uri)
            port = PORT if parts.port is None else parts.port
            options = _options(parts.query)
        except ValueError:
            raise _unexpected(uri) from None  # Python's text may hold the password
        stream = unquote(parts.path[1:])
        if not parts.hostname or not stream or parts.fragment:
            raise _unexpected(uri)
        return cls(
            host=unquote(parts.hostname),
            port=port,
            stream=stream,
            user=unquote(parts.username) if parts.username else None,
            password=None if parts.password is None else unquote(parts.password),
            is_encrypted=scheme(uri) == "rediss",
            maxlen=options.get("maxlen"),
            db=options.get("db", 0),
        )


def _options(query: str) -> dict[str, int]:
    """Return what stands behind the question mark. Raises: ValueError."""
    options: dict[str, int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else ():
        if name in options or name not in OPTIONS or not value.isascii() or int(value) < OPTIONS[name]:
            raise ValueError(name)
        options[name] = int(value)
    return options


def _unexpected(uri: str) -> UsageError:
    return UsageError(
        f"output {redact(uri)}: expected {scheme(uri)}://HOST:PORT/STREAM, perhaps ?maxlen=N&db=N behind it and "
        f"USER:PASSWORD@ before, in which / ? # @ and % are written as %2F %3F %23 %40 %25"
    )

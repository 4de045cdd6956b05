"""Results sent to a broker as they are made: JSON lines as entries of a Redis stream."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from solo_rt.errors import SinkError, UsageError
from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.broker_address import BrokerAddress
from solo_rt.sink.records import RecordLines, line_of, line_of_end, line_of_gap
from solo_rt.source.base import SourceInfo
from solo_rt.uri import redact

ANSWER_SECONDS = 5  # for the server to take a connection or an entry
WAIT_SECONDS = 300.0  # that a file waits for a server that is away
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts meanwhile; each is twice the one before
LOOK_BACK = 1000  # entries among which one is looked for whose answer was lost

log = logging.getLogger(__name__)


class BrokerSink(Sink):
    """`redis://host/stream`: every one of `RecordLines` is an entry. `write`, `note`, `resume`, `close`: see `Sink`.

    An entry has `line`, and `run` and `number`, by which it is known: of this run, counted from 0, the header. When the
    server is away a file waits for it, and nothing is lost; of a live source results are lost until it is back, behind
    a gap. An entry whose answer was lost is looked for before it is sent again.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, model: str, classes: Sequence[str]) -> None:
        """Connect. Raises: UsageError for a server that cannot be used, or without the client."""
        self.uri = uri
        self._stream = _Stream(uri)
        self._records = RecordLines(info, model=model, classes=classes)
        self._wait = 0.0 if info.live else WAIT_SECONDS
        self._results = 0
        self._has_begun = self._has_failed = False

    def write(self, result: Result) -> None:
        self._send(self._records.of(result))
        self._results += 1

    def note(self, event: Mapping[str, object]) -> None:
        self._send(line_of(event))

    def resume(self, gap: Gap) -> None:
        self._send(line_of_gap(gap))

    def close(self) -> None:
        try:
            if self._has_begun:
                self._has_begun = False
                self._send_one(line_of_end(self._results))
        finally:
            self._stream.close()

    def _send(self, line: bytes) -> None:
        """Add a line, behind the header. Raises: SinkError."""
        if not self._has_begun:
            self._send_one(self._records.header)
            self._has_begun = True
        self._send_one(line)

    def _send_one(self, line: bytes) -> None:
        """Add a line, and wait if that helps; after a failure it does not. Raises: SinkError."""
        give_up_at = time.monotonic() + (0.0 if self._has_failed else self._wait)
        pause = FIRST_PAUSE
        self._stream.count()
        while True:
            try:
                self._stream.add(line)
            except self._stream.failures as error:
                reason = f"output {redact(self.uri)}: {_reason(error)}"
                if time.monotonic() + pause > give_up_at:
                    self._has_failed = True
                    raise SinkError(reason) from None
                if pause == FIRST_PAUSE:
                    log.warning("%s; the source waits for it", reason)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._has_failed = False
                if pause > FIRST_PAUSE:
                    log.warning("output %s goes on; it lacks nothing", redact(self.uri))
                return


class _Stream:
    """A stream on a server, to which entries are added."""

    def __init__(self, uri: str) -> None:
        """Connect, and look what is there. Raises: UsageError."""
        address = BrokerAddress.parse(uri)
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise UsageError(f"output {redact(uri)}: it needs redis; pip install 'solo-rt[redis]'") from error
        # The last one is of a host whose name cannot be one.
        self.failures: tuple[type[Exception], ...] = (redis.RedisError, OSError, UnicodeError)
        self._key, self._maxlen = address.stream, address.maxlen
        self._client: Any = redis.Redis(
            host=address.host,
            port=address.port,
            db=address.db,
            username=address.user,
            password=address.password,
            protocol=2,  # whose refusals name the reason
            ssl=address.is_encrypted,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),  # that is for us, who know whether it pays to wait
        )
        self._run, self._number = secrets.token_hex(8), -1
        self._is_in_doubt = False  # whether the entry may have arrived
        try:
            self._last: Any = self._newest()  # the id behind which our next entry is
        except self.failures as error:
            self.close()
            raise UsageError(f"output {redact(uri)}: {_reason(error)}") from None

    def count(self) -> None:
        """Begin with the next entry."""
        self._number += 1
        self._is_in_doubt = False

    def add(self, line: bytes) -> None:
        """Add the entry, unless it has arrived. Raises: one of `failures`."""
        if self._is_in_doubt and self._has_arrived():
            return
        self._is_in_doubt = True
        entry = {"run": self._run, "number": self._number, "line": line}
        self._last = self._client.xadd(self._key, entry, maxlen=self._maxlen, approximate=True)

    def close(self) -> None:
        """Disconnect. May be called again."""
        with suppress(*self.failures):
            self._client.close()

    def _newest(self) -> object:
        """Return the id of the newest entry. Raises: one of `failures`, as where the key is no stream."""
        entries = self._client.xrevrange(self._key, count=1)
        return entries[0][0] if entries else "0-0"

    def _has_arrived(self) -> bool:
        after = self._last.decode() if isinstance(self._last, bytes) else self._last
        wanted = (self._run.encode(), str(self._number).encode())
        entries = self._client.xrevrange(self._key, min=f"({after}", count=LOOK_BACK)
        return any((entry.get(b"run"), entry.get(b"number")) == wanted for _, entry in entries)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

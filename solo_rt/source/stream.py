"""Frames of what cannot be seen whole: cameras, network streams, the screen, standard input."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import chain

import av

from solo_rt import defaults
from solo_rt.errors import SourceError, UsageError
from solo_rt.source.address import Address
from solo_rt.source.base import Source, SourceInfo, SourceState, StateChange
from solo_rt.source.connection import Connection, Lost
from solo_rt.source.disconnection import Disconnected
from solo_rt.source.playlist import Playlist
from solo_rt.source.sound import Sound
from solo_rt.source.stream_clock import StreamClock
from solo_rt.source.stream_input import OPEN_SECONDS, Facts
from solo_rt.types import Frame

# Seconds between attempts: 150 in the first hour, and none is much longer than an eighth of the time that has passed.
FIRST_WAIT, LONGEST_WAIT, GROWTH, JITTER = 0.5, 30.0, 1.12, 0.2
FILM_SECONDS = 60.0  # without a picture, until a film that is not live has broken off: it can be read once only

log = logging.getLogger(__name__)


class StreamSource(Source):
    """A stream, read as it comes. `__iter__`, `damage`, `stop`, `close`: see `Source`.

    What is live is reached again whenever it is lost or gives no picture for `stall_after` seconds, whatever else it
    sends. It is lost for good, and ends, when there is none for `retry_for` seconds; None is for ever, but ten seconds
    before the first. Its times strictly increase, over outages and whatever its clock does (see StreamClock); for
    those of HLS see Playlist. What is not live, a film on a web server or what a program writes to a pipe, is read once
    and waits for its reader.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_pixels: int,
        threads: int,
        sound: bool = False,
        retry_for: float | None = None,
        stall_after: float = defaults.STALL_SECONDS,
    ) -> None:
        """Return once there is a first frame. Raises: SourceError; UsageError for times that make no sense."""
        if (retry_for is not None and not retry_for >= 0) or not 0 < stall_after < math.inf:
            raise UsageError(
                f"expected retry_for of at least 0 s and stall_after above 0 s, got {retry_for} and {stall_after}"
            )
        self._address, self._max_pixels, self._threads = address, max_pixels, threads
        self._wants_sound = sound
        self._sound: Sound | None = None  # of the first connection that has some
        self._retry_for, self._stall_after = retry_for, stall_after
        self._film_stalls_after = max(stall_after, FILM_SECONDS)
        self._is_stopped = threading.Event()
        self._lost = Lost()
        self._outages, self._away = 0, 0.0  # how many, and seconds
        self._ending = ""  # why there are no more frames, unless that is as it should be
        self._facts: Facts | None = None
        self._playlist: Playlist | None = None  # of a live one, also once it has an end
        self._state: SourceState = "connecting"
        self._has_told = False  # that it cannot be reached yet
        self._frames: Iterator[Frame] = iter(())
        self._reading = self._read()
        first = next(self._reading, None)
        if first is None:
            why = self._ending or "it was stopped"
            raise SourceError(f"source {address.uri}: expected pictures, got none: {why}; check the address")
        self._frames = chain((first,), self._reading)
        self.info = self._describe(first)

    @property
    def damage(self) -> str | None:
        lost = self._lost
        counts = (
            (lost.undecodable, "undecodable packet", ""),
            (lost.read_errors, "read error", ""),
            (lost.damaged, "damaged frame", ""),
            (lost.late, "packet", " left out because decoding was too slow"),
            (self._outages, "outage", f" of {self._away:.1f} s in all"),
        )
        losses = [f"{count} {noun}{'' if count == 1 else 's'}{more}" for count, noun, more in counts if count]
        losses += [self._ending] * bool(self._ending)
        return f"{self._address.uri}: {', '.join(losses)}" if losses else None

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def stop(self) -> None:
        self._is_stopped.set()

    def close(self) -> None:
        self.stop()
        self._frames = iter(())
        with suppress(ValueError):  # a thread that was left behind is in it, and leaves it now
            self._reading.close()

    @property
    def _is_live(self) -> bool:
        """Whether pictures come at their own pace, as far as is known."""
        return self._facts.is_live if self._facts else self._address.kind != "pipe"

    def _read(self) -> Generator[Frame, None, None]:
        clock, last_at = StreamClock(), None
        wait, begun = FIRST_WAIT, time.monotonic()
        while not self._is_stopped.is_set():
            is_back = False
            try:
                for frame, packets in self._follow():
                    if not is_back:
                        is_back, wait = True, FIRST_WAIT
                        if last_at is not None:
                            self._count_outage(frame.captured_at - last_at)
                        self._enter("live")
                    last_at = frame.captured_at
                    placed = clock.place(frame) if self._is_live or self._playlist is not None else frame
                    if self._sound is not None:
                        for packet in packets:
                            shift = (placed.pts - frame.pts) * frame.time_base
                            self._sound.add(packet, before=placed.index, shift=shift)
                    yield placed
                    del frame, placed  # or it would live until the next one comes
            except Disconnected as end:
                since = begun if last_at is None else last_at
                if not self._is_worth_trying(end, since=since, is_new=last_at is None):
                    return
                self._enter("stalled" if end.is_stall else "connecting", str(end))
            clock.reconnect()
            if self._playlist is not None:
                self._playlist.reconnect()
            self._is_stopped.wait(wait * random.uniform(1 - JITTER, 1 + JITTER))
            wait = min(wait * GROWTH, LONGEST_WAIT)
            if self._playlist is None or self._state != "stalled":  # its server is there, and asked for more
                self._enter("connecting")

    def _follow(self) -> Iterator[tuple[Frame, list[av.Packet]]]:
        """Yield the frames of one connection, each with the sound before it. Raises: Disconnected after the last."""
        # FFmpeg's own patience is the second line: it takes longer than it says, and some devices never give up.
        # What may be a film may pause for longer.
        longest = self._stall_after if self._address.is_live else self._film_stalls_after
        connection = Connection(
            self._address,
            self._lost,
            max_pixels=self._max_pixels,
            threads=self._threads,
            sound=self._wants_sound,
            read_seconds=None if self._address.kind == "pipe" else 2 * longest,
        )
        try:
            is_open, patience, since = False, OPEN_SECONDS + self._stall_after, time.monotonic()
            while not self._is_stopped.is_set():
                try:
                    frame, packets = connection.get()
                except TimeoutError:
                    if self._address.kind != "pipe" and time.monotonic() - since > patience:
                        what = "no picture" if connection.facts else "no answer"
                        raise Disconnected(f"{what} for {patience:g} s", is_stall=True) from None
                    continue
                assert connection.facts is not None
                self._facts, sound = connection.facts, connection.facts.sound
                self._sound = self._sound or sound
                fits = sound is not None and self._sound is not None and sound.codec == self._sound.codec
                is_new = self._playlist is None or not self._playlist.was_given(frame, is_whole=not self._is_live)
                if is_new:
                    waited = time.monotonic() - since if is_open else 0.0
                    yield self._paced(frame, waited=waited), packets if fits else []
                del frame  # or it would live until the next one comes
                if is_new or not is_open:
                    is_open, since = True, time.monotonic()
                patience = self._patience(self._facts)
        finally:
            connection.abandon()

    def _paced(self, frame: Frame, *, waited: float) -> Frame:
        """Return the frame as it is, or of a live playlist when it is due; it was `waited` for, in seconds."""
        assert self._facts is not None
        if self._playlist is None and self._facts.is_playlist:
            self._playlist = Playlist(self._is_stopped)
        return frame if self._playlist is None else self._playlist.keep(frame, waited=waited)

    def _patience(self, facts: Facts) -> float:
        """Return for how many seconds there may be no picture behind another one."""
        if not facts.is_live:
            return self._film_stalls_after
        periods = float(3 / facts.frame_rate) if facts.frame_rate else 0.0
        return max(self._stall_after, periods, self._playlist.patience if self._playlist is not None else 0.0)

    def _is_worth_trying(self, end: Disconnected, *, since: float, is_new: bool) -> bool:
        """Return whether to connect once more after no picture came `since` then; if not, note why, unless all came."""
        if not self._is_live:
            self._ending = end.missing if end.has_ended and not is_new else f"it broke off: {end}"
            return False
        at_most = defaults.FIRST_RETRY_SECONDS if is_new else math.inf
        allowed = at_most if self._retry_for is None else self._retry_for
        if time.monotonic() - since < allowed and not (is_new and end.is_final):
            if is_new and not self._has_told:
                self._has_told = True
                log.warning("source %s: %s; trying for %g s", self._address.uri, end, allowed)
            return True
        self._ending = str(end) if is_new else f"lost: {end}"
        self._enter("lost", str(end))
        return False

    def _count_outage(self, away: float) -> None:
        self._outages += 1
        self._away += away
        log.warning("source %s: live again after %.1f s", self._address.uri, away)

    def _enter(self, state: SourceState, reason: str = "") -> None:
        if state == self._state:
            return
        self._state = state
        if reason and self._facts is not None:
            log.warning("source %s: %s: %s", self._address.uri, state, reason)
        if self.on_state is not None:
            self.on_state(StateChange(state, reason, time.time()))

    def _describe(self, first: Frame) -> SourceInfo:
        facts = self._facts
        assert facts is not None
        count = None
        if not facts.is_live and facts.end is not None and facts.frame_rate:
            count = max(1, round((facts.end - first.pts * first.time_base) * facts.frame_rate))
        return SourceInfo(
            uri=self._address.uri,
            kind=self._address.kind,
            width=first.width,
            height=first.height,
            frame_rate=facts.frame_rate,
            frame_count=count,
            time_base=facts.time_base,
            live=facts.is_live,
            pixel_aspect=facts.pixel_aspect,
            sound=self._sound,
        )

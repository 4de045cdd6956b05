"""One attempt to read a stream, on a thread of its own that can be left behind."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from queue import Empty, Full, Queue
from weakref import WeakSet

import av

from solo_rt.source.address import Address
from solo_rt.source.avi import with_times
from solo_rt.source.disconnection import Disconnected, disconnected, is_input_output
from solo_rt.source.ffmpeg_clock import come_out_when
from solo_rt.source.interlace import deinterlaced
from solo_rt.source.lateness import Lateness
from solo_rt.source.losses import declared_frames, early_end
from solo_rt.source.planes import to_frame
from solo_rt.source.stream_input import Facts, StreamInput, open_stream
from solo_rt.types import Frame

MOST_WAITING = 4  # pictures that are decoded and not taken
MAX_ERRORS = 20  # in a row, of reading: the connection is dead
MOST_SOUND = 1000  # packets of sound before a picture; more belong to none
MAX_LATE_SECONDS = 5.0  # behind the clock, from which on decoding is left out until the next key frame
POLL_SECONDS = 0.1
LEAVE_SECONDS = 1.0  # for a thread that was abandoned, which takes a tenth of one unless it looks up a name


@dataclass(slots=True)
class Lost:
    """What could not be shown, of all connections of a source. Written by their threads."""

    undecodable: int = 0  # packets
    read_errors: int = 0  # that were got over
    damaged: int = 0  # pictures
    late: int = 0  # packets that were left out because decoding was behind


_connections: WeakSet[Connection] = WeakSet()


class Connection:
    """Pictures of an address as frames, numbered from 0, with the stream's own times. It connects when it is made."""

    def __init__(
        self, address: Address, lost: Lost, *, max_pixels: int, threads: int, sound: bool, read_seconds: float | None
    ) -> None:
        """Begin; `read_seconds` is how long FFmpeg waits for data, None for ever. `sound` is read on demand."""
        self.facts: Facts | None = None  # once it is open, before the first frame
        self._lost = lost
        self._address = address
        self._open = partial(
            open_stream, address, max_pixels=max_pixels, threads=threads, sound=sound, read_seconds=read_seconds
        )
        self._packets_of_sound: list[av.Packet] = []  # since the last frame
        self._count = 0  # packets of the video
        self._end = Disconnected("the stream ended", has_ended=True)  # unless it ends in another way
        self._frames: Queue[tuple[Frame, list[av.Packet]] | Disconnected] = Queue(MOST_WAITING)
        self._is_abandoned = threading.Event()
        self._thread = threading.Thread(target=self._work, name="solo-rt connection", daemon=True)
        _connections.add(self)
        self._thread.start()

    def get(self) -> tuple[Frame, list[av.Packet]]:
        """Return the next frame, and the sound that came before it.

        Raises: TimeoutError after a tenth of a second; Disconnected after the last.
        """
        try:
            item = self._frames.get(timeout=POLL_SECONDS)
        except Empty:
            raise TimeoutError from None
        if isinstance(item, Disconnected):
            raise item
        return item

    def abandon(self) -> None:
        """Want no more: the thread leaves FFmpeg and closes what it opened. May be called again."""
        self._is_abandoned.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread of an abandoned connection has ended, but not for long."""
        self._thread.join(seconds)

    def _work(self) -> None:
        come_out_when(self._is_abandoned)
        try:
            end = self._read()
        except Disconnected as error:
            end = error
        except Exception as error:  # PyAV raises all kinds of exceptions, whose texts may hold the password
            end = disconnected(error)
        self._put(end)

    def _read(self) -> Disconnected:
        with closing(self._open()) as opened:
            index, shown_until = 0, Fraction(0)
            for picture, pts, captured_at in self._placed(opened):
                self.facts = self.facts or opened.facts(picture, self._address.uri)
                time_base = opened.time_base
                try:
                    frame = to_frame(picture, index=index, pts=pts, time_base=time_base, captured_at=captured_at)
                except Exception:  # a damaged header may claim a layout that swscale does not know
                    self._lost.undecodable += 1
                    continue
                self._lost.damaged += picture.is_corrupt
                index += 1
                shown_until = max(shown_until, (pts + (picture.duration or opened.step)) * time_base)
                packets, self._packets_of_sound = self._packets_of_sound, []
                if not self._put((frame, packets)):
                    break
                del picture, frame  # or they would live until the next one comes
            frames = declared_frames(opened.container, opened.stream)
            if not opened.is_live and self._end.has_ended and (frames is None or self._count < frames):
                at_least = 2 * opened.step * opened.time_base
                self._end.missing = early_end(opened.container, opened.stream, shown_until, at_least=at_least)
        return self._end

    def _placed(self, opened: StreamInput) -> Iterator[tuple[av.VideoFrame, int, float]]:
        """Yield whole pictures as they are shown, each with its time in ticks and when it could have been here."""
        pts, first_at, step = None, None, opened.step
        timed = with_times(self._pictures(opened), opened.container, opened.stream, step)
        for picture, captured_at in deinterlaced(timed, codec=opened.stream.codec_context.codec.canonical_name):
            if opened.is_timeless:
                first_at = captured_at if first_at is None else first_at
                picture.pts = round((captured_at - first_at) / opened.time_base)
            pts = picture.pts if picture.pts is not None else 0 if pts is None else pts + step
            yield picture, pts, captured_at
            del picture  # or it would live until the next one comes

    def _pictures(self, opened: StreamInput) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield what is decoded, each with the time when it could have been here: one that had to wait is older."""
        stream, lateness, late, is_behind = opened.stream, Lateness(), 0.0, False
        asked = time.monotonic()
        for packet in self._packets(opened):
            is_left_out = False
            if opened.may_be_late and packet is not None and packet.dts is not None:
                late = lateness.of(float(packet.dts * stream.time_base), idle=time.monotonic() - asked)
                is_late = late > MAX_LATE_SECONDS
                is_behind = is_late if packet.is_keyframe else is_behind or is_late
                is_left_out = is_behind and not packet.is_keyframe
                self._lost.late += is_left_out
            pictures: list[av.VideoFrame] = []
            try:
                pictures = [] if is_left_out else stream.codec_context.decode(packet)
            except Exception:  # on bad bytes PyAV raises IndexError, EOFError, MemoryError and more, not only its own
                self._lost.undecodable += 1
            for picture in pictures:
                yield picture, time.monotonic() - late
            asked = time.monotonic()

    def _packets(self, opened: StreamInput) -> Iterator[av.Packet | None]:
        """Yield the packets of the video, the last one empty or None: it drains the decoder. Sound goes its own way."""
        container, stream, heard = opened.container, opened.stream, opened.heard
        errors, streams = 0, (stream,) if heard is None else (stream, heard)
        while not self._is_abandoned.is_set():
            try:
                for packet in container.demux(*streams):
                    self._lost.read_errors += errors
                    errors = 0
                    if packet.stream is stream:
                        self._count += packet.size > 0
                        yield packet
                    elif packet.size and len(self._packets_of_sound) < MOST_SOUND:
                        self._packets_of_sound.append(packet)
                    if self._is_abandoned.is_set():
                        return
                return
            except Exception as error:  # see _pictures; the next demux() goes on behind the damage
                errors += 1
                if errors == MAX_ERRORS or isinstance(error, (ConnectionError, TimeoutError, av.error.ExitError)):
                    # Where a web server named no length and hangs up, FFmpeg expects more, but that is the end.
                    is_unsized = self._address.kind == "network" and container.size <= 0
                    if not (is_unsized and is_input_output(error)):
                        self._end = disconnected(error)
                    yield None
                    return

    def _put(self, item: tuple[Frame, list[av.Packet]] | Disconnected) -> bool:
        """Hand an item over when there is room and return True; False if nobody wants it any more."""
        while not self._is_abandoned.is_set():
            with suppress(Full):
                self._frames.put(item, timeout=POLL_SECONDS)
                return True
        return False


@atexit.register
def _abandon_all() -> None:
    """Let no thread be inside FFmpeg when there is no Python any more."""
    connections = list(_connections)
    for connection in connections:
        connection.abandon()
    for connection in connections:
        connection.join(LEAVE_SECONDS)

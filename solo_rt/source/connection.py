"""One attempt to read a stream, on a thread of its own that can be left behind."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from queue import Empty, Full, Queue
from weakref import WeakSet

import av

from solo_rt.errors import SourceError
from solo_rt.source.address import Address
from solo_rt.source.avi import with_times
from solo_rt.source.demuxer import choose_streams
from solo_rt.source.disconnection import Disconnected, disconnected, is_input_output
from solo_rt.source.ffmpeg_clock import come_out_when
from solo_rt.source.interlace import deinterlaced
from solo_rt.source.lateness import Lateness
from solo_rt.source.losses import declared_frames, early_end, estimated_end
from solo_rt.source.planes import is_turned, to_frame
from solo_rt.source.sound import Sound, open_sound
from solo_rt.types import DEFAULT_FRAME_RATE, Frame

OPEN_SECONDS = 10.0  # for a server to answer and to say what it sends
MOST_WAITING = 4  # pictures that are decoded and not taken
MAX_ERRORS = 20  # in a row, of reading: the connection is dead
MOST_SOUND = 1000  # packets of sound before a picture; more belong to none
MAX_LATE_SECONDS = 5.0  # behind the clock, from which on decoding is left out until the next key frame
POLL_SECONDS = 0.1
CLOCK = Fraction(1, 90000)  # seconds of a tick where a stream has no times
LEAVE_SECONDS = 1.0  # for a thread that was abandoned, which takes a tenth of one unless it looks up a name

log = logging.getLogger(__name__)

# What a stream is must be known soon (bytes, microseconds), and what it took to know it is shown as well: without the
# key frame in it there would be no picture until the next one.
_LIVE = {"fflags": "genpts", "fpsprobesize": "6", "probesize": "1000000", "analyzeduration": "2000000"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stream says of itself."""

    is_live: bool
    is_playlist: bool  # live, and each of its files comes at once
    frame_rate: Fraction | None
    time_base: Fraction
    pixel_aspect: Fraction
    end: Fraction | None  # seconds
    sound: Sound | None


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
        self._address, self._max_pixels, self._threads = address, max_pixels, threads
        self._wants_sound, self._read_seconds = sound, read_seconds
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

    def _open(self) -> av.container.InputContainer:
        address, live = self._address, _LIVE if self._address.is_live else {"fflags": "genpts"}
        try:
            return av.open(
                address.url,
                format=address.format,
                metadata_errors="replace",
                options={"max_pixels": str(self._max_pixels)},  # probing decodes, too
                container_options={**live, **address.options},
                timeout=(OPEN_SECONDS, self._read_seconds) if self._read_seconds else None,
            )
        except OSError as error:
            if not is_input_output(error):
                raise
            raise Disconnected("no such host, or another server than expected") from None

    def _read(self) -> Disconnected:
        address = self._address
        with self._open() as container:
            try:
                stream, heard = choose_streams(address.uri, container, sound=self._wants_sound)
            except SourceError as error:
                raise Disconnected(str(error), is_final=True) from None
            # A length is what tells a film on a web server from a camera.
            is_live = address.is_live or (address.kind == "network" and not _has_length(container, stream))
            rate = stream.average_rate or stream.guessed_rate or None
            codec = stream.codec_context
            codec.options = {"max_pixels": str(self._max_pixels)}
            codec.thread_count = self._threads
            codec.thread_type = "SLICE" if is_live else "AUTO"  # frames side by side would come that many frames later
            if is_live:
                codec.flags |= av.codec.context.Flags.low_delay
            pts, index, step = None, 0, max(1, round(1 / ((rate or DEFAULT_FRAME_RATE) * stream.time_base)))
            time_base, first_at, shown_until = stream.time_base, None, Fraction(0)
            is_timeless = is_live and _has_no_times(container)
            if is_timeless:
                rate, time_base = None, CLOCK
            is_playlist = is_live and container.format.name == "hls"  # what is not read yet waits on its server
            may_be_late = is_live and not is_timeless and not is_playlist
            pictures = self._pictures(container, stream, heard, may_be_late=may_be_late)
            timed = with_times(pictures, container, stream, step)
            for picture, captured_at in deinterlaced(timed, codec=codec.codec.canonical_name):
                if is_timeless:
                    first_at = captured_at if first_at is None else first_at
                    picture.pts = round((captured_at - first_at) / time_base)
                pts = picture.pts if picture.pts is not None else 0 if pts is None else pts + step
                if self.facts is None:
                    aspect = stream.sample_aspect_ratio or Fraction(1)
                    aspect = 1 / aspect if is_turned(picture) else aspect
                    end, sound = estimated_end(container, stream), open_sound(address.uri, heard)
                    self.facts = Facts(is_live, is_playlist, rate, time_base, aspect, end, sound)
                try:
                    frame = to_frame(picture, index=index, pts=pts, time_base=time_base, captured_at=captured_at)
                except Exception:  # a damaged header may claim a layout that swscale does not know
                    self._lost.undecodable += 1
                    continue
                self._lost.damaged += picture.is_corrupt
                index += 1
                shown_until = max(shown_until, (pts + (picture.duration or step)) * time_base)
                packets, self._packets_of_sound = self._packets_of_sound, []
                if not self._put((frame, packets)):
                    break
                del picture, frame  # or they would live until the next one comes
            frames = declared_frames(container, stream)
            if not is_live and self._end.has_ended and (frames is None or self._count < frames):
                self._end.missing = early_end(container, stream, shown_until, at_least=2 * step * time_base)
        return self._end

    def _pictures(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        heard: av.AudioStream | None,
        *,
        may_be_late: bool,
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield the pictures, each with the time when it could have been here: one that had to wait is older."""
        lateness, late, is_behind = Lateness(), 0.0, False
        asked = time.monotonic()
        for packet in self._packets(container, stream, heard):
            is_left_out = False
            if may_be_late and packet is not None and packet.dts is not None:
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

    def _packets(
        self, container: av.container.InputContainer, stream: av.VideoStream, heard: av.AudioStream | None
    ) -> Iterator[av.Packet | None]:
        """Yield the packets of the video, the last one empty or None: it drains the decoder. Sound goes its own way."""
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


def _has_length(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Return whether it is known where something on a web server ends."""
    name, duration = container.format.name, container.duration
    if name == "hls" or container.size > 0 or duration is None:
        return duration is not None
    # FLV says 0. Of MP4 in fragments, whose header counts no frames, FFmpeg has added up those that it has seen.
    return duration > 0 and not (name.startswith("mov") and stream.frames == 0)


def _has_no_times(container: av.container.InputContainer) -> bool:
    """Return whether a stream is bare pictures, which FFmpeg counts at 25 per second, however many there are."""
    kind = container.format
    return bool(kind.flags & av.format.Flags.no_timestamps.value) or kind.name.endswith("pipe")

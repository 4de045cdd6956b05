"""The sound beside the frames of a video: its packets as they are, on their way from the source to the outputs."""

from __future__ import annotations

import io
import logging
import threading
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av

MOST_BYTES = 16 << 20  # that wait for one output: minutes of it as it is usually packed, half a minute of surround PCM
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # of ADTS, in order
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SoundPacket:
    """A piece of sound, encoded."""

    data: bytes
    before: int  # index of the first frame that the source gave after it
    time: Fraction  # when it is to be heard, in seconds on the time line of the frames
    duration: Fraction  # in seconds, 0 where the source does not say
    is_key: bool


class Sound:
    """One stream of sound: the source adds packets, and every output takes them by a cursor of its own.

    What comes before the first frame waits for cursors; they are all there before the source is asked for a second
    frame. Its lock guards the packets that wait.
    """

    def __init__(self, stream: av.AudioStream) -> None:
        """Take the parameters of a source's stream, which may go away then. Raises: ValueError for a codec unknown."""
        # A stream is gone with its container: this one, which is never begun, knows every codec that our outputs do.
        self._template = av.open(io.BytesIO(), "w", format="matroska").add_stream_from_template(stream)
        self.codec: str = stream.codec_context.codec.canonical_name
        self.time_base: Fraction = stream.time_base
        # What decoders swallow at first lies before its time. FFmpeg's name for it in a decoder is delay.
        self.padding = Fraction(stream.codec_context.delay, stream.codec_context.sample_rate or 1)
        self._is_bare = self.codec == "aac" and not stream.codec_context.extradata
        self._config: bytes | None = None  # what the headers of bare packets say
        self._next: Fraction | None = None  # time for a packet without one
        self._lock = threading.Lock()
        self._first = SoundCursor(self._lock)
        self._cursors: list[SoundCursor] = []

    def add(self, packet: av.Packet, *, before: int, shift: Fraction = Fraction(0)) -> None:
        """Give a packet to all outputs. It is moved by `shift` seconds onto the time line of the frames.

        `before` is the index of the next frame of the source. A packet that is damaged or has no time is left out.
        """
        stamp = packet.dts if packet.pts is None else packet.pts
        time = self._next if stamp is None else stamp * packet.time_base + shift
        data = bytes(packet)
        if self._is_bare:
            data = self._unwrap(data)
        if time is None or packet.is_corrupt or not data:
            return
        duration = (packet.duration or 0) * packet.time_base
        self._next = time + duration
        piece = SoundPacket(data, before, time, duration, packet.is_keyframe)
        with self._lock:
            for cursor in [*[self._first] * (before == 0), *self._cursors]:
                cursor.append(piece)

    def cursor(self) -> SoundCursor:
        """Return what gives one output all packets from the first one on."""
        with self._lock:
            cursor = SoundCursor(self._lock, self._first)
            self._cursors.append(cursor)
        return cursor

    def add_stream(self, container: av.container.OutputContainer) -> av.AudioStream:
        """Add the stream to a container that is not begun. Raises: ValueError where it cannot hold the codec."""
        stream: av.AudioStream = container.add_stream_from_template(self._template)
        if self._is_bare:
            context = self._template.codec_context
            if self._config is None and context.sample_rate in _RATES:  # nothing has come; most of what is bare is this
                self._config = _aac_config(2, _RATES.index(context.sample_rate), context.layout.nb_channels)
            stream.codec_context.extradata = self._config
        return stream

    def _unwrap(self, data: bytes) -> bytes:
        """Return a packet of AAC without its ADTS header, which tells what containers tell once; nothing if damaged.

        Source: ISO/IEC 14496-3, 1.A.2.2 and 1.6.2.1.
        """
        if len(data) < 9 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
            return b""
        self._config = _aac_config((data[2] >> 6) + 1, data[2] >> 2 & 15, (data[2] & 1) << 2 | data[3] >> 6)
        return data[7 if data[1] & 1 else 9 :]


def open_sound(uri: str, stream: av.AudioStream | None) -> Sound | None:
    """Return the sound of a source's stream; None, with a warning, where no container of ours knows its codec."""
    if stream is None:
        return None
    try:
        return Sound(stream)
    except ValueError as error:
        log.warning("source %s: its sound is left out: %s", uri, error)
        return None


class SoundCursor:
    """The packets that one output has not taken yet; the oldest go when they are too many."""

    def __init__(self, lock: threading.Lock, begin: SoundCursor | None = None) -> None:
        """Begin with what another one holds."""
        self.lost = 0  # packets that were too many
        self._lock = lock
        self._pieces: deque[SoundPacket] = deque([] if begin is None else begin._pieces)
        self._bytes: int = 0 if begin is None else begin._bytes
        self._is_closed = False

    def append(self, piece: SoundPacket) -> None:
        """Add a packet. The caller holds the lock."""
        if self._is_closed:
            return
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._pieces.popleft().data)
            self.lost += 1

    def take(self, until: int | None = None) -> list[SoundPacket]:
        """Return the packets that come before frame number `until`, by default all, and forget them."""
        taken = []
        with self._lock:
            while self._pieces and (until is None or self._pieces[0].before <= until):
                taken.append(self._pieces.popleft())
                self._bytes -= len(taken[-1].data)
        return taken

    def close(self) -> None:
        """Take no more. May be called again."""
        with self._lock:
            self._is_closed = True
            self._pieces.clear()


def _aac_config(kind: int, rate: int, channels: int) -> bytes:
    """Return an AudioSpecificConfig: 5 bits of object type, 4 of the sampling rate's index, 4 of channels."""
    return (kind << 11 | rate << 7 | channels << 3).to_bytes(2, "big")

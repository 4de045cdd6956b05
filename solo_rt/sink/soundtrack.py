"""The sound of a source, copied into a video beside the frames that are shown."""

from __future__ import annotations

import io
import logging
from fractions import Fraction

import av

from solo_rt.source.sound import MOST_BYTES, Sound, SoundPacket
from solo_rt.types import Frame
from solo_rt.uri import redact

# AVI has no time stamps for sound, only packets one after another. These are read back as they were.
IN_AVI = ("mp2", "mp3", "ac3", "pcm_s16le", "pcm_u8", "pcm_s24le")

log = logging.getLogger(__name__)


class Soundtrack:
    """Packets of sound on their way into an output, in step with its frames. Used by one thread.

    A packet goes where the frames around it go, however the output's clock moves them, and behind the one before it;
    one that would go back is left out. So is what lies after the last frame, and before time 0 except in MP4 and MOV,
    for other containers know no such time.
    """

    def __init__(self, uri: str, sound: Sound) -> None:
        self._uri, self._sound = uri, sound
        self._cursor = sound.cursor()
        self._stream: av.AudioStream | None = None  # of the container that is being written
        self._base = Fraction(0)  # time 0 of that container, in seconds of the output
        self._due: list[tuple[Fraction, SoundPacket]] = []  # with its time in the output; not yet written
        self._last_frame: tuple[Fraction, Fraction] | None = None  # its time in the source, and how far it was moved
        self._last_tick: int | None = None
        self._earliest: Fraction | None = None  # in seconds of the container
        self._left_out = 0
        self._has_said = False

    def follow(self, frame: Frame, shift: Fraction) -> None:
        """Take the packets that come before a frame, which the output's clock has moved by `shift` seconds."""
        now = frame.pts * frame.time_base
        before, old = self._last_frame or (now, shift)
        for piece in self._cursor.take(frame.index):
            moved = old if abs(piece.time - before) < abs(piece.time - now) else shift  # as the frame that is nearer
            self._due.append((piece.time + moved, piece))
        self._last_frame = now, shift
        waiting = sum(len(piece.data) for _, piece in self._due)
        while waiting > MOST_BYTES:  # of a file whose sound is far ahead of its pictures
            waiting -= len(self._due.pop(0)[1].data)
            self._left_out += 1

    def follow_to_the_end(self) -> None:
        """Take the packets that come after the last frame."""
        if self._last_frame is not None:
            self._due += [(piece.time + self._last_frame[1], piece) for piece in self._cursor.take()]

    def has_packets(self, until: Fraction) -> bool:
        """Return whether there is something to write that is heard before a time in the output, in seconds."""
        return any(time < until for time, _ in self._due)

    def open(self, container: av.container.OutputContainer, base: Fraction) -> None:
        """Add the stream to a container that is not begun and whose time 0 is `base`, in seconds of the output.

        Where it cannot hold the sound, that is said once.
        """
        kind = container.format.name
        try:
            if kind == "avi" and self._sound.codec not in IN_AVI:
                raise ValueError
            self._try(kind)
            self._stream = self._sound.add_stream(container)
        except (av.FFmpegError, ValueError):
            self.give_up(f"{kind} cannot hold {self._sound.codec}")
        self._base, self._last_tick = base, None
        # Matroska knows how much of the first packets decoders swallow.
        self._earliest = None if kind in ("mp4", "mov") else -self._sound.padding if kind == "matroska" else Fraction(0)

    def give_up(self, why: str) -> None:
        """Leave the sound out of the container that is being written, and say so once."""
        self._stream = None
        if not self._has_said:
            log.warning("output %s: no sound, for %s", redact(self._uri), why)
        self._has_said = True

    def write(self, until: Fraction) -> None:
        """Write the packets that are heard before a time in the output, in seconds. Raises: what the muxer raises."""
        due = [(time - self._base, piece) for time, piece in self._due if time < until]
        self._due = [(time, piece) for time, piece in self._due if time >= until]
        if self._stream is None:
            return
        for time, piece in due:
            if self._earliest is not None and time < self._earliest:
                if time + piece.duration / 2 <= self._earliest:
                    continue
                time = self._earliest  # most of it is heard
            tick = round(time / self._sound.time_base)
            if self._last_tick is not None and tick <= self._last_tick:
                self._left_out += 1
                continue
            self._stream.container.mux(self._packet(piece, tick, self._stream))
            self._last_tick = tick

    def close(self) -> None:
        """Take no more, and say what is missing. May be called again."""
        missing = self._left_out + self._cursor.lost
        if missing and not self._has_said:
            log.warning("output %s: %d packets of its sound are missing", redact(self._uri), missing)
        self._has_said = True
        self._stream = None
        self._cursor.close()

    def _try(self, kind: str) -> None:
        """Write the first packets to nowhere: some containers know a codec and refuse what it comes as."""
        with av.open(io.BytesIO(), "w", format=kind) as container:
            stream = self._sound.add_stream(container)
            container.start_encoding()
            for tick, (_, piece) in enumerate(self._due[:2]):
                container.mux(self._packet(piece, tick, stream))

    def _packet(self, piece: SoundPacket, tick: int, stream: av.AudioStream) -> av.Packet:
        packet = av.Packet(piece.data)
        packet.stream, packet.time_base = stream, self._sound.time_base
        packet.pts = packet.dts = tick
        packet.duration = round(piece.duration / self._sound.time_base)
        packet.is_keyframe = piece.is_key
        return packet

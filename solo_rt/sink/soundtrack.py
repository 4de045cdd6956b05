"""The sound of a source, copied into a video beside the frames that are shown."""

from __future__ import annotations

import io
import logging
import math
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

    A packet goes where the frames around it go, however the output's clock moves them. What lies after the last frame
    is left out.
    """

    def __init__(self, uri: str, sound: Sound) -> None:
        self.sound = sound
        self.left_out = 0  # packets
        self._uri = uri
        self._cursor = sound.cursor()
        self._due: list[tuple[Fraction, SoundPacket]] = []  # with its time in the output; not yet written
        self._latest: Fraction | None = None  # of all that have come, in the output
        self._last_frame: tuple[Fraction, Fraction] | None = None  # its time in the source, and how far it was moved
        self._has_said = False

    def follow(self, frame: Frame, shift: Fraction) -> None:
        """Take the packets that come before a frame, which the output's clock has moved by `shift` seconds."""
        now = frame.pts * frame.time_base
        before, old = self._last_frame or (now, shift)
        for piece in self._cursor.take(frame.index):
            moved = old if abs(piece.time - before) < abs(piece.time - now) else shift  # as the frame that is nearer
            self._add(piece, moved)
        self._last_frame = now, shift
        waiting = sum(len(piece.data) for _, piece in self._due)
        while waiting > MOST_BYTES:  # of a file whose sound is far ahead of its pictures
            waiting -= len(self._due.pop(0)[1].data)
            self.left_out += 1

    def follow_to_the_end(self) -> None:
        """Take the packets that come after the last frame."""
        if self._last_frame is not None:
            for piece in self._cursor.take():
                self._add(piece, self._last_frame[1])

    def has_come(self, time: Fraction) -> bool:
        """Return whether a packet has come that is heard at a time in the output or later, in seconds."""
        return self._latest is not None and self._latest >= time

    def has_packets(self, since: Fraction | None, until: Fraction) -> bool:
        """Return whether there is something to write that is heard between two times in the output."""
        return any((since is None or since <= time) and time < until for time, _ in self._due)

    def peek(self) -> list[SoundPacket]:
        """Return the next packet, if there is one."""
        return [piece for _, piece in self._due[:1]]

    def take(self, since: Fraction | None, until: Fraction) -> list[tuple[Fraction, SoundPacket]]:
        """Return the packets that are heard between two times in the output, with these times, and forget them."""
        due, self._due = self._due, []
        taken: list[tuple[Fraction, SoundPacket]] = []
        for time, piece in due:
            (taken if (since is None or since <= time) and time < until else self._due).append((time, piece))
        return taken

    def drop(self, before: Fraction) -> None:
        """Leave out what has come too late to be heard before a time in the output."""
        self.left_out += len(self.take(None, before))

    def give_up(self, why: str) -> None:
        """Say once that the sound is left out, for a reason."""
        if not self._has_said:
            log.warning("output %s: no sound, for %s", redact(self._uri), why)
        self._has_said = True

    def close(self) -> None:
        """Take no more, and say what is missing. May be called again."""
        missing = self.left_out + self._cursor.lost
        if missing and not self._has_said:
            log.warning("output %s: %d packets of its sound are missing", redact(self._uri), missing)
        self._has_said = True
        self._cursor.close()

    def _add(self, piece: SoundPacket, shift: Fraction) -> None:
        time = piece.time + shift
        self._due.append((time, piece))
        self._latest = time if self._latest is None else max(time, self._latest)


class SoundStream:
    """The stream of sound in one container: a packet whose time would go back is left out.

    So is what lies before time 0, except in MP4 and MOV, for other containers know no such time.
    """

    def __init__(self, soundtrack: Soundtrack, container: av.container.OutputContainer, base: Fraction) -> None:
        """Add the stream to a container that is not begun and whose time 0 is `base`, in seconds of the output.

        Raises: ValueError where it cannot hold the sound.
        """
        self._soundtrack, self._sound, self._base = soundtrack, soundtrack.sound, base
        self._last_tick: int | None = None
        kind = container.format.name
        try:
            if kind == "avi" and self._sound.codec not in IN_AVI:
                raise ValueError
            self._try(kind)
            self._stream = self._sound.add_stream(container)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{kind} cannot hold {self._sound.codec}") from error
        # Matroska knows how much of the first packets decoders swallow.
        self._earliest = None if kind in ("mp4", "mov") else -self._sound.padding if kind == "matroska" else Fraction(0)

    def _try(self, kind: str) -> None:
        """Write a packet to nowhere: some containers know a codec, and refuse what it comes as."""
        with av.open(io.BytesIO(), "w", format=kind) as container:
            stream = self._sound.add_stream(container)
            container.start_encoding()
            for piece in self._soundtrack.peek():
                container.mux(self._packet(piece, 0, stream))

    def write(self, since: Fraction | None, until: Fraction) -> None:
        """Write the packets that are heard between two times in the output. Raises: what the muxer raises."""
        for time, piece in self._soundtrack.take(since, until):
            self._write(time - self._base, piece)

    def _write(self, time: Fraction, piece: SoundPacket) -> None:
        if self._earliest is not None and time < self._earliest:
            if time + piece.duration / 2 <= self._earliest:
                return
            time = self._earliest  # most of it is heard
        # Not `round`, which makes one of two ticks where packets begin at halves of them.
        tick = math.floor(time / self._sound.time_base + Fraction(1, 2))
        if self._last_tick is not None and tick <= self._last_tick:
            self._soundtrack.left_out += 1
            return
        self._last_tick = tick
        self._stream.container.mux(self._packet(piece, tick, self._stream))

    def _packet(self, piece: SoundPacket, tick: int, stream: av.AudioStream) -> av.Packet:
        packet = av.Packet(piece.data)
        packet.stream, packet.time_base = stream, self._sound.time_base
        packet.pts = packet.dts = tick
        packet.duration = round(piece.duration / self._sound.time_base)
        packet.is_keyframe = piece.is_key
        return packet

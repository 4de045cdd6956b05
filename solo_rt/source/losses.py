"""What did not arrive of a video: counted packet by packet and picture by picture, said in one sentence."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections import deque
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.source.structure import Structure

_DECLARED = ("mov", "matroska", "flv", "asf")  # demuxers that read durations; the others guess them
_LONGEST_GAP = 60  # seconds; a longer one is a clock that was set, as it is for the output's time stamps
_NEAR = 1  # second, by which the order of packets and that of pictures differ at most
_REPEAT = 19  # bytes; a packet of MPEG-4 this small says that the picture stays. Source: FFmpeg's MAX_NVOP_SIZE


class Losses:
    """Counts what is lost of one stream. Variable frame rates, edit lists and joined files lose nothing.

    - Packets without a picture, where pictures are missing in time: the second field of a picture has none either.
    - Gaps in the time stamps, where the file is torn: elsewhere nothing was there.
    - What the file declares and does not hold: its length, the entries of its index, the end of its last piece.
    """

    def __init__(
        self,
        path: Path,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        step: int,
        *,
        is_part: bool = False,
    ) -> None:
        """Begin to count; a picture lasts `step` units of the stream's time base where nothing else is known.

        Of a part it does not matter how many frames the whole has.
        """
        self._is_part = is_part
        self.undecodable = self.read_errors = self.damaged_frames = 0
        self.end: Fraction | None = None  # of the last picture, in seconds
        self._container, self._stream = container, stream
        self._format = _short_name(container)
        self._structure = Structure(path, self._format)
        self._time_base = stream.time_base
        self._near = round(_NEAR / self._time_base)
        self._packets = 0
        self._last_packet: tuple[int, int] | None = None  # where it stands in the file, and its time
        self._last_picture: int | None = None
        self._waiting: list[int] = []  # times of packets whose picture has not come, sorted
        self._tears: deque[tuple[int, int]] = deque(maxlen=16)  # times before and after each
        self._steps = deque([step], maxlen=8)  # between the last pictures
        self._gaps = self._missing = 0
        self._ending = ""
        self._is_finished = False

    def close(self) -> None:
        """Release the file. May be called again."""
        self._structure.close()

    def count_packet(self, packet: av.Packet) -> None:
        """Take note of a packet before it goes to the decoder."""
        if not packet.size:
            return
        # In AVI an empty chunk repeats a picture: it is no packet, but it is declared and takes its time.
        self._packets = max(self._packets, packet.dts or 0) + 1 if self._format == "avi" else self._packets + 1
        if packet.pts is None or packet.is_discard:
            return
        if packet.pos is not None:
            if self._last_packet is not None and self._structure.is_torn(self._last_packet[0], packet.pos):
                self._tears.append((self._last_packet[1], packet.pts))
            self._last_packet = packet.pos, packet.pts
        if not _shows_nothing(self._stream.codec_context.name, packet):
            insort(self._waiting, packet.pts)

    def count_picture(self, pts: int, duration: int) -> None:
        """Take note of a picture in the order of presentation."""
        last, usual = self._last_picture, min(self._steps)
        at = bisect_left(self._waiting, pts)
        if at < len(self._waiting) and self._waiting[at] == pts:
            del self._waiting[at]
        if last is not None and 0 < last - pts <= self._near:  # late: what a decoder does around a gap
            self._missing = max(0, self._missing - usual)
        else:
            if last is not None and pts > last:
                self._count_step(last, pts, usual)
            self._last_picture = pts
        end = (pts + (duration or usual)) * self._time_base
        self.end = end if self.end is None else max(self.end, end)

    def _count_step(self, last: int, pts: int, usual: int) -> None:
        step = pts - last
        if 2 * step <= 3 * usual:
            del self._waiting[bisect_right(self._waiting, last) : bisect_left(self._waiting, pts)]
        elif step * self._time_base <= _LONGEST_GAP and self._is_torn(last, pts):
            self._gaps += 1
            self._missing += step - usual
        self._steps.append(step)

    def finish(self) -> None:
        """Compare what was read with what the file declares. No picture comes after it."""
        self._is_finished = True
        self._ending = self._measure_ending()

    def described(self) -> list[str]:
        """Return all losses so far in words; nothing when there are none."""
        counts = (
            (self.undecodable, "undecodable packet", ""),
            (max(0, self._count_pictureless() - self.undecodable), "packet", " without a picture"),
            (self.damaged_frames, "damaged frame", ""),
            (self.read_errors, "read error", ""),
            (self._gaps, "gap", f" of {float(self._missing * self._time_base):.2f} s in all"),
        )
        losses = [f"{count} {noun}{'' if count == 1 else 's'}{more}" for count, noun, more in counts if count]
        return losses + [self._ending] * bool(self._ending)

    def _is_torn(self, start: int, stop: int) -> bool:
        return any(before <= stop + self._near and after >= start - self._near for before, after in self._tears)

    def _count_pictureless(self) -> int:
        """Return the number of packets whose picture should have come by now, but did not."""
        if self._last_picture is None:
            return len(self._waiting)
        overdue = bisect_left(self._waiting, self._last_picture)
        if not self._is_finished:
            return overdue
        return overdue + len(self._waiting) - bisect_left(self._waiting, self._last_picture + min(self._steps))

    def _measure_ending(self) -> str:
        """Return how much of what the file declares is missing; nothing when it is all there."""
        frames, step = self._declared_frames(), min(self._steps) * self._time_base
        missing = None if frames is None else max(0, frames - self._packets)
        if self.end is not None and missing != 0:
            early = early_end(self._container, self._stream, self.end, at_least=(2 - bool(missing)) * step)
            if early:
                return early
        if missing:
            return f"{missing} of {frames} frames are missing"
        is_cut_off = self._last_packet is not None and self._structure.is_cut_off(self._last_packet[0])
        return "it is cut off" if is_cut_off else ""

    def _declared_frames(self) -> int | None:
        if self._is_part:
            return None
        if self._format == "apng":
            return self._structure.declared_frames()
        return declared_frames(self._container, self._stream)


def declared_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    """Return how many packets of the video there are by what MP4 and AVI say, None for others."""
    name, frames = _short_name(container), int(stream.frames)
    if name == "mov" and frames:
        return len(stream.index_entries)  # without what edit lists leave out
    return frames if name == "avi" else None


def early_end(
    container: av.container.InputContainer, stream: av.VideoStream, end: Fraction, *, at_least: Fraction
) -> str:
    """Return in words that the video ends early, if it declares at least so many seconds behind `end`; else nothing."""
    declared = _declared_end(container, stream)
    if declared is None or declared - end < at_least:
        return ""
    return f"it ends at {float(end):.2f} s of {float(declared):.2f} s, the rest is missing"


def _declared_end(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    name = _short_name(container)
    if name == "avi":
        return stream.frames * stream.time_base or None
    # Into a pipe FFmpeg writes the length that its input had, whatever it makes of it.
    is_hearsay = name == "matroska" and container.size <= 0 and "DURATION" not in stream.metadata
    return estimated_end(container, stream) if name in _DECLARED and not is_hearsay else None


def _short_name(container: av.container.InputContainer) -> str:
    """Return FFmpeg's name of the format, the first one where it has several."""
    name: str = container.format.name
    return name.partition(",")[0]


def estimated_end(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    """Return the time in seconds at which the video ends by what the file says or FFmpeg guesses, if they do."""
    if stream.duration:
        end: Fraction = ((stream.start_time or 0) + stream.duration) * stream.time_base
        return end
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))  # Matroska, from zero
    if tag:
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3])
    if container.duration and len(container.streams) == 1:  # with more streams it is the longest one's
        return Fraction(container.duration, av.time_base)
    return None


def _shows_nothing(codec: str, packet: av.Packet) -> bool:
    """Return whether the packet is meant to give no picture."""
    if codec == "vp8":
        return not memoryview(packet)[0] & 0x10
    return codec == "mpeg4" and packet.size <= _REPEAT

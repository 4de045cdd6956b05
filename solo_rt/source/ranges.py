"""A video file cut into ranges of time that begin with key frames, which can be read apart from each other."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av

from solo_rt.source.base import MAX_PIXELS
from solo_rt.source.demuxer import choose_streams, open_file
from solo_rt.source.losses import estimated_end

# Of these the muxer says which packets begin anew, and FFmpeg finds them by an index.
_FORMATS = ("mov", "matroska")
_MOST_SEARCHED = 1000  # packets behind a place that was sought
RUN_UP = Fraction(1)  # seconds before a range from which on it is decoded, which makes interlaced pictures whole, too


@dataclass(frozen=True, slots=True)
class Range:
    """From one time stamp up to another, in the time base of the video; None is where it begins or ends."""

    start: int | None = None
    stop: int | None = None


WHOLE = Range()


def cut(uri: str, seconds: float) -> list[Range]:
    """Return the ranges of a video, about so long each: one where it is no longer, or cannot be cut, or read.

    Nothing is decoded, and of the file little is read.
    """
    try:
        container, is_index_ignored = open_file(uri, MAX_PIXELS)
        with container:
            stream, _ = choose_streams(uri, container, sound=False)
            if is_index_ignored or container.format.name.partition(",")[0] not in _FORMATS:
                return [WHOLE]
            borders = _borders(container, stream, seconds)
    except Exception:  # whoever decodes it says what is wrong; PyAV raises all kinds
        return [WHOLE]
    return [Range(start, stop) for start, stop in zip([None, *borders], [*borders, None], strict=True)]


def _borders(container: av.container.InputContainer, stream: av.VideoStream, seconds: float) -> list[int]:
    """Return the time stamps of the key frames between ranges."""
    end, begin = estimated_end(container, stream), (stream.start_time or 0) * stream.time_base
    count = 1 if end is None else round((end - begin) / Fraction(seconds))
    borders: list[int] = []
    for number in range(1, count):
        container.seek(round((begin + number * (end - begin) / count) / stream.time_base), stream=stream)
        border = _next_key(container, stream)
        if border is not None and border > max(borders, default=stream.start_time or 0):
            borders.append(border)
    return borders


def _next_key(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    for number, packet in enumerate(container.demux(stream)):
        if packet.is_keyframe and not packet.is_discard and packet.pts is not None:
            pts: int = packet.pts
            return pts
        if number == _MOST_SEARCHED:
            break
    return None

"""Frames of a video file, as many as can be had: damage is stepped over, counted and reported."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType

import av

from solo_rt.errors import SourceError
from solo_rt.source.base import SourceInfo
from solo_rt.source.planes import to_frame
from solo_rt.types import Frame

# Demuxers that read what is inside the file and nothing else. Formats that name other files (playlists, concat
# scripts, image sequences, SDP) are left out on purpose: a downloaded "holiday.mp4" must not open what it likes.
DEMUXERS = (
    "3dostr,amv,apng,asf,av1,avi,bink,cavsvideo,dhav,dirac,dv,flic,flv,gif,gxf,h261,h263,h264,hevc,ivf,live_flv,lxf,"
    "m4v,matroska,mjpeg,mjpeg_2000,mov,mpeg,mpegts,mpegvideo,mpjpeg,mxf,nsv,nut,nuv,obu,ogg,rm,roq,smjpeg,smk,swf,"
    "ty,vc1,vvc,wtv,yuv4mpegpipe"
)
MAX_READ_ERRORS = 100  # in a row without a packet: the file is unreadable from here on
DEFAULT_FRAME_RATE = Fraction(25)  # FFmpeg's, for files that name neither a rate nor time stamps


class VideoSource:
    """A local video file, decoded packet by packet. `__iter__`, `damage`, `close`: see `Source`."""

    def __init__(self, uri: str, *, max_pixels: int, threads: int) -> None:
        self._uri = uri
        self._skipped_packets = self._read_errors = self._damaged_frames = 0
        self._end: Fraction | None = None  # of the last frame, in seconds
        self._cut = ""
        self._frames: Iterator[Frame] = iter(())
        self._container, self._index_ignored = _open(uri, max_pixels)
        try:
            self._stream = _choose_stream(uri, self._container)
            self._stream.thread_type = "AUTO"
            self._stream.thread_count = threads
            self._stream.codec_context.options = {"max_pixels": str(max_pixels)}
            self._frame_rate = self._stream.average_rate or self._stream.guessed_rate or None
            self._reading = self._read()
            first = next(self._reading, None)
            if first is None:
                errors = self._skipped_packets + self._read_errors
                raise SourceError(
                    f"source {uri}: expected {self._stream.codec_context.name} video, but not one frame could be "
                    f"decoded ({errors} errors); it is damaged, or holds more than max_pixels = {max_pixels} pixels "
                    f"per frame"
                )
            self._frames = chain((first,), self._reading)
            self.info = self._describe(first)
        except BaseException:
            self.close()
            raise

    @property
    def damage(self) -> str | None:
        counts = (
            (self._skipped_packets, "undecodable packet"),
            (self._damaged_frames, "damaged frame"),
            (self._read_errors, "read error"),
        )
        losses = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count]
        losses += ["its index is damaged"] * self._index_ignored + [self._cut] * bool(self._cut)
        return f"{self._uri}: {', '.join(losses)}" if losses else None

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        self._frames = iter(())
        if hasattr(self, "_reading"):
            self._reading.close()
        self._container.close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> Generator[Frame, None, None]:
        time_base = self._stream.time_base
        step = max(1, round(1 / ((self._frame_rate or DEFAULT_FRAME_RATE) * time_base)))
        pts, index = -step, 0
        for picture in self._decode():
            captured_at = time.monotonic()
            pts = pts + step if picture.pts is None else picture.pts
            self._end = (pts + (picture.duration or step)) * time_base
            try:
                frame = to_frame(picture, index=index, pts=pts, time_base=time_base, captured_at=captured_at)
            except Exception:  # a damaged header may claim a layout that swscale does not know
                self._skipped_packets += 1
                continue
            self._damaged_frames += picture.is_corrupt
            yield frame
            index += 1
        self._cut = self._measure_cut(step * time_base)

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                pictures = self._stream.decode(packet)
            except Exception:  # on bad bytes PyAV raises IndexError, EOFError, MemoryError and more, not only its own
                self._skipped_packets += 1
            else:
                yield from pictures

    def _packets(self) -> Iterator[av.Packet | None]:
        """Yield the packets of the stream, the last one empty or None: it drains the decoder."""
        errors_in_a_row = 0
        while errors_in_a_row < MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    errors_in_a_row = 0
                    yield packet
                return
            except Exception:  # see _decode; the next demux() goes on behind the damage
                errors_in_a_row += 1
                self._read_errors += 1
        yield None

    def _measure_cut(self, step: Fraction) -> str:
        """Return how much of the length that the file declares is missing at its end; nothing when it is all there."""
        declared = self._declared_end()
        if declared is None or self._end is None or declared - self._end < 2 * step:  # a rounded duration is no loss
            return ""
        return f"it ends at {float(self._end):.2f} s of {float(declared):.2f} s, the rest is missing"

    def _declared_end(self) -> Fraction | None:
        """Return the time in seconds at which the video ends by what the file says about it, if it does."""
        stream, container = self._stream, self._container
        if stream.duration:
            end: Fraction = ((stream.start_time or 0) + stream.duration) * stream.time_base
            return end
        tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))  # Matroska, from zero
        if tag:
            return 3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3])
        if container.duration and len(container.streams) == 1:  # with more streams it is the longest one's
            return Fraction(container.duration, av.time_base)
        return None

    def _describe(self, first: Frame) -> SourceInfo:
        stream = self._stream
        count = stream.frames or None
        end = self._declared_end()
        if count is None and end is not None and self._frame_rate:
            count = max(1, round((end - first.pts * first.time_base) * self._frame_rate))
        return SourceInfo(
            uri=self._uri,
            kind="video",
            width=first.width,
            height=first.height,
            frame_rate=self._frame_rate,
            frame_count=count,
            time_base=stream.time_base,
            live=False,
        )


def _open(uri: str, max_pixels: int) -> tuple[av.container.InputContainer, bool]:
    """Return the opened container and whether its index had to be ignored. Raises: SourceError."""
    path = Path(uri)
    try:
        if not path.is_file():
            path.stat()  # says why, where there is nothing at all
            raise SourceError(f"source {uri}: expected a file, got a device, pipe or socket")
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError(f"source {uri}: the file is empty; expected a video")
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"source {uri}: {error.strerror}; check the path and its permissions") from error
    try:
        return _demux(path, max_pixels, "genpts"), False
    except Exception:  # see VideoSource._decode
        pass  # a fragmented file that ends in the middle of a fragment's header cannot be indexed, but it can be read
    try:
        return _demux(path, max_pixels, "genpts+ignidx"), True
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SourceError(
            f"source {uri}: expected a video, but FFmpeg finds none in it ({reason}); it is something else, "
            f"a playlist, or cut off before its index was written"
        ) from error


def _demux(path: Path, max_pixels: int, flags: str) -> av.container.InputContainer:
    return av.open(
        f"file:{path}",  # without it FFmpeg takes "a:b.mp4" for protocol a
        metadata_errors="replace",
        options={"max_pixels": str(max_pixels)},  # probing decodes, too
        container_options={"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "fflags": flags},
    )


def _choose_stream(uri: str, container: av.container.InputContainer) -> av.VideoStream:
    """Return the best video stream and tell the demuxer to skip all others. Raises: SourceError."""
    cover = av.stream.Disposition.attached_pic
    videos = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceError(f"source {uri}: expected a video, but the file holds {kinds} only")
    best = container.streams.best("video")
    chosen = best if best in videos else videos[0]
    if chosen.codec_context is None:
        raise SourceError(f"source {uri}: this FFmpeg has no decoder for its video; re-encode it, e.g. to H.264")
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = av.stream.Discard.all
    return chosen

"""One video file in the making: pictures are encoded, sound is copied, and what is written survives a crash."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX
from solo_rt.sink.base import OutputFile
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.encoding import VideoOptions
from solo_rt.sink.soundtrack import Soundtrack

FRAGMENT_MICROSECONDS = 200_000  # what a killed process loses at most; twice as much where the sound has ended
LATE_SOUND = Fraction(1, 2)  # seconds of pictures that wait for the first packet of sound
JPEG_QUALITY = 3 * 118  # scale 3 of 2 (best) to 31 in FFmpeg's lambda units


@dataclass(frozen=True, slots=True)
class Format:
    """What all files of one output have in common."""

    container: str  # FFmpeg's name
    video: VideoOptions
    gpu: int
    rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction


class Recording:
    """A file for pictures of one canvas, in `pix_fmt`; their ticks are counted from `base` on. It owns `file`.

    Pictures wait half a second for the first packet of sound: MP4 and MOV write no piece before each of their streams
    has begun, and AVI would play what begins late too early. Methods raise what the muxer and the file raise.
    """

    def __init__(
        self, file: OutputFile, how: Format, canvas: Canvas, *, pix_fmt: str, base: int, soundtrack: Soundtrack | None
    ) -> None:
        self.pix_fmt = pix_fmt
        self._file, self._how, self._base, self._soundtrack = file, how, base, soundtrack
        self._bytes = file.stream()
        self._container = av.open(self._bytes, "w", format=how.container, container_options=_muxer_options(how))
        self._stream: av.VideoStream | None = self._add_stream(canvas)
        self._waiting: list[av.Packet] = []  # for the sound
        self._is_begun = soundtrack is None
        self._patience: Fraction | None = None  # until this time in the output, in seconds

    def write(self, image: av.VideoFrame, tick: int, *, end: Fraction) -> None:
        """Add the picture that the output shows at `tick`, and the sound until `end`, in seconds of the output."""
        image.pts, image.time_base = tick - self._base, self._how.time_base
        self._mux(image, end)

    def finish(self, end: Fraction) -> None:
        """Write what is still held, the sound until `end`, and the file's own end."""
        self._patience = end
        self._mux(None, end)
        self._container.close()
        self._bytes.flush()

    def close(self) -> None:
        """Let go of file and encoder; what is not finished stays as it is. May be called again."""
        # The file goes first: without it the container does not write its end, which would turn readable fragments
        # into a plain file that lacks its index.
        with suppress(OSError):  # of a failed write, which has been reported
            self._bytes.close()
        self._file.close()
        self._container.close()
        self._stream = None  # and with it the encoder: NVENC has few sessions

    def _mux(self, image: av.VideoFrame | None, end: Fraction) -> None:
        assert self._stream is not None
        self._waiting += self._stream.encode(image)
        self._is_begun = self._is_begun or self._begins(end)
        if not self._is_begun:
            return
        self._container.mux(self._waiting)
        self._waiting.clear()
        if self._soundtrack is not None:
            self._soundtrack.write(end)
        self._bytes.flush()

    def _begins(self, end: Fraction) -> bool:
        """Return whether no more waiting for the sound is needed, and add its stream if there is to be one."""
        assert self._soundtrack is not None
        if self._patience is None:
            self._patience = end + LATE_SOUND
        base = self._base * self._how.time_base
        has_come = self._soundtrack.has_packets(end)
        if not has_come and end < self._patience:
            return False
        if has_come or self._how.container == "matroska":
            self._soundtrack.open(self._container, base)
        else:
            self._soundtrack.give_up(f"{self._how.container} cannot hold what begins late; .mkv can")
        return True

    def _add_stream(self, canvas: Canvas) -> av.VideoStream:
        how = self._how
        if how.container == "avi":
            stream = self._container.add_stream("mjpeg", rate=how.rate)
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = JPEG_QUALITY
        else:
            options = how.video.private(how.gpu)
            stream = self._container.add_stream(how.video.by.name, rate=how.rate, options=options)
            if how.video.codec == "h265" and how.container != "matroska":
                stream.codec_context.codec_tag = "hvc1"  # players of Apple's know the file by it; FFmpeg's is hev1
        stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, self.pix_fmt
        codec = stream.codec_context
        codec.thread_count = how.video.threads
        codec.sample_aspect_ratio = how.pixel_aspect
        codec.time_base = how.time_base
        codec.colorspace = TAG_OF_MATRIX[canvas.matrix]
        codec.color_range = FULL if canvas.full_range else LIMITED
        if canvas.matrix == "bt709":  # these three go together; BT.601 has two sets of primaries and no way to tell
            codec.color_primaries = codec.color_trc = TAG_OF_MATRIX["bt709"]
        return stream


def _muxer_options(how: Format) -> dict[str, str]:
    """Return what makes a container reach the disk in small pieces."""
    options = {
        "flush_packets": "1",  # PyAV's own buffer does so today; the promise of video.py rests on it
        "max_interleave_delta": str(FRAGMENT_MICROSECONDS),  # else pictures would wait for sound that has ended
    }
    if how.container == "matroska":
        return {**options, "cluster_time_limit": str(FRAGMENT_MICROSECONDS // 1000)}
    if how.container == "avi":
        return options
    options["movflags"] = "hybrid_fragmented+delay_moov+default_base_moof"
    options["frag_duration"] = str(FRAGMENT_MICROSECONDS)
    if how.time_base.numerator == 1:  # else the muxer's choice is exact
        options["video_track_timescale"] = str(how.time_base.denominator)
        options["movie_timescale"] = str(how.time_base.denominator)  # of a start other than 0
    return options

"""One video file in the making: pictures are encoded, sound is copied, and what is written survives a crash."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.encoding import VideoOptions
from solo_rt.sink.output_file import OutputFile
from solo_rt.sink.soundtrack import SoundStream, Soundtrack

FRAGMENT_MICROSECONDS = 200_000  # what a killed process loses at most; twice as much where the sound has ended
LATE_SOUND = Fraction(3, 4)  # seconds of pictures that wait for sound to begin, or to come to the end of a file
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
    """A file for pictures of one canvas, in `pix_fmt`, and for the sound that goes with them. The file is its own.

    Its time 0 is the tick `base` of the output, and its sound begins at `since`, in seconds of the output, or with the
    first there is. Pictures wait a little for it: MP4 and MOV write no piece before each of their streams has begun,
    and AVI would play what begins late too early. Methods raise SinkError when the file has failed.
    """

    def __init__(
        self,
        file: OutputFile,
        how: Format,
        canvas: Canvas,
        *,
        pix_fmt: str,
        base: int,
        soundtrack: Soundtrack | None,
        since: Fraction | None,
    ) -> None:
        self.canvas, self.pix_fmt, self.base, self.since = canvas, pix_fmt, base, since
        self.file = file
        self._how, self._soundtrack = how, soundtrack
        self._bytes = file.stream()
        self._opened: tuple[av.container.OutputContainer, av.VideoStream] | None = None  # from the first picture on
        self._sound: SoundStream | None = None
        self._waiting: list[av.Packet] = []  # for the sound
        self._is_begun = soundtrack is None
        self._patience: Fraction | None = None  # until this time in the output, in seconds

    def write(self, image: av.VideoFrame, tick: int, *, end: Fraction) -> None:
        """Add the picture that the output shows at `tick`, and the sound until `end`, in seconds of the output."""
        image.pts, image.time_base = tick - self.base, self._how.time_base
        with self.file.writing():
            container, stream = self._opened = self._opened or self._open()
            self._mux(container, stream.encode(image), end)
        self.file.written += 1

    def finish(self, end: Fraction) -> None:
        """Write what is still held, the sound until `end`, and the file's own end."""
        if self._opened is None:
            return
        container, stream = self._opened
        self._patience = end
        with self.file.writing():
            self._mux(container, stream.encode(None), end)
            container.close()
            self._bytes.flush()

    def close(self) -> None:
        """Let go of file and encoder; what is not finished stays as it is, but without a frame there is no file."""
        if self.file.written == 0 and (self._opened is not None or self.file.failed):
            self.file.remove()
        # The file goes first: without it the container does not write its end, which would turn readable fragments
        # into a plain file that lacks its index.
        with suppress(OSError):  # of a failed write, which has been reported
            self._bytes.close()
        self.file.close()
        if self._opened is not None:
            self._opened[0].close()
        self._opened = self._sound = None  # and with them the encoder: NVENC has few sessions

    def _mux(self, container: av.container.OutputContainer, packets: list[av.Packet], end: Fraction) -> None:
        self._waiting += packets
        self._is_begun = self._is_begun or self._begins(container, end)
        if not self._is_begun:
            return
        container.mux(self._waiting)
        self._waiting.clear()
        if self._sound is not None:
            self._sound.write(self.since, end)
        elif self._soundtrack is not None:
            self._soundtrack.take(self.since, end)
        self._bytes.flush()

    def _begins(self, container: av.container.OutputContainer, end: Fraction) -> bool:
        """Return whether no more waiting for the sound is needed, and add its stream if there is to be one."""
        assert self._soundtrack is not None
        if self._patience is None:
            self._patience = end + LATE_SOUND
        has_come = self._soundtrack.has_packets(self.since, end)
        if not has_come and end < self._patience:
            return False
        if has_come or self._how.container == "matroska":
            try:
                self._sound = SoundStream(self._soundtrack, container, self.base * self._how.time_base)
            except ValueError as error:
                self._soundtrack.give_up(str(error))
        else:
            self._soundtrack.give_up(f"{self._how.container} cannot hold what begins late; .mkv can")
        return True

    def _open(self) -> tuple[av.container.OutputContainer, av.VideoStream]:
        """Return the container and its video, set up for the canvas and for where its pictures will be."""
        how, canvas = self._how, self.canvas
        container = av.open(self._bytes, "w", format=how.container, container_options=_muxer_options(how))
        if how.container == "avi":
            stream = container.add_stream("mjpeg", rate=how.rate)
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = JPEG_QUALITY
        else:
            options = how.video.private(how.gpu)
            stream = container.add_stream(how.video.by.name, rate=how.rate, options=options)
            stream.codec_context.thread_count = how.video.threads_for(canvas.width, canvas.height)
            if how.video.codec == "h265" and how.container != "matroska":
                stream.codec_context.codec_tag = "hvc1"  # players of Apple's know the file by it; FFmpeg's is hev1
        stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, self.pix_fmt
        codec = stream.codec_context
        codec.sample_aspect_ratio = how.pixel_aspect
        codec.time_base = how.time_base
        codec.colorspace = TAG_OF_MATRIX[canvas.matrix]
        codec.color_range = FULL if canvas.full_range else LIMITED
        if canvas.matrix == "bt709":  # these three go together; BT.601 has two sets of primaries and no way to tell
            codec.color_primaries = codec.color_trc = TAG_OF_MATRIX["bt709"]
        return container, stream


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

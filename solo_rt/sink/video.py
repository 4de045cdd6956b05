"""Annotated video: H.264, H.265 or AV1 in MP4, MOV and MKV, Motion JPEG in AVI, with the source's time stamps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX
from solo_rt.errors import UsageError
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU
from solo_rt.sink.base import OutputFile, Sink, picture_of
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.clock import OutputClock
from solo_rt.sink.dlpack import open_context, to_video_frame
from solo_rt.sink.encoding import VideoOptions, require_fit
from solo_rt.source.base import SourceInfo
from solo_rt.source.planes import split_nv12
from solo_rt.types import Frame, Result

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
ON_GPU = "cuda"  # the pixel format of pictures there
DEFAULT_FRAME_RATE = Fraction(25)  # where the source names none
FRAGMENT_MICROSECONDS = 200_000  # what a killed process loses at most
FINEST_TIME_BASE = Fraction(1, 1_000_000)  # MP4 holds times in 32 bits; a finer source is rounded to this
JPEG_QUALITY = 3 * 118  # scale 3 of 2 (best) to 31 in FFmpeg's lambda units


class VideoSink(Sink):
    """A video file in the making. `write`, `close`: see `Sink`.

    Time stamps are the source's (see OutputClock): exact in MP4 and MOV, rounded to milliseconds in MKV and to whole
    frame periods in AVI, whose formats hold no more; AVI shows a late first frame from 0 on. The last frame lasts one
    period of the frame rate. Size and colours are those of the first frame (see Canvas), pixels have the source's.

    MP4 and MOV are written in fragments of 0.2 s while recording, so that a crash or `kill -9` costs the last one
    only, and become a plain seekable file on `close()`. Encoders look at no frame ahead for the same reason. Of 30 fps,
    killed behind any of 55 frames, MP4 and MOV lacked 6 frames at most (3.5 on average) and MKV 7 (4), with each codec,
    and AVI none.
    Of their presets, 1080p with moving texture on one core: x264 ultrafast 6 ms and 4.6 Mbit/s, veryfast 10 ms and 2.6;
    x265 ultrafast 28 ms and 1.4, veryfast 51 ms and 1.3; SVT-AV1 12 11 ms and 2.4, 10 28 ms and 2.0, 8 38 ms and 1.7,
    each with its default crf at about the same PSNR (37.9 to 39.8 dB). NVENC, on GPU number `gpu`, gets x264's settings
    in its own words: constant quality `crf` on the same scale of 51, each frame out before the next goes in. Frames on
    that GPU are taken where they are, but those that are unlike the first go by the host.
    """

    needs_picture = True

    def __init__(self, uri: str, *, info: SourceInfo, video: VideoOptions, gpu: int) -> None:
        """Open the file. Raises: OSError, UsageError, EngineError."""
        self.uri = uri
        self._format = CONTAINERS[Path(uri).suffix.lower()]
        self._video, self._gpu = video, gpu
        self.takes_gpu_pictures = video.encoder == "nvenc"
        self._rate = info.frame_rate or DEFAULT_FRAME_RATE
        self._pixel_aspect = info.pixel_aspect
        require_fit(uri, info, video, rate=self._rate, gpu=gpu)
        self._file = OutputFile(uri)
        if not self._file.is_regular:
            self._file.close()
            raise UsageError(f"output {uri}: expected a file, got a pipe or a device; video needs to seek")
        self._bytes = self._file.stream()
        self._clock = OutputClock(_time_base(self._format, info.time_base, self._rate), frame_rate=self._rate)
        self._canvas: Canvas | None = None
        self._container: av.container.OutputContainer | None = None
        self._context = open_context(gpu) if self.takes_gpu_pictures and CAN_STAY_ON_GPU else None

    def write(self, result: Result) -> None:
        picture = picture_of(result)
        with self._file.writing():
            if self._canvas is None:
                self._canvas = self._choose_canvas(picture)
                self._container, self._stream = self._start(self._canvas, on_gpu=picture.device is not None)
            image = self._canvas.paint(picture) if picture.device is None else self._hand_over(picture, self._canvas)
            image.pts = self._clock.tick(result.frame.pts, result.frame.time_base)
            image.time_base = self._clock.time_base
            self._mux(image)
        self._file.written += 1

    def close(self) -> None:
        if self._file.is_closed:
            return
        container, self._container = self._container, None
        try:
            if container is not None and not self._file.failed:
                with self._file.writing():
                    self._mux(None)
                    container.close()
                    self._bytes.flush()
        finally:
            # After a failure the file goes first: without it the container does not write its end, which would turn
            # the readable fragments into a plain file that lacks its index.
            if self._canvas is not None and self._file.written == 0:
                self._file.remove()  # no frame, no video
            with suppress(OSError):  # of a failed write, which has been reported
                self._bytes.close()
            self._file.close()
            if container is not None:
                container.close()
                del self._stream  # and with it the encoder: NVENC has few sessions

    def _choose_canvas(self, first: Frame) -> Canvas:
        canvas = Canvas.fitting(first)
        # JPEG has one meaning of colour, whatever the tags say: BT.601 in full range.
        return replace(canvas, matrix="bt601", full_range=True) if self._format == "avi" else canvas

    def _hand_over(self, picture: Frame, canvas: Canvas) -> av.VideoFrame:
        """Return a frame on the GPU as the encoder takes it: there if it is like the first one, else in host memory."""
        assert picture.device is not None
        image = to_video_frame(picture.device, self._context)
        is_alike = canvas.has_colours_of(picture) and (picture.width, picture.height) == (canvas.width, canvas.height)
        if is_alike and self._stream.pix_fmt == ON_GPU:
            return image
        planes = split_nv12(image.reformat(format="nv12"))
        return canvas.paint(replace(picture, planes=planes, device=None))

    def _start(self, canvas: Canvas, *, on_gpu: bool) -> tuple[av.container.OutputContainer, av.VideoStream]:
        """Return the container and its video stream, set up for the canvas and for where its pictures will be."""
        options = {"flush_packets": "1"}  # PyAV's own buffer does so today; the promise above rests on it
        if self._format in ("mp4", "mov"):
            options["movflags"] = "hybrid_fragmented+delay_moov+default_base_moof"
            options["frag_duration"] = str(FRAGMENT_MICROSECONDS)
            if self._clock.time_base.numerator == 1:  # else the muxer's choice is exact
                options["video_track_timescale"] = str(self._clock.time_base.denominator)
                options["movie_timescale"] = str(self._clock.time_base.denominator)  # of a start other than 0
        elif self._format == "matroska":
            options["cluster_time_limit"] = str(FRAGMENT_MICROSECONDS // 1000)
        container = av.open(self._bytes, "w", format=self._format, container_options=options)
        if self._format == "avi":
            stream = container.add_stream("mjpeg", rate=self._rate)
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = JPEG_QUALITY
        else:
            options = self._video.private(self._gpu)
            stream = container.add_stream(self._video.by.name, rate=self._rate, options=options)
            if self._video.codec == "h265" and self._format != "matroska":
                stream.codec_context.codec_tag = "hvc1"  # players of Apple's know the file by it; FFmpeg's is hev1
        stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, ON_GPU if on_gpu else "yuv420p"
        codec = stream.codec_context
        codec.thread_count = self._video.threads
        codec.sample_aspect_ratio = self._pixel_aspect
        codec.time_base = self._clock.time_base
        codec.colorspace = TAG_OF_MATRIX[canvas.matrix]
        codec.color_range = FULL if canvas.full_range else LIMITED
        if canvas.matrix == "bt709":  # these three go together; BT.601 has two sets of primaries and no way to tell
            codec.color_primaries = codec.color_trc = TAG_OF_MATRIX["bt709"]
        return container, stream

    def _mux(self, image: av.VideoFrame | None) -> None:
        """Encode and write the image, or what the encoder still holds."""
        self._stream.container.mux(self._stream.encode(image))
        self._bytes.flush()


def _time_base(container: str, source: Fraction, rate: Fraction) -> Fraction:
    """Return the unit of time that the container holds and that is nearest to the source's."""
    if container == "matroska":
        return Fraction(1, 1000)
    return 1 / rate if container == "avi" else max(source, FINEST_TIME_BASE)

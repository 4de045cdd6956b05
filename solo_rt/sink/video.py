"""Annotated video: H.264 by x264 or NVENC in MP4, MOV and MKV, Motion JPEG in AVI, with the source's time stamps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX
from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU, VideoEncoder, require_gpu, try_nvenc
from solo_rt.sink.base import OutputFile, Sink, picture_of
from solo_rt.sink.canvas import Canvas, even
from solo_rt.sink.clock import OutputClock
from solo_rt.sink.dlpack import open_context, to_video_frame
from solo_rt.source.base import SourceInfo
from solo_rt.source.planes import split_nv12
from solo_rt.types import Frame, Result

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
H264 = (".mp4", ".mov", ".mkv")
CODECS: dict[VideoEncoder, str] = {"x264": "libx264", "nvenc": "h264_nvenc"}
PRESETS: dict[VideoEncoder, tuple[str, ...]] = {
    "x264": ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    "nvenc": ("p1", "p2", "p3", "p4", "p5", "p6", "p7"),  # fastest to best
}
DEFAULT_PRESETS: dict[VideoEncoder, str] = {"x264": "veryfast", "nvenc": "p4"}
BEST_CRF: dict[VideoEncoder, int] = {"x264": 0, "nvenc": 1}  # NVENC's 0 means that it may choose
ON_GPU = "cuda"  # the pixel format of pictures there
DEFAULT_FRAME_RATE = Fraction(25)  # where the source names none
FRAGMENT_MICROSECONDS = 200_000  # what a killed process loses at most
FINEST_TIME_BASE = Fraction(1, 1_000_000)  # MP4 holds times in 32 bits; a finer source is rounded to this
LONGEST_SIDE = {"x264": 16384, "mjpeg": 65500}  # pixels; tried
JPEG_QUALITY = 3 * 118  # scale 3 of 2 (best) to 31 in FFmpeg's lambda units


class VideoSink(Sink):
    """A video file in the making. `write`, `close`: see `Sink`.

    Time stamps are the source's (see OutputClock): exact in MP4 and MOV, rounded to milliseconds in MKV and to whole
    frame periods in AVI, whose formats hold no more; AVI shows a late first frame from 0 on. The last frame lasts one
    period of the frame rate. Size and colours are those of the first frame (see Canvas), pixels have the source's.

    MP4 and MOV are written in fragments of 0.2 s while recording, so that a crash or `kill -9` costs the last one
    only, and become a plain seekable file on `close()`. H.264 is encoded without look-ahead for the same reason.
    For x264's `preset`, 1080p with moving texture on one core: ultrafast 5 ms and 8.1 Mbit/s, superfast 9 ms and 7.3,
    veryfast 11 ms and 5.0, at about the same PSNR (38.4, 39.2 and 38.9 dB with crf 23). NVENC, on GPU number `gpu`,
    gets the same settings in its own words: constant quality `crf` on the same scale of 51, each frame out before the
    next goes in. Frames on that GPU are taken where they are, but those that are unlike the first go by the host.
    """

    needs_picture = True

    def __init__(
        self, uri: str, *, info: SourceInfo, encoder: VideoEncoder, gpu: int, crf: int, preset: str | None, threads: int
    ) -> None:
        preset = preset or DEFAULT_PRESETS[encoder]
        if preset not in PRESETS[encoder] or not BEST_CRF[encoder] <= crf <= 51:
            raise UsageError(
                f"output {uri}: expected crf {BEST_CRF[encoder]}..51 and a preset of {', '.join(PRESETS[encoder])}; "
                f"got crf {crf}, preset {preset}"
            )
        self.uri = uri
        self._format = CONTAINERS[Path(uri).suffix.lower()]
        self._codec, self._options = CODECS[encoder], _options(encoder, gpu=gpu, crf=crf, preset=preset)
        self._threads = threads
        self.takes_gpu_pictures = encoder == "nvenc"
        self._rate = info.frame_rate or DEFAULT_FRAME_RATE
        self._pixel_aspect = info.pixel_aspect
        if encoder == "nvenc":
            self._require_nvenc(info, gpu)
        else:
            self._require_fit(info)
        self._file = OutputFile(uri)
        if not self._file.is_regular:
            self._file.close()
            raise UsageError(f"output {uri}: expected a file, got a pipe or a device; video needs to seek")
        self._bytes = self._file.stream()
        self._clock = OutputClock(_time_base(self._format, info.time_base, self._rate), frame_rate=self._rate)
        self._canvas: Canvas | None = None
        self._container: av.container.OutputContainer | None = None
        self._context = open_context(gpu) if encoder == "nvenc" and CAN_STAY_ON_GPU else None

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

    def _require_fit(self, info: SourceInfo) -> None:
        """Return if the encoder takes pictures as large as the source's. Raises: UsageError."""
        codec = "mjpeg" if self._format == "avi" else "x264"
        longest = LONGEST_SIDE[codec]
        if max(info.width, info.height) > longest:
            raise UsageError(
                f"output {self.uri}: expected at most {longest} pixels a side with {codec}, got "
                f"{info.width}x{info.height}; write pictures (folder/) instead"
            )

    def _require_nvenc(self, info: SourceInfo, gpu: int) -> None:
        """Return if NVENC can encode the source's pictures. Raises: UsageError, EngineError."""
        if self._format == "avi":
            raise UsageError(f"output {self.uri}: expected .mp4, .mov or .mkv with nvenc; AVI holds Motion JPEG")
        require_gpu("nvenc", gpu)
        try:
            try_nvenc(even(info.width), even(info.height), rate=self._rate, options=self._options)
        except EngineError as error:
            raise EngineError(f"output {self.uri}: {error}; use --encoder x264") from error

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
            stream = container.add_stream(self._codec, rate=self._rate, options=self._options)
        stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, ON_GPU if on_gpu else "yuv420p"
        codec = stream.codec_context
        codec.thread_count = self._threads
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


def _options(encoder: VideoEncoder, *, gpu: int, crf: int, preset: str) -> dict[str, str]:
    """Return constant quality without look-ahead or B-frames: every frame leaves the encoder as it comes in."""
    if encoder == "x264":
        return {"preset": preset, "tune": "zerolatency", "crf": str(crf)}
    return {
        "gpu": str(gpu),
        "preset": preset,
        "tune": "ll",
        "profile": "high",  # x264's, where NVENC's own choice is main
        "rc": "vbr",
        "cq": str(crf),  # with it FFmpeg drops any bit rate
        "bf": "0",
        "rc-lookahead": "0",
        "delay": "0",  # else FFmpeg keeps frames back to have the encoder and the program work side by side
        "zerolatency": "1",
    }


def _time_base(container: str, source: Fraction, rate: Fraction) -> Fraction:
    """Return the unit of time that the container holds and that is nearest to the source's."""
    if container == "matroska":
        return Fraction(1, 1000)
    return 1 / rate if container == "avi" else max(source, FINEST_TIME_BASE)

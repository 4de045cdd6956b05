"""Annotated video: H.264, H.265 or AV1 in MP4, MOV and MKV, Motion JPEG in AVI, with the source's times and sound."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.errors import UsageError
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU
from solo_rt.sink.base import OutputFile, Sink, picture_of
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.clock import OutputClock
from solo_rt.sink.dlpack import open_context, to_video_frame
from solo_rt.sink.encoding import CONTAINERS, VideoOptions, require_fit
from solo_rt.sink.recording import Format, Recording
from solo_rt.sink.soundtrack import Soundtrack
from solo_rt.source.base import SourceInfo
from solo_rt.source.planes import split_nv12
from solo_rt.types import Frame, Result

ON_GPU = "cuda"  # the pixel format of pictures there
DEFAULT_FRAME_RATE = Fraction(25)  # where the source names none
FINEST_TIME_BASE = Fraction(1, 1_000_000)  # MP4 holds times in 32 bits; a finer source is rounded to this


class VideoSink(Sink):
    """A video file in the making. `write`, `close`: see `Sink`.

    Time stamps are the source's (see OutputClock): exact in MP4 and MOV, rounded to milliseconds in MKV and to whole
    frame periods in AVI, whose formats hold no more; AVI shows a late first frame from 0 on. The last frame lasts one
    period of the frame rate. Size and colours are those of the first frame (see Canvas), pixels have the source's.

    MP4 and MOV are written in fragments of 0.2 s while recording, so that a crash or `kill -9` costs the last one
    only, and become a plain seekable file on `close()`. Encoders look at no frame ahead for the same reason. Of 30 fps,
    killed behind any of 55 frames, MP4 and MOV lacked 6 frames at most (3.5 on average) and MKV 7 (4), with each codec,
    and AVI none.

    The source's sound is copied, packet by packet (see Soundtrack); it goes with the frames that are shown, whichever
    are left out. A container that cannot hold it has none, and that is said once.

    Of the encoders' presets, 1080p with moving texture on one core: x264 ultrafast 6 ms and 4.6 Mbit/s, veryfast 10 ms
    and 2.6; x265 ultrafast 28 ms and 1.4, veryfast 51 ms and 1.3; SVT-AV1 12 11 ms and 2.4, 10 28 ms and 2.0, 8 38 ms
    and 1.7, each with its default crf at about the same PSNR (37.9 to 39.8 dB). NVENC, on GPU number `gpu`, gets x264's
    settings in its own words: constant quality `crf` on the same scale of 51, each frame out before the next goes in.
    Frames on that GPU are taken where they are, but those that are unlike the first go by the host.
    """

    needs_picture = True

    def __init__(self, uri: str, *, info: SourceInfo, video: VideoOptions, gpu: int) -> None:
        """Open the file. Raises: OSError, UsageError, EngineError."""
        self.uri = uri
        container, rate = CONTAINERS[Path(uri).suffix.lower()], info.frame_rate or DEFAULT_FRAME_RATE
        self.takes_gpu_pictures = video.encoder == "nvenc"
        require_fit(uri, info, video, rate=rate, gpu=gpu)
        self._file = OutputFile(uri)
        if not self._file.is_regular:
            self._file.close()
            raise UsageError(f"output {uri}: expected a file, got a pipe or a device; video needs to seek")
        time_base = _time_base(container, info.time_base, rate)
        self._format = Format(container, video, gpu, rate, time_base, info.pixel_aspect)
        self._clock = OutputClock(time_base, frame_rate=rate)
        self._soundtrack = None if info.sound is None or video.audio == "none" else Soundtrack(uri, info.sound)
        self._canvas: Canvas | None = None
        self._recording: Recording | None = None
        self._context = open_context(gpu) if self.takes_gpu_pictures and CAN_STAY_ON_GPU else None

    def write(self, result: Result) -> None:
        picture = picture_of(result)
        with self._file.writing():
            tick = self._clock.tick(result.frame.pts, result.frame.time_base)
            if self._soundtrack is not None:
                self._soundtrack.follow(result.frame, self._clock.shift)
            if self._canvas is None or self._recording is None:
                self._canvas = self._choose_canvas(picture)
                self._recording = self._begin(self._canvas, picture)
            is_here = picture.device is None
            image = self._canvas.paint(picture) if is_here else self._hand_over(picture, self._canvas, self._recording)
            self._recording.write(image, tick, end=self._clock.end)
        self._file.written += 1

    def close(self) -> None:
        if self._file.is_closed:
            return
        try:
            if self._recording is not None and not self._file.failed:
                with self._file.writing():
                    if self._soundtrack is not None:
                        self._soundtrack.follow_to_the_end()
                    self._recording.finish(self._clock.last_end)
        finally:
            if self._soundtrack is not None:
                self._soundtrack.close()
            if self._canvas is not None and self._file.written == 0:
                self._file.remove()  # no frame, no video
            if self._recording is not None:
                self._recording.close()
            self._file.close()

    def _begin(self, canvas: Canvas, first: Frame) -> Recording:
        pix_fmt = "yuv420p" if first.device is None else ON_GPU
        return Recording(self._file, self._format, canvas, pix_fmt=pix_fmt, base=0, soundtrack=self._soundtrack)

    def _choose_canvas(self, first: Frame) -> Canvas:
        canvas = Canvas.fitting(first)
        # JPEG has one meaning of colour, whatever the tags say: BT.601 in full range.
        return replace(canvas, matrix="bt601", full_range=True) if self._format.container == "avi" else canvas

    def _hand_over(self, picture: Frame, canvas: Canvas, recording: Recording) -> av.VideoFrame:
        """Return a frame on the GPU as the encoder takes it: there if it is like the first one, else in host memory."""
        assert picture.device is not None
        image = to_video_frame(picture.device, self._context)
        is_alike = canvas.has_colours_of(picture) and (picture.width, picture.height) == (canvas.width, canvas.height)
        if is_alike and recording.pix_fmt == ON_GPU:
            return image
        planes = split_nv12(image.reformat(format="nv12"))
        return canvas.paint(replace(picture, planes=planes, device=None))


def _time_base(container: str, source: Fraction, rate: Fraction) -> Fraction:
    """Return the unit of time that the container holds and that is nearest to the source's."""
    if container == "matroska":
        return Fraction(1, 1000)
    return 1 / rate if container == "avi" else max(source, FINEST_TIME_BASE)

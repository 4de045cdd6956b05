"""Annotated video: H.264, H.265 or AV1 in MP4, MOV and MKV, Motion JPEG in AVI, with the source's times and sound."""

from __future__ import annotations

import errno
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.errors import UsageError
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU
from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink, picture_of
from solo_rt.sink.canvas import Canvas, even
from solo_rt.sink.clock import OutputClock
from solo_rt.sink.dlpack import GpuContext, to_video_frame
from solo_rt.sink.encoding import CONTAINERS, VideoOptions, require_fit
from solo_rt.sink.output_file import OutputFile, write_failure
from solo_rt.sink.recording import LATE_SOUND, Format, Recording
from solo_rt.sink.segments import LONGEST_JUMP, existing, segment
from solo_rt.sink.soundtrack import Soundtrack
from solo_rt.source.base import SourceInfo
from solo_rt.source.planes import split_nv12
from solo_rt.types import DEFAULT_FRAME_RATE, Frame

ON_GPU = "cuda"  # the pixel format of pictures there
FINEST_TIME_BASE = Fraction(1, 1_000_000)  # MP4 holds times in 32 bits; a finer source is rounded to this


class VideoSink(Sink):
    """A video file in the making. `write`, `close`: see `Sink`.

    Time stamps are the source's (see OutputClock): exact in MP4 and MOV, rounded to milliseconds in MKV and to whole
    frame periods in AVI, whose formats hold no more; AVI shows a late first frame from 0 on. The last frame lasts one
    period of the frame rate. Size and colours are those of the first frame (see Canvas), pixels have the source's.

    MP4 and MOV are written in fragments of 0.2 s while recording, so that a crash or `kill -9` costs the last one
    only, and become a plain seekable file on `close()`. Encoders look at no frame ahead for the same reason. Of 30 fps,
    killed behind any of 55 frames, MP4 and MOV lacked 6 frames at most (3.5 on average) and MKV 7 (4), with each codec,
    and AVI none; of 1 fps one frame, which waits for the next (`scripts/bench crash`).

    The source's sound is copied, packet by packet (see Soundtrack); it goes with the frames that are shown, whichever
    are left out. A container that cannot hold it has none, and that is said once.

    With `VideoOptions.segment` there is a file per so many seconds of video, `out-000000.mp4` and so on, each from 0
    on. One also begins where the size changes, where more than 10 s lie between two frames, and behind a failure. A
    file ends when its sound has come, which some sources give later than the pictures.

    Of the encoders' presets, 1080p with moving texture on one core: x264 ultrafast 6 ms and 4.6 Mbit/s, veryfast 10 ms
    and 2.6; x265 ultrafast 28 ms and 1.4, veryfast 51 ms and 1.3; SVT-AV1 12 11 ms and 2.4, 10 28 ms and 2.0, 8 38 ms
    and 1.7, each with its default crf at about the same PSNR (37.9 to 39.8 dB). NVENC, on GPU number `gpu`, gets x264's
    settings in its own words: constant quality `crf` on the same scale of 51, each frame out before the next goes in.
    Frames on that GPU are taken where they are, but those that are unlike the first go by the host.
    """

    needs_picture = True

    def __init__(self, uri: str, *, info: SourceInfo, video: VideoOptions, gpu: int, overwrite: bool) -> None:
        """Open the file, or the first one. Raises: OSError, UsageError, EngineError."""
        self.uri = uri
        suffix, rate = Path(uri).suffix.lower(), info.frame_rate or DEFAULT_FRAME_RATE
        container = CONTAINERS[suffix]
        self.takes_gpu_pictures = video.encoder == "nvenc"
        self.can_resume = video.segment is not None
        require_fit(uri, info, video, suffix=suffix, rate=rate, gpu=gpu)
        if video.segment is not None and not overwrite and (there := existing(uri)):
            raise UsageError(f"output {uri}: {there[0]} is there already; choose another name, or overwrite")
        self._segment, self._overwrite = video.segment, overwrite
        self._next: OutputFile | None = self._open(Path(uri) if video.segment is None else segment(uri, 0))
        self._last_file = 0  # its number
        time_base = _time_base(container, info.time_base, rate)
        self._format = Format(container, video, gpu, rate, time_base, info.pixel_aspect)
        self._clock = OutputClock(time_base, frame_rate=rate)
        self._soundtrack = None if info.sound is None or video.audio == "none" else Soundtrack(uri, info.sound)
        self._last_time: Fraction | None = None  # of a frame in the source, in seconds
        self._recording: Recording | None = None
        self._ending: tuple[Recording, Fraction] | None = None  # the one before, until its sound has come; its end
        self._context = GpuContext(gpu) if self.takes_gpu_pictures and CAN_STAY_ON_GPU else None

    def write(self, result: Result) -> None:
        picture, frame = picture_of(result), result.frame
        tick = self._clock.tick(frame.pts, frame.time_base)
        if self._soundtrack is not None:
            self._soundtrack.follow(frame, self._clock.shift)
        if self._recording is not None and self._is_over(self._recording, picture, frame, tick):
            self._finish_ending()
            self._ending, self._recording = (self._recording, tick * self._clock.time_base), None
        self._last_time = frame.pts * frame.time_base
        if self._ending is not None and self._has_its_sound(self._ending[1]):
            self._finish_ending()
        if self._recording is None:
            self._recording = self._begin(picture, tick)
        with self._recording.file.writing():
            is_here = picture.device is None
            image = self._recording.canvas.paint(picture) if is_here else self._hand_over(picture, self._recording)
        self._recording.write(image, tick, end=self._clock.end)

    def resume(self, gap: Gap) -> None:
        self._let_go()

    def close(self) -> None:
        if self._soundtrack is not None:
            self._soundtrack.follow_to_the_end()
        try:
            self._finish_ending()
        finally:
            try:
                if self._recording is not None and not self._recording.file.failed:
                    self._recording.finish(self._clock.last_end)
            finally:
                self._let_go()
                if self._soundtrack is not None:
                    self._soundtrack.close()
                if self._next is not None:
                    self._next.close()
                if self._context is not None:
                    self._context.close()

    def _is_over(self, recording: Recording, picture: Frame, frame: Frame, tick: int) -> bool:
        """Return whether a frame is the first of the next file."""
        if self._segment is None or self._last_time is None:
            return False
        canvas, step = recording.canvas, abs(frame.pts * frame.time_base - self._last_time)
        has_size = (even(picture.width), even(picture.height)) == (canvas.width, canvas.height)
        length = (tick - recording.base) * self._clock.time_base
        return length >= self._segment or step > LONGEST_JUMP or not has_size

    def _has_its_sound(self, end: Fraction) -> bool:
        """Return whether all sound has come that is heard before the end of a file, or is not waited for any more."""
        return self._soundtrack is None or self._soundtrack.has_come(end) or self._clock.end > end + LATE_SOUND

    def _finish_ending(self) -> None:
        """Finish the file before this one, if there is one. Raises: SinkError."""
        if self._ending is not None:
            (recording, end), self._ending = self._ending, None
            try:
                recording.finish(end)
            finally:
                recording.close()
            if self._soundtrack is not None:
                self._soundtrack.drop(end)

    def _let_go(self) -> None:
        """Close what is open, finished or not."""
        for recording in (self._ending and self._ending[0], self._recording):
            if recording is not None:
                recording.close()
        self._ending = self._recording = None

    def _begin(self, first: Frame, tick: int) -> Recording:
        """Return a new file, the one that was opened at first or the next. Raises: SinkError."""
        file, self._next = self._next or self._open_next(), None
        is_first = self._last_file == 0
        since = None if is_first else tick * self._clock.time_base
        if since is not None and self._soundtrack is not None and self._ending is None:
            self._soundtrack.drop(since)  # of a gap
        return Recording(
            file,
            self._format,
            self._choose_canvas(first),
            pix_fmt="yuv420p" if first.device is None else ON_GPU,
            base=0 if self._segment is None else tick,
            soundtrack=self._soundtrack,
            since=since,
        )

    def _open_next(self) -> OutputFile:
        """Return the file of the next segment. Raises: SinkError."""
        self._last_file += 1
        path = segment(self.uri, self._last_file)
        try:
            if not self._overwrite and path.exists():
                raise FileExistsError(errno.EEXIST, "it is somebody else's")
            return self._open(path)
        except (OSError, UsageError) as error:
            raise write_failure(str(path), error, 0) from error

    def _open(self, path: Path) -> OutputFile:
        file = OutputFile(str(path))
        if not file.is_regular:
            file.close()
            raise UsageError(f"output {path}: expected a file, got a pipe or a device; video needs to seek")
        return file

    def _choose_canvas(self, first: Frame) -> Canvas:
        canvas = Canvas.fitting(first)
        # JPEG has one meaning of colour, whatever the tags say: BT.601 in full range.
        return replace(canvas, matrix="bt601", full_range=True) if self._format.container == "avi" else canvas

    def _hand_over(self, picture: Frame, recording: Recording) -> av.VideoFrame:
        """Return a frame on the GPU as the encoder takes it: there if it is like the first one, else in host memory."""
        assert picture.device is not None
        canvas = recording.canvas
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

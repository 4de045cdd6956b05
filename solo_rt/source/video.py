"""Frames of a video file, as many as can be had: damage is stepped over, counted and reported."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av

from solo_rt.cpu import codec_threads
from solo_rt.errors import EngineError, SourceError
from solo_rt.gpu.nvcodec import VideoDecoder, collected_errors, knows_nvdec, nvdec, reason
from solo_rt.gpu.primary_context import PrimaryContext
from solo_rt.source.avi import with_times
from solo_rt.source.base import Source, SourceInfo
from solo_rt.source.demuxer import choose_streams, demux, open_file
from solo_rt.source.interlace import deinterlaced
from solo_rt.source.losses import Losses, estimated_end
from solo_rt.source.planes import is_turned, to_frame
from solo_rt.source.ranges import RUN_UP, WHOLE, Range
from solo_rt.source.sound import open_sound
from solo_rt.types import DEFAULT_FRAME_RATE, Frame

MAX_READ_ERRORS = 100  # in a row without a packet: the file is unreadable from here on
_NVDEC_TRIES = 100  # packets until the first frame; a GPU that knows the stream gives one after a dozen
_INSTEAD = "use --decoder cpu"

log = logging.getLogger(__name__)


class VideoSource(Source):
    """A local video file, decoded packet by packet. `__iter__`, `damage`, `close`: see `Source`.

    With NVDEC as the `decoder`, GPU number `gpu` decodes and its driver copies every picture to the host, unless they
    are to stay `on_gpu`: see `to_frame`. With `sound`, packets of the stream that goes with the video are read as well.

    Of a `part` only the frames in that range are given, as they are with the whole, but numbered from 0 on, behind
    those of `lead_seconds` before it; `lead` is how many these are, once all are given.
    """

    def __init__(
        self,
        uri: str,
        *,
        max_pixels: int,
        threads: int,
        decoder: VideoDecoder = "cpu",
        gpu: int = 0,
        on_gpu: bool = False,
        sound: bool = False,
        part: Range = WHOLE,
        lead_seconds: float = 0.0,
    ) -> None:
        self.lead = 0
        self._by_nvdec = decoder == "nvdec"
        self._uri, self._gpu = uri, gpu
        self._context: PrimaryContext | None = None  # only if pictures stay on the GPU
        self._frames: Iterator[Frame] = iter(())
        self._reading: Generator[Frame, None, None] | None = None
        self._given = 0  # frames
        self._is_turned = False  # by a quarter
        self._container, self._index_ignored = open_file(uri, max_pixels)
        try:
            self._choose_streams(sound=sound)
            if on_gpu:
                self._context = PrimaryContext(gpu)
            if self._by_nvdec:
                self._move_to_gpu(max_pixels, sound=sound)
            self._sound = open_sound(self._uri, self._heard)
            self._codec.thread_type = "AUTO"
            if self._by_nvdec:
                threads = 1  # more would only hold more of the GPU's memory
            self._codec.thread_count = threads or codec_threads(self._codec.width, self._codec.height)
            self._codec.options = {"max_pixels": str(max_pixels)}
            self._frame_rate = self._stream.average_rate or self._stream.guessed_rate or None
            self._step = max(1, round(1 / ((self._frame_rate or DEFAULT_FRAME_RATE) * self._stream.time_base)))
            self._part, self._lead = part, round(lead_seconds / self._stream.time_base)
            self._losses = Losses(Path(uri), self._container, self._stream, self._step, is_part=part != WHOLE)
            if part.start is not None:
                run_up = round(RUN_UP / self._stream.time_base) + self._lead
                self._container.seek(part.start - run_up, stream=self._stream)
            self._reading = self._read()
            watch: AbstractContextManager[list[str]] = collected_errors() if self._by_nvdec else nullcontext([])
            with watch as complaints:
                first = next(self._reading, None)
            if first is None:
                raise self._nothing_decoded(complaints, max_pixels)
            self._frames = chain((first,), self._reading)
            self.info = self._describe(first)
        except BaseException:
            self.close()
            raise

    @property
    def damage(self) -> str | None:
        losses = [*self._losses.described(), *["its index is damaged"] * self._index_ignored]
        return f"{self._uri}: {', '.join(losses)}" if losses else None

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        self._frames = iter(())
        if self._reading is not None:
            # A thread that was left behind may be in FFmpeg still: nothing may be taken from it.
            if inspect.getgeneratorstate(self._reading) == inspect.GEN_RUNNING:
                return
            self._reading.close()
            self._losses.close()
        self._container.close()
        if self._context is not None:
            self._context.close()

    def _read(self) -> Generator[Frame, None, None]:
        time_base, step, losses = self._stream.time_base, self._step, self._losses
        pts = -step
        codec = self._stream.codec_context.codec.canonical_name
        pictures = with_times(self._decode(), self._container, self._stream, step)
        for picture, captured_at in deinterlaced(pictures, codec=codec):
            pts = pts + step if picture.pts is None else picture.pts
            if self._is_before(pts):
                continue
            losses.count_picture(pts, picture.duration)  # of the first one behind a part as well: what lacks before it
            if self._part.stop is not None and pts >= self._part.stop:
                return
            self.lead += self._part.start is not None and pts < self._part.start
            if self._given == 0:
                self._is_turned = is_turned(picture)
            if self._context is not None:
                self._context.synchronize()
            try:
                frame = to_frame(picture, index=self._given, pts=pts, time_base=time_base, captured_at=captured_at)
            except Exception:  # a damaged header may claim a layout that swscale does not know
                losses.undecodable += 1
                continue
            losses.damaged_frames += picture.is_corrupt
            yield frame
            self._given += 1
        losses.finish()

    def _decode(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield the pictures, each with the time when it was decoded."""
        packets = self._packets()
        if self._sound is not None:  # one is read ahead: a run that ends early has what is heard during its last frame
            packets = (packet for packet, _ in pairwise(chain(packets, (None,))))
        for packet in packets:
            is_before = packet is not None and packet.pts is not None and self._is_before(packet.pts)
            if packet is not None and not is_before:
                self._losses.count_packet(packet)
            try:
                pictures = self._codec.decode(packet)
            except Exception:  # on bad bytes PyAV raises IndexError, EOFError, MemoryError and more, not only its own
                self._losses.undecodable += not is_before
                if self._by_nvdec and self._losses.end is None and self._losses.undecodable == _NVDEC_TRIES:
                    return
            else:
                if self._by_nvdec and pictures and self._codec.pix_fmt != "cuda":
                    raise SourceError(f"source {self._uri}: FFmpeg decodes {self._kind()} without NVDEC; {_INSTEAD}")
                for picture in pictures:
                    yield picture, time.monotonic()

    def _is_before(self, pts: int) -> bool:
        """Return whether what has this time stamp is decoded for the sake of what follows alone."""
        return self._part.start is not None and pts < self._part.start - self._lead

    def _choose_streams(self, *, sound: bool) -> None:
        self._stream, self._heard = choose_streams(self._uri, self._container, sound=sound)
        self._codec = self._stream.codec_context

    def _move_to_gpu(self, max_pixels: int, *, sound: bool) -> None:
        """Let NVDEC be the decoder. Raises: SourceError, EngineError."""
        codec, hwaccel = self._codec.codec, nvdec(self._gpu, on_gpu=self._context is not None)
        if codec.name != "libdav1d" and not knows_nvdec(codec):
            raise SourceError(f"source {self._uri}: expected a codec that NVDEC knows, got {self._kind()}; {_INSTEAD}")
        try:
            with self._context.current() if self._context else nullcontext(), collected_errors() as complaints:
                if codec.name == "libdav1d":  # FFmpeg's choice for AV1; the decoder that knows GPUs is its own
                    extradata = self._codec.extradata
                    self._codec = av.CodecContext.create("av1", "r", hwaccel=hwaccel)
                    self._codec.extradata = extradata
                    return
                self._container.close()
                path, index = Path(self._uri), self._index_ignored
                self._container = demux(path, max_pixels=max_pixels, ignore_index=index, hwaccel=hwaccel)
        except av.FFmpegError as error:
            why = reason(complaints, error)
            raise EngineError(f"nvdec: FFmpeg cannot use CUDA device {self._gpu} ({why}); {_INSTEAD}") from error
        self._choose_streams(sound=sound)

    def _nothing_decoded(self, complaints: list[str], max_pixels: int) -> SourceError:
        errors = self._losses.undecodable + self._losses.read_errors
        if self._by_nvdec:
            return SourceError(
                f"source {self._uri}: NVDEC decoded not one frame of {self._kind()} in {errors} tries "
                f"({reason(complaints)}); {_INSTEAD}"
            )
        return SourceError(
            f"source {self._uri}: expected {self._codec.name} video, but not one frame could be "
            f"decoded ({errors} errors); it is damaged, or a frame has more than {max_pixels} pixels, the most that "
            "is taken"
        )

    def _kind(self) -> str:
        """Return what NVDEC would have to decode: "h264 High 4:4:4 Predictive video of 64x48"."""
        codec = self._codec
        profile = f" {codec.profile}" if codec.profile else ""
        return f"{codec.codec.canonical_name}{profile} video of {codec.width}x{codec.height}"

    def _packets(self) -> Iterator[av.Packet | None]:
        """Yield the packets of the video, the last one empty or None: it drains the decoder. Sound goes its own way."""
        streams = (self._stream,) if self._sound is None else (self._stream, self._heard)
        errors_in_a_row = 0
        while errors_in_a_row < MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(*streams):
                    errors_in_a_row = 0
                    if packet.stream is self._stream:
                        yield packet
                    elif self._sound is not None and packet.size:
                        self._sound.add(packet, before=self._given)
                return
            except Exception:  # see _decode; the next demux() goes on behind the damage
                errors_in_a_row += 1
                self._losses.read_errors += 1
        yield None

    def _describe(self, first: Frame) -> SourceInfo:
        stream = self._stream
        aspect = stream.sample_aspect_ratio or Fraction(1)  # 0 where the file does not say
        count = stream.frames or None
        end = estimated_end(self._container, stream)
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
            pixel_aspect=1 / aspect if self._is_turned else aspect,
            sound=self._sound,
        )

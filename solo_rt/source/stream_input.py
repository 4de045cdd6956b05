"""An address that is open: which of its streams are wanted, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av

from solo_rt.errors import SourceError
from solo_rt.source.address import Address
from solo_rt.source.demuxer import choose_streams
from solo_rt.source.disconnection import Disconnected, is_input_output
from solo_rt.source.losses import estimated_end
from solo_rt.source.planes import is_turned
from solo_rt.source.sound import Sound, open_sound
from solo_rt.types import DEFAULT_FRAME_RATE

OPEN_SECONDS = 10.0  # for a server to answer and to say what it sends
CLOCK = Fraction(1, 90000)  # seconds of a tick where a stream has no times

# What a stream is must be known soon (bytes, microseconds), and what it took to know it is shown as well: without the
# key frame in it there would be no picture until the next one.
_LIVE = {"fflags": "genpts", "fpsprobesize": "6", "probesize": "1000000", "analyzeduration": "2000000"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stream says of itself."""

    is_live: bool
    is_playlist: bool  # live, and each of its files comes at once
    frame_rate: Fraction | None
    time_base: Fraction
    pixel_aspect: Fraction
    end: Fraction | None  # seconds
    sound: Sound | None


@dataclass(frozen=True)
class StreamInput:
    """A container, what is wanted of it, and what is known before the first picture."""

    container: av.container.InputContainer
    stream: av.VideoStream
    heard: av.AudioStream | None
    is_live: bool

    @cached_property
    def is_timeless(self) -> bool:
        """Whether it is bare pictures, which are shown when they come."""
        return self.is_live and _has_no_times(self.container)

    @cached_property
    def is_playlist(self) -> bool:
        """Whether what is not read yet waits on its server."""
        return self.is_live and self.container.format.name == "hls"

    @cached_property
    def may_be_late(self) -> bool:
        """Whether pictures come as they are taken, so that time stamps tell how long one has been on its way."""
        return self.is_live and not self.is_timeless and not self.is_playlist

    @cached_property
    def time_base(self) -> Fraction:
        """Seconds of a tick."""
        return CLOCK if self.is_timeless else Fraction(self.stream.time_base)

    @cached_property
    def rate(self) -> Fraction | None:
        """Frames per second."""
        return None if self.is_timeless else self.stream.average_rate or self.stream.guessed_rate or None

    @cached_property
    def step(self) -> int:
        """From one picture to the next, in ticks."""
        return max(1, round(1 / ((self.rate or DEFAULT_FRAME_RATE) * Fraction(self.stream.time_base))))

    def facts(self, picture: av.VideoFrame, uri: str) -> Facts:
        """Return what the stream says of itself, once there is a picture."""
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        aspect = 1 / aspect if is_turned(picture) else aspect
        end, sound = estimated_end(self.container, self.stream), open_sound(uri, self.heard)
        return Facts(self.is_live, self.is_playlist, self.rate, self.time_base, aspect, end, sound)

    def close(self) -> None:
        """Leave the address."""
        self.container.close()


def open_stream(
    address: Address, *, max_pixels: int, threads: int, sound: bool, read_seconds: float | None
) -> StreamInput:
    """Open an address, for FFmpeg to wait `read_seconds` for data, None for ever; see Connection for the others.

    Raises: Disconnected if there is no video; what PyAV raises.
    """
    container = _open(address, max_pixels=max_pixels, read_seconds=read_seconds)
    try:
        stream, heard = choose_streams(address.uri, container, sound=sound)
    except SourceError as error:
        container.close()
        raise Disconnected(str(error), is_final=True) from None
    # A length is what tells a film on a web server from a camera.
    is_live = address.is_live or (address.kind == "network" and not _has_length(container, stream))
    codec = stream.codec_context
    codec.options = {"max_pixels": str(max_pixels)}
    codec.thread_count = threads
    codec.thread_type = "SLICE" if is_live else "AUTO"  # frames side by side would come that many frames later
    if is_live:
        codec.flags |= av.codec.context.Flags.low_delay
    return StreamInput(container, stream, heard, is_live)


def _open(address: Address, *, max_pixels: int, read_seconds: float | None) -> av.container.InputContainer:
    try:
        return av.open(
            address.url,
            format=address.format,
            metadata_errors="replace",
            options={"max_pixels": str(max_pixels)},  # probing decodes, too
            container_options={**(_LIVE if address.is_live else {"fflags": "genpts"}), **address.options},
            timeout=(OPEN_SECONDS, read_seconds) if read_seconds else None,
        )
    except OSError as error:
        if not is_input_output(error):
            raise
        raise Disconnected("no such host, or another server than expected") from None


def _has_length(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Return whether it is known where something on a web server ends."""
    name, duration = container.format.name, container.duration
    if name == "hls" or container.size > 0 or duration is None:
        return duration is not None
    # FLV says 0. Of MP4 in fragments, whose header counts no frames, FFmpeg has added up those that it has seen.
    return duration > 0 and not (name.startswith("mov") and stream.frames == 0)


def _has_no_times(container: av.container.InputContainer) -> bool:
    """Return whether a stream is bare pictures, which FFmpeg counts at 25 per second, however many there are."""
    kind = container.format
    return bool(kind.flags & av.format.Flags.no_timestamps.value) or kind.name.endswith("pipe")

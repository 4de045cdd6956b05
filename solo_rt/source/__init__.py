"""Where frames come from: files, cameras, streams, pictures and the procedural world, behind `open_source`."""

from __future__ import annotations

from pathlib import Path

import av

from solo_rt import defaults
from solo_rt.errors import SourceError, UsageError
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU, DECODERS, VideoDecoder, require_gpu
from solo_rt.source.address import Address
from solo_rt.source.base import MAX_PIXELS, Kind, Source, SourceInfo, StateChange
from solo_rt.source.camera import camera_address, is_camera
from solo_rt.source.demuxer import require_file
from solo_rt.source.network import PROTOCOLS, network_address
from solo_rt.source.pictures import PictureSource, is_pattern, is_picture
from solo_rt.source.pipe import pipe_address
from solo_rt.source.screen import screen_address
from solo_rt.source.stream import StreamSource
from solo_rt.source.video import VideoSource
from solo_rt.source.world import WorldSource
from solo_rt.uri import expand_home, redact, scheme

__all__ = ["MAX_PIXELS", "Source", "SourceInfo", "StateChange", "check_decoder", "open_source"]


def open_source(
    uri: str,
    *,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    decoder: VideoDecoder = "cpu",
    gpu: int = 0,
    on_gpu: bool = False,
    retry_for: float | None = None,
    stall_after: float = defaults.STALL_SECONDS,
    sound: bool = False,
) -> Source:
    """Return the opened source that `uri` names.

    - a video file: whatever FFmpeg reads;
    - `camera:0` or `/dev/video0`; `?size=1280x720&fps=30&format=mjpeg` asks for what the camera offers;
    - `rtsp://`, `rtmp://`, `http(s)://` (also HLS), `udp://`, `rtp://`, `tcp://`, `srt://`, as far as this FFmpeg goes;
    - `screen:`, an X display; `?size=1280x720&x=0&y=0&fps=15` is a part of it;
    - `-`: video on standard input;
    - a picture file, a folder of pictures, or a pattern (`"shots/*.png"`, `**` descends; `shots/%06d.png`): in natural
      order;
    - `test://?seed=0&size=1280x720&frames=300&fps=30&objects=8`: the procedural world; `live=1` paces it.

    `max_pixels` bounds the size of one picture, `threads` the decoder's threads (0: `codec_threads` for files, FFmpeg's
    choice for streams). `decoder` is cpu or, for video files, nvdec, on GPU number `gpu`; `on_gpu` leaves its pictures
    there, for a `FrameEngine`. `sound` keeps the sound of a video for outputs that copy it; see `SourceInfo.sound`. For
    `retry_for` and `stall_after`, in seconds, see StreamSource.
    Raises: UsageError for an address of another kind, SourceError when no frame can be read or NVDEC does not know the
    video, EngineError for nvdec without a GPU.
    """
    if on_gpu and (decoder != "nvdec" or not CAN_STAY_ON_GPU):
        raise UsageError(f"on_gpu: expected the nvdec decoder and PyAV 18.1 or newer, got {decoder}, {av.__version__}")
    uri = expand_home(uri)
    check_decoder(decoder, uri, gpu=gpu)
    kind = _kind(uri)
    if kind == "world":
        return WorldSource(uri, max_pixels=max_pixels)
    if kind == "pictures":
        return PictureSource(uri, max_pixels=max_pixels)
    if kind != "video":
        return StreamSource(
            _address(uri, kind),
            max_pixels=max_pixels,
            threads=threads,
            sound=sound,
            retry_for=retry_for,
            stall_after=stall_after,
        )
    return VideoSource(
        uri, max_pixels=max_pixels, threads=threads, decoder=decoder, gpu=gpu, on_gpu=on_gpu, sound=sound
    )


def check_decoder(decoder: VideoDecoder, uri: str, *, gpu: int) -> None:
    """Return if nvdec, where that is the decoder, has a video file to decode and a GPU.

    Raises: UsageError, SourceError, EngineError.
    """
    if decoder not in DECODERS:
        raise UsageError(f"unknown decoder {decoder!r}; expected {' or '.join(DECODERS)}")
    if decoder == "nvdec":
        uri = expand_home(uri)
        kind = _kind(uri)
        if kind != "video":
            got = {"world": "the procedural world", "pictures": "pictures"}.get(kind, f"a {kind}")
            raise UsageError(
                f"source {redact(uri)}: expected a video file with the nvdec decoder, got {got}; use --decoder cpu"
            )
        require_file(uri)
        require_gpu("nvdec", gpu)


def _kind(uri: str) -> Kind:
    """Return what an address leads to, whether it is there or not. Raises: UsageError, SourceError."""
    if scheme(uri) == "test":
        return "world"
    if scheme(uri) in PROTOCOLS:
        return "network"
    if scheme(uri):
        raise UsageError(f"source {redact(uri)}: expected a file, camera:0, screen:, - or {' '.join(_SCHEMES)}")
    if not uri:
        raise UsageError("source: expected an address, got an empty one")
    if uri == "-":
        return "pipe"
    if is_camera(uri):
        return "camera"
    if uri.startswith("screen:"):
        return "screen"
    path = Path(uri)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise SourceError(f"source {uri}: {error.strerror}; check the path and its permissions") from error
    return "pictures" if is_folder or is_picture(path) or (not exists and is_pattern(uri)) else "video"


_SCHEMES = [f"{name}://" for name in (*PROTOCOLS, "test")]


def _address(uri: str, kind: Kind) -> Address:
    if kind == "camera":
        return camera_address(uri)
    if kind == "screen":
        return screen_address(uri)
    return pipe_address(uri) if kind == "pipe" else network_address(uri)

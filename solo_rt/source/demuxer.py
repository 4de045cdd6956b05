"""Video files opened, and the streams of each that are shown and heard."""

from __future__ import annotations

from pathlib import Path

import av
from av.codec.hwaccel import HWAccel

from solo_rt.errors import SourceError

# Demuxers that read what is inside the file and nothing else. Formats that name other files (playlists, concat
# scripts, image sequences, SDP) are left out on purpose: a downloaded "holiday.mp4" must not open what it likes.
DEMUXERS = (
    "3dostr,amv,apng,asf,av1,avi,bink,cavsvideo,dhav,dirac,dv,flic,flv,gif,gxf,h261,h263,h264,hevc,ivf,live_flv,lxf,"
    "m4v,matroska,mjpeg,mjpeg_2000,mov,mpeg,mpegts,mpegvideo,mpjpeg,mxf,nsv,nut,nuv,obu,ogg,rm,roq,smjpeg,smk,swf,"
    "ty,vc1,vvc,wtv,yuv4mpegpipe"
)


def require_file(uri: str) -> Path:
    """Return the path of a file that can be read and holds something. Raises: SourceError."""
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
    return path


def open_file(uri: str, max_pixels: int) -> tuple[av.container.InputContainer, bool]:
    """Return the opened container and whether its index had to be ignored. Raises: SourceError."""
    path = require_file(uri)
    try:
        return demux(path, max_pixels=max_pixels), False
    except Exception:  # on bad bytes PyAV raises all kinds of exceptions, not only its own
        pass  # a fragmented file that ends in the middle of a fragment's header cannot be indexed, but it can be read
    try:
        return demux(path, max_pixels=max_pixels, ignore_index=True), True
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SourceError(
            f"source {uri}: expected a video, but FFmpeg finds none in it ({reason}); it is something else, "
            f"a playlist, or cut off before its index was written"
        ) from error


def demux(
    path: Path, *, max_pixels: int, ignore_index: bool = False, hwaccel: HWAccel | None = None
) -> av.container.InputContainer:
    """Return the opened file; with `hwaccel` its streams are decoded there. Raises: what PyAV raises."""
    flags = "genpts+ignidx" if ignore_index else "genpts"
    return av.open(
        f"file:{path}",  # without it FFmpeg takes "a:b.mp4" for protocol a
        metadata_errors="replace",
        options={"max_pixels": str(max_pixels)},  # probing decodes, too
        container_options={"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "fflags": flags},
        hwaccel=hwaccel,
    )


def choose_streams(
    uri: str, container: av.container.InputContainer, *, sound: bool
) -> tuple[av.VideoStream, av.AudioStream | None]:
    """Return the best video stream and, if wanted, the sound that goes with it; the demuxer skips all others.

    Raises: SourceError.
    """
    cover = av.stream.Disposition.attached_pic
    videos = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not videos:
        kinds = sorted({"a cover picture" if stream.type == "video" else stream.type for stream in container.streams})
        found = f"holds {' and '.join(kinds)} only" if kinds else "was closed before anything was written to it"
        raise SourceError(f"source {uri}: expected a video, but the file {found}")
    best = container.streams.best("video")
    chosen = best if best in videos else videos[0]
    if chosen.codec_context is None:
        raise SourceError(f"source {uri}: this FFmpeg has no decoder for its video; re-encode it, e.g. to H.264")
    heard = container.streams.best("audio", related=chosen) if sound else None
    for stream in container.streams:
        if stream is not chosen and stream is not heard:
            stream.discard = av.stream.Discard.all
    return chosen, heard

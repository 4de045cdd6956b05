"""Small synthetic clips, and results without objects, for the tests of sources and sinks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from ffmpeg_twin import through

from solo_rt.errors import SourceError
from solo_rt.result import Result
from solo_rt.sink import VideoOptions, open_sink
from solo_rt.sink.encoding import HOLDERS, VideoCodec
from solo_rt.source import SourceInfo, open_source
from solo_rt.types import Frame, Instances, Masks, UInt8

FORMATS = {
    ".mkv": "matroska", ".webm": "webm", ".ts": "mpegts", ".avi": "avi", ".nut": "nut", ".mp4": "mp4", ".mov": "mov",
    ".gif": "gif", ".apng": "apng", ".flv": "flv",
}  # fmt: skip
THIRTY = Fraction(1, 30)
LOSSLESS = {"qp": "0", "preset": "ultrafast"}
H264 = {"preset": "ultrafast", "g": "5"}
SUFFIXES = [".mp4", ".mov", ".mkv", ".avi"]  # of the videos that a sink writes
CONTAINERS = [*((suffix, codec) for codec, suffixes in HOLDERS.items() for suffix in suffixes), (".avi", "h264")]

every_container = pytest.mark.parametrize(("suffix", "codec"), CONTAINERS, ids=lambda value: value.strip("."))


def planes(index: int, height: int, width: int) -> tuple[UInt8, UInt8, UInt8]:
    """Return Y, U, V of frame `index`: ramps that move, different in every frame and every corner."""
    y, x = np.mgrid[:height, :width]
    cy, cx = np.mgrid[: (height + 1) // 2, : (width + 1) // 2]
    luma = 16 + (3 * x + 5 * y + 7 * index) % 220
    return luma.astype(np.uint8), (40 + (cx + index) % 170).astype(np.uint8), (60 + (2 * cy) % 150).astype(np.uint8)


def write_clip(
    path: Path,
    *,
    count: int = 10,
    pts: Sequence[int] | None = None,
    time_base: Fraction = THIRTY,
    size: tuple[int, int] = (64, 48),
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    pixel_aspect: Fraction = Fraction(1),
    matrix: int = 2,
    colour_range: int = 0,
    scan: Sequence[str] = ("prog",),
    audio: bool = False,
) -> None:
    """Write `planes(0), planes(1), ...` of `size` = width, height; other layouts than 4:2:0 are converted.

    `scan` says by turns what a picture is: prog, or tff or bff, which hold the lines of two `planes`, the top or the
    bottom field first.
    """
    stamps = range(count) if pts is None else pts
    width, height = size
    with av.open(str(path), "w", format=FORMATS[path.suffix], container_options=dict(muxer or {})) as container:
        stream = container.add_stream(codec, rate=30, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        sound = container.add_stream("aac", rate=44100) if audio else None
        for i, stamp in enumerate(stamps):
            picture = av.VideoFrame(width, height, "yuv420p")
            order = scan[i % len(scan)]
            now, later = planes(i, height, width), planes(i + (order != "prog"), height, width)
            for plane, first, second in zip(picture.planes, now, later, strict=True):
                view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                view[:, : first.shape[1]] = first
                lines = slice(order == "tff", None, 2)
                view[lines, : first.shape[1]] = second[lines]
            if pix_fmt not in ("yuv420p", "yuvj420p"):
                picture = picture.reformat(format=pix_fmt)
            picture.pts, picture.time_base = stamp, time_base
            picture.colorspace, picture.color_range = matrix, colour_range
            (picture,) = through([picture], f"setfield=mode={order}")
            container.mux(stream.encode(picture))
            if sound is not None:
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 1470), np.float32), format="fltp", layout="stereo")
                silence.sample_rate = 44100
                container.mux(sound.encode(silence))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))


def no_instances(size: tuple[int, int]) -> Instances:
    masks = Masks(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty((0, 4), np.int32), (1, 1), (1.0, 1.0))
    return Instances(size, np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), masks)


def result_of(frame: Frame) -> Result:
    return Result(frame, no_instances((frame.height, frame.width)), ("thing",))


def yuv_frame(index: int, *, size: tuple[int, int] = (64, 48), pts: int | None = None, time_base: Fraction = THIRTY,
              matrix: str = "bt601", full_range: bool = False) -> Frame:  # fmt: skip
    """Return frame `index` of the moving ramps; `size` = width, height."""
    stamp = index if pts is None else pts
    return Frame(
        planes(index, size[1], size[0]),
        "yuv420p",
        index=index,
        pts=stamp,
        time_base=time_base,
        captured_at=0.0,
        matrix=matrix,
        full_range=full_range,
    )  # type: ignore[arg-type]


def rgb_frame(array: UInt8, *, index: int = 0, name: str = "", image_id: int | None = None) -> Frame:
    return Frame((array,), "rgb24", index=index, pts=index, time_base=Fraction(1, 25), name=name, image_id=image_id)


def info(
    *, uri: str = "test://", frame_rate: Fraction | None = Fraction(30), time_base: Fraction = THIRTY,
    size: tuple[int, int] = (64, 48), live: bool = False
) -> SourceInfo:  # fmt: skip
    return SourceInfo(
        uri=uri,
        kind="video",
        width=size[0],
        height=size[1],
        frame_rate=frame_rate,
        time_base=time_base,
        live=live,
    )


def times(frames: Sequence[Frame]) -> list[Fraction]:
    """Return the presentation times in seconds, exactly."""
    return [frame.pts * frame.time_base for frame in frames]


def write_frames(path: Path, frames: Sequence[Frame], *, crf: int | None = None, codec: VideoCodec = "h264") -> None:
    """Write a video by the sink that a run would have."""
    given = info(time_base=frames[0].time_base)
    with open_sink(str(path), info=given, video=VideoOptions(codec, crf=crf)) as sink:
        assert sink.needs_picture
        for frame in frames:
            sink.write(result_of(frame))


def noisy(index: int) -> Result:
    """Return a result that takes a few kilobytes to encode."""
    frame = yuv_frame(index)
    noise = np.random.default_rng(0).integers(0, 256, frame.planes[0].shape, np.uint8)
    frame.planes[0][:] = np.roll(noise, 5 * index)
    return result_of(frame)


def run_child(body: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run `body` in a process of its own, which may be killed or starved; it finds its output's name in `path`."""
    here = Path(__file__).parent
    prelude = """
        import os, resource, signal, sys
        from clips import info, noisy, result_of, yuv_frame
        from solo_rt.errors import SinkError
        from solo_rt.sink import open_sink
        path = sys.argv[1]
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(body)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    return subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def read(path: Path) -> list[Frame]:
    """Return the frames of a video that has no damage."""
    with open_source(str(path)) as source:
        frames = list(source)
        assert source.damage is None
    return frames


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return what each line of a file holds."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_refused(path: Path, *words: str) -> None:
    """Assert that opening `path` fails with one line that names it and holds `words`."""
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message

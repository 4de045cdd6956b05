"""The clip that is measured on: the sample, the same on every machine, or any other video, played over and over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from solo_rt.errors import UsageError
from solo_rt.files import cache_folder, file_sha256
from solo_rt.result import Result
from solo_rt.sink import VideoOptions, open_sink
from solo_rt.source import Source, open_source
from solo_rt.source.base import Kind
from solo_rt.source.pictures import picture_paths
from solo_rt.types import Frame, Instances
from solo_rt.uri import expand_home, scheme
from solo_rt.world import CLASSES

SAMPLE = "test://?seed=7&size=1280x720&frames=120"  # is what it shows
LEAST_FRAMES = 16
KEPT, EVERY = 8, 15  # frames that the network and the model are measured on, spread over the first ones of the clip
DEFAULT_RATE = Fraction(30)  # of a clip that does not say


@dataclass(frozen=True, slots=True)
class Clip:
    """A video to measure on, and a few of its frames."""

    uri: str
    name: str  # for people
    sha256: str  # of the file, or of the names and bytes of pictures; empty for what is neither
    frame_rate: Fraction
    frames: tuple[Frame, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.frames[0].height, self.frames[0].width

    def close(self) -> None:
        """Do nothing: its frames are in memory."""

    def to_record(self) -> dict[str, object]:
        """Return what is known about it as JSON values."""
        height, width = self.size
        return {
            "name": self.name,
            "sha256": self.sha256,
            "width": width,
            "height": height,
            "frame_rate": round(float(self.frame_rate), 4),
        }


def open_clip(uri: str | None) -> Clip:
    """Return the clip at an address, the sample for None, which is made where it is not there yet.

    Raises: UsageError for a live source, for one of less than `LEAST_FRAMES` and for one with damage in those that are
    read here; SourceError.
    """
    address = str(find_sample()) if uri is None else expand_home(uri)
    with open_source(address, retry_for=0) as source:  # a live one is refused, which needs no patience
        info = source.info
        if info.live:
            raise UsageError(f"source {info.uri}: expected a clip, got a live source; record some seconds of it")
        frames, count = [], 0
        for count, frame in zip(range(1, KEPT * EVERY + 1), source, strict=False):
            if count % EVERY == 1:  # of 4K, all of them would take 1.5 GB
                frames.append(frame)
        if source.damage is not None:
            raise UsageError(f"source {source.damage}; expected a clip that is whole")
    if count < LEAST_FRAMES:
        raise UsageError(f"source {info.uri}: expected a clip of at least {LEAST_FRAMES} frames, got {count}")
    return Clip(
        address,
        SAMPLE if uri is None else info.uri if scheme(info.uri) else Path(info.uri).name,
        _sha256(address, info.kind),
        info.frame_rate or DEFAULT_RATE,
        tuple(frames),
    )


def _sha256(address: str, kind: Kind) -> str:
    """Return the SHA-256 of a file, or of the names and bytes of pictures; empty for what is neither."""
    path = Path(address)
    if kind != "pictures":
        return file_sha256(path) if path.is_file() else ""
    digest = sha256()
    for picture in picture_paths(address):
        digest.update(f"{picture.name} {file_sha256(picture)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def find_sample() -> Path:
    """Return the sample clip in the cache folder, H.264 of the procedural world: the same bytes every time.

    Raises: UsageError, CacheError where there is no place for it.
    """
    path = cache_folder() / "bench" / "world-7-1280x720-120.mp4"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            # One thread: how x264 divides a picture among several shows in the bytes.
            with (
                open_source(SAMPLE) as source,
                open_sink(str(part), info=source.info, video=VideoOptions(threads=1)) as sink,
            ):
                for frame in source:
                    sink.write(Result(frame, Instances.none((frame.height, frame.width)), CLASSES))
            part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot make the sample clip {path}: {error.strerror or error}; set SOLO_RT_CACHE") from error
    return path


class LoopedClip(Source):
    """A clip played over and over for some seconds, its frames numbered on at `rate` per second; one frame at least."""

    def __init__(self, uri: str, *, rate: Fraction, seconds: float) -> None:
        self._uri, self._rate, self._seconds = uri, rate, seconds
        self._first: Source | None = open_source(uri)
        self.info = replace(self._first.info, frame_rate=rate, frame_count=None, time_base=1 / rate)
        self.given = 0  # frames so far

    @property
    def damage(self) -> str | None:
        """None: damage behind what `open_clip` reads is the same in each lap."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        ends = time.monotonic() + self._seconds
        while True:
            source, self._first = self._first or open_source(self._uri), None
            with source:
                for frame in source:
                    if self.given and time.monotonic() >= ends:
                        return
                    yield replace(frame, index=self.given, pts=self.given, time_base=1 / self._rate)
                    self.given += 1

    def close(self) -> None:
        """Close what was opened and not played."""
        if self._first is not None:
            self._first.close()

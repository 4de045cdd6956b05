"""Frames of picture files: one file, a folder or a glob pattern, in the order a person would number them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from solo_rt.errors import SourceError
from solo_rt.source.base import Source, SourceInfo
from solo_rt.source.picture_header import holds_several, is_damaged_png, picture_size
from solo_rt.types import DEFAULT_FRAME_RATE, Frame, UInt8

SUFFIXES = (".bmp", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NAMED_IN_DAMAGE = 3
_NUMBER = re.compile(r"%(?:0(\d))?d")
log = logging.getLogger(__name__)


class PictureSource(Source):
    """Pictures as rgb24 frames, each at its own size. `__iter__`, `damage`, `close`: see `Source`.

    EXIF orientation is applied, grey becomes RGB, 16 bits become 8, alpha is dropped. What cannot be read is skipped
    and named in `damage`; `index` and `pts` count the pictures delivered. A file of several pictures gives its first,
    and GIFs are passed over, which is said once each: as a source of their own they are videos.
    """

    def __init__(self, uri: str, *, max_pixels: int) -> None:
        paths = picture_paths(uri)
        self._uri = uri
        self._has_told = False  # of a file of several pictures
        gifs = sum(path.suffix.lower() == ".gif" for path in _entries(uri))
        if gifs:
            log.warning("%s: %d GIF files are passed over; give them as sources of their own", uri, gifs)
        self._max_pixels = max_pixels
        self._skipped: list[str] = []
        self._reading = self._read(paths)
        first = next(self._reading, None)
        if first is None:
            raise SourceError(f"source {uri}: none of {len(paths)} pictures could be read: {self._name_skipped()}")
        self._frames: Iterator[Frame] = chain((first,), self._reading)
        self.info = SourceInfo(
            uri=uri,
            kind="pictures",
            width=first.width,
            height=first.height,
            frame_rate=DEFAULT_FRAME_RATE,
            frame_count=len(paths),
            time_base=1 / DEFAULT_FRAME_RATE,
            live=False,
        )

    @property
    def damage(self) -> str | None:
        if not self._skipped:
            return None
        return f"{self._uri}: {len(self._skipped)} unreadable pictures were skipped: {self._name_skipped()}"

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def close(self) -> None:
        self._frames = iter(())
        self._reading.close()

    def _read(self, paths: list[Path]) -> Generator[Frame, None, None]:
        index, ids = 0, _image_ids(paths)
        for path in paths:
            try:
                rgb, is_first_of_several = read_picture(path, max_pixels=self._max_pixels)
            except SourceError as error:
                self._skipped.append(str(error))
                continue
            rgb.flags.writeable = False
            if is_first_of_several and not self._has_told:
                self._has_told = True
                log.warning("%s: the file holds several pictures; only the first of such a file is read", path)
            now = time.monotonic()
            yield Frame(
                (rgb,),
                "rgb24",
                index=index,
                pts=index,
                time_base=1 / DEFAULT_FRAME_RATE,
                captured_at=now,
                name=path.name,
                image_id=ids.get(path),
            )
            index += 1

    def _name_skipped(self) -> str:
        hidden = len(self._skipped) - NAMED_IN_DAMAGE
        return "; ".join(self._skipped[:NAMED_IN_DAMAGE]) + (f"; and {hidden} more" if hidden > 0 else "")


def is_picture(path: Path) -> bool:
    """Return whether the file's name is that of a picture."""
    return path.suffix.lower() in SUFFIXES


def is_pattern(uri: str) -> bool:
    """Return whether the address is a glob pattern, or one of numbered pictures: `frame%06d.png`."""
    return any(character in uri for character in "*?[") or _NUMBER.search(Path(uri).name) is not None


def picture_paths(uri: str) -> list[Path]:
    """Return the pictures that a file name, a folder or a pattern stands for: `frame2.png` before `frame10.png`.

    Other files are passed over, and so are hidden ones. Raises: SourceError where there is no picture.
    """
    path = Path(uri)
    try:
        found, place = _entries(uri), "in the folder" if path.is_dir() else "matches the pattern"
        if found == [path]:
            return found
        visible = (p for p in found if is_picture(p) and p.is_file() and not p.name.startswith("."))
        pictures = sorted(visible, key=_natural_order)
    except OSError as error:
        raise SourceError(f"source {uri}: {error.strerror}; check the path and its permissions") from error
    except ValueError as error:
        raise SourceError(f"source {uri}: {error}") from error
    if not pictures and not is_pattern(uri) and not path.exists():
        raise SourceError(f"source {uri}: no such file or folder; check the path")
    if not pictures:
        kinds = " ".join(SUFFIXES)
        raise SourceError(f"source {uri}: no picture {place} ({len(found)} other entries); expected one of {kinds}")
    return pictures


def read_picture(path: Path, *, max_pixels: int) -> tuple[UInt8, bool]:
    """Return the picture as `uint8 [H, W, 3]` RGB, upright, and whether others follow it in the file.

    Raises: SourceError naming the file and what is wrong.
    """
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread takes no path that is not valid in the locale
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    size = picture_size(data)
    if size is not None and size[0] * size[1] > max_pixels:
        raise _too_large(path, *size, max_pixels)
    bgr = None if is_damaged_png(data) else _decode(data)
    if bgr is None:
        raise SourceError(f"{path}: not a picture, or damaged")
    if bgr.shape[0] * bgr.shape[1] > max_pixels:
        raise _too_large(path, bgr.shape[1], bgr.shape[0], max_pixels)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8), holds_several(data)


def _too_large(path: Path, width: int, height: int, max_pixels: int) -> SourceError:
    return SourceError(
        f"{path}: expected at most {max_pixels} pixels, got {width}x{height}; make it smaller, or in Python "
        "open_source(..., max_pixels=...)"
    )


def _image_ids(paths: Sequence[Path]) -> dict[Path, int]:
    """Return the numbers that the pictures are called by, none unless each has one of its own."""
    ids = {path: int(path.stem) for path in paths if path.stem.isascii() and path.stem.isdigit()}
    return ids if len(set(ids.values())) == len(paths) else {}


def _decode(data: UInt8) -> UInt8 | None:
    """Return what OpenCV makes of the data, without its own lines on stderr: the caller says what is wrong."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None if bgr is None else np.asarray(bgr, np.uint8)


def _entries(uri: str) -> list[Path]:
    """Return what is in the folder, or matches the pattern. Raises: OSError."""
    path = Path(uri)
    if path.exists():
        return list(path.iterdir()) if path.is_dir() else [path]
    if _NUMBER.search(path.name):
        numbered = re.compile(_NUMBER.sub(_digits, re.escape(path.name)))
        return [entry for entry in path.parent.iterdir() if numbered.fullmatch(entry.name)]
    return list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _digits(number: re.Match[str]) -> str:
    """Return a regular expression for what C's printf makes of %d or %06d."""
    width = int(number[1] or 1)
    return rf"(?:\d{{{width}}}|[1-9]\d{{{width},}})"


def _natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a sort key by which numbers inside a name count as numbers."""
    pieces = re.split(r"(\d+)", str(path))  # text and number take turns, so that like is compared with like
    return [int(piece) if i % 2 else piece.casefold() for i, piece in enumerate(pieces)], str(path)

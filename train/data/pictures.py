"""Pictures and label files as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError
from solo_rt.source.picture_header import picture_size
from solo_rt.types import IGNORED

Image = NDArray[np.uint8]  # [H, W, 3] RGB
Labels = NDArray[np.uint8]  # [H, W] index into the classes, or IGNORED

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MOST_PIXELS = 1 << 28  # of a picture
JPEG_QUALITY = 95  # of 100
PNG_COLOUR_TYPE = 25  # offset of the colour type in a PNG file: PNG specification, 5.2 and 11.2.2
PNG_PALETTE = 3


@dataclass(frozen=True, slots=True)
class FilePairs:
    """Reads picture i from a file and its labels from another; `lookup uint8 [256]` turns stored ids into labels."""

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    lookup: NDArray[np.uint8] | None = None

    def __call__(self, index: int) -> tuple[Image, Labels]:
        stored = read_labels(self.labels[index])
        return read_picture(self.images[index]), stored if self.lookup is None else self.lookup[stored]


def read_picture(path: Path, *, size: tuple[int, int] | None = None) -> Image:
    """Return the picture as stored, not turned by what its EXIF data says.

    Raises: DatasetError when it is missing, damaged or not of `size`, height and width, where that is given.
    """
    picture = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, what="picture", size=size)
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture `[H, W, 3] RGB`, or labels `[H, W]`, in the format of the extension. Raises: DatasetError."""
    stored = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []  # others warn of it
    if not cv2.imwrite(str(path), stored, options):
        raise DatasetError(f"cannot write {path}; is there room for it?")


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Return the stored ids, `uint8 [H, W]`: grey values, or the indices of a palette whatever its colours.

    Raises: DatasetError when the file cannot be read or holds colours or more than 8 bits.
    """
    numbers = read_numbers(path)
    if numbers.dtype != np.uint8:
        raise DatasetError(f"labels {path}: expected 8-bit class numbers, grey or with a palette, got 16 bits")
    return np.asarray(numbers, np.uint8)


def read_numbers(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return what is stored for each pixel, `[H, W]`: a grey value, or an index of a palette.

    Raises: DatasetError, also for numbers that do not fit into 16 bits.
    """
    if _has_palette(path):
        return _read_indices(path)
    numbers = _decode(path, cv2.IMREAD_UNCHANGED, what="labels")
    if numbers.ndim != 2:
        got = f"{numbers.shape[2]} channels"
        raise DatasetError(f"labels {path}: expected numbers, grey or with a palette, got {got}")
    if numbers.dtype == np.uint8:
        return np.asarray(numbers, np.uint8)
    kept = numbers.astype(np.uint16)
    if not np.array_equal(kept, numbers):
        raise DatasetError(f"labels {path}: expected whole numbers in 0..65535, got others, as {numbers.dtype}")
    return kept


def lookup_table(ids: dict[int, int]) -> NDArray[np.uint8]:
    """Return `uint8 [256]` from stored id to label for the given `ids`; all others are `IGNORED`."""
    table = np.full(256, IGNORED, np.uint8)
    table[list(ids)] = list(ids.values())
    return table


def files_by_stem(folder: Path, *, suffixes: tuple[str, ...] = PICTURES) -> dict[str, Path]:
    """Return the pictures directly in `folder` by name without extension, sorted. Raises: DatasetError."""
    if not folder.is_dir():
        raise DatasetError(f"expected a folder {folder}; check the root of the data set")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise DatasetError(f"{folder}: expected one file of each name, got {other.name} and {path.name}")
    return found


def pair_files(images: dict[str, Path], labels: dict[str, Path], *, where: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures and label files with the same key. Raises: DatasetError where one lacks the other."""
    lonely = sorted(images.keys() ^ labels.keys())
    if lonely or not images:
        got = f"{len(lonely)} without the other, such as {lonely[0]}" if lonely else "none"
        raise DatasetError(f"{where}: expected pictures and a label file for each, got {got}")
    return [images[key] for key in images], [labels[key] for key in images]


def _decode(path: Path, flags: int, *, what: str, size: tuple[int, int] | None = None) -> NDArray[np.generic]:
    """Return what a file holds; its size is read first, before a bomb becomes gigabytes. Raises: DatasetError."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DatasetError(f"cannot read {what} {path}: {error.strerror}; is the data set complete?") from error
    width, height = picture_size(data) or (0, 0)
    _check_size(path, (height, width), size, what=what)
    try:
        decoded = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise DatasetError(f"cannot read {what} {path}: not a picture, or damaged; is the data set complete?")
    _check_size(path, decoded.shape[:2], size, what=what)
    return decoded


def _check_size(path: Path, found: tuple[int, ...], expected: tuple[int, int] | None, *, what: str) -> None:
    """Raise DatasetError for a picture of another size than expected, or too many pixels; (0, 0) is not known."""
    height, width = found
    if expected is not None and found not in (expected, (0, 0)):
        raise DatasetError(
            f"{what} {path}: expected {expected[0]}x{expected[1]} as annotated, got {height}x{width}; "
            "is it another version, or turned by its EXIF data?"
        )
    if height * width > MOST_PIXELS:
        raise DatasetError(f"{what} {path}: expected at most {MOST_PIXELS} pixels, got {height}x{width}")


def _has_palette(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(PNG_COLOUR_TYPE + 1)
    except OSError as error:
        raise DatasetError(f"cannot read labels {path}: {error.strerror}; is the data set complete?") from error
    return head[:4] == b"\x89PNG" and head[PNG_COLOUR_TYPE:] == bytes([PNG_PALETTE])


def _read_indices(path: Path) -> NDArray[np.uint8]:
    """Return the indices of a PNG with a palette; OpenCV would return colours."""
    try:
        with av.open(str(path)) as container:
            (frame,) = container.decode(video=0)
            plane = frame.planes[0]
    except (av.FFmpegError, ValueError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}; is the data set complete?") from error
    if frame.format.name != "pal8":
        raise DatasetError(f"labels {path}: expected a PNG with a palette, got {frame.format.name}")
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : frame.width].copy()

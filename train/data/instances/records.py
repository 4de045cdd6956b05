"""Checks the records of a COCO annotation file before anything native sees them.

pycocotools trusts its input: a run-length code that is too long, a coordinate that is not finite or far away makes it
write out of bounds or ask for gigabytes. So every record is checked here, and a bad one is left out, counted and named.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from solo_rt.train.data.instances.masks import Polygons, RunLengths, unpack_counts
from solo_rt.train.data.pictures import MOST_PIXELS

MOST_STEPS = 1 << 26  # of all outlines of an object, in fifths of a pixel, the grid pycocotools draws them on
MOST_ID = 2**53  # what every JSON reader holds exactly
MOST_LENGTH = 1e30  # of a box or an area, pixels: its product with any other fits a double

log = logging.getLogger(__name__)


class BadRecord(ValueError):
    """A record cannot be used; the message is the reason it is counted under."""


class Skipped:
    """Counts what is left out, by reason; names each record in the log for those who ask for details."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.counts: Counter[str] = Counter()

    def add(self, what: str, reason: BadRecord) -> None:
        """Count one record."""
        self.counts[str(reason)] += 1
        log.info("%s: %s left out: %s", self.where, what, reason)

    def report(self) -> None:
        """Say in one line how many were left out and why, if any were."""
        if self.counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts.most_common())
            log.warning("%s: left out %d records: %s (-v names them)", self.where, self.counts.total(), reasons)


class PictureRecord(NamedTuple):
    """A checked entry of `images`."""

    id: int
    name: str
    size: tuple[int, int]


class ObjectRecord(NamedTuple):
    """A checked entry of `annotations`."""

    id: int | None  # many tools leave it out
    picture: int  # its id
    category: int
    box: tuple[float, float, float, float]  # xyxy
    area: float
    crowd: bool
    segmentation: Polygons | RunLengths


def check_picture(record: object) -> PictureRecord:
    """Return an entry of `images`. Raises: BadRecord."""
    fields = _fields(record, "picture", "id", "file_name", "height", "width")
    name, (height, width) = fields["file_name"], (fields["height"], fields["width"])
    if not isinstance(name, str) or not name or "\0" in name:
        raise BadRecord("picture without a file name")
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        raise BadRecord("picture outside its folder")
    if not (_is_int(height) and _is_int(width) and height > 0 and width > 0 and height * width < MOST_PIXELS):
        raise BadRecord("picture of an impossible size")
    return PictureRecord(_id(fields["id"], "picture"), name, (height, width))


def check_category(record: object) -> tuple[int, str]:
    """Return id and name of an entry of `categories`. Raises: BadRecord."""
    fields = _fields(record, "category", "id", "name")
    if not isinstance(fields["name"], str) or not fields["name"]:
        raise BadRecord("category without a name")
    return _id(fields["id"], "category"), fields["name"]


def check_object(record: object, sizes: dict[int, tuple[int, int]], categories: frozenset[int]) -> ObjectRecord:
    """Return an entry of `annotations`; `sizes` are those of the pictures by id. Raises: BadRecord."""
    fields = _fields(record, "annotation", "image_id", "category_id", "bbox", "segmentation")
    picture, category = _id(fields["image_id"], "annotation"), _id(fields["category_id"], "annotation")
    if picture not in sizes:
        raise BadRecord("annotation of an unknown picture")
    if category not in categories:
        raise BadRecord("annotation of an unknown category")
    crowd = fields.get("iscrowd", 0)
    if not (_is_int(crowd) or isinstance(crowd, bool)) or crowd not in (0, 1):
        raise BadRecord("annotation with iscrowd other than 0 and 1")
    box = fields["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(value) for value in box):
        raise BadRecord("box that is not four numbers")
    x, y, w, h = map(float, box)
    if w < 0 or h < 0:
        raise BadRecord("box of an impossible size")
    segmentation = check_segmentation(fields["segmentation"], sizes[picture])
    area = fields.get("area")
    if area is not None and not _is_finite(area):
        raise BadRecord("annotation with an impossible area")
    if area is None or area <= 0:  # some tools write 0 for all
        area = float(coco_mask.area(segmentation.rle(sizes[picture])))
    number = None if fields.get("id") is None else _id(fields["id"], "annotation")
    return ObjectRecord(number, picture, category, (x, y, x + w, y + h), float(area), bool(crowd), segmentation)


def check_segmentation(value: object, size: tuple[int, int]) -> Polygons | RunLengths:
    """Return the segmentation of a picture of `size`, safe to give to pycocotools. Raises: BadRecord."""
    if isinstance(value, list):
        return _check_polygons(value, size)
    if isinstance(value, dict):
        return _check_run_lengths(value, size)
    raise BadRecord("segmentation that is neither polygons nor a run-length code")


def _check_polygons(rings: list[object], size: tuple[int, int]) -> Polygons:
    if not rings:
        raise BadRecord("segmentation without a polygon")
    sides = np.array(size[::-1], np.float64)
    checked = []
    for ring in rings:
        if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
            raise BadRecord("polygon of fewer than three points, or half a point")
        if not set(map(type, ring)) <= {int, float}:
            raise BadRecord("polygon that is not of numbers")
        try:
            points = np.array(ring, np.float64).reshape(-1, 2)
        except OverflowError:
            raise BadRecord("polygon far outside its picture") from None
        if not ((points >= -sides) & (points <= 2 * sides)).all():  # nor where one is not a number
            is_finite = bool(np.isfinite(points).all())
            raise BadRecord(
                "polygon far outside its picture" if is_finite else "polygon with a coordinate that is not finite"
            )
        checked.append(points.ravel())
    if sum(map(len, checked)) * 15 * max(size) > MOST_STEPS and sum(map(_steps, checked)) > MOST_STEPS:
        raise BadRecord("polygon with too long an outline")
    return Polygons(tuple(checked))


def _steps(ring: NDArray[np.float64]) -> float:
    """Return how many steps of a fifth of a pixel pycocotools draws a closed outline in."""
    points = ring.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(1).sum()) * 5 + len(points)


def _check_run_lengths(record: dict[str, object], size: tuple[int, int]) -> RunLengths:
    if record.get("size") != list(size):
        raise BadRecord("run-length code of another size than its picture")
    text = record.get("counts")
    if isinstance(text, str):
        if not text.isascii():
            raise BadRecord("run-length code that cannot be read")
        text = text.encode("ascii")
        try:
            counts = unpack_counts(text)
        except ValueError as error:
            raise BadRecord("run-length code that cannot be read") from error
    elif isinstance(text, list):
        if not set(map(type, text)) <= {int}:
            raise BadRecord("run-length code that cannot be read")
        try:
            counts = np.array(text, np.int64)
        except OverflowError:
            raise BadRecord("run-length code that does not fill its picture") from None
        text = b""
    else:
        raise BadRecord("run-length code that cannot be read")
    pixels = size[0] * size[1]
    if not len(counts) or counts.min() < 0 or counts.max() > pixels or counts.sum() != pixels:
        raise BadRecord("run-length code that does not fill its picture")
    if text and counts[1:].all():
        return RunLengths(text)
    counts = _without_empty_runs(counts)
    return RunLengths(coco_mask.frPyObjects({"size": list(size), "counts": counts.tolist()}, *size)["counts"])


def _without_empty_runs(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same mask with runs of length 0 at its beginning only; pycocotools stops at others."""
    full = np.flatnonzero(counts)
    colours = full % 2
    starts = np.flatnonzero(np.diff(colours, prepend=-1))
    runs = np.add.reduceat(counts[full], starts)
    return np.concatenate([[0], runs]) if colours[0] else runs


def _fields(record: object, what: str, *names: str) -> dict[str, object]:
    if not isinstance(record, dict) or any(name not in record for name in names):
        raise BadRecord(f"{what} without {', '.join(names)}")
    return record


def _id(value: object, what: str) -> int:
    if not _is_int(value) or abs(value) > MOST_ID:
        raise BadRecord(f"{what} with an id that is not a whole number")
    return value


def _is_int(value: object) -> TypeGuard[int]:
    """Return whether it is a whole number; True and False are not."""
    return type(value) is int


def _is_finite(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < MOST_LENGTH  # type: ignore[arg-type]  # false for NaN

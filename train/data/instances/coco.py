"""COCO and whatever has its format: one JSON file of annotations and a folder of pictures.

Source: cocodataset.org/#format-data. Category ids need not be consecutive; ids may start at 0, which pycocotools'
metric takes for "not matched": that is why nothing but our own numbers reaches it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.instances.base import Annotation, InstanceSet, Size
from solo_rt.train.data.instances.masks import Polygons, RunLengths
from solo_rt.train.data.instances.records import (
    BadRecord,
    ObjectRecord,
    PictureRecord,
    Skipped,
    check_category,
    check_object,
    check_picture,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PackedObjects:
    """The objects of all pictures in a few arrays: a hundred times fewer Python objects than the JSON has.

    Objects of picture i are `first[i]` to `first[i + 1]`; rings of object a are `ring_first[a]` to `ring_first[a + 1]`,
    none if it has a run-length code; and so on. `__call__` is the `read` of an `InstanceSet`.
    """

    sizes: NDArray[np.int32]  # [pictures, 2] height, width
    first: NDArray[np.int64]  # [pictures + 1]
    labels: NDArray[np.int32]  # [objects]
    boxes: NDArray[np.float64]  # [objects, 4] xyxy
    areas: NDArray[np.float64]  # [objects]
    crowds: NDArray[np.bool_]  # [objects]
    ring_first: NDArray[np.int64]  # [objects + 1]
    point_first: NDArray[np.int64]  # [rings + 1]
    points: NDArray[np.float64]  # of all rings: x, y, x, y, ...
    code_first: NDArray[np.int64]  # [objects + 1]
    codes: NDArray[np.uint8]  # of all compressed run-length codes

    def __call__(self, index: int) -> tuple[Size, tuple[Annotation, ...]]:
        height, width = self.sizes[index].tolist()
        return (height, width), tuple(map(self._object, range(self.first[index], self.first[index + 1])))

    def _object(self, a: int) -> Annotation:
        begin, end = self.ring_first[a], self.ring_first[a + 1]
        segmentation: Polygons | RunLengths
        if begin < end:
            cuts = self.point_first[begin : end + 1]
            segmentation = Polygons(tuple(self.points[i:j] for i, j in pairwise(cuts)))
        else:
            segmentation = RunLengths(self.codes[self.code_first[a] : self.code_first[a + 1]].tobytes())
        x0, y0, x1, y1 = self.boxes[a].tolist()
        return Annotation(
            int(self.labels[a]), (x0, y0, x1, y1), float(self.areas[a]), bool(self.crowds[a]), segmentation
        )


def open_coco(
    place: str, *, split: str, classes: Sequence[str] | None = None, images: int | None = None
) -> InstanceSet:
    """Return the data set at `place`, the first `images` pictures of it, with the given classes only.

    `place` is a folder with `annotations/instances_{train,val}2017.json` and `{train,val}2017/`; or one with
    `instances.json` and `images/`, the same for both splits; or `ANNOTATIONS.json,FOLDER`.
    Records that cannot be used are left out, counted in `skipped` and reported by a warning.
    Raises: DatasetError when there are no such files, or nothing in them; UsageError for a class they do not have.
    """
    path, folder = _locate(place, split)
    record = _load_json(path)
    skipped = Skipped(str(path))
    pictures = _collect(record["images"], check_picture, lambda picture: picture.id, "picture", skipped)
    pictures.sort()
    categories = _collect(record["categories"], check_category, lambda category: category[0], "category", skipped)
    categories.sort()
    if not pictures or not categories:
        skipped.report()
        raise DatasetError(f"{path}: expected pictures and categories, got {len(pictures)} and {len(categories)}")
    known = frozenset(number for number, _ in categories)
    chosen = _choose(categories, classes, path)
    objects = _check_objects(record["annotations"], pictures, known, skipped)
    skipped.report()
    pictures = pictures[:images]
    return InstanceSet(
        kind="coco",
        folder=folder,
        classes=tuple(name for _, name in chosen),
        category_ids=tuple(number for number, _ in chosen),
        picture_ids=np.array([picture.id for picture in pictures], np.int64),
        names=tuple(picture.name for picture in pictures),
        read=_pack(pictures, objects, {number: label for label, (number, _) in enumerate(chosen)}),
        skipped=dict(skipped.counts),
    )


def _locate(place: str, split: str) -> tuple[Path, Path]:
    """Return the annotation file and the folder of pictures. Raises: DatasetError."""
    annotations, comma, images = place.rpartition(",")
    root = Path(place).expanduser()
    candidates = (
        [(Path(annotations).expanduser(), Path(images).expanduser())]
        if comma
        else [
            (root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"),
            (root / "instances.json", root / "images"),
        ]
    )
    for path, folder in candidates:
        if path.is_file() and folder.is_dir():
            return path, folder
    expected = " or ".join(f"{path} with {folder}/" for path, folder in candidates)
    raise DatasetError(f"expected {expected}, found neither; make a data set with solo-rt demo-data --coco")


def _load_json(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open("rb") as file:
            record = json.load(file)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not a COCO annotation file ({type(error).__name__}: {error})") from error
    names = ("images", "annotations", "categories")
    if not isinstance(record, dict) or not all(isinstance(record.get(name), list) for name in names):
        raise DatasetError(f"{path} is not a COCO annotation file: expected lists {', '.join(names)}")
    return record


def _collect(
    records: list[object], check: Callable[[object], T], key: Callable[[T], int], what: str, skipped: Skipped
) -> list[T]:
    """Return the checked records, the first of those with the same id."""
    found: dict[int, T] = {}
    for number, record in enumerate(records):
        try:
            checked = check(record)
            if key(checked) in found:
                raise BadRecord(f"{what} with the id of another one")
        except BadRecord as reason:
            skipped.add(f"{what} number {number}", reason)
        else:
            found[key(checked)] = checked
    return list(found.values())


def _choose(categories: list[tuple[int, str]], classes: Sequence[str] | None, path: Path) -> list[tuple[int, str]]:
    """Return the categories named in `classes`, in their own order. Raises: DatasetError, UsageError."""
    names = [name for _, name in categories]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path}: expected every category to have a name of its own, {', '.join(twice)} do not")
    if classes is None:
        return categories
    unknown = [name for name in classes if name not in names]
    if unknown or not classes:
        raise UsageError(f"{path} has no class {', '.join(unknown) or 'without a name'}; it has {', '.join(names)}")
    return [category for category in categories if category[1] in classes]


def _check_objects(
    records: list[object], pictures: list[PictureRecord], categories: frozenset[int], skipped: Skipped
) -> list[ObjectRecord]:
    sizes = {picture.id: picture.size for picture in pictures}
    found: list[ObjectRecord] = []
    ids: set[int] = set()
    for number, record in enumerate(records):
        try:
            checked = check_object(record, sizes, categories)
            if checked.id in ids:
                raise BadRecord("annotation with the id of another one")
        except BadRecord as reason:
            skipped.add(f"annotation number {number}", reason)
        else:
            found.append(checked)
            if checked.id is not None:
                ids.add(checked.id)
    return found


def _pack(pictures: list[PictureRecord], objects: list[ObjectRecord], labels: dict[int, int]) -> PackedObjects:
    """Return the objects of `pictures` whose category has a label, picture by picture in the order of the file."""
    places = {picture.id: place for place, picture in enumerate(pictures)}
    kept = [item for item in objects if item.picture in places and item.category in labels]
    kept.sort(key=lambda item: places[item.picture])
    rings = [item.segmentation.rings if isinstance(item.segmentation, Polygons) else () for item in kept]
    codes = [item.segmentation.counts if isinstance(item.segmentation, RunLengths) else b"" for item in kept]
    points = [ring for group in rings for ring in group]
    owners = np.array([places[item.picture] for item in kept], np.int64)
    return PackedObjects(
        sizes=np.array([picture.size for picture in pictures], np.int32),
        first=_ends(np.bincount(owners, minlength=len(pictures))),
        labels=np.array([labels[item.category] for item in kept], np.int32),
        boxes=np.array([item.box for item in kept], np.float64).reshape(-1, 4),
        areas=np.array([item.area for item in kept], np.float64),
        crowds=np.array([item.crowd for item in kept], np.bool_),
        ring_first=_ends([len(group) for group in rings]),
        point_first=_ends([len(ring) for ring in points]),
        points=np.concatenate(points) if points else np.zeros(0),
        code_first=_ends([len(code) for code in codes]),
        codes=np.frombuffer(b"".join(codes), np.uint8),
    )


def _ends(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of the parts of the given lengths begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)

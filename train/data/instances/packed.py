"""The annotations of a whole data set in a few arrays, which many processes can share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.instances.base import Annotation, Size
from solo_rt.train.data.instances.masks import Polygons, RunLengths
from solo_rt.train.data.instances.records import ObjectRecord, PictureRecord


@dataclass(frozen=True, slots=True)
class PackedObjects:
    """The objects of all pictures: a hundred times fewer Python objects than their JSON has.

    Objects of picture i are `first[i]` to `first[i + 1]`; rings of object a are `ring_first[a]` to `ring_first[a + 1]`,
    none if it has a run-length code; and so on. `__call__` is the `read` of an `InstanceSet`. What `load_packed` has
    read is sent to another process as the name of its folder, so that all processes map the same memory.
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
    folder: Path | None = None  # where `load_packed` found it

    def __call__(self, index: int) -> tuple[Size, tuple[Annotation, ...]]:
        height, width = self.sizes[index].tolist()
        return (height, width), tuple(map(self._object, range(self.first[index], self.first[index + 1])))

    def untrained(self) -> NDArray[np.int64]:
        """Return which objects are none to learn from though they are no crowds; see `InstanceSet.trained`."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.flatnonzero(~self.crowds & ((sides.min(axis=1, initial=np.inf) < 1) | (self.areas <= 0)))

    def __reduce__(self) -> tuple[object, ...]:
        if self.folder is not None:
            return load_packed, (self.folder,)
        return PackedObjects, tuple(getattr(self, name) for name in ARRAYS)

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


ARRAYS = tuple(field.name for field in fields(PackedObjects) if field.name != "folder")


def pack(
    pictures: Sequence[PictureRecord], objects: Sequence[ObjectRecord], labels: Mapping[int, int]
) -> PackedObjects:
    """Return the objects picture by picture, in their own order; `labels` are those of the category ids."""
    places = {picture.id: place for place, picture in enumerate(pictures)}
    objects = sorted(objects, key=lambda item: places[item.picture])
    rings = [item.segmentation.rings if isinstance(item.segmentation, Polygons) else () for item in objects]
    codes = [item.segmentation.counts if isinstance(item.segmentation, RunLengths) else b"" for item in objects]
    points = [ring for group in rings for ring in group]
    owners = np.array([places[item.picture] for item in objects], np.int64)
    return PackedObjects(
        sizes=np.array([picture.size for picture in pictures], np.int32).reshape(-1, 2),
        first=_starts(np.bincount(owners, minlength=len(pictures))),
        labels=np.array([labels[item.category] for item in objects], np.int32),
        boxes=np.array([item.box for item in objects], np.float64).reshape(-1, 4),
        areas=np.array([item.area for item in objects], np.float64),
        crowds=np.array([item.crowd for item in objects], np.bool_),
        ring_first=_starts([len(group) for group in rings]),
        point_first=_starts([len(ring) for ring in points]),
        points=np.concatenate(points) if points else np.zeros(0),
        code_first=_starts([len(code) for code in codes]),
        codes=np.frombuffer(b"".join(codes), np.uint8),
    )


def choose(packed: PackedObjects, *, pictures: int, labels: Mapping[int, int]) -> PackedObjects:
    """Return the first `pictures` with the objects whose label is in `labels`, which gives the new ones."""
    lookup = np.full(max([*labels, int(packed.labels.max(initial=0))]) + 1, -1, np.int32)
    lookup[list(labels)] = list(labels.values())
    renamed = lookup[packed.labels[: packed.first[pictures]]]
    chosen = np.flatnonzero(renamed >= 0)
    rings, ring_first = _gather(packed.ring_first, chosen)
    points, point_first = _gather(packed.point_first, rings)
    codes, code_first = _gather(packed.code_first, chosen)
    return PackedObjects(
        sizes=packed.sizes[:pictures],
        first=np.searchsorted(chosen, packed.first[: pictures + 1]),
        labels=renamed[chosen],
        boxes=packed.boxes[chosen],
        areas=packed.areas[chosen],
        crowds=packed.crowds[chosen],
        ring_first=ring_first,
        point_first=point_first,
        points=packed.points[points],
        code_first=code_first,
        codes=packed.codes[codes],
    )


def save_packed(packed: PackedObjects, folder: Path) -> None:
    """Write the arrays to `folder`, a file each. Raises: OSError."""
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(packed, name), allow_pickle=False)


def load_packed(folder: Path) -> PackedObjects:
    """Return what `save_packed` wrote, as memory that all processes share. Raises: OSError; ValueError when damaged."""
    arrays: dict[str, Any] = {
        name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in ARRAYS
    }
    return PackedObjects(**arrays, folder=folder)


def _starts(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of the parts of the given lengths begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _gather(first: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of all that the chosen parts hold, and where each part begins among them."""
    starts = _starts(first[chosen + 1] - first[chosen])
    shifts = np.repeat(first[chosen] - starts[:-1], np.diff(starts))
    return np.arange(starts[-1]) + shifts, starts

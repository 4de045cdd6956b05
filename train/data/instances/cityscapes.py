"""Cityscapes with a mask for every person and vehicle (Cordts et al. 2016; cityscapesScripts, helpers/labels.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.instances.base import Annotation, InstanceSet, Size
from solo_rt.train.data.instances.regions import find_regions
from solo_rt.train.data.semantic.cityscapes import INSTANCES, LABELS, NUMBERED, PICTURE, read_instance_ids
from solo_rt.types import IGNORED
from solo_rt.uri import expand_home

THINGS = {label.id: label.name for label in LABELS if label.has_instances and label.train_id != IGNORED}
"""The eight classes with instances that are measured, by their id."""
LEAST_AREA = 10  # pixels of an object to learn from

Ids = NDArray[np.uint16]  # [H, W]


@dataclass(frozen=True, slots=True)
class InstanceIds:
    """Reads the objects of picture i from its `*_instanceIds.png`; `__call__` is the `read` of an `InstanceSet`."""

    paths: tuple[Path, ...]
    things: tuple[int, ...]  # ids of the classes, ascending

    def __call__(self, index: int) -> tuple[Size, tuple[Annotation, ...]]:
        ids = self.load(index)
        return (ids.shape[0], ids.shape[1]), find_objects(ids, self.things)

    def load(self, index: int) -> Ids:
        """Return the ids of all pixels. Raises: DatasetError."""
        return read_instance_ids(self.paths[index])


def open_cityscapes(
    place: str, *, split: str, classes: Sequence[str] | None = None, images: int | None = None
) -> InstanceSet:
    """Return the finely labelled pictures of the folder `place`, which holds leftImg8bit/ and gtFine/.

    A region of several objects that nobody told apart becomes a crowd; boxes are tight. Raises: DatasetError,
    UsageError for a class without instances.
    """
    root = Path(expand_home(place))
    chosen = {number: name for number, name in THINGS.items() if classes is None or name in classes}
    unknown = [name for name in classes or () if name not in THINGS.values()]
    if unknown or not chosen:
        raise UsageError(f"Cityscapes has no instances of {unknown}; it has {', '.join(THINGS.values())}")
    folder = root / "leftImg8bit" / split
    pictures = sorted(folder.glob(f"*/*{PICTURE}"))[:images]
    if not pictures:
        raise DatasetError(f"expected leftImg8bit/{split}/CITY/*{PICTURE} in {root}, found none")
    names = tuple(str(path.relative_to(folder)) for path in pictures)
    labels = tuple(root / "gtFine" / split / (name.removesuffix(PICTURE) + INSTANCES) for name in names)
    missing = next((path for path in labels if not path.is_file()), None)
    if missing is not None:
        raise DatasetError(f"expected instance ids for each picture, {missing} is missing")
    return InstanceSet(
        kind="cityscapes",
        folder=folder,
        classes=tuple(chosen.values()),
        category_ids=tuple(chosen),
        picture_ids=np.arange(1, len(pictures) + 1, dtype=np.int64),
        names=names,
        read=InstanceIds(labels, tuple(chosen)),
        least_area=LEAST_AREA,
    )


def find_objects(ids: Ids, things: Sequence[int]) -> tuple[Annotation, ...]:
    """Return the objects in ascending order of their ids, so crowds first; label k is class `things[k]`."""
    labels = np.full(1 << 16, -1, np.int32)  # by id
    for label, number in enumerate(things):
        labels[number] = labels[number * NUMBERED : (number + 1) * NUMBERED] = label
    return tuple(
        Annotation(int(labels[found.number]), found.box, found.area, found.number < NUMBERED, found.mask)
        for found in find_regions(ids, labels >= 0)
    )

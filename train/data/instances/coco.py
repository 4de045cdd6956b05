"""COCO and whatever has its format: one JSON file of annotations and a folder of pictures.

Source: cocodataset.org/#format-data. Category ids need not be consecutive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.instances.base import InstanceSet
from solo_rt.train.data.instances.index import open_index
from solo_rt.train.data.instances.packed import choose
from solo_rt.uri import expand_home


def open_coco(
    place: str, *, split: str, classes: Sequence[str] | None = None, images: int | None = None
) -> InstanceSet:
    """Return the data set at `place`, the first `images` pictures of it, with the given classes only.

    `place` is a folder with `annotations/instances_{train,val}2017.json` and `{train,val}2017/`; or one with
    `instances.json` and `images/`, the same for both splits; or `ANNOTATIONS.json,FOLDER`.
    Records that cannot be used are left out, counted in `skipped` and reported by a warning.
    Raises: DatasetError when there are no such files, or nothing in them; UsageError for a class they do not have.
    """
    path, folder, has_parts = _locate(place, split)
    index = open_index(path)
    labels = _choose(index.categories, classes, path)
    pictures, objects = index.pictures[:images], index.objects
    if len(labels) < len(index.categories) or len(pictures) < len(index.pictures):
        objects = choose(objects, pictures=len(pictures), labels={old: new for new, old in enumerate(labels)})
    return InstanceSet(
        kind="coco",
        folder=folder,
        classes=tuple(index.categories[label][1] for label in labels),
        category_ids=tuple(index.categories[label][0] for label in labels),
        picture_ids=np.array([number for number, _ in pictures], np.int64),
        names=tuple(name for _, name in pictures),
        read=objects,
        sizes=objects.sizes,
        skipped=index.skipped,
        has_parts=has_parts,
    )


def _locate(place: str, split: str) -> tuple[Path, Path, bool]:
    """Return the annotation file, the folder of pictures and whether both are of one part. Raises: DatasetError."""
    annotations, comma, images = place.rpartition(",")
    root = Path(expand_home(place))
    candidates = (
        [(Path(expand_home(annotations)), Path(expand_home(images)))]
        if comma
        else [
            (root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"),
            (root / "instances.json", root / "images"),
        ]
    )
    for path, folder in candidates:
        if path.is_file() and folder.is_dir():
            return path, folder, f"{split}2017" in path.stem and not comma
    expected = " or ".join(f"{path} with {folder}/" for path, folder in candidates)
    raise DatasetError(f"expected {expected}, found neither; make a data set with solo-rt demo-data --coco")


def _choose(categories: Sequence[tuple[int, str]], classes: Sequence[str] | None, path: Path) -> list[int]:
    """Return the labels of the categories named in `classes`, ascending. Raises: DatasetError, UsageError."""
    names = [name for _, name in categories]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{path}: expected every category to have a name of its own, {', '.join(twice)} do not")
    if classes is None:
        return list(range(len(names)))
    unknown = [name for name in classes if name not in names]
    if unknown or not classes:
        raise UsageError(f"{path} has no class {', '.join(unknown) or 'without a name'}; it has {', '.join(names)}")
    return [label for label, name in enumerate(names) if name in classes]

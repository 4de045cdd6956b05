"""A folder of pictures and label files: a user's own data, and what `demo-data --semantic` writes.

    DIR/images/NAME.jpg     or images/train/NAME.jpg and images/val/NAME.jpg
    DIR/labels/NAME.png     likewise; 8-bit, pixel value = class, 255 = ignored
    DIR/classes.json        {"classes": [...], "palette": [[r, g, b], ...], "unpainted": [0], "ids": [0, 255]}
    DIR/classes.txt         or this, one name per line; without both, classes get numbers for names

All keys of classes.json but "classes" may be left out. "ids" says with which pixel value each class is stored, if not
with its own number; all other values are ignored then.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from solo_rt.errors import DatasetError, UsageError
from solo_rt.progress import OnProgress
from solo_rt.train.data.pictures import (
    FilePairs,
    files_by_stem,
    lookup_table,
    pair_files,
    read_labels,
    write_picture,
)
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.palettes import voc_palette
from solo_rt.types import IGNORED

MASKS = (".png", ".bmp", ".tif", ".tiff")


def open_folder(root: Path, *, split: str) -> SemanticSet:
    """Return the pictures of `root`, of its part `split` if it has parts. Raises: DatasetError."""
    images, labels = root / "images", root / "labels"
    has_parts = (images / split).is_dir()
    if has_parts:
        images, labels = images / split, labels / split
    pictures, masks = pair_files(files_by_stem(images), files_by_stem(labels, suffixes=MASKS), where=root)
    legend, ids = read_legend(root)
    legend = legend or _numbered(_all_masks(root / "labels") if has_parts else masks)
    files = FilePairs(tuple(pictures), tuple(masks), lookup_table(ids) if ids else None)
    names = tuple(path.stem for path in pictures)
    return SemanticSet("folder", legend, names, files, has_parts=has_parts)


def read_legend(root: Path) -> tuple[Legend | None, dict[int, int]]:
    """Return what classes.json or classes.txt says, and the class of each stored id if they are not the same.

    Without such a file the legend is None. Raises: DatasetError.
    """
    path = root / "classes.json"
    if not path.is_file():
        return _read_names(root / "classes.txt"), {}
    try:
        record = json.loads(path.read_text("utf-8-sig"))
        names = tuple(map(str, record["classes"]))
        palette = tuple((int(r), int(g), int(b)) for r, g, b in record.get("palette", voc_palette(len(names))))
        ids = [int(value) for value in record.get("ids", [])]
        legend = Legend(names, palette, unpainted=tuple(map(int, record.get("unpainted", []))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: expected the classes ({type(error).__name__}: {error})") from error
    if ids and (len(set(ids)) != len(names) or len(ids) != len(names) or not 0 <= min(ids) <= max(ids) <= 255):
        raise DatasetError(f"{path}: expected one id in 0..255 for each of {len(names)} classes, got {ids}")
    return legend, {value: label for label, value in enumerate(ids)}


def _read_names(path: Path) -> Legend | None:
    """Return the classes of a file with a name per line; None if there is none. Raises: DatasetError."""
    try:
        names = tuple(filter(None, map(str.strip, path.read_text("utf-8-sig").splitlines()))) if path.is_file() else ()
        return Legend(names, voc_palette(len(names))) if names else None
    except ValueError as error:  # a Legend that cannot be is one, too
        raise DatasetError(f"{path}: expected a class per line ({error})") from error


def write_folder(folder: Path, data: SemanticSet, *, on_image: OnProgress = lambda done, total: None) -> Path:
    """Write all of `data` in the form above, pictures as JPEG, and return `folder`.

    Raises: UsageError when the folder exists already; DatasetError when a picture cannot be written.
    """
    try:
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
    except OSError as error:
        raise UsageError(f"cannot make {folder / 'images'}: {error.strerror}; choose a new folder") from error
    for index in range(len(data)):
        name, image, labels = data[index]
        write_picture(folder / "images" / f"{name}.jpg", image)
        write_picture(folder / "labels" / f"{name}.png", labels)
        on_image(index + 1, len(data))
    legend = data.legend
    record = {"classes": legend.classes, "palette": legend.palette, "unpainted": legend.unpainted}
    (folder / "classes.json").write_text(json.dumps(record), "utf-8")
    return folder


def _all_masks(folder: Path) -> list[Path]:
    """Return the label files of all parts, which have the same classes."""
    return [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in MASKS]


def _numbered(masks: list[Path]) -> Legend:
    """Return classes named by their numbers, up to the largest number in any label file that can be read."""
    largest = 0
    for path in masks:
        with suppress(DatasetError):  # said by those who look at the pictures one by one
            labels = read_labels(path)
            largest = max(largest, int(labels[labels != IGNORED].max(initial=0)))
    names = tuple(f"class {number}" for number in range(largest + 1))
    return Legend(names, voc_palette(len(names)))

"""What a COCO annotation file holds, checked and packed; large files are packed once and kept.

Reading and checking the 450 MB of COCO's training annotations takes a minute of every process of every run, and memory
to match. So what came out of a large file is kept in the user's cache folder, under a name that depends on the file's
path, size and time of change; the arrays in it are mapped, not read. It may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from solo_rt.errors import CacheError, DatasetError
from solo_rt.files import cache_folder
from solo_rt.train.data.instances.packed import PackedObjects, load_packed, pack, save_packed
from solo_rt.train.data.instances.records import (
    BadRecord,
    ObjectRecord,
    PictureRecord,
    Skipped,
    check_category,
    check_object,
    check_picture,
)

FORMAT = 2  # of what is kept; another one is built anew
KEPT_FROM = 32 << 20  # bytes of an annotation file that is worth it

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Index:
    """Pictures in ascending order of their ids, categories likewise, and the objects, labelled by category."""

    pictures: tuple[tuple[int, str], ...]  # id, file name
    categories: tuple[tuple[int, str], ...]  # id, name
    skipped: dict[str, int]  # records that could not be used, by reason
    objects: PackedObjects


def open_index(path: Path) -> Index:
    """Return what the annotation file at `path` holds. Raises: DatasetError."""
    state = path.stat()
    if state.st_size < KEPT_FROM:
        return read_index(path)
    key = json.dumps([FORMAT, str(path.resolve()), state.st_size, state.st_mtime_ns])
    try:
        folder = cache_folder() / "annotations" / hashlib.sha256(key.encode()).hexdigest()[:24]
    except CacheError as error:
        log.warning("%s: its annotations are not kept, the next run reads it again: %s", path, error)
        return read_index(path)
    try:
        return _load(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.info("%s: reading it whole, %s", path, f"{folder} is damaged: {error}" if folder.exists() else "once")
    index = read_index(path)
    try:
        _save(index, folder)
    except OSError as error:
        log.warning("%s: cannot keep its annotations in %s (%s); the next run reads it again", path, folder, error)
        return index
    return _load(folder)


def read_index(path: Path) -> Index:
    """Return what the annotation file holds; bad records are left out, counted and reported. Raises: DatasetError."""
    record = _load_json(path)
    skipped = Skipped(str(path))
    pictures = _collect(record["images"], check_picture, lambda picture: picture.id, "picture", skipped)
    pictures.sort()
    categories = _collect(record["categories"], check_category, lambda category: category[0], "category", skipped)
    categories.sort()
    objects = _check_objects(record["annotations"], pictures, categories, skipped)
    skipped.report()
    if not pictures or not categories:
        raise DatasetError(f"{path}: expected pictures and categories, got {len(pictures)} and {len(categories)}")
    return Index(
        pictures=tuple((picture.id, picture.name) for picture in pictures),
        categories=tuple(categories),
        skipped=dict(skipped.counts),
        objects=pack(pictures, objects, {number: label for label, (number, _) in enumerate(categories)}),
    )


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


def _check_objects(
    records: list[object], pictures: list[PictureRecord], categories: list[tuple[int, str]], skipped: Skipped
) -> list[ObjectRecord]:
    sizes = {picture.id: picture.size for picture in pictures}
    known = frozenset(number for number, _ in categories)
    found: list[ObjectRecord] = []
    ids: set[int] = set()
    for number, record in enumerate(records):
        try:
            checked = check_object(record, sizes, known)
            if checked.id in ids:
                raise BadRecord("annotation with the id of another one")
        except BadRecord as reason:
            skipped.add(f"annotation number {number}", reason)
        else:
            found.append(checked)
            if checked.id is not None:
                ids.add(checked.id)
    return found


def _save(index: Index, folder: Path) -> None:
    """Keep the index in `folder`, which appears when it is whole. Raises: OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="part.", dir=folder.parent))
    try:
        save_packed(index.objects, part)
        record = {"pictures": index.pictures, "categories": index.categories, "skipped": index.skipped}
        (part / "index.json").write_text(json.dumps(record))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        part.replace(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _load(folder: Path) -> Index:
    """Return the index kept in `folder`. Raises: OSError; ValueError, KeyError, TypeError when it is damaged."""
    record = json.loads((folder / "index.json").read_text())
    objects = load_packed(folder)
    pictures = tuple((int(number), str(name)) for number, name in record["pictures"])
    categories = tuple((int(number), str(name)) for number, name in record["categories"])
    if len(objects.sizes) != len(pictures) or len(objects.first) != len(pictures) + 1:
        raise ValueError(f"{len(pictures)} pictures and objects of {len(objects.sizes)}")
    skipped = Skipped(str(folder))
    skipped.counts.update(record["skipped"])
    skipped.report()
    return Index(pictures, categories, dict(skipped.counts), objects)

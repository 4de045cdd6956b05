"""Objects of one class as pictures of masks: a file for every object, or one with a number for each of them.

    DIR/NAME/images/ANY.png    DIR/NAME/masks/*.png          one picture; each mask is what is not 0 in it
    DIR/images/NAME.jpg        DIR/masks/NAME.png            8 or 16 bits: 0, or the number of an object
    DIR/PNGImages/NAME.png     DIR/PedMasks/NAME_mask.png    likewise, as Penn-Fudan has it
    DIR/classes.txt                                          the name of the class; "object" without

The first is the form of the 2018 data science bowl's nuclei. DIR may have parts, train/ and val/; where it has none, a
tenth of the pictures is held out, always the same: which ones depends on their names alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.instances.base import Annotation, InstanceSet, Size
from solo_rt.train.data.instances.regions import Region, find_region, find_regions
from solo_rt.train.data.pictures import files_by_stem, pair_files, read_numbers, read_picture
from solo_rt.uri import expand_home

LAYOUTS = (("images", "masks", ""), ("PNGImages", "PedMasks", "_mask"))  # pictures, numbers, and what their names add
NUMBERS = np.arange(1 << 16) > 0  # that stand for objects
HELD_OUT = 10  # one picture of so many

Files = tuple[Path, tuple[Path, ...]]  # a picture and its masks


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Reads the objects of picture i; `__call__` is the `read` of an `InstanceSet`."""

    files: tuple[Files, ...]
    numbered: bool  # whether a file tells several objects apart by their numbers

    def __call__(self, index: int) -> tuple[Size, tuple[Annotation, ...]]:
        picture, masks = self.files[index]
        found: list[Region] = []
        size: Size | None = None
        for path in masks:
            numbers = read_numbers(path)
            height, width = numbers.shape
            if size not in (None, (height, width)):
                raise DatasetError(f"mask {path}: expected the size of the others, got {height}x{width}")
            size = height, width
            if self.numbered:
                found += find_regions(numbers.astype(np.uint16), NUMBERS)
            elif region := find_region(numbers > 0):
                found.append(region)
        if size is None:
            height, width, _ = read_picture(picture).shape
            size = height, width
        return size, tuple(Annotation(0, region.box, region.area, False, region.mask) for region in found)


def open_masks(
    place: str, *, split: str, classes: Sequence[str] | None = None, images: int | None = None
) -> InstanceSet:
    """Return part `split` of the folder `place`, its first `images` pictures.

    Raises: DatasetError when there are no such files; UsageError for `classes` other than its one.
    """
    root = Path(expand_home(place))
    name = _read_name(root / "classes.txt")
    if classes is not None and tuple(classes) != (name,):
        raise UsageError(f"{root} has no class {', '.join(classes)}; it has {name}")
    folder = root / split if (root / split).is_dir() else root
    folders = _find_folders(folder)
    found = folders or _find_pairs(folder)
    if folder == root and found:
        count = len(found)
        found = {key: files for key, files in found.items() if _is_held_out(key) == (split == "val")}
        if not found:
            raise DatasetError(
                f"{root} has no train/ and val/, so that a tenth of its pictures is held out, by their names; "
                f"of these {count} none is in part {split}: make train/ and val/"
            )
    if not found:
        raise DatasetError(
            f"expected pictures of part {split} in {folder}, as NAME/images/ and NAME/masks/ or as images/ and masks/"
        )
    files = tuple(found[key] for key in sorted(found))[:images]
    return InstanceSet(
        kind="masks",
        folder=folder,
        classes=(name,),
        category_ids=(1,),
        picture_ids=np.arange(1, len(files) + 1, dtype=np.int64),
        names=tuple(str(picture.relative_to(folder)) for picture, _ in files),
        read=MaskFiles(files, numbered=not folders),
    )


def _find_folders(folder: Path) -> dict[str, Files]:
    """Return the pictures that have a folder of their own, by its name. Raises: DatasetError."""
    found: dict[str, Files] = {}
    for masks in sorted(folder.glob("*/masks")):
        pictures = list(files_by_stem(masks.parent / "images").values())
        if len(pictures) != 1:
            raise DatasetError(f"expected one picture in {masks.parent}/images, got {len(pictures)}")
        found[masks.parent.name] = pictures[0], tuple(files_by_stem(masks).values())
    return found


def _find_pairs(folder: Path) -> dict[str, Files]:
    """Return the pictures whose objects are numbered in a file, by name. Raises: DatasetError."""
    for images, masks, ending in LAYOUTS:
        if (folder / masks).is_dir():
            numbers = {stem.removesuffix(ending): path for stem, path in files_by_stem(folder / masks).items()}
            pairs = zip(*pair_files(files_by_stem(folder / images), numbers, where=folder), strict=True)
            return {picture.stem: (picture, (path,)) for picture, path in pairs}
    return {}


def _is_held_out(name: str) -> bool:
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()  # of its bytes, which may be no UTF-8
    return int.from_bytes(digest[:4], "big") % HELD_OUT == 0


def _read_name(path: Path) -> str:
    """Return the one name in a file, "object" without the file. Raises: DatasetError."""
    if not path.is_file():
        return "object"
    try:
        names = path.read_text("utf-8-sig").split("\n")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected the name of one class in UTF-8 ({error})") from error
    found = [name.strip() for name in names if name.strip()]
    if len(found) != 1:
        raise DatasetError(f"{path}: expected the name of one class, got {len(found)}; masks do not tell classes apart")
    return found[0]

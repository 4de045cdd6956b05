"""COCO with the 21 classes of PASCAL VOC, painted from its instance annotations (Lin et al. 2014)."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import Image, Labels, read_picture
from solo_rt.train.data.semantic.base import SemanticSet
from solo_rt.train.data.semantic.voc import LEGEND

CATEGORIES = (5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)  # COCO's ids of classes 1 to 20
LABEL = {category: label for label, category in enumerate(CATEGORIES, 1)}
LEAST_PIXELS = 1000  # pictures that show no more than this of all classes together are left out


class Shape(NamedTuple):
    label: int
    area: float  # pixels, of its outline
    segmentation: Any  # polygons or a run-length code, as in the file


@dataclass(frozen=True, slots=True)
class PaintedShapes:
    """Reads a picture and paints its shapes in the order of the file: a pixel belongs to the first one."""

    images: tuple[Path, ...]
    shapes: tuple[tuple[Shape, ...], ...]

    def __call__(self, index: int) -> tuple[Image, Labels]:
        image = read_picture(self.images[index])
        return image, paint(self.shapes[index], (image.shape[0], image.shape[1]))


def open_coco_voc(root: Path, *, split: str) -> SemanticSet:
    """Return the pictures of `root/{split}2017` with more than 1000 pixels of VOC's classes; names are image ids.

    Raises: DatasetError when `annotations/instances_{split}2017.json` cannot be read.
    """
    path = root / "annotations" / f"instances_{split}2017.json"
    found: dict[int, list[Shape]] = defaultdict(list)
    try:
        record = json.loads(path.read_bytes())
        files = {image["id"]: (image["file_name"], (image["height"], image["width"])) for image in record["images"]}
        for a in record["annotations"]:
            if a["category_id"] in LABEL:
                found[a["image_id"]].append(Shape(LABEL[a["category_id"]], float(a["area"]), a["segmentation"]))
        sizes = {id_: files[id_][1] for id_ in sorted(found)}
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; get it with solo-rt download coco") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a COCO annotation file ({type(error).__name__}: {error})") from error
    ids = [id_ for id_, size in sizes.items() if _shows_enough(found[id_], size)]
    images = tuple(root / f"{split}2017" / files[id_][0] for id_ in ids)
    painted = PaintedShapes(images, tuple(tuple(found[id_]) for id_ in ids))
    return SemanticSet("coco-voc", LEGEND, tuple(f"{id_:012d}" for id_ in ids), painted)


def paint(shapes: tuple[Shape, ...], size: tuple[int, int]) -> Labels:
    """Return `uint8 [H, W]`, 0 where there is no shape."""
    labels = np.zeros(size, np.uint8)
    for shape in shapes:
        labels[(labels == 0) & rasterise(shape.segmentation, size)] = shape.label
    return labels


def rasterise(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of COCO polygons, or of a run-length code with or without compression, as `bool [H, W]`."""
    codes = coco_mask.frPyObjects(segmentation, *size) if not _is_compressed(segmentation) else segmentation
    code = coco_mask.merge(codes) if isinstance(codes, list) else codes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools' arrays, from numpy 2 on
        return np.asarray(coco_mask.decode(code), bool)


def _is_compressed(segmentation: Any) -> bool:
    return isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list)


def _shows_enough(shapes: list[Shape], size: tuple[int, int]) -> bool:
    """Return whether the shapes cover more than `LEAST_PIXELS`; drawn only where their areas leave a doubt.

    The area of an outline and the number of its pixels differ by about half its length, hence the margins.
    """
    areas = [shape.area for shape in shapes]
    if max(areas) > 2 * LEAST_PIXELS:
        return True
    if sum(areas) < LEAST_PIXELS / 2:
        return False
    return int(np.count_nonzero(paint(tuple(shapes), size))) > LEAST_PIXELS

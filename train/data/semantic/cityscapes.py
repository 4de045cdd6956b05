"""Cityscapes: street scenes of 50 cities, 19 classes in 7 categories (Cordts et al. 2016; label definitions of
cityscapesScripts, helpers/labels.py)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import Rgb
from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import FilePairs, lookup_table
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.types import IGNORED


class Label(NamedTuple):
    """One of the ids stored in `*_labelIds.png`."""

    id: int
    train_id: int  # class of the 19, or IGNORED
    name: str
    category: str
    colour: Rgb
    has_instances: bool = False


LABELS = (
    Label(0, IGNORED, "unlabeled", "void", (0, 0, 0)),
    Label(1, IGNORED, "ego vehicle", "void", (0, 0, 0)),
    Label(2, IGNORED, "rectification border", "void", (0, 0, 0)),
    Label(3, IGNORED, "out of roi", "void", (0, 0, 0)),
    Label(4, IGNORED, "static", "void", (0, 0, 0)),
    Label(5, IGNORED, "dynamic", "void", (111, 74, 0)),
    Label(6, IGNORED, "ground", "void", (81, 0, 81)),
    Label(7, 0, "road", "flat", (128, 64, 128)),
    Label(8, 1, "sidewalk", "flat", (244, 35, 232)),
    Label(9, IGNORED, "parking", "flat", (250, 170, 160)),
    Label(10, IGNORED, "rail track", "flat", (230, 150, 140)),
    Label(11, 2, "building", "construction", (70, 70, 70)),
    Label(12, 3, "wall", "construction", (102, 102, 156)),
    Label(13, 4, "fence", "construction", (190, 153, 153)),
    Label(14, IGNORED, "guard rail", "construction", (180, 165, 180)),
    Label(15, IGNORED, "bridge", "construction", (150, 100, 100)),
    Label(16, IGNORED, "tunnel", "construction", (150, 120, 90)),
    Label(17, 5, "pole", "object", (153, 153, 153)),
    Label(18, IGNORED, "polegroup", "object", (153, 153, 153)),
    Label(19, 6, "traffic light", "object", (250, 170, 30)),
    Label(20, 7, "traffic sign", "object", (220, 220, 0)),
    Label(21, 8, "vegetation", "nature", (107, 142, 35)),
    Label(22, 9, "terrain", "nature", (152, 251, 152)),
    Label(23, 10, "sky", "sky", (70, 130, 180)),
    Label(24, 11, "person", "human", (220, 20, 60), True),
    Label(25, 12, "rider", "human", (255, 0, 0), True),
    Label(26, 13, "car", "vehicle", (0, 0, 142), True),
    Label(27, 14, "truck", "vehicle", (0, 0, 70), True),
    Label(28, 15, "bus", "vehicle", (0, 60, 100), True),
    Label(29, IGNORED, "caravan", "vehicle", (0, 0, 90), True),
    Label(30, IGNORED, "trailer", "vehicle", (0, 0, 110), True),
    Label(31, 16, "train", "vehicle", (0, 80, 100), True),
    Label(32, 17, "motorcycle", "vehicle", (0, 0, 230), True),
    Label(33, 18, "bicycle", "vehicle", (119, 11, 32), True),
)  # and -1, the licence plate, which an 8-bit file holds as 255
NUMBERED = 1000  # an instance id from here on is class * NUMBERED + number; below, a region without instances
TRAINED = tuple(label for label in LABELS if label.train_id != IGNORED)
LEGEND = Legend(tuple(label.name for label in TRAINED), tuple(label.colour for label in TRAINED))

PICTURE, IDS, TRAIN_IDS, INSTANCES = (
    "_leftImg8bit.png",
    "_gtFine_labelIds.png",
    "_gtFine_labelTrainIds.png",
    "_gtFine_instanceIds.png",
)


def open_cityscapes(root: Path, *, split: str) -> SemanticSet:
    """Return the finely labelled pictures of `root`, which holds leftImg8bit/ and gtFine/; names are CITY_SEQ_FRAME.

    Labels are read from `*_labelIds.png`, or, in a copy without those, from `*_labelTrainIds.png`.
    Raises: DatasetError.
    """
    images = sorted((root / "leftImg8bit" / split).glob(f"*/*{PICTURE}"))
    if not images:
        raise DatasetError(
            f"expected leftImg8bit/{split}/CITY/*{PICTURE} in {root}, found none; "
            "solo-rt download cityscapes says how to get it"
        )
    names = [path.name.removesuffix(PICTURE) for path in images]
    stems = [root / "gtFine" / split / path.parent.name / name for path, name in zip(images, names, strict=True)]
    kind = IDS if stems[0].with_name(stems[0].name + IDS).exists() else TRAIN_IDS
    labels = [stem.with_name(stem.name + kind) for stem in stems]
    missing = next((path for path in labels if not path.exists()), None)
    if missing is not None:
        raise DatasetError(f"expected a label file for each picture, {missing} is missing")
    lookup = lookup_table({label.id: label.train_id for label in TRAINED}) if kind == IDS else None
    return SemanticSet("cityscapes", LEGEND, tuple(names), FilePairs(tuple(images), tuple(labels), lookup))


def instance_files(data: SemanticSet) -> tuple[Path, ...] | None:
    """Return the `*_instanceIds.png` of each picture that `open_cityscapes` found; None if one of them is missing."""
    assert isinstance(data.read, FilePairs)
    paths = tuple(path.with_name(name + INSTANCES) for path, name in zip(data.read.labels, data.names, strict=True))
    return paths if all(path.exists() for path in paths) else None


def read_instance_ids(path: Path) -> NDArray[np.uint16]:
    """Return the ids of all pixels of a `*_instanceIds.png`, `uint16 [H, W]`. Raises: DatasetError."""
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if ids is None:
        raise DatasetError(f"cannot read instance ids {path}; is the data set complete?")
    if ids.ndim != 2 or ids.dtype != np.uint16:
        raise DatasetError(f"instance ids {path}: expected 16 bits in one channel, got {ids.dtype} {ids.shape}")
    return np.asarray(ids, np.uint16)

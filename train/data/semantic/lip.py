"""LIP, Look Into Person: 19 parts of people and their clothes (Gong et al. 2017)."""

from __future__ import annotations

from pathlib import Path

from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import FilePairs
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.palettes import voc_palette

CLASSES = (
    "background",
    "hat",
    "hair",
    "glove",
    "sunglasses",
    "upper-clothes",
    "dress",
    "coat",
    "socks",
    "pants",
    "jumpsuits",
    "scarf",
    "skirt",
    "face",
    "left-arm",
    "right-arm",
    "left-leg",
    "right-leg",
    "left-shoe",
    "right-shoe",
)
LEGEND = Legend(
    CLASSES,
    voc_palette(len(CLASSES)),
    unpainted=(0,),
    mirrored=((14, 15), (16, 17), (18, 19)),  # a mirrored left arm is a right arm
)


def open_lip(root: Path, *, split: str) -> SemanticSet:
    """Return the pictures that `{split}_id.txt` in `root` lists. Raises: DatasetError."""
    path = root / f"{split}_id.txt"
    if not path.is_file():
        raise DatasetError(f"expected {path.name} in {root}; solo-rt download lip says how to get it")
    names = tuple(sorted(path.read_text("utf-8").split()))
    images = root / "TrainVal_images" / f"{split}_images"
    labels = root / "TrainVal_parsing_annotations" / f"{split}_segmentations"
    files = FilePairs(tuple(images / f"{n}.jpg" for n in names), tuple(labels / f"{n}.png" for n in names))
    return SemanticSet("lip", LEGEND, names, files)

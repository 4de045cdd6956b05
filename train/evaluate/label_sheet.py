"""One picture that shows some pictures of a data set, what is true of them and what was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from solo_rt.train.data.pictures import Labels
from solo_rt.train.data.semantic import Legend, Picture
from solo_rt.train.evaluate.sheet import Sheet, tile_size


class LabelSheet:
    """Collects the first pictures, and writes them: the picture, its labels and those found, side by side."""

    def __init__(self, legend: Legend) -> None:
        self._colours = np.zeros((256, 3), np.uint8)  # what is ignored is black
        self._colours[: len(legend.palette)] = legend.palette
        self._sheet = Sheet()

    def add(self, picture: Picture, found: Labels) -> None:
        """Add a row unless the sheet is full; `found uint8 [H, W]`, classes of the data set."""
        if self._sheet.is_full:
            return
        size = tile_size(*found.shape)
        tiles = [
            np.asarray(cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA), np.uint8),
            *(
                self._colours[cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)]
                for labels in (picture.labels, found)
            ),
        ]
        self._sheet.add(tiles)

    def write(self, path: Path) -> None:
        """Write the sheet as a PNG. Raises: UsageError when it cannot be written."""
        self._sheet.write(path)

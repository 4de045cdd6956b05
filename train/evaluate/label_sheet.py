"""One picture that shows some pictures of a data set, what is true of them and what was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.train.data.semantic import Legend, Picture

ROWS = 8  # pictures, each in a row of its own
TILE_WIDTH = 480  # pixels
MARGIN = 8
BACKGROUND = 24

UInt8 = NDArray[np.uint8]


class LabelSheet:
    """Collects the first pictures, and writes them: the picture, its labels and those found, side by side."""

    def __init__(self, legend: Legend) -> None:
        self._colours = np.zeros((256, 3), np.uint8)  # what is ignored is black
        self._colours[: len(legend.palette)] = legend.palette
        self._rows: list[UInt8] = []

    def add(self, picture: Picture, found: UInt8) -> None:
        """Add a row unless the sheet is full; `found uint8 [H, W]`, classes of the data set."""
        if len(self._rows) >= ROWS:
            return
        h, w = found.shape
        size = TILE_WIDTH, max(1, round(h * TILE_WIDTH / w))
        tiles = [
            np.asarray(cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA), np.uint8),
            *(
                self._colours[cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)]
                for labels in (picture.labels, found)
            ),
        ]
        gap = np.full((size[1], MARGIN, 3), BACKGROUND, np.uint8)
        self._rows.append(np.concatenate([gap, tiles[0], gap, tiles[1], gap, tiles[2], gap], axis=1))

    def write(self, path: Path) -> None:
        """Write the sheet as a PNG. Raises: UsageError when it cannot be written."""
        width = 3 * TILE_WIDTH + 4 * MARGIN
        gap = np.full((MARGIN, width, 3), BACKGROUND, np.uint8)
        sheet = np.concatenate([gap, *(part for row in self._rows for part in (row, gap))])
        try:
            path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error

"""One picture of several rows, each of a picture and what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.files import replace_file

ROWS = 8
TILE_WIDTH = 480  # pixels
MARGIN = 8
BACKGROUND = 24

Tile = NDArray[np.uint8]  # [h, TILE_WIDTH, 3] RGB


class Sheet:
    """Collects the first rows and writes them; the tiles of a row are equally high, and every row has as many."""

    def __init__(self) -> None:
        self._rows: list[Tile] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= ROWS

    def add(self, tiles: Sequence[Tile]) -> None:
        """Add a row."""
        gap = np.full((len(tiles[0]), MARGIN, 3), BACKGROUND, np.uint8)
        self._rows.append(np.concatenate([gap, *(part for tile in tiles for part in (tile, gap))], axis=1))

    def write(self, path: Path) -> None:
        """Write the sheet as a PNG. Raises: UsageError when it cannot be written."""
        width = self._rows[0].shape[1] if self._rows else TILE_WIDTH
        gap = np.full((MARGIN, width, 3), BACKGROUND, np.uint8)
        sheet = np.concatenate([gap, *(part for row in self._rows for part in (row, gap))])
        try:
            replace_file(path, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Return width and height of a tile for a picture."""
    return TILE_WIDTH, max(1, round(height * TILE_WIDTH / width))

"""One picture that shows a whole run: annotated frames, evenly spaced, with their times."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.files import replace_file
from solo_rt.render.lettering import legible
from solo_rt.result import Result
from solo_rt.sink.base import Sink, picture_of
from solo_rt.sink.output_file import write_failure
from solo_rt.sink.pictures import FORMATS

COLUMNS, ROWS = 3, 4
TILE_WIDTH, TALLEST_TILE = 480, 960  # pixels
MARGIN = 8
BACKGROUND = (24, 24, 24)
INK = (235, 235, 235)

Tile = NDArray[np.uint8]  # [h, TILE_WIDTH, 3] RGB


class ContactSheet(Sink):
    """`sheet.png` or `.jpg`. `write`, `close`: see `Sink`.

    How long a run will be is not known, so every frame is a candidate at first; whenever twice the tiles of a sheet
    are held, every other one is let go and from then on only every second, fourth, ... frame is a candidate.
    """

    needs_picture = True

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._path = Path(uri)
        if not self._path.parent.is_dir():
            raise UsageError(f"output {uri}: the folder {self._path.parent} does not exist; create it first")
        if self._path.is_dir() or not os.access(self._path.parent, os.W_OK):
            raise UsageError(f"output {uri}: it cannot be written there; choose another place")
        if len(os.fsencode(self._path.name)) > os.pathconf(self._path.parent, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        self._tiles: list[Tile] = []
        self._seen = 0
        self._every = 1

    def write(self, result: Result) -> None:
        if self._seen % self._every == 0:
            self._tiles.append(_tile(result))
            if len(self._tiles) == 2 * COLUMNS * ROWS:
                self._tiles = self._tiles[::2]
                self._every *= 2
        self._seen += 1

    def close(self) -> None:
        tiles, self._tiles = self._tiles, []
        if not tiles:
            return  # closed before, or nothing to show
        chosen = np.linspace(0, len(tiles) - 1, min(len(tiles), COLUMNS * ROWS)).round().astype(int)
        sheet = _arrange([tiles[i] for i in chosen])
        suffix = self._path.suffix.lower()
        try:
            replace_file(self._path, cv2.imencode(suffix, sheet[..., ::-1], FORMATS[suffix])[1].tobytes())
        except OSError as error:
            raise write_failure(self.uri, error, self._seen) from error


def _tile(result: Result) -> Tile:
    """Return the frame as wide as a tile, or as tall as one may be, with its time and what was found in the corner."""
    picture = picture_of(result).rgb()
    scale = min(TILE_WIDTH / picture.shape[1], TALLEST_TILE / picture.shape[0])
    height, width = (max(1, round(size * scale)) for size in picture.shape[:2])
    tile = np.full((height, TILE_WIDTH, 3), BACKGROUND, np.uint8)
    left = (TILE_WIDTH - width) // 2
    tile[:, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    name = result.frame.name or f"{result.frame.time_s:.2f} s"
    semantic = result.semantic
    found = f"{len(result.instances)} found" if semantic is None else f"{len(semantic.shares())} classes"
    text = legible(f"{name}  {found}")
    (width, above), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    tile[: above + below + 6, : width + 8] = BACKGROUND
    cv2.putText(tile, text, (4, above + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return tile


def _arrange(tiles: list[Tile]) -> Tile:
    """Return the tiles row by row on one canvas; a row is as high as its highest tile."""
    columns = min(COLUMNS, len(tiles))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    size = (sum(heights) + MARGIN * (len(rows) + 1), columns * TILE_WIDTH + MARGIN * (columns + 1))
    sheet = np.full((*size, 3), BACKGROUND, np.uint8)
    y = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for j, tile in enumerate(row):
            x = MARGIN + j * (TILE_WIDTH + MARGIN)
            sheet[y : y + tile.shape[0], x : x + TILE_WIDTH] = tile
        y += height + MARGIN
    return sheet

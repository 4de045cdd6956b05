"""A contact sheet is as large as a sheet, whatever the pictures are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import info, result_of, rgb_frame

from solo_rt.sink import open_sink


@pytest.mark.parametrize(
    ("size", "expected"),
    [((16, 8192), (960, 2)), ((1080, 1920), (853, 480)), ((1920, 1080), (270, 480)), ((8192, 16), (1, 480))],
)
def test_every_shape_fits_into_its_tile(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    width, height = size
    with open_sink(str(tmp_path / "sheet.png"), info=info()) as sink:
        sink.write(result_of(rgb_frame(np.full((height, width, 3), (250, 0, 0), np.uint8))))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (expected[0] + 16, 480 + 16, 3)
    shown = (sheet[-9] == (0, 0, 250)).all(axis=-1)  # the last row of the tile, below the text
    if expected[0] > 1:
        assert shown.sum() == expected[1]
        assert abs(np.flatnonzero(shown).mean() - 247.5) <= 0.5

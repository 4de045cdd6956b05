"""A contact sheet is as large as a sheet, whatever the pictures are."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import info, result_of, rgb_frame

from solo_rt.sink import open_sink


def sheet_of(path: Path, colours: list[int]) -> np.ndarray:
    """Return the sheet of frames of these reds, one each, `uint8 [H, W, 3]` RGB."""
    with open_sink(str(path), info=info()) as sink:
        for red in colours:
            sink.write(result_of(rgb_frame(np.full((45, 80, 3), (red, 0, 0), np.uint8))))
    return np.asarray(cv2.imread(str(path)))[:, :, ::-1]


@pytest.mark.parametrize("count", [1, 2, 12, 13, 23, 24, 25, 100, 250])
def test_frames_are_evenly_spaced_from_the_first_on(tmp_path: Path, count: int) -> None:
    sheet = sheet_of(tmp_path / "sheet.png", list(range(count)))
    columns = min(3, count)
    tiles = sheet[8 + 269 :: 270 + 8, 8 + 479 :: 480 + 8, 0].ravel()  # the last pixel of each
    shown = tiles[: min(12, count)].tolist()
    assert sheet.shape == (8 + 278 * -(-len(shown) // columns), 8 + 488 * columns, 3)
    steps = np.diff(shown)
    assert shown[0] == 0
    assert not len(steps) or min(steps) > 0
    assert count - 1 - shown[-1] <= count // 12
    assert not len(steps) or max(steps) <= max(2 * min(steps), 2)


def test_a_long_run_takes_no_more_memory_than_two_sheets(tmp_path: Path) -> None:
    frame = rgb_frame(np.zeros((45, 80, 3), np.uint8))
    tracemalloc.start()
    try:
        with open_sink(str(tmp_path / "sheet.png"), info=info()) as sink:
            for _ in range(200):
                sink.write(result_of(frame))
            assert tracemalloc.get_traced_memory()[0] < 25 * 270 * 480 * 3
    finally:
        tracemalloc.stop()


def test_the_text_of_a_tile_stands_on_its_own_paper(tmp_path: Path) -> None:
    one, other = (sheet_of(tmp_path / "sheet.png", [red]) for red in (0, 200))
    ink = (one > 60).all(axis=-1)
    picture = (one != other).any(axis=-1).astype(np.uint8)
    assert ink.sum() > 100
    assert not (cv2.dilate(picture, np.ones((3, 3), np.uint8)).astype(bool) & ink).any()


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


@pytest.mark.parametrize("name", ["caf\udce9.png", "a\nb.png"])
def test_what_a_name_has_that_cannot_be_drawn_is_a_question_mark(tmp_path: Path, name: str) -> None:
    sheets = []
    for called in (name, re.sub(r"[\udce9\n]", "?", name)):
        with open_sink(str(tmp_path / "sheet.png"), info=info()) as sink:
            sink.write(result_of(rgb_frame(np.zeros((45, 80, 3), np.uint8), name=called)))
        sheets.append((tmp_path / "sheet.png").read_bytes())
    assert sheets[0] == sheets[1]

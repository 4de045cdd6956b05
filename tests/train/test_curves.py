"""Curves: a picture with a panel per value, whatever the values are."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from solo_rt.train.curves import COLUMNS, LINE, PANEL, draw_curves


def drawn(records: list[dict[str, float]], folder: Path) -> np.ndarray:
    draw_curves(records, folder / "curves.png")
    return np.asarray(cv2.imread(str(folder / "curves.png")))


def line_rows(panel: np.ndarray, column: int) -> np.ndarray:
    """Return in which rows of a column the curve is."""
    return np.flatnonzero((np.abs(panel[:, column].astype(int) - LINE) < 40).all(axis=1))


def test_every_value_has_a_panel(tmp_path: Path) -> None:
    records = [{"step": float(n), "a": n / 9, "b": 1.0, "c": -n} for n in range(10)]
    assert drawn(records, tmp_path).shape == (2 * PANEL[0], COLUMNS * PANEL[1], 3)


def test_a_rising_value_rises_and_a_falling_one_falls(tmp_path: Path) -> None:
    picture = drawn([{"step": n, "up": n, "down": 1e-3 * (500 - n)} for n in range(500)], tmp_path)
    for panel, sign in ((picture[:, : PANEL[1]], 1), (picture[:, PANEL[1] :], -1)):
        left, right = (line_rows(panel, column).mean() for column in (150, 550))
        assert sign * (left - right) > 60


@pytest.mark.parametrize(
    "values", [[2.0], [3.0, 3.0], [0.0, 0.0], [-1e-9, 1e9], [1e-30, 2e-30], [5.0, math.inf, math.nan, 4.0]]
)
def test_any_values_can_be_drawn(tmp_path: Path, values: list[float]) -> None:
    picture = drawn([{"step": n, "x": value} for n, value in enumerate(values)], tmp_path)
    assert (np.abs(picture.astype(int) - LINE) < 40).all(axis=2).any()


def test_values_that_come_later_or_never_are_no_error(tmp_path: Path) -> None:
    assert drawn(
        [{"step": 1, "a": 1.0}, {"step": 2, "a": 1.0, "miou": 0.5}, {"step": 3, "nan": math.nan}], tmp_path
    ).size
    (tmp_path / "curves.png").unlink()
    draw_curves([], tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()

"""What the accuracy gate measures, on instances whose overlap is known."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.builder.agreement import agreement
from solo_rt.types import Instances, Masks

SIZE = (40, 60)


def boxes(*items: tuple[int, int, int, int, int, float]) -> Instances:
    """Return instances that fill their boxes: x0, y0, x1, y1, class, score."""
    crops, regions = [], []
    for x0, y0, x1, y1, *_ in items:
        grid = np.zeros(SIZE, np.uint8)
        grid[y0:y1, x0:x1] = 255
        regions.append((max(x0 - 1, 0), max(y0 - 1, 0), min(x1 + 1, SIZE[1]), min(y1 + 1, SIZE[0])))
        rx0, ry0, rx1, ry1 = regions[-1]
        crops.append(grid[ry0:ry1, rx0:rx1].ravel())
    masks = Masks(
        np.concatenate(crops) if crops else np.zeros(0, np.uint8),
        np.cumsum([0, *map(len, crops)], dtype=np.int64),
        np.array(regions, np.int32).reshape(-1, 4),
        SIZE,
        (1.0, 1.0),
    )
    found = np.array([item[:4] for item in items], np.float32).reshape(-1, 4)
    scores = np.array([item[5] for item in items], np.float32)
    return Instances(SIZE, found, scores, np.array([item[4] for item in items], np.int32), masks)


def test_the_same_instances_agree_entirely() -> None:
    one = boxes((0, 0, 10, 10, 0, 0.9), (20, 5, 40, 30, 1, 0.5))
    assert agreement([(one, one)]) == {"found": 1, "invented": 0, "mask_iou": 1, "score_error": 0}


def test_missing_invented_and_shifted_ones_are_told_apart() -> None:
    reference = boxes((0, 0, 10, 10, 0, 0.9), (20, 0, 30, 10, 1, 0.8), (40, 0, 50, 10, 1, 0.7))
    candidate = boxes((0, 0, 10, 8, 0, 0.85), (20, 0, 30, 10, 0, 0.8))  # a bit smaller; of another class
    found = agreement([(reference, candidate), (reference[:0], candidate[:0])])
    assert found["found"] == pytest.approx(1 / 3)
    assert found["invented"] == pytest.approx(1 / 2)
    assert found["mask_iou"] == pytest.approx(0.8)
    assert found["score_error"] == pytest.approx(0.05, abs=1e-6)


def test_each_instance_is_matched_once() -> None:
    reference = boxes((0, 0, 10, 10, 0, 0.9))
    candidate = boxes((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 9, 0, 0.8))
    assert agreement([(reference, candidate)])["invented"] == pytest.approx(0.5)


def test_nothing_on_both_sides_is_agreement() -> None:
    assert agreement([]) == {"found": 1, "invented": 0, "mask_iou": 1, "score_error": 0}

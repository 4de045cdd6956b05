"""What classes count by how much of the data they are."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import Image, Labels
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.shares import class_shares, weigh_classes

LEGEND = Legend(("road", "pole", "never"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def labelled(*pictures: list[int] | None) -> SemanticSet:
    def read(index: int) -> tuple[Image, Labels]:
        row = pictures[index]
        if row is None:
            raise DatasetError("torn")
        return np.zeros((1, len(row), 3), np.uint8), np.array([row], np.uint8)

    return SemanticSet("test", LEGEND, tuple(map(str, range(len(pictures)))), read)


def test_shares_are_of_the_labelled_pixels_and_pass_over_what_cannot_be_read() -> None:
    shares = class_shares(labelled([0, 0, 255, 0], None, [1, 255, 255, 255]))
    np.testing.assert_allclose(shares, [0.75, 0.25, 0.0])


def test_a_few_pictures_spread_over_a_large_set_are_enough() -> None:
    seen: list[int] = []

    def read(index: int) -> tuple[Image, Labels]:
        seen.append(index)
        return np.zeros((1, 1, 3), np.uint8), np.full((1, 1), index >= 500_000, np.uint8)

    shares = class_shares(SemanticSet("test", LEGEND, ("",) * 1_000_000, read))
    np.testing.assert_allclose(shares, [0.5, 0.5, 0.0])
    assert (len(seen), seen[0], seen[-1]) == (400, 0, 999_999)


def test_labels_that_are_all_ignored_weigh_nothing() -> None:
    with pytest.raises(DatasetError, match="expected labels to weigh the classes by, got none"):
        class_shares(labelled([255]))


def test_rare_classes_count_more_and_absent_ones_are_finite() -> None:
    weights = weigh_classes(np.array([0.3, 0.01, 0.0]), 1.02)
    np.testing.assert_allclose(weights, [3.6, 33.8, 50.5], rtol=5e-3)

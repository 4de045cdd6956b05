"""Confusion matrices and what follows from them, by hand and against cityscapesScripts."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from solo_rt.errors import DatasetError
from solo_rt.train.data.semantic.cityscapes import LABELS, TRAINED, read_instance_ids
from solo_rt.train.evaluate.cityscapes import (
    AVERAGE_PIXELS,
    CATEGORIES,
    InstanceTally,
    category_iou,
    count_instances,
    instance_iou,
    summarise_cityscapes,
)
from solo_rt.train.evaluate.confusion import (
    accuracies,
    balanced_error_rate,
    count_pixels,
    intersection_over_union,
    summarise,
)


def labels(seed: int, high: int, *, ignored: float = 0.0, size: tuple[int, int] = (20, 31)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, high, size, dtype=np.uint8)
    found[rng.random(size) < ignored] = 255
    return found


def test_pixels_are_counted_as_in_a_loop() -> None:
    truth, found = labels(0, 5, ignored=0.2), labels(1, 8, ignored=0.1)
    expected = np.zeros((5, 6), np.int64)
    for t, f in zip(truth.ravel(), found.ravel(), strict=True):
        if t != 255:
            expected[t, min(f, 5)] += 1
    counted = count_pixels(truth, found, classes=5)
    np.testing.assert_array_equal(counted, expected)
    assert counted.dtype == np.int64
    with pytest.raises(DatasetError, match="expected true labels below 4 or 255, got 4"):
        count_pixels(truth, found, classes=4)


def test_metrics_of_a_matrix_that_can_be_checked_by_hand() -> None:
    confusion = np.array([[6, 2, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(intersection_over_union(confusion), [6 / 9, 0, np.nan])
    np.testing.assert_allclose(accuracies(confusion), [6 / 8, 0, np.nan])
    expected = {
        "mIoU": 1 / 3,
        "pixel_accuracy": 0.6,
        "mean_accuracy": 0.375,
        "weighted_IoU": 0.8 * 6 / 9,
    }
    assert summarise(confusion) == pytest.approx(expected)


def test_a_class_that_is_not_there_has_no_iou() -> None:
    """All background and all right: mIoU is 1, not 0.5."""
    nothing = np.zeros((4, 4), np.uint8)
    assert summarise(count_pixels(nothing, nothing, classes=2))["mIoU"] == 1
    empty = summarise(count_pixels(nothing + 255, nothing, classes=2))
    assert all(math.isnan(value) for value in empty.values())


def test_accuracy_is_that_of_labelled_pixels() -> None:
    truth = np.array([[0, 1, 255, 255]], np.uint8)
    assert summarise(count_pixels(truth, np.array([[0, 1, 1, 0]], np.uint8), classes=2))["pixel_accuracy"] == 1


def test_counts_do_not_end_at_the_precision_of_a_float() -> None:
    many = np.array([[2**24, 1, 0], [0, 2**24 + 1, 0]])
    assert intersection_over_union(many + many)[0] == 2**25 / (2**25 + 2)
    assert (many + np.array([[1, 0, 0], [0, 0, 0]]))[0, 0] == 2**24 + 1


def test_balanced_error_rate_weighs_both_classes_alike() -> None:
    assert balanced_error_rate(np.array([[90, 10, 0], [4, 6, 0]])) == pytest.approx(1 - (0.9 + 0.6) / 2)
    assert math.isnan(balanced_error_rate(np.array([[90, 10, 0], [0, 0, 0]])))


def street(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, instance ids and found ids of a picture: blocks of all kinds, groups and single objects."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 34, (8, 12)), np.ones((6, 8), int)).astype(np.uint8)
    instances = ids.astype(np.uint16)
    counted = [label.id for label in LABELS if label.has_instances]
    for number, (y, x) in enumerate(rng.integers(0, (8, 12), (40, 2))):
        block = np.s_[y * 6 : y * 6 + rng.integers(1, 7), x * 8 : x * 8 + rng.integers(1, 9)]
        id_ = int(rng.choice(counted))
        ids[block], instances[block] = id_, id_ * 1000 + number
    found = np.where(rng.random(ids.shape) < 0.6, ids, rng.choice([label.id for label in TRAINED], ids.shape))
    return ids, instances, found.astype(np.uint8)


TO_CLASS = np.full(256, 255, np.uint8)
TO_CLASS[[label.id for label in TRAINED]] = np.arange(19)


def tally(pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, InstanceTally]:
    confusion = sum(count_pixels(TO_CLASS[ids], TO_CLASS[found], classes=19) for ids, _, found in pictures)
    instances = InstanceTally.none()
    for _, instance_ids, found in pictures:
        instances = instances + count_instances(instance_ids, TO_CLASS[found])
    return np.asarray(confusion), instances


def test_instances_weigh_the_same_whatever_their_size() -> None:
    """Two cars, one of 4 pixels found, one of 16 missed: an iIoU of 1/2."""
    instances = np.zeros((4, 8), np.uint16)
    instances[:2, :2], instances[:, 4:] = 26001, 26002
    found = np.full((4, 8), 255, np.uint8)
    found[:2, :2] = 13
    found[:, 4:6] = 14  # a truck is no car, but a vehicle
    counted = count_instances(instances, found)
    assert counted.classes[13] == pytest.approx([AVERAGE_PIXELS["car"], AVERAGE_PIXELS["car"]])
    assert counted.categories[CATEGORIES.index("vehicle")] == pytest.approx(
        AVERAGE_PIXELS["car"] * np.array([1.5, 0.5])
    )
    none = count_instances(np.full((4, 8), 26, np.uint16), found)  # a group of cars is no instance
    assert not none.classes.any()
    confusion = np.zeros((19, 20), np.int64)
    assert instance_iou(confusion, counted)[0]["car"] == pytest.approx(0.5)


def test_tallies_of_parts_add_up() -> None:
    pictures = [street(seed) for seed in range(4)]
    whole, first, second = tally(pictures), tally(pictures[:1]), tally(pictures[1:])
    np.testing.assert_array_equal(whole[0], first[0] + second[0])
    np.testing.assert_allclose(whole[1].classes, (first[1] + second[1]).classes)


def test_cityscapes_numbers_are_those_of_the_official_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class and category IoU and iIoU on frames with groups, caravans and small objects."""
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    if not hasattr(np, "in1d"):
        monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # gone from NumPy 2.4, used by the scripts
    pictures = [street(seed) for seed in range(5)]
    paths: list[tuple[str, str]] = []
    for number, (ids, instances, found) in enumerate(pictures):
        stem = tmp_path / f"town_{number:06d}_000000_gtFine_"
        for kind, values in {"labelIds": ids, "instanceIds": instances, "found": found}.items():
            cv2.imwrite(f"{stem}{kind}.png", values)
        paths.append((f"{stem}found.png", f"{stem}labelIds.png"))
        np.testing.assert_array_equal(read_instance_ids(Path(f"{stem}instanceIds.png")), instances)
    args = official.args
    args.JSONOutput, args.quiet = False, True
    with contextlib.redirect_stdout(io.StringIO()):
        expected = official.evaluateImgLists([a for a, _ in paths], [b for _, b in paths], args)
    confusion, instances = tally(pictures)
    scores = {"mIoU": summarise(confusion)["mIoU"], **summarise_cityscapes(confusion, instances)}
    assert scores == pytest.approx(
        {
            "mIoU": expected["averageScoreClasses"],
            "category_mIoU": expected["averageScoreCategories"],
            "iIoU": expected["averageScoreInstClasses"],
            "category_iIoU": expected["averageScoreInstCategories"],
        },
        abs=1e-9,
    )
    each = intersection_over_union(confusion)
    for k, label in enumerate(TRAINED):
        assert each[k] == pytest.approx(expected["classScores"][label.name], abs=1e-12)
    for name, value in category_iou(confusion).items():
        assert value == pytest.approx(expected["categoryScores"][name], abs=1e-12)


def test_unreadable_instances_say_which(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read instance ids .*none.png; is the data set complete"):
        read_instance_ids(tmp_path / "none.png")

"""Cityscapes' instance AP: by hand, against a slow twin, and against the official package where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from solo_rt.errors import UsageError
from solo_rt.train.data.instances import InstanceSet, open_instances
from solo_rt.train.data.instances.cityscapes import THINGS
from solo_rt.train.data.instances.masks import RunLengths
from solo_rt.train.evaluate.cityscapes_instances import (
    THRESHOLDS,
    Overlaps,
    area_under_curve,
    average_precisions,
    judge,
    measure_overlaps,
    score_cityscapes,
)
from solo_rt.train.evaluate.detections import Detection

CAR, PERSON = 26, 24
SIZE = (60, 80)


def detection(mask: np.ndarray, score: float, *, category: int = CAR, picture: int = 1) -> Detection:
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    found = {"size": list(mask.shape), "counts": code["counts"].decode()}
    return Detection(image_id=picture, category_id=category, segmentation=found, score=score)


def box(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def street(**regions: np.ndarray) -> np.ndarray:
    """Return ids: road, and every region under its number, `_26001=box(...)`."""
    ids = np.full(SIZE, 7, np.uint16)
    for name, mask in regions.items():
        ids[mask] = int(name[1:])
    return ids


def precision_of(ids: np.ndarray, *detections: Detection) -> np.ndarray:
    return average_precisions([measure_overlaps(ids, detections, [CAR])[CAR]])


def test_perfect_and_nothing_and_no_object():
    ids = street(_26001=box(0, 20, 0, 20), _26002=box(30, 50, 30, 50))
    found = [detection(box(0, 20, 0, 20), 0.9), detection(box(30, 50, 30, 50), 0.8)]
    np.testing.assert_allclose(precision_of(ids, *found), 1)
    np.testing.assert_array_equal(precision_of(ids), 0)
    assert np.isnan(precision_of(street(), *found)).all()
    assert np.isnan(precision_of(street(_26=box(0, 20, 0, 20)), *found)).all()  # a group need not be found


def test_overlap_must_exceed_the_threshold():
    ids = street(_26001=box(0, 20, 0, 20))
    half = precision_of(ids, detection(box(0, 20, 0, 10), 0.9))  # IoU 0.5 exactly
    np.testing.assert_array_equal(half, 0)
    more = precision_of(ids, detection(box(0, 20, 0, 11), 0.9))  # IoU 0.55, and THRESHOLDS[1] is 0.55
    assert (more > 0).tolist() == [threshold < 0.55 for threshold in THRESHOLDS]


def test_second_match_of_an_object_is_wrong_and_the_better_score_right():
    ids = street(_26001=box(0, 20, 0, 20))
    scores, right = judge(
        measure_overlaps(ids, [detection(box(0, 20, 0, 19), 0.3), detection(box(0, 20, 1, 20), 0.7)], [CAR])[CAR],
        0.5,
    )
    assert scores.tolist() == [0.7, 0.3]
    assert right.tolist() == [True, False]
    # points (recall 1, precision 1/2), (1, 1), (0, 1): 1/2 * 0 + 1 * 1/2 + 1 * 1/2
    assert area_under_curve(scores, right, objects=1) == 1


def test_area_by_hand():
    # ranked: right, wrong, right, and one object missed: points at scores .2 .5 .9 are
    # (2/3, 2/3), (1/3, 1/2), (1/3, 1), (0, 1); widths (2/3-1/3)/2, (2/3-1/3)/2, (1/3-0)/2, (1/3-0)/2
    scores, right = np.array([0.9, 0.2, 0.5]), np.array([True, True, False])
    assert area_under_curve(scores, right, objects=3) == pytest.approx((2 / 3 + 1 / 2 + 1 + 1) / 6)
    # equal scores are one point: (1, 1/2), (0, 1), half the way from the first to the second each
    assert area_under_curve(np.array([0.4, 0.4]), np.array([True, False]), objects=1) == pytest.approx(0.75)
    assert area_under_curve(np.zeros(0), np.zeros(0, bool), objects=2) == 0


def test_what_lies_on_ignored_regions_is_excused():
    car = box(0, 20, 0, 20)
    spot = box(30, 50, 40, 60)
    for ids, excused in (
        (street(_26001=car), False),
        (street(_26001=car, _26=spot), True),  # a group of cars
        (street(_26001=car, _24=spot), False),  # a group of another class
        (street(_26001=car, _4=spot), True),  # static: no class
        (street(_26001=car, _29=spot), True),  # a group of caravans
        (street(_26001=car, _29000=spot), False),  # a caravan is void in no one's mask
        (street(_26001=car, _26002=box(30, 35, 40, 59)), False),  # 95 pixels, too few to have to be found
        (street(_26001=car, _26002=box(30, 35, 40, 59), _3=box(35, 50, 40, 60)), True),  # both together
    ):
        scores, right = judge(measure_overlaps(ids, [detection(car, 0.5), detection(spot, 0.9)], [CAR])[CAR], 0.5)
        assert len(scores) == (1 if excused else 2), np.unique(ids)
        assert right.sum() == 1


def test_share_of_the_threshold_itself_excuses_nothing():
    ids = street(_26001=box(0, 20, 0, 20), _4=box(30, 40, 40, 60))
    found = measure_overlaps(ids, [detection(box(30, 50, 40, 60), 0.9)], [CAR])[CAR]
    assert len(judge(found, 0.5)[0]) == 1  # exactly half of it is void
    assert len(judge(found, 0.45)[0]) == 0


def test_picture_without_detections_or_objects_still_counts():
    nothing = measure_overlaps(street(), [], [CAR, PERSON])
    assert {len(o.scores) for o in nothing.values()} == {0}
    missed = measure_overlaps(street(_26001=box(0, 20, 0, 20)), [], [CAR])[CAR]
    found = measure_overlaps(street(_26001=box(0, 20, 0, 20)), [detection(box(0, 20, 0, 20), 0.9)], [CAR])[CAR]
    np.testing.assert_allclose(average_precisions([missed, found, nothing[CAR]]), 0.5)
    empty = measure_overlaps(street(), [detection(np.zeros(SIZE, bool), 0.9)], [CAR])[CAR]
    assert len(empty.scores) == 0


def judge_slowly(picture: Overlaps, threshold: float) -> list[tuple[float, bool]]:
    """Judge one detection and one object after another, in the words of the official code."""
    judged = []
    n, m = picture.shared.shape

    def overlap(p: int, g: int) -> float:
        shared = picture.shared[p, g]
        return shared / (picture.pixels[p] + picture.truth_pixels[g] - shared)

    for g in range(m):
        if picture.is_group[g] or picture.truth_pixels[g] < 100:
            continue
        best = None
        for p in range(n):
            if overlap(p, g) > threshold:
                score = picture.scores[p]
                if best is None:
                    best = score
                else:
                    judged.append((min(best, score), False))
                    best = max(best, score)
        if best is not None:
            judged.append((best, True))
    for p in range(n):
        if any(overlap(p, g) > threshold for g in range(m)):
            continue
        excused = picture.void[p]
        for g in range(m):
            excused += picture.shared[p, g] * int(picture.is_group[g])
            excused += picture.shared[p, g] * int(picture.truth_pixels[g] < 100)
        if excused / picture.pixels[p] <= threshold:
            judged.append((picture.scores[p], False))
    return judged


def random_street(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[Detection]]:
    """Return ids with objects, groups, caravans and void, and detections of some: shifted, twice, or nowhere."""
    ids = np.full(size, 7, np.uint16)
    ids[: size[0] // 6] = 3
    ellipses = []
    for k in range(14):
        mask = np.zeros(size, np.uint8)
        centre = (int(rng.integers(0, size[1])), int(rng.integers(0, size[0])))
        cv2.ellipse(mask, centre, (int(rng.integers(3, 22)), int(rng.integers(3, 22))), 0, 0, 360, 1, -1)
        value = int(rng.choice([24000 + k, 26000 + k, 26000 + k, 33000 + k, 29000 + k, 26, 24, 10]))
        ids[mask > 0] = value
        ellipses.append((mask, value))
    found = []
    for mask, value in ellipses:
        for _ in range(int(rng.integers(0, 3))):
            shifted = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
            category = value // 1000 if value >= 1000 and rng.random() < 0.8 else int(rng.choice([24, 26, 33]))
            if category in THINGS:
                found.append((shifted, category, round(float(rng.random()), 1)))
    return ids, [detection(mask, score, category=category) for mask, category, score in found]


@pytest.mark.parametrize("seed", range(12))
def test_judgements_equal_the_slow_twin(seed):
    ids, found = random_street(np.random.default_rng(seed), (100, 160))
    for overlaps in measure_overlaps(ids, found, [24, 26, 33]).values():
        for threshold in THRESHOLDS:
            scores, right = judge(overlaps, threshold)
            assert sorted(zip(scores.tolist(), right.tolist(), strict=True)) == sorted(
                (float(score), good) for score, good in judge_slowly(overlaps, threshold)
            )


def write_streets(folder: Path, count: int) -> tuple[InstanceSet, list[Detection]]:
    """Write scenes as Cityscapes has them and return detections for all of them."""
    detections = []
    for k in range(count):
        ids, found = random_street(np.random.default_rng(100 + k), (128, 192))
        name = f"bonn_000000_{k:06d}"
        for kind, values in (
            ("leftImg8bit/val/bonn/{}_leftImg8bit.png", np.zeros((*ids.shape, 3), np.uint8)),
            ("gtFine/val/bonn/{}_gtFine_instanceIds.png", ids),
        ):
            path = folder / kind.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), values)
        detections += [d | {"image_id": k + 1} for d in found]
    return open_instances(f"cityscapes:{folder}"), detections


def test_scores_of_a_data_set_are_means_over_classes_with_objects(tmp_path):
    data, detections = write_streets(tmp_path, 4)
    categories = {name: number for number, name in THINGS.items()}
    scores = score_cityscapes(data, detections, indices=range(4), categories=categories)
    measured = [numbers for numbers in scores.per_class.values() if numbers["AP"] >= 0]
    assert 3 <= len(measured) < 8
    assert 0.05 < scores.metrics["AP"] < scores.metrics["AP50"] < 0.95
    for name, value in scores.metrics.items():
        assert value == pytest.approx(np.mean([numbers[name] for numbers in measured]))
    assert scores.per_class["train"] == {"AP": -1.0, "AP50": -1.0}
    cars = score_cityscapes(data, detections, indices=range(4), categories={"car": CAR})
    assert cars.per_class["car"] == scores.per_class["car"]
    nothing = score_cityscapes(data, [], indices=[], categories={"car": CAR})
    assert nothing.metrics == {"AP": -1, "AP50": -1}


def test_other_data_sets_have_no_such_number(tmp_path):
    from solo_rt.train.data.world_files import write_coco

    folder = write_coco(tmp_path / "coco", images=1, size=(36, 64)).parent
    with pytest.raises(UsageError, match="expected Cityscapes to measure its AP on, got coco"):
        score_cityscapes(open_instances(f"coco:{folder}"), [], indices=[0], categories={"star": 4})


def test_all_numbers_are_those_of_the_official_code(tmp_path, monkeypatch):
    """Its files go where the test says; NumPy 2.4 has no in1d, so the test lends it one."""
    data, detections = write_streets(tmp_path, 6)
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    monkeypatch.setattr(sys, "argv", ["test"])
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path))
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling", reason="needs cityscapesscripts and Pillow"
    )
    results = tmp_path / "results"
    results.mkdir()
    for k in range(len(data)):
        lines = []
        for n, found in enumerate(d for d in detections if d["image_id"] == k + 1):
            code = found["segmentation"]["counts"].encode()
            mask = RunLengths(code).cut_out((128, 192)).dense((128, 192))
            cv2.imwrite(str(results / f"{k}_{n}.png"), 255 * mask)
            lines.append(f"{k}_{n}.png {found['category_id']} {found['score']}\n")
        (results / f"bonn_000000_{k:06d}.txt").write_text("".join(lines))
    arguments = official.args
    monkeypatch.setattr(arguments, "predictionPath", str(results))
    monkeypatch.setattr(arguments, "gtInstancesFile", str(tmp_path / "gtInstances.json"))
    monkeypatch.setattr(arguments, "quiet", True)
    official.setInstanceLabels(arguments)
    truth = [str(path) for path in data.read.paths]
    instances = official.instances2dict(truth, False)
    predictions = [official.getPrediction(path, arguments) for path in truth]
    matches = official.matchGtWithPreds(predictions, truth, instances, arguments)
    table = official.evaluateMatches(matches, arguments)  # [distances, classes, thresholds]
    expected = official.computeAverages(table, arguments)
    categories = {name: number for number, name in THINGS.items()}
    scores = score_cityscapes(data, detections, indices=range(6), categories=categories)
    ours = {"": scores.metrics, **scores.per_class}
    theirs = {"": {"ap": expected["allAp"], "ap50%": expected["allAp50%"]}, **expected["classes"]}
    for name, numbers in ours.items():
        both = [theirs[name]["ap"], theirs[name]["ap50%"]]
        np.testing.assert_allclose(list(numbers.values()), np.nan_to_num(both, nan=-1.0), atol=1e-12)

"""The instance average precision of the Cityscapes benchmark, which is not COCO's.

Source: Cordts et al. 2016, section 4.2, and evalInstanceLevelSemanticLabeling.py of cityscapesScripts, with whose
results a test compares these. The differences to COCO's: a match overlaps by *more* than the threshold; all detections
of a data set are ranked at once, those of an equal score together; the area under precision over recall is measured
between its points as they are, not at 101 recalls; objects of less than 100 pixels, groups and regions of no class
excuse a detection that lies on them by more than the threshold's share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.data.instances.cityscapes import Ids, InstanceIds
from solo_rt.train.data.instances.masks import RunLengths
from solo_rt.train.data.semantic.cityscapes import LABELS, NUMBERED
from solo_rt.train.evaluate.detections import Detection
from solo_rt.types import IGNORED

THRESHOLDS = np.arange(0.5, 1.0, 0.05)  # as the official code makes them
LEAST_PIXELS = 100  # of an object that has to be found
VOID = [label.id for label in LABELS if label.train_id == IGNORED]  # regions that excuse what is found on them

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CityscapesScores:
    """Average precision over 0.50:0.05:0.95, AP, and at 0.5, AP50; -1 where the data has no object."""

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]


class Overlaps(NamedTuple):
    """The detections of one class in one picture, and how they overlap what is there."""

    scores: NDArray[np.float64]  # [P]
    pixels: Int64  # [P] of each detection, at least 1
    void: Int64  # [P] of them on regions of no class
    truth_pixels: Int64  # [G] of each object and group of the class
    is_group: NDArray[np.bool_]  # [G]
    shared: Int64  # [P, G]


def score_cityscapes(
    data: InstanceSet, detections: Sequence[Detection], *, indices: Sequence[int], categories: Mapping[str, int]
) -> CityscapesScores:
    """Return the Cityscapes AP of `detections` in the pictures `indices`, over the classes of `categories` alone."""
    if not isinstance(data.read, InstanceIds):
        raise UsageError(f"expected Cityscapes to measure its AP on, got {data.kind}")
    by_picture: dict[int, list[Detection]] = {}
    for detection in detections:
        by_picture.setdefault(detection["image_id"], []).append(detection)
    overlaps: dict[int, list[Overlaps]] = {number: [] for number in categories.values()}
    for index in indices:
        found = by_picture.get(int(data.picture_ids[index]), [])
        for number, overlap in measure_overlaps(data.read.load(index), found, list(overlaps)).items():
            overlaps[number].append(overlap)
    table = {name: average_precisions(overlaps[number]) for name, number in categories.items()}
    matrix = np.array(list(table.values()))  # [classes, thresholds]
    return CityscapesScores(_summary(matrix), {name: _summary(row[None]) for name, row in table.items()})


def measure_overlaps(ids: Ids, detections: Sequence[Detection], classes: Sequence[int]) -> dict[int, Overlaps]:
    """Return what there is to know about one picture, for every class id of `classes`.

    `ids` are those of its pixels: a class id, or class id * 1000 + number of an object. Detections without a pixel do
    not count.
    """
    counts = np.bincount(ids.ravel(), minlength=1 << 16)
    present = np.flatnonzero(counts)
    place = np.zeros(1 << 16, np.int64)
    place[present] = np.arange(len(present))
    owners = np.where(present >= NUMBERED, present // NUMBERED, present)
    is_void = np.isin(present, VOID)
    shared_with = {}
    for number, detection in enumerate(detections):
        code = detection["segmentation"]
        cutout = RunLengths(code["counts"].encode("ascii")).cut_out((ids.shape[0], ids.shape[1]))
        h, w = cutout.mask.shape
        under = ids[cutout.y : cutout.y + h, cutout.x : cutout.x + w][cutout.mask.view(np.bool_)]
        if len(under):
            shared_with[number] = np.bincount(place[under], minlength=len(present))
    result = {}
    for class_id in classes:
        mine = [k for k in shared_with if detections[k]["category_id"] == class_id]
        shared = np.array([shared_with[k] for k in mine], np.int64).reshape(-1, len(present))
        truth = owners == class_id
        result[class_id] = Overlaps(
            scores=np.array([detections[k]["score"] for k in mine], np.float64),
            pixels=shared.sum(1),
            void=shared[:, is_void].sum(1),
            truth_pixels=counts[present[truth]],
            is_group=present[truth] < NUMBERED,
            shared=shared[:, truth],
        )
    return result


def average_precisions(pictures: Sequence[Overlaps]) -> NDArray[np.float64]:
    """Return the average precision of one class at each of `THRESHOLDS`; NaN if no picture has an object of it."""
    objects = sum(int(((p.truth_pixels >= LEAST_PIXELS) & ~p.is_group).sum()) for p in pictures)
    if not objects:
        return np.full(len(THRESHOLDS), np.nan)
    precisions = []
    for threshold in THRESHOLDS:
        judged = [judge(picture, float(threshold)) for picture in pictures]
        scores, is_right = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        precisions.append(area_under_curve(scores, is_right, objects=objects))
    return np.array(precisions)


def judge(picture: Overlaps, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores of the detections that count in one picture and which of them are right.

    An object that several detections match makes the best of them right and the others wrong.
    """
    scores, pixels, void, truth_pixels, is_group, shared = picture
    counted = (truth_pixels >= LEAST_PIXELS) & ~is_group
    union = pixels[:, None] + truth_pixels - shared
    matches = (shared > 0) & (shared / union > threshold)  # [P, G]
    kept, right = [], []
    for column in matches[:, counted].T:
        rivals = np.sort(scores[column])[::-1]
        kept.append(rivals)
        right.append(np.arange(len(rivals)) == 0)
    excused = void + (shared * is_group).sum(1) + (shared * (truth_pixels < LEAST_PIXELS)).sum(1)
    wrong = ~matches.any(1) & (excused / np.maximum(pixels, 1) <= threshold)
    kept.append(scores[wrong])
    right.append(np.zeros(int(wrong.sum()), np.bool_))
    return np.concatenate(kept), np.concatenate(right)


def area_under_curve(scores: NDArray[np.float64], is_right: NDArray[np.bool_], *, objects: int) -> float:
    """Return the area under precision over recall, each point as wide as half the way to both its neighbours.

    The curve has a point for every distinct score, and one of precision 1 at recall 0. Misses are counted as in the
    official code: all objects that no detection matches.
    """
    order = np.argsort(scores, kind="stable")
    scores, is_right = scores[order], is_right[order]
    _, starts = np.unique(scores, return_index=True)
    right_below = np.concatenate([[0], np.cumsum(is_right)])[starts]
    right = is_right.sum() - right_below
    precision = np.append(right / (len(scores) - starts), 1.0)
    recall = np.append(right / objects, 0.0)
    ends = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ (ends[:-2] - ends[2:])) / 2


def _summary(precisions: NDArray[np.float64]) -> dict[str, float]:
    """Return the means of `[classes, thresholds]` over the classes that were measured, -1 if none was."""
    measured = precisions[~np.isnan(precisions[:, 0])]
    if not len(measured):
        return {"AP": -1.0, "AP50": -1.0}
    return {"AP": float(measured.mean()), "AP50": float(measured[:, 0].mean())}

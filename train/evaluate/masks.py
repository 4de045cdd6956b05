"""COCO's mask average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.evaluate.detections import Detection

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True, slots=True)
class MaskScores:
    """The twelve COCO numbers for masks and the most important of each class; -1 where the data has no such object."""

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]  # AP, AP50 and the number of objects, crowds not counted


def score_masks(
    data: InstanceSet, detections: Sequence[Detection], *, indices: Sequence[int], categories: Mapping[str, int]
) -> MaskScores:
    """Return the COCO mask AP of `detections` in the pictures `indices`, over the classes of `categories` alone.

    `categories` gives their category ids by name. All detections of a picture count: 100 at most, as for COCO, unless
    the model was made to find more.
    """
    truth = _truth(data, indices)
    ids = [int(data.picture_ids[i]) for i in indices]
    most = max(Counter(detection["image_id"] for detection in detections).values(), default=0)
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes([{**detection} for detection in detections]) if detections else COCO()
        if not detections:
            found.dataset = {"images": truth.dataset["images"], "annotations": [], "categories": []}
            found.createIndex()
        run = COCOeval(truth, found, "segm")
        run.params.imgIds = ids
        run.params.catIds = list(categories.values())
        run.params.maxDets[-1] = max(run.params.maxDets[-1], most)
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, -1]  # [thresholds, recalls, classes], all areas, most detections
    objects = dict.fromkeys(categories.values(), 0)
    for record in truth.dataset["annotations"]:
        if record["category_id"] in objects and not record["iscrowd"]:
            objects[record["category_id"]] += 1
    column = {category: k for k, category in enumerate(run.params.catIds)}  # sorted by the evaluation
    per_class = {
        name: {
            "AP": _mean(precision[:, :, column[category]]),
            "AP50": _mean(precision[0, :, column[category]]),
            "objects": objects[category],
        }
        for name, category in categories.items()
    }
    metrics = dict(zip(METRICS, map(float, run.stats), strict=True))
    metrics["AP"] = _mean(precision)  # pycocotools' own knows no limit but 100
    return MaskScores(metrics, per_class)


def _truth(data: InstanceSet, indices: Sequence[int]) -> COCO:
    """Return the annotations as pycocotools wants them, numbered from 1: it takes number 0 for "not matched"."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index in indices:
        picture = data[index]
        height, width = picture.size
        images.append({"id": picture.id, "height": height, "width": width})
        for item in picture.annotations:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture.id,
                    "category_id": data.category_ids[item.label],
                    "segmentation": item.segmentation.rle(picture.size),
                    "area": item.area,
                    "iscrowd": int(item.crowd),
                }
            )
    truth = COCO()
    categories = [{"id": c, "name": name} for c, name in zip(data.category_ids, data.classes, strict=True)]
    truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _mean(precision: NDArray[np.float64]) -> float:
    """Return the mean of what was measured, -1 if nothing was."""
    measured = precision[precision > -1]
    return float(measured.mean()) if measured.size else -1.0

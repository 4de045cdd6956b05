"""One picture that shows what is annotated beside what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from solo_rt.render import Style, instance_labels, render
from solo_rt.train.data.instances import AnnotatedPicture, InstanceSet
from solo_rt.train.data.instances.masks import Cutout, RunLengths
from solo_rt.train.evaluate.detections import Detection
from solo_rt.train.evaluate.sheet import ROWS, Sheet, Tile, tile_size
from solo_rt.types import Frame, Instances, Masks

LEAST_SCORE = 0.3  # of what is drawn


def write_comparison(path: Path, data: InstanceSet, detections: Sequence[Detection], *, indices: Sequence[int]) -> None:
    """Write a row for each of the first pictures of `indices`: the annotations on the left, the finds on the right.

    Crowds are not drawn, nor what scores below 0.3; nor labels where they would cover more than the objects do.
    Raises: UsageError when the file cannot be written.
    """
    sheet = Sheet()
    for index in indices[:ROWS]:
        picture = data[index]
        found = [d for d in detections if d["image_id"] == picture.id and d["score"] >= LEAST_SCORE]
        both = annotated_instances(picture), _found(data, picture, found)
        frame = Frame((picture.load(),), "rgb24")
        style = Style(labels=_have_room_for_labels(frame, both, data.classes))
        sheet.add([_tile(render(frame, instances, data.classes, style=style)) for instances in both])
    sheet.write(path)


def annotated_instances(picture: AnnotatedPicture) -> Instances:
    """Return the annotated objects as if they had been found, with a score of 1."""
    items = [item for item in picture.annotations if not item.crowd]
    cutouts = [item.segmentation.cut_out(picture.size) for item in items]
    return as_instances(cutouts, [item.label for item in items], [1.0] * len(items), picture.size)


def as_instances(
    cutouts: Sequence[Cutout], labels: Sequence[int], scores: Sequence[float], size: tuple[int, int]
) -> Instances:
    """Return masks of whole pixels as instances of a frame of `size`, best score first."""
    order = sorted(range(len(cutouts)), key=lambda i: -scores[i])
    crops, regions, boxes = [], [], []
    for i in order:
        x, y, mask = cutouts[i]
        h, w = mask.shape
        x0, y0, x1, y1 = max(0, x - 1), max(0, y - 1), min(size[1], x + w + 1), min(size[0], y + h + 1)
        crop = np.zeros((y1 - y0, x1 - x0), np.uint8)
        crop[y - y0 : y - y0 + h, x - x0 : x - x0 + w] = 255 * mask
        crops.append(crop.ravel())
        regions.append((x0, y0, x1, y1))
        boxes.append((x, y, x + w, y + h))
    masks = Masks(
        data=np.concatenate(crops) if crops else np.zeros(0, np.uint8),
        offsets=np.cumsum([0, *map(len, crops)], dtype=np.int64),
        regions=np.array(regions, np.int32).reshape(-1, 4),
        grid_size=size,
        step=(1.0, 1.0),
    )
    return Instances(
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([scores[i] for i in order], np.float32),
        np.array([labels[i] for i in order], np.int32),
        masks,
    )


def _found(data: InstanceSet, picture: AnnotatedPicture, detections: Sequence[Detection]) -> Instances:
    cutouts = [RunLengths(d["segmentation"]["counts"].encode("ascii")).cut_out(picture.size) for d in detections]
    labels = [data.category_ids.index(d["category_id"]) for d in detections]
    return as_instances(cutouts, labels, [d["score"] for d in detections], picture.size)


def _have_room_for_labels(frame: Frame, both: Sequence[Instances], classes: Sequence[str]) -> bool:
    labels = [label for instances in both for label in instance_labels(frame, instances, classes)]
    boxes = np.concatenate([instances.boxes for instances in both])
    return sum(label.coverage.size for label in labels) <= float(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum())


def _tile(drawn: Frame) -> Tile:
    size = tile_size(drawn.height, drawn.width)
    return np.asarray(cv2.resize(drawn.rgb(), size, interpolation=cv2.INTER_AREA), np.uint8)

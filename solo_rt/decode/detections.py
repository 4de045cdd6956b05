"""Instances that the engine has found itself: cropping their soft masks is all that is left to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode.limits import check_limits, choose, drop_unseen
from solo_rt.decoders import DetectionsDecoder
from solo_rt.preprocess import Letterbox
from solo_rt.types import Instances, Masks

Tensor = NDArray[np.float32] | NDArray[np.int32]


def decode_detections(
    outputs: Mapping[str, Tensor],
    decoder: DetectionsDecoder,
    letterbox: Letterbox,
    *,
    conf: float = 0.0,
    max_det: int | None = None,
    classes: Collection[int] | None = None,
) -> Instances:
    """Return the instances of one picture, best score first.

    outputs: the tensors of `DetectionsDecoder` without their batch axis. Everything else as for `decode`; instances
    below `conf` are left out here, which is exact, because a worse candidate never lowers the score of a better one.
    Raises: UsageError on limits out of range.
    """
    check_limits(conf=conf, max_det=max_det)
    found = min(int(outputs["num_dets"][0]), decoder.max_instances)
    scores = outputs["det_scores"][:found].astype(np.float32)
    n = int(np.searchsorted(-scores, -np.float32(conf), side="right"))
    labels = outputs["det_labels"][:n].astype(np.int32)
    chosen = np.flatnonzero(choose(labels, classes=classes, max_det=max_det))
    soft = outputs["det_masks"].view(np.uint8)  # [N, h, w]
    grid_size = (soft.shape[1], soft.shape[2])
    regions = outputs["det_regions"][chosen].astype(np.int32)
    crops = [soft[i, y0:y1, x0:x1].ravel() for i, (x0, y0, x1, y1) in zip(chosen, regions, strict=True)]
    data = np.concatenate(crops) if crops else np.zeros(0, np.uint8)
    offsets = np.cumsum([0, *map(len, crops)], dtype=np.int64)
    step, frame_size = letterbox.step(decoder.mask_stride), letterbox.frame_size
    boxes = _native.mask_boxes(data, offsets, regions, grid_size, step, frame_size, 1)
    masks = Masks(data, offsets, regions, grid_size, step)
    return drop_unseen(Instances(frame_size, boxes, scores[chosen], labels[chosen], masks))

"""Instances that the engine has found itself: cropping their soft masks is all that is left to do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decoders import DetectionsDecoder
from solo_rt.errors import UsageError
from solo_rt.types import Instances, Masks

Tensor = NDArray[np.float32] | NDArray[np.int32]


def decode_detections(
    outputs: Mapping[str, Tensor],
    decoder: DetectionsDecoder,
    *,
    frame_size: tuple[int, int],
    resized: tuple[int, int],
    conf: float = 0.0,
    max_det: int | None = None,
) -> Instances:
    """Return the instances of one picture, best score first.

    outputs: the tensors of `DetectionsDecoder` without their batch axis. Everything else as for `decode`; instances
    below `conf` are left out here, which is exact, because a worse candidate never lowers the score of a better one.
    Raises: UsageError on limits out of range.
    """
    if not 0 <= conf <= 1 or (max_det is not None and max_det < 1):
        raise UsageError(f"decode: expected conf in 0..1 and max_det of at least 1, got {conf} and {max_det}")
    found = min(int(outputs["num_dets"][0]), decoder.max_instances if max_det is None else max_det)
    scores = outputs["det_scores"][:found].astype(np.float32)
    n = int(np.searchsorted(-scores, -np.float32(conf), side="right"))
    words = np.ascontiguousarray(outputs["det_masks"][:n])
    soft = words.view(np.uint8)  # [n, h, w]
    grid_size = (soft.shape[1], soft.shape[2])
    regions = outputs["det_regions"][:n].astype(np.int32)
    crops = [mask[y0:y1, x0:x1].ravel() for mask, (x0, y0, x1, y1) in zip(soft, regions, strict=True)]
    data = np.concatenate(crops) if crops else np.zeros(0, np.uint8)
    offsets = np.cumsum([0, *map(len, crops)], dtype=np.int64)
    step = (resized[0] / decoder.mask_stride / frame_size[0], resized[1] / decoder.mask_stride / frame_size[1])
    boxes = _native.mask_boxes(data, offsets, regions, grid_size, step, frame_size, 1)
    labels = outputs["det_labels"][:n].astype(np.int32)
    instances = Instances(frame_size, boxes, scores[:n], labels, Masks(data, offsets, regions, grid_size, step))
    seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return instances if seen.all() else instances[seen]

"""Matrix NMS: lowers the score of every mask by its overlap with better masks of the same class.

Source: SOLOv2 (arXiv 2003.10152), section 3.3. The paper writes `exp(-iou^2 / sigma)` with sigma 0.5; released code and
this module multiply by sigma = 2. Same numbers.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native

Kernel = Literal["gaussian", "linear"]

LINEAR_FLOOR = 1e-6
"""Least denominator of the linear kernel. Without it the third of three equal masks has 0 / 0."""


def matrix_nms(
    masks: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    class_ids: NDArray[np.int32],
    kernel: Kernel = "gaussian",
    sigma: float = 2.0,
) -> NDArray[np.float32]:
    """Return the decayed scores, `float32 [N]` in the order of the input.

    masks `bool [N, ...]`; scores `float32 [N]` descending, which also ranks equal scores; class_ids `int32 [N]`.
    Raises: ValueError if shapes differ or scores are not descending; TypeError on other dtypes.
    """
    bits = pack_bits(masks)
    areas = _flatten(masks).sum(axis=1, dtype=np.int32)
    return _native.matrix_nms(bits, areas, scores, class_ids, kernel == "linear", sigma)


def matrix_nms_reference(
    masks: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    class_ids: NDArray[np.int32],
    kernel: Kernel = "gaussian",
    sigma: float = 2.0,
) -> NDArray[np.float32]:
    """Return what `matrix_nms` returns, by the matrix arithmetic of the paper's listing in float64."""
    n = len(scores)
    if n == 0:
        return np.empty(0, np.float32)
    better = np.triu(np.ones((n, n), np.bool_), k=1) & (class_ids[:, None] == class_ids[None, :])
    iou = np.where(better, mask_iou(masks), 0.0)  # [N, N], row better than column
    worst = iou.max(axis=0)[:, None]  # [N, 1]
    if kernel == "gaussian":
        decay = np.exp(-sigma * iou**2) / np.exp(-sigma * worst**2)
    else:
        decay = (1 - iou) / np.maximum(1 - worst, LINEAR_FLOOR)
    return np.asarray(scores * decay.min(axis=0), np.float32)


def mask_iou(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair, `float64 [N, N]`, of masks `bool [N, ...]`."""
    flat = _flatten(masks).astype(np.float64)  # [N, P]
    intersection = flat @ flat.T
    areas = flat.sum(axis=1)
    return np.asarray(intersection / np.maximum(areas[:, None] + areas[None, :] - intersection, 1))


def pack_bits(masks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return `bool [N, ...]` masks as `uint64 [N, ceil(P / 64)]`: pixel p is bit p % 64 of word p // 64."""
    flat = _flatten(masks)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 64)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def _flatten(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `bool [N, ...]` as `[N, P]`, also for N = 0."""
    return masks.reshape(len(masks), math.prod(masks.shape[1:]))

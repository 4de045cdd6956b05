"""The accuracy gate: does a built engine still see what the FP32 model sees?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from solo_rt.types import Instances

MATCHED_AT = 0.5  # mask IoU from which two instances of a class are the same object


def agreement(pairs: Iterable[tuple[Instances, Instances]]) -> dict[str, float]:
    """Return how well instances of the reference are found again, over all (reference, candidate) pairs of a frame.

    `found` is the share of the reference's instances that the candidate has, too: same class, mask IoU of 0.5 or more;
    `invented` is the share of the candidate's that match none. `mask_iou` is the mean IoU of the matched ones and
    `score_error` the mean difference of their scores. Nothing to compare gives 1, 0, 1 and 0.
    """
    ious: list[float] = []
    errors: list[float] = []
    wanted = given = 0
    for reference, candidate in pairs:
        wanted += len(reference)
        given += len(candidate)
        table = mask_ious(reference, candidate)
        while table.size and table.max() >= MATCHED_AT:
            i, j = np.unravel_index(int(table.argmax()), table.shape)
            ious.append(float(table[i, j]))
            errors.append(abs(float(reference.scores[i]) - float(candidate.scores[j])))
            table[i, :] = table[:, j] = 0
    matched = len(ious)
    return {
        "found": matched / wanted if wanted else 1.0,
        "invented": (given - matched) / given if given else 0.0,
        "mask_iou": float(np.mean(ious)) if ious else 1.0,
        "score_error": float(np.mean(errors)) if errors else 0.0,
    }


def mask_ious(a: Instances, b: Instances) -> NDArray[np.float64]:
    """Return the IoU of every mask of `a` with every mask of `b`, `float64 [N, M]`; 0 across classes."""
    from pycocotools import mask as coco_mask

    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    table: NDArray[np.float64] = np.asarray(coco_mask.iou(b.rles(), a.rles(), [0] * len(a)), np.float64).T
    table[a.class_ids[:, None] != b.class_ids[None]] = 0
    return table

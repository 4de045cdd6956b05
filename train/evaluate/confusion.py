"""How often which class was taken for which, and what follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError
from solo_rt.types import IGNORED

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def count_pixels(truth: NDArray[np.uint8], found: NDArray[np.uint8], *, classes: int) -> Int64:
    """Return `int64 [C, C + 1]`: pixels of true class i that were given class j; the last column is any other value.

    `truth` and `found` are `uint8 [H, W]`. Pixels whose truth is 255 do not count; a found value that is no class is a
    miss of the true class, but no false alarm of another. Matrices of several pictures, or processes, add up.
    Raises: DatasetError when a true label is no class.
    """
    pairs = np.bincount((truth.astype(np.uint16) << 8 | found).ravel(), minlength=1 << 16).reshape(256, 256)
    strange = pairs[classes:IGNORED].sum(axis=1)
    if strange.any():
        raise DatasetError(f"expected true labels below {classes} or 255, got {classes + int(strange.argmax())}")
    return np.concatenate([pairs[:classes, :classes], pairs[:classes, classes:].sum(axis=1, keepdims=True)], axis=1)


def intersection_over_union(confusion: Int64) -> Float64:
    """Return `float64 [C]`, TP / (TP + FP + FN) of each class; NaN for a class that is neither there nor found."""
    hits = np.diagonal(confusion)
    return divide(hits, confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - hits)


def accuracies(confusion: Int64) -> Float64:
    """Return `float64 [C]`, which part of the pixels of each class was found; NaN for a class that is not there."""
    return divide(np.diagonal(confusion), confusion.sum(axis=1))


def summarise(confusion: Int64) -> dict[str, float]:
    """Return mIoU, pixel accuracy, mean accuracy and frequency weighted IoU, all in 0..1 over the whole set.

    Means are over the classes that have a value. NaN where no pixel has a label.
    """
    each, total = intersection_over_union(confusion), confusion.sum()
    share = divide(confusion.sum(axis=1), total)
    return {
        "mIoU": mean(each),
        "pixel_accuracy": float(divide(np.diagonal(confusion).sum(), total)),
        "mean_accuracy": mean(accuracies(confusion)),
        "weighted_IoU": float(np.nansum(share * each)) if total else float("nan"),
    }


def balanced_error_rate(confusion: Int64) -> float:
    """Return 1 - (TPR + TNR) / 2 of two classes, the measure of shadow detection; NaN if one is not there."""
    return float(1 - accuracies(confusion).mean())


def mean(values: Float64) -> float:
    """Return the mean of the values that are not NaN; NaN if none is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def divide(part: Int64 | Float64 | np.int64, whole: Int64 | Float64 | np.int64) -> Float64:
    """Return the quotient, NaN where `whole` is 0."""
    return np.where(whole > 0, part, np.nan) / np.maximum(whole, 1e-300)

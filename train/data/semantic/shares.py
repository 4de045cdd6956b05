"""How much of a data set each class is, and what a class should count for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError
from solo_rt.train.data.semantic.base import SemanticSet

LOOKED_AT = 400  # pictures of a data set, evenly spread: more change the shares by a few parts in a hundred


def class_shares(data: SemanticSet) -> NDArray[np.float64]:
    """Return which share of the labelled pixels each class has, `float64 [C]`; pictures that cannot be read are passed.

    Raises: DatasetError where no picture has a label.
    """
    counts = np.zeros(256, np.int64)
    for index in np.unique(np.linspace(0, len(data) - 1, LOOKED_AT).round().astype(int)):
        try:
            counts += np.bincount(data[int(index)].labels.ravel(), minlength=256)
        except DatasetError:
            continue  # training names it
    counts = counts[: len(data.classes)]
    if not counts.any():
        raise DatasetError(f"{data.kind}: expected labels to weigh the classes by, got none; see solo-rt check-labels")
    return np.asarray(counts / counts.sum(), np.float64)


def weigh_classes(shares: NDArray[np.float64], evenness: float) -> NDArray[np.float32]:
    """Return what a pixel of each class counts, `float32 [C]`: 1 / ln(evenness + share), so rare classes more.

    The nearer `evenness` is to 1, the more. Source: Paszke et al. 2016 (ENet), section 5, where it is 1.02.
    """
    return np.asarray(1 / np.log(evenness + shares), np.float32)

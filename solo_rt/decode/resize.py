"""Bilinear resizing as PyTorch does it, for the numpy references."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def resize_bilinear(images: Float32, size: tuple[int, int]) -> Float32:
    """Return images `float32 [..., h, w]` at another size: bilinear, half-pixel centres, edges continued.

    No antialiasing: every output pixel has at most four sources. Source: `interpolate(mode="bilinear",
    align_corners=False)` of PyTorch.
    """
    lower, upper, weight = _taps(images.shape[-2], size[0])
    rows = images[..., lower, :] * (1 - weight)[:, None] + images[..., upper, :] * weight[:, None]
    lower, upper, weight = _taps(images.shape[-1], size[1])
    return np.asarray(rows[..., lower] * (1 - weight) + rows[..., upper] * weight, np.float32)


def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32]:
    """Return the two source indices of every target index and the weight of the second."""
    position = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0)
    lower = np.minimum(position.astype(np.intp), source - 1)
    return lower, np.minimum(lower + 1, source - 1), (position - lower).astype(np.float32)

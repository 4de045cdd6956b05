"""Label maps at frame size, counted and blended into whole frames, the obvious way."""

from __future__ import annotations

import numpy as np

from solo_rt.types import UInt8


def dense_labels(labels: UInt8, size: tuple[int, int]) -> UInt8:
    """Return the label of the cell that holds the centre of each pixel."""
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def blend_labels(planes: tuple[UInt8, ...], labels: UInt8, colours: UInt8, alphas: np.ndarray) -> list[UInt8]:
    """Return the planes with the colour of every pixel's label blended in."""
    dense = dense_labels(labels, planes[0].shape[:2])
    alpha, colour = alphas[dense].astype(np.int64), colours[dense].astype(np.int64)  # [H, W], [H, W, 3]
    if len(planes) == 1:
        return [((planes[0] * (256 - alpha[..., None]) + colour * alpha[..., None] + 128) >> 8).astype(np.uint8)]
    result = [((planes[0] * (256 - alpha) + colour[..., 0] * alpha + 128) >> 8).astype(np.uint8)]
    odd = [(0, n % 2) for n in dense.shape]
    alpha, colour = np.pad(alpha, odd, "edge"), np.pad(colour, [*odd, (0, 0)], "edge")  # so that all samples serve four
    h, w = planes[1].shape
    for c in (1, 2):
        keep = (256 - alpha).reshape(h, 2, w, 2).sum((1, 3))
        add = (colour[..., c] * alpha).reshape(h, 2, w, 2).sum((1, 3))
        result.append(((planes[c] * keep + add + 512) >> 10).astype(np.uint8))
    return result


def blobs(rng: np.random.Generator, size: tuple[int, int], labels: list[int], block: int = 5) -> UInt8:
    """Return a map of blocks, most of them wider than one cell, with labels chosen from `labels`."""
    h, w = size
    coarse = rng.choice(np.array(labels, np.uint8), (-(-h // block), -(-w // block)))
    return np.repeat(np.repeat(coarse, block, 0), block, 1)[:h, :w]


def enlarge(logits: np.ndarray, size: tuple[int, int], *, corners: bool) -> np.ndarray:
    """Return `[h, w, C]` enlarged bilinearly to `[*size, C]` in float64, as PyTorch's interpolate defines it."""
    for axis, pixels in enumerate(size):
        samples = logits.shape[axis]
        centres = np.arange(pixels)
        if corners:
            position = centres * (samples - 1) / max(pixels - 1, 1)
        else:
            position = np.maximum((centres + 0.5) * samples / pixels - 0.5, 0)
        first = np.minimum(position.astype(int), samples - 1)
        second = np.minimum(first + 1, samples - 1)
        weight = (position - first).reshape([-1 if i == axis else 1 for i in range(3)])
        logits = np.take(logits, first, axis) * (1 - weight) + np.take(logits, second, axis) * weight
    return logits

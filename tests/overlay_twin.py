"""Masks blended into whole frames, the obvious way, and random planes to blend them into."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from soft_mask_twin import dense_mask

from solo_rt.types import Frame, Masks, UInt8


def make_planes(size: tuple[int, int], pixel_format: str, seed: int = 0) -> tuple[UInt8, ...]:
    """Return noise as the planes of a frame."""
    h, w = size
    half = ((h + 1) // 2, (w + 1) // 2)
    rng = np.random.default_rng(seed)
    return tuple(
        rng.integers(0, 256, shape, np.uint8)
        for shape in ([(h, w, 3)] if pixel_format == "rgb24" else [size, half, half])
    )


def make_frame(size: tuple[int, int], pixel_format: str, **tags: object) -> Frame:
    return Frame(make_planes(size, pixel_format), pixel_format, **tags)  # type: ignore[arg-type]


def drawn_apart(frame: Frame, draw: Callable[[Frame], Frame]) -> Frame:
    """Return what `draw` makes of a frame, after checking that it is a picture of its own and the frame as before."""
    for plane in frame.planes:
        plane.flags.writeable = False
    before = [plane.copy() for plane in frame.planes]
    drawn = draw(frame)
    assert (drawn.pixel_format, drawn.index, drawn.pts) == (frame.pixel_format, frame.index, frame.pts)
    for plane, original, result in zip(frame.planes, before, drawn.planes, strict=True):
        np.testing.assert_array_equal(plane, original)
        assert not np.shares_memory(plane, result)
        assert result.flags.writeable
        assert result.flags.c_contiguous
    return drawn


def weights_of(mask: UInt8, alpha: float, outline: int) -> np.ndarray:
    """Return 256 on the outline, alpha * 256 inside, 0 outside; pixels beyond the frame count as inside."""
    h, w = mask.shape
    beyond = np.pad(mask, outline, constant_values=1)
    core = np.ones_like(mask)
    for dy in range(-outline, outline + 1):
        for dx in range(-outline, outline + 1):
            if dy * dy + dx * dx <= outline * outline:
                core &= beyond[outline + dy : outline + dy + h, outline + dx : outline + dx + w]
    return np.where(core == 1, round(alpha * 256), 256) * mask


def blend_masks(planes: tuple[UInt8, ...], masks: Masks, colours: UInt8, alpha: float, outline: int) -> list[UInt8]:
    """Return the planes with every mask blended in, the last one first."""
    size = planes[0].shape[:2]
    result = [plane.astype(np.int64) for plane in planes]
    for i in reversed(range(len(masks))):
        full = weights_of(dense_mask(masks, i, size), alpha, outline)
        rows, columns = (np.arange(side) // 2 for side in size)
        sums, counts = np.zeros((2, (size[0] + 1) // 2, (size[1] + 1) // 2))
        np.add.at(sums, (rows[:, None], columns), full)
        np.add.at(counts, (rows[:, None], columns), 1)
        half = np.floor(sums / counts + 0.5).astype(np.int64)
        for c, plane in enumerate(result):
            weight = half if c else full
            colour: UInt8 | np.uint8 = colours[i, c]
            if len(planes) == 1:
                weight, colour = full[..., None], colours[i]
            result[c] = (plane * (256 - weight) + np.int64(colour) * weight + 128) >> 8
    return [plane.astype(np.uint8) for plane in result]

"""The masks of SOLO and Decoupled SOLO: maps of the network, or products of two (see `SoloDecoder`).

`find` computes them natively, a few at a time; `soft_masks` is the same in numpy, step by step as the papers and their
released code have it; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode.limits import Float32, Int32, KeptInstances, Limits, Outputs, cell_strides
from solo_rt.decode.resize import resize_bilinear
from solo_rt.decoders import SoloDecoder

CHUNK = 256  # masks that are held as floats at a time: 22 MB at 448x768

Size = tuple[int, int]  # height, width


def grid_size(outputs: Outputs, decoder: SoloDecoder) -> Size:
    """Return height and width of the grid of the masks. Raises: ValueError."""
    name = "features0" if decoder.masks == "cells" else "maps0"
    shape = outputs[name].shape
    if len(shape) != 3:
        raise ValueError(f"{name}: expected float32 [F, h, w] of one picture, got {len(shape)} axes {list(shape)}")
    stride = decoder.level_strides[0] // (1 if decoder.masks == "cells" else 2)
    return shape[1] * stride // decoder.mask_stride, shape[2] * stride // decoder.mask_stride


def find(outputs: Outputs, decoder: SoloDecoder, limits: Limits, *, threads: int) -> KeptInstances:
    """Return the instances of one picture.

    Equal scores are ranked by ascending candidate index, cell * classes + class; candidates whose score is NaN do not
    exist.
    """
    cells, class_ids = np.nonzero(outputs["scores"] > np.float32(limits.score))  # ascending candidate index
    scores = outputs["scores"][cells, class_ids]
    distinct, rows = np.unique(cells, return_inverse=True)
    grid = grid_size(outputs, decoder)
    parts = [
        _native.binarise_products(*factors, decoder.mask_threshold, threads)
        for _, factors in _factors(outputs, decoder, distinct, grid, threads=threads)
    ]
    bits, areas, sums = (np.concatenate(values) for values in zip(*parts, strict=True)) if parts else _no_masks(grid)

    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.asarray(scores * (sums / areas.astype(np.float32))[rows], np.float32)
    kept = np.flatnonzero((areas > cell_strides(decoder)[distinct])[rows] & ~np.isnan(scores))
    kept = kept[np.argsort(-scores[kept], kind="stable")][: decoder.nms_pre]
    masks = rows[kept]
    decayed = _native.matrix_nms(
        bits[masks],
        areas[masks],
        scores[kept],
        class_ids[kept].astype(np.int32),
        decoder.nms_kernel == "linear",
        decoder.nms_sigma,
    )
    best = np.argsort(-decayed, kind="stable")[: limits.instances]
    best = best[decayed[best] >= np.float32(limits.update)]
    found = masks[best].astype(np.int32)
    regions = _native.mask_regions(bits, found, grid)
    offsets = np.zeros(len(found) + 1, np.int64)
    np.cumsum((regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1]), out=offsets[1:])
    data = _crop(outputs, decoder, distinct[found], regions, offsets, grid, threads=threads)
    kept = kept[best]
    return KeptInstances(
        decayed[best], class_ids[kept].astype(np.int32), cells[kept].astype(np.int32), regions, offsets, data
    )


def soft_masks(outputs: Outputs, decoder: SoloDecoder, cells: Int32) -> Float32:
    """Return the probabilities `float32 [N, h, w]` of the masks of N cells."""
    grid = grid_size(outputs, decoder)
    soft = np.empty((len(cells), *grid), np.float32)
    for level, start, mine in _by_level(decoder, cells):
        if decoder.masks == "cells":
            logits = _cell_logits(outputs, level, cells[mine])
            h, w = logits.shape[1:]
            soft[mine] = resize_bilinear(_sigmoid(resize_bilinear(logits, (2 * h, 2 * w))), grid)
        else:
            maps = resize_bilinear(_sigmoid(outputs[f"maps{level}"]), grid)
            row, column = np.divmod(cells[mine] - start, decoder.grids[level])
            soft[mine] = maps[column] * maps[decoder.grids[level] + row]
    return soft


Factors = tuple[Float32, Int32, Int32 | None]  # maps on the grid, and which one or two of them each mask is made of


def _factors(
    outputs: Outputs, decoder: SoloDecoder, cells: NDArray[np.integer], grid: Size, *, threads: int
) -> Iterator[tuple[NDArray[np.intp], Factors]]:
    """Yield the masks of `cells` in parts: their places in `cells`, and what they are made of."""
    for level, start, mine in _by_level(decoder, cells):
        if decoder.masks == "cells":
            for first in range(0, len(mine), CHUNK):
                part = mine[first : first + CHUNK]
                logits = _cell_logits(outputs, level, cells[part])
                every = np.arange(len(part), dtype=np.int32)
                h, w = logits.shape[1:]
                yield part, (_native.enlarge_maps(logits, every, (2 * h, 2 * w), grid, threads), every, None)
        else:
            maps = outputs[f"maps{level}"]
            row, column = np.divmod(cells[mine] - start, decoder.grids[level])
            wanted, places = np.unique(np.stack([column, row + decoder.grids[level]]), return_inverse=True)
            soft = _native.enlarge_maps(maps, wanted.astype(np.int32), maps.shape[1:], grid, threads)
            first_factor, second_factor = places.reshape(2, -1).astype(np.int32)
            yield mine, (soft, first_factor, second_factor)


def _crop(
    outputs: Outputs,
    decoder: SoloDecoder,
    cells: NDArray[np.integer],
    regions: Int32,
    offsets: NDArray[np.int64],
    grid: Size,
    *,
    threads: int,
) -> NDArray[np.uint8]:
    """Return the soft masks of `cells` inside their regions, one after another, as bytes."""
    data = np.empty(offsets[-1], np.uint8)
    for mine, factors in _factors(outputs, decoder, cells, grid, threads=threads):
        sizes = np.diff(offsets)[mine]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        crops = _native.crop_products(*factors, decoder.mask_threshold, regions[mine], starts, threads)
        for place, begin, end in zip(mine, starts[:-1], starts[1:], strict=True):
            data[offsets[place] : offsets[place + 1]] = crops[begin:end]
    return data


def _by_level(decoder: SoloDecoder, cells: NDArray[np.integer]) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Yield each level that has some of the cells: its number, its first cell, and the places of its cells."""
    start = 0
    for level, grid in enumerate(decoder.grids):
        mine = np.flatnonzero((cells >= start) & (cells < start + grid * grid))
        if len(mine):
            yield level, start, mine
        start += grid * grid


def _cell_logits(outputs: Outputs, level: int, cells: NDArray[np.integer]) -> Float32:
    """Return the mask logits `float32 [N, h, w]` of cells of one level, at the stride of the level."""
    features, kernels = outputs[f"features{level}"], outputs["kernels"][cells]
    f, h, w = features.shape
    logits = kernels[:, :f] @ features.reshape(f, h * w) + kernels[:, f:]
    return np.ascontiguousarray(logits.reshape(-1, h, w))


def _sigmoid(logits: Float32) -> Float32:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits)))


def _no_masks(grid: Size) -> tuple[NDArray[np.uint64], Int32, Float32]:
    nothing = np.zeros((0, *grid), np.float32)
    return _native.binarise_products(nothing, np.zeros(0, np.int32), None, 0.5)

"""The CUDA kernels of the decoder as functions on numpy arrays, and what they compute, the obvious way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from devices import Array, Device

from solo_rt.decode.matrix_nms import matrix_nms_reference
from solo_rt.gpu import kernels as abi
from solo_rt.gpu.kernels import TYPES, ConvShape, NmsOptions


@dataclass(frozen=True)
class Candidates:
    scores: Array  # float32 [B, K]
    indices: Array  # int32 [B, K]
    counts: Array  # int32 [B, 2]


def find_candidates(
    device: Device, scores: Array, *, threshold: float, slots: int, type_name: str = "float32", offset: int = 0
) -> Candidates:
    """Return the candidates of `scores float32 [B, count]`."""
    batch, count = scores.shape
    memory = device.array(scores.astype(type_name), offset)
    work, workspace = device.scratch(device.kernels.find_candidates_workspace(batch, count))
    best = device.empty((batch, slots), np.float32)
    indices = device.empty((batch, slots), np.int32)
    counts = device.empty((batch, 2), np.int32)
    device.kernels.find_candidates(
        memory.ptr, abi.Candidates(best.ptr, indices.ptr, counts.ptr), kind=TYPES[type_name], batch=batch, count=count,
        threshold=threshold, slots=slots, workspace=workspace, stream=device.stream,
    )  # fmt: skip
    work.numpy()  # its guard
    return Candidates(best.numpy(), indices.numpy(), counts.numpy())


def find_candidates_reference(scores: Array, *, threshold: float, slots: int) -> Candidates:
    """Return what `find_candidates` returns, by a stable sort."""
    batch = len(scores)
    found = Candidates(
        np.zeros((batch, slots), np.float32), np.zeros((batch, slots), np.int32), np.zeros((batch, 2), np.int32)
    )
    for b, row in enumerate(scores):
        above = np.flatnonzero(row > np.float32(threshold))
        order = above[np.argsort(-row[above], kind="stable")][:slots]
        found.scores[b, : len(order)] = row[order]
        found.indices[b, : len(order)] = order
        found.counts[b] = len(order), len(above)
    return found


@dataclass(frozen=True)
class BitMasks:
    words: Array  # uint32 [B, K, W]
    areas: Array  # int32 [B, K]
    soft_sums: Array  # float32 [B, K]


def words_of(height: int, width: int) -> int:
    """Return the words of one bit mask."""
    return -(-height * width // 32)


def pack_words(masks: Array) -> Array:
    """Return bool [..., h, w] as uint32 [..., W]."""
    flat = masks.reshape(*masks.shape[:-2], masks.shape[-2] * masks.shape[-1])
    padded = np.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, -flat.shape[-1] % 32)])
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4")


def conv_shape(kernels: Array, features: Array, slots: int, divisor: int, type_name: str) -> ConvShape:
    """Return the sizes that go with kernels [B, cells, E] and features [B, E, h, w]."""
    batch, cells, channels = kernels.shape
    return ConvShape(TYPES[type_name], batch, cells, channels, *features.shape[2:], slots, divisor)


def binarise_masks(
    device: Device,
    kernels: Array,
    features: Array,
    candidates: Array,
    counts: Array,
    *,
    divisor: int,
    threshold: float = 0.0,
    type_name: str = "float32",
    offset: int = 0,
) -> BitMasks:
    """Return the bit masks of the candidates int32 [B, K]."""
    batch, slots = candidates.shape
    shape = conv_shape(kernels, features, slots, divisor, type_name)
    words = words_of(*features.shape[2:])
    work, workspace = device.scratch(device.kernels.binarise_masks_workspace(shape))
    masks = device.empty((batch, slots, words), np.uint32)
    areas = device.empty((batch, slots), np.int32)
    sums = device.empty((batch, slots), np.float32)
    inputs = [device.array(kernels.astype(type_name), offset), device.array(features.astype(type_name), offset)]
    chosen = [device.array(candidates), device.array(counts)]
    device.kernels.binarise_masks(
        shape, abi.BitMasks(masks.ptr, areas.ptr, sums.ptr), kernels=inputs[0].ptr, features=inputs[1].ptr,
        candidates=abi.Candidates(0, *(buffer.ptr for buffer in chosen)), logit_threshold=threshold,
        workspace=workspace, stream=device.stream,
    )  # fmt: skip
    work.numpy()
    return BitMasks(masks.numpy(), areas.numpy(), sums.numpy())


def logits_of(kernels: Array, features: Array, cells: Array) -> Array:
    """Return float64 [n, h, w] of one picture: kernels [any, E], features [E, h, w], cells [n]."""
    flat = features.reshape(len(features), -1).astype(np.float64)
    return (kernels[cells].astype(np.float64) @ flat).reshape(len(cells), *features.shape[1:])


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


@dataclass(frozen=True)
class Instances:
    num_dets: Array  # int32 [B]
    scores: Array  # float32 [B, N]
    labels: Array  # int32 [B, N]
    cells: Array  # int32 [B, N]
    slots: Array  # int32 [B, N]


def matrix_nms(
    device: Device,
    candidates: Candidates,
    masks: BitMasks,
    *,
    classes: int,
    grids: tuple[int, ...],
    strides: tuple[int, ...],
    linear: bool = False,
    sigma: float = 2.0,
    update_threshold: float = 0.05,
    max_instances: int = 100,
) -> Instances:
    """Return the final instances."""
    batch, slots = candidates.indices.shape
    options = NmsOptions(
        batch, slots, masks.words.shape[2], classes, len(grids), grids, strides, linear, sigma, update_threshold,
        max_instances,
    )  # fmt: skip
    work, workspace = device.scratch(device.kernels.matrix_nms_workspace(options))
    outputs = [device.empty((batch,), np.int32), device.empty((batch, max_instances), np.float32)]
    outputs += [device.empty((batch, max_instances), np.int32) for _ in range(3)]
    inputs = [device.array(a) for a in (candidates.scores, candidates.indices, candidates.counts)]
    made = [device.array(a) for a in (masks.words, masks.areas, masks.soft_sums)]
    device.kernels.matrix_nms(
        options, abi.DeviceInstances(*(buffer.ptr for buffer in outputs)),
        candidates=abi.Candidates(*(buffer.ptr for buffer in inputs)),
        masks=abi.BitMasks(*(buffer.ptr for buffer in made)), workspace=workspace, stream=device.stream,
    )  # fmt: skip
    work.numpy()
    return Instances(*(out.numpy() for out in outputs))


def matrix_nms_steps(
    candidates: Candidates,
    bits: list[Array],
    masks: BitMasks,
    *,
    classes: int,
    grids: tuple[int, ...],
    strides: tuple[int, ...],
    linear: bool = False,
    sigma: float = 2.0,
    update_threshold: float = 0.05,
    max_instances: int = 100,
) -> Instances:
    """Return what `matrix_nms` returns, with numpy; bits holds bool [n, h, w] of each picture."""
    batch = len(bits)
    shape = (batch, max_instances)
    out = Instances(
        np.zeros(batch, np.int32), np.zeros(shape, np.float32), *(np.zeros(shape, np.int32) for _ in range(3))
    )
    cell_strides = np.repeat(strides, [grid * grid for grid in grids])
    for b, picture in enumerate(bits):
        n = candidates.counts[b, 0]
        index, areas = candidates.indices[b, :n], masks.areas[b, :n]
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = candidates.scores[b, :n] * (masks.soft_sums[b, :n] / areas.astype(np.float32))
        kept = np.flatnonzero((areas > cell_strides[index // classes]) & ~np.isnan(scores))
        kept = kept[np.lexsort((index[kept], -scores[kept]))]
        decayed = matrix_nms_reference(
            picture[kept],
            scores[kept],
            class_ids=(index[kept] % classes).astype(np.int32),
            kernel="linear" if linear else "gaussian",
            sigma=sigma,
        )
        above = decayed >= np.float32(update_threshold)
        kept, decayed = kept[above], decayed[above]
        order = np.lexsort((index[kept], -decayed))[:max_instances]
        kept, count = kept[order], len(order)
        out.num_dets[b] = count
        out.scores[b, :count] = decayed[order]
        out.labels[b, :count] = index[kept] % classes
        out.cells[b, :count] = index[kept] // classes
        out.slots[b, :count] = kept
    return out


def soft_masks(
    device: Device,
    kernels: Array,
    features: Array,
    words: Array,
    instances: Instances,
    *,
    threshold: float = 0.0,
    type_name: str = "float32",
    offset: int = 0,
) -> tuple[Array, Array]:
    """Return regions int32 [B, N, 4] and soft uint8 [B, N, h, w]."""
    batch, count = instances.cells.shape
    shape = conv_shape(kernels, features, count, 1, type_name)
    regions = device.empty((batch, count, 4), np.int32)
    soft = device.empty((batch, count, *features.shape[2:]), np.uint8)
    inputs = [device.array(kernels.astype(type_name), offset), device.array(features.astype(type_name), offset)]
    made = [device.array(a) for a in (words, instances.num_dets, instances.cells, instances.slots)]
    bits, num_dets, cells, slots = (buffer.ptr for buffer in made)
    device.kernels.soft_masks(
        shape, abi.DeviceInstances(num_dets, 0, 0, cells, slots), kernels=inputs[0].ptr, features=inputs[1].ptr,
        words=bits, mask_slots=words.shape[1], logit_threshold=threshold, regions=regions.ptr, soft=soft.ptr,
        stream=device.stream,
    )  # fmt: skip
    return regions.numpy(), soft.numpy()


def region_of(mask: Array) -> list[int]:
    """Return the box of a bool [h, w] mask, one cell wider on every side."""
    ys, xs = np.nonzero(mask)
    if len(ys) == 0:
        return [0, 0, 0, 0]
    h, w = mask.shape
    return [max(xs.min() - 1, 0), max(ys.min() - 1, 0), min(xs.max() + 2, w), min(ys.max() + 2, h)]

"""SOLOv2: from the raw heads of the network to instances.

`decode` is what the pipeline runs: native code that never holds a float mask of the whole picture. `decode_reference`
is the same procedure in numpy, step by step as the paper and its released code have it; tests compare the two.

Source: SOLOv2 (arXiv 2003.10152), sections 3.2 and 3.3. Where released implementations leave freedom:
- equal scores are ranked by ascending candidate index, cell * classes + class;
- `decode` interpolates its masks once, from the grid to the frame, `decode_reference` in the two steps of the original;
  masks differ in single pixels of their outline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode.matrix_nms import matrix_nms_reference
from solo_rt.decoders import SoloV2Decoder
from solo_rt.errors import UsageError
from solo_rt.spec import ModelSpec
from solo_rt.types import Instances, Masks

Float32 = NDArray[np.float32]
Outputs = Mapping[str, Float32]


@dataclass(frozen=True, slots=True)
class DenseInstances:
    """The instances of one picture in their largest form, for tests and evaluation; best score first."""

    scores: Float32  # [N] in 0..1
    class_ids: NDArray[np.int32]  # [N]
    cells: NDArray[np.int32]  # [N] grid cell that predicted the instance
    soft: Float32  # [N, h, w] probabilities on the grid
    masks: NDArray[np.bool_]  # [N, H, W] at frame size


def decode(
    outputs: Outputs,
    spec: ModelSpec,
    *,
    frame_size: tuple[int, int],
    resized: tuple[int, int],
    conf: float = 0.0,
    max_det: int | None = None,
    threads: int = 1,
) -> Instances:
    """Return the instances of one picture, best score first.

    outputs: `scores float32 [cells, C]`, `kernels float32 [cells, E]`, `features float32 [E, h, w]`, contiguous, as
    `SoloV2Decoder` describes them but without their batch axis. frame_size: height, width of the picture in pixels.
    resized: height, width in network pixels that the picture takes in the top-left corner of the network's input.
    conf: instances score at least this much. max_det: at most this many instead of the spec's `max_instances`.
    threads: most threads to use; the result does not depend on it.

    An instance without a pixel inside the frame, for example with all of its mask in the padding, is left out.
    With a mask threshold other than 0.5 the soft values are shifted so that inside is still above 127; see solov2.h.
    Raises: UsageError on another kind of model and on sizes or limits out of range; ValueError or TypeError on tensors
    of another shape or dtype.
    """
    decoder = _decoder(spec)
    grid_size = _grid_size(outputs, decoder, frame_size, resized)
    if not 0 <= conf <= 1 or (max_det is not None and max_det < 1):
        raise UsageError(f"decode: expected conf in 0..1 and max_det of at least 1, got {conf} and {max_det}")
    # A score only ever falls from here on, and only better candidates make it fall, so a candidate below conf touches
    # nothing that will be returned and its mask need not be computed.
    below_conf = float(np.nextafter(np.float32(conf), np.float32(0)))
    scores, class_ids, _, regions, offsets, data = _native.solov2_decode(
        outputs["scores"],
        outputs["kernels"],
        outputs["features"],
        _cell_strides(decoder),
        max(decoder.score_threshold, below_conf),
        decoder.mask_threshold,
        decoder.nms_pre,
        decoder.nms_kernel == "linear",
        decoder.nms_sigma,
        max(decoder.update_threshold, conf),
        decoder.max_instances if max_det is None else max_det,
        threads,
    )
    step = (resized[0] / decoder.mask_stride / frame_size[0], resized[1] / decoder.mask_stride / frame_size[1])
    masks = Masks(data, offsets, regions, grid_size, step)
    boxes = _native.mask_boxes(data, offsets, regions, grid_size, step, frame_size, threads)
    instances = Instances(frame_size, boxes, scores, class_ids, masks)
    seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return instances if seen.all() else instances[seen]


def decode_reference(
    outputs: Outputs,
    spec: ModelSpec,
    *,
    frame_size: tuple[int, int],
    resized: tuple[int, int],
) -> DenseInstances:
    """Return the instances of one picture by the original procedure; arguments and order as for `decode`.

    Instances without a pixel inside the frame are still there.
    """
    decoder = _decoder(spec)
    h, w = _grid_size(outputs, decoder, frame_size, resized)
    scores, class_ids, cells, soft = _select(outputs, decoder)
    padded = resize_bilinear(soft, (h * decoder.mask_stride, w * decoder.mask_stride))
    at_frame = resize_bilinear(padded[:, : resized[0], : resized[1]], frame_size)
    return DenseInstances(scores, class_ids, cells, soft, at_frame > np.float32(decoder.mask_threshold))


def points_nms(score_map: Float32) -> Float32:
    """Return the score map `float32 [..., S, S]` with 0 where a cell is below its upper, left or upper-left neighbour.

    Equal neighbours both stay, and the neighbours below and right are not consulted: that is what a 2 x 2 max-pool
    with stride 1, padding 1 and the last row and column dropped computes.
    """
    rows, columns = score_map.shape[-2:]
    margins = [(0, 0)] * (score_map.ndim - 2) + [(1, 0), (1, 0)]
    padded = np.pad(score_map, margins, constant_values=-np.inf)
    windows = [padded[..., y : y + rows, x : x + columns] for y in (0, 1) for x in (0, 1)]
    return np.where(score_map >= np.maximum.reduce(windows), score_map, np.float32(0))


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


def _select(outputs: Outputs, decoder: SoloV2Decoder) -> tuple[Float32, NDArray[np.int32], NDArray[np.int32], Float32]:
    """Return scores, class ids, cells and soft masks `float32 [N, h, w]` of the final instances."""
    all_scores, features = outputs["scores"], outputs["features"]
    e, h, w = features.shape

    cells, class_ids = np.nonzero(all_scores > np.float32(decoder.score_threshold))  # ascending candidate index
    scores = all_scores[cells, class_ids]
    logits = (outputs["kernels"][cells] @ features.reshape(e, h * w)).reshape(-1, h, w)  # [N, h, w]
    with np.errstate(over="ignore"):
        soft = 1 / (1 + np.exp(-logits))
    inside = soft > np.float32(decoder.mask_threshold)

    areas = inside.sum(axis=(1, 2))
    maskness = np.where(inside, soft, 0).sum(axis=(1, 2), dtype=np.float64) / np.maximum(areas, 1)
    scores = (scores * maskness).astype(np.float32)
    kept = np.flatnonzero((areas > _cell_strides(decoder)[cells]) & ~np.isnan(scores))

    kept = kept[np.argsort(-scores[kept], kind="stable")][: decoder.nms_pre]
    decayed = matrix_nms_reference(
        inside[kept],
        scores[kept],
        class_ids=class_ids[kept].astype(np.int32),
        kernel=decoder.nms_kernel,
        sigma=decoder.nms_sigma,
    )
    above = decayed >= np.float32(decoder.update_threshold)
    kept, decayed = kept[above], decayed[above]
    order = np.argsort(-decayed, kind="stable")[: decoder.max_instances]
    kept = kept[order]
    return decayed[order], class_ids[kept].astype(np.int32), cells[kept].astype(np.int32), soft[kept]


def _decoder(spec: ModelSpec) -> SoloV2Decoder:
    if not isinstance(spec.decoder, SoloV2Decoder):
        raise UsageError(f"decode: expected a model with decoder solov2, got {spec.name} with {spec.decoder.kind}")
    return spec.decoder


@lru_cache(maxsize=8)
def _cell_strides(decoder: SoloV2Decoder) -> NDArray[np.int32]:
    """Return the stride of every cell's level, `int32 [cells]`: a mask must have more pixels than that."""
    cells = [grid * grid for grid in decoder.grids]
    return np.repeat(np.asarray(decoder.level_strides, np.int32), cells)


def _grid_size(
    outputs: Outputs, decoder: SoloV2Decoder, frame_size: tuple[int, int], resized: tuple[int, int]
) -> tuple[int, int]:
    """Return height, width of the mask grid. Raises: UsageError, ValueError on sizes that cannot be."""
    shape = outputs["features"].shape
    if len(shape) != 3:
        raise ValueError(f"features: expected float32 [E, h, w] of one picture, got {len(shape)} axes {list(shape)}")
    h, w = shape[1:]
    limit = (h * decoder.mask_stride, w * decoder.mask_stride)
    if min(*frame_size, *resized) < 1 or resized[0] > limit[0] or resized[1] > limit[1]:
        raise UsageError(
            f"decode: expected a frame of at least 1x1 and a resized size within {limit[0]}x{limit[1]}, "
            f"got {frame_size[0]}x{frame_size[1]} and {resized[0]}x{resized[1]}"
        )
    return h, w

"""From the raw heads of a SOLO network, of whatever kind, to instances.

`decode` is what the pipeline runs. `decode_reference` is the same procedure in numpy, step by step as the papers and
their released code have it; tests compare the two.

Source: SOLOv2 (arXiv 2003.10152), sections 3.2 and 3.3. Where released implementations leave freedom:
- equal scores are ranked by ascending candidate index, cell * classes + class;
- `decode` interpolates its masks once, from the grid to the frame, `decode_reference` in the two steps of the original;
  masks differ in single pixels of their outline.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode import solo, solov2
from solo_rt.decode.detections import decode_detections
from solo_rt.decode.limits import (
    Float32,
    InstanceDecoder,
    Limits,
    Outputs,
    cell_strides,
    check_limits,
    choose,
    drop_unseen,
)
from solo_rt.decode.matrix_nms import matrix_nms_reference
from solo_rt.decode.resize import resize_bilinear
from solo_rt.decoders import DetectionsDecoder, SoloDecoder, SoloV2Decoder
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import ModelSpec
from solo_rt.types import Instances, Masks


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
    letterbox: Letterbox,
    *,
    conf: float = 0.0,
    max_det: int | None = None,
    classes: Collection[int] | None = None,
    threads: int = 1,
) -> Instances:
    """Return the instances of one picture, best score first.

    outputs: contiguous tensors as the model's decoder describes them, without their batch axis. letterbox: where the
    picture lies in the network's input. conf: instances score at least this much. max_det: at most this many instead of
    the spec's `max_instances`. classes: ids of those wanted, None for all; the network's other instances do not count
    as part of `max_det`, and `max_instances` is the limit of them all. threads: most threads to use; the result does
    not depend on it.

    An instance without a pixel inside the frame, for example with all of its mask in the padding, is left out.
    With a mask threshold other than 0.5 the soft values are shifted so that inside is still above 127; see solov2.h.
    Raises: UsageError on another kind of model and on sizes or limits out of range; ValueError or TypeError on tensors
    of another shape or dtype.
    """
    if isinstance(spec.decoder, DetectionsDecoder):
        return decode_detections(outputs, spec.decoder, letterbox, conf=conf, max_det=max_det, classes=classes)
    decoder = _decoder(spec)
    grid_size, frame_size = _grid_size(outputs, decoder, letterbox), letterbox.frame_size
    check_limits(conf=conf, max_det=max_det)
    # A score only ever falls from here on, and only better candidates make it fall, so a candidate below conf touches
    # nothing that will be returned and its mask need not be computed.
    below_conf = float(np.nextafter(np.float32(conf), np.float32(0)))
    limits = Limits(
        score=max(decoder.score_threshold, below_conf),
        update=max(decoder.update_threshold, conf),
        instances=decoder.max_instances if max_det is None or classes is not None else max_det,
    )
    if isinstance(decoder, SoloV2Decoder):
        found = solov2.find(outputs, decoder, limits, threads=threads)
    else:
        found = solo.find(outputs, decoder, limits, threads=threads)
    step = letterbox.step(decoder.mask_stride)
    masks = Masks(found.data, found.offsets, found.regions, grid_size, step)
    boxes = _native.mask_boxes(found.data, found.offsets, found.regions, grid_size, step, frame_size, threads)
    instances = Instances(frame_size, boxes, found.scores, found.class_ids, masks)
    if classes is not None:
        instances = instances[choose(found.class_ids, classes=classes, max_det=max_det)]
    return drop_unseen(instances)


def decode_reference(outputs: Outputs, spec: ModelSpec, letterbox: Letterbox) -> DenseInstances:
    """Return the instances of one picture by the original procedure; arguments and order as for `decode`.

    Instances without a pixel inside the frame are still there.
    """
    decoder = _decoder(spec)
    h, w = _grid_size(outputs, decoder, letterbox)
    height, width = letterbox.resized
    scores, class_ids, cells, soft = _select(outputs, decoder)
    padded = resize_bilinear(soft, (h * decoder.mask_stride, w * decoder.mask_stride))
    at_frame = resize_bilinear(padded[:, :height, :width], letterbox.frame_size)
    return DenseInstances(scores, class_ids, cells, soft, at_frame > np.float32(decoder.mask_threshold))


def _select(
    outputs: Outputs, decoder: InstanceDecoder
) -> tuple[Float32, NDArray[np.int32], NDArray[np.int32], Float32]:
    """Return scores, class ids, cells and soft masks `float32 [N, h, w]` of the final instances."""
    all_scores = outputs["scores"]
    cells, class_ids = np.nonzero(all_scores > np.float32(decoder.score_threshold))  # ascending candidate index
    scores = all_scores[cells, class_ids]
    if isinstance(decoder, SoloV2Decoder):
        soft = solov2.soft_masks(outputs, cells.astype(np.int32))
    else:
        soft = solo.soft_masks(outputs, decoder, cells.astype(np.int32))
    inside = soft > np.float32(decoder.mask_threshold)

    areas = inside.sum(axis=(1, 2))
    maskness = np.where(inside, soft, 0).sum(axis=(1, 2), dtype=np.float64) / np.maximum(areas, 1)
    scores = (scores * maskness).astype(np.float32)
    kept = np.flatnonzero((areas > cell_strides(decoder)[cells]) & ~np.isnan(scores))

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


def _decoder(spec: ModelSpec) -> InstanceDecoder:
    if not isinstance(spec.decoder, SoloV2Decoder | SoloDecoder):
        raise UsageError(
            f"decode: expected a model with decoder solov2 or solo, got {spec.name} with {spec.decoder.kind}"
        )
    return spec.decoder


def _grid_size(outputs: Outputs, decoder: InstanceDecoder, letterbox: Letterbox) -> tuple[int, int]:
    """Return height, width of the mask grid. Raises: UsageError where the picture is not within it; ValueError."""
    h, w = solov2.grid_size(outputs) if isinstance(decoder, SoloV2Decoder) else solo.grid_size(outputs, decoder)
    limit, (height, width) = (h * decoder.mask_stride, w * decoder.mask_stride), letterbox.resized
    if height > limit[0] or width > limit[1]:
        raise UsageError(f"decode: expected a picture within {limit[0]}x{limit[1]}, got one of {height}x{width}")
    return h, w

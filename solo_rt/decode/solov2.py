"""The masks of SOLOv2: dynamic kernels times mask features (arXiv 2003.10152, sections 3.2 and 3.3)."""

from __future__ import annotations

import numpy as np

from solo_rt import _native
from solo_rt.decode.limits import Float32, Int32, KeptInstances, Limits, Outputs, cell_strides
from solo_rt.decoders import SoloV2Decoder


def grid_size(outputs: Outputs) -> tuple[int, int]:
    """Return height and width of the grid of the masks. Raises: ValueError."""
    shape = outputs["features"].shape
    if len(shape) != 3:
        raise ValueError(f"features: expected float32 [E, h, w] of one picture, got {len(shape)} axes {list(shape)}")
    return shape[1], shape[2]


def find(outputs: Outputs, decoder: SoloV2Decoder, limits: Limits, *, threads: int) -> KeptInstances:
    """Return the instances of one picture, all of it native: no float mask of the whole picture is ever held."""
    return KeptInstances(
        *_native.solov2_decode(
            outputs["scores"],
            outputs["kernels"],
            outputs["features"],
            cell_strides(decoder),
            limits.score,
            decoder.mask_threshold,
            decoder.nms_pre,
            decoder.nms_kernel == "linear",
            decoder.nms_sigma,
            limits.update,
            limits.instances,
            threads,
        )
    )


def soft_masks(outputs: Outputs, cells: Int32) -> Float32:
    """Return the probabilities `float32 [N, h, w]` of the masks of N cells."""
    e, h, w = outputs["features"].shape
    logits = (outputs["kernels"][cells] @ outputs["features"].reshape(e, h * w)).reshape(-1, h, w)  # [N, h, w]
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits)))

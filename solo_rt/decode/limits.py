"""What decoding instances needs and gives, whichever heads the network has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import SoloDecoder, SoloV2Decoder
from solo_rt.errors import UsageError
from solo_rt.types import Instances

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Outputs = Mapping[str, Float32]
InstanceDecoder = SoloV2Decoder | SoloDecoder


class Limits(NamedTuple):
    """The thresholds of a decoder, made stricter by what the caller wants to see."""

    score: float  # candidates have more
    update: float  # instances have at least this much
    instances: int  # at most


class KeptInstances(NamedTuple):
    """Instances with their masks on the grid of the decoder, best score first."""

    scores: Float32  # [n]
    class_ids: Int32  # [n]
    cells: Int32  # [n] the grid cell that predicted the instance
    regions: Int32  # [n, 4] xyxy half-open, grid cells
    offsets: NDArray[np.int64]  # [n + 1] into data
    data: NDArray[np.uint8]  # soft masks cropped to their regions, above 127 inside


def check_limits(*, conf: float, max_det: int | None) -> None:
    """Raise UsageError unless a caller's limits can be kept: a lowest score in 0..1, at least one instance."""
    if not 0 <= conf <= 1:
        raise UsageError(f"decode: expected conf in 0..1, got {conf}")
    if max_det is not None and max_det < 1:
        raise UsageError(f"decode: expected max_det of at least 1, got {max_det}")


@lru_cache(maxsize=8)
def cell_strides(decoder: InstanceDecoder) -> Int32:
    """Return the stride of every cell's level, `int32 [cells]`: a mask must have more pixels than that."""
    cells = [grid * grid for grid in decoder.grids]
    return np.repeat(np.asarray(decoder.level_strides, np.int32), cells)


def choose(class_ids: Int32, *, classes: Collection[int] | None, max_det: int | None) -> NDArray[np.bool_]:
    """Return which instances are the first `max_det` of `classes`, None for all, `bool [N]`."""
    chosen = np.ones(len(class_ids), np.bool_) if classes is None else np.isin(class_ids, list(classes))
    return chosen if max_det is None else chosen & (np.cumsum(chosen) <= max_det)


def drop_unseen(instances: Instances) -> Instances:
    """Return the instances that have a pixel in the frame."""
    x0, y0, x1, y1 = instances.boxes.T
    seen = (x1 > x0) & (y1 > y0)
    return instances if seen.all() else instances[seen]

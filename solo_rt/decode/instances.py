"""Instances from the outputs of any model that finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from solo_rt.decode.detections import decode_detections
from solo_rt.decode.solov2 import decode
from solo_rt.decoders import DetectionsDecoder
from solo_rt.spec import ModelSpec
from solo_rt.types import Instances


def decode_instances(
    outputs: Mapping[str, NDArray[Any]],
    spec: ModelSpec,
    *,
    frame_size: tuple[int, int],
    resized: tuple[int, int],
    conf: float = 0.0,
    max_det: int | None = None,
) -> Instances:
    """Return the instances of one picture, best score first, by the decoder of the model; see `decode`.

    outputs: the tensors that the decoder describes, without their batch axis. Raises: as `decode`.
    """
    if isinstance(spec.decoder, DetectionsDecoder):
        return decode_detections(
            outputs, spec.decoder, frame_size=frame_size, resized=resized, conf=conf, max_det=max_det
        )
    return decode(outputs, spec, frame_size=frame_size, resized=resized, conf=conf, max_det=max_det)

"""Semantic networks: from labels, logits or coarse logits to the class of every pixel of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decoders import SemanticDecoder
from solo_rt.errors import SpecError, UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import ModelSpec
from solo_rt.types import IGNORED, Output, SemanticMap, UInt8

Float32 = NDArray[np.float32]


def decode_semantic(
    outputs: Mapping[str, Output],
    spec: ModelSpec,
    letterbox: Letterbox,
    *,
    classes: Sequence[int] | None = None,
    threads: int = 1,
) -> SemanticMap:
    """Return the class map of one picture, on the part of the network's input that the picture takes.

    outputs: `labels uint8 [height, width]`, `logits float32 [C, height, width]` or `coarse float32 [h, w, C]`,
    contiguous, as `SemanticDecoder` describes them but without their batch axis; labels are not copied. letterbox:
    where the picture lies in the network's input. classes: the ids to keep, others become 255; None keeps all. threads:
    most threads to use; the result does not depend on it.
    Raises: UsageError on another kind of model or input; SpecError on a label that is no class;
    ValueError or TypeError on tensors of another shape or dtype.
    """
    decoder = spec.decoder
    if not isinstance(decoder, SemanticDecoder):
        raise UsageError(f"decode: expected a semantic model, got {spec.name} with {decoder.kind}")
    limit = (spec.input.height, spec.input.width)
    if letterbox.input_size != limit:
        raise UsageError(f"decode: expected a picture in an input of {limit}, got one of {letterbox.input_size}")
    labels = _labels(outputs[decoder.output], decoder, letterbox, threads)
    found = SemanticMap(letterbox.frame_size, labels)
    strange = found.counts[len(decoder.palette) : IGNORED]
    if strange.any():
        raise SpecError(
            f"decode: expected labels below {len(decoder.palette)} or {IGNORED}, "
            f"got {len(decoder.palette) + int(strange.argmax())}; export the model again"
        )
    if classes is None:
        return found
    table = np.full(256, IGNORED, np.uint8)
    table[list(classes)] = list(classes)
    return SemanticMap(letterbox.frame_size, np.asarray(cv2.LUT(labels, table), np.uint8))


def _labels(tensor: Output, decoder: SemanticDecoder, letterbox: Letterbox, threads: int) -> UInt8:
    """Return the labels of the picture's part of the input, `uint8 [h, w]`. The kernels check what the tensor is."""
    resized = letterbox.resized
    if decoder.output == "labels":
        return cast(UInt8, tensor)[: resized[0], : resized[1]]
    logits = cast(Float32, tensor)
    if decoder.output == "logits":
        return _native.argmax(logits, resized, threads)
    return _native.enlarged_argmax(logits, letterbox.input_size, decoder.enlarged == "corners", resized, threads)

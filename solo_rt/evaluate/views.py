"""The class of every pixel of a picture at its own size: from one look at it, or from many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode import decode_semantic
from solo_rt.decoders import SemanticDecoder
from solo_rt.engine import Engine
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.types import Frame

STRIDE = 2 / 3  # of a window that slides over a picture larger than the network's input

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Views:
    """Sizes to look at a picture in, relative to the one that fits the network, each also mirrored if so asked."""

    scales: tuple[float, ...] = (1.0,)
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0 or len(set(self.scales)) != len(self.scales):
            raise UsageError(f"scales: expected distinct positive factors, got {list(self.scales)}")

    @property
    def single(self) -> bool:
        """Whether there is only one, which is what the run time does."""
        return self.scales == (1.0,) and not self.mirrored

    def labeller(self, engine: Engine) -> Callable[[UInt8], UInt8]:
        """Return the function that labels a picture by these views. Raises: UsageError if the model gives no logits."""
        if self.single:
            return lambda image: label_picture(engine, image)
        if semantic_decoder(engine).output != "logits":
            raise UsageError(
                "several scales or a mirrored view need a model that gives logits; "
                "export it again with --output-kind logits"
            )
        return lambda image: label_by_views(engine, image, self)


def semantic_decoder(engine: Engine) -> SemanticDecoder:
    """Return the decoder of a semantic model. Raises: UsageError for a model of instances."""
    decoder = engine.spec.decoder
    if not isinstance(decoder, SemanticDecoder):
        raise UsageError(f"expected a model that gives every pixel a class, {engine.spec.name} finds instances")
    return decoder


def label_picture(engine: Engine, image: UInt8) -> UInt8:
    """Return the classes of `image uint8 [H, W, 3] RGB`, `uint8 [H, W]`.

    Logits are enlarged to the picture before the largest is chosen, which is the protocol of the benchmarks. Labels
    are enlarged as the run time does it, to the nearest one: borders are coarser if the picture is larger than the
    network's input.
    """
    decoder, size = semantic_decoder(engine), (image.shape[0], image.shape[1])
    frame = Frame((image,), "rgb24")
    tensor, box = prepare(frame, engine.spec.input)
    outputs = {name: values[0] for name, values in engine.infer({engine.spec.input.name: tensor}).items()}
    if decoder.output == "labels":
        return decode_semantic(outputs, decoder, frame_size=size, resized=box.resized).dense()
    logits = outputs["logits"][:, : box.resized[0], : box.resized[1]]
    return largest_channel(np.asarray(logits, np.float32), size)


def largest_channel(planes: Float32, size: tuple[int, int]) -> UInt8:
    """Return `uint8 [H, W]`, which of `planes float32 [C, h, w]`, enlarged bilinearly to `size`, is largest.

    The first of equal ones; plane by plane, because all of them at full size would be 152 MiB for Cityscapes.
    """
    best, label = enlarge(planes[0], size), np.zeros(size, np.uint8)
    for k in range(1, len(planes)):
        plane = enlarge(planes[k], size)
        label[plane > best] = k
        np.maximum(best, plane, out=best)
    return label


def label_by_views(engine: Engine, image: UInt8, views: Views) -> UInt8:
    """Return the classes of `image` by the mean of the probabilities that all views give, `uint8 [H, W]`."""
    size = (image.shape[0], image.shape[1])
    total = np.zeros((len(engine.spec.classes), *size), np.float32)
    for scale in views.scales:
        for k, plane in enumerate(probabilities(engine, image, scale)):
            total[k] += enlarge(plane, size)
        if views.mirrored:
            for k, plane in enumerate(probabilities(engine, np.ascontiguousarray(image[:, ::-1]), scale)):
                total[k] += enlarge(plane, size)[:, ::-1]
    return np.asarray(total.argmax(axis=0), np.uint8)


def probabilities(engine: Engine, image: UInt8, scale: float) -> Float32:
    """Return the softmax of one view, `float32 [C, h, w]` at the size of the view.

    A view that is larger than the network's input is looked at through a window of that size, which slides by at most
    two thirds of its sides; where windows overlap, their probabilities are averaged.
    """
    spec = engine.spec.input
    limit = (spec.height, spec.width)
    fit = Letterbox.fit((image.shape[0], image.shape[1]), limit).resized
    h, w = (max(1, int(side * scale + 0.5)) for side in fit)
    if scale > 1:  # smaller views are resized by the native letterbox, as in the run time
        image = np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)
    total = np.zeros((len(engine.spec.classes), h, w), np.float32)
    count = np.zeros((h, w), np.float32)
    for y in _starts(h, limit[0]):
        for x in _starts(w, limit[1]):
            rows, columns = slice(y, min(h, y + limit[0])), slice(x, min(w, x + limit[1]))
            window = np.ascontiguousarray(image[rows, columns]) if scale > 1 else image
            part = _softmax(_infer(engine, window, (rows.stop - y, columns.stop - x)))
            total[:, rows, columns] += part
            count[rows, columns] += 1
    return total / count


def enlarge(plane: Float32, size: tuple[int, int]) -> Float32:
    """Return `plane float32 [h, w]` at `size`, bilinear between the centres of its cells: a new array."""
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _infer(engine: Engine, image: UInt8, size: tuple[int, int]) -> Float32:
    """Return the logits `float32 [C, h, w]` of `image` resized to `size` within the network's input."""
    spec = engine.spec.input
    tensor = np.empty((1, 3, spec.height, spec.width), np.float32)
    _native.letterbox((image,), False, False, size, spec.mean, spec.std, tensor[0])
    return np.asarray(engine.infer({spec.name: tensor})["logits"][0][:, : size[0], : size[1]], np.float32)


def _starts(length: int, window: int) -> Iterator[int]:
    """Yield where windows begin that cover `length`, evenly spread."""
    count = 1 + max(0, int(np.ceil((length - window) / (window * STRIDE))))
    for i in range(count):
        yield round(i * max(0, length - window) / max(1, count - 1))


def _softmax(logits: Float32) -> Float32:
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True), np.float32)

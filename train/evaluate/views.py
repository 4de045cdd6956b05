"""The class of every pixel of a picture at its own size: from one look at it, or from many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame, Output

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
        if semantic_decoder(engine.spec).output == "labels":
            raise UsageError(
                "several scales or a mirrored view need a model that gives logits; "
                "export it again with --output-kind logits"
            )
        return lambda image: label_by_views(engine, image, self)


def semantic_decoder(spec: ModelSpec) -> SemanticDecoder:
    """Return the decoder of a semantic model. Raises: UsageError for a model of instances."""
    if not isinstance(spec.decoder, SemanticDecoder):
        raise UsageError(f"expected a model that gives every pixel a class, {spec.name} finds instances")
    return spec.decoder


def label_picture(engine: Engine, image: UInt8) -> UInt8:
    """Return the classes of `image uint8 [H, W, 3] RGB`, `uint8 [H, W]`.

    Logits are enlarged to the picture before the largest is chosen, which is the protocol of the benchmarks. Labels
    are enlarged as the run time does it, to the nearest one: borders are coarser if the picture is larger than the
    network's input.
    """
    spec, size = engine.spec, (image.shape[0], image.shape[1])
    decoder = semantic_decoder(spec)
    tensor, box = prepare(Frame((image,), "rgb24"), spec.input)
    outputs = {name: values[0] for name, values in engine.infer({spec.input.name: tensor}).items()}
    if decoder.output == "labels" or box.resized == size:
        return decode_semantic(outputs, spec, box).dense()
    h, w = box.resized
    return largest_channel((plane[:h, :w] for plane in logit_planes(outputs, spec)), size)


def logit_planes(outputs: Mapping[str, Output], spec: ModelSpec) -> Iterator[Float32]:
    """Yield the logits of one class after the other, `float32 [H, W]` at the size of the network's input."""
    decoder = semantic_decoder(spec)
    if decoder.output == "logits":
        yield from np.asarray(outputs["logits"], np.float32)
        return
    size = (spec.input.height, spec.input.width)
    enlarge_by = enlarge_corners if decoder.enlarged == "corners" else enlarge
    for plane in np.ascontiguousarray(np.moveaxis(np.asarray(outputs["coarse"], np.float32), -1, 0)):  # [C, h, w]
        yield enlarge_by(plane, size)


def largest_channel(planes: Iterable[Float32], size: tuple[int, int]) -> UInt8:
    """Return `uint8 [H, W]`, which of the planes `float32 [h, w]`, enlarged bilinearly to `size`, is largest.

    The first of equal ones; plane by plane, because all of them at full size would be 152 MiB for Cityscapes.
    """
    best, label = np.full(size, -np.inf, np.float32), np.zeros(size, np.uint8)
    for k, plane in enumerate(planes):
        enlarged = enlarge(plane, size)
        label[enlarged > best] = k
        np.maximum(best, enlarged, out=best)
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


def enlarge_corners(plane: Float32, size: tuple[int, int]) -> Float32:
    """Return `plane float32 [h, w]` at `size`, bilinear with corner on corner, as PyTorch's align_corners."""
    for axis, length in enumerate(size):
        cells = plane.shape[axis]
        at = np.arange(length, dtype=np.float32) * np.float32((cells - 1) / max(1, length - 1))
        low = np.minimum(at.astype(np.int64), max(0, cells - 2))
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        first, second = plane.take(low, axis), plane.take(np.minimum(low + 1, cells - 1), axis)
        plane = first + (second - first) * share
    return plane


def _infer(engine: Engine, image: UInt8, size: tuple[int, int]) -> Float32:
    """Return the logits `float32 [C, h, w]` of `image` resized to `size` within the network's input."""
    spec = engine.spec.input
    tensor = np.empty((1, 3, spec.height, spec.width), np.float32)
    _native.letterbox((image,), False, False, size, spec.mean, spec.std, tensor[0])
    outputs = {name: values[0] for name, values in engine.infer({spec.name: tensor}).items()}
    return np.stack([plane[: size[0], : size[1]] for plane in logit_planes(outputs, engine.spec)])


def _starts(length: int, window: int) -> Iterator[int]:
    """Yield where windows begin that cover `length`, evenly spread."""
    count = 1 + max(0, int(np.ceil((length - window) / (window * STRIDE))))
    for i in range(count):
        yield round(i * max(0, length - window) / max(1, count - 1))


def _softmax(logits: Float32) -> Float32:
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True), np.float32)

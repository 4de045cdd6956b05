"""What a network found, painted on the GPU onto the picture it was found in: masks of instances, classes of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from solo_rt.decoders import DetectionsDecoder, SemanticDecoder, is_painted
from solo_rt.gpu.cuda import Gpu, Stream
from solo_rt.gpu.downloads import DeviceTensor
from solo_rt.gpu.kernels import Choice, Detections, Kernels, LabelMap, LabelStyle, MaskGrid, OverlayStyle, Picture
from solo_rt.gpu.picture_memory import Block
from solo_rt.preprocess import Letterbox
from solo_rt.render import Painting, class_colours, semantic_colours
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame

LABELS = 256


class Painter(Protocol):
    """Paints what is in the outputs of a network, on one stream."""

    def prepare(self, frame: Frame, painting: Painting, picture: Picture) -> Callable[[], None]:
        """Return what queues the painting of a picture, which is that of a frame like this one."""


def find_painter(
    gpu: Gpu, kernels: Kernels, stream: Stream, spec: ModelSpec, outputs: Mapping[str, DeviceTensor]
) -> Painter | None:
    """Return what paints the outputs of a model; None where `is_painted` says that nothing does."""
    if not is_painted(spec.decoder):
        return None
    if isinstance(spec.decoder, DetectionsDecoder):
        return _InstancePainter(gpu, kernels, stream, spec, outputs)
    return _LabelPainter(gpu, kernels, stream, spec, outputs["labels"])


class _InstancePainter:
    """Chooses among the instances, and paints the masks of those chosen."""

    def __init__(
        self, gpu: Gpu, kernels: Kernels, stream: Stream, spec: ModelSpec, outputs: Mapping[str, DeviceTensor]
    ) -> None:
        self._gpu, self._kernels, self._stream, self._spec = gpu, kernels, stream, spec
        names = ("num_dets", "det_scores", "det_labels", "det_regions")
        self._found = Detections(*(outputs[name].address for name in names))
        self._masks = outputs["det_masks"]
        slots = self._masks.shape[1]
        self._chosen, self._colours = gpu.allocate(16 * slots), gpu.allocate(3 * slots)
        self._table = Block(gpu)

    def prepare(self, frame: Frame, painting: Painting, picture: Picture) -> Callable[[], None]:
        """See `Painter`."""
        decoder, to, size = self._spec.decoder, self._spec.input, (frame.height, frame.width)
        assert isinstance(decoder, DetectionsDecoder)
        _, slots, rows, words = self._masks.shape  # of four cells
        choice = Choice(slots, len(self._spec.classes), painting.conf, painting.max_det or slots)
        step = Letterbox.fit(size, (to.height, to.width)).step(decoder.mask_stride)
        grid = MaskGrid(self._masks.address, self._chosen.ptr, self._found.num_dets, slots, rows, 4 * words, *step)
        alpha = int(painting.style.alpha * 256 + 0.5)  # as the kernel on the CPU rounds it
        style = OverlayStyle(self._colours.ptr, alpha, painting.style.outline_of(size))
        table = self._upload_table(frame, painting)
        found, chosen, colours, stream = self._found, self._chosen.ptr, self._colours.ptr, self._stream.handle

        def paint() -> None:
            self._kernels.choose(choice, found, table=table, chosen=chosen, colours=colours, stream=stream)
            self._kernels.overlay(picture, grid, style, stream=stream)

        return paint

    def _upload_table(self, frame: Frame, painting: Painting) -> int:
        """Return the address of the classes' colours, and of whether they are painted; it is there for work to come."""
        count = len(self._spec.classes)
        host, device = self._table.fit(4 * count)
        rows = host.reshape(count, 4)
        rows[:, :3] = class_colours(frame, count)
        rows[:, 3] = True if painting.classes is None else np.isin(np.arange(count), painting.classes)
        self._gpu.upload(device.ptr, host, self._stream)
        return device.ptr


class _LabelPainter:
    """Tints every pixel in the colour of its class."""

    def __init__(self, gpu: Gpu, kernels: Kernels, stream: Stream, spec: ModelSpec, labels: DeviceTensor) -> None:
        self._gpu, self._kernels, self._stream, self._spec = gpu, kernels, stream, spec
        self._labels = labels
        self._table = Block(gpu)

    def prepare(self, frame: Frame, painting: Painting, picture: Picture) -> Callable[[], None]:
        """See `Painter`."""
        decoder, to = self._spec.decoder, self._spec.input
        assert isinstance(decoder, SemanticDecoder)
        height, width = Letterbox.fit((frame.height, frame.width), (to.height, to.width)).resized
        labels = LabelMap(self._labels.address, self._labels.shape[2], height, width)
        colours, alphas = semantic_colours(frame, decoder.palette, unpainted=decoder.unpainted, style=painting.style)
        if painting.classes is not None:
            alphas[~np.isin(np.arange(LABELS), painting.classes)] = 0
        host, device = self._table.fit(alphas.nbytes + colours.nbytes)
        host[: alphas.nbytes], host[alphas.nbytes :] = alphas.view(np.uint8), colours.reshape(-1)
        self._gpu.upload(device.ptr, host, self._stream)
        style, stream = LabelStyle(device.ptr, device.ptr + alphas.nbytes), self._stream.handle
        return lambda: self._kernels.overlay_labels(picture, labels, style, stream=stream)

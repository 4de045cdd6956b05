"""The way of a frame through a GPU: upload, letterbox, network, choice of what is painted, painting, download.

All of it is queued on one stream, so that the host waits once per frame. What it takes is what `prepare`, `decode` and
`render` do on the CPU, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from solo_rt.decode.limits import mask_step
from solo_rt.decoders import DetectionsDecoder
from solo_rt.engine.base import Painting
from solo_rt.engine.cuda import Gpu, Stream
from solo_rt.engine.kernels import (
    TYPES,
    Choice,
    Detections,
    Kernels,
    LetterboxTarget,
    MaskGrid,
    OverlayStyle,
    Picture,
)
from solo_rt.engine.picture_memory import Block, PictureMemory
from solo_rt.engine.replay import Replay
from solo_rt.preprocess import Letterbox
from solo_rt.render import class_colours
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame

Work = Callable[[], None]


class DeviceTensor(NamedTuple):
    """An input or output of a network, contiguous in device memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What frames have in common that one graph can compute."""

    frame_size: tuple[int, int]
    pixel_format: str
    matrix: str
    full_range: bool
    on_device: bool
    painting: Painting | None

    @classmethod
    def of(cls, frame: Frame, painting: Painting | None) -> _Kind:
        size, on_device = (frame.height, frame.width), frame.device is not None
        return cls(size, frame.pixel_format, frame.matrix, frame.full_range, on_device, painting)


class FramePath:
    """The memory and the calls of one stream, for frames whose size may change."""

    def __init__(
        self,
        gpu: Gpu,
        kernels: Kernels,
        stream: Stream,
        spec: ModelSpec,
        *,
        tensors: Mapping[str, DeviceTensor],
        compute: Work,
    ) -> None:
        """`tensors` are the input and the outputs by name; `compute` queues the network, from the one to the others.

        It may queue downloads of outputs as well; `run` waits for them.
        """
        self._gpu, self._kernels, self._stream, self._spec = gpu, kernels, stream, spec
        self._tensors, self._compute = tensors, compute
        self._memory, self._table = PictureMemory(gpu, kernels), Block(gpu)
        if isinstance(spec.decoder, DetectionsDecoder):
            slots = spec.decoder.max_instances
            self._chosen, self._colours = gpu.allocate(16 * slots), gpu.allocate(3 * slots)
        self._kind: _Kind | None = None
        self._replay: Replay

    def run(self, frame: Frame, painting: Painting | None = None) -> Frame | None:
        """Compute one frame and return it painted, if that is wanted. See `FrameEngine.infer_frame`."""
        kind = _Kind.of(frame, painting)
        if kind != self._kind:
            self._kind = None  # in case it fails
            self._replay = Replay(self._gpu, self._stream, self._prepare(frame, painting))
            self._kind = kind
        source = frame.device
        if source is None:
            self._memory.load(frame)
            self._replay.run()
        else:
            self._replay.run(lambda: self._memory.copy(source, self._stream))
        return None if painting is None else self._memory.fetch(frame)

    def _prepare(self, frame: Frame, painting: Painting | None) -> Work:
        """Make room for frames like this one, and return what queues the work on one."""
        memory, stream, kernels = self._memory, self._stream, self._kernels
        memory.fit(frame)
        picture, target = memory.picture, self._letterbox(frame)
        address = self._tensors[self._spec.input.name].address
        paint = None if painting is None else self._painter(frame, painting, picture)
        on_host = frame.device is None

        def queue() -> None:
            if on_host:
                memory.upload(stream)
            kernels.letterbox(picture, target, address, stream=stream.handle)
            self._compute()
            if paint is not None:
                paint()
                memory.download(stream)

        return queue

    def _letterbox(self, frame: Frame) -> LetterboxTarget:
        to, tensor = self._spec.input, self._tensors[self._spec.input.name]
        box = Letterbox.fit((frame.height, frame.width), (to.height, to.width))
        return LetterboxTarget(
            TYPES[tensor.dtype.name], *box.input_size, *box.resized, to.mean, to.std, frame.matrix == "bt709",
            frame.full_range,
        )  # fmt: skip

    def _painter(self, frame: Frame, painting: Painting, picture: Picture) -> Work:
        """Return what queues the choice of instances and their painting onto the picture."""
        decoder = self._spec.decoder
        assert isinstance(decoder, DetectionsDecoder), "only what the network's own decoder finds can be painted"
        table = self._upload_table(frame, painting)
        to, size = self._spec.input, (frame.height, frame.width)
        box = Letterbox.fit(size, (to.height, to.width))
        masks = self._tensors["det_masks"]
        _, slots, rows, words = masks.shape  # of four cells
        choice = Choice(slots, len(self._spec.classes), painting.conf, painting.max_det)
        names = ("num_dets", "det_scores", "det_labels", "det_regions")
        found = Detections(*(self._tensors[name].address for name in names))
        step = mask_step(size, box.resized, decoder.mask_stride)
        grid = MaskGrid(masks.address, self._chosen.ptr, found.num_dets, slots, rows, 4 * words, *step)
        alpha = int(painting.style.alpha * 256 + 0.5)  # as the kernel on the CPU rounds it
        style = OverlayStyle(self._colours.ptr, alpha, painting.style.outline_of(size))
        kernels, stream = self._kernels, self._stream.handle

        def paint() -> None:
            kernels.choose(
                choice, found, table=table, chosen=self._chosen.ptr, colours=self._colours.ptr, stream=stream
            )
            kernels.overlay(picture, grid, style, stream=stream)

        return paint

    def _upload_table(self, frame: Frame, painting: Painting) -> int:
        """Return the address of the classes' colours, and of whether they are painted; it is there for work to come."""
        count = len(self._spec.classes)
        host, device = self._table.fit(4 * count)
        rows = host.reshape(count, 4)
        rows[:, :3] = class_colours(frame, count)
        rows[:, 3] = True if painting.classes is None else np.isin(np.arange(count), painting.classes)
        self._gpu.upload(device, host, self._stream)
        return device.ptr

"""The way of a frame through a GPU: upload, letterbox, network, choice of what is painted, painting, download.

All of it is queued on one stream, so that the host waits once per frame. What it takes is what `prepare`, `decode` and
`render` do on the CPU, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from solo_rt.gpu.cuda import Gpu, Stream
from solo_rt.gpu.downloads import DeviceTensor
from solo_rt.gpu.kernels import TYPES, Kernels, LetterboxTarget
from solo_rt.gpu.painter import find_painter
from solo_rt.gpu.picture_memory import PictureMemory
from solo_rt.gpu.picture_pool import PicturePool
from solo_rt.gpu.replay import Replay
from solo_rt.preprocess import Letterbox
from solo_rt.render import Painting
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame

Work = Callable[[], None]


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
        self._memory = PictureMemory(gpu, kernels)
        self._pictures = PicturePool(gpu)
        self._painter = find_painter(gpu, kernels, stream, spec, tensors)
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
        elif painting is not None and painting.keeps(frame):
            painted = self._pictures.take(frame.height, frame.width)
            self._replay.run(
                lambda: self._memory.copy(source, self._stream), lambda: self._memory.copy_to(painted, self._stream)
            )
            return replace(frame, device=painted)
        else:
            self._replay.run(lambda: self._memory.copy(source, self._stream))
        return None if painting is None else self._memory.fetch(frame)

    def _prepare(self, frame: Frame, painting: Painting | None) -> Work:
        """Make room for frames like this one, and return what queues the work on one."""
        # Without self: what `queue` holds it keeps, and a path that keeps itself goes with the garbage collector only.
        memory, stream, kernels, compute = self._memory, self._stream, self._kernels, self._compute
        memory.fit(frame)
        picture, target = memory.picture, self._letterbox(frame)
        address = self._tensors[self._spec.input.name].address
        on_host = frame.device is None
        paint = None
        if painting is not None:
            assert self._painter is not None, "see decoders.is_painted"
            paint = self._painter.prepare(frame, painting, picture)
        to_host = painting is not None and not painting.keeps(frame)

        def queue() -> None:
            if on_host:
                memory.upload(stream)
            kernels.letterbox(picture, target, address, stream=stream.handle)
            compute()
            if paint is not None:
                paint()
            if to_host:
                memory.download(stream)

        return queue

    def _letterbox(self, frame: Frame) -> LetterboxTarget:
        to, tensor = self._spec.input, self._tensors[self._spec.input.name]
        box = Letterbox.fit((frame.height, frame.width), (to.height, to.width))
        return LetterboxTarget(
            TYPES[tensor.dtype.name], *box.input_size, *box.resized, to.mean, to.std, frame.matrix == "bt709",
            frame.full_range,
        )  # fmt: skip

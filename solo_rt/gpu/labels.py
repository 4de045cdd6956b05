"""Labels on pictures that stay on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solo_rt.gpu.cuda import Gpu, open_gpu
from solo_rt.gpu.kernels import LABEL, Kernels
from solo_rt.gpu.native_library import find_kernels
from solo_rt.gpu.picture_memory import Block, describe
from solo_rt.render.lettering import Label, label_colours
from solo_rt.types import DevicePicture, Frame


class GpuLabels:
    """Writes labels onto frames on a GPU, to the bytes of `draw_label`. Used by one thread at a time."""

    def __init__(self, gpu: Gpu, kernels: Kernels) -> None:
        self._gpu, self._kernels, self._block = gpu, kernels, Block(gpu)
        with gpu.bound():
            self._stream = gpu.stream()

    def write(self, frame: Frame, labels: Sequence[Label]) -> None:
        """Write the labels, each over those before it, onto a frame that nobody else uses yet, and wait for that.

        Raises: EngineError.
        """
        assert frame.device is not None
        if labels:
            with self._gpu.bound():
                self._paste(frame, frame.device, labels)

    def _paste(self, frame: Frame, picture: DevicePicture, labels: Sequence[Label]) -> None:
        texts = [part for label in labels for part in (label.coverage, label.half_coverage)]
        ends = np.cumsum([LABEL.itemsize * len(labels), *(text.size for text in texts)])
        host, device = self._block.fit(int(ends[-1]))
        table = host[: ends[0]].view(LABEL)
        for i, (label, start) in enumerate(zip(labels, ends[:-1:2], strict=True)):
            ink, paper = (np.append(colour, 0) for colour in label_colours(frame, label))
            height, width = label.coverage.shape
            table[i] = label.x, label.y, height, width, start - ends[0], ink, paper
        np.concatenate([text.ravel() for text in texts], out=host[ends[0] :])
        self._gpu.upload(device.ptr, host, self._stream)
        self._kernels.paste_labels(
            describe(picture),
            device.ptr,
            coverage=device.ptr + int(ends[0]),
            count=len(labels),
            stream=self._stream.handle,
        )
        self._stream.synchronize()


def open_gpu_labels(gpu: int) -> GpuLabels:
    """Return what writes labels on GPU number `gpu`. Raises: EngineError."""
    return GpuLabels(open_gpu(gpu), Kernels(find_kernels()))

"""The outputs of a network on their way from the GPU to those who asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_rt.gpu.cuda import Gpu, Stream

MASKS = 16  # that come with every frame, as few pictures hold more; all of them are megabytes
Array = NDArray[Any]


class DeviceTensor(NamedTuple):
    """An input or output of a network, contiguous in device memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Downloads:
    """Copies outputs to page-locked memory, of `det_masks` the first `MASKS` and, where there are more, the rest."""

    def __init__(self, gpu: Gpu, stream: Stream, outputs: Mapping[str, DeviceTensor]) -> None:
        self._gpu, self._stream, self._outputs = gpu, stream, outputs
        self._hosts = {name: gpu.pinned(tensor.shape, tensor.dtype) for name, tensor in outputs.items()}

    def queue(self) -> None:
        """Queue the copies that every frame needs; a graph can hold them."""
        for name, host in self._hosts.items():
            if name == "det_masks":
                self._queue_masks(0, MASKS)
            else:
                self._gpu.download(host, self._outputs[name].address, self._stream)

    def collect(self) -> dict[str, Array]:
        """Return the outputs of the last frame, which was waited for, as arrays of their own.

        Of `det_masks` these are the first `num_dets`, those of the detections there are; the rest is uninitialised.
        Raises: EngineError.
        """
        copies = {name: host.copy() for name, host in self._hosts.items() if name != "det_masks"}
        if "det_masks" in self._hosts:
            masks, found = self._hosts["det_masks"], int(copies["num_dets"].max())
            if found > MASKS:
                self._queue_masks(MASKS, found)
                self._stream.synchronize()
            copies["det_masks"] = np.empty_like(masks)
            copies["det_masks"][:, :found] = masks[:, :found]
        return copies

    def _queue_masks(self, first: int, end: int) -> None:
        masks, address = self._hosts["det_masks"], self._outputs["det_masks"].address
        for picture, host in enumerate(masks):
            wanted = host[first:end]
            place = address + picture * masks.strides[0] + first * masks.strides[1]
            self._gpu.download(wanted, place, self._stream)

"""A checkpoint as a fast engine on a GPU, with PyTorch alone: the way to run where there is no TensorRT.

A frame is one copy into page-locked memory, one launch of a CUDA graph that holds everything from the upload to the
downloads, and one wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solo_rt.engine.base import Engine
from solo_rt.engine.cuda import Gpu, open_gpu
from solo_rt.engine.kernels import Kernels
from solo_rt.errors import EngineError
from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.checkpoint_engine import CheckpointEngine, find_device
from solo_rt.train.device_model import DeviceModel
from solo_rt.train.export import static_graph
from solo_rt.train.export.graph import StaticGraph
from solo_rt.types import Output

Float32 = NDArray[np.float32]
WARM_UPS = 3  # cuDNN tries its algorithms and libraries take their memory before anything is recorded


class TorchEngine:
    """Computes a network in float16 on a GPU; see `Engine` and `DeviceModel`, which says what comes out."""

    def __init__(self, graph: StaticGraph, device: torch.device, *, gpu: Gpu, library: Kernels | None = None) -> None:
        """Prepare network, buffers and graph on a `device`, of which `gpu` gives streams and graphs.

        Raises: EngineError, see `DeviceModel`.
        """
        self.backend = f"torch fp16, {gpu.name}"
        self.lanes = 1
        self._device = device
        self._stream = gpu.stream()
        with self._on_stream(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            model = DeviceModel(graph, device, library=library)
            self.spec = model.spec
            size = self.spec.input
            self._input = self._pinned(torch.zeros(size.batch, 3, size.height, size.width))
            image = self._input.to(device)
            self._outputs = {name: self._pinned(tensor) for name, tensor in model.compute(image).items()}

            def queue_frame() -> None:
                with self._on_stream():
                    image.copy_(self._input, non_blocking=True)
                    for name, tensor in model.compute(image).items():
                        self._outputs[name].copy_(tensor, non_blocking=True)

            for _ in range(WARM_UPS):
                queue_frame()
            self._stream.synchronize()
            self._launch: Callable[[], None] | None = gpu.capture(self._stream, queue_frame)
        self._queue_frame: Callable[[], None] | None = queue_frame  # keeps alive what the graph has addresses of

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        if self._launch is None:
            raise EngineError("the engine is closed; open another one")
        np.copyto(self._input.numpy(), inputs[self.spec.input.name])
        self._launch()
        self._stream.synchronize()
        return {name: self._copy(name, tensor.numpy()) for name, tensor in self._outputs.items()}

    def close(self) -> None:
        """Release graph, network and memory; `infer` raises EngineError afterwards."""
        self._stream.synchronize()
        self._launch = self._queue_frame = None
        self._outputs = {}

    def _copy(self, name: str, array: Output) -> Output:
        """Return an output as the caller's own; of masks, the many that do not exist are left as they come."""
        if name != "det_masks":
            return array.copy()
        own = np.empty_like(array)
        found = int(self._outputs["num_dets"].max())
        own[:, :found] = array[:, :found]
        return own

    def _pinned(self, like: Tensor) -> Tensor:
        """Return memory of the host for a tensor, from and to which copies run beside the host."""
        return torch.zeros(like.shape, dtype=like.dtype, pin_memory=self._device.type == "cuda")

    def _on_stream(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        return torch.cuda.stream(torch.cuda.ExternalStream(self._stream.handle, self._device))


def open_torch(path: Path, *, device: str = "auto") -> Engine:
    """Return the engine that runs the checkpoint at `path`: `TorchEngine` on a GPU, `CheckpointEngine` on the CPU.

    `device` is auto, cpu, cuda or cuda:N. Raises: UsageError, EngineError when the device cannot be used.
    """
    found = find_device(device)
    checkpoint = load_checkpoint(path)
    if found.type == "cpu":
        return CheckpointEngine(checkpoint, imgsz=None, device=found)
    index = found.index or 0
    return TorchEngine(static_graph(checkpoint), torch.device("cuda", index), gpu=open_gpu(index, backend="torch"))

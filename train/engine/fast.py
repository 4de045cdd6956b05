"""A checkpoint as a fast engine on a GPU, with PyTorch alone: the way to run where there is no TensorRT.

A frame is one copy into page-locked memory, one launch of a CUDA graph that holds everything from the upload to the
downloads, and one wait.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solo_rt.denormals import flushed_denormals
from solo_rt.device import Device
from solo_rt.engine.base import Engine
from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu.cuda import Gpu, Stream
from solo_rt.gpu.downloads import DeviceTensor, Downloads
from solo_rt.gpu.frame_path import FramePath
from solo_rt.gpu.kernels import Kernels
from solo_rt.gpu.native_library import find_kernels
from solo_rt.gpu.replay import Replay
from solo_rt.render import Painting
from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.engine.exact import CheckpointEngine, cudnn_set, find_device
from solo_rt.train.engine.half_network import DeviceModel
from solo_rt.train.engine.torch_gpu import TorchGpu
from solo_rt.train.export import static_graph
from solo_rt.train.export.graph import StaticGraph
from solo_rt.types import Frame, Output

Float32 = NDArray[np.float32]
log = logging.getLogger(__name__)


class TorchEngine:
    """Computes a network in float16 on a GPU; see `FrameEngine`, and `DeviceModel`, which says what comes out."""

    def __init__(self, graph: StaticGraph, device: torch.device, *, gpu: Gpu, library: Kernels | None = None) -> None:
        """Prepare a network on a `device`, of which `gpu` gives memory, streams and graphs. Takes over `graph`.

        Raises: EngineError where the library of the kernels is missing, see `find_kernels`, or for impossible weights.
        """
        library = library or Kernels(find_kernels())
        self.backend = f"torch fp16, {gpu.name}"
        self.lanes = 1
        self._gpu = gpu
        with gpu.bound():
            self._stream = gpu.stream()
            with on_stream(self._stream, device):
                model = DeviceModel(graph, device, library)
            self.spec = model.spec
            self._model: DeviceModel | None = model
            outputs = {name: _describe(tensor) for name, tensor in model.outputs.items()}
            image = _describe(model.image)
            self._input = gpu.pinned(image.shape, image.dtype)
            self._downloads = Downloads(gpu, self._stream, outputs)
            tensors = {self.spec.input.name: image, **outputs}
            # Without self: what these hold they keep, and an engine that keeps itself waits for the garbage collector.
            stream, given, downloads = self._stream, self._input, self._downloads

            def compute() -> None:
                with on_stream(stream, device), cudnn_set(exact=False):
                    model.compute()
                downloads.queue()

            def compute_tensors() -> None:
                gpu.upload(model.image.data_ptr(), given, stream)
                compute()

            self._tensors = Replay(gpu, stream, compute_tensors)
            self._frames = FramePath(gpu, library, stream, self.spec, tensors=tensors, compute=compute)

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        self._check_open()
        np.copyto(self._input, inputs[self.spec.input.name])
        with self._gpu.bound():
            self._tensors.run()
            return self._downloads.collect()

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        """Return the outputs by name, and the frame painted where that is wanted. Raises: EngineError."""
        self._check_open()
        with self._gpu.bound():
            painted = self._frames.run(frame, painting)
            return self._downloads.collect(), painted

    def cancel(self) -> None:
        """Do nothing: PyTorch finishes what it has begun."""

    def close(self) -> None:
        """Release graphs, network and memory; the others raise EngineError afterwards."""
        if self._model is None:
            return
        try:
            with self._gpu.bound():
                self._stream.synchronize()
        except EngineError as error:  # the device failed before, and whoever used it was told so
            log.debug("%s", error)
        self._model = None
        del self._tensors, self._frames, self._input, self._downloads

    def _check_open(self) -> None:
        if self._model is None:
            raise EngineError("the engine is closed; open another one")


def _describe(tensor: Tensor) -> DeviceTensor:
    return DeviceTensor(tensor.data_ptr(), tuple(tensor.shape), np.dtype(str(tensor.dtype).removeprefix("torch.")))


def on_stream(stream: Stream, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which PyTorch uses the device and its stream."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.ExternalStream(stream.handle, device))


@flushed_denormals()  # by PyTorch's threads too, which loading may start
def open_torch(path: Path, *, device: Device, threads: int | None = None, is_fp32: bool = False) -> Engine:
    """Return the engine that runs the checkpoint at `path`: `TorchEngine` on a GPU, `CheckpointEngine` on the CPU.

    `threads` are those of PyTorch in the whole process from now on, None is its choice. `is_fp32`: only in float32.
    Raises: UsageError, EngineError when the device cannot be used.
    """
    found = find_device(device)
    if is_fp32 and found.type != "cpu":
        raise UsageError(
            f"{path}: precision fp32: on a GPU a checkpoint is computed in fp16; leave it out, or use --device cpu"
        )
    checkpoint = load_checkpoint(path)
    if found.type == "cpu":
        if threads is not None:
            torch.set_num_threads(threads)
        return CheckpointEngine(checkpoint, imgsz=None, device=found)
    index = found.index or 0
    try:
        library = find_kernels()
    except EngineError as error:
        raise EngineError(f"{path}: on a GPU a checkpoint needs our kernels ({error}); or use --device cpu") from error
    gpu = TorchGpu(library, index)
    return TorchEngine(static_graph(checkpoint), torch.device("cuda", index), gpu=gpu, library=Kernels(library))

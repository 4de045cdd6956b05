"""Inference with TensorRT: a plan that `solo-rt build-engine` made, on buffers that never move.

A lane is an execution context with its own stream, buffers and graph; several threads may call it at once, one per
lane. A frame costs one upload, one graph launch, one download and one wait.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt.defaults import TENSORRT_LANES as LANES
from solo_rt.device import Device
from solo_rt.engine.base import GpuTimes
from solo_rt.engine.plan import SUFFIX, Plan, check_plan, machine_platform, passes_sha256, read_content, read_plan
from solo_rt.engine.plan_cache import check_trust, find_plan
from solo_rt.engine.tensorrt_library import Messages, find_plugins, import_tensorrt, load_plugins, plugins_revision
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.gpu.cuda import Buffer, Gpu, Stream, open_gpu
from solo_rt.gpu.downloads import DeviceTensor, Downloads
from solo_rt.gpu.frame_path import FramePath
from solo_rt.gpu.kernels import Kernels
from solo_rt.gpu.native_library import find_kernels
from solo_rt.gpu.replay import Replay
from solo_rt.render import Painting
from solo_rt.types import Frame

Array = NDArray[Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Lane:
    context: Any
    stream: Stream
    inputs: Mapping[str, Array]  # page-locked
    buffers: Mapping[str, Buffer]  # of all tensors, which others know by their addresses
    downloads: Downloads
    tensors: Replay  # upload, compute, download
    frames: FramePath


class TensorRtEngine:
    """A TensorRT plan on one device; see `FrameEngine`. Up to `lanes` threads may call its methods at once."""

    def __init__(self, plan: Plan, content: bytes, *, gpu: Gpu, lanes: int = LANES) -> None:
        """Load a plan, whose `content` is trusted and was made for this machine, and prepare its lanes.

        Raises: EngineError without TensorRT or our libraries, or where TensorRT cannot load the plan.
        """
        trt = import_tensorrt()
        load_plugins(trt, find_plugins())
        self._kernels = Kernels(find_kernels())
        self._messages = Messages(trt)
        self._trt, self._gpu = trt, gpu
        self.spec = plan.spec
        self.backend = f"tensorrt {trt.__version__} {plan.key.precision}, {self._gpu.name}"
        self.lanes = lanes
        with self._gpu.bound():
            self._runtime = trt.Runtime(self._messages.logger)  # destroyed after the contexts, in the order of `close`
            self._engine = self._runtime.deserialize_cuda_engine(content)
            if self._engine is None:
                raise EngineError(f"{plan.path}: TensorRT {trt.__version__} cannot load it: {self._messages.reason()}")
            self._lanes: list[_Lane] = [self._open_lane() for _ in range(lanes)]
        self._idle: queue.SimpleQueue[_Lane | None] | None = queue.SimpleQueue()  # None in it: closed
        for lane in self._lanes:
            self._idle.put(lane)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        with self._lane() as lane:
            for name, host in lane.inputs.items():
                np.copyto(host, inputs[name])
            lane.tensors.run()
            return lane.downloads.collect()

    def infer_timed(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], GpuTimes]:
        """Return what `infer` returns, and where its time went. Raises: EngineError."""
        with self._lane() as lane:
            for name, host in lane.inputs.items():
                np.copyto(host, inputs[name])
            timer, marks = self._gpu.timer(lane.stream), [time.perf_counter()]

            def last() -> None:
                timer.end()
                marks.append(time.perf_counter())

            lane.tensors.run(timer.begin, last)
            began, queued, ended = *marks, time.perf_counter()
            return lane.downloads.collect(), GpuTimes(queued - began, timer.seconds(), ended - queued)

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Array], Frame | None]:
        """Return the outputs by name, and the frame painted where that is wanted. Raises: EngineError."""
        with self._lane() as lane:
            painted = lane.frames.run(frame, painting)
            return lane.downloads.collect(), painted

    def cancel(self) -> None:
        """Do nothing: what a GPU has begun it finishes."""

    def close(self) -> None:
        """Release the contexts, then the engine and the runtime; `infer` raises EngineError afterwards."""
        lanes, self._lanes = self._lanes, []
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.put(None)
        del idle  # with the lanes in it
        try:
            with self._gpu.bound():
                while lanes:
                    lanes[-1].stream.synchronize()
                    lanes.pop()  # whose memory goes with it
                self._engine = self._runtime = None
        except EngineError as error:  # the device failed before, and whoever used it was told so
            log.debug("%s", error)
            lanes.clear()
            self._engine = self._runtime = None

    @contextmanager
    def _lane(self) -> Iterator[_Lane]:
        """Give the body a lane for itself. Raises: EngineError."""
        idle = self._idle  # which `close` takes away from the others
        lane = None if idle is None else idle.get()
        if idle is None or lane is None:
            if idle is not None:
                idle.put(None)  # for the next one who waits
            raise EngineError("the engine is closed; open another one")
        try:
            with self._gpu.bound():
                yield lane
        finally:
            idle.put(lane)

    def _open_lane(self) -> _Lane:
        # Without self: lanes keep what `compute` holds, and an engine that they keep waits for the garbage collector.
        trt, engine, gpu, messages = self._trt, self._engine, self._gpu, self._messages
        context = engine.create_execution_context()
        if context is None:
            raise EngineError(f"TensorRT has no memory for another context: {messages.reason()}")
        stream = gpu.stream()
        tensors: dict[str, DeviceTensor] = {}
        buffers: dict[str, Buffer] = {}
        given: list[str] = []
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            shape = tuple(engine.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise SpecError(f"{name}: expected an engine of fixed shapes, got {shape}; build it with solo-rt")
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            buffers[name] = gpu.allocate(int(np.prod(shape)) * dtype.itemsize)
            tensors[name] = DeviceTensor(buffers[name].ptr, shape, dtype)
            context.set_tensor_address(name, buffers[name].ptr)
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                given.append(name)
        inputs = {name: gpu.pinned(tensors[name].shape, tensors[name].dtype) for name in given}
        downloads = Downloads(gpu, stream, {name: tensor for name, tensor in tensors.items() if name not in given})

        def compute() -> None:
            if not context.execute_async_v3(stream.handle):
                raise EngineError(f"TensorRT failed on a frame: {messages.reason()}")
            downloads.queue()

        def compute_tensors() -> None:
            for name, host in inputs.items():
                gpu.upload(buffers[name].ptr, host, stream)
            compute()

        frames = FramePath(gpu, self._kernels, stream, self.spec, tensors=tensors, compute=compute)
        replay = Replay(gpu, stream, compute_tensors)
        return _Lane(context, stream, inputs, buffers, downloads, replay, frames)


def find_engine(path: Path, *, device: Device) -> Path:
    """Return the plan in the cache that was built of the ONNX file `path` for this machine.

    Raises: UsageError, EngineError.
    """
    return _find_plan(path, _open_device(device)).path


def open_tensorrt(
    path: Path, *, device: Device, lanes: int | None, is_fp32: bool = False, trusted: bool
) -> TensorRtEngine:
    """Return the engine of a plan, or of the plan in the cache that was built of the ONNX file `path` for this machine.

    `lanes`: None is `LANES`. `is_fp32`: only one in float32. `trusted`: also if the plan was not built here.
    Raises: UsageError, EngineError.
    """
    gpu = _open_device(device)
    plan = _find_plan(path, gpu, is_fp32=is_fp32)
    if is_fp32 and plan.key.precision != "fp32":
        raise UsageError(
            f"{plan.path}: precision fp32: this engine is in {plan.key.precision}; leave it out, or give an engine of "
            f"solo-rt build-engine --fp32"
        )
    content = read_content(plan)
    if not trusted:
        check_trust(plan)
    return TensorRtEngine(plan, content, gpu=gpu, lanes=lanes or LANES)


def _find_plan(path: Path, gpu: Gpu, *, is_fp32: bool = False) -> Plan:
    """Return the plan at `path`, or that of an ONNX file there, `is_fp32` in float32 if it can be, for this machine."""
    machine = _machine(gpu, import_tensorrt().__version__)
    if path.suffix != SUFFIX:
        return find_plan(path, machine, is_fp32=is_fp32)
    plan = read_plan(path)
    check_plan(plan, machine)
    return plan


def _open_device(device: Device) -> Gpu:
    """Return the GPU to use: before TensorRT is loaded, whose runtime crashes where there is none."""
    if device.kind == "cpu":
        raise UsageError(f"device {device}: expected auto, cuda or cuda:N with the tensorrt backend")
    return open_gpu(device.index or 0)


def _machine(gpu: Gpu, version: str) -> dict[str, str]:
    """Return what a plan must have been made for."""
    return {
        "gpu": gpu.name,
        "cuda": gpu.cuda,
        "tensorrt": version,
        "platform": machine_platform(),
        "plugins": plugins_revision(find_plugins()),
        "passes_sha256": passes_sha256(),
    }

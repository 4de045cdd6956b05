"""Inference with ONNX Runtime: the default on every CPU, and on CUDA where a build of it for CUDA is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from solo_rt.denormals import flushed_denormals
from solo_rt.device import Device
from solo_rt.engine.contract import check_ports
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.engine.threads import CPU_LANES, describe
from solo_rt.errors import EngineError, SpecError
from solo_rt.spec import ModelSpec
from solo_rt.types import Output

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Float32 = NDArray[np.float32]
log = logging.getLogger(__name__)


class OnnxRuntimeEngine:
    """An ONNX Runtime session, which several threads may run at once; see `Engine`.

    One session for all lanes computes as fast as one per lane and holds the weights once. Its outputs are new arrays
    for every frame: writing into arrays of a lane's own and copying those takes no less time.
    """

    def __init__(self, path: Path, spec: ModelSpec, *, device: Device, threads: int, lanes: int | None) -> None:
        self.spec = spec
        wanted = _gpu(device)
        self.lanes = lanes or CPU_LANES
        providers: list[str | tuple[str, dict[str, str]]] = [CPU]
        if wanted is not None:
            providers.insert(0, (CUDA, {"device_id": str(wanted)}))
        try:
            content = heads_alone(path.read_bytes(), spec.output_shapes)
            options = _session_options(threads, self.lanes)
            with flushed_denormals():  # the first session of a process changes the thread that opens it, for good
                session = ort.InferenceSession(content, options, providers=providers)
        except Exception as error:  # ONNX Runtime's own exceptions have no narrower common base
            raise EngineError(f"{path}: ONNX Runtime cannot load the model: {_one_line(error)}") from error
        has_cuda = CUDA in session.get_providers()
        if wanted is not None and not has_cuda:
            if device.kind != "auto":
                raise EngineError(f"device {device}: ONNX Runtime could not start CUDA; solo-rt doctor says more")
            log.warning("ONNX Runtime could not start CUDA and computes on the CPU")
        where = f"cuda:{wanted}" if has_cuda else describe(threads, self.lanes)
        self.backend = f"onnxruntime {where}{', int8' if spec.is_int8 else ''}"
        self._session: ort.InferenceSession | None = session
        self._calls: list[ort.RunOptions] = []  # that are being computed
        check_ports(path, spec, _shapes(session.get_inputs()), _shapes(session.get_outputs()))
        if session.get_inputs()[0].type != "tensor(float)":
            raise SpecError(f"{path}: expected a float32 input, got {session.get_inputs()[0].type}; export again")

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        session = self._session
        if session is None:
            raise EngineError("the engine is closed; open another one")
        names, call = list(self.spec.output_shapes), ort.RunOptions()
        self._calls.append(call)
        try:
            with flushed_denormals():
                return dict(zip(names, session.run(names, dict(inputs), call), strict=True))
        except Exception as error:  # as above
            raise EngineError(f"ONNX Runtime failed on a frame: {_one_line(error)}") from error
        finally:
            self._calls.remove(call)

    def cancel(self) -> None:
        """Let what is being computed end with an EngineError. For any thread."""
        for call in list(self._calls):
            call.terminate = True

    def close(self) -> None:
        """Release the session; `infer` raises EngineError afterwards."""
        self._session = None


def _session_options(threads: int, lanes: int) -> ort.SessionOptions:
    """Return options for a session that has `threads` threads at work when `lanes` of them call it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads - lanes + 1  # of which the caller is one, the others serve all lanes
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Between two operators idle threads would spin on the cores that decoding, drawing and encoding need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # on its own threads
    options.log_severity_level = 4  # what goes wrong arrives as an exception
    return options


def _gpu(device: Device) -> int | None:
    """Return the number of the GPU to use, None for the CPU. Raises: EngineError."""
    has_cuda = CUDA in ort.get_available_providers()
    if device.kind == "cpu" or (device.kind == "auto" and not has_cuda):
        return None
    if not has_cuda:
        raise EngineError(
            f"device {device}: this ONNX Runtime has no CUDA provider; install onnxruntime-gpu or use cpu"
        )
    return device.index or 0


def _shapes(ports: list[ort.NodeArg]) -> dict[str, tuple[int, ...]]:
    """Return declared sizes by name, -1 where the file leaves them open."""
    return {port.name: tuple(size if isinstance(size, int) else -1 for size in port.shape) for port in ports}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

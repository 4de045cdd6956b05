"""Inference with OpenVINO on the CPU; the extra `solo-rt[openvino]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_rt.engine.contract import check_ports
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.errors import EngineError, UsageError
from solo_rt.spec import ModelSpec
from solo_rt.types import Output

try:
    import openvino as ov
except ImportError as error:
    raise EngineError(f"backend openvino: {error}; install solo-rt[openvino] or use onnxruntime") from error

Float32 = NDArray[np.float32]


class OpenVinoEngine:
    """A compiled OpenVINO model with one infer request; see `Engine`."""

    def __init__(self, path: Path, spec: ModelSpec, *, device: str, threads: int) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"device {device}: expected auto or cpu with the openvino backend; onnxruntime knows cuda")
        self.spec = spec
        self.backend = f"openvino cpu, {threads} thread{'s' if threads > 1 else ''}"
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # or it would take bfloat16 where the CPU has it, unasked
        }
        try:
            core = ov.Core()
            content = heads_alone(path.read_bytes(), spec.output_shapes)
            model = core.compile_model(core.read_model(content), "CPU", settings)
            self._request: ov.InferRequest | None = model.create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"{path}: OpenVINO cannot load the model: {_reason(error)}") from error
        check_ports(path, spec, _shapes(model.inputs), _shapes(model.outputs))

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        if self._request is None:
            raise EngineError("the engine is closed; open another one")
        try:
            self._request.infer(dict(inputs), share_inputs=True)
            return {name: self._request.get_tensor(name).data.copy() for name in self.spec.output_shapes}
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {_reason(error)}") from error

    def close(self) -> None:
        """Release the model; `infer` raises EngineError afterwards."""
        self._request = None


def _shapes(ports: Sequence[ov.ConstOutput]) -> dict[str, tuple[int, ...]]:
    """Return declared sizes by name, -1 where the file leaves them open."""
    return {
        port.get_any_name(): tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
        for port in ports
    }


def _reason(error: Exception) -> str:
    """Return the last line of OpenVINO's multi-line message, which carries the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

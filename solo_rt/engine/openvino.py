"""Inference with OpenVINO on the CPU; the extra `solo-rt[openvino]`.

Note [Frames are computed on OpenVINO's threads]
    `InferRequest.infer` computes on the thread that calls it and leaves something of the model with it, which OpenVINO
    takes down when that thread ends. If the model is closed meanwhile, it locks mutexes in memory that is freed, or
    somebody else's by then. Nobody can wait for that end: Python's `Thread.join` returns before it. `start_async` gives
    the frame to a thread of the model's own, which it joins when it is closed.

Note [Maps are put plane by plane here]
    Convolutions compute maps pixel by pixel. OpenVINO puts them plane by plane, value by value with a whole plane
    between two writes: 1.4 ms for the 344,064 features of solov2-nano, whose network takes 4.7 ms. So maps are asked
    for as they are, and a kernel of ours, which writes whole lines of the cache, puts them in order in 0.15 ms.
"""

from __future__ import annotations

import io
import json
import os
import queue
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.cpu import cpu_field, processor
from solo_rt.device import Device
from solo_rt.engine import compiled_cache
from solo_rt.engine.contract import check_ports
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.engine.threads import CPU_LANES, describe
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.spec import ModelSpec
from solo_rt.types import Output

try:
    import openvino as ov
except ImportError as error:
    raise EngineError(f"backend openvino: {error}; install solo-rt[openvino] or use onnxruntime") from error

ISA = "ONEDNN_MAX_CPU_ISA"  # environment variable: instructions that OpenVINO must do without

Float32 = NDArray[np.float32]


class OpenVinoEngine:
    """A compiled OpenVINO model with a stream and an infer request per lane; see `Engine`."""

    def __init__(
        self, path: Path, spec: ModelSpec, *, device: Device, threads: int, lanes: int | None, is_bf16: bool = False
    ) -> None:
        if device.kind == "cuda":
            raise UsageError(f"device {device}: expected auto or cpu with the openvino backend; onnxruntime knows cuda")
        self.spec = spec
        self.lanes = lanes or CPU_LANES
        precisions = [name for name, is_it in (("int8", spec.is_int8), ("bf16", is_bf16)) if is_it]
        self.backend = ", ".join([f"openvino {describe(threads, self.lanes)}", *precisions])
        settings: dict[str, int | str] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self.lanes,
            "PERFORMANCE_HINT": "LATENCY" if self.lanes == 1 else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32",  # it would take bfloat16 unasked
        }
        try:
            model = _compiled(path.read_bytes(), list(spec.output_shapes), settings)
            requests = [model.create_infer_request() for _ in range(self.lanes)]
        except (RuntimeError, SpecError) as error:
            raise EngineError(f"{path}: OpenVINO cannot load the model: {_reason(error)}") from error
        shapes = _shapes(model.outputs)
        outputs = {name: (s[0], s[3], s[1], s[2]) if _is_map(name, s) else s for name, s in shapes.items()}
        check_ports(path, spec, _shapes(model.inputs), outputs)
        self._requests = requests
        self._idle: queue.SimpleQueue[ov.InferRequest] | None = queue.SimpleQueue()
        for request in requests:
            self._idle.put(request)

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller. Raises: EngineError."""
        idle = self._idle
        if idle is None:
            raise EngineError("the engine is closed; open another one")
        request = idle.get()
        try:
            # Not `request.infer`: see Note [Frames are computed on OpenVINO's threads].
            request.start_async(dict(inputs), share_inputs=True)
            request.wait()
            return {name: _kept(name, request.get_tensor(name).data) for name in self.spec.output_shapes}
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {_reason(error)}") from error
        finally:
            idle.put(request)

    def cancel(self) -> None:
        """Let what is being computed end with an EngineError. For any thread."""
        for request in self._requests:
            request.cancel()

    def close(self) -> None:
        """Release the model; `infer` raises EngineError afterwards."""
        self._idle, self._requests = None, []


def _is_map(name: str, shape: tuple[int, ...]) -> bool:
    """Return whether an output is [B, C, h, w]; coarse logits are [B, h, w, C] in the file."""
    return len(shape) == 4 and name != "coarse"


def _compiled(content: bytes, outputs: list[str], settings: Mapping[str, int | str]) -> ov.CompiledModel:
    """Return the part of a model that ends at `outputs`, compiled with settings, now or at an earlier start.

    Maps are [B, h, w, C] there.
    Raises: RuntimeError; SpecError if the model is damaged.
    """
    core = ov.Core()
    facts = [
        sha256(content).hexdigest(),
        outputs,
        "maps pixel by pixel",
        settings,
        ov.__version__,
        processor(),
        cpu_field("flags"),
        os.environ.get(ISA),
    ]
    key = sha256(json.dumps(facts).encode()).hexdigest()[:32]
    kept = compiled_cache.recall(key)
    if kept is not None:
        with suppress(RuntimeError):  # then it is compiled again
            return core.import_model(io.BytesIO(kept), "CPU", settings)
    model = core.read_model(heads_alone(content, outputs))
    layouts = ov.preprocess.PrePostProcessor(model)
    for name, shape in _shapes(model.outputs).items():
        if _is_map(name, shape):
            layouts.output(name).model().set_layout(ov.Layout("NCHW"))
            layouts.output(name).tensor().set_layout(ov.Layout("NHWC"))
    model = core.compile_model(layouts.build(), "CPU", settings)
    compiled_cache.remember(key, model.export_model().getvalue())
    return model


def _kept(name: str, values: NDArray[Any]) -> Output:
    """Return a copy of an output, maps as [B, C, h, w]."""
    if not _is_map(name, values.shape):
        return np.array(values)
    if values.dtype == np.float32:
        return _native.channels_first(values)
    return np.array(values.transpose(0, 3, 1, 2))  # of a type that the contract of engines refuses


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

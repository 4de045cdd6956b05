"""Inference with OpenVINO on the CPU; the extra `solo-rt[openvino]`.

Note [Frames are computed on OpenVINO's threads]
    `InferRequest.infer` computes on the thread that calls it and leaves something of the model with it, which OpenVINO
    takes down when that thread ends. If the model is closed meanwhile, it locks mutexes in memory that is freed, or
    somebody else's by then. Nobody can wait for that end: Python's `Thread.join` returns before it. `start_async` gives
    the frame to a thread of the model's own, which it joins when it is closed.

Note [Maps are put plane by plane here]
    Convolutions compute maps pixel by pixel. OpenVINO puts them plane by plane, value by value with a whole plane
    between two writes: 1.4 ms for the 344,064 features of solov2-nano, whose network takes 4.7 ms. So maps of
    convolutions are asked for as they are, and a kernel of ours, which writes whole lines of the cache, puts them in
    order in 0.15 ms. Other maps are plane by plane already, such as those behind a group normalisation. Which is which
    stands in their names, which a compiled model keeps.

Note [Concatenations are quantised whole]
    OpenVINO 2026.4 quantises the parts of a concatenation in their place. Where some of them have no values below zero
    and the CPU has no instructions for INT8, a convolution of them is wrong by 9 % (standard deviation): fast-scnn lost
    0.56 points of mIoU by its pyramid. A maximum with the least value that can be told apart changes nothing, but no
    quantisation is moved through it.
"""

from __future__ import annotations

import io
import json
import queue
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.cpu import instructions, processor
from solo_rt.denormals import flushed_denormals
from solo_rt.device import Device
from solo_rt.engine import compiled_cache
from solo_rt.engine.contract import check_ports
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.engine.precision import has_int8
from solo_rt.engine.threads import CPU_LANES, describe
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.spec import ModelSpec
from solo_rt.types import Output

try:
    import openvino as ov
    from openvino import opset13 as opset
except ImportError as error:
    raise EngineError(f"backend openvino: {error}; install solo-rt[openvino] or use onnxruntime") from error

BY_PIXEL = " by pixel"  # behind the name of an output that is [B, h, w, C] instead of [B, C, h, w]
# Behind a convolution these leave the order of its values as it is.
ELEMENTWISE = ("Add", "Multiply", "Relu", "Sigmoid", "FakeQuantize", "Interpolate")
MOVED_THROUGH = ("Relu", "Add", "Multiply")  # OpenVINO moves a quantisation to before these

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
            with flushed_denormals():  # the model's threads are started here
                model = _compiled(path.read_bytes(), list(spec.output_shapes), settings)
                requests = [model.create_infer_request() for _ in range(self.lanes)]
        except (RuntimeError, SpecError) as error:
            raise EngineError(f"{path}: OpenVINO cannot load the model: {_reason(error)}") from error
        shapes = _shapes(model.outputs)
        self._ports = {name.removesuffix(BY_PIXEL): name for name in shapes}
        for name, port in self._ports.items():
            if port != name:
                batch, height, width, channels = shapes.pop(port)
                shapes[name] = batch, channels, height, width
        check_ports(path, spec, _shapes(model.inputs), shapes)
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
            return {name: self._output(request, name) for name in self.spec.output_shapes}
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {_reason(error)}") from error
        finally:
            idle.put(request)

    def _output(self, request: ov.InferRequest, name: str) -> Output:
        values = request.get_tensor(self._ports[name]).data
        return np.array(values) if self._ports[name] == name else _native.channels_first(values)

    def cancel(self) -> None:
        """Let what is being computed end with an EngineError. For any thread."""
        for request in self._requests:
            request.cancel()

    def close(self) -> None:
        """Release the model; `infer` raises EngineError afterwards."""
        self._idle, self._requests = None, []


def _compiled(content: bytes, outputs: list[str], settings: Mapping[str, int | str]) -> ov.CompiledModel:
    """Return the part of a model that ends at `outputs`, compiled with settings, now or at an earlier start.

    The names of maps say so where they are [B, h, w, C] there; see Note [Maps are put plane by plane here].
    Raises: RuntimeError; SpecError if the model is damaged.
    """
    core = ov.Core()
    facts = [
        sha256(content).hexdigest(),
        outputs,
        BY_PIXEL,
        has_int8(),
        settings,
        ov.__version__,
        processor(),
        *instructions(),
    ]
    key = sha256(json.dumps(facts).encode()).hexdigest()[:32]
    kept = compiled_cache.recall(key)
    if kept is not None:
        with suppress(RuntimeError):  # then it is compiled again
            return core.import_model(io.BytesIO(kept), "CPU", settings)
    network = core.read_model(heads_alone(content, outputs))
    if not has_int8():
        quantise_whole(network)
    model = core.compile_model(as_computed(network), "CPU", settings)
    compiled_cache.remember(key, model.export_model().getvalue())
    return model


def quantise_whole(model: ov.Model) -> None:
    """Change a model so that its concatenations are quantised in one; see Note [Concatenations are quantised whole]."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        values, least = node.input_value(0), node.input_value(1)
        source = values.get_node()
        while source.get_type_name() in MOVED_THROUGH:
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Concat":
            node.input(0).replace_source_output(opset.maximum(values, least).output(0))
    model.validate_nodes_and_infer_types()


def as_computed(model: ov.Model) -> ov.Model:
    """Return the model with its float32 maps of convolutions by pixel, and with that in their names."""
    maps = [port.get_any_name() for port in model.outputs if _is_of_convolution(port)]
    layouts = ov.preprocess.PrePostProcessor(model)
    for name in maps:
        layouts.output(name).model().set_layout(ov.Layout("NCHW"))
        layouts.output(name).tensor().set_layout(ov.Layout("NHWC"))
    changed = layouts.build()
    for name in maps:
        changed.output(name).tensor.set_names({name + BY_PIXEL})
    return changed


def _is_of_convolution(port: ov.Output) -> bool:
    shape = port.get_partial_shape()
    node = port.get_node().input_value(0).get_node()
    while node.get_type_name() in ELEMENTWISE:
        node = node.input_value(0).get_node()
    is_map = shape.rank.is_static and len(shape) == 4 and port.get_element_type() == ov.Type.f32
    return is_map and "Convolution" in node.get_type_name()


def _shapes(ports: Sequence[ov.ConstOutput]) -> dict[str, tuple[int, ...]]:
    """Return declared sizes by name, -1 where the file leaves them open."""
    return {
        port.get_any_name(): tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
        for port in ports
    }


def _reason(error: Exception) -> str:
    """Return the line of OpenVINO's message that carries the reason: what it has no rule for, else the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    no_rule = [line.removeprefix("-- ") for line in lines if "No conversion rule" in line]
    return (no_rule or lines or [type(error).__name__])[-1]

"""From a network to a TensorRT plan: parser, builder, and nothing silent in between.

The network is always strongly typed, so that what is built is what the file says and one code path serves TensorRT 10
and 11. Our operators must become plugins: their bodies are taken out of the model in memory before it is parsed, so
that a missing plugin, or one of another version, is an error and not a slow network of hundreds of small layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from solo_rt.builder.network import without_bodies
from solo_rt.engine.operators import DOMAIN
from solo_rt.engine.plan import PlanKey, PlanPrecision, machine_platform, passes_sha256
from solo_rt.engine.tensorrt_library import Messages, find_plugins, import_tensorrt, load_plugins, plugins_revision
from solo_rt.errors import EngineError, UsageError
from solo_rt.files import file_sha256
from solo_rt.progress import Show

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is built."""

    precision: PlanPrecision = "fp16"
    workspace: int = 0  # bytes the builder may use per layer; 0 leaves it to TensorRT
    level: int = -1  # 0 (fast build) to 5 (fast engine); -1 leaves it to TensorRT

    def __post_init__(self) -> None:
        if self.workspace < 0 or not -1 <= self.level <= 5:
            raise UsageError(f"build: expected workspace >= 0 and level in 0..5, got {self.workspace} and {self.level}")


def build(model: onnx.ModelProto, options: BuildOptions, *, show: Show = lambda done, total, phase: None) -> bytes:
    """Return the plan of a model as `typed_model` gives it. Raises: EngineError."""
    trt = import_tensorrt()
    operators = [node.op_type for node in model.graph.node if node.domain == DOMAIN]
    if operators:
        load_plugins(trt, find_plugins())
        model = without_bodies(model)
    messages = Messages(trt)
    try:
        builder = trt.Builder(messages.logger)
    except TypeError as error:  # so the bindings say that there is none
        raise EngineError(f"TensorRT {trt.__version__} cannot build here: {messages.reason()}") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, messages.logger)
    if not parser.parse(model.SerializeToString()):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)] or [messages.reason()]
        raise EngineError(f"TensorRT {trt.__version__} cannot read the model: {' '.join(errors[0].split())}")
    plugins = sum(network.get_layer(i).type == trt.LayerType.PLUGIN_V3 for i in range(network.num_layers))
    if plugins != len(operators):
        raise EngineError(f"expected {len(operators)} plugin layers ({', '.join(operators)}), TensorRT made {plugins}")
    config = builder.create_builder_config()
    _configure(trt, config, options)
    config.progress_monitor = _monitor(trt, show)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot build the engine: {messages.reason()}")
    return bytes(memoryview(plan))


def plan_key(path: Path, options: BuildOptions, *, gpu: str, cuda: str, calibration: Iterable[Float32] = ()) -> PlanKey:
    """Return the key of the plan of a model with these options on a machine with this card."""
    digest = hashlib.sha256()
    is_calibrated = options.precision == "int8"
    for picture in calibration if is_calibrated else ():
        digest.update(picture.tobytes())
    return PlanKey(
        model_sha256=file_sha256(path),
        plugins=plugins_revision(find_plugins()),
        passes_sha256=passes_sha256(),
        calibration_sha256=digest.hexdigest() if is_calibrated else "",
        precision=options.precision,
        tensorrt=import_tensorrt().__version__,
        cuda=cuda,
        gpu=gpu,
        platform=machine_platform(),
        workspace=options.workspace,
        level=options.level,
    )


def _configure(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.level >= 0:
        config.builder_optimization_level = options.level
    if options.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # whose mantissa is that of float16


def _monitor(trt: Any, show: Show) -> Any:
    """Return TensorRT's progress reports as calls of `show`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.totals: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.totals[phase] = steps
            show(0, steps, phase.lower())

        def step_complete(self, phase: str, step: int) -> bool:
            show(step + 1, self.totals.get(phase, step + 1), phase.lower())
            return True

        def phase_finish(self, phase: str) -> None:
            self.totals.pop(phase, None)

    return Monitor()

"""Parses an ONNX file with a plugin library, builds a plan, and prints what came of it as JSON.

Usage: python build.py LIBRARY MODEL [BATCH]; runs in the environment of oracle.environment(). With BATCH the first axis
of every input is free and may be 1..BATCH.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

import tensorrt_bindings as trt


class Collector(trt.ILogger):
    """Keeps errors and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        """Store one message."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self.lines.append(message)


def build(library: str, model: str, batch: int) -> dict[str, object]:
    """Return errors, plugin layers, outputs by name and the size of the plan in bytes, 0 if there is none."""
    logger = Collector()
    trt.get_plugin_registry().load_library(library)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(model)
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    report: dict[str, object] = {"parsed": parsed, "plugins": [], "outputs": {}, "plan": 0}
    if parsed:
        layers = [network.get_layer(i) for i in range(network.num_layers)]
        report["plugins"] = [layer.name for layer in layers if layer.type == trt.LayerType.PLUGIN_V3]
        tensors = [network.get_output(i) for i in range(network.num_outputs)]
        report["outputs"] = {tensor.name: [str(tensor.dtype), list(tensor.shape)] for tensor in tensors}
        config = builder.create_builder_config()
        if batch > 1:
            profile = builder.create_optimization_profile()
            for i in range(network.num_inputs):
                tensor = network.get_input(i)
                rest = tuple(tensor.shape)[1:]
                profile.set_shape(tensor.name, (1, *rest), (batch, *rest), (batch, *rest))
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        report["plan"] = 0 if plan is None else plan.nbytes
    report["errors"] = errors + logger.lines
    return report


if __name__ == "__main__":
    ctypes.CDLL("libtensorrt_rtx.so", mode=ctypes.RTLD_GLOBAL)
    print(json.dumps(build(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)))
    sys.stdout.flush()
    os._exit(0)  # the unsupported pairing need not survive the interpreter's end

"""From an ONNX file to the network that TensorRT is given.

This, the modules it takes its passes from and `compiler` decide what is built of a file: a plan's key has their hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from solo_rt.builder.labels import cast_by_float, gives_coarse, put_labels, with_labels
from solo_rt.builder.precision import half_name, to_half
from solo_rt.builder.quantise import quantise
from solo_rt.engine.operators import DOMAIN
from solo_rt.engine.plan import PlanPrecision
from solo_rt.spec import ModelSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoding:
    """The nodes of ours behind the heads of a network, which only TensorRT computes, with their outputs and bodies."""

    nodes: Sequence[onnx.NodeProto]
    outputs: Sequence[onnx.ValueInfoProto]
    functions: Sequence[onnx.FunctionProto]

    def put_back(self, model: onnx.ModelProto) -> None:
        """Put behind the heads of `model` what `take_decoding` took."""
        model.graph.output.extend(self.outputs)
        model.graph.node.extend(self.nodes)
        for function in self.functions:  # bodies must be of the opset of the model, which a pass may have raised
            function.ClearField("opset_import")
            function.opset_import.extend(model.opset_import)
        model.functions.extend(self.functions)


def take_decoding(model: onnx.ModelProto) -> Decoding:
    """Take the decoding out of `model` and return it; it is empty where the file holds none."""
    nodes = [node for node in model.graph.node if node.domain == DOMAIN]
    names = {name for node in nodes for name in node.output}
    decoding = Decoding(nodes, [value for value in model.graph.output if value.name in names], list(model.functions))
    _drop(model.graph.node, nodes)
    _drop(model.graph.output, decoding.outputs)
    del model.functions[:]
    return decoding


def typed_model(
    path: Path, spec: ModelSpec, precision: PlanPrecision, pictures: Iterable[Float32] = ()
) -> onnx.ModelProto:
    """Return the model in its precision, with the decoded outputs where the file has them and else its raw ones.

    `pictures` are network inputs for the ranges of INT8, which a file that is quantised has. Raises: EngineError,
    UsageError.
    """
    model = onnx.load(path)
    if gives_coarse(spec):
        put_labels(model, spec)
        spec = with_labels(spec)
    cast_by_float(model)
    decoding = take_decoding(model)
    heads = [value for value in model.graph.output if value.name in spec.output_shapes]
    if precision == "int8" and not spec.is_int8:
        model = quantise(model, pictures)
    if precision != "fp32":
        model = to_half(model)
    if decoding.outputs:
        made = {name for node in model.graph.node for name in node.output}
        for node in decoding.nodes:  # the plugins take heads in half precision as they are; the casts fall away
            node.input[:] = [half if (half := half_name(name)) in made else name for name in node.input]
        _drop(model.graph.output, heads)
        decoding.put_back(model)
    return model


def without_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which our operators have no bodies, so that they are plugins or an error."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [function for function in result.functions if function.domain != DOMAIN]
    del result.functions[:]
    result.functions.extend(kept)
    return result


def _drop(items: Any, unwanted: Iterable[Any]) -> None:
    for item in unwanted:
        items.remove(item)

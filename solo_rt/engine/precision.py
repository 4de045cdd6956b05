"""Precision as a property of the ONNX file: the same graph in half precision, or with quantised convolutions.

TensorRT 11 builds exactly the types a network is written in, and TensorRT 10 does so when asked to, so one pass over
the file serves every release. It runs in memory, on the way to the builder; the file on disk stays float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from solo_rt.errors import EngineError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

# Note [Half precision]
# Everything not named here stays in float32: statistics and sums (normalisation, means, softmax), because a float16
# counts exactly only to 2048 and overflows at 65,504; and whatever we have not looked at. Operators that only move
# values follow their neighbours, so that no pair of casts surrounds a Reshape.
# fmt: off
HALF_OPS = frozenset({
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Expand", "Flatten", "Gather",
    "Gemm", "LeakyRelu", "MatMul", "Max", "MaxPool", "Min", "Mul", "PRelu", "Pad", "Relu", "Reshape", "Resize",
    "Sigmoid", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
})
# fmt: on
# Inputs that are float32 whatever the precision of the data: the region of interest and the scales of a Resize.
FIXED_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}


def to_half(model: ModelProto) -> ModelProto:
    """Return a copy of `model` that computes in float16 where that is safe; inputs and outputs keep their types.

    See Note [Half precision]. Raises: EngineError for a weight that float16 cannot hold, or a graph with control flow.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.value_info, *graph.output]}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kinds |= {name: tensor.data_type for name, tensor in weights.items()}
    writer = _Writer(kinds, weights)
    for node in graph.node:
        writer.add(node)
    outputs = {value.name for value in graph.output}
    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(writer.finish(outputs))
    result.graph.initializer.extend(writer.used_weights())
    return result


@dataclass(slots=True)
class _Writer:
    """Rewrites nodes in order. A float tensor exists as `name` (float32), as `name + ".half"`, or both."""

    kinds: Mapping[str, int]  # element type by tensor name, as in the float32 graph
    weights: Mapping[str, TensorProto]
    nodes: list[NodeProto] = field(default_factory=list)
    _made: dict[str, set[int]] = field(default_factory=dict)  # the forms in which a tensor exists so far
    _stored: dict[str, TensorProto] = field(default_factory=dict)

    def add(self, node: NodeProto) -> None:
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            raise EngineError(
                f"half precision: {node.op_type} {node.name!r} holds a graph; export without control flow"
            )
        is_half = node.op_type in HALF_OPS and any(self.kinds.get(name) == FLOAT for name in node.output)
        fixed = FIXED_INPUTS.get(node.op_type, ())
        new = NodeProto()
        new.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name and self.kinds.get(name) == FLOAT:
                new.input[i] = self._take(name, HALF if is_half and i not in fixed else FLOAT)
        for i, name in enumerate(node.output):
            if name and self.kinds.get(name) == FLOAT:
                kind = HALF if is_half else FLOAT
                new.output[i] = _form(name, kind)
                self._made.setdefault(name, set()).add(kind)
        self.nodes.append(new)

    def finish(self, outputs: set[str]) -> list[NodeProto]:
        """Return all nodes; the graph's outputs are in float32 again."""
        for name in sorted(outputs):
            if self.kinds.get(name) == FLOAT:
                self._take(name, FLOAT)
        return self.nodes

    def used_weights(self) -> Iterator[TensorProto]:
        """Yield the stored tensors, in the forms in which they are used."""
        yield from self._stored.values()
        yield from (tensor for tensor in self.weights.values() if tensor.data_type != FLOAT)

    def _take(self, name: str, kind: int) -> str:
        """Return the name of a float tensor in the form `kind`, made by a cast or a stored copy if it is the first."""
        form = _form(name, kind)
        if name in self.weights:
            if form not in self._stored:
                self._stored[form] = _stored(self.weights[name], form, kind)
            return form
        made = self._made.setdefault(name, {FLOAT})  # a graph input, where nothing has made it
        if kind not in made:
            (other,) = made
            self.nodes.append(helper.make_node("Cast", [_form(name, other)], [form], to=kind))
            made.add(kind)
        return form


def _form(name: str, kind: int) -> str:
    return f"{name}.half" if kind == HALF else name


def _stored(tensor: TensorProto, name: str, kind: int) -> TensorProto:
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    if kind == FLOAT:
        return numpy_helper.from_array(values, name)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise EngineError(f"half precision: weight {tensor.name!r} reaches {np.abs(values).max():.3g}, beyond float16")
    return numpy_helper.from_array(half, name)

"""Precision as a property of the ONNX file: the same graph in half precision, quantised convolutions or not.

TensorRT 11 builds exactly the types a network is written in, and TensorRT 10 does so when asked to, so one pass over
the file serves every release. It runs in memory, on the way to the builder; the file on disk stays float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from solo_rt.errors import EngineError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

# Note [Half precision]
# Everything not named here stays in float32: statistics and sums (normalisation, means, softmax), because a float16
# counts exactly only to 2048 and overflows at 65,504; and whatever we have not looked at. Operators that only move
# values follow their neighbours, so that no pair of casts surrounds a Reshape. See also Note [Large sums].
# fmt: off
HALF_OPS = frozenset({
    "Add", "AveragePool", "Clip", "Conv", "ConvTranspose", "Gemm", "LeakyRelu", "MatMul", "Max", "MaxPool", "Min",
    "Mul", "PRelu", "Relu", "Resize", "Sigmoid", "Sub",
})
MOVING_OPS = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
})
# fmt: on

# Note [Large sums]
# No training bounds what two computed tensors give when they are multiplied. Attention between channels multiplies
# maps pixel by pixel and sums up: float16 counts by 4 from 4096 on and ends at 65,504, and a Softmax, or a difference
# of two such sums, makes that rounding its result. So a product of computed tensors, a ReduceSum, and the arithmetic
# connected with either stay in float32: behind them up to the next operator of another kind, before them as far as it
# goes, products with weights among it. A product with shares, which a Softmax made over the axis that is summed, is a
# mean, no larger than its values, and in half precision.
# TF32 has the mantissa of float16 and the range of float32, so tensor cores may still compute such a product.
ARITHMETIC = frozenset({"Add", "Div", "Max", "Min", "Mul", "Neg", "ReduceSum", "Sub"})

# Note [Scales]
# What surrounds quantised convolutions is in half precision like all else, or INT8 would cost more time there than it
# saves. Their scales must be of that type, too (from opset 19 on), and below 6e-5 a float16 has few bits left. Where
# that takes two thousandths of a scale or more, which only weights have so small, the convolution and what feeds it
# stay in float32. Other scales are rounded once, so that casts between do not change them.
SCALED_OPS = ("QuantizeLinear", "DequantizeLinear")
LOST_OF_A_SCALE = 2.0**-9

# Inputs that are float32 whatever the precision of the data: the region of interest and the scales of a Resize.
FIXED_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2)}


def to_half(model: ModelProto) -> ModelProto:
    """Return a copy of `model` that computes in float16 where that is safe; inputs and outputs keep their types.

    See the notes above; with quantised convolutions the copy is of opset 19.
    Raises: EngineError for a weight that float16 cannot hold, or a graph with control flow.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.value_info, *graph.output]}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kinds |= {name: tensor.data_type for name, tensor in weights.items()}
    scales = {node.input[1] for node in graph.node if node.op_type in SCALED_OPS}
    fine = {name for name in scales if not _is_rounded_well(weights[name])}
    for name in scales - fine:
        weights[name] = _stored(_stored(weights[name], name, HALF), name, FLOAT)
    exact = _near_large_sums(graph, kinds, weights.keys()) | _behind_fine_scales(graph, fine)
    writer = _Writer(kinds, weights, exact)
    for node in graph.node:
        writer.add(node)
    outputs = {value.name for value in graph.output}
    result = ModelProto()
    result.CopyFrom(model)
    for opset in result.opset_import:
        if scales and not opset.domain:
            opset.version = max(opset.version, 19)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(writer.finish(outputs))
    result.graph.initializer.extend(writer.used_weights())
    return result


@dataclass(slots=True)
class _Writer:
    """Rewrites nodes in order. A float tensor exists as `name` (float32), as `name + ".half"`, or both."""

    kinds: Mapping[str, int]  # element type by tensor name, as in the float32 graph
    weights: Mapping[str, TensorProto]
    exact: Collection[str]  # tensors of Note [Large sums] and of Note [Scales]
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
        is_half = self._is_half(node)
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

    def _is_half(self, node: NodeProto) -> bool:
        if any(name in self.exact for name in node.output):
            return False
        if node.op_type == "QuantizeLinear":
            return HALF in self._made.get(node.input[0], ())
        if node.op_type in MOVING_OPS:
            moved = [name for name in node.input if self.kinds.get(name) == FLOAT and name not in self.weights]
            return bool(moved) and all(HALF in self._made.get(name, ()) for name in moved)
        return (node.op_type in HALF_OPS or node.op_type == "DequantizeLinear") and any(
            self.kinds.get(name) == FLOAT for name in node.output
        )

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


def half_name(name: str) -> str:
    """Return what the float16 form of a tensor is called."""
    return f"{name}.half"


def _near_large_sums(graph: GraphProto, kinds: Mapping[str, int], weights: Set[str]) -> set[str]:
    """Return the tensors that stay in float32 because of Note [Large sums]; `graph` has its shapes inferred."""
    makers = {name: node for node in graph.node for name in node.output}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in [*graph.input, *graph.value_info]}
    found: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMul":
            is_large = weights.isdisjoint(node.input) and not _is_mean(node, makers, ranks)
        else:
            is_large = node.op_type == "ReduceSum" or (_carries(node) and not found.isdisjoint(node.input))
        if is_large:
            found.update(node.output)
    for node in reversed(graph.node):
        if _carries(node) and not found.isdisjoint(node.output):
            operands = [name for name in node.input if name in makers and kinds.get(name) == FLOAT]
            found.update(name for name in operands if _carries(makers[name]) or makers[name].op_type == "MatMul")
    return found


def _is_rounded_well(scale: TensorProto) -> bool:
    values = numpy_helper.to_array(scale)
    return bool((np.abs(values.astype(np.float16) - values) <= LOST_OF_A_SCALE * values).all())


def _behind_fine_scales(graph: GraphProto, fine: Set[str]) -> set[str]:
    """Return the tensors that stay in float32 because of Note [Scales]; `fine` are the scales float16 cannot hold."""
    dequantised = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
    found = {name for name, scale in dequantised.items() if scale in fine}
    grown = True
    while grown:
        before = len(found)
        for node in graph.node:
            if node.op_type == "Conv" and not found.isdisjoint(node.input):
                found.update(node.output, dequantised.keys() & set(node.input))
        grown = len(found) > before
    return found


def _carries(node: NodeProto) -> bool:
    """Return whether what a node gives is large where what it takes is."""
    return node.op_type in ARITHMETIC or node.op_type in MOVING_OPS


def _is_mean(product: NodeProto, makers: Mapping[str, NodeProto], ranks: Mapping[str, int]) -> bool:
    """Return whether a factor of a MatMul is a Softmax over the axis that is summed, transposed or cut as it may be."""
    for name, axis in zip(product.input, (-1, -2), strict=True):
        node = makers.get(name)
        while node is not None and node.op_type in ("Slice", "Transpose"):
            rank = ranks.get(node.input[0], 0)
            if not rank:  # a weight's
                return False
            if node.op_type == "Transpose":
                axis = _attribute(node, "perm", range(rank)[::-1])[axis] - rank
            node = makers.get(node.input[0])
        if node is not None and node.op_type == "Softmax":
            made_over = _attribute(node, "axis", -1)
            if made_over in (axis, axis + ranks.get(node.input[0], 0)):
                return True
    return False


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _form(name: str, kind: int) -> str:
    return half_name(name) if kind == HALF else name


def _stored(tensor: TensorProto, name: str, kind: int) -> TensorProto:
    values: NDArray[np.float32] = numpy_helper.to_array(tensor).astype(np.float32)
    if kind == FLOAT:
        return numpy_helper.from_array(values, name)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise EngineError(f"half precision: weight {tensor.name!r} reaches {np.abs(values).max():.3g}, beyond float16")
    return numpy_helper.from_array(half, name)

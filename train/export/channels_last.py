"""Puts the classes last where logits are enlarged only to find the largest of them.

With the classes of a pixel side by side, both steps go through memory once, in order: for 19 classes at 1024 x 2048,
ONNX Runtime on one core takes 35 ms instead of 82. OpenVINO takes 197 ms instead of 149, and 370 where the two axes are
not named. The numbers are the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

TO_LAST = (0, 2, 3, 1)  # from [B, C, H, W] to [B, H, W, C]


def put_classes_last(model: onnx.ModelProto) -> None:
    """Replace, in place, `Resize -> ArgMax(axis=1)` by `Transpose -> Resize -> ArgMax(axis=3)` wherever it occurs.

    Not where something else reads the enlarged logits.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    for argmax in [node for node in graph.node if node.op_type == "ArgMax"]:
        resize = makers.get(argmax.input[0])
        options = {entry.name: entry.i for entry in argmax.attribute}
        if resize is None or resize.op_type != "Resize" or options.get("axis", 0) != 1 or options.get("keepdims", 1):
            continue
        if _readers(graph).count(resize.output[0]) > 1:
            continue
        _move_classes(graph, resize)
        next(entry for entry in argmax.attribute if entry.name == "axis").i = 3


def _move_classes(graph: onnx.GraphProto, resize: onnx.NodeProto) -> None:
    """Make a Resize of [B, C, H, W] one of [B, H, W, C] that names the axes of its two scales or sizes."""
    last = f"{resize.input[0]}_classes_last"
    transpose = helper.make_node("Transpose", [resize.input[0]], [last], name=f"{resize.name}_transpose", perm=TO_LAST)
    graph.node.insert(list(graph.node).index(resize), transpose)
    resize.input[0] = last
    stored = {tensor.name: tensor for tensor in graph.initializer}
    position = next(i for i in (2, 3) if i < len(resize.input) and resize.input[i])  # scales or sizes
    given = stored[resize.input[position]]
    resize.input[position] = f"{given.name}_classes_last"
    values = np.ascontiguousarray(numpy_helper.to_array(given)[2:])
    graph.initializer.append(numpy_helper.from_array(values, resize.input[position]))
    resize.attribute.append(helper.make_attribute("axes", [1, 2]))
    if given.name not in _readers(graph):
        graph.initializer.remove(given)
    for value in [value for value in graph.value_info if value.name == resize.output[0]]:
        graph.value_info.remove(value)  # its shape is another one now


def _readers(graph: onnx.GraphProto) -> list[str]:
    """Return the name of every tensor that is read, once for every reader."""
    return [name for node in graph.node for name in node.input] + [output.name for output in graph.output]

"""Labels made of coarse logits by TensorRT, which on a card takes no time, and paints them there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from solo_rt.decoders import SemanticDecoder
from solo_rt.spec import ModelSpec


def gives_coarse(spec: ModelSpec) -> bool:
    """Return whether a model leaves the enlarging of its logits to the run time."""
    return isinstance(spec.decoder, SemanticDecoder) and spec.decoder.output == "coarse"


def with_labels(spec: ModelSpec) -> ModelSpec:
    """Return the spec of such a model once it gives labels."""
    assert isinstance(spec.decoder, SemanticDecoder)
    return replace(spec, decoder=replace(spec.decoder, output="labels"))


def cast_by_float(model: onnx.ModelProto) -> None:
    """Let numbers become uint8 by way of float32: TensorRT promises no other way (`DataType::kUINT8` in its header)."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == TensorProto.UINT8:
            real = f"{node.output[0]}.float"
            model.graph.node.append(helper.make_node("Cast", [node.input[0]], [real], to=TensorProto.FLOAT))
            node.input[0] = real
        model.graph.node.append(node)


def put_labels(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Let a model that gives coarse logits `[B, h, w, C]` enlarge them and give `labels uint8 [B, H, W]` instead."""
    decoder, size = spec.decoder, spec.input
    assert isinstance(decoder, SemanticDecoder)
    mode = "align_corners" if decoder.enlarged == "corners" else "half_pixel"
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([size.height, size.width], np.int64), "labels_size"))
    graph.node.extend(
        [
            helper.make_node(
                "Resize",
                ["coarse", "", "", "labels_size"],
                ["labels_logits"],
                axes=[1, 2],
                mode="linear",
                coordinate_transformation_mode=mode,
            ),
            helper.make_node("ArgMax", ["labels_logits"], ["labels_best"], axis=3, keepdims=0),
            helper.make_node("Cast", ["labels_best"], ["labels"], to=TensorProto.UINT8),
        ]
    )
    labels = helper.make_tensor_value_info("labels", TensorProto.UINT8, [size.batch, size.height, size.width])
    del graph.output[:]
    graph.output.append(labels)
